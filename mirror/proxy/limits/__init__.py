"""The rate limits of upstreams: what is left of each account's, when it will be used up, what may be spent."""

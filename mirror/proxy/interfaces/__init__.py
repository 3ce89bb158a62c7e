"""What the core asks of the outer parts: upstreams, the store, its records, and the time."""

"""A large blob by several connections at once, where one is what it waits for."""

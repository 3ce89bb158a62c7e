"""Which endpoints are worth asking, and how often again."""

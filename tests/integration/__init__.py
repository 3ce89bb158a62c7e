"""The whole mirror in this process, between fake registries and plain HTTP clients."""

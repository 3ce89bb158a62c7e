"""End to end: real clients pull through a real mirror from real registries, all on this machine."""

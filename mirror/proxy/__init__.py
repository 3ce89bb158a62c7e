"""The core: what a pull-through cache decides. No file, no socket, no library."""

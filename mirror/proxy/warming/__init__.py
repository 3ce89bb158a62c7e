"""Warming: having images in the cache before clients ask for them."""

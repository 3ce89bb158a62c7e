"""Trying an endpoint without serving anybody: what was found, and what is behind it."""

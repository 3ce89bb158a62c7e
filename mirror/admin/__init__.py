"""Operators: health, metrics and the API of the commands, on a listener of their own."""

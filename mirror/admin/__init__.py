"""Operators: health and metrics, on a listener of their own."""

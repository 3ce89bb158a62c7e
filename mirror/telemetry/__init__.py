"""Observers: what happened, as metrics and as log lines."""

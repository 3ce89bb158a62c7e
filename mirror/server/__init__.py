"""Inbound: the distribution API over HTTP. Translates, never decides."""

"""Outbound: one registry as a client. Every request leaves through `egress`."""

"""Requests that come again: who asks in the very same bytes is given the same answer, while what it stands on holds."""

"""Verifying what is stored: a pass over all of it, when one is due, and fetching again what was bad."""

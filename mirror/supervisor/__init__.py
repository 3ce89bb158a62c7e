"""Several workers under one parent: one port, one cache, one admin listener."""

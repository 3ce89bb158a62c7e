"""A registry on loopback that is as fast, or as slow and as far away, as a row wants it."""

"""The promises as rules: each takes a history and yields, a line each, what in it should not have been."""

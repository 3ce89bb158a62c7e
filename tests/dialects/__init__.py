"""The registries that people use, each with its habits, pulled from by the real application."""

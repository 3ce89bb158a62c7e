"""The one transfer of a blob: who writes it, what hides upstream's troubles, and how its readers follow."""

"""All metrics there are: a module for each family, which counts its own events, and one page of them all."""

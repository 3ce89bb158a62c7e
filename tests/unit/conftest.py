"""Settings of the property tests: no timing, and few enough examples that the whole suite stays quick."""

from hypothesis import settings

settings.register_profile("unit", max_examples=60, deadline=None, database=None)
settings.load_profile("unit")

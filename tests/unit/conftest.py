"""Settings of the unit tier: hypothesis draws the same examples on every run, so that a failure can be repeated."""

from hypothesis import settings

settings.register_profile("unit", derandomize=True, database=None, deadline=None)
settings.load_profile("unit")

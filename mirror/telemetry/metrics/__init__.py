"""All metrics there are: a module for each family, which counts its own events, and one page of them all."""

from prometheus_client import disable_created_metrics

# The names of the _created series would double every counter on the page.
disable_created_metrics()  # type: ignore[no-untyped-call]

"""What happened, as values: the core and the outer parts report, telemetry counts and logs.

No event holds a secret or a query string; `upstream` is always the name of a configured upstream.
"""

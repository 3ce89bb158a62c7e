"""Where a process stood when it was ended, as faulthandler says it, in a line."""

from __future__ import annotations

import re

_FRAME = re.compile(r'^ {2}File "(?P<file>.*)", line (?P<line>[0-9]+) in (?P<function>.*)$', re.M)
_MOST_FRAMES = 16
_FOLDERS = 3
# Of a file's path: enough to know the module by.


def in_a_line(dump: bytes) -> str:
    """Return the calls of the thread that was stopped, the innermost first; empty if nothing was said."""
    text = dump.decode(errors="replace")
    calls = [_call(found) for found in _FRAME.finditer(text)]
    more = [f"{len(calls) - _MOST_FRAMES} more"] if len(calls) > _MOST_FRAMES else []
    return " < ".join(calls[:_MOST_FRAMES] + more)


def _call(found: re.Match[str]) -> str:
    file = "/".join(found["file"].split("/")[-_FOLDERS:])
    return f"{found['function']} ({file}:{found['line']})"

"""Sizes, durations and addresses as people write them in the configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from mirror.proxy.rate_limit import Reserve

_SIZE_UNITS = {
    "B": 1,
    **{unit: 1000**power for power, unit in enumerate(("kB", "MB", "GB", "TB"), 1)},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
}
_LARGEST = 2**63
_LONGEST = 100 * 366 * 86400
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_SIZE = re.compile(rf"([0-9]+(?:\.[0-9]+)?)\s*({'|'.join(_SIZE_UNITS)})")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_RESERVE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*%|([0-9]{1,9})")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:\s]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; `host` without brackets, `port` 0 for any free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Return the address that `host:port` or `[IPv6]:port` spells; raises ValueError."""
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match[3]) > 65535:
            raise ValueError("an address is host:port, for example 0.0.0.0:5000 or [::]:5000")
        return cls(match[1] or match[2], int(match[3]))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_size(text: object) -> int:
    """Return the bytes that `text` spells, for example `10GiB`; raises ValueError without a unit."""
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a size is a number with a unit, for example 512MiB or 50GiB")
    size = float(match[1]) * _SIZE_UNITS[match[2]]
    if size > _LARGEST:
        raise ValueError("a size is at most 8192 PiB")
    return int(size)


def parse_duration(text: object) -> timedelta:
    """Return the duration that `text` spells, for example `5m` or `1h30m`; raises ValueError without a unit."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text.strip()):
        raise ValueError("a duration is a number with a unit, for example 30s, 5m, 1h30m or 7d")
    parts = _DURATION_PART.findall(text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST:
        raise ValueError("a duration is at most 100 years")
    return timedelta(seconds=seconds)


def parse_reserve(text: object) -> Reserve:
    """Return the reserve that `text` spells, for example `10%`, or 20 for as many pulls; raises ValueError."""
    match = (
        _RESERVE.fullmatch(str(text).strip()) if isinstance(text, str | int) and not isinstance(text, bool) else None
    )
    if match is None:
        raise ValueError("a reserve is a share or a number of pulls, for example 10% or 20; 0 for none")
    if match[1] is None:
        return Reserve(pulls=int(match[2]))
    if float(match[1]) > 100:
        raise ValueError("a reserve is at most 100%")
    return Reserve(share=float(match[1]) / 100)

"""Where benchmarks keep things: everything below one folder of the checkout that git does not see."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
HOME = ROOT / ".bench"
PEERS = HOME / "peers"
"""A virtual environment with what scripts/install-benchmark-tools puts there."""

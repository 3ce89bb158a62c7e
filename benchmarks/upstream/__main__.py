"""`python -m benchmarks.upstream`: serves a folder as a registry does that wants a token, at a given pace."""

from __future__ import annotations

import argparse
import asyncio
import signal
from pathlib import Path

from benchmarks.upstream.pace import Pace
from benchmarks.upstream.server import Server


async def serve(server: Server, port: int) -> None:
    """Serve until told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    listening = await asyncio.start_server(server.converse, "127.0.0.1", port, backlog=1024)
    await stop.wait()
    listening.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upstream", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, help="bytes a second that one connection gets at most")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that a round trip takes")
    options = parser.parse_args()
    asyncio.run(serve(Server(options.folder, Pace(options.rate, options.latency)), options.port))


if __name__ == "__main__":
    main()

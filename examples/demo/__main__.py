"""`python -m examples.demo`: start the guarded app, walk through it, and go on serving."""

import argparse
import signal
import sys
from collections.abc import Sequence

_INTERRUPTED = 130  # as shells say it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.demo",
        description="Start a guarded FastAPI app on a free port and walk through what its guards "
        "do: rate limit, concurrency cap, circuit breaker, metrics with pool numbers, health. "
        "Then go on serving until Ctrl-C.",
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="exit when the walk is done: 0 if every step behaved, else 1",
    )
    once: bool = parser.parse_args(arguments).once
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        from examples.demo.demo import demo  # noqa: PLC0415 - it takes a second: Ctrl-C may come

        return demo(once=once)
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())

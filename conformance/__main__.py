"""The entry point of `python -m conformance` and `dynamic-mcp-conformance` (see `conformance.cli`)."""

from __future__ import annotations

import os
import sys

#: the same as `conformance.commands.run_options.BROKEN`, which this module cannot import when a library is missing
_BROKEN = 3
#: the status of a program that SIGPIPE ends, as a shell reports it
_NO_READER = 141


def main() -> int:
    """Run the command line, or print what to install if the extra `conformance` is missing."""
    try:
        from conformance.cli import main as run
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith(("conformance", "mock_servers", "dynamic_mcp")):
            raise
        sys.stderr.write(
            f"{missing.name} is not installed; the runner needs: pip install 'dynamic-mcp-reference[conformance]'\n"
        )
        return _BROKEN
    try:
        status = run()
        # Here, because at the exit Python would report a reader that has gone, such as `head`.
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    return status


if __name__ == "__main__":
    sys.exit(main())

"""A program that the benchmarks can measure as a proxy: it answers every call itself, like an upstream of the benchmarks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from conformance.bench.upstreams import answer


def main() -> None:
    """Serve the groups of the configuration until stdin ends."""
    groups = list(json.loads(Path(sys.argv[1]).read_text())["mcpServers"])
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message["method"] == "tools/list":
            found: bytes | None = json.dumps({"id": message["id"], "groups": groups}).encode()
        else:
            if message["method"] == "tools/call":
                wanted = message["params"]["arguments"]
                message["params"] = {"name": wanted["name"], "arguments": wanted["args"]}
            found = answer(message)
        if found is not None:
            sys.stdout.buffer.write(found + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

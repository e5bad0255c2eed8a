"""FastMCP 4.2.3: the cancellation of a call does not reach a server behind a URL (PrefectHQ/fastmcp issue 4124)."""

import time

from small_client import Program, command_of, new_folder, report
from small_upstream import OneFileUpstream, write_config

with OneFileUpstream() as upstream:
    config = write_config(new_folder() / "config.json", {"one": {"url": upstream.url}})
    with Program([*command_of("fastmcp"), "run", config]) as proxy:
        proxy.handshake()
        proxy.send("tools/call", {"name": "slow", "arguments": {"seconds": 8}}, id="a")
        time.sleep(4)
        proxy.send("notifications/cancelled", {"requestId": "a"})
        time.sleep(2)
        methods = upstream.methods()
    cancelled = "notifications/cancelled" in methods
    report(
        "tools/call" in methods and not cancelled, f"the server got the call, and a cancellation: {cancelled}"
    )

"""supergateway 4.0.0: a cancellation carries the client's id, while the call has another id upstream: it names another call.

MCP 2025-11-25, basic/utilities/cancellation: the id is that of the request that was issued in the same direction.
"""

import time

from small_client import Program, command_of, report
from small_upstream import OneFileUpstream

with OneFileUpstream() as upstream:
    with Program([*command_of("supergateway"), "--streamableHttp", upstream.url]) as proxy:
        proxy.handshake()
        # The gateway numbers its own requests from 0, so these two become 1 and 2 upstream.
        for id, text in ((2, "keep"), (1, "cancel")):
            proxy.send("tools/call", {"name": "slow", "arguments": {"seconds": 5, "text": text}}, id=id)
            time.sleep(1)
        proxy.send("notifications/cancelled", {"requestId": 1})
        time.sleep(2)
        texts = {
            m["id"]: m["params"]["arguments"]["text"]
            for m in upstream.messages
            if m["method"] == "tools/call"
        }
        hit = [
            m["params"]["requestId"] for m in upstream.messages if m["method"] == "notifications/cancelled"
        ]
    wrong = [texts.get(id) for id in hit]
    report(wrong == ["keep"], f"the client cancels the call `cancel`; the server is told to cancel {wrong}")

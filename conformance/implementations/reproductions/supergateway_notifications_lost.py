"""supergateway 4.0.0: progress, log messages and list_changed of the server never reach the client on stdio."""

from small_client import Message, Program, command_of, report
from small_upstream import OneFileUpstream, result_of


def notify(message: Message) -> list[Message] | None:
    """Three notifications, then the answer, for a call."""
    if message.get("method") != "tools/call":
        return None
    token = message["params"]["_meta"]["progressToken"]
    sent = {
        "notifications/progress": {"progressToken": token, "progress": 1},
        "notifications/message": {"level": "info", "data": "hello"},
        "notifications/tools/list_changed": {},
    }
    notes = [{"jsonrpc": "2.0", "method": method, "params": params} for method, params in sent.items()]
    return [*notes, {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}]


with OneFileUpstream(notify) as upstream:
    with Program([*command_of("supergateway"), "--streamableHttp", upstream.url]) as proxy:
        proxy.handshake()
        call = {"name": "echo", "arguments": {"text": "x"}, "_meta": {"progressToken": "token"}}
        answer = proxy.request("tools/call", call)
        proxy.wait(lambda message: "method" in message, 3)
        got = [message["method"] for message in proxy.messages if "method" in message]
    report(
        answer is not None and not got,
        f"the server sends three notifications during a call; the client gets {got}",
    )

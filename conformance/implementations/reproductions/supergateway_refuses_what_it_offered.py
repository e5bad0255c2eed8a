"""supergateway 4.0.0: it tells the server that the client answers questions, and refuses each question itself."""

from small_client import Message, Program, command_of, eventually, report
from small_upstream import OneFileUpstream, result_of


def ask(message: Message) -> list[Message] | None:
    """A question to the user, then the answer, for a call."""
    if message.get("method") != "tools/call":
        return None
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    question = {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": schema}}
    answer = {"id": message["id"], "result": result_of(message)}
    return [{"jsonrpc": "2.0", "id": "q", **question}, {"jsonrpc": "2.0", **answer}]


with OneFileUpstream(ask) as upstream:
    with Program([*command_of("supergateway"), "--streamableHttp", upstream.url]) as proxy:
        info = {"name": "reproduction", "version": "1"}
        able = {"protocolVersion": "2025-06-18", "capabilities": {"elicitation": {}}, "clientInfo": info}
        proxy.request("initialize", able, 30)
        proxy.send("notifications/initialized")
        proxy.call("echo", {"text": "x"})
        eventually(lambda: "answer" in upstream.methods(), 5)
    asked = [message for message in proxy.messages if message.get("method") == "elicitation/create"]
    answers = [message for message in upstream.messages if message.get("id") == "q"]
    first = upstream.messages[0]["params"]["capabilities"]
    report(
        "elicitation" in first and not asked and any("error" in answer for answer in answers),
        f"the server was offered {first}, and its question was answered by the bridge: {answers}",
    )

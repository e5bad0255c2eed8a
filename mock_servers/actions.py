"""The actions of a script: what a mock does instead of its well-behaved answer.

Each function returns one JSON object; a rule holds a list of them, played in order. A list that neither
answers nor says `silence` ends with the default answer, so `[sleep(2)]` is a slow but correct call.
Anywhere in a result, an error's data or a message the string "$id" stands for the id of the request being
handled.
"""

from typing import Any

Action = dict[str, Any]

# Actions after which the default answer is not sent any more.
ANSWERING = frozenset(
    {
        "reply",
        "error",
        "silence",
        "send",
        "raw",
        "reply_in_chunks",
        "duplicate_reply",
        "wrong_id_reply",
        "payload",
        "unending",
        "crash",
        "kill_self",
        "close_stdout",
    }
)


def reply(result: dict[str, Any] | None = None) -> Action:
    """Answer with `result` exactly as given; None = the default answer."""
    return {"do": "reply", "result": result}


def error(code: int, message: str, data: Any = None) -> Action:
    """Answer with a JSON-RPC error; `data` is left out when None."""
    return {"do": "error", "code": code, "message": message, "data": data}


def sleep(seconds: float) -> Action:
    """Wait before the next action. Other requests go on meanwhile."""
    return {"do": "sleep", "seconds": seconds}


def silence() -> Action:
    """Send no answer, ever."""
    return {"do": "silence"}


def send(message: dict[str, Any] | list[Any]) -> Action:
    """Send this message as it is, in place of an answer (an answer needs `"id": "$id"`)."""
    return {"do": "send", "message": message}


def raw(content: str | bytes) -> Action:
    """Write exactly this in place of an answer: no newline is added. In a str, `"$id"` with its quotation
    marks becomes the id of the request; bytes stay as they are."""
    if isinstance(content, bytes):
        from base64 import b64encode

        return {"do": "raw", "base64": b64encode(content).decode()}
    return {"do": "raw", "text": content}


def reply_in_chunks(sizes: list[int], pause: float = 0.0, result: dict[str, Any] | None = None) -> Action:
    """Answer (None = the default answer) in separate writes of `sizes` bytes, the rest last, `pause`
    seconds apart."""
    return {"do": "reply_in_chunks", "sizes": sizes, "pause": pause, "result": result}


def hold(name: str) -> Action:
    """Wait until any other request has played `release(name)`; a release that came first counts."""
    return {"do": "hold", "name": name}


def release(name: str) -> Action:
    """Let every `hold(name)` go on, now and later."""
    return {"do": "release", "name": name}


def duplicate_reply() -> Action:
    """Send the default answer twice."""
    return {"do": "duplicate_reply"}


def wrong_id_reply(id: Any = "no-such-request") -> Action:
    """Send the default answer under an id that nobody asked with. Follow it by `reply()` to answer properly
    too."""
    return {"do": "wrong_id_reply", "id": id}


def crash(code: int = 1) -> Action:
    """Exit at once with this status."""
    return {"do": "crash", "code": code}


def kill_self(signal: int = 9) -> Action:
    """Die by this signal (its default action, even where the script ignores the signal)."""
    return {"do": "kill_self", "signal": int(signal)}


def allocate(size: int) -> Action:
    """Take this many bytes of memory more and keep them. Where they are not given, the mock breaks down, as
    most programs do."""
    return {"do": "allocate", "size": size}


def compute(seconds: float) -> Action:
    """Use up this much CPU time before the next action."""
    return {"do": "compute", "seconds": seconds}


def close_stdout() -> Action:
    """Close the standard output and stay alive."""
    return {"do": "close_stdout"}


def stderr(content: str | int) -> Action:
    """Write this text to the standard error (no newline is added), or that many bytes of filler lines."""
    return (
        {"do": "stderr", "bytes": content} if isinstance(content, int) else {"do": "stderr", "text": content}
    )


def notify(method: str, params: dict[str, Any] | None = None) -> Action:
    """Send a notification."""
    return {"do": "notify", "method": method, "params": params}


def request(
    method: str, params: dict[str, Any] | None = None, *, id: Any = None, wait: float | None = None
) -> Action:
    """Send a request to the client; its answer is journalled as `answer`. Ids are 1, 2, ... unless `id` is
    given, so they collide with a typical client's own. `wait`: seconds to wait for the answer before the
    next action."""
    return {"do": "request", "method": method, "params": params, "id": id, "wait": wait}


def payload(size: int) -> Action:
    """Answer a tool call with one text content of `size` bytes."""
    return {"do": "payload", "size": size}


def unending(size: int) -> Action:
    """Begin an answer to a tool call, of `size` bytes so far, and never end it (over HTTP, break off)."""
    return {"do": "unending", "size": size}


def progress(value: float) -> Action:
    """Report progress under the token that came with the request; without a token nothing is sent."""
    return {"do": "progress", "value": value}


def set_tools(tools: list[dict[str, Any]]) -> Action:
    """Offer these tools from now on. Follow it by `list_changed()` to announce it."""
    return {"do": "set_tools", "tools": tools}


def set_prompts(prompts: list[dict[str, Any]]) -> Action:
    """Offer these prompts from now on. Follow it by `list_changed("prompts")` to announce it."""
    return {"do": "set_prompts", "prompts": prompts}


def list_changed(kind: str = "tools") -> Action:
    """Announce that the list of `kind` (tools, resources, prompts) changed: to everybody in the legacy era,
    to the subscriptions that asked for it in the modern one."""
    return {"do": "list_changed", "kind": kind}

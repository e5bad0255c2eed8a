"""The actions of a script: what a mock does instead of its well-behaved answer.

Each function returns one JSON object. A rule holds a list of them, and the mock plays them in order. A list without an
answer and without `silence` ends with the default answer, so `[sleep(2)]` is a slow but correct call. In a result, in
the data of an error and in a message, the string "$id" stands for the id of the request.
"""

from typing import Any

Action = dict[str, Any]

# After one of these actions, the mock sends no default answer.
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
        "page",
        "unending",
        "crash",
        "kill_self",
        "close_stdout",
        "flood",
    }
)


def reply(result: dict[str, Any] | None = None) -> Action:
    """Answer with exactly this `result`; None means the default answer."""
    return {"do": "reply", "result": result}


def error(code: int, message: str, data: Any = None) -> Action:
    """Answer with a JSON-RPC error; it has no member `data` if `data` is None."""
    return {"do": "error", "code": code, "message": message, "data": data}


def sleep(seconds: float) -> Action:
    """Wait before the next action. Other requests continue."""
    return {"do": "sleep", "seconds": seconds}


def silence() -> Action:
    """Never send an answer."""
    return {"do": "silence"}


def send(message: dict[str, Any] | list[Any]) -> Action:
    """Send exactly this message in place of an answer. To be an answer, it needs `"id": "$id"`."""
    return {"do": "send", "message": message}


def raw(content: str | bytes) -> Action:
    """Write exactly this in place of an answer, without an added newline. In a str, `"$id"` with its quotation marks
    becomes the id of the request; bytes stay as they are.
    """
    if isinstance(content, bytes):
        from base64 import b64encode

        return {"do": "raw", "base64": b64encode(content).decode()}
    return {"do": "raw", "text": content}


def reply_in_chunks(sizes: list[int], pause: float = 0.0, result: dict[str, Any] | None = None) -> Action:
    """Answer in separate writes of `sizes` bytes and a last one of the rest, `pause` seconds apart. `result` None means
    the default answer.
    """
    return {"do": "reply_in_chunks", "sizes": sizes, "pause": pause, "result": result}


def hold(name: str, most: float | None = None) -> Action:
    """Wait until another request to the same process plays `release(name)`, or for `most` seconds; an earlier release counts
    too.
    """
    return {"do": "hold", "name": name, "most": most}


def release(name: str) -> Action:
    """End every `hold(name)`, now and later."""
    return {"do": "release", "name": name}


def duplicate_reply() -> Action:
    """Send the default answer twice."""
    return {"do": "duplicate_reply"}


def wrong_id_reply(id: Any = "no-such-request") -> Action:
    """Send the default answer with an id that no request has. Add `reply()` to send the correct answer too."""
    return {"do": "wrong_id_reply", "id": id}


def crash(code: int = 1) -> Action:
    """Exit at once with this status."""
    return {"do": "crash", "code": code}


def kill_self(signal: int = 9) -> Action:
    """Die by this signal with its default handler, even if the script ignores the signal."""
    return {"do": "kill_self", "signal": int(signal)}


def allocate(size: int) -> Action:
    """Allocate this many bytes more and keep them. If the allocation fails, the mock aborts, as most programs do."""
    return {"do": "allocate", "size": size}


def compute(seconds: float) -> Action:
    """Use this much CPU time before the next action."""
    return {"do": "compute", "seconds": seconds}


def close_stdout() -> Action:
    """Close standard output and keep running."""
    return {"do": "close_stdout"}


def close_stdin() -> Action:
    """Close standard input and keep running, as a server whose reader has died. The rule can still answer."""
    return {"do": "close_stdin"}


def fall_silent() -> Action:
    """Send no answer from now on, to any request of this process or of this session, but read on and stay alive."""
    return {"do": "fall_silent"}


def hand_over(after: float = 0.0) -> Action:
    """At startup: continue in a new process, and let the process that the client started exit after some seconds."""
    return {"do": "hand_over", "after": after}


def stderr(content: str | int) -> Action:
    """Write this text to standard error, without an added newline, or that many bytes of filler lines.

    `$args` in the text stands for the arguments of the mock after `--`.
    """
    return (
        {"do": "stderr", "bytes": content} if isinstance(content, int) else {"do": "stderr", "text": content}
    )


def notify(method: str, params: dict[str, Any] | None = None) -> Action:
    """Send a notification."""
    return {"do": "notify", "method": method, "params": params}


def request(
    method: str, params: dict[str, Any] | None = None, *, id: Any = None, wait: float | None = None
) -> Action:
    """Send a request to the client; the journal records the client's answer as `answer`.

    Without `id`, the ids are 1, 2, and so on, and so collide with those of a typical client. With `wait`, the next action
    starts after the answer, or after that many seconds.
    """
    return {"do": "request", "method": method, "params": params, "id": id, "wait": wait}


def wait_for_answer(id: Any, within: float) -> Action:
    """Wait until the client answers the earlier `request` with this id, or for `within` seconds."""
    return {"do": "wait_for_answer", "id": id, "within": within}


def payload(size: int) -> Action:
    """Answer a tool call with one text content of `size` bytes."""
    return {"do": "payload", "size": size}


def page(entries: int, *, size: int = 0, more: bool = False) -> Action:
    """Answer a list request with a page of the script's own tools and `entries` generated definitions, each with a
    description of `size` bytes. With `more`, the page has the cursor of a next one. The journal does not record the page.
    """
    return {"do": "page", "entries": entries, "size": size, "more": more}


def unending(size: int) -> Action:
    """Begin an answer to a tool call, send `size` bytes of it, and never end it. Over HTTP, the response breaks off."""
    return {"do": "unending", "size": size}


def flood(content: str | bytes, *, seconds: float | None = None, count: int | None = None) -> Action:
    """Write `content` in place of an answer again and again, for `seconds` or `count` times; add `reply()` to answer afterwards.

    In a str, `$n` becomes 1, 2, and so on, which gives each copy its own id. The journal records only the action.
    """
    return {**raw(content), "do": "flood", "seconds": seconds, "count": count}


def open_terminal(words: str) -> Action:
    """Open the controlling terminal and write these words there. The journal records `terminal` with the `error`, or None."""
    return {"do": "open_terminal", "words": words}


def kill_siblings() -> Action:
    """Kill every other child of the mock's parent (on Linux). The journal records `killed` with their `pids`."""
    return {"do": "kill_siblings"}


def stop_reading() -> Action:
    """Do not read standard input, except for what is read already, until `read_again()`."""
    return {"do": "stop_reading"}


def read_again() -> Action:
    """End `stop_reading()`."""
    return {"do": "read_again"}


def progress(value: float, **more: Any) -> Action:
    """Report progress with the request's progress token and these further members; without a token, send nothing."""
    return {"do": "progress", "value": value, "more": more}


def set_tools(tools: list[dict[str, Any]]) -> Action:
    """Offer these tools from now on. Add `list_changed()` to announce the change."""
    return {"do": "set_tools", "tools": tools}


def set_prompts(prompts: list[dict[str, Any]]) -> Action:
    """Offer these prompts from now on. Add `list_changed("prompts")` to announce the change."""
    return {"do": "set_prompts", "prompts": prompts}


def set_resources(resources: list[dict[str, Any]], templates: list[dict[str, Any]] | None = None) -> Action:
    """Offer these resources and templates from now on. Add `list_changed("resources")` to announce the change."""
    return {"do": "set_resources", "resources": resources, "templates": templates}


def list_changed(kind: str = "tools") -> Action:
    """Announce that the list of `kind` (tools, resources, prompts) changed.

    In the legacy era the notification goes to every client, in the modern era to the subscriptions for that list.
    """
    return {"do": "list_changed", "kind": kind}

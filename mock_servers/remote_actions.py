"""The actions that only the HTTP mocks know, beside those of `mock_servers.actions`.

In texts the string `"$id"` (with its quotation marks) stands for the id of the request being handled, and
`$answer` for the JSON of the well-behaved answer, and `$headers` for the header lines of the request. A rule whose
method is "GET", "POST" or "DELETE" serves every HTTP request with this verb, whatever its body, before rules for
messages are looked at.
"""

from typing import Any, Literal

from mock_servers.actions import Action, raw

#: after these the default answer is not sent any more; follow one by `reply()` to send it all the same
ANSWERING = frozenset({"respond", "stream", "end_stream", "cut", "wire", "endpoint"})


def answer_as(form: Literal["json", "sse"], content_type: str | None = None) -> Action:
    """Answer this request in this form, whatever the script's default; `content_type` replaces the right
    one."""
    return {"do": "answer_as", "form": form, "content_type": content_type}


def respond(
    status: int, body: str | bytes = "", *, headers: dict[str, str] | None = None, pause: float | None = None
) -> Action:
    """Send this whole response. `headers` is exact but for Content-Length. With `pause` the body goes out
    byte by byte, that many seconds apart."""
    return {**raw(body), "do": "respond", "status": status, "headers": headers or {}, "pause": pause}


def redirect(location: str, status: int = 307) -> Action:
    """Send the client elsewhere."""
    return respond(status, headers={"Location": location})


def stream(*pieces: str | bytes, pause: float = 0.0) -> Action:
    """Write exactly these pieces of an event stream, `pause` seconds apart, each a chunk of its own."""
    return {"do": "stream", "pieces": [raw(piece) for piece in pieces], "pause": pause}


def event(data: str | None = "", *, id: str | None = None, retry: int | None = None) -> Action:
    """Send one event on the answer's stream, opening it if need be; the answer may follow. An id that is not
    given is counted where the script has `event_ids`."""
    return {"do": "event", "data": data, "id": id, "retry": retry}


def end_stream() -> Action:
    """End the answer's stream properly. What is sent later waits until the client resumes with
    Last-Event-ID."""
    return {"do": "end_stream"}


def cut(reset: bool = False) -> Action:
    """Close the connection in the middle of the response, or reset it."""
    return {"do": "cut", "reset": reset}


def wire(content: str | bytes) -> Action:
    """Write exactly these bytes to the connection in place of an HTTP response, then close it."""
    return {**raw(content), "do": "wire"}


def expire_session() -> Action:
    """Forget the session: the next request that carries it is answered with 404."""
    return {"do": "expire_session"}


def push(method: str, params: dict[str, Any] | None = None) -> Action:
    """Send a notification on the session's GET streams."""
    return {"do": "push", "method": method, "params": params}


def close_streams(reset: bool = False) -> Action:
    """Break the connections of the session's GET streams."""
    return {"do": "close_streams", "reset": reset}


def revoke_tokens(*, all_later: bool = False) -> Action:
    """With `Script.oauth`: no access token of so far is good any more, or none that will ever come."""
    return {"do": "revoke_tokens", "all_later": all_later}


def endpoint(uri: str) -> Action:
    """HTTP+SSE, in a rule for GET: announce this endpoint, as `Http.endpoint` describes it."""
    return {"do": "endpoint", "uri": uri}

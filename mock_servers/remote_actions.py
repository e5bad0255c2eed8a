"""The actions that only mocks behind a URL know, in addition to those of `mock_servers.actions`.

In texts, `"$id"` with its quotation marks stands for the id of the request. `$answer` stands for the JSON of the well-behaved answer, and
`$headers` for the header lines of the request. A rule with the method "GET", "POST" or "DELETE" serves every HTTP request with that verb
and any body, except one below `/.well-known/`. Such a rule goes before the rules for messages.
"""

from typing import Any, Literal

from mock_servers.actions import Action, raw

#: after one of these actions, the mock sends no default answer; add `reply()` to send it anyway
ANSWERING = frozenset({"respond", "stream", "end_stream", "cut", "wire", "endpoint"})


def answer_as(form: Literal["json", "sse"], content_type: str | None = None) -> Action:
    """Answer this request in this form instead of the script's default; `content_type` replaces the correct one."""
    return {"do": "answer_as", "form": form, "content_type": content_type}


def respond(
    status: int, body: str | bytes = "", *, headers: dict[str, str] | None = None, pause: float | None = None
) -> Action:
    """Send this whole response, with exactly these `headers` and Content-Length. With `pause`, the body leaves byte by
    byte, that many seconds apart.
    """
    return {**raw(body), "do": "respond", "status": status, "headers": headers or {}, "pause": pause}


def redirect(location: str, status: int = 307) -> Action:
    """Redirect the client."""
    return respond(status, headers={"Location": location})


def stream(*pieces: str | bytes, pause: float = 0.0) -> Action:
    """Write exactly these pieces of an event stream, `pause` seconds apart, each in its own chunk."""
    return {"do": "stream", "pieces": [raw(piece) for piece in pieces], "pause": pause}


def event(data: str | None = "", *, id: str | None = None, retry: int | None = None) -> Action:
    """Send one event on the answer's stream; the answer can follow. Without `id`, the event gets the next number if the
    script has `event_ids`.
    """
    return {"do": "event", "data": data, "id": id, "retry": retry}


def end_stream() -> Action:
    """End the answer's stream properly. Later messages wait until the client resumes the stream with Last-Event-ID."""
    return {"do": "end_stream"}


def cut(reset: bool = False) -> Action:
    """Close the connection in the middle of the response, or reset it."""
    return {"do": "cut", "reset": reset}


def wire(content: str | bytes) -> Action:
    """Write exactly these bytes to the connection in place of an HTTP response, then close the connection."""
    return {**raw(content), "do": "wire"}


def expire_session() -> Action:
    """Forget the session: the next request with its id gets status 404."""
    return {"do": "expire_session"}


def push(method: str, params: dict[str, Any] | None = None) -> Action:
    """Send a notification on the session's GET streams."""
    return {"do": "push", "method": method, "params": params}


def close_streams(reset: bool = False) -> Action:
    """Break the connections of the session's GET streams."""
    return {"do": "close_streams", "reset": reset}


def hold_answers() -> Action:
    """From now on, take the client's answers to requests of the session, but never respond to their POSTs."""
    return {"do": "hold_answers"}


def revoke_tokens(*, all_later: bool = False) -> Action:
    """With `Script.oauth`: revoke every access token issued so far; with `all_later`, every future one too."""
    return {"do": "revoke_tokens", "all_later": all_later}


def refuse_tokens(seconds: float) -> Action:
    """With `Script.oauth`: refuse every access token for this time, and revoke none."""
    return {"do": "refuse_tokens", "seconds": seconds}


def endpoint(uri: str) -> Action:
    """HTTP+SSE, in a rule for GET: announce this endpoint, with the placeholders of `Http.endpoint`."""
    return {"do": "endpoint", "uri": uri}

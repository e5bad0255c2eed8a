"""Judges every message of the proxy by the official types of its protocol version.

The types come from the distribution `mcp-types`; without it this module judges nothing. The method and the version of a request decide
the type of its answer. The version is that in `_meta` of a modern request, the negotiated one of a session, or, before the
negotiation, the newest legacy one. A notification or a request may be of any version of the conversation, unless it names a
subscription, which only the modern era has.

Limits: the types ignore unknown members. The revisions up to 2025-11-25 share their types and differ only in their methods. A method
that no version has is an extension, which only has to be valid JSON-RPC. Other checks judge lines that are no JSON object.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from conformance.errors import Violation
from conformance.model.registry import MODERN, NEWEST_LEGACY
from conformance.workbench.timeline import shorten
from mock_servers.answers import SUBSCRIPTION_KEY, VERSION_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conformance.workbench.transcript import Json, Transcript

#: problems that a violation lists for one message
_MAX_PROBLEMS = 3


@lru_cache
def official_types() -> Any:
    """The package `mcp_types`, or None if it is not installed. The first call takes 0.3 s."""
    try:
        import_module("mcp_types.methods")
        return import_module("mcp_types")
    except ImportError:
        return None


def judge(transcript: Transcript) -> None:
    """Raise `Violation` for the first message that its version does not allow."""
    types = official_types()
    if types is None:
        return
    judgement = _Judgement(types)
    for line in transcript.lines:
        for message in line.messages:
            if line.sent:
                judgement.sent(message)
            else:
                judgement.received(message)


class _Judgement:
    def __init__(self, types: Any) -> None:
        self._types = types
        self._methods = types.methods
        self._negotiated: str | None = None
        self._modern = False
        #: method and version of the last request with an id; None = the version of the session at the answer
        self._asked: dict[str, tuple[str, str | None]] = {}

    def sent(self, message: Json) -> None:
        method = message.get("method")
        if not isinstance(method, str):
            return
        version = _meta(message).get(VERSION_KEY)
        self._modern |= version == MODERN
        if "id" in message:
            self._asked[json.dumps(message["id"])] = method, version if isinstance(version, str) else None

    def received(self, message: Json) -> None:
        if "method" in message:
            self._spontaneous(message)
        elif "error" in message:
            self._envelope(message, "JSONRPCError", "a valid JSON-RPC error")
        else:
            self._envelope(message, "JSONRPCResponse", "a valid JSON-RPC message")
            self._result(message)

    def _result(self, message: Json) -> None:
        method, version = self._asked.get(json.dumps(message["id"]), (None, None))
        if method is None:
            return
        result = message["result"]
        if method == "initialize" and result.get("protocolVersion") in self._methods.KNOWN_PROTOCOL_VERSIONS:
            self._negotiated = result["protocolVersion"]
        version = version or self._negotiated or NEWEST_LEGACY
        if version in self._methods.KNOWN_PROTOCOL_VERSIONS:
            judge_result = self._methods.validate_server_result
            what = f"a valid {method} result of {version}"
            self._body(method, [version], self._methods.SERVER_RESULTS, judge_result, result, what)

    def _spontaneous(self, message: Json) -> None:
        is_request = "id" in message
        kind, envelope = (
            ("request", "JSONRPCRequest") if is_request else ("notification", "JSONRPCNotification")
        )
        self._envelope(message, envelope, f"a valid JSON-RPC {kind}")
        versions = [MODERN] if SUBSCRIPTION_KEY in _meta(message) else self._versions()
        surface = self._methods.SERVER_REQUESTS if is_request else self._methods.SERVER_NOTIFICATIONS
        parse = self._methods.parse_server_request if is_request else self._methods.parse_server_notification
        what = f"a valid {message['method']} {kind} of {' or '.join(versions)}"
        self._body(message["method"], versions, surface, parse, message.get("params"), what)

    def _versions(self) -> list[str]:
        """The versions that the client has used so far."""
        if self._modern and self._negotiated is None:
            return [MODERN]
        return [self._negotiated or NEWEST_LEGACY, *([MODERN] if self._modern else [])]

    def _envelope(self, message: Json, name: str, what: str) -> None:
        try:
            getattr(self._types, name).model_validate(message, strict=True)
        except ValueError as problem:
            raise Violation(what, _seen(problem, message)) from problem

    def _body(
        self,
        method: str,
        versions: list[str],
        surface: Mapping[tuple[str, str], Any],
        validate: Callable[[str, str, Any], Any],
        body: Any,
        what: str,
    ) -> None:
        if all(method != known for known, _ in surface):
            return
        problem: Exception = KeyError(method)
        for version in versions:
            try:
                validate(method, version, body)
            except (KeyError, ValueError) as found:
                problem = found
            else:
                return
        raise Violation(what, _seen(problem, body)) from problem


def _meta(message: Json) -> Json:
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


def _seen(problem: Exception, value: Any) -> str:
    if isinstance(problem, KeyError):
        return f"this version has no such message: {shorten(json.dumps(value))}"
    errors: list[Any] = getattr(problem, "errors", list)()
    problems = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors[:_MAX_PROBLEMS]]
    return f"{'; '.join(problems) or problem}; in {shorten(json.dumps(value))}"

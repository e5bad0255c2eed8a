"""Incoming messages before anything answers them: parsing, and the choice of the rule that serves them."""

import json
import threading
from typing import Any

from mock_servers.actions import Action
from mock_servers.answers import INVALID_REQUEST, Json, Refused
from mock_servers.script import Rule

PARSE_ERROR = -32700


def read_message(data: bytes) -> tuple[Json, str]:
    """A request, a notification or an answer, and its text. Raises `InvalidMessage`."""
    try:
        text = data.decode()
        message = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InvalidMessage(PARSE_ERROR, f"Parse error: {problem}") from problem
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise InvalidMessage(INVALID_REQUEST, "Not a JSON-RPC 2.0 message", message)
    if not isinstance(message.get("method"), str) and not is_answer(message):
        raise InvalidMessage(INVALID_REQUEST, "Neither a request nor an answer", message)
    return message, text


class InvalidMessage(Exception):
    """The data is not a message. `refused` is the error to answer with, `id` the id for that answer."""

    def __init__(self, code: int, reason: str, message: Any = None) -> None:
        super().__init__(reason)
        self.refused = Refused(code, reason)
        identity = message.get("id") if isinstance(message, dict) else None
        self.id = identity if isinstance(identity, str | int | float) else None


def is_answer(message: Json) -> bool:
    """Whether the message answers a request of the server."""
    named = isinstance(message.get("method"), str)
    return not named and "id" in message and ("result" in message or "error" in message)


class RuleMatcher:
    """The rules of a script, and how often each one has matched. Safe for several threads."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        self._matches = [0] * len(rules)
        self._lock = threading.Lock()

    def actions_for(self, message: Json) -> list[Action] | None:
        """The actions for a request or notification; None if no rule serves it."""
        method, params = message["method"], message.get("params")
        tool = params.get("name") if isinstance(params, dict) and method == "tools/call" else None
        return self._choose(
            rule.tool in (None, tool)
            and (rule.method == method or (rule.method == "*" and "id" in message))
            and (rule.params is None or _holds(params, rule.params))
            for rule in self._rules
        )

    def actions_for_verb(self, verb: str) -> list[Action] | None:
        """The actions for every HTTP request with this verb and any body; None if no rule serves it."""
        return self._choose(rule.method == verb for rule in self._rules)

    def _choose(self, matching: Any) -> list[Action] | None:
        chosen = None
        with self._lock:
            for number, (rule, matches) in enumerate(zip(self._rules, matching, strict=True)):
                self._matches[number] += matches
                if chosen is None and matches and rule.serves(self._matches[number]):
                    chosen = rule.actions
        return chosen


def _holds(value: Any, pattern: Any) -> bool:
    """Whether the value contains the pattern, as `Rule.params` describes it."""
    if not isinstance(pattern, dict):
        return bool(value == pattern)
    return isinstance(value, dict) and all(_holds(value.get(key), part) for key, part in pattern.items())

"""Strict loading of the parts of a script from JSON.

An unknown field or action is a `ScriptError` that names it. Without this, a typing mistake would make a well-behaved
server, and a test that expects misbehaviour would prove nothing.
"""

from dataclasses import fields
from typing import Any, TypeVar, cast

from mock_servers import actions as _actions
from mock_servers import remote_actions as _remote_actions

_T = TypeVar("_T")

_KNOWN_ACTIONS = frozenset(
    name
    for module in (_actions, _remote_actions)
    for name, value in vars(module).items()
    if callable(value) and not name.startswith("_") and name[0].islower()
)


class ScriptError(ValueError):
    """The script is invalid; the message names the field."""


def build(kind: type[_T], value: Any, where: str) -> _T:
    """The dataclass `kind` from a JSON object; `where` names the object in errors. Raises `ScriptError`."""
    if not isinstance(value, dict):
        raise ScriptError(f"{where}: expected an object, got {value!r}")
    unknown = sorted(set(value) - {f.name for f in fields(cast("Any", kind))})
    if unknown:
        raise ScriptError(f"{where}: unknown field {', '.join(unknown)}")
    try:
        return kind(**value)
    except TypeError as problem:
        raise ScriptError(f"{where}: {problem}") from problem


def check_actions(actions: Any, where: str) -> None:
    """Raise `ScriptError` unless this is a list of known actions."""
    if not isinstance(actions, list):
        raise ScriptError(f"{where}: expected a list of actions, got {actions!r}")
    for number, action in enumerate(actions):
        name = action.get("do") if isinstance(action, dict) else None
        if name not in _KNOWN_ACTIONS:
            raise ScriptError(f"{where}[{number}]: unknown action {name!r}")

"""The program that checks arguments against schemas. ``policy.arguments`` starts it as a child process.

A schema comes from a server: it may take years to evaluate, use all memory, or crash the native library. Here that ends only this
process. The kernel ends a check after ``MAX_TIME`` seconds of processor time, which no library can prevent. The check never fetches
anything: a schema with a reference to outside counts as broken.

The program is an MCP server with two methods. The params of ``check`` are the name of a tool, the text of the arguments, and the text of
the schema if that is new. Those of ``check_members`` are the text of the arguments alone. The program imports nothing of this package, so
that it can run by its path.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, TypeAlias

#: Seconds of processor time that one check may take.
MAX_TIME = 0.5
#: Problems in one result, and characters of each.
MAX_PROBLEMS = 5
MAX_PROBLEM_TEXT = 300

Json = dict[str, Any]

#: A step in a value, and the path before it.
_Path: TypeAlias = "tuple[str, _Path] | None"

_validators: dict[str, Any] = {}

_TOO_DEEP = {"path": [], "text": "they are nested too deeply to be checked"}


def main() -> None:
    """Answer line by line until the end of the input."""
    # Numbers may have any length; the processor time is bounded anyway.
    sys.set_int_max_str_digits(0)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "id" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": result_of(message)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def result_of(message: Json) -> Json:
    """The result of a request."""
    if message["method"] == "initialize":
        version = message["params"]["protocolVersion"]
        return {
            "protocolVersion": version,
            "capabilities": {},
            "serverInfo": {"name": "checker", "version": "1"},
        }
    _limit(MAX_TIME)
    try:
        return (check_members if message["method"] == "check_members" else check)(**message["params"])
    finally:
        _limit(0.0)


def check(tool: str, args: str, schema: str | None = None) -> Json:
    """The ``problems`` or the ``repeated`` members of the arguments; or ``broken``, the problem of the schema.

    Or ``missing``, if the library is not installed.
    """
    try:
        import jsonschema_rs
    except ImportError:
        return {"missing": True}
    try:
        if schema is not None:
            _validators[tool] = validator_for(jsonschema_rs, read(schema))
    except (
        jsonschema_rs.ValidationError,
        jsonschema_rs.ReferencingError,
        ValueError,
        RecursionError,
    ) as error:
        return {"broken": _short(str(error).partition("\n")[0])}
    problems = []
    try:
        if repeated := repeated_members(args):
            return {"repeated": repeated}
        for problem in islice(_validators[tool].iter_errors(read(args)), MAX_PROBLEMS):
            if problem.message.startswith("Error executing regex"):
                return {"broken": "one of its patterns takes too long"}
            problems.append({"path": [str(step) for step in problem.instance_path], "text": _text(problem)})
    except (ValueError, RecursionError):
        problems.append(_TOO_DEEP)
    return {"problems": problems}


def check_members(args: str) -> Json:
    """The ``repeated`` members of arguments for a tool without a usable schema."""
    try:
        return {"repeated": repeated_members(args)}
    except (ValueError, RecursionError):
        return {"problems": [_TOO_DEEP]}


def read(text: str) -> object:
    """Decode JSON; fractions keep all digits."""
    return json.loads(text, parse_float=Decimal)


class _Repeating(dict[str, object]):
    """An object with a member twice; ``names`` are the names of all its members."""

    names: list[str]


def repeated_members(text: str) -> list[list[str]]:
    """The paths of members that an object has more than once: a check and a server may read different ones of their values.

    Escapes count as the characters that they stand for. At most ``MAX_PROBLEMS`` paths. The time is linear.
    """
    found = False

    def members_of(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal found
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        found = True
        repeating = _Repeating(members)
        repeating.names = [name for name, _ in pairs]
        return repeating

    value = json.loads(text, object_pairs_hook=members_of)
    return list(islice(_repeated_in(value), MAX_PROBLEMS)) if found else []


def _repeated_in(value: object) -> Iterator[list[str]]:
    """The path of each repeated member. A path on the stack is a step and the path before it, which costs no copies."""
    stack: list[tuple[object, _Path]] = [(value, None)]
    while stack:
        value, path = stack.pop()
        if isinstance(value, _Repeating):
            yield from (_steps((name, path)) for name, count in Counter(value.names).items() if count > 1)
        if isinstance(value, dict):
            inner = [(each, (name, path)) for name, each in value.items()]
        elif isinstance(value, list):
            inner = [(each, (str(place), path)) for place, each in enumerate(value)]
        else:
            continue
        stack += reversed(inner)


def _steps(path: _Path) -> list[str]:
    steps = []
    while path is not None:
        step, path = path
        steps.append(_short(step).encode(errors="replace").decode())
    return steps[::-1]


def validator_for(library: Any, schema: object) -> Any:
    """A validator for the dialect that the schema names, else for 2020-12 (MCP 2025-11-25, basic, "JSON Schema Usage")."""
    return library.validator_for(schema, offline=True)


def _text(problem: Any) -> str:
    if problem.kind.name == "falseSchema" and problem.schema_path[-1:] == ["additionalProperties"]:
        # If the schema allows no property at all, the message of the library names neither the property nor the rule.
        return "no property is allowed there"
    return _short(problem.message)


def _short(text: str) -> str:
    return text if len(text) <= MAX_PROBLEM_TEXT else text[:MAX_PROBLEM_TEXT] + "..."


def _limit(seconds: float) -> None:
    """Let the kernel end this process after this much processor time; 0 removes the limit. Does nothing on Windows."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()

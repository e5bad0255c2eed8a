"""The program that checks arguments against schemas. ``policy.arguments`` starts it as a child process.

A schema comes from a server: it may take years to evaluate, use all memory, or crash the native library. Here that ends only this
process. The kernel ends a check after ``MAX_TIME`` seconds of processor time, which no library can prevent. The check never fetches
anything: a schema with a reference to outside counts as broken.

The program is an MCP server with one method, ``check``. Its params are the name of a tool, the text of the arguments, and the text of
the schema if that is new. It imports nothing of this package, so that it can run by its path.
"""

from __future__ import annotations

import json
import signal
import sys
from decimal import Decimal
from itertools import islice
from typing import Any

#: Seconds of processor time that one check may take.
MAX_TIME = 0.5
#: Problems in one result, and characters of each.
MAX_PROBLEMS = 5
MAX_PROBLEM_TEXT = 300

Json = dict[str, Any]

_validators: dict[str, Any] = {}


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
        return check(**message["params"])
    finally:
        _limit(0.0)


def check(tool: str, args: str, schema: str | None = None) -> Json:
    """The ``problems`` of the arguments; or ``broken``, the problem of the schema; or ``missing``, if the library is not installed."""
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
        for problem in islice(_validators[tool].iter_errors(read(args)), MAX_PROBLEMS):
            if problem.message.startswith("Error executing regex"):
                return {"broken": "one of its patterns takes too long"}
            problems.append({"path": [str(step) for step in problem.instance_path], "text": _text(problem)})
    except (ValueError, RecursionError):
        problems.append({"path": [], "text": "they are nested too deeply to be checked"})
    return {"problems": problems}


def read(text: str) -> object:
    """Decode JSON; fractions keep all digits."""
    return json.loads(text, parse_float=Decimal)


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

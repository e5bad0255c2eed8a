"""The program that checks arguments against schemas, as a child process of its own: ``policy.arguments`` starts it.

A schema is a program that a server wrote: it may loop for years, eat memory, or find a mistake in a library that is machine code. Here
that ends this process and nothing else. A check that takes more than ``MAX_TIME`` seconds of processor time is ended by the
kernel, which no library can delay. Nothing is ever fetched: a reference that leads out of the schema makes it a broken one.

Spoken to as an MCP server with one method, ``check``: the name of a tool, and the texts of its schema and of the arguments; the schema is
left out when it is the one that the tool had last. Imports nothing of this package, so that it can be started by its path.
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
#: Mistakes that are named, and characters of each text.
MAX_PROBLEMS = 5
MAX_TEXT = 300

Json = dict[str, Any]

_validators: dict[str, Any] = {}


def main() -> None:
    """Answer one line after the other until the end of the input."""
    # Numbers of any length arrive and must be read; the processor time is bounded anyway.
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
    """What is wrong with the arguments (``problems``), or with the schema (``broken``), or that there is no library (``missing``)."""
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
    """A JSON value; fractions keep every digit and every size."""
    return json.loads(text, parse_float=Decimal)


def validator_for(library: Any, schema: object) -> Any:
    """A validator of the dialect that the schema names, else of 2020-12 (MCP 2025-11-25, "JSON Schema Usage")."""
    return library.validator_for(schema, offline=True)


def _text(problem: Any) -> str:
    if problem.kind.name == "falseSchema" and problem.schema_path[-1:] == ["additionalProperties"]:
        # The library names neither the property nor the rule where there are no other properties.
        return "no property is allowed there"
    return _short(problem.message)


def _short(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "..."


def _limit(seconds: float) -> None:
    """Have the kernel end this process after so much processor time; 0 takes that back. Windows cannot."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


if __name__ == "__main__":
    main()

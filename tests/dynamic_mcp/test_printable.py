"""Text of others on a terminal or in a log: visible characters on one line, and no print that bypasses it."""

from __future__ import annotations

import ast
import json
import logging
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dynamic_mcp
from dynamic_mcp import log as logs
from dynamic_mcp.commands import arguments, terminal
from dynamic_mcp.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(dynamic_mcp.__file__).parent
FORGED = "x\n2026-01-01 00:00:00,000 ERROR forged"
#: what may write past `printable`, by module, and why
DIRECT_WRITES = {
    "cli.py": "the schema of the proxy itself",
    "commands/completion.py": "a script of argcomplete",
    "commands/terminal.py": "the functions that print for all commands",
    "extras/audit.py": "the audit log, in JSON",
    "extras/early_answers.py": "messages for the client",
    "extras/policy/checker.py": "messages for the proxy",
    "extras/sharing/attach.py": "messages for the client",
    "extras/sharing/election.py": "the error of a start for the starter, whose functions print it; stderr is only flushed",
    "frontend/client.py": "messages for the client",
    "process/guard.py": "numbers for the helper process",
    "unread.py": "the lines of the log, of a crash, and an address that is already ASCII",
}
STREAMS = (
    "sys.stdout",
    "sys.stderr",
    "sys.__stdout__",
    "sys.__stderr__",
    "os.write",
    "os.writev",
    "warnings.warn",
)
WRITERS = (
    "print",
    "input",
    "pprint",
    "StreamHandler",
    "print_exc",
    "print_exception",
    "print_usage",
    "print_help",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Grüße, 日本語\u3000テスト 🎉 naïve", "Grüße, 日本語\u3000テスト 🎉 naïve"),
        ("C:\\new", "C:\\new"),
        ("a\x1b[2Jb\x07", "a\\u001b[2Jb\\u0007"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x7f\x9b31m\x85", "\\u007f\\u009b31m\\u0085"),
        ("\u2028\u2029\u202e\u2066\u200b\ufeff\u00ad", "\\u2028\\u2029\\u202e\\u2066\\u200b\\ufeff\\u00ad"),
        ("\U000e0041\u3164\udc9b", "\\udb40\\udc41\\u3164\\udc9b"),
    ],
)
def test_characters(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text(st.characters()))
def test_nothing_invisible_remains(text: str) -> None:
    safe = printable(text, None)

    assert not {unicodedata.category(letter) for letter in safe} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert safe.encode().decode() == safe
    assert printable(safe, None) == safe


@given(st.text(st.characters(codec="utf-8")))
def test_json_keeps_its_value(text: str) -> None:
    assert json.loads(printable(json.dumps({"a": text}, ensure_ascii=False), None)) == {"a": text}


def test_long_text_is_cut() -> None:
    assert printable("x" * 20_000_000, 5) == "xxxxx... (19999995 more characters)"


def formatted(record: logging.LogRecord) -> str:
    return logs.SafeFormatter().format(record)


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("x").makeRecord("x", 30, "f", 1, message, args, None, extra=extra)


def test_log_record_is_one_line() -> None:
    text = formatted(record("group %s: %s", FORGED, "\x1b]0;title\x07\u202e"))

    assert "\n" not in text
    assert "x\\n2026-01-01" in text
    assert "\\u001b]0;title\\u0007\\u202e" in text


def test_traceback_keeps_its_lines_and_none_begins_like_a_record() -> None:
    try:
        raise ValueError(FORGED + "\x1b[2J")
    except ValueError as error:
        caught = (type(error), error, error.__traceback__)

    lines = formatted(logging.LogRecord("x", 40, "f", 1, "broken", (), caught)).splitlines()

    assert lines[0].endswith(" broken")
    assert lines[1:3] == ["  Traceback (most recent call last):", lines[2]]
    assert all(line.startswith("  ") for line in lines[1:])
    assert lines[-1] == "  2026-01-01 00:00:00,000 ERROR forged\\u001b[2J"


def test_bug_report_has_one_line_for_each_frame(caplog: pytest.LogCaptureFixture) -> None:
    logs.log.addHandler(caplog.handler)
    caplog.handler.setFormatter(logs.SafeFormatter())
    try:
        try:
            raise ValueError(FORGED)
        except ValueError as error:
            logs.report_bug(FORGED, error)
    finally:
        logs.log.removeHandler(caplog.handler)

    lines = caplog.text.splitlines()
    assert lines[0].endswith(r"x\n2026-01-01 00:00:00,000 ERROR forged: internal error ValueError")
    assert lines[1].startswith("    File ")
    assert caplog.text.count("forged") == 2  # in the source line of the frame, too


def test_commands_print_one_line_for_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say(FORGED, "second")
    terminal.show("\x1b[2J")

    assert capsys.readouterr() == ("\\u001b[2J\n", FORGED.replace("\n", "\\n") + "\nsecond\n")


def test_errors_about_arguments_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments.Parser(prog="p", usage="u").parse_args(["\x1b[2J" + FORGED])

    assert capsys.readouterr().err == (
        "usage: u\np: error: unrecognized arguments: \\u001b[2Jx\\n2026-01-01 00:00:00,000 ERROR forged\n"
    )


def test_unexpected_exception_is_printed_indented(capfd: pytest.CaptureFixture[str]) -> None:
    terminal.report_crash(ValueError, ValueError(FORGED + "\x9b"), None)

    assert capfd.readouterr().err == (
        "dynamic-mcp: internal error\n  ValueError: x\n  2026-01-01 00:00:00,000 ERROR forged\\u009b\n"
    )


def test_ctrl_c_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    terminal.report_crash(KeyboardInterrupt, KeyboardInterrupt(), None)

    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_nothing_prints_past_the_function() -> None:
    found = {
        str(file.relative_to(ROOT)): sorted(direct_writes(ast.parse(file.read_text())))
        for file in ROOT.rglob("*.py")
    }

    assert {name: calls for name, calls in found.items() if calls and name not in DIRECT_WRITES} == {}


def direct_writes(tree: ast.AST) -> Iterator[str]:
    """The uses of a function or a stream that can print. Types of parsers and questions about a stream do not count."""
    nodes = list(ast.walk(tree))
    asked = {node.value for node in nodes if isinstance(node, ast.Attribute) and node.attr == "isatty"}
    for node in nodes:
        if isinstance(node, ast.Name | ast.Attribute) and node not in asked:
            name = ast.unparse(node)
            if name in STREAMS or name.split(".")[-1] in WRITERS:
                yield name
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser"):
            yield ast.unparse(node.func)


@pytest.mark.parametrize(
    "code",
    [
        "print(x)",
        "sys.stderr.write(x)",
        "sys.stdout.buffer.write(x)",
        "out = sys.stdout",
        "os.write(2, x)",
        "argparse.ArgumentParser()",
        "traceback.print_exc()",
    ],
)
def test_a_print_past_the_function_is_found(code: str) -> None:
    assert list(direct_writes(ast.parse(code)))

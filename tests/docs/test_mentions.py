"""The commands, options, tox environments and modules that the pages mention exist.

`test_commands` runs the commands in blocks of `sh`.
"""

from __future__ import annotations

import configparser
import functools
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, fences, mentions

WITHIN = 60.0
#: the words that start each program, and its module
PROGRAMS = {
    "dynamic-mcp": "dynamic_mcp",
    "python -m dynamic_mcp": "dynamic_mcp",
    "dynamic-mcp-conformance": "conformance",
    "python -m conformance": "conformance",
    "python -m conformance.official": "conformance.official",
    "python -m mock_servers": "mock_servers",
}
#: programs without subcommands
_WITHOUT_COMMANDS = {"conformance.official"}
#: the beginnings of command lines that a reader would type
_COMMAND_TO_TYPE = re.compile(
    r"\s*(\$ |(sudo|pip|pipx|python3?|uv|uvx|npm|npx|tox|export|claude|dynamic-mcp(-conformance)?|dmcp) [^{])"
)
#: on the generated page of implementations: the command that repeats a finding
_FINDING = re.compile(r"python -m conformance run --profile [\w-]+ --only [A-Z]+-\d{3}")

#: a module or a folder with modules; pages name those of the proxy without its package
_MODULE = re.compile(r"(?:[\w-]+/)*[\w-]+(?:\.py|/)")
_MODULE_ROOTS = (ROOT, ROOT / "dynamic_mcp")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _split(text: str) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    return words[: words.index("--")] if "--" in words else words


def _split_program(words: list[str]) -> tuple[str, list[str]]:
    """The module that the words start, and the words after its name; empty for another program."""
    for program, module in PROGRAMS.items():
        named = program.split()
        if words[: len(named)] == named:
            return module, words[len(named) :]
    return "", []


def _mentioned_options() -> dict[tuple[str, str], dict[str, str]]:
    """By module and subcommand: the options that pages mention, each with one of the mentions."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for page in PAGES:
        for text in mentions(page):
            module, words = _split_program(_split(text))
            if not module:
                continue
            is_command = bool(words) and re.fullmatch(r"[a-z]+", words[0]) and module not in _WITHOUT_COMMANDS
            options = found.setdefault((module, words[0] if is_command else ""), {})
            for option in (word.partition("=")[0] for word in words if word.startswith("--")):
                options[option] = f"{_name(page)}: {text}"
    return found


MENTIONED = _mentioned_options()


@pytest.mark.slow
@pytest.mark.parametrize(("module", "command"), MENTIONED, ids=[" ".join(one) for one in MENTIONED])
def test_mentioned_command_exists_with_its_options(module: str, command: str) -> None:
    words = [sys.executable, "-m", module, *([command] if command else []), "--help"]
    done = subprocess.run(
        words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WITHIN, check=False
    )
    assert done.returncode == 0, f"{shlex.join(words[1:-1])} does not exist: {done.stderr}"
    for option, mention in MENTIONED[module, command].items():
        assert re.search(rf"{re.escape(option)}\b", done.stdout), f"{mention}: has no {option}"


@functools.cache
def _tox_environments() -> set[str]:
    """The environments of `tox.ini`; a section such as `py3{11,12}` describes several."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini", encoding="utf-8")
    names = {"py"}
    for section in tox.sections():
        before, brace, rest = section.removeprefix("testenv:").partition("{")
        names |= {before + factor for factor in rest.rstrip("}").split(",")} if brace else {before}
    return names


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_mentioned_tox_environment_exists(page: Path) -> None:
    known = _tox_environments()
    mentioned = {
        name
        for text in mentions(page)
        if (found := re.match(r"tox -e ([\w,-]+)", text))
        for name in found[1].split(",")
    }

    assert sorted(mentioned - known) == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_command_to_type_is_in_a_tested_block(page: Path) -> None:
    typed = [
        line
        for _, info, content in fences(page)
        if info.split()[:1] not in (["sh"], ["yaml"]) and "output" not in info
        for line in content.splitlines()
        if _COMMAND_TO_TYPE.match(line) and not _FINDING.fullmatch(line)
    ]

    assert typed == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_mentioned_module_exists(page: Path) -> None:
    mentioned = [text for text in mentions(page) if _MODULE.fullmatch(text)]

    assert [text for text in mentioned if not any((root / text).exists() for root in _MODULE_ROOTS)] == []

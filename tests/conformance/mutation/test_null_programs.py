"""The null programs: each does what its name says, and no check of a sample passes one."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import anyio
import pytest

from conformance.checks.loading import load_checks
from conformance.mutants.loading import load_designs, load_mutants
from conformance.mutation import null_programs
from conformance.mutation.run import main
from conformance.workbench.census import Census
from conformance.workbench.sandbox import TOKEN_VARIABLE
from tests.dynamic_mcp.helpers import eventually

if TYPE_CHECKING:
    from pathlib import Path

CALL = b'{"id": 1, "method": "tools/call", "params": {"name": "x", "arguments": {"group": "a"}}}\n'
REFUSED = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "No such tool or group"}}\n'
CONFIG = b'{"mcpServers": {}}'
#: the null programs that relay: without a group they refuse every call
LIARS = [
    name
    for name, one in null_programs.NULL_PROGRAMS.items()
    if one.run.__module__ == null_programs.liars.__name__
]
#: what each null program that writes anything answers to a call
ANSWERS = {
    "echoes": CALL,
    "prints-its-configuration": CONFIG,
    "answers-everything-with-success": b'{"jsonrpc": "2.0", "id": 1, "result": {}}\n',
    **dict.fromkeys(LIARS, REFUSED),
    "answers-twice": 2 * REFUSED,
    "answers-with-wrong-shapes": b'{"jsonrpc": "2.0", "id": 1, "error": null}\n',
    "looks-like-a-proxy": b'{"jsonrpc": "2.0", "id": 1, "result": {"content": []}}\n',
}


ENDLESS = ("hangs", "floods", "forks-without-end", "relays-and-ignores-the-rest")


@pytest.mark.slow
@pytest.mark.parametrize("name", null_programs.NULL_PROGRAMS)
def test_a_null_program_does_what_its_name_says_until_the_census_ends_it(name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_bytes(CONFIG)
    token = uuid.uuid4().hex
    command = [sys.executable, "-I", "-S", str(null_programs.MAIN), name, str(config)]
    environment = {**os.environ, TOKEN_VARIABLE: token}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as one:
        if name in ENDLESS:
            with pytest.raises(subprocess.TimeoutExpired):
                one.communicate(CALL, timeout=1.0)
            census = Census(token)
            if name == "forks-without-end":
                anyio.run(eventually, lambda: len(census.alive()) > 2, "it forks", 20.0)
            else:
                assert len(census.alive()) == 1
            anyio.run(census.end_all)
            assert not census.alive()
        else:
            stdout, stderr = one.communicate(CALL, timeout=30.0)
            assert b"Traceback" not in stderr
            assert stdout == ANSWERS.get(name, b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["imitates-without-starting", "lists-and-never-calls", "fails-every-call", "is-always-empty"],
)
def test_a_liar_passes_no_check_that_calls(name: str) -> None:
    checks = load_checks()
    sample = {id_: checks[id_] for id_ in ("FRONT-010", "HTTP-007", "STD-001")}
    assert main([name], mutants={}, checks=sample) == 0


def test_no_other_program_of_the_matrix_has_the_name_of_a_null_program() -> None:
    """The matrix tells programs apart by their names."""
    others = {*load_mutants(), *load_designs()}
    assert not others & null_programs.NULL_PROGRAMS.keys()


def test_each_excuse_names_a_check_and_a_reason() -> None:
    checks = load_checks()
    for program in null_programs.NULL_PROGRAMS.values():
        assert set(program.passes) <= set(checks), program.name
        assert all(reason.endswith(".") is False and len(reason) > 20 for reason in program.passes.values())

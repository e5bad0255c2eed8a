"""The variables that a child inherits."""

from __future__ import annotations

import sys

import pytest

from dynamic_mcp.extras.hardening import environment
from dynamic_mcp.extras.hardening.environment import inherited

ENVIRONMENT = {"PATH": "/bin", "LC_TIME": "C", "TOKEN": "t", "TOKEN_2": "u", "APP_A": "a", "APPB": "b"}


@pytest.fixture(autouse=True)
def on_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "NEEDED", ("PATH", "LC_*"))


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (None, set(ENVIRONMENT)),
        ((), {"PATH", "LC_TIME"}),
        (("TOKEN", "ABSENT"), {"PATH", "LC_TIME", "TOKEN"}),
        (("APP_*",), {"PATH", "LC_TIME", "APP_A"}),
        (("APP*",), {"PATH", "LC_TIME", "APP_A", "APPB"}),
        (("*",), set(ENVIRONMENT)),
        (("token",), {"PATH", "LC_TIME"}),
    ],
)
def test_child_inherits_allowed_and_needed_variables(
    allowed: tuple[str, ...] | None, names: set[str]
) -> None:
    assert inherited(allowed, ENVIRONMENT) == {name: ENVIRONMENT[name] for name in names}


def test_case_of_names_does_not_matter_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")

    assert set(inherited(("token", "app_*"), {**ENVIRONMENT, "Path": "c"})) >= {"TOKEN", "APP_A", "Path"}


def test_child_gets_a_copy_of_the_environment() -> None:
    inherited(None, ENVIRONMENT)["PATH"] = "changed"

    assert ENVIRONMENT["PATH"] == "/bin"

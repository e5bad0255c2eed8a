"""A fake workbench and small checks, for tests without an implementation."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from conformance.checks import Check, make_check
from conformance.model.evidence import Event, Evidence
from conformance.model.profile import Profile
from conformance.model.sut import Sut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: a requirement that has to hold, and one of each lower level
MUST, SHOULD, MAY = "CFG-001", "FRONT-008", "HARD-002"


@dataclass
class FakeWorkbench:
    """The workbench of a check: its id, and evidence like that of the real one."""

    check_id: str
    stderr: str = ""
    version: str = "1.2.3"
    answered: bool | None = True
    contacted_no_remote: bool = False
    began_no_sign_in: bool = False
    evidence: Evidence = field(
        default_factory=lambda: Evidence([Event(1.5, "client", "sent", "initialize")], "", "a line on stderr")
    )


class FakeFactory:
    """Opens fake workbenches, and remembers which ones and the greatest number at once."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.most_at_once = 0

    @asynccontextmanager
    async def __call__(self, sut: Sut, check_id: str, *, keep: bool) -> AsyncIterator[Any]:
        self.opened.append(check_id)
        self.most_at_once = max(self.most_at_once, len(self.opened) - len(self.closed))
        try:
            yield FakeWorkbench(check_id)
        finally:
            self.closed.append(check_id)


def fake_sut(profile: Profile | None = None) -> Sut:
    """An implementation that no test starts."""
    return Sut("fake", ("/bin/fake", "{config}"), profile or Profile("fake"))


async def passes(workbench: Any) -> None:
    """It holds."""


def checks_of(*made: Check) -> dict[str, Check]:
    """The checks by id, as the command line takes them."""
    return {check.id: check for check in made}


def passing(requirement_id: str = MUST, **how: Any) -> Check:
    """A check that passes."""
    return make_check(passes, requirement_id, **how)


def raising(error: BaseException, requirement_id: str = MUST, **how: Any) -> Check:
    """A check that always ends with `error`."""

    async def raises(workbench: Any) -> None:
        raise error

    return make_check(raises, requirement_id, **how)

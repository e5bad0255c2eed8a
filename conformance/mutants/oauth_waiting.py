"""Mistakes while a sign-in waits for the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.mutants import instances, mutant, replace
from dynamic_mcp.frontend.pages import Pages
from dynamic_mcp.groups.signing_in import SigningIn, WaitEnd
from dynamic_mcp.groups.supervisor import Supervisor
from dynamic_mcp.oauth import sign_in_lock, waiting
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.waiting import SignInWait

if TYPE_CHECKING:
    from dynamic_mcp.config.diff import Diff
    from dynamic_mcp.config.model import Config
    from dynamic_mcp.errors import SignInNeeded
    from dynamic_mcp.groups.group import Group


@mutant("OAUTH-060")
def each_process_signs_in_for_itself() -> None:
    """It did so up to version 1.1."""
    replace(sign_in_lock.SignInLock.take, lambda self: True)


@mutant("OAUTH-060")
def never_looks_at_the_store_while_it_waits() -> None:
    waiting.STORE_POLL = 1000.0


@mutant("OAUTH-061")
def a_dead_process_keeps_its_turn() -> None:
    """A file says whose turn it is, and stays."""
    right, waiting_for_ever = sign_in_lock.SignInLock.take, set[sign_in_lock.SignInLock]()

    def wrong(self: sign_in_lock.SignInLock) -> bool:
        if not right(self):
            waiting_for_ever.add(self)
        return self not in waiting_for_ever

    replace(right, wrong)


@mutant("OAUTH-062")
def signs_in_at_the_start() -> None:
    """It did so up to version 1.1."""

    async def wrong(self: SigningIn, need: SignInNeeded) -> WaitEnd:
        return WaitEnd.NAMED

    replace(SigningIn.wait_until_named, wrong)


@mutant("OAUTH-062")
def signs_in_at_the_start_after_a_refused_token() -> None:
    right = SigningIn.wait_until_named

    async def wrong(self: SigningIn, need: SignInNeeded) -> WaitEnd:
        sent_a_token = isinstance(need.challenge, Challenge) and need.challenge.error == "invalid_token"
        return WaitEnd.NAMED if sent_a_token else await right(self, need)

    replace(right, wrong)


@mutant("OAUTH-062")
def signs_in_after_a_reload() -> None:
    right, made = Supervisor.apply, instances(SigningIn)

    def wrong(self: Supervisor, config: Config, changes: Diff) -> None:
        before = len(made)
        right(self, config, changes)
        for one in made[before:]:
            one.is_named = True

    replace(right, wrong)


@mutant("OAUTH-063")
def says_nothing_of_a_pending_sign_in() -> None:
    """It did so up to version 1.1."""
    right = Authorization.sign_in_help

    def wrong(self: Authorization, *, pending: bool = False) -> str:
        return "" if pending else right(self)

    replace(right, wrong)


@mutant(
    "FRONT-150",
    also={
        "FRONT-151": "the answer after a refusal lacks the address",
        "OAUTH-063": "so does the answer to a call that meets a sign-in",
    },
)
def keeps_the_address_to_itself() -> None:
    """It did so up to version 1.1."""
    replace(vars(SignInWait)["help"], property(lambda self: f"To sign in, run: {self.login}"))


@mutant("FRONT-151", also={"FRONT-152": "no client is asked"})
def asks_no_client() -> None:
    """It did so up to version 1.1."""

    def wrong(self: Pages, group: Group) -> bool:
        return False

    replace(Pages.can_show, wrong)


@mutant("FRONT-152")
def asks_legacy_clients_only() -> None:
    def wrong(self: Pages, group: Group) -> bool:
        return self._session.shows_pages  # Private: only the session knows the era of the client

    replace(Pages.can_show, wrong)

"""Tokens in a keyring: no file holds them, and one that cannot be used, or takes its time, is said and costs no more than it must."""

from __future__ import annotations

import asyncio
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keyring import backend, core
from keyring.backends import fail, null

from dynamic_mcp.errors import SignInNeeded, StoreFailed
from dynamic_mcp.extras import keychain
from dynamic_mcp.extras.keychain import SERVICE, KeyringStore
from dynamic_mcp.oauth.authorization import Authorization
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.server import token_store
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.oauth.kit import ACCESS, DAY, REFRESH, grant, refuse, renewals, stored

Use = Callable[[Any], "Keyring"]


class Keyring:
    """A keyring in memory, that refuses what it is told to, and waits for a person where it is told to."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.refuses: set[str] = set()
        self.person: threading.Event | None = None
        self.asked: list[str] = []

    def get_password(self, service: str, username: str) -> str | None:
        self._ask("get_password")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._ask("set_password")
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._ask("delete_password")
        del self.kept[service, username]

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.person is not None:
            assert self.person.wait(WITHIN)
        if what in self.refuses:
            raise RuntimeError("a secret")


@pytest.fixture(autouse=True)
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """The keyring of this machine."""
    made = Keyring()
    monkeypatch.setattr(keychain, "_chosen", [made])
    return made


@pytest.fixture
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keyring is chosen yet, and what is chosen is forgotten."""
    monkeypatch.setattr(keychain, "_chosen", [])
    monkeypatch.setattr(core, "_keyring_backend", None)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    monkeypatch.setattr(core, "load_config", lambda: None)


@pytest.fixture
def kept(store: FileStore) -> KeyringStore:
    return KeyringStore("docs", store)


def test_what_is_saved_is_loaded_and_deleted_and_in_no_file(
    kept: KeyringStore, keyring: Keyring, tmp_path: Path
) -> None:
    assert kept.load() is None
    tokens = stored()
    kept.save(tokens)
    assert KeyringStore("docs").load() == tokens
    assert list(keyring.kept) == [(SERVICE, "docs")]
    assert kept.delete()
    assert not kept.delete()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("entry", ["", "{", "{}", '{"access_token":5}'])
def test_a_damaged_entry_is_no_token(
    kept: KeyringStore, keyring: Keyring, caplog: pytest.LogCaptureFixture, entry: str
) -> None:
    keyring.kept[SERVICE, "docs"] = entry

    assert kept.load() is None
    assert "keyring entry of server docs is damaged" in caplog.text


@pytest.mark.parametrize(
    ("what", "do"),
    [
        ("get_password", lambda kept: kept.load()),
        ("set_password", lambda kept: kept.save(stored())),
        ("get_password", lambda kept: kept.delete()),
    ],
)
def test_a_keyring_that_refuses_is_a_failure_without_its_text(
    kept: KeyringStore, keyring: Keyring, what: str, do: Callable[[KeyringStore], object]
) -> None:
    keyring.refuses.add(what)

    with pytest.raises(StoreFailed, match=r"the keyring refuses its tokens \(RuntimeError\)"):
        do(kept)


@pytest.mark.usefixtures("no_choice")
def test_without_the_library_it_is_said_what_to_install(
    kept: KeyringStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(StoreFailed, match="pip install 'dynamic-mcp-reference\\[keyring\\]'"):
        kept.load()


class Found(backend.KeyringBackend):
    """A backend that was found on the machine."""

    priority: float = 5

    def get_password(self, service: str, username: str) -> str | None:
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


class NotRecommended(Found):
    """Such as one that keeps passwords in a plain file."""

    priority = 0.5


@pytest.mark.usefixtures("no_choice")
@pytest.mark.parametrize("found", [[], [fail.Keyring()], [null.Keyring()], [NotRecommended()]])
def test_without_a_keyring_to_trust_it_is_said_and_looked_for_again(
    kept: KeyringStore, monkeypatch: pytest.MonkeyPatch, found: list[Any]
) -> None:
    monkeypatch.setattr(backend, "get_all_keyring", lambda: found)
    with pytest.raises(StoreFailed, match="there is no usable one on this machine"):
        kept.load()
    monkeypatch.setattr(backend, "get_all_keyring", lambda: [Found()])
    assert kept.load() is None


@pytest.mark.usefixtures("no_choice")
def test_the_keyring_that_the_user_chose_is_taken_as_it_is(
    kept: KeyringStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "load_env", NotRecommended)

    assert kept.load() is None


@pytest.mark.usefixtures("no_choice")
def test_a_backend_that_cannot_be_loaded_is_said(kept: KeyringStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no.such.Keyring")

    with pytest.raises(StoreFailed, match=r"cannot be loaded \(ModuleNotFoundError\)"):
        kept.load()


def test_a_file_from_before_is_told_of_once_and_not_used(
    kept: KeyringStore, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(stored())

    assert kept.load() is None
    assert kept.load() is None
    (message,) = caplog.messages
    assert str(store.path) in message


def contents(directory: Path) -> list[tuple[str, bytes, int]]:
    """Name, content and mode of every file."""
    return [(one.name, one.read_bytes(), stat.S_IMODE(one.stat().st_mode)) for one in directory.iterdir()]


async def test_one_process_at_a_time_holds_the_lock_which_is_an_empty_file(
    kept: KeyringStore, store: FileStore, directory: Path
) -> None:
    async with asyncio.timeout(WITHIN):
        async with kept.lock():
            waiting = asyncio.create_task(KeyringStore("docs", store).lock().__aenter__())
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            assert not done
        await waiting
    assert contents(directory) == [("docs.lock", b"", 0o600)]


def test_the_store_is_the_configured_one() -> None:
    assert isinstance(token_store("docs", "file"), FileStore)
    assert isinstance(token_store("docs", "keyring"), KeyringStore)


# In use


@pytest.fixture
async def authorization(kept: KeyringStore, make: Any) -> Authorization:
    made = make(kept=kept)
    assert isinstance(made, Authorization)
    return made


async def test_a_renewal_is_kept_in_the_keyring(
    authorization: Authorization, kept: KeyringStore, routes: None
) -> None:
    kept.save(stored())
    renewals(grant(1))

    assert await authorization.bearer() == f"{ACCESS}-1"
    found = kept.load()
    assert found is not None
    assert (found.access_token, found.refresh_token) == (f"{ACCESS}-1", f"{REFRESH}-1")


async def test_a_person_who_unlocks_the_keyring_is_waited_for_by_nobody_else_and_asked_once(
    authorization: Authorization, kept: KeyringStore, keyring: Keyring
) -> None:
    kept.save(stored(DAY))
    keyring.asked.clear()
    keyring.person = threading.Event()
    impatient = asyncio.create_task(authorization.bearer())
    await eventually(lambda: keyring.asked, "the question")
    impatient.cancel()
    patient = [asyncio.create_task(authorization.bearer()) for _ in range(3)]
    await asyncio.sleep(0)
    keyring.person.set()

    assert await asyncio.gather(*patient) == [f"{ACCESS}-0"] * 3
    assert keyring.asked == ["get_password"]


async def test_a_server_that_wants_no_token_works_without_a_keyring(
    authorization: Authorization, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    keyring.refuses.add("get_password")

    assert [await authorization.bearer() for _ in range(3)] == [None] * 3
    assert len(caplog.messages) == 1


async def test_a_server_that_wants_one_fails_before_the_user_is_asked_and_recovers(
    authorization: Authorization, kept: KeyringStore, keyring: Keyring
) -> None:
    keyring.refuses.add("get_password")
    assert await authorization.bearer() is None
    with pytest.raises(StoreFailed) as caught:
        await refuse(authorization, None, Challenge())
    assert not isinstance(caught.value, SignInNeeded)

    keyring.refuses.clear()
    kept.save(stored(DAY))
    await refuse(authorization, None, Challenge())
    assert await authorization.bearer() == f"{ACCESS}-0"


async def test_tokens_that_the_keyring_does_not_take_are_used_and_that_is_said(
    authorization: Authorization,
    kept: KeyringStore,
    keyring: Keyring,
    caplog: pytest.LogCaptureFixture,
    routes: None,
) -> None:
    kept.save(stored())
    keyring.refuses.add("set_password")
    renewals(grant(1))

    assert await authorization.bearer() == f"{ACCESS}-1"
    assert "lost with this process" in caplog.text

"""Tokens in a keyring: no file contains them, and an unusable or slow keyring affects only its own server."""

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
from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.challenge import Challenge
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.server import token_store
from tests.dynamic_mcp.helpers import WITHIN, eventually
from tests.dynamic_mcp.oauth.kit import ACCESS, DAY, REFRESH, URL, grant, refuse, renewals, stored

Use = Callable[[Any], "Keyring"]


class Keyring:
    """A keyring in memory. It refuses the methods in ``refuses``, and waits for the event ``unlocked`` if that is set."""

    def __init__(self) -> None:
        self.entries: dict[tuple[str, str], str] = {}
        self.refuses: set[str] = set()
        self.unlocked: threading.Event | None = None
        self.calls: list[str] = []

    def get_password(self, service: str, username: str) -> str | None:
        self._note("get_password")
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._note("set_password")
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._note("delete_password")
        del self.entries[service, username]

    def _note(self, method: str) -> None:
        self.calls.append(method)
        if self.unlocked is not None:
            assert self.unlocked.wait(WITHIN)
        if method in self.refuses:
            raise RuntimeError("a secret")


@pytest.fixture(autouse=True)
def keyring(monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """The keyring of this machine."""
    keyring = Keyring()
    monkeypatch.setattr(keychain, "_backends", [keyring])
    return keyring


@pytest.fixture
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without a chosen keyring, and forget the choice afterwards."""
    monkeypatch.setattr(keychain, "_backends", [])
    monkeypatch.setattr(core, "_keyring_backend", None)
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND", raising=False)
    monkeypatch.setattr(core, "load_config", lambda: None)


@pytest.fixture
def keyring_store(store: FileStore) -> KeyringStore:
    return KeyringStore("docs", store)


def test_tokens_are_in_the_keyring_and_in_no_file(
    keyring_store: KeyringStore, keyring: Keyring, tmp_path: Path
) -> None:
    assert keyring_store.load() is None
    tokens = stored()
    keyring_store.save(tokens)
    assert KeyringStore("docs").load() == tokens
    assert list(keyring.entries) == [(SERVICE, "docs")]
    assert keyring_store.delete()
    assert not keyring_store.delete()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("entry", ["", "{", "{}", '{"access_token":5}'])
def test_damaged_entry_counts_as_no_token(
    keyring_store: KeyringStore, keyring: Keyring, caplog: pytest.LogCaptureFixture, entry: str
) -> None:
    keyring.entries[SERVICE, "docs"] = entry

    assert keyring_store.load() is None
    assert "group docs: its keyring entry is damaged" in caplog.text


@pytest.mark.parametrize(
    ("method", "do"),
    [
        ("get_password", lambda keyring_store: keyring_store.load()),
        ("set_password", lambda keyring_store: keyring_store.save(stored())),
        ("get_password", lambda keyring_store: keyring_store.delete()),
    ],
)
def test_refusal_of_the_keyring_hides_its_text(
    keyring_store: KeyringStore, keyring: Keyring, method: str, do: Callable[[KeyringStore], object]
) -> None:
    keyring.refuses.add(method)

    with pytest.raises(StoreFailed, match=r"the keyring refuses its tokens \(RuntimeError\)"):
        do(keyring_store)


@pytest.mark.usefixtures("no_choice")
def test_missing_library_is_named(keyring_store: KeyringStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(StoreFailed, match="pip install 'dynamic-mcp-reference\\[keyring\\]'"):
        keyring_store.load()


class Found(backend.KeyringBackend):
    """A backend of the machine."""

    priority: float = 5

    def get_password(self, service: str, username: str) -> str | None:
        return None

    def set_password(self, service: str, username: str, password: str) -> None:
        raise NotImplementedError


class NotRecommended(Found):
    """A backend that the library does not recommend, such as one with a plain file."""

    priority = 0.5


@pytest.mark.usefixtures("no_choice")
@pytest.mark.parametrize("found", [[], [fail.Keyring()], [null.Keyring()], [NotRecommended()]])
def test_missing_keyring_is_a_failure_and_is_searched_again(
    keyring_store: KeyringStore, monkeypatch: pytest.MonkeyPatch, found: list[Any]
) -> None:
    monkeypatch.setattr(backend, "get_all_keyring", lambda: found)
    with pytest.raises(StoreFailed, match="there is no usable one on this machine"):
        keyring_store.load()
    monkeypatch.setattr(backend, "get_all_keyring", lambda: [Found()])
    assert keyring_store.load() is None


@pytest.mark.usefixtures("no_choice")
def test_keyring_of_the_user_is_used(keyring_store: KeyringStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "load_env", NotRecommended)

    assert keyring_store.load() is None


@pytest.mark.usefixtures("no_choice")
def test_backend_that_fails_to_load_is_named(
    keyring_store: KeyringStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "no.such.Keyring")

    with pytest.raises(StoreFailed, match=r"cannot be loaded \(ModuleNotFoundError\)"):
        keyring_store.load()


def test_existing_token_file_is_reported_once_and_not_used(
    keyring_store: KeyringStore, store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.save(stored())

    assert keyring_store.load() is None
    assert keyring_store.load() is None
    (message,) = caplog.messages
    assert str(store.path) in message


def contents(directory: Path) -> list[tuple[str, bytes, int]]:
    """Name, content and mode of every file."""
    return [(one.name, one.read_bytes(), stat.S_IMODE(one.stat().st_mode)) for one in directory.iterdir()]


async def test_lock_is_an_empty_file(keyring_store: KeyringStore, store: FileStore, directory: Path) -> None:
    async with asyncio.timeout(WITHIN):
        async with keyring_store.lock():
            waiting = asyncio.create_task(KeyringStore("docs", store).lock().__aenter__())
            done, _ = await asyncio.wait({waiting}, timeout=0.2)
            assert not done
        await waiting
    assert contents(directory) == [("docs.lock", b"", 0o600)]


def test_store_is_the_configured_one() -> None:
    entry = Binding("docs", URL, "app")
    assert not token_store(entry, "file").blocks
    assert token_store(entry, "keyring").blocks


# In use


@pytest.fixture
async def authorization(keyring_store: KeyringStore, make: Any) -> Authorization:
    authorization = make(store=keyring_store)
    assert isinstance(authorization, Authorization)
    return authorization


async def test_renewed_tokens_are_in_the_keyring(
    authorization: Authorization, keyring_store: KeyringStore, routes: None
) -> None:
    keyring_store.save(stored())
    renewals(grant(1))

    assert await authorization.bearer() == f"{ACCESS}-1"
    found = keyring_store.load()
    assert found is not None
    assert (found.access_token, found.refresh_token) == (f"{ACCESS}-1", f"{REFRESH}-1")


async def test_locked_keyring_prompts_once_and_blocks_no_other_server(
    authorization: Authorization, keyring_store: KeyringStore, keyring: Keyring
) -> None:
    keyring_store.save(stored(DAY))
    keyring.calls.clear()
    keyring.unlocked = threading.Event()
    impatient = asyncio.create_task(authorization.bearer())
    await eventually(lambda: keyring.calls, "the question")
    impatient.cancel()
    patient = [asyncio.create_task(authorization.bearer()) for _ in range(3)]
    await asyncio.sleep(0)
    keyring.unlocked.set()

    assert await asyncio.gather(*patient) == [f"{ACCESS}-0"] * 3
    assert keyring.calls == ["get_password"]


async def test_server_without_tokens_works_without_a_keyring(
    authorization: Authorization, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    keyring.refuses.add("get_password")

    assert [await authorization.bearer() for _ in range(3)] == [None] * 3
    assert len(caplog.messages) == 1


async def test_server_with_tokens_fails_without_a_keyring_and_recovers(
    authorization: Authorization, keyring_store: KeyringStore, keyring: Keyring
) -> None:
    keyring.refuses.add("get_password")
    assert await authorization.bearer() is None
    with pytest.raises(StoreFailed) as caught:
        await refuse(authorization, None, Challenge())
    assert not isinstance(caught.value, SignInNeeded)

    keyring.refuses.clear()
    keyring_store.save(stored(DAY))
    await refuse(authorization, None, Challenge())
    assert await authorization.bearer() == f"{ACCESS}-0"


async def test_refused_tokens_are_used_and_the_loss_is_logged(
    authorization: Authorization,
    keyring_store: KeyringStore,
    keyring: Keyring,
    caplog: pytest.LogCaptureFixture,
    routes: None,
) -> None:
    keyring_store.save(stored())
    keyring.refuses.add("set_password")
    renewals(grant(1))

    assert await authorization.bearer() == f"{ACCESS}-1"
    assert "lost when this process ends" in caplog.text

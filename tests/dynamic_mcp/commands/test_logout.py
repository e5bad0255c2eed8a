"""Which tokens ``dynamic-mcp logout`` deletes: with a configuration, only those of its entry."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from dynamic_mcp import server as server_module
from dynamic_mcp.commands import login
from dynamic_mcp.oauth.binding import Binding
from dynamic_mcp.oauth.store import FileStore
from dynamic_mcp.oauth.tokens import ClientRegistration, Tokens

URL = "https://a.example/mcp"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DYNAMIC_MCP_CONFIG", raising=False)


def configured(tmp_path: Path, entry: dict[str, object], token_store: str = "file") -> str:
    entries = {"a": {"description": "d", **entry}, "b": {"description": "d", "command": "x"}}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"mcpServers": entries, "security": {"token_store": token_store}}))
    return str(path)


def stored(url: str, *, beside: bool = False) -> Path:
    """The file with the tokens of an entry that is named "a"."""
    store = FileStore("a", slot=Binding("a", url, None).slot if beside else "")
    client = ClientRegistration("c", registered=True)
    store.save(Tokens("t", server="a", resource=url, issuer=url, token_endpoint=url, client=client))
    return store.path


@pytest.mark.parametrize(
    "entry", [{"url": URL}, {"url": URL, "enabled": False}, {"url": "${A}", "enabled": False}]
)
def test_only_the_tokens_of_the_entry_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: dict[str, object]
) -> None:
    monkeypatch.setenv("A", URL)
    other, own = stored("https://other.example/"), stored(URL, beside=True)

    assert login.main(["logout", "a", configured(tmp_path, entry)]) == 0

    assert (other.exists(), own.exists()) == (True, False)


def test_without_a_configuration_all_of_the_name_are_deleted() -> None:
    other, own = stored("https://other.example/"), stored(URL, beside=True)

    assert login.main(["logout", "a"]) == 0

    assert not other.exists()
    assert not own.exists()


def test_tokens_of_a_disabled_server_in_the_keyring_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds: list[str] = []

    def token_store(entry: Binding, kind: str) -> FileStore:
        kinds.append(kind)
        return FileStore(entry.server)

    monkeypatch.setattr(server_module, "token_store", token_store)

    login.main(["logout", "a", configured(tmp_path, {"url": URL, "enabled": False}, "keyring")])

    assert kinds == ["file", "keyring"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "c",
            "config.json: has no server 'c'; its servers are: b, a (disabled). Without a configuration, logout deletes",
        ),
        ("b", "config.json: 'b' is a child process, which has no tokens"),
    ],
)
def test_name_without_tokens_in_the_configuration_deletes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    store = FileStore(name)
    store.save(Tokens("t"))

    with pytest.raises(SystemExit) as ended:
        login.main(["logout", name, configured(tmp_path, {"url": URL, "enabled": False})])

    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert store.path.exists()


def test_logout_waits_for_a_renewal_that_has_begun(tmp_path: Path) -> None:
    """Otherwise the renewal would store tokens again."""
    path, order = stored(URL), list[str]()

    async def renewal(holding: threading.Event) -> None:
        async with FileStore("a").lock():
            holding.set()
            await asyncio.sleep(0.3)
            order.append("stored")
            stored(URL)

    begun = threading.Event()
    renewing = threading.Thread(target=lambda: asyncio.run(renewal(begun)))
    renewing.start()
    assert begun.wait(10)
    assert login.main(["logout", "a", configured(tmp_path, {"url": URL})]) == 0
    order.append("removed")
    renewing.join(10)

    assert order == ["stored", "removed"]
    assert not path.exists()


def test_logout_without_tokens_makes_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert login.main(["logout", "a", configured(tmp_path, {"url": URL})]) == 1
    assert "There are no tokens of a" in capsys.readouterr().err
    assert not (tmp_path / ".dynamic-mcp").exists()

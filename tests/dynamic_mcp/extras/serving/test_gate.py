"""Who may come in over HTTP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.serving.gate import Gate, is_name, is_origin
from dynamic_mcp.extras.serving.refused import RefusedRequest
from dynamic_mcp.extras.serving.token import MAX_FILE, VARIABLE, token_from
from tests.dynamic_mcp.extras.serving.door import request, serving

TOKEN = "correct-horse-battery"


def status(gate: Gate, *headers: tuple[str, str]) -> int:
    """The status of a refusal, or 200."""
    try:
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        gate.check(Headers(raw=raw))
    except RefusedRequest as refused:
        return refused.status
    return 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:8765", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8765", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8765", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("evil.example#localhost", 403),
        ("", 403),
        ("proxy.example:443", 200),
        ("app.localhost:1", 200),
        (".localhost", 403),
    ],
)
def test_host_must_be_a_name_of_the_proxy(host: str, expected: int) -> None:
    assert status(Gate("127.0.0.1", ["Proxy.example"], None), ("Host", host)) == expected


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("proxy.example", True),
        ("Proxy_1", True),
        ("192.0.2.1", True),
        ("::1", True),
        ("[2001:db8::1]", True),
        ("proxy.example:443", False),
        ("[2001:db8::1]:443", False),
        ("cafe:443", False),
        ("fe80::1%eth0", False),
        ("https://proxy.example", False),
        ("proxy.example/", False),
        ("*.proxy.example", False),
        ("b\u00fccher.example", False),
        ("", False),
    ],
)
def test_name_of_the_proxy_is_a_host_alone(written: str, names: bool) -> None:
    assert is_name(written) is names
    if names:
        host = written if written.startswith("[") or ":" not in written else f"[{written}]"
        assert status(Gate("127.0.0.1", [written], None), ("Host", f"{host}:443")) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:6274", 200),
        ("https://127.0.0.1", 200),
        ("http://[::1]:3000", 200),
        ("https://proxy.example", 200),
        ("http://tauri.localhost", 200),
        ("tauri://localhost", 403),
        ("null", 403),
        ("", 403),
        ("http://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://user@localhost", 403),
        ("file://", 403),
        ("http://[", 403),
        ("localhost", 403),
    ],
)
def test_origin_must_be_a_page_of_the_proxy(origin: str, expected: int) -> None:
    gate = Gate("127.0.0.1", ["proxy.example"], None)
    assert status(gate, ("Host", "localhost"), ("Origin", origin)) == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("tauri://localhost", 200),
        ("APP://obsidian.md", 200),
        ("app://evil.example", 403),
        ("tauri://localhost.evil.example", 403),
        ("null", 403),
    ],
)
def test_origin_of_an_application_counts_if_it_is_allowed(origin: str, expected: int) -> None:
    gate = Gate("127.0.0.1", [], None, origins=["tauri://localhost", "app://obsidian.md"])
    assert status(gate, ("Host", "localhost"), ("Origin", origin)) == expected


@pytest.mark.parametrize(
    ("written", "is_one"),
    [
        ("tauri://localhost", True),
        ("vscode-webview://0a1b", True),
        ("https://proxy.example:443", True),
        ("null", False),
        ("proxy.example", False),
        ("app://obsidian.md/", False),
        ("*", False),
        ("", False),
    ],
)
def test_origin_is_a_scheme_and_a_host(written: str, is_one: bool) -> None:
    assert is_origin(written) is is_one


def test_missing_or_second_host_is_refused() -> None:
    gate = Gate("127.0.0.1", [], None)
    assert status(gate) == 403
    assert status(gate, ("Host", "localhost"), ("Host", "localhost")) == 403


@pytest.mark.parametrize(("listen", "local"), [("0.0.0.0", 200), ("192.0.2.7", 403), ("::", 200)])
def test_address_of_the_network_has_its_own_name(listen: str, local: int) -> None:
    gate = Gate(listen, ["box.example"], None)
    assert status(gate, ("Host", "localhost:1")) == local
    assert status(gate, ("Host", "box.example")) == 200
    assert status(gate, ("Host", "192.0.2.7:1")) == (200 if listen == "192.0.2.7" else 403)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], 401),
        ([f"Bearer {TOKEN}"], 200),
        ([f"bearer {TOKEN}"], 200),
        ([f"Basic {TOKEN}"], 401),
        ([TOKEN], 401),
        ([f"Bearer {TOKEN}x"], 401),
        ([f"Bearer {TOKEN[:-1]}"], 401),
        (["Bearer "], 401),
        (["Bearer \xe9"], 401),
        ([f"Bearer {TOKEN}", f"Bearer {TOKEN}"], 401),
    ],
)
def test_token_must_be_the_configured_one(sent: list[str], expected: int) -> None:
    headers = [("Host", "localhost"), *(("Authorization", value) for value in sent)]
    assert status(Gate("127.0.0.1", [], TOKEN), *headers) == expected


async def test_every_request_needs_the_token_and_the_answer_asks_for_it() -> None:
    async with serving(token=TOKEN) as http:
        for method in ("POST", "GET", "DELETE", "OPTIONS"):
            for path in ("/mcp", "/status", "/other"):
                url = http.url.replace("/mcp", path)
                answer = await http.client.request(method, url, headers={"Accept": "*/*"})
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Bearer")
        http.client.headers["Authorization"] = f"Bearer {TOKEN}"
        pong = await http.post(request("ping"), await http.session())
    assert pong.status_code == 200


async def test_page_of_another_machine_gets_nothing() -> None:
    async with serving() as http:
        session = await http.session()
        rebound = [
            await http.post(request("ping"), {**session, **headers})
            for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"})
        ]
        local = await http.post(request("ping"), {**session, "Origin": "http://localhost:1"})
    assert [answer.status_code for answer in rebound] == [403, 403]
    assert local.status_code == 200
    assert not any(name.startswith("access-control") for name in local.headers)


def test_token_comes_from_the_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    environment = {VARIABLE: "x" * 20}
    assert token_from(str(file), dict(environment)) == TOKEN
    assert token_from(None, environment) == "x" * 20
    assert environment == {}
    assert token_from(None, {}) is None


@pytest.mark.parametrize(
    "text", ["short", "", "two words of one token", "Zeichen-\u00e4\u00f6\u00fc-und-mehr"]
)
def test_bad_token_is_an_error_that_says_where_and_what(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"token.*secrets\.token_hex") as caught:
        token_from(str(file), {})
    assert not text or text not in str(caught.value)
    with pytest.raises(ConfigError, match="cannot read"):
        token_from(str(tmp_path / "none"), {})


def test_token_file_has_a_bound_and_is_a_file_of_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_text("x" * (MAX_FILE + 1))
    with pytest.raises(ConfigError, match=rf"large: it has more than {MAX_FILE} bytes"):
        token_from(str(tmp_path / "large"), {})
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="pipe: it is a pipe; use a regular file"):
        token_from(str(tmp_path / "pipe"), {})
    file, link = tmp_path / "token", tmp_path / "link"
    file.write_text(TOKEN)
    link.symlink_to(file)
    assert token_from(str(link), {}) == TOKEN
    user = os.geteuid()
    os.chown(file, 1, -1) if user == 0 else monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(ConfigError, match="token: it belongs to another user"):
        token_from(str(file), {})


@pytest.mark.parametrize(
    ("mode", "platform", "warned"), [(0o644, "linux", 1), (0o600, "linux", 0), (0o644, "win32", 0)]
)
def test_token_that_others_can_read_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: int,
    platform: str,
    warned: int,
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    file.chmod(mode)
    monkeypatch.setattr(sys, "platform", platform)
    assert token_from(str(file), {}) == TOKEN
    assert [record.getMessage().count("chmod 600") for record in caplog.records] == [1] * warned

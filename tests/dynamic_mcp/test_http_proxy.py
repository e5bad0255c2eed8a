"""The proxy that the environment names, in the forms that curl and other programs understand."""

from __future__ import annotations

import os

import pytest

from dynamic_mcp.http_proxy import proxy_for

P = {"http_proxy": "http://p:1", "https_proxy": "http://p:2"}


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://host/", None),
        ({"HTTP_PROXY": "http://p:1"}, "http://host/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1"}, "https://host/", None),
        ({"https_proxy": "http://p:2"}, "https://host/", "http://p:2"),
        ({"ALL_PROXY": "http://p:3"}, "https://host/", "http://p:3"),
        ({"ALL_PROXY": "http://p:3", "HTTP_PROXY": "http://p:1"}, "http://host/", "http://p:1"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": "http://p:4"}, "http://host/", "http://p:4"),
        ({"HTTP_PROXY": "http://p:1", "http_proxy": ""}, "http://host/", None),
        ({"HTTP_PROXY": "p.example:3128"}, "http://host/", "http://p.example:3128"),
        ({"HTTP_PROXY": "user:word@p:3128"}, "http://host/", "http://user:word@p:3128"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http://host/", None),
    ],
)
def test_proxy_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str, proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert proxy_for(url) == proxy


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0"],
)
def test_this_machine_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", "")

    assert proxy_for(f"http://{host}:8080/mcp") is None


@pytest.mark.parametrize("host", ["localhost.example", "127.0.0.1.example", "notlocalhost", "10.0.0.1"])
def test_other_hosts_are_not_taken_for_this_machine(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://p:1")

    assert proxy_for(f"http://{host}/") == "http://p:1"


@pytest.mark.parametrize(
    ("listed", "url", "direct"),
    [
        ("other,host", "http://host/", True),
        ("other, host", "http://host/", True),
        ("other host", "http://host/", True),
        ("HOST", "http://host/", True),
        ("host", "http://a.host/", True),
        ("host", "http://ahost/", False),
        (".example", "http://a.example:8080/", True),
        (".example", "http://example/", True),
        ("example.", "http://a.example/", True),
        ("example", "http://a.example./", True),
        ("*.example", "http://a.example/", True),
        ("host:81", "http://host:81/", True),
        ("host:81", "http://host:82/", False),
        ("host:443", "https://host/", True),
        ("*", "http://host/", True),
        (" * ", "http://host/", True),
        ("::1:1", "http://host/", False),
        ("2001:db8::1", "http://[2001:db8::1]/", True),
        ("[2001:db8::1]", "http://[2001:db8:0::1]/", True),
        ("[2001:db8::1]:81", "http://[2001:db8::1]:81/", True),
        ("2001:db8::/32", "http://[2001:db8:5::1]/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.1/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://[::ffff:10.1.2.3]/", True),
        ("10.0.0.1", "http://10.0.0.1:9/", True),
        ("0.0.1", "http://10.0.0.1/", False),
        ("10.0.0.0/99", "http://10.0.0.1/", False),
        (",,", "http://host/", False),
    ],
)
def test_no_proxy_lists_what_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, listed: str, url: str, direct: bool
) -> None:
    for name, value in P.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", listed)

    assert (proxy_for(url) is None) is direct

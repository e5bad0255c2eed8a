"""What ``dynamic-mcp status URL`` says when it cannot ask."""

from __future__ import annotations

import pytest

from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.serving.ask import NoProxy, served_report

SECRET = "canary-5e1d"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("proxy", [f"socks5://user:{SECRET}@127.0.0.1:1", "ftp://127.0.0.1"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxy_of_another_kind_is_an_error(monkeypatch: pytest.MonkeyPatch, proxy: str, scheme: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises(ConfigError, match="neither http:// nor https://") as caught:
        served_report(f"{scheme}://far.example/mcp", None)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "proxy", ["http://127.0.0.1:no", "http://[::1", "http://", "http://127.0.0.1:1", "http://a b"]
)
def test_proxy_that_cannot_be_used_is_no_traceback(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)

    with pytest.raises((ConfigError, NoProxy)):
        served_report("http://far.example/mcp", None)


def test_invalid_address_is_no_traceback() -> None:
    with pytest.raises((ConfigError, NoProxy)):
        served_report("http://127.0.0.1:1/\x00", None)

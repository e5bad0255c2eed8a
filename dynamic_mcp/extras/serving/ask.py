"""Asks a proxy that serves over HTTP what it does (``dynamic-mcp status URL``)."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import httpx
import msgspec

from dynamic_mcp.errors import ConfigError
from dynamic_mcp.extras.serving import ENDPOINT, STATUS
from dynamic_mcp.extras.sharing.shape import Report
from dynamic_mcp.http_proxy import OTHER_PROXY, is_http, proxy_for
from dynamic_mcp.origin import NO_WEB_ADDRESS, is_web_address
from dynamic_mcp.request_causes import cause_of
from dynamic_mcp.tls import trust_store

_TIMEOUT = 10.0


class NoProxy(Exception):
    """No proxy of this version answers at the URL."""


def served_report(url: str, token: str | None) -> Report:
    """The report of the proxy at this URL. Raises NoProxy, and ConfigError for a wrong URL or token."""
    if not is_web_address(url):
        raise ConfigError(f"the URL {NO_WEB_ADDRESS}")
    # The report is beside the endpoint, also if a reverse proxy puts both below another path.
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix(ENDPOINT) + STATUS
    address = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    verify = trust_store() if parts.scheme == "https" else True
    proxy = proxy_for(url)
    if proxy is not None and not is_http(proxy):
        raise ConfigError(OTHER_PROXY)
    try:
        with httpx.Client(verify=verify, proxy=proxy, trust_env=False, timeout=_TIMEOUT) as client:
            answer = client.get(address, headers=headers)
    except httpx.InvalidURL:
        what = "the URL" if proxy is None else "the URL, or that of the proxy in the environment,"
        raise ConfigError(f"{what} is not valid") from None
    except httpx.HTTPError as error:
        raise NoProxy(f"the proxy could not be reached: {cause_of(error)}") from None
    if answer.status_code in (401, 403):
        raise ConfigError(
            f"the proxy refuses to answer (HTTP {answer.status_code}); --token-file names its token"
        )
    try:
        return msgspec.json.decode(answer.content, type=Report)
    except msgspec.MsgspecError:
        raise NoProxy(f"no proxy of this version serves there (HTTP {answer.status_code})") from None

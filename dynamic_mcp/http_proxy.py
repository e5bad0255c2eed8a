"""The HTTP proxy that the environment names for an address: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``.

The forms are those of curl. A proxy may lack its scheme (``proxy:3128``). ``NO_PROXY`` lists names, which cover their subdomains,
addresses and networks (``10.0.0.0/8``), separated by commas or blanks; ``*`` alone covers everything. ``*.example.com`` and a port behind a
name are understood too, because other programs write them. This machine is never reached through a proxy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from dynamic_mcp.origin import origin_of

#: What is wrong with a proxy that ``is_http`` refuses.
OTHER_PROXY = "the environment names a proxy that is neither http:// nor https://"

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_NETWORK = ipaddress.IPv4Network | ipaddress.IPv6Network


def proxy_for(url: str) -> str | None:
    """The address of the proxy for requests to this url, with a scheme, or None. Raises ValueError for an invalid url."""
    # Here, because this module is part of every start, and the import takes long.
    import urllib.request

    scheme, host, port = origin_of(url)
    host = host.removesuffix(".")
    if _is_this_machine(host):
        return None
    # A variable in lower case wins, even an empty one. HTTP_PROXY is no setting inside of a CGI program.
    proxies = urllib.request.getproxies_environment()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or _is_excluded(host, port, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_http(proxy: str) -> bool:
    """Whether this proxy is one for HTTP, and not for SOCKS, for example."""
    return proxy.lower().startswith(("http://", "https://"))


def _is_this_machine(host: str) -> bool:
    if (address := _address(host)) is not None:
        return address.is_loopback or address.is_unspecified
    return host == "localhost" or host.endswith(".localhost")


def _is_excluded(host: str, port: int | None, listed: str) -> bool:
    """Whether NO_PROXY covers this host."""
    if listed.strip() == "*":
        return True
    address = _address(host)
    for name, entry_port in _entries(listed):
        if entry_port is not None and entry_port != port:
            continue
        if address is None:
            if host == name or host.endswith(f".{name}"):
                return True
        elif (network := _network(name)) is not None and address in network:
            return True
    return False


def _entries(listed: str) -> Iterator[tuple[str, int | None]]:
    """The names, addresses and networks in NO_PROXY, each with its port if it has one."""
    for entry in re.split(r"[\s,]+", listed.lower()):
        port = None
        if (found := re.fullmatch(r"(\[[^]]*\]|[^:]*):(\d+)", entry)) is not None:
            entry, port = found[1], int(found[2])
        entry = entry.removeprefix("*").replace("[", "").replace("]", "").strip(".")
        if entry:
            yield entry, port


def _address(host: str) -> _IP | None:
    """The IP address that a host is written as; one that contains an IPv4 address counts as that."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _network(text: str) -> _NETWORK | None:
    """The addresses that an entry covers, or None for a name."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None

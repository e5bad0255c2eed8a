"""Where a server may lead the proxy: to no address that is more inward than its own, except for configured hosts.

A server names other addresses: of its metadata, its authorization server, and that server's endpoints. Without a rule, a server on the
internet could send requests from this machine to services that only this machine reaches. ``NetworkReach`` judges the addresses that a name
resolves to. The caller connects to these very addresses, so a second answer of the name system changes nothing.

An HTTP proxy from the environment resolves names itself. Then only addresses that are written as such are judged.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import unicodedata
from collections.abc import Collection, Iterable
from enum import IntEnum
from typing import NoReturn
from urllib.parse import unquote, urlsplit

from dynamic_mcp.errors import UpstreamFailed
from dynamic_mcp.http_proxy import proxy_for

_IP = ipaddress.IPv4Address | ipaddress.IPv6Address
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
#: IPv6 addresses outside of this block are not assigned to the internet (RFC 4291, section 2.4).
_UNICAST = ipaddress.IPv6Network("2000::/3")


class AddressLevel(IntEnum):
    """How inward an address is."""

    PUBLIC = 0
    PRIVATE = 1
    LINK_LOCAL = 2
    LOOPBACK = 3
    #: multicast and broadcast, which no connection can have
    NOWHERE = 4


_KINDS = {
    AddressLevel.PUBLIC: "a public address",
    AddressLevel.PRIVATE: "a private address",
    AddressLevel.LINK_LOCAL: "a link-local address",
    AddressLevel.LOOPBACK: "this machine",
    AddressLevel.NOWHERE: "an address for many receivers",
}


class TooInward(UpstreamFailed):
    """The address leads to a more inward place than the server's own. The message begins with "leads to"."""


def level_of(address: str) -> AddressLevel:
    """The level of an IP address, which may have a zone. Raises ValueError for other text.

    An IPv6 address that stands for an IPv4 address has the level of that one.
    """
    ip: _IP = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        return max((_level(inner) for inner in _embedded(ip)), default=_level(ip))
    return _level(ip)


def _embedded(ip: ipaddress.IPv6Address) -> Iterable[ipaddress.IPv4Address]:
    """The IPv4 addresses that a packet to this address may reach."""
    if ip.ipv4_mapped is not None:
        yield ip.ipv4_mapped
    elif ip.sixtofour is not None:
        yield ip.sixtofour
    elif ip.teredo is not None:
        yield from ip.teredo
    elif ip in _TRANSLATED or (ip in _COMPATIBLE and int(ip) > 1):
        yield ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)


def _level(ip: _IP) -> AddressLevel:
    # Python counts some multicast addresses as global, so the order matters.
    if ip.is_multicast or ip == _BROADCAST:
        return AddressLevel.NOWHERE
    # A connection to the unspecified address reaches this machine.
    if ip.is_loopback or ip.is_unspecified or (ip.version == 4 and ip in _THIS_NETWORK):
        return AddressLevel.LOOPBACK
    if ip.is_link_local:
        return AddressLevel.LINK_LOCAL
    return (
        AddressLevel.PUBLIC if ip.is_global and (ip.version == 4 or ip in _UNICAST) else AddressLevel.PRIVATE
    )


def literal(host: str) -> str | None:
    """The IP address that this host of a URL is, in any spelling; None for a name."""
    text = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".")
    text = text.strip("[]").removesuffix(".").lower()
    if text == "localhost" or text.endswith(".localhost"):
        return "127.0.0.1"
    try:
        ipaddress.ip_address(text)
        return text
    except ValueError:
        pass
    try:
        # The C library also reads 127.1, 0x7f.0.0.1, 0177.0.0.1 and 2130706433, and so do browsers.
        return socket.inet_ntoa(socket.inet_aton(text)) if text and not text.isspace() else None
    except (OSError, ValueError):
        return None


async def resolve(host: str, port: int | None = None) -> list[str]:
    """The addresses of a host, in the order of the system. Raises OSError, UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(_with_zone(place) for *_, place in found))


def _with_zone(place: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    address = str(place[0])
    return f"{address}%{place[3]}" if len(place) == 4 and place[3] and "%" not in address else address


class NetworkReach:
    """The reach of one configured server.

    ``private_hosts`` are the hosts at private or link-local addresses to which the user lets the server lead.
    """

    def __init__(self, url: str, private_hosts: Collection[str] = ()) -> None:
        self._url = url
        self._host = _host_of(url)
        self._private_hosts = frozenset(map(_plain, private_hosts))
        #: the most outward level that the server had so far; None before it is known
        self.own: AddressLevel | None = None
        address = literal(self._host)
        if address is not None:
            level = level_of(address)
            unspecified = ipaddress.ip_address(address.partition("%")[0]).is_unspecified
            # 0.0.0.0 is no loopback address, so it opens no way to one.
            self.own = AddressLevel.PRIVATE if unspecified else level

    def of_server(self, addresses: Iterable[str]) -> list[str]:
        """Those addresses of the server's own name to which the proxy may connect. Raises TooInward without one.

        The name of a server elsewhere may not become a name of this machine or of its link.
        """
        levels = {address: level_of(address) for address in addresses}
        self.note_level(min(levels.values(), default=AddressLevel.PUBLIC))
        # Companies give one name a public and a private address.
        most = max(self.own or AddressLevel.PUBLIC, AddressLevel.PRIVATE)
        if self._host and literal(self._host) is not None:
            return list(levels)
        return _admitted(levels, most) or self._refuse(self._host, levels)

    def note_level(self, level: AddressLevel) -> None:
        """Remember a level of the server. The most outward one counts, because its owner can change the answers to its name."""
        self.own = level if self.own is None else min(self.own, level)

    async def addresses(self, host: str, port: int | None) -> list[str]:
        """The addresses for a connection to a host that the server named. Raises TooInward, OSError, UnicodeError."""
        if _plain(host) == self._host:
            return self.of_server(await resolve(host, port))
        await self._find_own()
        levels = {address: level_of(address) for address in await resolve(host, port)}
        return _admitted(levels, self._most(host)) or self._refuse(host, levels)

    async def check(self, url: str) -> None:
        """Judge an address to which another program connects, such as the user's browser. Raises TooInward.

        A name that does not resolve here passes.
        """
        host = _host_of(url)
        address = literal(host)
        if proxy_for(url) is not None or address is not None:
            await self.check_literal(host)
            return
        with contextlib.suppress(OSError, UnicodeError):
            await self.addresses(host, None)

    async def check_literal(self, host: str) -> None:
        """Judge a host that something else resolves: only an address is judged. Raises TooInward."""
        address = literal(host)
        if address is None or _plain(host) == self._host:
            return
        await self._find_own()
        levels = {address: level_of(address)}
        if not _admitted(levels, self._most(host)):
            self._refuse(host, levels)

    def _most(self, host: str) -> AddressLevel:
        own = self.own or AddressLevel.PUBLIC
        return max(own, AddressLevel.LINK_LOCAL) if _plain(host) in self._private_hosts else own

    async def _find_own(self) -> None:
        """Look the server up if nothing has connected to it yet."""
        if self.own is not None:
            return
        if proxy_for(self._url) is not None:
            self.note_level(AddressLevel.PUBLIC)
            return
        try:
            self.of_server(await resolve(self._host))
        except (OSError, UnicodeError):
            # An unknown place counts as the most outward one, for now.
            return

    def _refuse(self, host: str, levels: dict[str, AddressLevel]) -> NoReturn:
        """Raise the refusal of a host with these addresses, which is TooInward, or OSError if there are none."""
        if not levels:
            raise OSError("the name has no address")
        address, level = min(levels.items(), key=lambda item: item[1])
        text = f"leads to {_KINDS[level]} ({address}), but the server itself is at {_KINDS[self.own or AddressLevel.PUBLIC]}"
        if level in (AddressLevel.PRIVATE, AddressLevel.LINK_LOCAL) and _HOST.fullmatch(host):
            text += (
                f'; if it belongs there, add to the entry of the server: "oauth_private_hosts": ["{host}"]'
            )
        elif level is AddressLevel.LOOPBACK:
            text += "; if the server runs on this machine, write its url with 127.0.0.1 or localhost"
        raise TooInward(text)


def _admitted(levels: dict[str, AddressLevel], most: AddressLevel) -> list[str]:
    return [address for address, level in levels.items() if level <= min(most, AddressLevel.LOOPBACK)]


def _host_of(url: str) -> str:
    try:
        return _plain(urlsplit(url).hostname or "")
    except ValueError:
        return ""


def _plain(host: str) -> str:
    """A host in the form in which hosts are compared."""
    return host.strip("[]").removesuffix(".").lower()

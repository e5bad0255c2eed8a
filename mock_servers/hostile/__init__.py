"""Servers that mean harm, as scripts that every proxy can be tested with: `python -m mock_servers hostile` lists them.

    python -m mock_servers stdio --hostile asks-without-reading

Each module holds one kind of attack. A function with the decorator `hostile` makes the script of one server. All attacks are
bounded in time and size, so that a mock never harms the machine of its user.
"""

from mock_servers.hostile import listings, owners, sign_ins, sizes, storms, texts
from mock_servers.hostile.registry import HOSTILE, HostileServer, Transport, hostile

__all__ = [
    "HOSTILE",
    "HostileServer",
    "Transport",
    "hostile",
    "listings",
    "owners",
    "sign_ins",
    "sizes",
    "storms",
    "texts",
]

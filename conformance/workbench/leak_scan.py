"""Searches the output of a program for secrets, in plain text and in common encodings.

    leaked(proxy.stderr, {"the refresh token": token})

The scan finds a secret in plain text, percent-encoded, escaped as in JSON or HTML, and at any position in base64 of both alphabets.
Limits: it does not find encrypted, compressed or hexadecimal secrets, nor parts of a secret.
"""

from __future__ import annotations

import base64
import html
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping


def leaked(text: str, secrets: Mapping[str, str]) -> list[str]:
    """A line for each secret in the text: its name, its form and the text around it."""
    found = []
    for name, secret in secrets.items():
        for form, shape in _forms(secret):
            place = text.find(shape)
            if place >= 0:
                found.append(f"{name}, {form}: {text[max(0, place - 80) : place + len(shape) + 20]!r}")
                break
    return found


def _forms(secret: str) -> list[tuple[str, str]]:
    return [
        ("in plain text", secret),
        ("percent-encoded", quote(secret, safe="")),
        ("percent-encoded", quote_plus(secret)),
        ("percent-encoded", quote(secret)),
        ("in JSON", json.dumps(secret)[1:-1]),
        ("in JSON", json.dumps(secret)[1:-1].replace("/", "\\/")),
        ("in HTML", html.escape(secret)),
        *(("in base64", shape) for shape in _base64(secret.encode())),
    ]


def _base64(secret: bytes) -> list[str]:
    """The characters that depend on the secret alone, for each of its offsets in a group of three bytes."""
    shapes = []
    for before, foreign in ((0, 0), (1, 2), (2, 3)):
        whole = bytes(before) + secret
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(whole).decode().rstrip("=")
            shapes.append(text[foreign : len(text) - (1 if len(whole) % 3 else 0)])
    return shapes

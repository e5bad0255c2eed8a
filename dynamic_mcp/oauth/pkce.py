"""The secrets of one sign-in: PKCE verifier and challenge (RFC 7636, S256), and the state (RFC 6749, section 10.12)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import msgspec


class Pkce(msgspec.Struct, frozen=True):
    """A verifier of 43 characters, and its challenge, which is not secret."""

    verifier: str

    @property
    def challenge(self) -> str:
        """``BASE64URL(SHA256(verifier))`` without padding (RFC 7636, section 4.2)."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")

    def __repr__(self) -> str:
        return "Pkce(hidden)"


def new_pkce() -> Pkce:
    """A verifier with 256 bits from the operating system (RFC 7636, section 7.1)."""
    return Pkce(secrets.token_urlsafe(32))


def new_state() -> str:
    """A state with 256 bits, which ties the answer of the browser to this sign-in."""
    return secrets.token_urlsafe(32)


def same(a: str, b: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(a.encode(errors="surrogatepass"), b.encode(errors="surrogatepass"))

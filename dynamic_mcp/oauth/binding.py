"""Which tokens belong to one entry of the configuration: those for exactly its URL, from the client that it signs in with.

A name alone says nothing, because two configurations can use one name for different servers. Two URLs of one origin can be different
servers too. Tokens that do not name their resource, their issuer and their client, such as those of dmcp, belong to no entry.
"""

from __future__ import annotations

import hashlib

import msgspec

from dynamic_mcp.config.model import RemoteTransport
from dynamic_mcp.oauth.issuer import is_same_issuer
from dynamic_mcp.oauth.tokens import Tokens
from dynamic_mcp.origin import identifier_of


class Binding(msgspec.Struct, frozen=True):
    """What tokens have to match: the name, the URL, and the configured client, issuer and grant of one entry."""

    server: str
    url: str
    client_id: str | None
    #: the configured authorization server
    issuer: str | None = None
    #: whether the entry is for a machine without a person
    machine: bool = False

    @classmethod
    def of(cls, server: str, transport: RemoteTransport) -> Binding:
        """What the tokens of this entry have to match."""
        oauth = transport.oauth
        return cls(
            server, transport.url.reveal(), transport.oauth_client_id, oauth.issuer, machine=oauth.is_machine
        )

    @property
    def url_digest(self) -> str:
        """The digest of the URL, for the token file. The URL itself may contain secrets."""
        return _digest(repr(_place(self.url)))

    @property
    def slot(self) -> str:
        """A name for the tokens of this entry alone, if those of another entry have the place of the name."""
        more = (self.issuer, self.machine) if self.issuer is not None or self.machine else ()
        return _digest(repr((self.server, _place(self.url), self.client_id, *more)))[:32]

    def fits(self, tokens: Tokens) -> bool:
        """Whether these tokens certainly belong to this entry."""
        return (
            tokens.resource is not None
            and tokens.issuer is not None
            and tokens.token_endpoint is not None
            and tokens.client is not None
            and self.may_fit(tokens)
            and (tokens.url_digest is not None or self._is_resource(tokens.resource))
        )

    def may_fit(self, tokens: Tokens) -> bool:
        """Whether these tokens do not certainly belong to another entry."""
        if tokens.server not in (None, self.server) or not self._may_be_of_client(tokens):
            return False
        if tokens.machine != self.machine or not self._may_be_of_issuer(tokens):
            return False
        if tokens.url_digest is not None:
            return tokens.url_digest == self.url_digest
        return tokens.resource is None or self._is_resource(tokens.resource, or_its_parent=True)

    def _may_be_of_client(self, tokens: Tokens) -> bool:
        if tokens.client is None:
            return True
        if self.client_id is None:
            return tokens.client.registered
        return tokens.client.client_id == self.client_id

    def _may_be_of_issuer(self, tokens: Tokens) -> bool:
        if self.issuer is None or tokens.issuer is None:
            return True
        return is_same_issuer(tokens.issuer, self.issuer)

    def _is_resource(self, resource: str, *, or_its_parent: bool = False) -> bool:
        """Whether this is the URL; older token files name a parent path, if the metadata of the server did."""
        try:
            (origin, path, query), own = identifier_of(resource), identifier_of(self.url)
        except ValueError:
            return False
        if (origin, path, query) == own:
            return True
        return or_its_parent and origin == own[0] and own[1].startswith(f"{path.rstrip('/')}/")


def _place(url: str) -> object:
    try:
        return identifier_of(url)
    except ValueError:
        return url


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

"""An upstream that wants a bearer, with its authorization server, as their one journal shows them."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.errors import Violation
from conformance.workbench.polling import show
from conformance.workbench.remotes import RemoteUpstream
from mock_servers.journal_views import ProtectedJournalView


@dataclass(frozen=True)
class ProtectedUpstream(ProtectedJournalView, RemoteUpstream):
    """Made by `Workbench.oauth`. `http` is every request to both, in order of arrival."""

    issuer: str = ""

    @property
    def client_id(self) -> str | None:
        """The client that signs in: the one of the entry, else the last one that was registered."""
        registered = [
            asked.issued["client_id"] for asked in self.registrations if "client_id" in asked.issued
        ]
        configured: str | None = self.entry.get("oauth_client_id")
        return configured or (registered[-1] if registered else None)

    def got_no_token_request(self) -> None:
        """Raise `Violation` if the token endpoint was asked for anything."""
        if self.token_requests:
            seen = show("; ".join(map(str, self.token_requests)))
            raise Violation(f"the token endpoint of {self.name} is not asked", seen)

"""An upstream that requires a bearer token, and its authorization server; both write to one journal."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.errors import Violation
from conformance.workbench.remotes import RemoteMockUpstream
from conformance.workbench.shown import show
from mock_servers.journal_views import ProtectedJournalView


@dataclass(frozen=True)
class ProtectedMockUpstream(ProtectedJournalView, RemoteMockUpstream):
    """Made by `Workbench.oauth`. `http` lists the requests to both, in order of arrival."""

    issuer: str = ""

    @property
    def client_id(self) -> str | None:
        """The client that signs in: that of the entry, else the last registered one."""
        registered = [
            asked.issued["client_id"] for asked in self.registrations if "client_id" in asked.issued
        ]
        configured: str | None = self.entry.get("oauth_client_id")
        return configured or (registered[-1] if registered else None)

    def got_no_token_request(self) -> None:
        """Raise `Violation` if the token endpoint got a request."""
        if self.token_requests:
            seen = show("; ".join(map(str, self.token_requests)))
            raise Violation(f"the token endpoint of {self.name} gets no request", seen)

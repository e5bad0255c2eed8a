"""The client transport that a profile asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.workbench.transports.base import ClientTransport, StdioClientTransport

if TYPE_CHECKING:
    from conformance.model.profile import Profile
    from conformance.workbench.inbox import Inbox
    from conformance.workbench.launched import Launched
    from conformance.workbench.timeline import Timeline


def client_transport(
    profile: Profile, port: int | None, launched: Launched, inbox: Inbox, timeline: Timeline
) -> ClientTransport:
    """The transport for a program that has this port; None for one on stdio."""
    if port is None:
        return StdioClientTransport(launched)
    # Loaded late, because aiohttp takes a tenth of a second and most programs do not need it.
    from conformance.workbench.transports.legacy_sse import LegacySseTransport
    from conformance.workbench.transports.streamable import StreamableHttpTransport

    kind = LegacySseTransport if profile.client.transport == "sse" else StreamableHttpTransport
    return kind(profile.client, port, profile.starts_within, launched, inbox, timeline)

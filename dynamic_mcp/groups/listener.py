"""What a group needs of the part that serves the client. ``G`` is the type of the groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from dynamic_mcp.protocol.jsonrpc import Message
from dynamic_mcp.protocol.pending import ClientCall
from dynamic_mcp.sign_in_page import SignInPage

G = TypeVar("G", contravariant=True)


class GroupListener(Protocol[G]):
    """Represents the client, and takes the messages that upstreams begin."""

    def client_capabilities(self) -> bytes:
        """The client's capabilities for the handshake, a JSON object."""
        ...

    def client_info(self) -> bytes:
        """The client's description of itself, a JSON object; empty if it has not named itself yet."""
        ...

    def on_ready(self, group: G) -> None:
        """Note that the group is connected, for the first time or again."""
        ...

    def suspect_lists(self, group: G) -> None:
        """Note that the lists of the group may have changed."""
        ...

    def on_notification(self, group: G, message: Message) -> None:
        """Take a notification of the group's upstream. The group itself has handled it already."""
        ...

    async def on_request(self, group: G, message: Message, callers: Sequence[ClientCall]) -> bytes:
        """Answer a request of the group's upstream with a result. Raises ``jsonrpc.Refusal``.

        ``callers`` are the calls that the request can belong to (``Options.caller``).
        """
        ...

    def can_show_pages(self, group: G) -> bool:
        """Whether the client can show a page for this group to its user."""
        ...

    async def show_page(self, group: G, page: SignInPage) -> bool:
        """Let the client show the page of a sign-in; whether the user agreed. Raises UpstreamError if the client does not."""
        ...

"""What a group needs of the part that serves the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dynamic_mcp.protocol.jsonrpc import Message

if TYPE_CHECKING:
    from dynamic_mcp.groups.group import Group


class GroupListener(Protocol):
    """Represents the client, and takes the messages that upstreams begin."""

    def client_capabilities(self) -> bytes:
        """The client's capabilities for the handshake, a JSON object."""
        ...

    def client_info(self) -> bytes:
        """The client's description of itself, a JSON object; empty if it has not named itself yet."""
        ...

    def on_ready(self, group: Group) -> None:
        """Note that the group is connected, for the first time or again."""
        ...

    def on_notification(self, group: Group, message: Message) -> None:
        """Take a notification of the group's upstream. The group itself has handled it already."""
        ...

    async def on_request(self, group: Group, message: Message) -> bytes:
        """Answer a request of the group's upstream with a result. Raises ``jsonrpc.Refusal``."""
        ...

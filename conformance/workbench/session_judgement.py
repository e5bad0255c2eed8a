"""What the workbench demands of the messages of every session, after its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.workbench import pairing, wiretypes

if TYPE_CHECKING:
    from conformance.workbench.inbox import Inbox
    from conformance.workbench.start_options import StartOptions
    from conformance.workbench.transports.base import ClientTransport


def judge_session(transport: ClientTransport, inbox: Inbox, options: StartOptions) -> None:
    """Raise `Violation` for what the transport noticed, for a message of a wrong type, and for an answer too many."""
    transport.judge()
    if options.wire_types:
        wiretypes.judge(inbox.transcript)
    if options.one_answer_each:
        pairing.judge(inbox.transcript)

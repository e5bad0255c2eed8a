"""The members of `Proxy` that have no meaning for several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.errors import Violation
    from conformance.workbench.client_answers import ClientAnswers
    from conformance.workbench.inbox import Answer, RequestId
    from conformance.workbench.proxy import RunningProgram
    from conformance.workbench.transcript import Json
    from conformance.workbench.transports.bodies import BodyReply


class OneProcessOnly:
    """Each member raises `NotApplicable`, because only one process has it."""

    @property
    def pid(self) -> int:
        raise _needs_one_process("its pid")

    @property
    def port(self) -> int | None:
        raise _needs_one_process("its port")

    @property
    def pipes(self) -> set[str]:
        raise _needs_one_process("its pipes")

    @property
    def is_refused(self) -> bool:
        raise _needs_one_process("its handshake")

    @property
    def program(self) -> RunningProgram | None:
        raise _needs_one_process("another client of it")

    @property
    def answers(self) -> ClientAnswers:
        raise _needs_one_process("the answers of its client")

    @property
    def deviations(self) -> Sequence[Violation]:
        raise _needs_one_process("its transport")

    @property
    def takes_bodies(self) -> bool:
        raise _needs_one_process("its transport")

    async def post_body(self, body: bytes, within: float = 5.0) -> BodyReply:
        raise _needs_one_process("a body for it")

    async def send(self, message: Json, within: float = 5.0) -> None:
        raise _needs_one_process("any message for it")

    async def send_raw(self, data: bytes, within: float = 5.0) -> None:
        raise _needs_one_process("bytes on its stdin")

    async def exchange(self, line: str, id: RequestId, what: str, *, within: float = 5.0) -> Answer:
        raise _needs_one_process("any line for it")

    async def listing_tool(self, within: float = 5.0) -> Json:
        raise _needs_one_process("its listing tool")

    def scripted(self, member: str) -> list[Json]:
        raise _needs_one_process("the upstreams behind it")

    async def vanish(self) -> None:
        raise _needs_one_process("the end of its connection")

    async def leave(self) -> None:
        raise _needs_one_process("the end of its session")

    def ignore_output(self) -> None:
        raise _needs_one_process("its output")


def _needs_one_process(what: str) -> NotApplicable:
    return NotApplicable(f"the check needs one process ({what}), and each upstream has its own")

"""Mistakes with what servers say, and with servers that attack the proxy's terminal or helpers."""

from __future__ import annotations

import subprocess
from typing import Any

import msgspec

from conformance.mutants import mutant, replace, set_constant
from dynamic_mcp.config.model import RemoteTransport, StdioTransport
from dynamic_mcp.extras import audit
from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.printable import printable
from dynamic_mcp.process import exits


@mutant("SEC-015", also={"HARD-013": "the audit log uses the same function"})
def prints_what_others_say_as_it_comes() -> None:
    replace(printable, lambda text, most=None: text)


@mutant("SEC-015", also={"HARD-013": "the audit log uses the same function"})
def escapes_line_ends_alone() -> None:
    """The log has one line for each message, but a terminal still obeys the text."""
    replace(printable, lambda text, most=None: text.replace("\r", "\\r").replace("\n", "\\n"))


@mutant("SEC-015")
def starts_children_in_its_own_session() -> None:
    """Each child leads a process group in the proxy's session, and so has its terminal."""
    right = subprocess.Popen.__init__

    def wrong(self: Any, *args: Any, **named: Any) -> None:
        if named.pop("start_new_session", False):
            named["process_group"] = 0
        right(self, *args, **named)

    subprocess.Popen.__init__ = wrong  # type: ignore[method-assign]


@mutant("SEC-016")
def hides_nothing() -> None:
    replace(HiddenValues.hide, lambda self, text, whole=True: text)


@mutant("SEC-016")
def hides_variables_alone() -> None:
    def wrong(self: StdioTransport) -> HiddenValues:
        return HiddenValues(value.reveal() for _, value in self.env)

    replace(StdioTransport.hidden, wrong)


@mutant("SEC-016")
def hides_whole_values_alone() -> None:
    # Private, because the parts are made nowhere else.
    from dynamic_mcp import hiding

    replace(hiding._parts, lambda value: [value])


@mutant("SEC-016")
def takes_the_text_of_a_remote_refusal_as_harmless() -> None:
    replace(RemoteTransport.hidden, lambda self: HiddenValues())


@mutant("HARD-013")
def writes_made_up_names_in_full() -> None:
    set_constant(audit, "MAX_FIELD", 1 << 30)


@mutant("HARD-013")
def leaves_the_escapes_of_a_line_to_json() -> None:
    right = audit.line_of

    def wrong(fields: dict[str, object]) -> bytes:
        return msgspec.json.encode(msgspec.json.decode(right(fields))) + b"\n"

    replace(right, wrong)


@mutant("OPS-015")
def does_not_notice_that_its_guard_was_killed() -> None:
    """The next start of a child replaces the guard."""
    right = exits.watch_exit

    def wrong(process: subprocess.Popen[bytes], on_exit: Any) -> None:
        is_guard = "dynamic-mcp-guard" in process.args  # type: ignore[operator]
        right(process, (lambda: None) if is_guard else on_exit)

    replace(right, wrong)


@mutant("OPS-015")
def forgets_the_running_groups_with_its_guard() -> None:
    from dynamic_mcp.process.guard import Guard

    right = Guard.start

    def wrong(self: Guard, popen: Any) -> Any:
        process = right(self, popen)
        # Private, because only the guard needs its list of groups.
        self._groups.clear()
        return process

    replace(right, wrong)

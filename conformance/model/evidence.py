"""What a check leaves behind for the reader of its verdict.

An `Evidence` is complete only after the workbench has been closed. It never holds a secret: whoever records
an event redacts it first. Sizes are bounded by the recorder, not here.
"""

import msgspec


def encodable(text: str) -> str:
    """The text with lone surrogates written as escapes: JSON can bring them, and no file can hold them."""
    return text.encode("utf-8", "backslashreplace").decode()


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, `at_ms` milliseconds after the check began."""

    at_ms: float
    actor: str
    kind: str
    text: str
    #: whom it was done to, where `actor` and `kind` do not say it: one of several started programs
    peer: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """Everything that was seen while one check ran."""

    events: list[Event] = msgspec.field(default_factory=list)
    stdout_tail: str = ""
    stderr_tail: str = ""
    #: processes that the implementation left behind and that the runner ended
    leftovers: list[str] = msgspec.field(default_factory=list)
    #: the private directory of the check, when it was kept
    sandbox: str | None = None

"""The evidence of a check, for the reader of its verdict.

An `Evidence` is complete only after the workbench has closed. It holds no secret, because the workbench redacts an event before it
records it. The workbench also bounds the sizes.
"""

import msgspec


def encodable(text: str) -> str:
    """The text with lone surrogates as escapes: JSON can hold them, but no file can."""
    return text.encode("utf-8", "backslashreplace").decode()


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened, `at_ms` milliseconds after the check began."""

    at_ms: float
    actor: str
    kind: str
    text: str
    #: the other side, if `actor` and `kind` do not name it: one of several started programs
    peer: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """Everything that the workbench saw while one check ran."""

    events: list[Event] = msgspec.field(default_factory=list)
    stdout_tail: str = ""
    stderr_tail: str = ""
    #: processes that the implementation left behind and that the runner ended
    leftovers: list[str] = msgspec.field(default_factory=list)
    #: the sandbox of the check, if the run kept it
    sandbox: str | None = None
    #: the variables that the check added to the scrubbed environment, each as `NAME=value`, or `NAME=value (proxy-2)` if only some starts
    #: of the implementation have it
    environment: list[str] = msgspec.field(default_factory=list)

"""How a check starts the implementation: the keywords of `Workbench.proxy` and `Workbench.serving`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from conformance.workbench.terminal import Terminal


@dataclass(frozen=True)
class StartOptions:
    """What one start of the implementation gets, and how the workbench ends and judges it."""

    #: the configuration file
    config: Path | None = None
    #: the arguments in place of the file's path
    args: Sequence[str] | None = None
    #: what the check adds to the environment
    env: Mapping[str, str] = field(default_factory=dict)
    #: None = the empty folder of the sandbox
    cwd: Path | None = None
    umask: int = -1
    #: controls the session of the implementation
    terminal: Terminal | None = None
    #: its soft limit of open files
    open_files: int | None = None
    #: without it, the descriptor of its stderr is closed from the start
    has_stderr: bool = True
    #: seconds from the end of its stdin until the workbench ends it
    exit_within: float = 5.0
    #: a message that the protocol does not allow is a violation; off for upstreams whose script makes the proxy pass on such messages
    wire_types: bool = True
    #: a second answer to a request, or an answer to none, is a violation; off for a client that makes the proxy send such answers
    one_answer_each: bool = True


class StartArguments(TypedDict, total=False):
    """The members of `StartOptions`, as keywords of a call."""

    config: Path | None
    args: Sequence[str] | None
    env: Mapping[str, str]
    cwd: Path | None
    umask: int
    terminal: Terminal | None
    open_files: int | None
    has_stderr: bool
    exit_within: float
    wire_types: bool
    one_answer_each: bool

"""Whose fault an unexpected exception of a check is.

A check looks into answers, journals, files and processes, and a proxy decides what is there. A missing element, a wrong type, a missing
file or a dead process raises an exception in the code of a check. So such an exception makes the check untestable. It is red, but it is no
fault of the runner. The same exception in the workbench or in a mock stays a fault of the runner. A value that is nested too deeply for
them is no such fault. A mistake in a check itself shows in a run of the reference, where it is red too.
"""

from __future__ import annotations

import errno
import traceback
from pathlib import Path

import psutil

from conformance.errors import ConformanceError, Untestable

#: what a wrong shape raises; RuntimeError is the StopIteration of a coroutine
_BY_SHAPE = (LookupError, TypeError, AttributeError, ValueError, AssertionError, StopIteration, RuntimeError)
#: what a missing file, something else in its place, or a dead process raises
_BY_ABSENCE = (
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    ProcessLookupError,
    psutil.NoSuchProcess,
)
_ROOT = Path(__file__).resolve().parents[2]
_OWN = (_ROOT / "conformance", _ROOT / "mock_servers")
_CHECKS = _ROOT / "conformance" / "checks"


def blamed(error: BaseException) -> BaseException:
    """`error`, with `Untestable` in the place of each exception that a wrong shape or an absence raised in a check."""
    if isinstance(error, BaseExceptionGroup):
        return error.derive([blamed(inner) for inner in error.exceptions])
    if isinstance(error, ConformanceError) or not _can_come_from_observed_data(error):
        return error
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_below(frame.filename, *_OWN)]
    if not own or not (_is_below(own[-1].filename, _CHECKS) or isinstance(error, RecursionError)):
        return error
    where = f"{Path(own[-1].filename).name}:{own[-1].lineno}: {own[-1].line}"
    untestable = Untestable(
        f"something that the check looks at is missing or has another shape than it expects: {type(error).__name__}: {error}, at {where}"
    )
    untestable.__cause__ = error
    return untestable


def _can_come_from_observed_data(error: BaseException) -> bool:
    is_loop_of_links = isinstance(error, OSError) and error.errno == errno.ELOOP
    return is_loop_of_links or isinstance(error, (*_BY_SHAPE, *_BY_ABSENCE))


def _is_below(file: str, *folders: Path) -> bool:
    return any(Path(file).is_relative_to(folder) for folder in folders)

"""A check about the talk with a server behind a URL, or about a sign-in, proves nothing if the program begins neither.

A program without these features has not broken a rule about them. So the failure of the check becomes `Untestable`. It stays as it is if
the contact itself is what the requirement demands, and in the families that are about other things.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.errors import ImplementationCrashed, Untestable, Violation

if TYPE_CHECKING:
    from conformance.workbench.workbench import Workbench

#: families about the talk with servers behind a URL
_FAMILIES = frozenset({"HTTP", "SSE", "OAUTH", "TOK"})
#: requirements of other families about such servers alone
_OTHERS = frozenset({"SEC-005", "SEC-011"})
#: families about a sign-in
_SIGN_INS = frozenset({"OAUTH", "TOK"})
#: requirements that a program breaks by contacting no server: plain http://, and the exceptions from a proxy
_DEMAND_CONTACT = frozenset({"HTTP-014", "HTTP-054", "HTTP-055"})


def unless_reached(failure: BaseException, requirement_id: str, workbench: Workbench) -> BaseException:
    """`failure`, or an `Untestable` that it caused, if the program contacted none of the check's servers behind a URL."""
    family = requirement_id.partition("-")[0]
    is_about_them = family in _FAMILIES or requirement_id in _OTHERS
    if not is_about_them or requirement_id in _DEMAND_CONTACT or not _is_only_a_violation(failure):
        return failure
    if workbench.contacted_no_remote:
        what = "the program contacted no server behind a URL (if it has none, write HTTP, SSE and OAUTH into [absent] of its profile)"
    elif family in _SIGN_INS and workbench.began_no_sign_in:
        what = "the program began no sign-in (if it has none, write OAUTH into [absent] of its profile)"
    else:
        return failure
    untestable = Untestable(
        f"{what}: " + str(failure if not isinstance(failure, BaseExceptionGroup) else failure.exceptions[0])
    )
    # A slow program may contact it later.
    untestable.timed = True
    untestable.__cause__ = failure
    return untestable


def _is_only_a_violation(failure: BaseException) -> bool:
    if isinstance(failure, BaseExceptionGroup):
        return all(map(_is_only_a_violation, failure.exceptions))
    return isinstance(failure, Violation | Untestable) and not isinstance(failure, ImplementationCrashed)

"""A wrong shape in a check is the proxy's. Elsewhere the same exception is the runner's, unless a value is nested too deeply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conformance.engine.blame import blamed
from conformance.errors import Untestable, Violation

CHECKS = Path(__file__).parents[3] / "conformance" / "checks"

#: above the highest process id of every platform
NO_PID = 2**30
#: what a check may do with a part that is missing or of another type
LOOKS = """
import json, os, pathlib, psutil

def first(found): return found[0]
def member(found): return found["name"]
def method(found): return found.get("name")
def parsed(found): return json.loads(found)
def number(found): return int(found)
def unpacked(found): one, other = found
def held(found): assert found is not None
def found_next(found): return next(iter(found))
def read(found): return pathlib.Path(found).read_text()
def counted(found): return len(os.listdir(found))
def copied(found): return json.loads("[" * found + "]" * found)
def ended(found): os.kill(found, 0)
def asked(found): return psutil.Process(found)
"""


def raised(name: str, value: Any, file: Path) -> Exception:
    """What the function of `LOOKS` raises for this value, if its code is in this file."""
    module: dict[str, Any] = {}
    exec(compile(LOOKS, str(file), "exec"), module)
    with pytest.raises(Exception) as problem:
        module[name](value)
    return problem.value


WRONG: dict[str, Any] = {
    "first": [],
    "member": {},
    "method": [],
    "parsed": "{",
    "number": "x",
    "unpacked": [1],
    "held": None,
    "found_next": [],
    "read": "/no-such-file",
    "counted": __file__,
    "ended": NO_PID,
    "asked": NO_PID,
}


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_a_wrong_shape_in_a_check_makes_it_untestable(name: str, value: Any) -> None:
    error = raised(name, value, CHECKS / "made_up.py")
    judged = blamed(error)
    assert isinstance(judged, Untestable)
    assert f"{type(error).__name__}" in judged.reason
    assert "made_up.py:" in judged.reason


@pytest.mark.parametrize(("name", "value"), WRONG.items())
def test_the_same_in_the_workbench_is_a_fault_of_the_runner(name: str, value: Any) -> None:
    error = raised(name, value, CHECKS.parent / "workbench" / "made_up.py")
    assert blamed(error) is error


def test_a_folder_or_a_loop_of_links_in_place_of_a_file_makes_a_check_untestable(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for place in (tmp_path, loop):
        error = raised("read", str(place), CHECKS / "made_up.py")
        assert isinstance(blamed(error), Untestable)


def test_a_value_nested_too_deeply_is_not_the_runners() -> None:
    for folder in ("checks", "workbench"):
        error = raised("copied", 100_000, CHECKS.parent / folder / "made_up.py")
        assert isinstance(error, RecursionError)
        assert isinstance(blamed(error), Untestable)


def test_a_group_is_judged_by_its_members() -> None:
    wrong, violation, ours = raised("first", [], CHECKS / "made_up.py"), Violation("a", "b"), KeyError("ours")
    judged = blamed(ExceptionGroup("several", [wrong, violation, ExceptionGroup("inner", [ours])]))
    assert isinstance(judged, ExceptionGroup)
    first, second, inner = judged.exceptions
    assert isinstance(first, Untestable)
    assert second is violation
    assert isinstance(inner, ExceptionGroup) and inner.exceptions == (ours,)


def test_what_a_check_raises_on_purpose_stays() -> None:
    violation = Violation("a", "b")
    assert blamed(violation) is violation

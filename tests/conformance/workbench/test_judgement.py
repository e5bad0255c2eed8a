"""How a check states what must hold."""

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from conformance.errors import ImplementationCrashed, Untestable, Violation
from conformance.workbench.judgement import Judgement

SAY = Judgement()


async def test_eventually_returns_the_first_true_value() -> None:
    looks = iter([0, 0, 7])
    assert await SAY.eventually(lambda: next(looks), within=5, what="seven") == 7


async def test_eventually_raises_with_the_last_value() -> None:
    with pytest.raises(Violation, match=r"(?s)expected: a file.*nothing"):
        await SAY.eventually(list, within=0.05, what="a file")


def test_one_returns_the_only_element() -> None:
    assert SAY.one(["call"], "one call") == "call"


@pytest.mark.parametrize("those", [[], ["first", "second"]])
def test_one_raises_with_all_elements_if_there_is_another_number(those: list[str]) -> None:
    with pytest.raises(Violation) as raised:
        SAY.one(those, "one call")
    assert raised.value.expected == "one call"
    assert all(one in raised.value.seen for one in those)


@pytest.mark.parametrize(("index", "element"), [(0, "a"), (1, "b"), (-1, "b"), (-2, "a")])
def test_at_returns_an_element(index: int, element: str) -> None:
    assert SAY.at(["a", "b"], index, "two letters") == element


@pytest.mark.parametrize("index", [2, -3])
def test_at_raises_with_all_elements_if_there_are_fewer(index: int) -> None:
    with pytest.raises(Violation, match="two letters") as raised:
        SAY.at(["a", "b"], index, "two letters")
    assert "b" in raised.value.seen


def test_inside_must_untestable_becomes_a_violation() -> None:
    with pytest.raises(Violation, match="it starts"), SAY.must("it starts"):
        raise Untestable("no answer")


def test_inside_precondition_a_violation_becomes_untestable() -> None:
    with (
        pytest.raises(Untestable, match="the twin works: expected a result; seen: an error"),
        SAY.precondition("the twin works"),
    ):
        raise Violation("a result", "an error")


async def test_run_cases_runs_every_case_to_its_end() -> None:
    ended: list[int] = []

    async def good() -> None:
        ended.append(1)

    async def bad() -> None:
        raise Violation("nothing", "something")

    with pytest.raises(Violation):
        await SAY.run_cases(bad, good)
    with pytest.raises(ExceptionGroup, match="2 of 3 cases"):
        await SAY.run_cases(bad, good, bad)
    assert ended == [1, 1]


class Upstream:
    name = "second"


async def _must_be_refused(upstream: Upstream, number: int, *, named: bool = False) -> None:
    if named:
        with SAY.case(f"the upstream {upstream.name}"):
            raise Violation("a refusal", "an answer", timed=True)
    raise Violation("a refusal", "an answer", timed=True)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (partial(_must_be_refused, Upstream(), 7), "must be refused second 7: a refusal"),
        (partial(_must_be_refused, Upstream(), 7, named=True), "the upstream second: a refusal"),
    ],
)
async def test_run_cases_names_the_case_once(step: Callable[[], Awaitable[None]], expected: str) -> None:
    with pytest.raises(Violation) as raised:
        await SAY.run_cases(step)
    assert (raised.value.expected, raised.value.timed) == (expected, True)


@pytest.mark.parametrize(
    ("problem", "ends_others"),
    [
        (Violation("nothing", "something"), True),
        (ImplementationCrashed("it serves", "SIGSEGV"), False),
        (Untestable("no answer"), False),
    ],
    ids=["violation", "crash", "untestable"],
)
async def test_run_cases_can_stop_at_the_first_violation(problem: Exception, ends_others: bool) -> None:
    judgement = Judgement()
    judgement.stops_at_first_violation = True
    failed, ended = anyio.Event(), anyio.Event()

    async def other() -> None:
        await failed.wait()
        await anyio.lowlevel.checkpoint()
        ended.set()

    async def bad() -> None:
        failed.set()
        raise problem

    with pytest.raises(type(problem)):
        await judgement.run_cases(other, bad)
    assert ended.is_set() is not ends_others

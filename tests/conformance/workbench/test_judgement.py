"""How checks say what must be so."""

import pytest

from conformance.errors import Untestable, Violation
from conformance.workbench.judgement import Judgement

SAY = Judgement()


def test_the_only_one_is_returned() -> None:
    assert SAY.one(["call"], "one call") == "call"


@pytest.mark.parametrize("those", [[], ["first", "second"]])
def test_another_number_is_a_violation_that_shows_them(those: list[str]) -> None:
    with pytest.raises(Violation) as raised:
        SAY.one(those, "one call")
    assert raised.value.expected == "one call"
    assert all(one in raised.value.seen for one in those)


def test_a_prerequisite_can_be_the_requirement() -> None:
    with pytest.raises(Violation, match="it starts"), SAY.must("it starts"):
        raise Untestable("no answer")


def test_a_violation_can_be_a_missing_prerequisite() -> None:
    with (
        pytest.raises(Untestable, match="the twin works: expected a result; seen: an error"),
        SAY.precondition("the twin works"),
    ):
        raise Violation("a result", "an error")


async def test_steps_that_are_taken_together_all_come_to_their_end() -> None:
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

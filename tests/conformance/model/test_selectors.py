"""A selector selects what it names, and a misspelt one is an error instead of an empty selection."""

from __future__ import annotations

import pytest

from conformance.errors import UsageError
from conformance.model.registry import Era, Reach, Registry
from conformance.model.selectors import FAMILY_WORDS, select
from conformance.model.verdicts import Level

REGISTRY = Registry.load()


def test_without_a_selector_everything_is_selected() -> None:
    assert select(REGISTRY) == list(REGISTRY.requirements)


@pytest.mark.parametrize("selector", ["CFG-001", "cfg-001"])
def test_an_id_selects_itself(selector: str) -> None:
    assert select(REGISTRY, [selector]) == ["CFG-001"]


def test_a_family_selects_its_members() -> None:
    assert select(REGISTRY, ["cfg"]) == [id for id in REGISTRY.requirements if id.startswith("CFG-")]


@pytest.mark.parametrize(("word", "family"), FAMILY_WORDS.items())
def test_a_family_has_a_name_in_words(word: str, family: str) -> None:
    assert select(REGISTRY, [word.capitalize()]) == select(REGISTRY, [family])


def test_every_family_can_be_selected_by_a_word() -> None:
    assert REGISTRY.families.keys() - FAMILY_WORDS.values() == {"GUARD", "HTTP", "OAUTH", "SSE"}


@pytest.mark.parametrize("level", Level)
def test_a_level_selects_its_requirements(level: Level) -> None:
    found = select(REGISTRY, [level.lower()])
    assert found
    assert found == [requirement.id for requirement in REGISTRY if requirement.level is level]


@pytest.mark.parametrize("era", Era)
def test_an_era_selects_its_requirements(era: Era) -> None:
    found = select(REGISTRY, [era.upper()])
    assert found
    assert found == [requirement.id for requirement in REGISTRY if requirement.era is era]


@pytest.mark.parametrize("reach", Reach)
def test_a_reach_selects_its_requirements(reach: Reach) -> None:
    found = select(REGISTRY, [reach.upper()])
    assert found
    assert found == [requirement.id for requirement in REGISTRY if requirement.reach is reach]


def test_a_glob_selects_ids() -> None:
    assert select(REGISTRY, ["cfg-01*"]) == [f"CFG-{number:03}" for number in range(10, 19)]


def test_slow_selects_the_slow_checks_and_may_select_none() -> None:
    assert select(REGISTRY, ["slow"], slow_ids=["CFG-014"]) == ["CFG-014"]
    assert select(REGISTRY, ["slow"]) == []


def test_quick_selects_what_is_not_slow() -> None:
    assert "CFG-014" not in select(REGISTRY, ["quick"], slow_ids=["CFG-014"])
    assert select(REGISTRY, ["quick", "slow"], slow_ids=["CFG-014"]) == select(REGISTRY)


def test_several_selectors_add_up_and_skip_takes_away() -> None:
    assert select(REGISTRY, ["CFG-001", "CFG-00[23]"], ["cfg-002"]) == ["CFG-001", "CFG-003"]


@pytest.mark.parametrize(
    ("selector", "nearest"),
    [("CGF", "CFG"), ("CFG-0001", "CFG-001"), ("moderm", "modern"), ("SHUOLD", "SHOULD"), ("stido", "stdio")],
)
def test_an_unknown_selector_is_an_error_that_names_the_nearest_ones(selector: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean .*{nearest}"):
        select(REGISTRY, [selector])


@pytest.mark.parametrize("selector", ["zzzzzzzz", "CFG-9*", ""])
def test_a_selector_that_resembles_nothing_is_an_error_that_explains_the_forms(selector: str) -> None:
    with pytest.raises(UsageError, match="nothing is called"):
        select(REGISTRY, [selector])
    with pytest.raises(UsageError, match="nothing is called"):
        select(REGISTRY, [], [selector])

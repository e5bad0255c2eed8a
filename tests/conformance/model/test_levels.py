"""What the documents of dynamic-mcp promise is no more than a SHOULD for another proxy."""

from __future__ import annotations

import pytest

from conformance.model.profile import Profile
from conformance.model.verdicts import Level


@pytest.mark.parametrize("text", ['face = "flat"', "relay = true", 'face = "flat"\nrelay = true'])
def test_a_doc_counts_as_should_for_another_proxy(text: str) -> None:
    profile = Profile.parse(text, "other.toml")
    assert profile.level_of(Level.DOC) is Level.SHOULD


@pytest.mark.parametrize("level", [Level.MUST, Level.SHOULD, Level.MAY])
@pytest.mark.parametrize("text", ['face = "flat"', ""])
def test_the_levels_of_a_protocol_stay(text: str, level: Level) -> None:
    assert Profile.parse(text, "other.toml").level_of(level) is level


def test_a_doc_binds_a_dynamic_mcp_proxy() -> None:
    assert Profile("").level_of(Level.DOC) is Level.DOC
    assert Profile.load("reference").level_of(Level.DOC) is Level.DOC

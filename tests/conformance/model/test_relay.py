"""A profile of a relay: the work of an aggregator does not apply, everything else does."""

from __future__ import annotations

import re
from pathlib import Path

from conformance.model.profile import Profile
from conformance.model.registry import Reach, Registry
from conformance.model.relay import EXEMPT

PAGE = Path(__file__).parents[3] / "docs" / "testing-your-proxy.md"
RELAY = Profile.parse("relay = true", "relay.toml")


def test_every_exempt_requirement_is_about_any_proxy() -> None:
    registry = Registry.load()
    assert {registry[id_].reach for id_ in EXEMPT} == {Reach.PROXY}


def test_a_relay_is_exempt_with_the_reason() -> None:
    reason = RELAY.reason_for_absence("FRONT-092")
    assert reason is not None
    assert "it is a relay: it passes definitions" in reason


def test_everything_else_applies_to_a_relay() -> None:
    assert RELAY.reason_for_absence("FRONT-012") is None
    assert RELAY.reason_for_absence("HTTP-009") is None
    assert not EXEMPT.keys() & {one.id for one in Registry.load() if one.family in ("TOK", "GUARD", "SEC")}


def test_another_proxy_is_exempt_from_nothing() -> None:
    assert Profile.parse("", "other.toml").reason_for_absence("FRONT-092") is None


def test_an_own_reason_counts_first() -> None:
    own = Profile.parse('relay = true\n[absent]\nFRONT-092 = "its own reason"', "relay.toml")
    assert own.reason_for_absence("FRONT-092") == "its own reason"


def test_the_page_lists_each_exempt_requirement() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("### A relay\n")[2].partition("\n### ")[0]
    assert sorted(re.findall(r"[A-Z]+-\d{3}", section)) == sorted(EXEMPT)

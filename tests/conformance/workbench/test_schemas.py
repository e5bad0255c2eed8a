"""A schema with references and the same schema without them are equal."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.workbench.schemas import inlined

LEAF = {"type": "string", "minLength": 1}


def test_a_definition_takes_the_place_of_its_reference() -> None:
    schema = {"$defs": {"leaf": LEAF}, "properties": {"a": {"$ref": "#/$defs/leaf", "default": None}}}
    assert inlined(schema) == {"properties": {"a": {**LEAF, "default": None}}}


def test_definitions_may_refer_to_others() -> None:
    schema = {
        "$defs": {"leaf": LEAF, "list": {"items": {"$ref": "#/$defs/leaf"}}},
        "anyOf": [{"$ref": "#/$defs/list"}],
    }
    assert inlined(schema) == {"anyOf": [{"items": LEAF}]}


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "items": {"$ref": "#/$defs/a"}},
        {"$defs": {}, "items": {"$ref": "#/$defs/missing"}},
        {"type": "object", "default": None},
        None,
        True,
    ],
)
def test_what_cannot_be_resolved_stays(schema: Any) -> None:
    assert inlined(schema) == schema


def test_a_reference_without_its_definition_differs() -> None:
    whole = {"$defs": {"leaf": LEAF}, "items": {"$ref": "#/$defs/leaf"}}
    assert inlined({"items": {"$ref": "#/$defs/leaf"}}) != inlined(whole)

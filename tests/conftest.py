"""Settings of all tests."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is slow, which says nothing about the property.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with the longest time limits first, then the slow ones, so that no worker waits for the last of them."""
    items.sort(key=_expected_duration, reverse=True)


def _expected_duration(item: pytest.Item) -> tuple[float, bool]:
    limit = item.get_closest_marker("timeout")
    return (float(limit.args[0]) if limit else 0.0, item.get_closest_marker("slow") is not None)

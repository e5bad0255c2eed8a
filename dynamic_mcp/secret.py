"""A string that does not show itself.

Values of ``env`` and ``headers`` live in this type from the configuration file to the place that needs them, so that no
``repr``, log line or traceback can show one by accident. It does not protect memory; it protects text.
"""

from __future__ import annotations


class Secret:
    """A value whose ``str`` and ``repr`` hide it; ``reveal()`` is the only way to read it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

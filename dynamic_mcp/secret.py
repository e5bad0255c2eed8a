"""A string that a ``repr`` hides.

Values of ``env`` and ``headers`` have this type from the configuration file to their use, so that no ``repr``, log line or traceback
shows one by accident. It does not protect the memory.
"""

from __future__ import annotations


class Secret:
    """A value that ``str`` and ``repr`` hide; only ``reveal()`` returns it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

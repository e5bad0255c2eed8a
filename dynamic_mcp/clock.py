"""The clock of a decision that depends on time.

A class that compares times takes a clock as a parameter, so that a test can pass one of its own and move it. Timers belong to the event
loop and use its clock.
"""

from __future__ import annotations

from collections.abc import Callable

#: Gives seconds that never go back, such as ``time.monotonic``. Only differences have a meaning.
Clock = Callable[[], float]

"""The reference, whose messages have random wrong shapes: a missing member, an empty list, a text for an object.

    python wrong_shapes.py SEED SIDE {config}

SIDE is `client` or `upstreams`. The seed and the method decide what becomes of a message, so a run can be repeated. The answers to
`initialize` stay right, and so does a part of the others, because otherwise no check would come far.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from conformance.mutants import wire
from dynamic_mcp.cli import main as run

if TYPE_CHECKING:
    from conformance.mutants.wire import Changed, Message, Way

_WRONG: tuple[Any, ...] = (None, True, 0, -1.5, "", "text", [], [[]], [None], {}, {"a": []})
#: the share of messages that change
_SHARE = 0.4


def with_a_wrong_part(value: Any, chance: random.Random) -> Any:
    """A copy of the value in which one part, at a random depth, is missing or of another type."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(sorted(value))
        rest = {key: part for key, part in value.items() if key != name}
        if chance.random() < 0.3:
            return rest
        return {**rest, name: with_a_wrong_part(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        place = chance.randrange(len(value))
        return [*value[:place], with_a_wrong_part(value[place], chance), *value[place + 1 :]]
    return chance.choice(_WRONG)


def main() -> None:
    """Run the reference with the mistakes."""
    seed, side = sys.argv[1:3]
    times: Counter[str] = Counter()

    def wrong(message: Message, way: Way) -> Changed:
        method = str(way.method_of(message))
        times[method] += 1
        chance = random.Random(f"{seed} {method} {times[method]}")
        if (
            method in ("initialize", "notifications/initialized", "server/discover")
            or chance.random() > _SHARE
        ):
            return message
        for member in ("result", "error", "params"):
            if member in message:
                return {**message, member: with_a_wrong_part(message[member], chance)}
        return message

    (wire.to_client if side == "client" else wire.to_stdio_upstreams)(wrong)
    run(sys.argv[3:])


if __name__ == "__main__":
    main()

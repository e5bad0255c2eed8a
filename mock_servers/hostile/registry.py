"""The registry of hostile servers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from mock_servers.script import Script

_S = TypeVar("_S", bound=Callable[[], Script])

Transport = Literal["stdio", "http", "sse", "oauth"]


@dataclass(frozen=True)
class HostileServer:
    """A server that means harm.

    Its script always has the tool `echo`, which works until the attack begins. A call of the tool `attack` begins the
    attack; if the script has no such tool, the attack begins with the first connection.
    """

    name: str
    #: what the server does, in one sentence
    attack: str
    transport: Transport
    #: makes a new script
    script: Callable[[], Script]

    @property
    def begins_by_call(self) -> bool:
        """Whether a call of the tool `attack` begins the attack."""
        return any(one.get("name") == "attack" for one in self.script().tools or ())


#: every hostile server by its name
HOSTILE: dict[str, HostileServer] = {}


def hostile(name: str, transport: Transport = "stdio") -> Callable[[_S], _S]:
    """Register a function that makes the script of a hostile server; the first paragraph of its docstring says what it does."""

    def register(script: _S) -> _S:
        if name in HOSTILE:
            raise ValueError(f"two hostile servers are named {name}")
        attack = " ".join((script.__doc__ or "").partition("\n\n")[0].split())
        if not attack:
            raise ValueError(f"the hostile server {name} has no docstring")
        HOSTILE[name] = HostileServer(name, attack, transport, script)
        return script

    return register

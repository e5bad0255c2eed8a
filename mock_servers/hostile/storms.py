"""Servers that send too much, too often, or do not read."""

from mock_servers.hostile.registry import hostile
from mock_servers.script import Script, default_tools, flood, on_call, reply, stop_reading, tool

#: the tools of a hostile server; `attack` begins the attack
TOOLS = [*default_tools(), tool("attack", "Begin the attack")]
#: seconds that a storm lasts
STORM = 5.0


@hostile("asks-without-reading")
def asks_without_reading() -> Script:
    """Asks 600 times with an id of 1 MiB, and never reads an answer."""
    question = '{"jsonrpc":"2.0","id":"$n' + "x" * (1 << 20) + '","method":"ping"}\n'
    return Script(tools=TOOLS, on=[on_call("attack", stop_reading(), flood(question, count=600))])


@hostile("prints-digits")
def prints_digits() -> Script:
    """Prints lines of one digit for five seconds, then answers."""
    return Script(tools=TOOLS, on=[on_call("attack", flood("1\n", seconds=STORM), reply())])

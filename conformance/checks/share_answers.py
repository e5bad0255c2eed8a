"""SHARE: the answers to several clients of a program that use the same ids at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.workbench.exposed import declared_methods, declares, exposed_prompt, exposed_uri
from conformance.workbench.several_clients import another_client, clients_of_one_program
from mock_servers.script import Rule, Script, error, on_call, reply, sleep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from conformance.workbench.workbench import Workbench

#: requests of each kind and each client
_ROUNDS = 5
#: the numbers of all clients
_NUMBERS = range(4)
_GROUP, _PROMPT = "a", "greet"
#: the lists, in the order of the first client; each further client begins with the next one
_LISTS = ("tools/list", "resources/list", "prompts/list")
#: seconds that each request takes, so that those of several clients are in flight together
_TAKES = sleep(0.05)


@check("SHARE-001", timeout=40)
async def each_client_gets_its_own_answers(workbench: Workbench) -> None:
    """The ids are the same, the params differ. The workbench compares the receipt in each answer with the journal of the upstream."""
    upstream = workbench.stdio(_GROUP, _script())
    async with clients_of_one_program(workbench, upstream) as clients:
        first = clients[0]
        asked = {number: await _asked(first, number) for number in _NUMBERS}
        await workbench.run_cases(
            *(partial(_asks, workbench, one, n, asked) for n, one in enumerate(clients))
        )
        if "modern" not in workbench.eras():
            return
        with workbench.case("a client of each era"):
            async with another_client(workbench, first) as modern:
                modern.modern = True
                await modern.ready(upstream)
                steps = (partial(_asks, workbench, one, n, asked) for n, one in enumerate((first, modern), 2))
                await workbench.run_cases(*steps)


@dataclass(frozen=True)
class _Asked:
    """A request of a client, and whether the server answers it with an error. The answer to a list names no client."""

    method: str
    params: Json
    fails: bool = False

    @property
    def is_list(self) -> bool:
        return self.method in _LISTS


def _who(number: int) -> str:
    """What only the requests of this client have, and the answers to them."""
    return f"client {number}"


def _uri(number: int) -> str:
    return f"share://{number}"


def _script() -> Script:
    """A server whose answers name the client that the request names."""
    completions = [
        Rule(
            "completion/complete",
            [_TAKES, reply({"completion": {"values": [_who(number)]}})],
            params={"argument": {"value": _who(number)}},
        )
        for number in _NUMBERS
    ]
    failures = [
        on_call("add", _TAKES, error(-32050, _who(number)), params={"arguments": {"a": number}})
        for number in _NUMBERS
    ]
    reads = [Rule(method, [_TAKES, reply()]) for method in ("resources/read", "prompts/get", *_LISTS)]
    return Script(
        capabilities={"tools": {}, "resources": {}, "prompts": {}, "completions": {}},
        resources=[{"uri": _uri(number), "name": _who(number)} for number in _NUMBERS],
        contents={_uri(number): [{"uri": _uri(number), "text": _who(number)}] for number in _NUMBERS},
        prompts=[{"name": _PROMPT, "arguments": [{"name": "x"}]}],
        on=[on_call("echo", _TAKES, reply()), *failures, *reads, *completions],
    )


async def _asked(proxy: Proxy, number: int) -> list[_Asked]:
    """What this client asks, as far as the proxy declares it."""
    call = proxy.call_params(_GROUP, "echo", {"x": _who(number)})
    failing = proxy.call_params(_GROUP, "add", {"a": number, "b": 0})
    asked = [_Asked("tools/call", call), _Asked("tools/call", failing, fails=True)]
    if declares(proxy, "resources"):
        uri = await exposed_uri(proxy, _GROUP, _uri(number))
        asked.append(_Asked("resources/read", {"uri": uri}))
    if declares(proxy, "prompts"):
        name = await exposed_prompt(proxy, _GROUP, _PROMPT)
        asked.append(_Asked("prompts/get", {"name": name, "arguments": {"x": _who(number)}}))
        if declares(proxy, "completions"):
            argument = {"name": "x", "value": _who(number)}
            params = {"ref": {"type": "ref/prompt", "name": name}, "argument": argument}
            asked.append(_Asked("completion/complete", params))
    lists = [_Asked(method, {}) for method in declared_methods(proxy, _LISTS)]
    turn = number % len(lists) if lists else 0
    return [*asked, *lists[turn:], *lists[:turn]]


async def _asks(
    workbench: Workbench, proxy: Proxy, number: int, asked: Mapping[int, Sequence[_Asked]]
) -> None:
    """Send the requests of a client in rounds, those of a round at once. Clients at the same time use the same ids."""

    async def ask(one: _Asked, id: int) -> None:
        answer = await proxy.request(one.method, one.params, id=id, within=10.0)
        named = [other for other in _NUMBERS if _who(other) in answer.raw]
        if one.is_list:
            items = answer.member(one.method.partition("/")[0])
            workbench.expect(isinstance(items, list), f"an answer to {one.method}", answer.raw)
        elif one.fails:  # a proxy may have words of its own for a failure
            what = "it fails, without the words of another client"
            workbench.expect(answer.is_error and named in ([], [number]), what, answer.raw)
        else:
            what = "it succeeds, with the words of this client alone"
            workbench.expect(not answer.is_error and named == [number], what, answer.raw)

    id = 0 if number < 2 else 100
    for _ in range(_ROUNDS):
        steps = []
        for one in asked[number]:
            id += 1
            steps.append(partial(ask, one, id))
        await workbench.run_cases(*steps)

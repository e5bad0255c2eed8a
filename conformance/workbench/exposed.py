"""What a proxy declares, and the names under which it shows the prompts and resources of its upstreams.

A proxy may put the name of the group into them, in any form. So a check takes a name from the list, and then uses it. A URI can have
another scheme, such as one with a hash. Then the check goes by the name of the resource, or by the rest of the URI.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from conformance.errors import NotApplicable, Violation
from conformance.workbench.listed_tools import has_token
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.shown import show
from mock_servers.script import Rule, Script, on_call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json
    from mock_servers.actions import Action


def declares(proxy: Proxy, capability: str, flag: str | None = None) -> bool:
    """Whether the answer to `initialize` declares a capability, or a flag of it."""
    path = (capability,) if flag is None else (capability, flag)
    found = proxy.greeting.member("capabilities", *path) if proxy.greeting is not None else None
    return found is not None and found is not False


def needs(proxy: Proxy, capability: str, flag: str | None = None) -> None:
    """Raise `NotApplicable` if the proxy does not declare a capability, or a flag of it, that the rest of the check is about."""
    if not declares(proxy, capability, flag):
        raise NotApplicable(f"it does not declare {capability}{f'.{flag}' if flag else ''}")


def declared_methods(proxy: Proxy, methods: Iterable[str]) -> list[str]:
    """Those of `methods` whose capability the proxy declares; `tools/call` needs `tools`, and so on."""
    return [method for method in methods if declares(proxy, method.partition("/")[0])]


def find_exposed(names: Iterable[Any], group: str, own: str) -> str | None:
    """The name among `names` that stands for the upstream's `own` name: that name, or the shortest that contains it.

    Of several, one that contains the name of the group counts.
    """
    known = [name for name in names if isinstance(name, str)]
    if own in known:
        return own
    having = [name for name in known if own in name or quote(own, safe="") in name]
    of_group = [name for name in having if group in name]
    return min(of_group or having, key=len, default=None)


async def exposed_prompt(proxy: Proxy, group: str, own: str) -> str:
    """The name under which `prompts/list` shows a prompt of a group. Raises `Violation` if it does not."""
    return await _exposed(proxy, "prompts/list", group, own)


async def exposed_uri(proxy: Proxy, group: str, own: str) -> str:
    """The URI under which `resources/list` shows a resource of a group. Raises `Violation` if it does not."""
    return await _exposed(proxy, "resources/list", group, own)


async def exposed_template(proxy: Proxy, group: str, own: str) -> str:
    """The template under which `resources/templates/list` shows one of a group. Raises `Violation` if it does not."""
    return await _exposed(proxy, "resources/templates/list", group, own)


async def _exposed(proxy: Proxy, method: str, group: str, own: str) -> str:
    member, key = LISTS[method]
    proxy = proxy.of(group)
    items = await proxy.items(method, member)
    shown = [item.get(key) for item in items]
    found = proxy.name_by_pattern(method, group, own)
    if found not in shown:
        found = exposed_among(proxy, method, items, group, own)
    if found is None:
        raise Violation(f"{method} shows {own} of group {group}", show(shown))
    return found


def exposed_among(proxy: Proxy, method: str, items: Iterable[Json], group: str, own: str) -> str | None:
    """The name or URI among these items that stands for the upstream's `own` one; None if they have none.

    Raises `NotApplicable` if several can.
    """
    member, key = LISTS[method]
    shown = [item for item in items if isinstance(item.get(key), str)]
    found = find_exposed([item[key] for item in shown], group, own)
    if found is not None or key == "name":
        return found
    scripted = proxy.scripted(member)
    of_others = {one[key] for one in scripted} - {own}
    free = [one for one in shown if not any(find_exposed([one[key]], "", other) for other in of_others)]
    possible = _like(free, key, own, {one.get("name") for one in scripted if one[key] == own})
    possible = [one for one in possible if has_token((json.dumps(one),), group)] or possible
    if len(possible) > 1:
        seen = [one[key] for one in possible]
        raise NotApplicable(f"{method} shows {show(seen)}, and nothing there tells which is {own} of {group}")
    return str(possible[0][key]) if possible else None


def _like(shown: list[Json], key: str, own: str, names: set[Any]) -> list[Json]:
    """The items with the rest of a URI and the name of its resource; else those with the name, and else those with the rest."""
    rest = own.partition("://")[2]
    with_rest = [one for one in shown if rest and one[key].endswith(f"://{rest}")]
    with_name = [one for one in shown if any(name and name in str(one.get("name")) for name in names)]
    return [one for one in with_name if one in with_rest] or with_name or with_rest


def script_of_each_kind(*actions: Action) -> Script:
    """A server for `requests_of_each_kind`: its tool, its resource and its prompt play these actions."""
    return Script(
        resources=[{"uri": "mock://one", "name": "one"}],
        prompts=[{"name": "greet"}],
        on=[
            on_call("echo", *actions),
            *(Rule(method, [*actions]) for method in ("resources/read", "prompts/get")),
        ],
    )


async def requests_of_each_kind(proxy: Proxy, group: str) -> dict[str, Json]:
    """By method, as far as the proxy declares it: the params that use the tool `echo`, the resource `mock://one` and the prompt `greet`."""
    asked = {"tools/call": proxy.call_params(group, "echo")}
    if declares(proxy, "resources"):
        asked["resources/read"] = {"uri": await exposed_uri(proxy, group, "mock://one")}
    if declares(proxy, "prompts"):
        asked["prompts/get"] = {"name": await exposed_prompt(proxy, group, "greet")}
    return asked

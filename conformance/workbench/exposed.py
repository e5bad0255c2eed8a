"""What a proxy declares, and the names under which it shows the prompts and resources of its upstreams.

A proxy may put the name of the group into them, in any form. So a check takes a name from the list, and then uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from conformance.errors import NotApplicable, Violation
from conformance.workbench.listing_forms import LISTS
from conformance.workbench.polling import show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conformance.workbench.proxy import Proxy
    from conformance.workbench.transcript import Json


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
    shown = [item.get(key) for item in await proxy.items(method, member)]
    found = proxy.name_by_pattern(method, group, own)
    if found not in shown:
        found = find_exposed(shown, group, own)
    if found is None:
        raise Violation(f"{method} shows {own} of group {group}", show(shown))
    return found


async def requests_of_each_kind(proxy: Proxy, group: str) -> dict[str, Json]:
    """By method, as far as the proxy declares it: the params that use the tool `echo`, the resource `mock://one` and the prompt `greet`."""
    asked = {"tools/call": proxy.call_params(group, "echo")}
    if declares(proxy, "resources"):
        asked["resources/read"] = {"uri": await exposed_uri(proxy, group, "mock://one")}
    if declares(proxy, "prompts"):
        asked["prompts/get"] = {"name": await exposed_prompt(proxy, group, "greet")}
    return asked

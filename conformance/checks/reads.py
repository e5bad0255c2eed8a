"""Reads of resources by checks that are about other things: a proxy may show no resources, or under another URI."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from conformance.errors import NotApplicable, Violation
from conformance.workbench.exposed import declares, exposed_template, exposed_uri

if TYPE_CHECKING:
    from conformance.workbench.proxy import Proxy


async def try_to_read(proxy: Proxy, group: str, uri: str) -> None:
    """Read a resource of a group, if the proxy declares resources. The answer may be an error."""
    one = proxy.of(group)
    if declares(one, "resources"):
        with suppress(NotApplicable, Violation):  # the proxy may know it without a list
            uri = await exposed_uri(proxy, group, uri)
        await one.request("resources/read", {"uri": uri}, within=10.0)


async def try_to_read_by_template(proxy: Proxy, group: str, template: str, **values: str) -> None:
    """Read what a template of a group covers, with these values of its variables; otherwise like `try_to_read`."""
    one = proxy.of(group)
    if declares(one, "resources"):
        with suppress(NotApplicable, Violation):  # the proxy may know it without a list
            template = await exposed_template(proxy, group, template)
        for name, value in values.items():
            template = template.replace(f"{{+{name}}}", value)
        await one.request("resources/read", {"uri": template}, within=10.0)

"""CFG: the effect of `enabled`, `features` and `timeout`, and the unchanged configuration file."""

from __future__ import annotations

import stat
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_refuse_to_start, must_work
from mock_servers.script import Script, on_call, silence, sleep

if TYPE_CHECKING:
    from conformance.workbench.mocks import MockUpstream, StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench


@check("CFG-014", slow=True, timeout=60)
async def a_disabled_server_is_left_alone(workbench: Workbench) -> None:
    disabled, enabled = workbench.stdio("sleeper"), workbench.stdio("worker")
    remotes = [await workbench.remote("sleeper-too")] if workbench.has_remotes else []

    def must_be_left_alone() -> None:
        disabled.must_not_have_started()
        for remote in remotes:
            remote.saw_nothing()

    left_out = [one.variant(enabled=False) for one in (disabled, *remotes)]
    async with workbench.proxy(*left_out, enabled) as proxy:
        await proxy.handshake()
        await proxy.ready(enabled)
        await workbench.holds_for(35.0, must_be_left_alone)
        for method in ("tools/list", "resources/list", "prompts/list"):
            listing = await proxy.request(method, {})
            workbench.expect("sleeper" not in listing.raw, f"{method} does not name the server", listing.raw)
        result = await proxy.call("worker", "echo", {"x": 1})
        workbench.expect(not result.is_error, "the enabled server beside it works", result.raw)
        must_be_left_alone()
    with workbench.precondition("the same entries work when they are enabled"):
        await must_work(workbench, disabled, *remotes, config=workbench.config(disabled, *remotes))


RESOURCE = "mock://one"
EVERYTHING = Script(
    resources=[{"uri": RESOURCE, "name": "one"}], prompts=[{"name": "greet", "description": "Greet"}]
)


@check("CFG-015", timeout=40)
async def a_feature_flag_switches_a_feature_off_on_both_sides(workbench: Workbench) -> None:
    no_tools = workbench.stdio("notools", features={"tools": False})
    remotes = [await workbench.remote("remote", features={"tools": False})] if workbench.has_remotes else []
    no_resources = workbench.stdio("noresources", EVERYTHING, features={"resources": False})
    no_prompts = workbench.stdio(
        "noprompts", Script(prompts=[{"name": "hidden"}]), features={"prompts": False}
    )
    async with workbench.proxy(no_tools, no_resources, no_prompts, *remotes) as proxy:
        await proxy.handshake()
        await proxy.ready(no_resources, no_prompts)
        for without in (no_tools, *remotes):
            await _must_have_no_tools(workbench, proxy, without)

        called = await proxy.call("noresources", "echo", {"x": 1})
        workbench.expect(not called.is_error, "tools work when only resources are off", called.raw)
        # A proxy without the parameter group lists the resources of all groups.
        listed = await proxy.request("resources/list", {"group": "noresources"})
        is_hidden = listed.is_error or RESOURCE not in listed.raw
        workbench.expect(is_hidden, "no list has a resource of a group without resources", listed.raw)
        read = await proxy.request("resources/read", {"group": "noresources", "uri": RESOURCE})
        workbench.expect(read.is_error, "a read of such a resource is an error", read.raw)
        asked = [line for line in no_resources.lines if '"resources/' in line]
        workbench.expect(not asked, "no request about resources reaches the upstream", asked)
        # A proxy that passes on no prompts at all offers nothing to test here.
        if "prompts" in _capabilities(proxy):
            prompts = await proxy.items("prompts/list", "prompts", {"group": "noresources"})
            workbench.expect("greet" in str(prompts), "prompts work when only resources are off", prompts)
            await _must_have_no_prompts(workbench, proxy, no_prompts)


async def _must_have_no_prompts(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Raise `Violation` if the proxy lists or gets a prompt of a group without prompts."""
    listed = await proxy.pages("prompts/list", "prompts")
    workbench.expect(
        "hidden" not in listed.raw, "no list has a prompt of a group without prompts", listed.raw
    )
    got = await proxy.request("prompts/get", {"name": "hidden"})
    workbench.expect(got.is_error, "such a prompt is an error", got.raw)
    asked = [line for line in upstream.lines if '"prompts/' in line]
    workbench.expect(not asked, "no request about prompts reaches the upstream", asked)


async def _must_have_no_tools(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    """Raise `Violation` if a call is no error, or if the upstream receives a request about tools."""
    await _must_be_connected(workbench, proxy, upstream)
    for _ in range(2):
        refused = await proxy.call(upstream.name, "echo", {"x": 1})
        workbench.expect(refused.is_error, "calling a tool of a group without tools is an error", refused.raw)
    asked = [*upstream.requests("tools/list"), *upstream.requests("tools/call")]
    workbench.expect(not asked, "no request about tools reaches the upstream", asked)


async def _must_be_connected(workbench: Workbench, proxy: Proxy, upstream: MockUpstream) -> None:
    """Wait until an upstream without tools has answered, so that an error does not come from its absence. Raises `Untestable`."""
    lists = [f"{kind}/list" for kind in ("resources", "prompts") if kind in _capabilities(proxy)]
    for method in lists:
        await proxy.request(method, {})  # wakes a lazy proxy
    if not lists and not workbench.promises("eager-start"):
        return  # nothing of such a server can be used
    with workbench.precondition("the upstream without tools is connected"):
        answered = f"{upstream.name} has answered the first request"
        await workbench.eventually(
            lambda: [entry for entry in upstream.entries if entry.event == "sent"], within=10.0, what=answered
        )


def _capabilities(proxy: Proxy) -> dict[str, Any]:
    capabilities = proxy.greeting.member("capabilities") if proxy.greeting else None
    return capabilities if isinstance(capabilities, dict) else {}


@check("CFG-016", timeout=40, slow=True)
async def timeouts_accept_five_text_forms_and_whole_seconds(workbench: Workbench) -> None:
    """The proxy also passes on an answer that arrives within the deadline."""
    await _must_refuse_nonsense(workbench)
    hanging = Script(on=[on_call("echo", silence())])
    answering = Script(on=[on_call("echo", sleep(0.6))])
    cut = {"t1500ms": ("1500ms", 1.5), "t2": (2, 2.0)}
    kept = {"t5s": "5s", "t1min": "1min", "t2m": "2m", "t1h": "1h"}
    forms = {"resources": "500ms", "prompts": "1min"}
    slow = [
        workbench.stdio(name, hanging, timeout={"tools": text, **forms}) for name, (text, _) in cut.items()
    ]
    good = [workbench.stdio(name, answering, timeout={"tools": text, **forms}) for name, text in kept.items()]
    async with workbench.proxy(*slow, *good) as proxy:
        with workbench.must("the proxy accepts every documented form"):
            await proxy.handshake()
            await proxy.ready(*slow, *good)
        await workbench.run_cases(
            *(partial(_must_be_cut, workbench, proxy, upstream, *cut[upstream.name]) for upstream in slow),
            *(partial(_must_be_kept, workbench, proxy, upstream) for upstream in good),
        )


async def _must_refuse_nonsense(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    nonsense: list[tuple[str, Any]] = [("tools", value) for value in ("abc", -1, True, 1.5, "5 parsecs", "")]
    nonsense += [("resources", "abc"), ("prompts", "abc")]
    off = workbench.stdio("off", enabled=False, timeout={"tools": "abc"})
    await workbench.run_cases(
        *(
            partial(
                must_refuse_to_start,
                workbench,
                f"{kind}: {value!r}",
                workbench.config(upstream.variant(timeout={kind: value})),
            )
            for kind, value in nonsense
        ),
        partial(must_refuse_to_start, workbench, "disabled, tools: 'abc'", workbench.config(upstream, off)),
    )
    upstream.must_not_have_started()


async def _must_be_cut(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, value: Any, seconds: float
) -> None:
    """Raise `Violation` unless the proxy answers after this time since the call, and soon after this time since the call's arrival.

    The tool never answers, so any answer is the proxy's own. The check does not judge how the answer words a
    timeout.
    """
    sent = time.monotonic()
    answer = await proxy.call(upstream.name, "echo", within=seconds + 10)
    arrived = upstream.requests("tools/call")
    workbench.expect(arrived, f"timeout {value!r}: the call reaches the upstream", upstream.lines)
    after_sending, after_arrival = answer.t - sent, answer.t - arrived[-1].t
    workbench.expect(after_sending >= seconds - 0.1, f"{value!r} waits {seconds} s", f"{after_sending:.2f} s")
    workbench.expect(
        after_arrival <= seconds + 2.5, f"{value!r} ends the call after {seconds} s", f"{after_arrival:.2f} s"
    )


async def _must_be_kept(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    answer = await proxy.call(upstream.name, "echo", {"x": 1})
    what = f"timeout {upstream.entry['timeout']['tools']!r}: the proxy passes on an answer after 0.6 s"
    workbench.expect(not answer.is_error, what, answer.raw)


@check("CFG-017", slow=True, timeout=40)
async def the_configuration_file_is_only_read(workbench: Workbench) -> None:
    upstream = workbench.stdio("a")
    upstreams: list[MockUpstream] = [upstream]
    if workbench.has("OAUTH"):
        upstreams.append(await workbench.oauth("b"))
    workbench.browser()
    config = workbench.config(*upstreams)
    config.chmod(0o644)
    before = _state_of(config)

    def must_be_unchanged() -> None:
        now = _state_of(config)
        workbench.expect(now == before, f"the file stays {before}", now)

    async with workbench.proxy(config=config) as proxy:
        with workbench.must("the proxy accepts a file of mode 0644"):
            await proxy.handshake()
            await proxy.ready(upstream)
        await proxy.ready(*upstreams)
        for one in upstreams:
            result = await proxy.call(one.name, "echo", {"x": 1})
            workbench.expect(not result.is_error, f"a call of {one.name} works", result.raw)
        await workbench.holds_for(10.0, must_be_unchanged)
    must_be_unchanged()


def _state_of(config: Path) -> tuple[str, int, bytes, list[str]]:
    status = config.stat()
    neighbours = sorted(entry.name for entry in config.parent.iterdir())
    return stat.filemode(status.st_mode), status.st_mtime_ns, config.read_bytes(), neighbours

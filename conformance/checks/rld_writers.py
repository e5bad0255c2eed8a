"""RLD: saves that take their time, and many saves at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio

from conformance.checks import check
from conformance.checks.rld import POLL, keeps_its_processes, must_be_added, must_serve
from conformance.workbench import save_styles

if TYPE_CHECKING:
    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench


@check("RLD-008", timeout=60, slow=True)
async def slow_and_bursty_writers_end_in_what_they_wrote_last(workbench: Workbench) -> None:
    """While the slow writer is not done, calls to the old group work."""
    await workbench.run_cases(partial(_slow_writer, workbench), partial(_bursty_writer, workbench))


async def _slow_writer(workbench: Workbench) -> None:
    old, new = workbench.stdio("a"), workbench.stdio("b")
    config, complete = workbench.config(old), workbench.config(old, new).read_bytes()
    async with workbench.serving(old, config=config) as proxy:
        numbers = await _processes_of_each(workbench, proxy, old)
        async with anyio.create_task_group() as writing:

            async def write() -> None:
                # The last piece comes after the last call, since the content is valid from then on.
                await save_styles.in_pieces(config, complete[:-1], 7, pause=0.15)
                writing.cancel_scope.cancel()

            writing.start_soon(write)
            with workbench.case("while the file is half written"):
                while True:
                    await must_serve(workbench, proxy, old)
                    await anyio.sleep(POLL)
        save_styles.in_place(config, complete)
        with workbench.case("a slow writer"):
            await must_be_added(workbench, proxy, new)
            await _must_hold_exactly(workbench, proxy, numbers, old, new)


async def _bursty_writer(workbench: Workbench) -> None:
    old, between, last = workbench.stdio("c"), workbench.stdio("d"), workbench.stdio("e")
    config = workbench.config(old)
    async with workbench.serving(old, config=config) as proxy:
        numbers = await _processes_of_each(workbench, proxy, old)
        contents = [workbench.config(old).read_bytes(), workbench.config(old, between).read_bytes()]
        for number in range(20):
            data = contents[number % 2] if number < 19 else workbench.config(old, last).read_bytes()
            # Each save truncates the file for a moment, as a slow writer does.
            await save_styles.in_pieces(config, data, 2, pause=0.05)
        with workbench.case("twenty saves"):
            await must_be_added(workbench, proxy, last)
            await _must_hold_exactly(workbench, proxy, numbers, old, last, gone=between)


async def _processes_of_each(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> range:
    """The possible numbers of processes of an upstream between two calls: one, those of a pool, or none."""
    least = int(await keeps_its_processes(workbench, proxy, upstream))
    return range(least, max(1, len(upstream.alive)) + 1)


async def _must_hold_exactly(
    workbench: Workbench,
    proxy: Proxy,
    numbers: range,
    *upstreams: StdioMockUpstream,
    gone: StdioMockUpstream | None = None,
) -> None:
    """Raise `Violation` unless each upstream soon has one of these numbers of processes, also a second later, and `gone` has none."""

    def is_so() -> bool:
        return all(len(one.alive) in numbers for one in upstreams) and not (gone and gone.alive)

    def seen() -> dict[str, list[int]]:
        return {one.name: one.alive for one in (*upstreams, *([gone] if gone else []))}

    number = "one process" if [*numbers] == [1] else f"{numbers[0]} to {numbers[-1]} processes"
    expected = f"{number} for each of {', '.join(one.name for one in upstreams)}, and no other"
    with anyio.move_on_after(10.0):
        while not is_so():  # noqa: ASYNC110 - no event announces another process's children
            await anyio.sleep(POLL)
    await workbench.holds_for(1.0, lambda: workbench.expect(is_so(), expected, seen()))
    groups = await proxy.groups(*(one.name for one in (*upstreams, *([gone] if gone else []))))
    names = sorted(one.name for one in upstreams)
    workbench.expect(sorted(groups) == names, f"the groups {names}", groups)

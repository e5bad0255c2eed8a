"""A stdio upstream tells by its journal whether the implementation started it and whether it is gone."""

from __future__ import annotations

import pytest

from conformance.errors import Violation
from mock_servers.script import Grandchild, Script, on_call, silence
from tests.conformance.workbench.test_workbench import REFERENCE, workbench_for


async def test_a_start_contradicts_was_never_started() -> None:
    async with workbench_for(REFERENCE) as workbench:
        upstream = workbench.stdio("a", Script(on=[on_call("echo", silence())]))
        upstream.must_not_have_started()
        async with workbench.proxy(upstream) as proxy:
            await proxy.handshake()
            assert (await upstream.started(within=10)).pid in upstream.pids
        with pytest.raises(Violation, match="never starts"):
            upstream.must_not_have_started()


async def test_an_upstream_is_gone_with_its_grandchildren() -> None:
    async with workbench_for(REFERENCE) as workbench:
        upstream = workbench.stdio("a", Script(grandchildren=[Grandchild()]))
        async with workbench.serving(upstream) as proxy:
            assert len(upstream.alive) == 2
            with pytest.raises(Violation, match=r"alive: \[\d+, \d+\]"):
                await upstream.gone(within=0)
            proxy.close_stdin()
            await upstream.gone(within=10)
        assert upstream.alive == []

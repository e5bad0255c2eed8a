"""A stdio script over HTTP: what means the same there, and what is about a process."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from conformance.errors import NotApplicable
from conformance.model.profile import Profile
from conformance.model.sut import Sut
from conformance.workbench.served import ServedUpstream
from conformance.workbench.workbench import open_workbench
from mock_servers.script import Rule, Script, crash, on_call, reply, stderr

PROFILE = Profile.parse('face = "flat"\nsingle.http = ["{url}"]', "mine")
SUT = Sut("mine", (sys.executable, "-c", "pass"), PROFILE)


@pytest.mark.parametrize(
    ("script", "fields"),
    [
        (Script(on=[on_call("echo", crash())]), {}),
        (Script(on=[Rule("ping", [stderr("x"), reply({})])]), {}),
        (Script(ignore_eof=True), {}),
        (Script(), {"env": {"A": "1"}}),
        (Script(), {"args": ["a"]}),
    ],
)
async def test_what_is_about_a_process_does_not_apply(script: Script, fields: dict[str, Any]) -> None:
    async with open_workbench(SUT, "SERVED", keep=False) as workbench:
        with pytest.raises(NotApplicable, match="about the process of a stdio server"):
            workbench.stdio("a", script, **fields)


async def test_it_listens_from_the_first_start_on() -> None:
    async with open_workbench(SUT, "SERVED", keep=False) as workbench:
        upstream = workbench.stdio("a", Script(on=[on_call("echo", reply({"content": []}))]))
        assert isinstance(upstream, ServedUpstream)
        assert upstream.entry["url"].startswith("http://127.0.0.1:")
        for about_a_process in ("starts", "pids", "alive", "program"):
            with pytest.raises(NotApplicable):
                getattr(upstream, about_a_process)
        await workbench.start_served()
        assert upstream.requests("tools/call") == []
        await upstream.stop()

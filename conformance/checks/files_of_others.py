"""TOK, CFG and HARD: files that belong to another user, or are something else than a regular file.

Only root can give a file to another user. Without that right, the checks test only the other cases.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_refuse_to_start, sign_in
from conformance.checks.rld import must_be_added
from conformance.checks.token_files import token_file
from conformance.workbench.memory import memory_of
from mock_servers.browser import User

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

#: a user that owns nothing of a check
STRANGER = 54321
MARKER = "canary-argument-8"
#: bytes of a huge file, and how much more memory a proxy may use for it
HUGE = 1 << 30
MAX_GROWTH = 256 << 20
#: seconds in which a proxy can notice a changed file and read it
_NOTICED = 1.5


def _give_away(workbench: Workbench, *paths: Path) -> bool:
    """Give the files to another user; false if this user has no right to."""
    try:
        for path in paths:
            os.chown(path, STRANGER, -1)
    except PermissionError:
        workbench.note("only root can give a file to another user, so the check does not test that")
        return False
    return True


@check("TOK-021", timeout=60, slow=True)
async def tokens_that_another_user_can_have_planted_are_not_used(workbench: Workbench) -> None:
    """The pipe has no writer, so a proxy that opens it in the usual way waits for ever."""
    foreign, pipe = await workbench.oauth("foreign"), await workbench.oauth("pipe")
    workbench.browser()
    with workbench.precondition("the first sign-in works"):
        await sign_in(workbench, foreign, pipe)
    files = [token_file(workbench, upstream.name) for upstream in (foreign, pipe)]
    with workbench.precondition("the tokens are stored in the documented place"):
        workbench.expect(all(file.is_file() for file in files), str(files), "another place")
    folder = files[0].parent
    files[1].unlink()
    os.mkfifo(files[1], 0o600)
    workbench.browser(User("leaves"))
    with workbench.case("a pipe, and a file of another user"):
        judged = [pipe, foreign] if _give_away(workbench, files[0]) else [pipe]
        await _must_use_no_token(workbench, *judged)
    if files[0].exists():
        os.chown(files[0], os.geteuid(), -1)
    if files[0].exists() and _give_away(workbench, folder, folder.parent):
        with workbench.case("a folder of another user"):
            await _must_use_no_token(workbench, foreign)


async def _must_use_no_token(workbench: Workbench, *upstreams: ProtectedMockUpstream) -> None:
    """Raise `Violation` unless the proxy reaches the upstreams without any token."""
    before = {upstream.name: len(upstream.mcp) for upstream in upstreams}
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            await proxy.wake(upstream.name)
        for upstream in upstreams:
            await _must_be_contacted(workbench, upstream, before[upstream.name])

        def must_show_none() -> None:
            for upstream in upstreams:
                sent = [one for one in upstream.mcp[before[upstream.name] :] if upstream.bearer(one)]
                none = not sent and not upstream.refreshes
                workbench.expect(none, f"{upstream.name}: the proxy uses no stored token", sent)

        await workbench.holds_for(1.0, must_show_none)


async def _must_be_contacted(workbench: Workbench, upstream: ProtectedMockUpstream, before: int) -> None:
    with workbench.must(f"the proxy contacts {upstream.name}"):
        what = "a request reaches it"
        await workbench.eventually(lambda: len(upstream.mcp) > before, within=10.0, what=what)


@check("CFG-018", timeout=60, slow=True)
async def only_a_regular_file_of_the_user_is_a_configuration(workbench: Workbench) -> None:
    """The pipes have no writer. The memory counts only where /proc shows it."""
    upstream, added = workbench.stdio("a"), workbench.stdio("b")
    pipe = workbench.sandbox.configs / "pipe.json"
    os.mkfifo(pipe)
    await must_refuse_to_start(workbench, "a pipe", pipe)
    link = workbench.sandbox.configs / "link.json"
    link.symlink_to(pipe)
    await must_refuse_to_start(workbench, "a symbolic link to a pipe", link)
    stranger = workbench.stdio("stranger")
    foreign = workbench.config(stranger, name="foreign.json")
    if _give_away(workbench, foreign):
        await must_refuse_to_start(workbench, "a file of another user", foreign)
        stranger.must_not_have_started()
    config = workbench.config(upstream)
    async with workbench.serving(upstream, config=config) as proxy:
        with workbench.case("a pipe in place of the file"):
            pipe.rename(config)
            await _must_go_on(workbench, proxy, upstream)
        with workbench.case("a huge file in its place"):
            before = memory_of(proxy)
            huge = config.with_suffix(".huge")
            huge.touch()
            os.truncate(huge, HUGE)
            huge.rename(config)
            await _must_go_on(workbench, proxy, upstream)
            after = memory_of(proxy)
            if before is not None and after is not None:
                grown = f"{(after - before) >> 20} MiB more"
                workbench.expect(after - before < MAX_GROWTH, f"less than {MAX_GROWTH >> 20} MiB", grown)
        with workbench.case("a configuration again"):
            config.unlink()
            workbench.save(config, upstream, added)
            await must_be_added(workbench, proxy, added)


async def _must_go_on(workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream) -> None:
    """Raise `Violation` unless the proxy serves its upstream while it notices a changed file."""

    await workbench.holds_for(_NOTICED, lambda: None)
    answer = await proxy.call(upstream.name, "add", {"a": 1, "b": 2}, within=2.0)
    workbench.expect(not answer.is_error, f"a call of {upstream.name} works", answer.raw)


@check("HARD-014", timeout=60, slow=True)
async def an_audit_log_goes_only_to_a_file_of_the_user(workbench: Workbench) -> None:
    """An audit log in another file instead is allowed."""
    folder = workbench.sandbox.tmp
    victim, pipe, foreign = folder / "victim", folder / "pipe", folder / "foreign"
    victim.write_text("mine\n")
    victim.chmod(0o644)
    link = folder / "link"
    link.symlink_to(victim)
    await _must_allow_calls(workbench, "a symbolic link", link)
    workbench.expect(
        victim.read_text() == "mine\n", "the target of the link is unchanged", victim.read_text()
    )
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        await _must_allow_calls(workbench, "a pipe", pipe)
        got = os.read(reader, 1 << 16)
    finally:
        os.close(reader)
    workbench.expect(not got, "the reader of the pipe gets nothing", got[:200])
    foreign.touch()
    foreign.chmod(0o666)
    if _give_away(workbench, foreign):
        # The descriptor stays with the file, even if the proxy replaces it by another one.
        with foreign.open("rb") as kept:
            await _must_allow_calls(workbench, "a file of another user", foreign)
            text = kept.read()
        workbench.expect(not text, "the other user gets no line", text[:200])


async def _must_allow_calls(workbench: Workbench, what: str, file: Path) -> None:
    """Raise `Violation` unless a call works with this audit log, and stderr names the file."""
    upstream = workbench.stdio("a")
    settings = workbench.sut.profile.configured(audit={"file": str(file), "arguments": "value"})
    with workbench.case(what):
        async with workbench.serving(upstream, config=workbench.config(upstream, extra=settings)) as proxy:
            answer = await proxy.call("a", "echo", {"x": MARKER})
            workbench.expect(not answer.is_error, "a call works", answer.raw)
            await workbench.eventually(
                lambda: str(file) in proxy.stderr, within=3.0, what=f"stderr names {file}"
            )

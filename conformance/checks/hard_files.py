"""HARD: files with secrets that others can access: the stored tokens and the configuration."""

from __future__ import annotations

import stat
from functools import partial
from typing import TYPE_CHECKING

from conformance.checks import check
from conformance.checks.common import must_answer_a_call, sign_in
from conformance.checks.token_files import own_folder, token_file
from mock_servers.browser import User

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from conformance.workbench.mocks import MockUpstream
    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.workbench import Workbench

LITERAL = "canary-literal-4711"


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _lines_with(text: str, *parts: str) -> list[str]:
    """The lines that contain all of these parts."""
    return [line for line in text.splitlines() if all(part in line for part in parts)]


@check("HARD-001", timeout=60, slow=True)
async def a_lax_token_store_is_repaired(workbench: Workbench) -> None:
    """HOME keeps its mode. The token of a file with mode 0666 stays unused at the next start, too."""
    upstream = await workbench.oauth("a")
    workbench.browser()
    with workbench.precondition("the first sign-in works"):
        await sign_in(workbench, upstream)
    file, home = token_file(workbench, "a"), workbench.sandbox.home
    with workbench.precondition("the tokens are stored in the documented place"):
        workbench.expect(file.is_file(), str(file), sorted(map(str, home.rglob("*"))))
    folders = list({file.parent, own_folder(workbench)} - {file, home})
    for path, mode in ((file, 0o644), *((folder, 0o755) for folder in (*folders, home))):
        path.chmod(mode)
    browser = workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        with workbench.precondition("the proxy uses the stored token"):
            await proxy.ready(upstream)
            await must_answer_a_call(workbench, proxy, upstream)
            workbench.expect(not browser.openings, "no second sign-in", browser.openings)
        with workbench.case("0644 in 0755"):
            for path, private in ((file, 0o600), *((folder, 0o700) for folder in folders)):
                workbench.expect(_mode(path) == private, f"{private:04o} for {path}", f"{_mode(path):04o}")
            workbench.expect(_mode(home) == 0o755, "HOME keeps its mode", f"{_mode(home):04o}")
            said = _lines_with(proxy.stderr, str(file))
            workbench.expect(said, f"a warning that names {file}", proxy.stderr)
    file.chmod(0o666)
    workbench.browser(User("leaves"))
    for start in ("the first start", "the next start"):
        with workbench.case(f"0666, {start}"):
            await _must_use_no_token(workbench, upstream)
    with workbench.case("0666"):
        left = f"{_mode(file):04o}" if file.exists() else "no file"
        workbench.expect(left in ("0600", "no file"), "0600, or no file any more", left)


async def _must_use_no_token(workbench: Workbench, upstream: ProtectedMockUpstream) -> None:
    """Raise `Violation` unless the proxy reaches the upstream without any of the tokens."""
    before = len(upstream.mcp)
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await proxy.wake(upstream.name)
        with workbench.precondition("the proxy contacts the upstream"):
            what = "a request reaches it"
            await workbench.eventually(lambda: len(upstream.mcp) > before, within=10.0, what=what)

        def must_show_none() -> None:
            sent = [request for request in upstream.mcp[before:] if upstream.bearer(request)]
            workbench.expect(
                not sent and not upstream.refreshes, "the proxy uses no token of that file", sent
            )

        await workbench.holds_for(2.0, must_show_none)


@check("HARD-011", timeout=60, slow=True)
async def exposed_secrets_in_the_configuration_are_pointed_out(workbench: Workbench) -> None:
    """A literal value under a harmless name causes no warning."""
    keys = ("API_TOKEN", "DB_PASSWORD", "CLIENT_SECRET", "SERVICE_API_KEY")
    literal = {**dict.fromkeys(keys, LITERAL), "MODE": "plain"}
    remote = await workbench.http("remote")
    bearer = {"Authorization": f"Bearer {LITERAL}"}
    cases: list[tuple[str, int, MockUpstream, Sequence[str]]] = [
        ("env", 0o644, workbench.stdio("a", env=literal), keys),
        ("a header", 0o644, remote.variant(headers=bearer), ["Authorization"]),
        ("0600", 0o600, workbench.stdio("a", env=literal), []),
        ("a reference", 0o644, workbench.stdio("a", env={"API_TOKEN": "x-${FROM_OUTSIDE}"}), []),
        (
            "a reference in a header",
            0o644,
            remote.variant(headers={"Authorization": "Bearer ${FROM_OUTSIDE}"}),
            [],
        ),
        ("a harmless name", 0o644, workbench.stdio("a", env={"MODE": LITERAL}), []),
    ]
    await workbench.run_cases(*(partial(_must_be_pointed_out, workbench, *case) for case in cases))


async def _must_be_pointed_out(
    workbench: Workbench, what: str, mode: int, upstream: MockUpstream, keys: Sequence[str]
) -> None:
    """Raise `Violation` unless each reading of this configuration adds one line about each key to stderr; none without keys."""
    added = workbench.stdio("added")
    config = workbench.config(upstream, name=f"{what.replace(' ', '-')}.json")
    config.chmod(mode)

    def must_have_been_read(times: int) -> None:
        for key in keys or [""]:
            lines, expected = _lines_with(proxy.stderr, config.name, key), times if keys else 0
            about = f"{expected} lines about {key or 'it'} in {config.name} after {times} readings"
            workbench.expect(len(lines) == expected, about, proxy.stderr)

    async with workbench.proxy(config=config, env={"FROM_OUTSIDE": "outside"}) as proxy:
        await proxy.handshake()
        with workbench.precondition(f"{what}: the group is ready"):
            await proxy.ready(upstream)
        with workbench.case(what):
            must_have_been_read(1)
            workbench.save(config, upstream, added)
            with workbench.precondition("the proxy notices the change"):
                await proxy.ready(added)
            must_have_been_read(2)
            workbench.expect(LITERAL not in proxy.stderr, "stderr does not show the value", proxy.stderr)

"""TOK: where tokens are stored, who may read them, and which stored tokens the proxy must not use.

The checks look only at the documented path, the permissions and the JSON of the file, not at its fields.
"""

from __future__ import annotations

import json
import signal
import stat
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from conformance.checks import check
from conformance.checks.common import must_sign_in, sign_in
from conformance.checks.revocations import let_tokens_be_revoked, rule_of_revocation
from conformance.checks.sec_reload import tokens_must_stay_at_their_url
from conformance.checks.sec_secrets import tokens_of
from conformance.checks.token_files import (
    needs_the_documented_place,
    own_folder,
    stored,
    stored_json,
    token_file,
    values_in,
)
from conformance.errors import Violation
from conformance.workbench.leak_scan import leaked_into_files
from conformance.workbench.regular_files import content_of
from mock_servers.actions import silence
from mock_servers.hostile.sign_ins import takes_refresh_tokens
from mock_servers.oauth_script import OAuth
from mock_servers.remote_actions import revoke_tokens
from mock_servers.script import Script, on_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conformance.workbench.protected import ProtectedMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

PLANTED = "planted-access"
_LOOK = 0.001
#: lifetime in seconds of a token that the proxy has to refresh
_SHORT = 2


@check("TOK-001", timeout=30)
async def tokens_lie_in_the_documented_place(workbench: Workbench) -> None:
    """Empty files beside the token file, such as a lock, are allowed."""
    needs_the_documented_place(workbench)
    upstream = await workbench.oauth("s", script=Script(on=[rule_of_revocation()]))
    workbench.browser()
    file = token_file(workbench, "s")
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        await workbench.eventually(file.is_file, within=3.0, what=f"{file} exists")
        await let_tokens_be_revoked(proxy, upstream)
    home = workbench.sandbox.home
    locks = [path for path in file.parent.iterdir() if path.is_file() and not path.stat().st_size]
    seen = sorted(str(path.relative_to(home)) for path in home.rglob("*") if path not in locks)
    wanted = [str(path.relative_to(home)) for path in (file.parent.parent, file.parent, file)]
    workbench.expect(seen == wanted, f"{wanted} under HOME, nothing else", seen)
    left = sorted(map(str, workbench.sandbox.cwd.rglob("*")))
    workbench.expect(not left, "nothing in the working directory", left)
    copies = leaked_into_files([workbench.sandbox.tmp], tokens_of(upstream))
    workbench.expect(not copies, "no token in a file below TMPDIR", copies)


@check("TOK-002", timeout=30)
async def the_file_is_json_with_an_absolute_expiry(workbench: Workbench) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[3600, 7200]), Script(on=[rule_of_revocation()]))
    workbench.browser()
    async with workbench.proxy(upstream) as proxy:
        await proxy.handshake()
        await must_sign_in(workbench, proxy, upstream)
        await _must_have_the_newest_tokens(workbench, upstream, 3600)
        await let_tokens_be_revoked(proxy, upstream)
    if len(upstream.access_tokens) > 1:
        await _must_have_the_newest_tokens(workbench, upstream, 7200)


async def _must_have_the_newest_tokens(
    workbench: Workbench, upstream: ProtectedMockUpstream, lifetime: int
) -> None:
    """Raise `Violation` unless the file has them within 3 s, with the end of this lifetime in seconds."""
    granted = [asked for asked in upstream.token_requests if asked.issued][-1]
    access, received = granted.issued["access_token"], time.time() - (time.monotonic() - granted.t)
    await workbench.eventually(
        lambda: access in _content(workbench, upstream.name),
        within=3.0,
        what=f"{access} in {token_file(workbench, upstream.name)}",
        seen=lambda: _content(workbench, upstream.name),
    )
    document = stored_json(workbench, upstream.name)
    workbench.expect(isinstance(document, dict), "one JSON object", document)
    values = values_in(document)
    for token in (access, upstream.refresh_tokens[-1]):
        workbench.expect(token in values, f"{token} in the file", document)
    times = [found for value in values if (found := _instant(value)) is not None]
    close = [found for found in times if abs(found - (received + lifetime)) <= 5]
    workbench.expect(close, f"an expiry close to {received + lifetime:.0f}", document)


def _content(workbench: Workbench, name: str) -> str:
    """The content of the token file of a server."""
    return stored(workbench, name) if token_file(workbench, name).is_file() else "no such file"


#: a number above this counts milliseconds; as seconds, it would lie in the year 5138
_MILLISECONDS = 1e11


def _instant(value: Any) -> float | None:
    """The time that a value stands for, in seconds since 1970: a number of seconds or milliseconds, or a date in ISO 8601."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value / 1000 if value > _MILLISECONDS else float(value)
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return None if found.tzinfo is None else found.timestamp()


@check("TOK-003", timeout=60, serial=True, slow=True)
async def token_files_are_private_from_the_first_moment(workbench: Workbench) -> None:
    workbench.browser()
    await workbench.run_cases(
        partial(_must_be_private, workbench, "umask 000", umask=0),
        partial(_must_be_private, workbench, "umask 022", umask=0o022),
        partial(_must_be_private, workbench, "0755 before", umask=0o022, before=True),
    )


async def _must_be_private(workbench: Workbench, what: str, *, umask: int, before: bool = False) -> None:
    upstream = await workbench.oauth("a", OAuth(lifetimes=[_SHORT, 3600]))
    home = workbench.sandbox.tmp / what.replace(" ", "-")
    file = token_file(workbench, "a", home)
    folder = file.parent
    home.mkdir(mode=0o700)
    if before:
        folder.mkdir(parents=True)
        for place in {folder, own_folder(workbench, home)}:
            place.chmod(0o755)
    with workbench.case(what), watching(partial(_modes, own_folder(workbench, home))) as seen:
        for _ in range(2):
            await workbench.holds_for(_left_of_life(upstream), lambda: None)
            async with workbench.proxy(upstream, env={"HOME": str(home)}, umask=umask) as proxy:
                await proxy.handshake()
                await must_sign_in(workbench, proxy, upstream)
    with workbench.case(what):
        workbench.expect(
            upstream.refreshes, "the second process refreshes the tokens", upstream.token_requests
        )
        files = {mode for name, mode in seen if name.endswith(file.suffix)}
        workbench.expect(files, "a token file", seen)
        wide = sorted(f"{name} {mode:04o}" for name, mode in seen if mode & 0o077)
        if before:
            wide = [one for one in wide if not one.endswith(" 0755")]
            wide += [
                f"{name} {mode:04o} in the end"
                for name, mode in _modes(own_folder(workbench, home))
                if mode & 0o077
            ]
        workbench.expect(not wide, "0600 for files, 0700 for folders, at any time", wide)
        elsewhere = leaked_into_files(
            [workbench.sandbox.tmp, workbench.sandbox.cwd], tokens_of(upstream), readable_by_others=True
        )
        workbench.expect(not elsewhere, "no token in a file that other users can read", elsewhere)
        with workbench.precondition("the second process refreshes the tokens"):
            workbench.expect(upstream.refreshes, "a refresh", upstream.token_requests)


def _left_of_life(upstream: ProtectedMockUpstream) -> float:
    """Seconds until the first access token has certainly expired; 0 before there is one."""
    return upstream.exchanges[0].t + _SHORT + 0.5 - time.monotonic() if upstream.exchanges else 0.0


def _modes(folder: Path) -> set[tuple[str, int]]:
    """Name and mode of the folder and of everything in it now."""
    found = set()
    places = [folder]
    while places:
        place = places.pop()
        try:
            status = place.lstat()
            if stat.S_ISDIR(status.st_mode):
                places += place.iterdir()
        except OSError:
            continue  # gone between two looks
        found.add((place.name, stat.S_IMODE(status.st_mode)))
    return found


@contextmanager
def watching(look: Callable[[], set[Any]]) -> Iterator[set[Any]]:
    """Inside, call `look` every millisecond. Yields the set of everything that it has returned."""
    seen: set[Any] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK):
            seen.update(look())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@check("TOK-017", timeout=40, slow=True)
async def a_damaged_file_is_treated_as_no_token(workbench: Workbench) -> None:
    damage: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda _: b"",
        "truncated": lambda whole: whole[: len(whole) // 2],
        "binary": lambda _: b"\xff\x00not json",
        "fieldless": lambda _: b"{}",
        "list": lambda _: b"[]",
    }
    upstreams = [await workbench.oauth(name) for name in damage]
    workbench.browser()
    with workbench.precondition("the first sign-in works"):
        await sign_in(workbench, *upstreams)
    files = {name: token_file(workbench, name) for name in damage}
    for name, file in files.items():
        with workbench.must("the tokens are stored in the documented place"):
            workbench.expect(file.is_file(), str(file), "no such file")
        file.write_bytes(damage[name](file.read_bytes()))
    browser = workbench.browser()
    await sign_in(workbench, *upstreams)
    for upstream in upstreams:
        with workbench.case(upstream.name):
            workbench.expect(len(browser.pages_of(upstream)) == 1, "one page", browser.openings)
            _must_be_whole(workbench, files[upstream.name], upstream)


def _must_be_whole(workbench: Workbench, file: Path, upstream: ProtectedMockUpstream) -> None:
    content = content_of(file)
    try:
        values = values_in(json.loads(content))
    except (ValueError, RecursionError):
        values = []
    workbench.expect(upstream.access_tokens[-1] in values, "a whole file with the new token", content)


@check("TOK-018", timeout=60, slow=True)
async def tokens_are_saved_atomically_and_before_use(workbench: Workbench) -> None:
    often = await workbench.oauth("often", script=Script(on=[on_call("add", revoke_tokens())]))
    once = await workbench.oauth(
        "once", script=Script(on=[on_call("add", revoke_tokens(), nth=1), on_call("add", silence(), nth=2)])
    )
    workbench.browser()
    file = token_file(workbench, "often")
    async with workbench.proxy(often) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(often)
        with watching(lambda: _unreadable(file)) as broken:
            for _ in range(51):
                await proxy.call("often", "add", {"a": 1, "b": 2})
        workbench.expect(len(often.refreshes) >= 50, "a refresh after each revocation", len(often.refreshes))
        workbench.expect(not broken, "the file is JSON at every instant", broken)
    async with workbench.proxy(once) as proxy:
        await proxy.handshake()
        with workbench.precondition("the sign-in works"):
            await proxy.ready(once)
        await proxy.call("once", "add", {"a": 1, "b": 2})
        await proxy.begin_call("once", "add", {"a": 1, "b": 2})
        await workbench.eventually(
            lambda: len(once.access_tokens) > 1 and once.access_tokens[1] in once.bearers,
            within=10.0,
            what="a request carries the second access token",
        )
        proxy.signal(signal.SIGKILL)
        await proxy.wait_exit()
    values = values_in(stored_json(workbench, "once"))
    workbench.expect(once.refresh_tokens[1] in values, f"{once.refresh_tokens[1]} in the file", values)


def _unreadable(file: Path) -> set[bytes]:
    try:
        content = content_of(file)
    except FileNotFoundError:
        return {b"no file"}
    except Violation as problem:
        return {problem.seen.encode()}
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return {content}
    return set()


@check("TOK-019", timeout=60, slow=True)
async def tokens_are_bound_to_server_and_issuer(workbench: Workbench) -> None:
    first, other = await workbench.oauth("a"), await workbench.oauth("a")
    workbench.browser()
    with workbench.precondition("the first sign-in works"):
        await sign_in(workbench, first)
    async with workbench.proxy(other) as proxy:
        await _must_get_none(workbench, proxy, other, first.access_tokens + first.refresh_tokens)
        await must_sign_in(workbench, proxy, other)
    apart = OAuth(own_origin=True)
    old = await workbench.oauth("b", apart)
    with workbench.precondition("a sign-in at a server on a port of its own works"):
        await sign_in(workbench, old)
    await old.stop()
    new = await workbench.oauth("b", apart, port=urlsplit(old.url).port or 0)
    # The access token goes to the URL that it was issued for. The proxy may find the new authorization server
    # by itself, or report that the old one is gone.
    async with workbench.proxy(new) as proxy:
        await _must_get_none(workbench, proxy, new, old.refresh_tokens)
    if workbench.reloads:
        await tokens_must_stay_at_their_url(workbench)


async def _must_get_none(
    workbench: Workbench, proxy: Proxy, upstream: ProtectedMockUpstream, tokens: list[str]
) -> None:
    await proxy.handshake()
    await proxy.wake(upstream.name)
    with workbench.precondition(f"the proxy contacts the changed upstream {upstream.name}"):
        await workbench.eventually(lambda: upstream.http, within=10.0, what="a request reaches it")
    await workbench.holds_for(3.0, lambda: must_receive_none(workbench, upstream, tokens))


def must_receive_none(workbench: Workbench, upstream: ProtectedMockUpstream, tokens: list[str]) -> None:
    """Raise `Violation` if a request to the upstream or its authorization server contains one of the tokens."""
    for request in upstream.http:
        whole = f"{request.target} {request.headers} {request.body.decode(errors='replace')}"
        found = [token for token in tokens if token in whole]
        workbench.expect(not found, f"none of {tokens} arrives", request)


@check("TOK-020", timeout=40, slow=True)
async def a_refresh_token_without_an_issuer_goes_to_no_other_server(workbench: Workbench) -> None:
    needs_the_documented_place(workbench)
    ends = {"valid": "2099-01-01T00:00:00Z", "expired": "2020-01-01T00:00:00Z"}
    planted = {name: f"planted-refresh-{name}" for name in ends}
    upstreams = [await workbench.oauth(name, script=takes_refresh_tokens()) for name in ends]
    workbench.browser()
    for name, end in ends.items():
        file = token_file(workbench, name)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        tokens = {"access_token": PLANTED, "refresh_token": planted[name], "expires_at": end}
        file.write_text(json.dumps(tokens))
        file.chmod(0o600)
    async with workbench.proxy(*upstreams) as proxy:
        await proxy.handshake()
        for upstream in upstreams:
            await proxy.wake(upstream.name)
        # The new sign-in is the user's own decision.
        with workbench.precondition("after that the user signs in"):
            await proxy.ready(*upstreams)
    for upstream in upstreams:
        must_receive_none(workbench, upstream, list(planted.values()))

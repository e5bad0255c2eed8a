"""HARD: the audit log.

Each proxy has its own names of events and outcomes. So the check only looks for words that belong to what
happened.
"""

from __future__ import annotations

import json
import re
import stat
from datetime import datetime
from typing import TYPE_CHECKING, Any

from conformance.checks import check
from conformance.checks.common import must_be_callable
from conformance.checks.rld import must_be_added
from conformance.checks.sec_secrets import CONFIGURED, issued_by
from conformance.errors import Violation
from conformance.workbench.leak_scan import leaked
from conformance.workbench.regular_files import content_of, text_of
from mock_servers.hostile.texts import EVIL_TEXT
from mock_servers.oauth_script import OAuth
from mock_servers.remote_actions import revoke_tokens
from mock_servers.script import Script, crash, error, on_call, sleep

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.workbench.mocks import StdioMockUpstream
    from conformance.workbench.proxy import Proxy
    from conformance.workbench.workbench import Workbench

MARKER = "canary-argument-7"
ARGUMENTS = ({"x": MARKER}, {"deep": [{"y": MARKER}]})
#: a line of an earlier run
BEFORE = '{"time":"2026-01-01T00:00:00Z","event":"x","server":null,"outcome":"ok","duration_ms":0}\n'
#: words by event; a line about the event has to contain one of them
HAPPENED = {
    "a sign-in or a token": "auth|sign|token|login|grant",
    "a start of an upstream": "start|connect|spawn|ready|up$",
    "an end of an upstream": "stop|end|exit|disconnect|close|gone|lost|down$",
    "a reload": "reload|config",
    "a refused request": "refus|reject|deni|invalid|unknown|forbid|blocked",
}
_PROMPT = 3.0
#: seconds that a call takes which then fails
_SLOW = 0.4
#: characters of a made-up name, and bytes of the lines about three calls with such names
LONG, MAX_GROWTH = 2_000_000, 100_000


@check("HARD-005", timeout=90, slow=True)
async def an_audit_log_can_be_kept(workbench: Workbench) -> None:
    """A call is in the file while the proxy still runs. A second run requests the values of arguments."""
    file = workbench.sandbox.tmp / "audit.jsonl"
    file.write_text(BEFORE)
    file.chmod(0o600)
    header, _, child = CONFIGURED.values()
    oauth, revokes = OAuth(lifetimes=[3600]), Script(on=[on_call("add", revoke_tokens(), nth=1)])
    signed = [await workbench.oauth("signed", oauth, revokes)] if workbench.has("OAUTH") else []
    remotes = [await workbench.remote("remote", headers={"X-Key": header})] if workbench.has_remotes else []
    stdio, later = workbench.stdio("stdio", env={"SECRET": child}), workbench.stdio("later")
    failures = [on_call("echo", sleep(_SLOW), error(-32000, "no")), on_call("add", crash())]
    failing = workbench.stdio("failing", Script(on=failures))
    children = (stdio, failing)
    workbench.browser()
    settings = workbench.sut.profile.configured(audit={"file": str(file)})
    config = workbench.config(*signed, *remotes, *children, extra=settings)
    async with workbench.proxy(*signed, *remotes, *children, config=config, umask=0) as proxy:
        await proxy.handshake()
        with workbench.precondition("everything works"):
            await proxy.ready(*signed, *remotes, *children)
            for one in signed:
                await proxy.call(one.name, "add", {"a": 1, "b": 2})
                await proxy.call(one.name, "echo", {"x": MARKER})
            for remote in remotes:
                await must_be_callable(workbench, proxy, remote)
        await _must_be_logged_at_once(workbench, proxy, stdio, file)
        await _must_tell_of_failures(workbench, proxy, failing, file)
        await proxy.call("stdio", "nosuchtool", {"x": MARKER})
        workbench.save(config, *signed, *remotes, *children, later, extra=settings)
        with workbench.precondition("an added upstream is usable"):
            await must_be_added(workbench, proxy, later)
        rotated = file.rename(file.with_suffix(".1"))
        await _must_be_logged_at_once(workbench, proxy, stdio, file)
        workbench.save(config, *signed, *remotes, *children, extra=settings)
        await later.gone(within=15.0)
        await workbench.eventually(
            lambda: _happened(_lines(workbench, file), "an end of an upstream", "later"),
            within=_PROMPT,
            what="the end of a removed upstream is in the file",
        )
    workbench.expect(
        text_of(rotated).startswith(BEFORE), "the file is only appended to", text_of(rotated)[:200]
    )
    lines = _lines(workbench, rotated, skip=1) + _lines(workbench, file)
    for path in (rotated, file):
        mode = stat.S_IMODE(path.stat().st_mode)
        workbench.expect(mode == 0o600, f"{path.name} has mode 0600", f"{mode:04o}")
    calls = [line for line in lines if line["server"] == "stdio" and "echo" in line.values()]
    workbench.expect(len(calls) == 2 * len(ARGUMENTS), f"{2 * len(ARGUMENTS)} calls of echo", calls)
    for what, server in (
        *(("a sign-in or a token", one.name) for one in signed),
        ("a start of an upstream", "later"),
        ("a reload", None),
        ("a refused request", "stdio"),
    ):
        workbench.expect(_happened(lines, what, server), f"{what} in the file", lines)
    text = text_of(rotated) + text_of(file)
    secrets = {"a header": header, "an environment": child, "an argument": MARKER}
    for one in signed:
        secrets |= issued_by(one)
    found = leaked(text, secrets)
    workbench.expect(not found, "neither a secret nor an argument in the file", found)
    await _must_have_requested_arguments(workbench, file.with_suffix(".2"))


@check("HARD-013")
async def a_line_of_the_audit_log_is_bounded_and_printable(workbench: Workbench) -> None:
    file = workbench.sandbox.tmp / "audit.jsonl"
    upstream = workbench.stdio("a")
    settings = workbench.sut.profile.configured(audit={"file": str(file)})
    async with workbench.serving(upstream, config=workbench.config(upstream, extra=settings)) as proxy:
        for group, tool in (("a", "echo"), ("g", "echo"), ("a", "t")):
            await proxy.call(group, tool)
        with workbench.precondition("the file has a line for each of three calls"):
            what = "three lines with the names"
            await workbench.eventually(
                lambda: file.exists() and all(f'"{name}"' in text_of(file) for name in ("echo", "g", "t")),
                within=_PROMPT,
                what=what,
            )
        before = content_of(file)
        for group, tool in (("g" * LONG, "echo"), ("a", "t" * LONG), (EVIL_TEXT, EVIL_TEXT)):
            await proxy.call(group, tool)
        with workbench.precondition("the file has a line for each of three refused calls"):
            what = "three more lines"
            await workbench.eventually(
                lambda: content_of(file).count(b"\n") >= before.count(b"\n") + 3, within=_PROMPT, what=what
            )
    grown = file.stat().st_size - len(before)
    workbench.expect(grown < MAX_GROWTH, f"less than {MAX_GROWTH} bytes for three calls", grown)
    text = text_of(file)
    raw = sorted({letter for letter in text if not letter.isprintable() and letter not in "\n"})
    workbench.expect(not raw, "no raw control or bidirectional character", [ascii(letter) for letter in raw])
    lines = _lines(workbench, file)
    for letter in "gt":
        _must_say_that_it_is_cut(workbench, lines, letter)


def _must_say_that_it_is_cut(workbench: Workbench, lines: list[dict[str, Any]], letter: str) -> None:
    """Raise `Violation` if the line with a cut name looks like that with a short name: no other member, and nothing but the name."""
    shorts = [line for line in lines if letter in line.values()]
    for line in lines:
        cut = [value for value in line.values() if isinstance(value, str) and letter * 20 in value]
        for short in shorts if cut else []:
            says_so = line.keys() - short.keys() or any(set(value) != {letter} for value in cut)
            workbench.expect(says_so, "a line that says that it is cut", line)


async def _must_be_logged_at_once(
    workbench: Workbench, proxy: Proxy, upstream: StdioMockUpstream, file: Path
) -> None:
    for args in ARGUMENTS:
        before = len(_lines(workbench, file))
        await proxy.call(upstream.name, "echo", args)

        def told(before: int = before) -> bool:
            return any(line["server"] == upstream.name for line in _lines(workbench, file)[before:])

        await workbench.eventually(
            told, within=_PROMPT, what=f"a call is in {file.name} while the proxy runs"
        )


async def _must_tell_of_failures(
    workbench: Workbench, proxy: Proxy, failing: StdioMockUpstream, file: Path
) -> None:
    """Raise `Violation` unless a failed call has a line with its outcome and its duration, and the end of a crashed process has one."""
    fine = {line["outcome"] for line in _calls_in(workbench, file, "echo")}
    await proxy.call(failing.name, "echo")
    await proxy.call(failing.name, "add", {"a": 1, "b": 2})
    for tool in ("echo", "add"):
        with workbench.case(f"a failed call of {tool}"):
            found = await workbench.eventually(
                lambda tool=tool: _calls_in(workbench, file, tool, failing.name),  # type: ignore[misc]
                within=_PROMPT,
                what="a line about it",
            )
            workbench.expect(found[0]["outcome"] not in fine, f"another outcome than {fine}", found)
    slow = _calls_in(workbench, file, "echo", failing.name)[0]
    (duration,) = (value for name, value in slow.items() if name.startswith("duration"))
    # A number may have any unit, and a text any form.
    takes_time = not isinstance(duration, int | float) or duration >= _SLOW * 0.9
    workbench.expect(takes_time, f"the duration of a call that takes {_SLOW} s", slow)
    await workbench.eventually(
        lambda: _happened(_without_calls(workbench, file), "an end of an upstream", failing.name),
        within=_PROMPT,
        what="the end of a process that crashed is in the file",
        seen=lambda: [line for line in _without_calls(workbench, file) if line["server"] == failing.name],
    )


def _calls_in(workbench: Workbench, file: Path, tool: str, server: str | None = None) -> list[dict[str, Any]]:
    """The lines about calls of a tool."""
    lines = _lines(workbench, file, skip=1)
    return [line for line in lines if tool in line.values() and server in (None, line["server"])]


def _without_calls(workbench: Workbench, file: Path) -> list[dict[str, Any]]:
    return [
        line for line in _lines(workbench, file, skip=1) if not {"echo", "add"} & set(map(str, line.values()))
    ]


def _lines(workbench: Workbench, file: Path, skip: int = 0) -> list[dict[str, Any]]:
    """The lines of the file, each of which has to be valid."""
    if not file.exists():
        return []
    found = []
    for text in text_of(file).splitlines()[skip:]:
        try:
            line = json.loads(text)
        except ValueError:
            raise Violation("each line is JSON", text) from None
        fields = {"time", "event", "server", "outcome"}
        whole = (
            isinstance(line, dict)
            and fields <= line.keys()
            and any(key.startswith("duration") for key in line)
        )
        workbench.expect(whole, f"an object with {', '.join(sorted(fields))} and a duration", text)
        workbench.expect(_is_instant(line["time"]), "a time with its zone, in RFC 3339", text)
        found.append(line)
    return found


def _is_instant(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _happened(lines: list[dict[str, Any]], what: str, server: str | None) -> bool:
    words = re.compile(HAPPENED[what], re.IGNORECASE)
    return any(
        words.search(f"{line['event']} {line['outcome']}")
        for line in lines
        if server in (None, line["server"])
    )


async def _must_have_requested_arguments(workbench: Workbench, file: Path) -> None:
    upstream = workbench.stdio("a")
    settings = workbench.sut.profile.configured(audit={"file": str(file), "arguments": "value"})
    async with workbench.serving(upstream, config=workbench.config(upstream, extra=settings)) as proxy:
        await proxy.call("a", "echo", {"x": MARKER})
        await workbench.eventually(
            lambda: file.exists() and MARKER in text_of(file),
            within=_PROMPT,
            what="arguments are in the file when the configuration requests them",
        )
    _lines(workbench, file)

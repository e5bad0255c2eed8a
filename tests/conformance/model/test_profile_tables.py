"""The tables of a profile: what they accept, and how they refuse what cannot be meant."""

from __future__ import annotations

import re

import pytest

from conformance.errors import UsageError
from conformance.model.profile import Profile
from conformance.model.profile_tables import DEFAULT_TOKEN_FILE, ConfigTable
from conformance.model.registry import Reach


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('face = "round"', "Invalid enum value 'round' - at `$.face`"),
        ('upstreams = "two"', "Invalid enum value 'two' - at `$.upstreams`"),
        ('tool = "{server}"', "tool: '{server}' has no {tool}"),
        ('tool_alone = "x{toool}{tool}"', "tool_alone: {toool} is not one of {tool}, {server}"),
        ('prompt = "{tool}"', "prompt: '{tool}' has no {prompt}"),
        ('uri = "{server}"', "uri: '{server}' needs {uri}, {rest} or {quoted}"),
        ("[single]", "single: needs a line `command`, `http` or `sse`"),
        ('single.command = ["--"]', 'single.command: needs a word "{command}"'),
        ('single.http = ["url"]', "single.http: ['url'] has no {url}"),
        ('single = { http = ["{url}"], header = ["{name}"] }', "single.header: ['{name}'] has no {value}"),
        ('single = { http = ["{url}"], client = ["id"] }', "single.client: ['id'] has no {client_id}"),
        ('single = { http = ["{url}"], port = 1 }', "Object contains unknown field `port`"),
        ('config.servers = "mcp..servers"', "config.servers: 'mcp..servers' is not a dotted place"),
        ('config.rename = { url = "" }', "config.rename.url: '' is not a dotted place"),
        ('config = { rename = { url = "u" }, drop = ["url"] }', "config.drop: 'url' is in `rename` too"),
        (
            'config.drop = ["descripton"]',
            "config.drop: 'descripton' is not a member of a server entry; did you mean",
        ),
        ('config.drop = ["colour"]', "'colour' is not a member of a server entry: args, command"),
        ('config.rename = { timeot = "t" }', "did you mean 'timeout'?"),
        ('config.rename = { comand = "program" }', "did you mean 'command'?"),
        ('config.rename = { "timeout.tool" = "t" }', "did you mean 'timeout.tools'?"),
        ('single.command = ["{command}", "{config}"]', "single.command: remove {config}"),
        (
            'single.http = ["{option}", "{url}"]',
            "single.http: {option} stands for nothing; did you mean {options}?",
        ),
        ('tokens.place = "{servr}.json"', "tokens.place: {servr} stands for nothing; did you mean {server}?"),
        ('config.format = "ini"', "Invalid enum value 'ini'"),
        ('config.units = "hours"', "Invalid enum value 'hours'"),
        ('tokens.place = "/etc/{server}"', "tokens.place: '/etc/{server}' is not a path below HOME"),
        ("tokens.margin = -1", "tokens.margin: -1 is not a number of seconds from 0 to 31622400"),
        ("tokens.margin = inf", "tokens.margin: inf is not a number of seconds"),
        ("starts_within = inf", "starts_within: inf is not a number of seconds from 0.001 to 3600"),
        ("starts_within = nan", "starts_within: nan is not a number of seconds"),
        ("starts_within = 0", "starts_within: 0 is not a number of seconds"),
        ("starts_within = 1e300", "starts_within: 1e+300 is not a number of seconds"),
        ("client = { shares = true, lingers = inf }", "client.lingers: inf is not a number of seconds"),
        (
            "entries.http.since = 2024-01-01",
            'entries.http.since: JSON has no date; write a text: "2024-01-01"',
        ),
        (
            "entries.http.limits = [1, { most = inf }]",
            "entries.http.limits[1].most: inf is no number of JSON",
        ),
        (
            'config.rename = { url = "a", headers = "a.b" }',
            "config.rename.headers: 'a.b' is inside of 'a', the place of 'url'; write a place outside of it",
        ),
        ('config.rename = { cwd = "command.cwd" }', "'command.cwd' is inside of 'command'"),
        (
            'settings = { tools_allow = "a", tools_deny = "a.b" }',
            "settings.tools_deny: 'a.b' is inside of 'a'",
        ),
        ('settings.tools_allow = "a..b"', "settings.tools_allow: 'a..b' is not a dotted place"),
        ('client.headers = { "a b" = "c" }', "client.headers: 'a b' is not the name of a header"),
        ('client.headers = { a = "b\\r\\nc" }', "client.headers.a: write the value on one line"),
        ('client.env = { "A=B" = "c" }', "client.env: 'A=B' is not the name of an environment variable"),
        ('log_switch = { A = "\\u0000" }', "log_switch.A: no variable can have a NUL character"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused_by_name(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=re.escape(problem)):
        Profile.parse(text, "mine")


def test_a_place_can_be_inside_of_a_table_of_an_entry() -> None:
    text = (
        'config.rename = { oauth = "auth", oauth_client_id = "auth.id", "timeout.tools" = "timeout.calls" }'
    )
    assert Profile.parse(text, "mine").config.rename["oauth_client_id"] == "auth.id"


def test_a_profile_without_tables_is_that_of_dynamic_mcp() -> None:
    profile = Profile.parse("", "mine")
    assert (profile.face, profile.upstreams, profile.single) == ("dynamic", "several", None)
    assert (profile.config, profile.token_file) == (ConfigTable(), DEFAULT_TOKEN_FILE)
    assert profile.is_configured_like_dynamic_mcp


def test_a_line_that_single_lacks_is_an_absent_family() -> None:
    profile = Profile.parse('single.http = ["{url}"]', "mine")
    assert profile.upstreams == "one"
    assert profile.absent.keys() == {"STD", "GUARD", "SSE"}
    stdio_only = Profile.parse('single.command = ["{command}"]\nabsent.HTTP = "mine"', "mine")
    assert stdio_only.absent.keys() == {"HTTP", "SSE", "OAUTH", "TOK"}
    assert stdio_only.absent["HTTP"] == "mine"


@pytest.mark.parametrize(
    ("text", "id_", "reach", "reason"),
    [
        ('face = "flat"', "FRONT-009", Reach.DYNAMIC_MCP, "the face of the program is flat"),
        ('face = "flat"', "FRONT-013", Reach.PROXY, None),
        ('face = "flat"', "CFG-001", Reach.DYNAMIC_MCP, None),
        ('face = "flat"\nconfig.variables = false', "CFG-001", Reach.DYNAMIC_MCP, "describes another one"),
        ('single.command = ["{command}"]', "OPS-001", Reach.DYNAMIC_MCP, "describes another one"),
        ('single.command = ["{command}"]', "OPS-011", Reach.SEVERAL_UPSTREAMS, "one process"),
        ('upstreams = "one"', "OPS-011", Reach.SEVERAL_UPSTREAMS, "one process"),
        ('upstreams = "one"', "OPS-002", Reach.PROXY, None),
        ("config.reload = false", "RLD-001", Reach.DYNAMIC_MCP, "`reload`"),
        ('config.rename = { url = "serverUrl" }', "CFG-001", Reach.DYNAMIC_MCP, None),
    ],
)
def test_a_requirement_applies_by_its_reach(text: str, id_: str, reach: Reach, reason: str | None) -> None:
    found = Profile.parse(text, "mine").reason_for_absence(id_, "any", reach)
    assert found is None if reason is None else found is not None and reason in found

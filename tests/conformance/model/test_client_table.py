"""The table `[client]` of a profile: what it says, and what is wrong with one that says something else."""

from __future__ import annotations

import pytest

from conformance.errors import UsageError
from conformance.model.client_table import ClientTable, Ready, with_port
from conformance.model.profile import Profile
from conformance.model.sut import make_sut

GOOD = """
command = ["python3", "-m", "http.server", "{port}", "{config}"]
[client]
transport = "http"
url = "http://127.0.0.1:{port}/mcp"
ready = { path = "/health" }
ends = "SIGINT"
headers = { X-Api-Key = "test" }
env = { PORT = "{port}" }
"""


def test_a_whole_table() -> None:
    client = Profile.parse(GOOD, "good.toml").client
    assert (client.transport, client.url, client.ends) == ("http", "http://127.0.0.1:{port}/mcp", "SIGINT")
    assert (client.ready, client.end_signal) == (Ready(path="/health"), 2)
    assert client.listens


def test_without_a_table_the_program_speaks_on_stdio() -> None:
    assert not Profile.parse("", "empty.toml").client.listens


@pytest.mark.parametrize(
    ("table", "reason"),
    [("", "one: it speaks on stdio"), ("[client]\nshares = true\nlingers = 1", None), (GOOD, None)],
)
def test_requirements_about_several_clients_apply_where_there_can_be_several(
    table: str, reason: str | None
) -> None:
    found = Profile.parse(table, "profile.toml").reason_for_absence("SHARE-001")
    assert found is None if reason is None else found is not None and reason in found


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("lingers = 1", "lingers needs shares = true"),
        ("shares = true\nlingers = -1", "lingers"),
        ('url = "http://127.0.0.1:{port}/mcp"', r'url needs transport = "http" or "sse"'),
        ('ready = { path = "/" }', r"ready needs transport"),
        ('transport = "http"', r"url: '' is not a URL of this machine with the port: write"),
        ('transport = "http"\nurl = "http://127.0.0.1:8000/mcp"', r"with the port"),
        ('transport = "http"\nurl = "https://127.0.0.1:{port}/mcp"', r"not a URL of this machine"),
        ('transport = "sse"\nurl = "http://mcp.example:{port}/sse"', r"not a URL of this machine"),
        ('transport = "sse"\nurl = "http://[::1:{port}/sse"', r"is not a URL"),
        ('transport = "ws"', r"Invalid enum value 'ws'"),
        ('transport = "stdio"\nends = "SIGKILL"', r"Invalid enum value 'SIGKILL'"),
        ('transport = "stdio"\nurll = ""', r"unknown field `urll`"),
        ('{ready = { path = "health" }}', r"ready.path: 'health' does not begin with /"),
        ('{ready = { stderr = "(" }}', r"ready.stderr: '\(' is not a regular expression"),
        (
            '{ready = { path = "/", stdout = "x" }}',
            r"give one of path, stderr and stdout, not path and stdout",
        ),
    ],
)
def test_a_wrong_table_names_the_file_and_the_mistake(table: str, problem: str) -> None:
    if table.startswith("{"):
        table = f'transport = "http"\nurl = "http://127.0.0.1:{{port}}/mcp"\n{table[1:-1]}'
    with pytest.raises(UsageError, match=rf"^wrong\.toml: .*{problem}"):
        Profile.parse(f"[client]\n{table}\n", "wrong.toml")


def test_a_command_without_a_place_for_the_port_is_refused() -> None:
    table = 'transport = "http"\nurl = "http://127.0.0.1:{port}/mcp"\n'
    command = ["python3", "{config}"]
    with pytest.raises(UsageError, match=r"write \{port\} into its command, or into \[client.env\]"):
        make_sut(command, Profile.parse(f"[client]\n{table}", "wrong.toml"))
    make_sut(command, Profile.parse(f'[client]\n{table}env = {{ PORT = "{{port}}" }}\n', "good.toml"))


def test_the_port_goes_into_its_places() -> None:
    assert with_port(["a", "--port={port}"], 20001) == ["a", "--port=20001"]
    assert with_port(["{port}"], None) == ["{port}"]
    assert ClientTable().problem() is None

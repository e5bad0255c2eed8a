"""When the proxy makes traces, and its messages if it cannot."""

from __future__ import annotations

import sys

import pytest

from dynamic_mcp.extras import tracing
from dynamic_mcp.extras.tracing import base

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({ENDPOINT: "http://127.0.0.1:4318"}, True),
        ({ENDPOINT: ""}, False),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "console,otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://127.0.0.1:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": " ", ENDPOINT: "http://127.0.0.1:4318"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_standard_variables_switch_traces_on(environment: dict[str, str], expected: bool) -> None:
    assert base.is_requested(environment) == expected


def test_no_variables_no_message(caplog: pytest.LogCaptureFixture) -> None:
    assert tracing.start({}) is None
    assert caplog.messages == []


def test_missing_extra_is_named(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "dynamic_mcp.extras.tracing.otel", raising=False)
    assert tracing.start({"OTEL_TRACES_EXPORTER": "otlp"}) is None
    (line,) = caplog.messages
    assert "pip install 'dynamic-mcp-reference[otel]'" in line


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"OTEL_TRACES_EXPORTER": "nonsense"}, "no exporter 'nonsense'"),
        ({ENDPOINT: "x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "http/json"),
    ],
)
def test_missing_exporter_is_named(
    caplog: pytest.LogCaptureFixture, environment: dict[str, str], what: str
) -> None:
    assert tracing.start(environment) is None
    (line,) = caplog.messages
    assert what in line


async def test_environment_is_enough(caplog: pytest.LogCaptureFixture) -> None:
    started = tracing.start({"OTEL_TRACES_EXPORTER": "console"})
    assert started is not None
    await started.close()
    assert caplog.messages == []

"""Which requests are modern."""

from __future__ import annotations

import pytest
from msgspec import Raw

from dynamic_mcp.protocol import era
from dynamic_mcp.protocol.era import RequestMeta, request_meta

VERSION = f'"{era.PROTOCOL_VERSION}":"2026-07-28"'
CAPABILITIES = f'"{era.CLIENT_CAPABILITIES}":{{}}'


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("{}", None),
        ("[]", None),
        ('{"protocolVersion":"2026-07-28"}', None),
        ('{"_meta":{}}', None),
        (f'{{"_meta":{{{CAPABILITIES}}}}}', None),
        (f'{{"_meta":null,"x":{{{VERSION}}}}}', None),
        (f"{{{VERSION}}}", None),
        (f'{{"name":"echo","arguments":{{"_meta":{{{VERSION}}}}}}}', None),
        (f'{{"_meta":{{{VERSION}}}}}', RequestMeta("2026-07-28", None)),
        (f'{{"_meta":{{{VERSION},{CAPABILITIES}}}}}', RequestMeta("2026-07-28", b"{}")),
        (f'{{"_meta":{{{VERSION},"{era.CLIENT_CAPABILITIES}":null}}}}', RequestMeta("2026-07-28", None)),
        (f'{{"a":[1],"_meta":{{"x":1, {CAPABILITIES} , {VERSION}}}}}', RequestMeta("2026-07-28", b"{}")),
        (f'{{"_meta":{{"{era.PROTOCOL_VERSION}":"1900-01-01"}}}}', RequestMeta("1900-01-01", None)),
        (f'{{"_meta":{{"{era.PROTOCOL_VERSION}":7}}}}', RequestMeta("7", None)),
    ],
)
def test_only_a_version_in_meta_makes_a_request_modern(params: str, expected: RequestMeta | None) -> None:
    assert request_meta(Raw(params.encode())) == expected


def test_escapes_and_spaces_in_the_version_key_are_understood() -> None:
    params = f'{{"_meta":{{{VERSION},{CAPABILITIES}}}}}'
    for variant in (
        params.replace("/", r"\/"),
        params.replace("io.", r"\u0069o."),
        params.replace(":", " :\n"),
    ):
        assert request_meta(Raw(variant.encode())) == RequestMeta("2026-07-28", b"{}"), variant

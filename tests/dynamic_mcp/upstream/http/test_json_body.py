"""The charset of a JSON body that is not UTF-8."""

from __future__ import annotations

import pytest

from dynamic_mcp.upstream.http.json_body import _as_utf8


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("iso-8859-1", '"Ä"'),
        ("windows-1252", '"€"'),
        ("koi8-r", '"Ж"'),
        ("utf-16-le", '"a"'),
        ("utf-32-le", '"a"'),
        ("shift_jis", '"あ"'),
        ("euc-jp", '"あ"'),
        ("iso-2022-jp", '"あ"\0'),
        ("gb18030", '"中"'),
        ("big5", '"中"'),
        ("euc-kr", '"한"'),
        ("macintosh", '"Ä"'),
    ],
)
def test_body_of_a_usual_charset_is_read(charset: str, text: str) -> None:
    assert _as_utf8(text.encode(charset), charset).decode() == text


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "undefined", "base64", "no such"])
def test_body_of_another_codec_stays_as_it_is(charset: str) -> None:
    # The zero byte makes it no plain UTF-8.
    for body in (b"\0Mnchen-3ya", rb"\u0041" + b"\0"):
        assert _as_utf8(body, charset) == body

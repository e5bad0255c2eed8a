"""The scan finds a secret in every common encoding, and nothing else."""

from __future__ import annotations

import base64
import json
import os
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.workbench.leak_scan import leaked, leaked_into_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = 'a+b/c=&d."ä" 0123456789\n😀'
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "quoted": quote,
    "component": lambda secret: quote(secret, safe=""),
    "form": lambda secret: urlencode({"x": secret}),
    "json": json.dumps,
    "html": escape,
    "each byte quoted": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "each character in json": lambda secret: "".join(
        f"\\u{unit:04X}" for unit in memoryview(secret.encode("utf-16-le")).cast("H")
    ),
    "each character in html": lambda secret: "".join(f"&#{ord(one)};" for one in secret),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "hexadecimal in capitals": lambda secret: secret.encode().hex().upper(),
    "base64, quoted": lambda secret: quote(base64.b64encode(secret.encode()), safe=""),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_secret_is_found_in_each_form(form: Callable[[str], str]) -> None:
    assert leaked(f"before {form(SECRET)} after", {"it": SECRET})


@given(
    st.binary(max_size=7),
    st.binary(max_size=7),
    st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]),
)
def test_a_secret_is_found_anywhere_in_base64(
    before: bytes, after: bytes, encode: Callable[[bytes], bytes]
) -> None:
    assert leaked(encode(before + SECRET.encode() + after).decode(), {"it": SECRET})


def test_a_finding_names_the_secret_and_the_text_around_it() -> None:
    (found,) = leaked("DEBUG token=one-secret!", {"the first": "one-secret", "the second": "two-secret"})

    assert found.startswith("the first, in plain text") and "DEBUG token=" in found


@pytest.mark.parametrize("text", ["", "a state of its own", SECRET[:-1], SECRET.swapcase()])
def test_other_text_is_no_leak(text: str) -> None:
    assert leaked(text, {"it": SECRET}) == []


def test_a_file_with_a_secret_is_found_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    file.write_bytes(b"\xff" + SECRET.encode())
    file.chmod(0o640)
    (tmp_path / "other").write_text("nothing")

    (found,) = leaked_into_files([tmp_path], {"it": SECRET})

    assert found.startswith(f"0640 {file}: it, in plain text")


@pytest.mark.parametrize(("mode", "count"), [(0o600, 0), (0o622, 0), (0o640, 1), (0o604, 1)])
def test_a_private_file_is_no_leak_to_other_users(tmp_path: Path, mode: int, count: int) -> None:
    (tmp_path / "file").write_text(SECRET)
    (tmp_path / "file").chmod(mode)

    assert len(leaked_into_files([tmp_path], {"it": SECRET}, readable_by_others=True)) == count
    assert len(leaked_into_files([tmp_path], {"it": SECRET})) == 1


def test_a_file_in_a_private_folder_is_no_leak_to_other_users(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text(SECRET)
    (folder / "file").chmod(0o644)
    counts = []
    for mode in (0o700, 0o711):
        folder.chmod(mode)
        counts.append(len(leaked_into_files([tmp_path], {"it": SECRET}, readable_by_others=True)))

    assert counts == [0, 1]


def test_what_is_no_regular_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "link")

    assert leaked_into_files([tmp_path], {"it": SECRET}) == []

"""The collector."""

from pathlib import Path

from .driver import remote


def test_collector_answers_and_journals_everything(tmp_path: Path) -> None:
    with remote(tmp_path, "collector") as mock:
        assert [mock.request(verb, "/any/where?x=1").status for verb in ("GET", "POST", "PATCH")] == [204] * 3
        assert [entry.data["target"] for entry in mock.events("http-request")] == ["/any/where?x=1"] * 3

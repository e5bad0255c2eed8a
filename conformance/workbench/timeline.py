"""The event log of a check: in order, with times relative to its start, and without secrets.

The log replaces a registered secret, also in its percent-encoded, base64 and JSON-escaped forms. It does so before it shortens a text, so
that no half of a secret survives at the cut. It does so again when it gives out the events, for secrets that a check registered late. The
number and length of events are bounded.
"""

from __future__ import annotations

import base64
import json
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from conformance.model.evidence import Event, encodable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mock_servers.journal import Entry

REDACTED = "[redacted]"
#: characters of an event
MAX_TEXT = 600
#: characters of an answer that a verdict quotes
MAX_QUOTED = 20_000
MAX_EVENTS = 2000
#: of these, the events from the beginning; the others are from the end of a long log
FIRST_EVENTS = 500
#: events from the journal of one mock
MAX_JOURNAL = 500


class Timeline:
    """The event log of one check."""

    def __init__(self) -> None:
        self.origin = time.monotonic()
        self._first: list[Event] = []
        self._last: deque[Event] = deque(maxlen=MAX_EVENTS - FIRST_EVENTS)
        self._dropped = 0
        self._secrets: list[str] = []

    def secret(self, value: str) -> None:
        """Replace this value in every event, earlier ones included."""
        if not value:
            return
        self._secrets = sorted({*self._secrets, *_forms(value)}, key=len, reverse=True)

    def redact(self, text: str) -> str:
        """The text without any secret, and safe to write to a file."""
        text = encodable(text)
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text

    def record(
        self, actor: str, kind: str, text: str = "", *, t: float | None = None, peer: str = ""
    ) -> None:
        """Add an event; `t` in monotonic seconds, now by default; `peer` as in `Event`."""
        at_ms = round(((time.monotonic() if t is None else t) - self.origin) * 1000, 1)
        event = Event(at_ms, actor, kind, shorten(self.redact(text), MAX_TEXT), peer)
        if len(self._first) < FIRST_EVENTS:
            self._first.append(event)
            return
        self._dropped += len(self._last) == self._last.maxlen
        self._last.append(event)

    def events(self, others: list[Event]) -> list[Event]:
        """All events so far together with `others`, in order of time."""
        merged = [*self._first, *self._last, *others]
        if self._dropped:
            at = self._last[0].at_ms
            merged.append(Event(at, "runner", "dropped", f"{self._dropped} events are not shown"))
        redacted = [msgspec.structs.replace(event, text=self.redact(event.text)) for event in merged]
        return sorted(redacted, key=lambda event: event.at_ms)

    def journal(self, actor: str, entries: Sequence[Entry]) -> Iterator[Event]:
        """The first entries of the journal of a mock, as events of `actor`."""
        for entry in entries[:MAX_JOURNAL]:
            # The environment is long, and its values may be secrets.
            data = {key: value for key, value in entry.data.items() if key not in ("env", "fds", "limits")}
            text = (entry.text if entry.event in ("line", "sent") else "") or (
                json.dumps(data, ensure_ascii=False) if data else ""
            )
            at_ms = round((entry.t - self.origin) * 1000, 1)
            whole = self.redact(f"pid {entry.pid} {text}")
            yield Event(at_ms, actor, entry.event, shorten(whole, MAX_TEXT))

    def tail(self, data: bytes, longest: int = 4096) -> str:
        """The last characters of some output, without secrets: redacts a wider window first, so that it cuts no secret in half."""
        text = self.redact(data[-longest * 16 :].decode(errors="replace"))
        return text[-longest:]


def shorten(text: str, longest: int = MAX_QUOTED) -> str:
    """The text itself, or its two ends and the number of characters between them."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end]} [... {len(text) - longest} characters ...] {text[-end:]}"


def _forms(value: str) -> set[str]:
    raw = value.encode()
    ascii_json, json_text = (json.dumps(value, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    return {
        value,
        quote(value, safe=""),
        ascii_json,
        json_text,
        # JSON as a string in JSON, which is how the text of a tool travels
        json.dumps(ascii_json)[1:-1],
        json.dumps(json_text, ensure_ascii=False)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }

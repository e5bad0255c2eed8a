"""What happened during a check, in order, with times relative to its start, and without secrets.

A registered secret never leaves here: it is replaced, also in its percent-encoded, base64 and JSON-escaped
forms, before a text is shortened (so that no half of it survives at the cut) and again when the evidence is
taken (for secrets that were registered late). The number and length of events are bounded.
"""

from __future__ import annotations

import base64
import json
import time
from collections import deque
from urllib.parse import quote

import msgspec

from conformance.model.evidence import Event, encodable

REDACTED = "[redacted]"
MAX_TEXT = 600
MAX_EVENTS = 2000
#: both ends of a long log are worth reading
FIRST_EVENTS = 500


class Timeline:
    """The event log of one check."""

    def __init__(self) -> None:
        self.origin = time.monotonic()
        self._first: list[Event] = []
        self._last: deque[Event] = deque(maxlen=MAX_EVENTS - FIRST_EVENTS)
        self._dropped = 0
        self._secrets: list[str] = []

    def secret(self, value: str) -> None:
        """Replace this value in everything that is recorded, before and from now on."""
        if not value:
            return
        self._secrets = sorted({*self._secrets, *_forms(value)}, key=len, reverse=True)

    def redact(self, text: str) -> str:
        """The text without any secret, and such that it can be written to a file."""
        text = encodable(text)
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        return text

    def record(
        self, actor: str, kind: str, text: str = "", *, t: float | None = None, peer: str = ""
    ) -> None:
        """Add an event; `t` in monotonic seconds, now by default; `peer` as in `Event`."""
        at_ms = round(((time.monotonic() if t is None else t) - self.origin) * 1000, 1)
        event = Event(at_ms, actor, kind, shorten(self.redact(text)), peer)
        if len(self._first) < FIRST_EVENTS:
            self._first.append(event)
            return
        self._dropped += len(self._last) == self._last.maxlen
        self._last.append(event)

    def events(self, others: list[Event]) -> list[Event]:
        """Everything so far together with `others`, in order of time."""
        merged = [*self._first, *self._last, *others]
        if self._dropped:
            at = self._last[0].at_ms
            merged.append(Event(at, "runner", "dropped", f"{self._dropped} events are not shown"))
        redacted = [msgspec.structs.replace(event, text=self.redact(event.text)) for event in merged]
        return sorted(redacted, key=lambda event: event.at_ms)

    def tail(self, data: bytes, longest: int = 4096) -> str:
        """The end of some output, redacted first: the window is wider than what is shown, so that no secret
        is cut.
        """
        text = self.redact(data[-longest * 16 :].decode(errors="replace"))
        return text[-longest:]


def shorten(text: str, longest: int = MAX_TEXT) -> str:
    """The text itself, or its two ends with the number of characters that are left out."""
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
        # JSON as a string in JSON: what a tool's text looks like on the wire
        json.dumps(ascii_json)[1:-1],
        json.dumps(json_text, ensure_ascii=False)[1:-1],
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode().rstrip("="),
    }

"""What the body of an error status says: that the server has lost the session, or why it refuses a request.

MCP has one form for a lost session (404). Servers say it in others: 400 or 401 with a text, 410, or a JSON-RPC error in a reply 200.
The texts are those of a server, which may be hostile, so each expression here takes time that is linear in the text.
"""

from __future__ import annotations

import contextlib
import html
import re

import msgspec

from dynamic_mcp.hiding import HiddenValues
from dynamic_mcp.printable import printable
from dynamic_mcp.protocol import era

#: Bytes of a body that are read for its words, seconds to wait for them, and characters that are shown.
MAX_READ = 1 << 14
READ_TIME = 2.0
MAX_SHOWN = 500

_SESSION = r"\b(?:mcp[ _-]?)?session(?:[ _-]?id)?\b"
_BEFORE = (
    r"(?:no|not|unknown|invalid|expired|missing|without|stale|bad|unrecognized|could not find|cannot find)"
)
_AFTER = (
    r"(?:not[ _-]?found|unknown|invalid|expired|missing|required|terminated|closed|gone|lost|ended|stale|not valid"
    r"|does ?n[o']t exist|does not exist|no longer|not recognized|unrecognized|not active|not initialized)"
)
_UNINITIALIZED = r"(?:not (?:yet )?|before |without |expect(?:ed|s|ing)?:? (?:an? )?)[`'\"]?initializ"
#: the statuses with which a server may refuse a token
OF_TOKENS = frozenset({401, 403})
#: in the text of an error status
_LOST = re.compile(
    rf"{_BEFORE}\b[^.]{{0,60}}{_SESSION}|{_SESSION}[^.]{{0,100}}\b{_AFTER}|session_?not_?found|{_UNINITIALIZED}",
    re.IGNORECASE,
)
#: in the challenge of a server that wants another token (RFC 6750, section 3; RFC 9728, section 5.1)
_ABOUT_A_TOKEN = re.compile(r"\b(?:error|resource_metadata|scope)\s*=", re.IGNORECASE)
_INSUFFICIENT_SCOPE = re.compile(r"\berror\s*=\s*\"?insufficient_scope\b", re.IGNORECASE)
_INVALID_TOKEN = re.compile(r"\berror\s*=\s*\"?invalid_token\b", re.IGNORECASE)
#: the whole message of a JSON-RPC error; a longer one may come from a tool. The id of a session has a digit.
_LOST_MESSAGE = re.compile(
    rf"(?:(?:bad request|not found|unauthorized|error|mcp error -?\d+)\W+)*"
    rf"(?:(?:the )?{_SESSION}(?:[: ]++(?=[^\s\d]*+\d)\S++)?(?: (?:was|is|has|been))*? {_AFTER}(?: or {_AFTER})*"
    rf"|(?:{_BEFORE} )(?:or \w+ |valid )?{_SESSION}(?: provided)?"
    rf"|server not initialized|received request before initialization was complete)(?:\W.{{0,80}})?",
    re.IGNORECASE | re.DOTALL,
)
#: the codes that SDKs use for it: those of requests that no handler has seen
_LOST_CODES = frozenset({-32001, -32000, -32600, -32602})
#: Markup of a page. What has no end goes to the end of the text, as in browsers; then no text is searched twice.
_MARKUP = re.compile(
    r"<(script|style|title)\b.*?(?:</\1\s*+>|\Z)|<!--.*?(?:-->|\Z)|<[a-z/!?][^>]*+(?:>|\Z)",
    re.IGNORECASE | re.DOTALL,
)


#: in the text of a server without session ids, for which other words about sessions can be its own
_ASKS_FOR_INITIALIZE = re.compile(_UNINITIALIZED, re.IGNORECASE)


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Refusal(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"null")


def is_session_lost(status: int, text: str, challenge: str = "") -> bool:
    """Whether a reply with this error status and text to a request of a session says that the server has lost the session.

    ``challenge`` is the ``WWW-Authenticate`` header. One that names a cause or an authorization server is about a token.
    """
    if status in (404, 410):
        return True
    if status < 400 or (status in (401, 403) and _ABOUT_A_TOKEN.search(challenge)):
        return False
    return _LOST.search(text) is not None


def refuses_token(status: int, challenge: str) -> bool:
    """Whether a reply with this status and ``WWW-Authenticate`` header refuses the token itself, and not what it allows."""
    if status == 401:
        return _INSUFFICIENT_SCOPE.search(challenge) is None
    return status == 403 and _INVALID_TOKEN.search(challenge) is not None


def asks_for_initialize(status: int, text: str) -> bool:
    """Whether a reply with this error status and text to a request without a session id asks for ``initialize``."""
    if status < 400:
        return False
    with contextlib.suppress(msgspec.DecodeError):
        if is_session_lost_error(bytes(msgspec.json.decode(text, type=_Refusal).error)):
            return True
    return _ASKS_FOR_INITIALIZE.search(text) is not None


def doubts_era(text: str, *, modern: bool) -> bool:
    """Whether the text of a refusal may come from a server of the other era. ``modern`` is the era of the request."""
    if modern:
        return _LOST.search(text) is not None
    try:
        found = msgspec.json.decode(msgspec.json.decode(text, type=_Refusal).error, type=_Error)
    except msgspec.DecodeError:
        return False
    return found.code in (era.UNSUPPORTED_VERSION, era.HEADER_MISMATCH)


def is_session_lost_error(error: bytes) -> bool:
    """Whether a JSON-RPC error in a successful reply says that the server has lost the session. A long one does not."""
    if len(error) > MAX_READ:
        return False
    try:
        found = msgspec.json.decode(error, type=_Error)
    except msgspec.DecodeError:
        return False
    return found.code in _LOST_CODES and _LOST_MESSAGE.fullmatch(found.message.strip()) is not None


def reason_in(text: str, content_type: str) -> str:
    """The words of a refusal, in one safe line that is not cut yet. A page loses its markup."""
    if content_type in ("text/html", "application/xhtml+xml"):
        text = _MARKUP.sub(" ", text)
        # A number of thousands of digits names no character.
        with contextlib.suppress(ValueError):
            text = html.unescape(text)
    return printable(" ".join(text.split()), None)


def shown(words: str, content_type: str, *hidden: HiddenValues) -> str:
    """What may be shown of the words of a refusal, without the hidden values."""
    if len(words) >= MAX_READ:
        # The end of the text may be the beginning of a value.
        words = words[: -max(1, *(values.longest for values in hidden))]
    for values in hidden:
        words = values.hide(words)
    reason = reason_in(words, content_type)
    return reason if len(reason) <= MAX_SHOWN else f"{reason[:MAX_SHOWN]}..."


def status_text(status: int, *, is_signed_in: bool) -> str:
    """What an error status means. ``is_signed_in`` says that the request had a token of a sign-in."""
    if status in (401, 403):
        hint = "" if is_signed_in else "; its 'headers' may lack a valid token or key"
        return f"it asks for an authorization that it did not get (HTTP {status}){hint}"
    return f"it answered with HTTP {status}"

"""The answers of a well-behaved server, without any input or output: a request goes in, its answer comes out.

This module serves both eras. Legacy is the `initialize` handshake with the revisions in `LEGACY_VERSIONS`. Modern
is the stateless 2026-07-28, where each request carries its version and the client's capabilities in `params._meta`.
With era "both", each request shows its era. The server announces only capabilities that it has. It does not offer
logging, completion, resource subscriptions or tasks.

One reader must call `refusal` in the order of arrival, because `refusal` keeps the handshake state. `answer` may
then run in any thread.
"""

import re
from typing import Any

from mock_servers.script import Script

LEGACY_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSION = "2026-07-28"

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
SERVER_INFO_KEY = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"

INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32600, -32601, -32602
LEGACY_RESOURCE_NOT_FOUND = -32002
UNSUPPORTED_VERSION = -32022

Json = dict[str, Any]

_CACHEABLE = frozenset(
    {
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "prompts/list",
    }
)


class Refused(Exception):
    """The answer to the request is this JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.error: Json = {"code": code, "message": message, **({} if data is None else {"data": data})}


def meta_of(message: Json) -> Json:
    """The `_meta` of a message; empty if the message has no object there."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    return meta if isinstance(meta, dict) else {}


class Answers:
    """The answers of one script to one client, with the state that a server keeps for that client."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.gives_receipts = script.receipts
        self.tools = script.tools
        self.prompts = script.prompts
        self.resources = script.resources
        self.templates = script.templates
        self.initialized = False
        self.met_legacy_client = script.era == "legacy"
        # Open `subscriptions/listen` requests of a modern client: the id, and the notifications that it asked for.
        self.subscriptions: dict[Any, Json] = {}

    # Eras

    def is_modern(self, message: Json) -> bool:
        """Whether the modern rules apply to this message."""
        return self._script.era == "modern" or (
            self._script.era == "both" and VERSION_KEY in meta_of(message)
        )

    def refusal(self, message: Json) -> Refused | None:
        """Why the server refuses this message: era, envelope or handshake. None if the server can serve it."""
        method = message["method"]
        if self.is_modern(message):
            return self.envelope_problem(message) if "id" in message else None
        self.met_legacy_client = True
        if method == "notifications/initialized":
            self.initialized = True
        elif self._script.strict and not self.initialized and method not in ("initialize", "ping"):
            return Refused(INVALID_REQUEST, f"{method} before notifications/initialized")
        return None

    def envelope_problem(self, message: Json) -> Refused | None:
        """The defect in the envelope of a modern request; None if there is none."""
        meta = meta_of(message)
        version = meta.get(VERSION_KEY)
        params = message.get("params")
        old_handshake = message["method"] == "initialize" and version is None
        if old_handshake and isinstance(params, dict):
            version = params.get("protocolVersion")
        elif version is None:
            return Refused(INVALID_PARAMS, f"params._meta lacks {VERSION_KEY}")
        if version != MODERN_VERSION or old_handshake:
            data = {"supported": [MODERN_VERSION], "requested": version}
            return Refused(UNSUPPORTED_VERSION, f"Unsupported protocol version {version}", data)
        if not isinstance(meta.get(CAPABILITIES_KEY), dict):
            return Refused(INVALID_PARAMS, f"params._meta lacks {CAPABILITIES_KEY}")
        return None

    # Answers

    def answer(self, message: Json) -> Json:
        """The result for a request that `refusal` accepted. It may hold placeholders of `jsontext`. Raises `Refused`."""
        params = message.get("params", {})
        if not isinstance(params, dict):
            raise Refused(INVALID_PARAMS, "params must be an object")
        return self.completed(message, self._result(message["method"], params, self.is_modern(message)))

    def completed(self, message: Json, result: Json) -> Json:
        """The result with the members that the modern era requires; a legacy result stays as it is."""
        if not self.is_modern(message):
            return result
        info = {"name": self._script.name, "version": self._script.version}
        cache = {"ttlMs": 0, "cacheScope": "private"} if message["method"] in _CACHEABLE else {}
        return {"resultType": "complete", **cache, "_meta": {SERVER_INFO_KEY: info}, **result}

    def _result(self, method: str, params: Json, modern: bool) -> Json:
        templates = self.templates
        if templates is None and self.resources is not None:
            templates = []
        if method == "server/discover" and modern:
            return {"supportedVersions": [MODERN_VERSION], **self._introduction()}
        if method == "initialize" and not modern:
            return self._initialize(params)
        if method == "ping" and not modern:
            return {}
        if method == "tools/list" and self.tools is not None:
            return self._page("tools", self.tools, params)
        if method == "tools/call" and self.tools is not None:
            return self._call(params)
        if method == "resources/list" and self._offers_resources:
            return self._page("resources", self.resources or [], params)
        if method == "resources/templates/list" and templates is not None:
            return self._page("resourceTemplates", templates, params)
        if method == "resources/read" and self._offers_resources:
            return self._read(params, modern)
        if method == "prompts/list" and self.prompts is not None:
            return self._page("prompts", self.prompts, params)
        if method == "prompts/get" and self.prompts is not None:
            return self._prompt(params)
        raise Refused(METHOD_NOT_FOUND, f"Method not found: {method}")

    def _initialize(self, params: Json) -> Json:
        requested = params.get("protocolVersion")
        offered = requested if requested in LEGACY_VERSIONS else LEGACY_VERSIONS[-1]
        return {
            "protocolVersion": self._script.protocol_version or offered,
            **self._introduction(),
            "serverInfo": {"name": self._script.name, "version": self._script.version},
        }

    def _introduction(self) -> Json:
        instructions = self._script.instructions
        return {
            "capabilities": self.capabilities(),
            **({} if instructions is None else {"instructions": instructions}),
        }

    @property
    def _offers_resources(self) -> bool:
        return self.resources is not None or self.templates is not None

    def capabilities(self) -> Json:
        """The capabilities of the server; `listChanged` is true if the script announces a change of that list."""
        script = self._script
        if script.capabilities is not None:
            return script.capabilities
        played = [*script.startup, *(action for rule in script.on for action in rule.actions)]
        announced = {action["kind"] for action in played if action["do"] == "list_changed"}
        offered = {
            "tools": self.tools is not None,
            "resources": self._offers_resources,
            "prompts": self.prompts is not None,
        }
        return {kind: {"listChanged": kind in announced} for kind, there in offered.items() if there}

    def _page(self, member: str, entries: list[Json], params: Json) -> Json:
        size = self._script.page_size or max(1, len(entries))
        plain = [f"{member}-after-{start}" for start in range(size, len(entries), size)]
        chosen = self._script.cursors or []
        cursors = [*chosen[: len(plain)], *plain[len(chosen) :]]
        cursor, page = params.get("cursor"), 0
        if cursor is not None:
            if cursor not in cursors:
                raise Refused(INVALID_PARAMS, f"Invalid cursor: {cursor}")
            page = cursors.index(cursor) + 1
        following = {"nextCursor": cursors[page]} if page < len(cursors) else {}
        return {member: entries[page * size : (page + 1) * size], **following}

    def _call(self, params: Json) -> Json:
        name, arguments = params.get("name"), params.get("arguments", {})
        if name not in [tool.get("name") for tool in self.tools or []]:
            raise Refused(INVALID_PARAMS, f"Unknown tool: {name}")
        if not isinstance(arguments, dict):
            raise Refused(INVALID_PARAMS, "arguments must be an object")
        if name != "add":
            # Placeholders, which `jsontext` fills from the text of the request: decoding would lose the exact form.
            content = [{"type": "text", "text": "$arguments-as-text"}]
            return {"content": content, "structuredContent": {"arguments": "$arguments"}, "isError": False}
        a, b = arguments.get("a"), arguments.get("b")
        if not isinstance(a, int | float) or not isinstance(b, int | float):
            return {"content": [{"type": "text", "text": "a and b must be numbers"}], "isError": True}
        content = [{"type": "text", "text": str(a + b)}]
        return {"content": content, "structuredContent": {"result": a + b}, "isError": False}

    def _read(self, params: Json, modern: bool) -> Json:
        uri = params.get("uri")
        if uri in self._script.contents:
            return {"contents": self._script.contents[uri]}
        listed = {resource.get("uri"): resource for resource in self.resources or []}
        patterns = [template.get("uriTemplate", "") for template in self.templates or []]
        if not isinstance(uri, str) or (uri not in listed and not any(_matches(p, uri) for p in patterns)):
            code = INVALID_PARAMS if modern else LEGACY_RESOURCE_NOT_FOUND
            raise Refused(code, f"Resource not found: {uri}", {"uri": uri})
        kind = listed.get(uri, {}).get("mimeType", "text/plain")
        return {"contents": [{"uri": uri, "mimeType": kind, "text": f"contents of {uri}"}]}

    def _prompt(self, params: Json) -> Json:
        name, given = params.get("name"), params.get("arguments", {})
        prompt = next((p for p in self.prompts or [] if p.get("name") == name), None)
        if prompt is None:
            raise Refused(INVALID_PARAMS, f"Unknown prompt: {name}")
        required = [a["name"] for a in prompt.get("arguments", []) if a.get("required")]
        missing = [name for name in required if name not in given]
        if missing:
            raise Refused(INVALID_PARAMS, f"Missing arguments: {', '.join(missing)}")
        values = ", ".join(f"{key}={value}" for key, value in given.items())
        text = f"prompt {name}({values})"
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}

    # Notifications of change

    def list_changed(self, kind: str) -> list[Json]:
        """The messages that announce a changed list: one for a legacy client, one for each modern subscription to it."""
        message: Json = {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}
        tagged = [
            {**message, "params": {"_meta": {SUBSCRIPTION_KEY: subscription}}}
            for subscription, wanted in list(self.subscriptions.items())
            if wanted.get(f"{kind}ListChanged")
        ]
        return [message, *tagged] if self.met_legacy_client else tagged

    def subscribe(self, message: Json) -> Json:
        """Open a modern subscription and return its acknowledgement."""
        wanted = message.get("params", {}).get("notifications", {})
        self.subscriptions[message["id"]] = wanted
        return {
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {"_meta": {SUBSCRIPTION_KEY: message["id"]}, "notifications": wanted},
        }

    def cancel(self, message: Json) -> None:
        """Handle `notifications/cancelled`. Only a subscription can still be open when the notification arrives."""
        params = message.get("params")
        identity = params.get("requestId") if isinstance(params, dict) else None
        if isinstance(identity, str | int):
            self.subscriptions.pop(identity, None)


def _matches(template: str, uri: str) -> bool:
    parts = re.split(r"\{[^}]*\}", template)
    return re.fullmatch(".+".join(map(re.escape, parts)), uri) is not None

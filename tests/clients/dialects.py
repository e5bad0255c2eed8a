"""How the HTTP interfaces of four model APIs write one turn of a conversation.

A dialect reads a request into a `Request`, and writes an `Answer` as JSON or as a stream of events. It knows only the members that the
tested clients need.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class Request:
    """The parts of a model request that the tests look at."""

    #: the parameters of each declared tool, by its name
    tools: dict[str, Any] = field(default_factory=dict)
    #: the tool results of the conversation, in order, as text
    results: list[str] = field(default_factory=list)
    system: str = ""
    #: OpenAI responses: the namespace of a tool that has one
    namespaces: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """A text, or the call of one tool."""

    text: str
    id: str = ""
    tool: str = ""
    arguments: Json = field(default_factory=dict)
    namespace: str | None = None


class Dialect:
    """One API."""

    def read(self, message: Json) -> Request:
        raise NotImplementedError

    def answer(self, answer: Answer) -> Json:
        raise NotImplementedError

    def events(self, answer: Answer) -> Iterator[str]:
        raise NotImplementedError


def dialect_of(path: str) -> Dialect | None:
    """The API of a path; None for another path, such as one that counts tokens."""
    if path.endswith("/messages"):
        return Anthropic()
    if path.endswith("/chat/completions"):
        return Chat()
    if path.endswith("/responses"):
        return Responses()
    if path.endswith(("enerateContent", "treamGenerateContent")):
        return Gemini()
    return None


def text_of(content: Any) -> str:
    """The text of a content, which is a text, a list of blocks, or an object."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(block) for block in content)
    if isinstance(content, dict):
        return content["text"] if isinstance(content.get("text"), str) else json.dumps(content)
    return "" if content is None else str(content)


def _event(data: Json, name: str = "") -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


class Anthropic(Dialect):
    """Messages."""

    def read(self, message: Json) -> Request:
        blocks = [
            block
            for turn in message["messages"]
            if isinstance(turn["content"], list)
            for block in turn["content"]
        ]
        return Request(
            {tool["name"]: tool.get("input_schema") for tool in message.get("tools") or ()},
            [text_of(block.get("content")) for block in blocks if block["type"] == "tool_result"],
            text_of(message.get("system")),
        )

    def answer(self, answer: Answer) -> Json:
        block: Json = {"type": "text", "text": answer.text}
        if answer.tool:
            block = {"type": "tool_use", "id": answer.id, "name": answer.tool, "input": answer.arguments}
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "scripted",
            "content": [block],
            "stop_reason": "tool_use" if answer.tool else "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }

    def events(self, answer: Answer) -> Iterator[str]:
        whole = self.answer(answer)
        (block,) = whole["content"]
        if answer.tool:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(answer.arguments)}
        else:
            start = {**block, "text": ""}
            delta = {"type": "text_delta", "text": answer.text}
        end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        for data in (
            {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": start},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ):
            yield _event(data, str(data["type"]))


class Chat(Dialect):
    """OpenAI chat completions."""

    def read(self, message: Json) -> Request:
        turns = message["messages"]
        declared = [tool["function"] for tool in message.get("tools") or () if tool["type"] == "function"]
        return Request(
            {function["name"]: function.get("parameters") for function in declared},
            [text for turn in turns if (text := self._result(turn)) is not None],
            "".join(text_of(turn["content"]) for turn in turns if turn["role"] in ("system", "developer")),
        )

    def answer(self, answer: Answer) -> Json:
        message: Json = {"role": "assistant", "content": answer.text or None}
        if answer.tool:
            message["tool_calls"] = [self._call(answer)]
        return self._completion("chat.completion", answer, {"message": message})

    def events(self, answer: Answer) -> Iterator[str]:
        delta: Json = {"role": "assistant", "content": answer.text}
        if answer.tool:
            delta["tool_calls"] = [{"index": 0, **self._call(answer)}]
        yield _event(self._completion("chat.completion.chunk", answer, {"delta": delta}))
        yield "data: [DONE]\n\n"

    @staticmethod
    def _result(turn: Json) -> str | None:
        """The tool result in a turn. smolagents writes it as words of the user."""
        text = text_of(turn.get("content"))
        return text if turn["role"] == "tool" or text.startswith(("Observation:", "Error:")) else None

    @staticmethod
    def _call(answer: Answer) -> Json:
        function = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
        return {"id": answer.id, "type": "function", "function": function}

    @staticmethod
    def _completion(kind: str, answer: Answer, choice: Json) -> Json:
        reason = "tool_calls" if answer.tool else "stop"
        return {
            "id": "chat_1",
            "object": kind,
            "created": 1,
            "model": "scripted",
            "choices": [{"index": 0, "finish_reason": reason, "logprobs": None, **choice}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }


class Responses(Dialect):
    """OpenAI responses."""

    def read(self, message: Json) -> Request:
        request = Request(system=text_of(message.get("instructions")))
        for tool in message.get("tools") or ():
            if tool["type"] == "namespace":
                for inner in tool["tools"]:
                    request.tools[inner["name"]] = inner.get("parameters")
                    request.namespaces[inner["name"]] = tool["name"]
            elif tool["type"] == "function":
                request.tools[tool["name"]] = tool.get("parameters")
        items = message["input"] if isinstance(message["input"], list) else []
        outputs = [item for item in items if item.get("type") == "function_call_output"]
        request.results = [text_of(item["output"]) for item in outputs]
        return request

    def answer(self, answer: Answer) -> Json:
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": "scripted",
            "output": [self._item(answer)],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 1,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 1,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 2,
            },
        }

    def events(self, answer: Answer) -> Iterator[str]:
        whole = self.answer(answer)
        (item,) = whole["output"]
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        for number, data in enumerate(
            (
                {"type": "response.created", "response": begun},
                {"type": "response.output_item.added", "output_index": 0, "item": item},
                {"type": "response.output_item.done", "output_index": 0, "item": item},
                {"type": "response.completed", "response": whole},
            )
        ):
            yield _event({**data, "sequence_number": number}, str(data["type"]))

    @staticmethod
    def _item(answer: Answer) -> Json:
        if not answer.tool:
            text = {"type": "output_text", "text": answer.text, "annotations": []}
            return {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [text],
            }
        call = {
            "id": f"fc_{answer.id}",
            "type": "function_call",
            "status": "completed",
            "call_id": answer.id,
            "name": answer.tool,
            "arguments": json.dumps(answer.arguments),
        }
        return call if answer.namespace is None else {**call, "namespace": answer.namespace}


class Gemini(Dialect):
    """The generation of contents."""

    def read(self, message: Json) -> Request:
        declared = [
            function
            for tool in message.get("tools") or ()
            for function in tool.get("functionDeclarations") or ()
        ]
        parts = [part for turn in message["contents"] for part in turn.get("parts") or ()]
        return Request(
            {one["name"]: self._parameters(one) for one in declared},
            [
                json.dumps(part["functionResponse"]["response"])
                for part in parts
                if "functionResponse" in part
            ],
            text_of((message.get("systemInstruction") or {}).get("parts")),
        )

    @staticmethod
    def _parameters(function: Json) -> Any:
        names = ("parametersJsonSchema", "parameters_json_schema", "parameters")
        return next((function[name] for name in names if function.get(name)), None)

    def answer(self, answer: Answer) -> Json:
        part: Json = {"text": answer.text}
        if answer.tool:
            part = {"functionCall": {"id": answer.id, "name": answer.tool, "args": answer.arguments}}
        candidate = {
            "content": {"role": "model", "parts": [part]},
            "finishReason": "STOP",
            "index": 0,
        }
        usage = {"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}
        return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "scripted"}

    def events(self, answer: Answer) -> Iterator[str]:
        yield _event(self.answer(answer))

"""FRONT: wrong answers of the gateway that lets the reference listen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from conformance.gateway import Gateway
from conformance.mutants import mutant

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request


@mutant(
    "FRONT-160",
    listens=True,
    also=dict.fromkeys(("FRONT-008", "FRONT-172"), "an array of notifications is confirmed in the same way"),
)
def confirms_notifications_with_200() -> None:
    def wrong(request: Request, response: Response) -> None:
        if response.status_code == 202:
            response.status_code = 200

    change_responses(wrong)


@mutant("FRONT-160", listens=True)
def confirms_notifications_with_a_body() -> None:
    def wrong(request: Request, response: Response) -> None:
        if response.status_code == 202:
            response.body = b"Accepted"
            response.headers["Content-Length"] = str(len(response.body))

    change_responses(wrong)


@mutant("FRONT-160", listens=True)
def confirms_answers_with_200() -> None:
    """Only what the client answers to a question, and no notification."""
    serve = Gateway.serve

    async def wrong(self: Gateway, request: Request) -> Response:
        response = await serve(self, request)
        if response.status_code == 202 and b'"method"' not in await request.body():
            response.status_code = 200
        return response

    setattr(Gateway, "serve", wrong)  # noqa: B010


@mutant("FRONT-160", listens=True)
def answers_requests_as_plain_text() -> None:
    def wrong(request: Request, response: Response) -> None:
        if response.headers.get("Content-Type") == "application/json":
            response.headers["Content-Type"] = "text/plain"

    change_responses(wrong)


@mutant("FRONT-160", listens=True)
def refuses_the_stream_with_404() -> None:
    """It has no stream for its own messages, which only 405 says."""

    def wrong(request: Request, response: Response) -> None:
        if request.method == "GET":
            response.status_code = 404

    change_responses(wrong)


@mutant(
    "FRONT-046",
    listens=True,
    also={
        **dict.fromkeys(("FRONT-008", "FRONT-172"), "batches are such bodies"),
    },
)
def takes_bodies_that_are_no_messages() -> None:
    """It confirms them with 202, as if they were notifications."""
    replace_post(lambda gateway, body: Response(status_code=202))


@mutant(
    "FRONT-006",
    listens=True,
    also={
        **dict.fromkeys(("FRONT-008", "FRONT-172"), "a batch has such a result too"),
        "FRONT-046": "no error has a code",
    },
)
def answers_malformed_bodies_with_a_result() -> None:
    replace_post(lambda gateway, body: JSONResponse({"jsonrpc": "2.0", "id": None, "result": {}}))


@mutant("FRONT-172", listens=True, also={"FRONT-008": "a batch of 2025-03-26 has no answer"})
def refuses_each_batch() -> None:
    """Also in sessions of 2025-03-26."""

    def wrong(gateway: Gateway, body: bytes) -> Response | None:
        return Response(status_code=400) if body.startswith(b"[") else None

    replace_post(wrong)


def replace_post(answer: Callable[[Gateway, bytes], Response | None]) -> None:
    """Answer bodies that are no messages in this way; None leaves a body to the gateway."""
    # Private, because the gateway has no public name for these bodies.
    right = Gateway._post_other

    async def wrong(self: Gateway, body: bytes, session: str | None) -> Response:
        return answer(self, body) or await right(self, body, session)

    setattr(Gateway, "_post_other", wrong)  # noqa: B010


def change_responses(change: Callable[[Request, Response], None]) -> None:
    """Let this change each response of the gateway before it is sent."""
    serve = Gateway.serve

    async def wrong(self: Gateway, request: Request) -> Response:
        response = await serve(self, request)
        change(request, response)
        return response

    setattr(Gateway, "serve", wrong)  # noqa: B010

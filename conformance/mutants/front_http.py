"""FRONT: wrong answers of the gateway that lets the reference listen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.gateway import Gateway
from conformance.mutants import mutant

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request
    from starlette.responses import Response


@mutant("FRONT-160", listens=True)
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


def change_responses(change: Callable[[Request, Response], None]) -> None:
    """Let this change each response of the gateway before it is sent."""
    serve = Gateway.serve

    async def wrong(self: Gateway, request: Request) -> Response:
        response = await serve(self, request)
        change(request, response)
        return response

    setattr(Gateway, "serve", wrong)  # noqa: B010

"""The session between ``connect`` and the proxy. If the proxy forgets it, a new one like it begins, once for all requests.

A new session has ``RENEWAL_TIMEOUT`` seconds to begin. If it does not, the requests that wait for it fail, and the next request tries
again. Without a request, this module tries again after pauses, because the client gets no announcements meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain, repeat

from dynamic_mcp.errors import UpstreamFailed, UpstreamGone
from dynamic_mcp.extras.serving.order import ended
from dynamic_mcp.extras.serving.outgoing import PostedRequest, SessionForgotten, headers_of
from dynamic_mcp.extras.serving.repeated import RepeatedWarning
from dynamic_mcp.extras.sharing.memory import SessionMemory
from dynamic_mcp.protocol import jsonrpc
from dynamic_mcp.tasks import TaskSet
from dynamic_mcp.upstream.http.client import HttpClient
from dynamic_mcp.upstream.http.own_stream import MAX_REOPEN_DELAY, RENEWAL_PAUSES, listen
from dynamic_mcp.upstream.http.reply_stream import ReplyStream
from dynamic_mcp.upstream.http.session import HttpSession

#: Seconds in which a new session has to begin.
RENEWAL_TIMEOUT = 10.0
#: Subscriptions that are made again at the same time. The proxy refuses too many requests of one session.
_SUBSCRIBING = 16

#: Posts a request in a session, and passes on what comes back; whether the answer did. Raises SessionForgotten and UpstreamFailed.
Exchange = Callable[[PostedRequest, HttpSession], Awaitable[bool]]


class KeptSession:
    """The session of one client. ``current`` is another object after each handshake; requests of the old one can be on their way."""

    def __init__(
        self,
        client: HttpClient,
        memory: SessionMemory,
        tasks: TaskSet,
        warnings: RepeatedWarning,
        exchange: Exchange,
        open_stream: Callable[[str], ReplyStream],
        tell: Callable[[bytes], None],
    ) -> None:
        """``open_stream`` makes the stream after an event id, and ``tell`` takes a line for the client."""
        self.current = HttpSession()
        self._client = client
        self._memory = memory
        self._tasks = tasks
        self._warnings = warnings
        self._exchange = exchange
        self._open_stream = open_stream
        self._tell = tell
        #: the failure of the attempt to begin a session, or None for a success, once it is over
        self._attempt: asyncio.Future[UpstreamFailed | None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._subscribing: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Wait for a session that is beginning. Raises UpstreamFailed if it does not."""
        if self._attempt is not None and (failure := await asyncio.shield(self._attempt)) is not None:
            raise failure.copy()

    async def subscribed(self) -> None:
        """Wait until a new session has the subscriptions of the old one."""
        if self._subscribing is not None:
            await ended([self._subscribing])

    async def renew(self, old: HttpSession) -> None:
        """Begin a session in place of this one, unless another request did. Raises UpstreamFailed."""
        if self.current is not old:
            return
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
            # A task of its own, so that no cancelled request ends it.
            self._tasks.start(self._try(old, self._attempt))
        await self.ready()

    def listen(self) -> None:
        """Read what the session gets outside of requests."""
        if self._listening is not None:
            self._listening.cancel()
        session = self.current
        self._listening = self._tasks.start(
            listen(self._client, session, self._open_stream, lambda status: self._is_lost(session))
        )

    async def _is_lost(self, session: HttpSession) -> bool:
        self._tasks.start(self._renew_without_request(session))
        return True

    async def _renew_without_request(self, old: HttpSession) -> None:
        for pause in chain(RENEWAL_PAUSES, repeat(MAX_REOPEN_DELAY)):
            try:
                await self.renew(old)
            except UpstreamFailed as error:
                self._warnings.warn(str(error), str(error))
                await asyncio.sleep(pause)
            else:
                return

    async def _try(self, old: HttpSession, attempt: asyncio.Future[UpstreamFailed | None]) -> None:
        """Begin a session in place of the old one, and set the result of the attempt."""
        failure: UpstreamFailed | None = UpstreamGone("the connection to the proxy ends")
        try:
            async with asyncio.timeout(RENEWAL_TIMEOUT):
                await self._begin(old)
            failure = None
        except TimeoutError:
            reason = f"the proxy did not answer within {RENEWAL_TIMEOUT:g} s"
            failure = UpstreamFailed(f"the session was lost, and no new one began: {reason}")
        except (UpstreamFailed, SessionForgotten) as error:
            failure = UpstreamFailed(f"the session was lost, and no new one began: {error}")
        finally:
            self._attempt = None
            attempt.set_result(failure)

    async def _begin(self, old: HttpSession) -> None:
        """Begin a session like the old one. Raises SessionForgotten and UpstreamFailed."""
        text = "the proxy has forgotten the session; a new one begins"
        self._warnings.warn(text, text)
        if self._subscribing is not None:
            self._subscribing.cancel()
        for line in self._memory.withdrawn():
            self._tell(line)
        session, subscriptions = HttpSession(), []
        for line in self._memory.replay():
            message = jsonrpc.parse(line)
            post = PostedRequest(line.rstrip(), message, is_modern=False, is_own=True)
            if post.method == "resources/subscribe":
                subscriptions.append(post)
            elif not message.id:
                await self._client.post(headers_of(message, session), post.line)
            elif not await self._exchange(post, session) or session.version is None:
                raise UpstreamFailed("the proxy begins no new session")
        if self.current is not old:
            # The client has made another handshake itself.
            return
        self.current = session
        self.listen()
        # An upstream that does not answer must not delay the other requests.
        self._subscribing = self._tasks.start(self._subscribe(subscriptions, session))

    async def _subscribe(self, subscriptions: list[PostedRequest], session: HttpSession) -> None:
        few = asyncio.Semaphore(_SUBSCRIBING)

        async def subscribe(post: PostedRequest) -> None:
            try:
                async with few:
                    if not await self._exchange(post, session):
                        raise UpstreamGone("no answer came")
            except (UpstreamFailed, SessionForgotten) as error:
                text = f"a subscription did not go on in the new session: {error}"
                self._warnings.warn(text, str(error))

        await asyncio.gather(*map(subscribe, subscriptions))

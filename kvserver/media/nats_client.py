"""The connection to nats-servers: an event loop in a thread of its own, and calls from other threads that block.

It knows requests, their answers and their failures, and nothing of streams. The client library (nats-py) connects again by
itself, to any of the servers. Calls that are on their way when a connection is lost fail at once: the library would let them
wait for their whole time. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from kvserver.errors import Denied, MediumError, NotReady, Unknown
from kvserver.media.nats_calls import Call, Calls, Waiting, message_of, parsed
from kvserver.media.nats_library import abort, new_client, sink, subject_denied, tls_context, write
from kvserver.media.nats_url import Login
from kvserver.media.nats_watch import Watch

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

# The time for a connection and its greeting, in seconds: at first, and when another server may be quicker.
CONNECT_S: Final = 2.0
RECONNECT_S: Final = 1.0
# The pause between two attempts to connect to the same server.
RECONNECT_PAUSE_S: Final = 0.2
# The pause between two words that a server is asked for.
WATCH_S: Final = 0.5
# The time that an orderly end may take.
CLOSE_S: Final = 1.0
# Since it is asked for that often by us, the library need not ask.
LIBRARY_PING_S: Final = 24 * 3600


class NatsClient:
    """A connection to one of several servers, each named as host:port.

    Its methods are for threads that may wait, and never for the one of the event loop.
    """

    def __init__(self, hosts: Sequence[str], login: Login) -> None:
        self._hosts = list(hosts)
        self._login = login
        self._client: Client | None = None
        # A random prefix for the subjects of answers; each call has the next number behind it.
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._numbers = itertools.count(1)
        self._calls = Calls()
        self._pushed: dict[Call, Subscription] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ready = threading.Event()
        self._is_closed = False
        self._watch = Watch()
        self._info: Mapping[str, Any] = {}
        # The last word of the client library on what went wrong.
        self._error = ""
        # What the server has said that this user may not do, if that was about no call that was waiting.
        self._violation = ""
        # The same, if no answer ever comes by that.
        self._deafness = ""
        self._loop = _new_loop()
        # The library's own tasks fail at times when it connects again. That is no news for a log, and nobody waits for them.
        self._loop.set_exception_handler(lambda _, context: self._note(context.get("exception") or context["message"]))
        self._thread = threading.Thread(target=self._loop.run_forever, name="kvserver-nats", daemon=True)

    def open(self) -> None:
        """Connect. MediumError if no server lets us in, in one line that says why. ExtraMissing."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the connection and the thread. Calls that wait fail soon. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        self._is_ready.set()
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        self._loop.close()

    @property
    def info(self) -> Mapping[str, Any]:
        """What the server that we are, or were, connected to has told of itself, by the names of NATS' INFO."""
        return self._info

    @property
    def answered_at(self) -> float:
        """A time (`time.monotonic`): what the servers had sent us by then has come."""
        return self._watch.answered_at

    @property
    def max_payload(self) -> int:
        """The most bytes that the server takes at once."""
        return int(self._info.get("max_payload", 0))

    def wait_until_ready(self, wait_s: float) -> None:
        """Wait for a connection. MediumError if there is none by then, or the client was closed."""
        if not self._is_ready.wait(max(wait_s, 0)) or self._is_closed:
            raise self._no_connection()

    def request(self, subject: str, data: bytes, headers: dict[str, str] | None, wait_s: float) -> Msg:
        """Send something and return its answer. Unknown: it may have arrived. MediumError: it has not, and will not."""
        return self.wait(self.send(subject, data, headers), wait_s)[0]

    def send(self, subject: str, data: bytes, headers: dict[str, str] | None) -> Waiting:
        """Send something, and don't wait for its answer. MediumError: nothing was sent."""
        waiting = Waiting()
        self.start(waiting, subject, data, headers)
        return waiting

    def wait(self, waiting: Waiting, wait_s: float) -> list[Msg]:
        """The answers to what was sent. Unknown; MediumError if it certainly has not arrived.

        Where the line is slow, it takes longer than `wait_s`: that is the time for the server alone.
        """
        answers = waiting.answers(wait_s)
        while answers is None and self._is_line_behind(waiting.sent_at + wait_s):
            answers = waiting.answers(WATCH_S)
        if answers is None:
            self.forget(waiting)
            raise self._no_answer(wait_s)
        return answers

    def ask_for_many(self, subject: str, body: Mapping[str, object], is_last: Callable[[Msg], bool]) -> Waiting:
        """Ask for something that has many answers, and don't wait for them. MediumError."""
        waiting = Waiting(is_last)
        self.start(waiting, subject, orjson.dumps(body), None)
        return waiting

    def collect(self, waiting: Waiting, wait_s: float) -> list[Msg]:
        """All answers to what changes nothing, with the one that is the last. NotReady; MediumError."""
        try:
            return self.wait(waiting, wait_s)
        except Unknown as error:
            raise NotReady(str(error)) from None

    def ask(self, subject: str, body: Mapping[str, object], wait_s: float) -> dict[str, Any]:
        """Ask for something that has one answer in JSON, and return that. MediumError, also for an answer that is no JSON."""
        waiting = self.send(subject, orjson.dumps(body) if body else b"", None)
        return parsed(self.collect(waiting, wait_s)[0])

    def start(
        self, call: Call, subject: str, data: bytes, headers: dict[str, str] | None, wait_s: float | None = None
    ) -> None:
        """Send something whose answers a call takes. MediumError: nothing was sent.

        With `wait_s` the call fails by Unknown if it has no answer by then (see `wait`); else whoever waits sees to that.
        """
        if self._is_closed:
            raise self._no_connection()
        call.reply = f"{self._inbox}.{next(self._numbers)}"
        call.subject, call.sent_at = subject, time.monotonic()
        message = message_of(subject, call.reply, data, headers, self.max_payload)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._begin, call, message, wait_s)
            return
        raise self._no_connection()

    def listen(self, call: Call) -> None:
        """Let a call take what comes to its subject, though it sends nothing itself. MediumError: there is no connection."""
        call.reply = f"{self._inbox}.pushed.{next(self._numbers)}"
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._listen, call)
            return
        raise self._no_connection()

    def ignore(self, call: Call) -> None:
        """Let nothing come to a call any more that listens."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ignore, call)

    def tell(self, subject: str, data: bytes = b"") -> None:
        """Send something that has no answer, if there is a connection."""
        message = message_of(subject, "", data, None, self.max_payload)
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, message)

    def forget(self, call: Call) -> None:
        """Answers to this call are of no use any more."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._calls.drop, call)

    def _no_connection(self) -> MediumError:
        if self._is_closed:
            return MediumError("the engine is closed")
        return MediumError(f"no connection to NATS at {','.join(self._hosts)}{self._error and f': {self._error}'}")

    def _no_answer(self, wait_s: float) -> Unknown:
        return Unknown(f"no answer from NATS within {wait_s:g} s{self._violation and f', and it says: {self._violation}'}")

    def _is_line_behind(self, moment: float) -> bool:
        """True if what the server has said by then (`time.monotonic`) may still be on its way, on a connection that lives."""
        client = self._client
        return client is not None and client.is_connected and self._watch.answered_at < moment

    # --- In the thread of the event loop ---

    def _connected(self, call: Call) -> Client | None:
        """The client; None, and the call has failed, where there is no connection."""
        client = self._client
        if client is None or not client.is_connected or self._is_closed:
            call.fail(self._no_connection())
            return None
        if self._deafness:
            call.fail(Denied(self._deafness))
            return None
        return client

    def _listen(self, call: Call) -> None:
        if client := self._connected(call):
            self._calls.add(call)
            self._keep(self._subscribe(client, call))

    async def _subscribe(self, client: Client, call: Call) -> None:
        # What is pushed bears the subject of the stream, so that each who listens needs a subscription.
        self._pushed[call] = await client.subscribe(call.reply, future=sink(call.take))

    def _ignore(self, call: Call) -> None:
        self._calls.drop(call)
        subscription = self._pushed.pop(call, None)
        if subscription is not None and self._client is not None and self._client.is_connected:
            self._keep(subscription.unsubscribe())

    def _begin(self, call: Call, message: bytes, wait_s: float | None) -> None:
        if client := self._connected(call):
            self._calls.add(call)
            write(client, message)
            if wait_s is not None:
                call.timer = self._loop.call_later(wait_s, self._expire, call, wait_s)

    def _expire(self, call: Call, wait_s: float) -> None:
        if self._is_line_behind(call.sent_at + wait_s):
            call.timer = self._loop.call_later(WATCH_S, self._expire, call, wait_s)
        elif self._calls.drop(call):
            call.fail(self._no_answer(wait_s))

    def _tell(self, message: bytes) -> None:
        if self._client is not None and self._client.is_connected:
            write(self._client, message)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside what is there. The event loop itself does not hold what it runs."""
        if self._is_closed:
            work.close()
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _deny(self, subject: str, told: str) -> None:
        """End the calls that the server does not let this user make: those to this subject, or all if none gets an answer."""
        if subject == f"{self._inbox}.*".lower():
            self._deafness = f"NATS lets no answer come to this user: {told}"
            self._calls.fail(Denied(self._deafness))
        elif not self._calls.fail(Denied(f"NATS does not let this user do that: {told}"), subject):
            self._violation = told

    async def _open(self) -> None:
        await self._connect()
        self._keep(self._keep_watch())

    async def _connect(self) -> None:
        """Connect anew, with a client that has no past. MediumError if nobody lets us in."""
        self._violation = self._deafness = ""
        client = new_client(must_be_tls=self._login.is_tls)
        from nats.errors import Error

        scheme = "tls" if self._login.is_tls else "nats"
        tls = tls_context(self._login.ca) if self._login.ca else None
        try:
            await client.connect(
                [f"{scheme}://{host}" for host in self._hosts],
                name="kvserver",
                user=self._login.user or None,
                password=self._login.password or None,
                token=self._login.token or None,
                tls=tls,
                connect_timeout=CONNECT_S,  # type: ignore[arg-type]
                reconnect_time_wait=RECONNECT_PAUSE_S,  # type: ignore[arg-type]
                # At first each has two attempts, so that a wrong URL is told of. Later there is no end.
                max_reconnect_attempts=1,
                ping_interval=LIBRARY_PING_S,
                # What can't be sent now is not kept to be sent later.
                pending_size=0,
                error_cb=partial(self._on_error, client),
                disconnected_cb=self._on_disconnect,
                reconnected_cb=self._on_connect,
                closed_cb=self._on_close,
            )
        except (OSError, Error, TimeoutError) as error:
            self._note(error)
            # The server ends the connection behind its error, which is lost at times: then it looks like a broken one.
            is_turned_away = isinstance(error, ssl.SSLError)
            if client._server_info.get("auth_required") and not is_turned_away:
                is_turned_away = True
                self._error = "the server wants a user with a password, or a token, and does not take this one"
            with suppress(OSError, Error, TimeoutError):
                await asyncio.wait_for(client.close(), CLOSE_S)
            if is_turned_away:
                raise self._no_connection() from None
            raise NotReady(str(self._no_connection())) from None
        client.options |= {"max_reconnect_attempts": -1, "connect_timeout": RECONNECT_S}
        self._client = client
        await client.subscribe(f"{self._inbox}.*", future=sink(self._calls.take))
        await self._on_connect()

    async def _on_error(self, client: Client, error: Exception) -> None:
        self._note(error)
        if (subject := subject_denied(error)) and client.is_connected:
            self._deny(subject, self._error)
        if not client.is_connected:
            # The library forgets a connection at which nobody greets, and does not end it.
            abort(client)
        is_about_tls = isinstance(error, ssl.SSLError) or client._server_info.get("tls_required")
        if client is not self._client and client.is_connecting and is_about_tls:
            # At its first attempt it would wait for ever for the end of a connection whose TLS has failed.
            raise error

    def _note(self, error: Exception | str) -> None:
        from nats.errors import NoServersError

        # That there is no server left says less than what each of them has said.
        if not (isinstance(error, NoServersError) and self._error):
            self._error = (str(error) or type(error).__name__).removeprefix("nats: ").replace("\n", " ")

    async def _on_connect(self) -> None:
        if self._client is not None:
            self._info = self._client._server_info
        self._error = ""
        self._is_ready.set()

    async def _on_disconnect(self) -> None:
        if not self._is_closed:
            self._is_ready.clear()
        self._violation = self._deafness = ""
        self._calls.fail(Unknown("the connection to NATS was lost"))

    async def _on_close(self) -> None:
        """The library gives a connection up for good when a server says so."""
        if not self._is_closed and self._client is not None:
            self._client = None
            self._keep(self._connect_again())

    async def _connect_again(self) -> None:
        while not self._is_closed:
            with suppress(MediumError):
                await self._connect()
                return
            await asyncio.sleep(RECONNECT_PAUSE_S)

    async def _keep_watch(self) -> None:
        """Part with a server that is silent, or that the library does not listen to any more."""
        while True:
            await asyncio.sleep(WATCH_S)
            client = self._client
            if client is None or not client.is_connected or await self._watch.is_alive(client):
                continue
            if client is self._client and client.is_connected:
                self._error = "the server does not answer"
                abort(client)
                await client.force_reconnect()

    async def _end(self) -> None:
        self._calls.fail(MediumError("the engine is closed"))
        client = self._client
        if client is not None:
            with suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(client.close(), CLOSE_S)
            abort(client)
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's event loop, which takes less CPU for a request, or asyncio's own where there is none."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()

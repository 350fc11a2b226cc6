"""Our server under load, beside LitServe with the same network and beside ONNX Runtime in a plain loop.

    python benchmarks/serving.py BUNDLE [--requests 20000] [--rounds 3] [--connections 32] [--images 1] [--workers 1]
    python benchmarks/serving.py BUNDLE --requests 100000 --rounds 1 --only ours
    python benchmarks/serving.py BUNDLE --overload

Everything runs on the loopback of this machine, each part in processes of its own, in turn, round by round; medians of
the rounds. The client keeps `--connections` connections busy with multipart forms of `--images` JPEG files each, from
one process with a plain event loop: it takes about a tenth of what a server takes. All decode the same files by
`eyebright.data.decode.load_image` and infer the same file by ONNX Runtime on all cores:

- bare: decode 32 images one after the other, infer them with all threads, again. No requests, no answers.
- lanes: the same with a thread for each core that decodes and infers for itself: the most that our way of using
  the cores could reach without requests.
- ours: eyebright serve.
- LitServe (litserve, if it is installed): batches of up to 32 gathered for up to 2 ms, an inference worker and an API
  server for each core, fast_queue.

`--overload` fills a short queue: what is refused, that nothing is lost, and how long until the server answers again;
then as many connections at a time as `--crowd` says.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import io
import itertools
import json
import multiprocessing
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from eyebright.core.processor import available_threads
from eyebright.data.decode import load_image
from eyebright.exporting.bundle import Bundle, open_bundle

BATCH = 32
FILES = 64  # different images that are sent in turn
WARM_UP = 200  # requests before those that count
PATIENCE = 120  # seconds


@dataclasses.dataclass(frozen=True)
class Load:
    """What a client saw.

    Attributes
    ----------
    statuses : requests by the status of their answer; 0 where the connection broke.
    seconds : from the first request to the last answer.
    median, slowest : milliseconds from a request to its answer; the slowest but 1 %.
    """

    statuses: dict[int, int]
    seconds: float
    median: float
    slowest: float

    @property
    def per_second(self) -> float:
        """Requests that were answered 200."""
        return self.statuses.get(200, 0) / self.seconds


class Connection:
    """A kept connection with one request under way."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.begun = 0.0
        self._received = b""

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self.begun = time.perf_counter()
        self._received = b""
        self.socket.sendall(request)

    def status(self) -> int | None:
        """Read what is there: the status once the answer is whole, 0 if the connection broke."""
        try:
            piece = self.socket.recv(1 << 16)
        except ConnectionError:
            piece = b""
        if not piece:
            return 0
        self._received += piece
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or -1)
        return int(head[9:12]) if 0 <= length <= len(body) else None


def drive(url: str, requests: list[bytes], total: int, connections: int) -> Load:
    """Send `total` requests over `connections` connections, each as soon as the last one was answered."""
    host, _, port = url.removeprefix("http://").partition(":")
    address = host, int(port)
    statuses: collections.Counter[int] = collections.Counter()
    latencies: list[float] = []
    turns = itertools.islice(itertools.cycle(requests), total)
    with selectors.DefaultSelector() as selector:

        def begin(connection: Connection) -> None:
            request = next(turns, None)
            if request is None:
                selector.unregister(connection.socket)
                connection.socket.close()
            else:
                connection.ask(request)

        started = time.perf_counter()
        for _ in range(min(connections, total)):
            connection = Connection(address)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            begin(connection)
        while selector.get_map():
            for key, _ in selector.select(PATIENCE):
                connection = key.data
                status = connection.status()
                if status is None:
                    continue
                statuses[status] += 1
                latencies.append(time.perf_counter() - connection.begun)
                if status in {0, 429}:  # both may end a connection
                    selector.unregister(connection.socket)
                    connection.socket.close()
                    connection = Connection(address)
                    selector.register(connection.socket, selectors.EVENT_READ, connection)
                begin(connection)
        seconds = time.perf_counter() - started
    median, slowest = np.percentile(latencies, [50, 99]) * 1000
    return Load(dict(statuses), seconds, float(median), float(slowest))


def in_own_process(url: str, requests: list[bytes], total: int, connections: int) -> Load:
    """`drive` in a process that shares no lock with anything else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(drive, (url, requests, total, connections))


class Running(NamedTuple):
    """A server: its address, and its process."""

    url: str
    pid: int

    def peak(self) -> int:
        """MiB of memory that its process had at most (Linux)."""
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


@contextlib.contextmanager
def running(command: list[str], url: str | None, ready: str) -> Iterator[Running]:
    """A server in a group of processes of its own; its address is `url`, or the first line that it prints."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    ) as process:
        try:
            output = process.stdout or io.StringIO()
            address = url or output.readline().strip()
            threading.Thread(target=output.read, daemon=True).start()  # a full pipe would stop it
            wait_for(lambda: answers(address + ready), process)
            yield Running(address, process.pid)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until it holds; an error where the process has ended."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"{process.args!r} did not start")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a server answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - on the loopback
            return bool(response.status == 200)
    except OSError:
        return False


def ours(bundle: Path, workers: int, *options: str) -> contextlib.AbstractContextManager[Running]:
    """`eyebright serve`."""
    command = [sys.executable, "-m", "eyebright", "serve", str(bundle), "--port", "0", "--workers", str(workers)]
    return running([*command, *options], None, "/readyz")


def litserve(bundle: Path) -> contextlib.AbstractContextManager[Running]:
    """LitServe with the same network."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, str(Path(__file__).with_name("serving_by_litserve.py")), str(bundle), str(port)]
    return running(command, f"http://127.0.0.1:{port}", "/health")


def bare(path: Path, files: list[bytes], total: int) -> float:
    """Images/s of a plain loop."""
    bundle = open_bundle(path)
    begun = time.perf_counter()
    decode_and_infer(bundle, files, total)
    return total / (time.perf_counter() - begun)


def lanes(path: Path, files: list[bytes], total: int) -> float:
    """Images/s of one such loop a core."""
    bundle = open_bundle(path, threads=1)
    count = available_threads()
    begun = time.perf_counter()
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda _: decode_and_infer(bundle, files, total // count), range(count)))
    return count * (total // count) / (time.perf_counter() - begun)


def decode_and_infer(bundle: Bundle, files: list[bytes], total: int) -> None:
    """A loop over batches."""
    turns = itertools.islice(itertools.cycle(files), total)
    while batch := [load_image(data, bundle.spec) for data in itertools.islice(turns, BATCH)]:
        bundle.probabilities(np.stack(batch))


def photos(side: int) -> list[bytes]:
    """Soft noise as JPEG files."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(FILES):
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        packed = io.BytesIO()
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(packed, "JPEG", quality=90)
        made.append(packed.getvalue())
    return made


def forms(files: list[bytes], images: int) -> list[bytes]:
    """Requests with `images` files each."""
    made = []
    for number in range(len(files)):
        chosen = [files[(number + offset) % len(files)] for offset in range(images)]
        head = 'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        body = b"".join(b"--frontier\r\n" + head.encode() + file + b"\r\n" for file in chosen) + b"--frontier--\r\n"
        lines = "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=frontier\r\n"
        made.append(lines.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return made


def compare(arguments: argparse.Namespace) -> None:
    """All in turn, round by round."""
    bundle = arguments.bundle
    side = arguments.side or max(open_bundle(bundle).spec.height, open_bundle(bundle).spec.width)
    files = photos(side)
    requests, images = forms(files, arguments.images), arguments.images
    servers: dict[str, Callable[[], contextlib.AbstractContextManager[Running]]] = {
        "ours": lambda: ours(bundle, arguments.workers, "--max-queue", "100000"),
        "litserve": lambda: litserve(bundle),
    }
    loops = {"bare": bare, "lanes": lanes}
    chosen = arguments.only or [*loops, *servers]
    if images > 1 and "litserve" in chosen:
        chosen.remove("litserve")  # it takes one image a request
    rates: dict[str, list[float]] = collections.defaultdict(list)
    loads: dict[str, list[Load]] = collections.defaultdict(list)
    print(f"{open_bundle(bundle)}; JPEG files of {side}x{side} pixels; {available_threads()} cores")
    for number in range(arguments.rounds):
        for name in chosen:
            if name in loops:
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    pool.apply(loops[name], (bundle, files, WARM_UP))
                    rate = pool.apply(loops[name], (bundle, files, arguments.requests * images))
                rates[name].append(rate)
                print(f"round {number + 1}: {name:<9}{rate:>10,.0f} images/s", flush=True)
                continue
            with servers[name]() as server:
                in_own_process(server.url, requests, WARM_UP, arguments.connections)
                load = in_own_process(server.url, requests, arguments.requests, arguments.connections)
            loads[name].append(load)
            rates[name].append(load.per_second * images)
            print(
                f"round {number + 1}: {name:<9}{rates[name][-1]:>10,.0f} images/s  p50 {load.median:.1f} ms  "
                f"p99 {load.slowest:.1f} ms  {load.statuses}",
                flush=True,
            )
    print(f"\n{'medians':<10}{'images/s':>10}{'of bare':>9}{'p50 ms':>8}{'p99 ms':>8}{'failed':>8}")
    for name in chosen:
        rate = statistics.median(rates[name])
        share = f"{rate / statistics.median(rates['bare']):.2f}" if "bare" in rates else ""
        row = f"{name:<10}{rate:>10,.0f}{share:>9}"
        if name in loads:
            failed = sum(sum(load.statuses.values()) - load.statuses.get(200, 0) for load in loads[name])
            median, slowest = (
                statistics.median(getattr(load, which) for load in loads[name]) for which in ("median", "slowest")
            )
            row += f"{median:>8.1f}{slowest:>8.1f}{failed:>8}"
        print(row)


def overload(arguments: argparse.Namespace) -> None:
    """More than the server takes, in two ways; and how long until it is as before."""
    bundle = arguments.bundle
    requests = forms(photos(max(open_bundle(bundle).spec.height, 32)), 1)
    with ours(bundle, 1, "--max-queue", "64") as server:
        in_own_process(server.url, requests, WARM_UP, 8)
        print(f"peak memory before: {server.peak()} MiB")
        for what, total, connections in (
            ("a full queue", arguments.requests, 512),
            ("a crowd", arguments.crowd, arguments.crowd),
        ):
            load = in_own_process(server.url, requests, total, connections)
            ended = time.perf_counter()
            while in_own_process(server.url, requests, 8, 1).statuses != {200: 8}:
                pass
            recovered = time.perf_counter() - ended
            print(
                f"{what}: {connections} connections at a time, answers by status {json.dumps(load.statuses)}, "
                f"{load.seconds:.1f} s; eight requests after it were answered within {recovered:.2f} s "
                f"(with the start of the client); peak memory {server.peak()} MiB"
            )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--images", type=int, default=1, help="of one request")
    parser.add_argument("--side", type=int, help="of an image, in pixels; default: the model's")
    parser.add_argument("--workers", type=int, default=1, help="processes of ours")
    parser.add_argument("--only", nargs="+", choices=["bare", "lanes", "ours", "litserve"])
    parser.add_argument("--overload", action="store_true")
    parser.add_argument("--crowd", type=int, default=10_000, help="connections at a time, with --overload")
    arguments = parser.parse_args()
    if arguments.overload:
        overload(arguments)
    else:
        compare(arguments)


if __name__ == "__main__":
    main()

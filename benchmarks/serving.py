"""The server under load: many clients for minutes, beside one client.

Starts `mner serve RUN --no-page` (or uses the server at --url), has one client ask for one post after
another, then many at once, each over a connection of its own, and reports posts a second, latencies, errors,
and the server's memory and processor time. The load generator shares the machine, and so may others: posts
a second of processor time say what the server costs whatever else runs.

    python benchmarks/serving.py --model RUN [--data FOLDER] [--clients 32] [--seconds 120] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

MEBIBYTE = 2**20
# Posts of the length of tweets, where no data is at hand.
TEXTS = [
    f"{first} {second} at the {third} tonight, who is coming? {tag}"
    for first in ("Ada Lindqvist", "RT @ivo: Tove Adeyemi", "can't believe that Brel", "Kestrel Books")
    for second in (
        "wins in Port Ellery",
        "opens its doors in Nordvik",
        "is live from Toronto",
        "left for Rome",
    )
    for third in ("Old Harbour", "Apollo Theatre", "FC Brel match", "museum")
    for tag in ("#music", "http://t.co/abc123", "🎉🎉", "so cold here today and I forgot my coat")
]


@dataclass
class Measured:
    """What clients saw."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    processor: float = 0.0

    def summary(self) -> dict[str, float | int | list[str]]:
        """The figures."""
        ordered = sorted(self.latencies)
        if not ordered:
            return {"posts": 0, "errors": len(self.errors), "first errors": self.errors[:3]}

        def quantile(share: float) -> float:
            return round(1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

        return {
            "posts": len(ordered),
            "errors": len(self.errors),
            "first errors": self.errors[:3],
            "posts a second": round(len(ordered) / self.seconds, 1),
            "posts a second of the server's processor time": round(
                len(ordered) / max(self.processor, 1e-9), 1
            ),
            "processors the server used": round(self.processor / self.seconds, 2),
            "median ms": quantile(0.5),
            "p99 ms": quantile(0.99),
            "longest ms": round(1e3 * ordered[-1], 1),
            "memory MiB, first and last quarter": [
                round(statistics.mean(part) / MEBIBYTE) for part in _quarters(self.memory)
            ],
        }


def _quarters(values: list[float]) -> tuple[list[float], list[float]]:
    size = max(1, len(values) // 4)
    return values[:size] or [0.0], values[-size:] or [0.0]


async def client(host: str, port: int, texts: list[str], until: float, measured: Measured) -> None:
    """Ask for one post after another over one connection."""
    reader, writer = await asyncio.open_connection(host, port)
    number = 0
    try:
        while time.perf_counter() < until:
            body = json.dumps({"text": texts[number % len(texts)]}).encode()
            number += 1
            began = time.perf_counter()
            writer.write(
                b"POST /v1/recognize HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            answer = await reader.readexactly(length)
            if head.split(b" ", 2)[1] == b"200" and b'"entities"' in answer:
                measured.latencies.append(time.perf_counter() - began)
            else:
                measured.errors.append(answer[:200].decode(errors="replace"))
    except (OSError, asyncio.IncompleteReadError) as error:
        measured.errors.append(f"{type(error).__name__}: {error}")
    finally:
        writer.close()


def metric(url: str, name: str) -> float:
    """A figure of the server's own."""
    with urlopen(f"{url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return float("nan")


async def watch(url: str, until: float, measured: Measured) -> None:
    """Note the server's memory."""
    while time.perf_counter() < until:
        measured.memory.append(await asyncio.to_thread(metric, url, "process_resident_memory_bytes"))
        await asyncio.sleep(1.0)


def load(url: str, texts: list[str], clients: int, seconds: float) -> Measured:
    """What so many clients see in so many seconds."""
    host, port = url.removeprefix("http://").split(":")
    measured = Measured(seconds)

    async def run() -> None:
        until = time.perf_counter() + seconds
        shares = [texts[number::clients] or texts for number in range(clients)]
        await asyncio.gather(
            watch(url, until, measured),
            *(client(host, int(port), share, until, measured) for share in shares),
        )

    before, began = metric(url, "process_cpu_seconds_total"), time.perf_counter()
    asyncio.run(run())
    measured.seconds = time.perf_counter() - began
    measured.processor = metric(url, "process_cpu_seconds_total") - before
    return measured


def started(arguments: argparse.Namespace) -> tuple[subprocess.Popen[bytes], str]:
    """A server of its own, and its address."""
    command = [sys.executable, "-m", "mner", "serve", str(arguments.model), "--no-page", "--port", "0"]
    command += ["--device", "cpu", "--dtype", arguments.dtype, "--threads", str(arguments.threads)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        document = json.loads(line)
        if document["event"] == "serving":
            # Its log is of no interest, but must not fill the pipe.
            subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
            return process, document["url"]
    raise SystemExit("The server did not start.")


def texts_of(folder: Path | None) -> list[str]:
    """The posts that are sent."""
    if folder is None:
        return TEXTS
    from mner.data import read_folder

    return [post.text for post in read_folder(folder).split("test")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="default", help="a run folder")
    parser.add_argument("--url", help="a server that runs already, such as http://127.0.0.1:8000")
    parser.add_argument("--data", type=Path, help="a data folder whose test posts are sent")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--alone", type=float, default=15.0, help="seconds of the one client")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    texts = texts_of(arguments.data)
    process, url = (None, arguments.url) if arguments.url else started(arguments)
    try:
        load(url, texts, 4, 3.0)
        results = {
            "load average": [round(value, 1) for value in os.getloadavg()],
            "one client": load(url, texts, 1, arguments.alone).summary(),
            f"{arguments.clients} clients": load(url, texts, arguments.clients, arguments.seconds).summary(),
        }
    finally:
        if process is not None:
            process.terminate()
            process.wait(60)
    if arguments.json:
        print(json.dumps(results, ensure_ascii=False))
        return
    for name, figures in results.items():
        print(f"{name}: {figures if isinstance(figures, list) else ''}")
        if isinstance(figures, dict):
            for label, value in figures.items():
                print(f"    {label:48} {value}")


if __name__ == "__main__":
    main()

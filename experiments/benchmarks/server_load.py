"""How `isic_tf.serve` holds up: 200 requests by 8 clients at once, then 2,000 more, whose memory should not grow.

python experiments/benchmarks/server_load.py RUN

Each request holds one real photograph; its scores are compared with those of the photograph alone.
"""

import concurrent.futures
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence

from common import ROOT, find_real

CLIENTS = 8
REQUESTS = 200
MANY = 2000
PHOTOGRAPHS = 24
# Results of one image in passes of other sizes differ by rounding.
TOLERANCE = 1e-5
MOST_GROWTH = 0.05
BOUNDARY = "----isic"


def start(run: str) -> tuple["subprocess.Popen[str]", str]:
    """Starts a server of a run; returns the process and the address."""
    command = [sys.executable, "-u", "-m", "isic_tf.serve", f"--workdir={run}", "--port=0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout  # noqa: S101
    for line in process.stdout:
        if found := re.search(r"serving at (\S+)", line):
            return process, found[1]
    sys.exit("the server did not start")


def judge(address: str, photograph: bytes) -> tuple[list[float], float]:
    """Returns the scores of a photograph by each fold, and the seconds that the answer took."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.jpg"\r\n\r\n'
    body = head.encode() + photograph + f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    started = time.perf_counter()
    with urllib.request.urlopen(urllib.request.Request(f"{address}/judge", body, headers), timeout=300) as answer:  # noqa: S310
        content = json.load(answer)
    return content["images"][0]["fold_scores"], time.perf_counter() - started


def read_metric(address: str, name: str) -> float:
    with urllib.request.urlopen(f"{address}/metrics", timeout=60) as answer:  # noqa: S310
        return float(re.findall(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)[0])


def ask_all(address: str, photographs: Sequence[bytes], alone: Sequence[list[float]], count: int) -> list[float]:
    """Sends requests by several clients at once; returns their seconds, and fails where one is lost or mixed up."""

    def ask(number: int) -> float:
        place = number * 7 % len(photographs)
        scores, seconds = judge(address, photographs[place])
        if max(abs(one - other) for one, other in zip(scores, alone[place], strict=True)) > TOLERANCE:
            sys.exit(f"request {number} has the scores of another photograph")
        return seconds

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(ask, range(count)))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(f"expected the directory of a run with trained folds: python {sys.argv[0]} RUN")
    photographs = [path.read_bytes() for path in find_real("isic2020/jpeg512/**/*.jpg")[:PHOTOGRAPHS]]
    process, address = start(sys.argv[1])
    try:
        alone, seconds = zip(*(judge(address, photograph) for photograph in photographs), strict=True)
        print(f"one client: median {statistics.median(seconds):.3f} s")
        passes = read_metric(address, "isic_passes_total")
        started = time.perf_counter()
        times = sorted(ask_all(address, photographs, alone, REQUESTS))
        total = time.perf_counter() - started
        passes = read_metric(address, "isic_passes_total") - passes
        print(
            f"{CLIENTS} clients, {REQUESTS} requests: none lost or mixed up, median {statistics.median(times):.2f} s, "
            f"p95 {times[int(0.95 * REQUESTS)]:.2f} s, {REQUESTS / total:.1f} a second, {REQUESTS / passes:.1f} images "
            "a pass"
        )
        memory = [read_metric(address, "process_resident_memory_bytes")]
        for _ in range(10):
            ask_all(address, photographs, alone, MANY // 10)
            memory.append(read_metric(address, "process_resident_memory_bytes"))
        growth = memory[-1] / memory[1] - 1
        texts = " ".join(f"{value / 2**20:.0f}" for value in memory)
        print(
            f"{MANY} more requests, MB before and after each {MANY // 10}: {texts}; growth {growth:+.1%} since "
            "the second"
        )
        if growth > MOST_GROWTH:
            sys.exit(f"expected a growth of at most {MOST_GROWTH:.0%}")
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()

"""The command in processes of its own: start, load, a killed worker, the ends."""

import concurrent.futures
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import cv2
import image_bytes
import numpy as np
import psutil
import pytest
from harness import wait_until

# As the tests find modules, in the same order.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
# Takes long enough to be interrupted while it is decoded.
LARGE = cv2.imencode(".png", np.random.default_rng(0).integers(0, 256, (3000, 4000, 3)).astype(np.uint8))[1].tobytes()


class Server:
    """A running server."""

    def __init__(self, run, log, *flags):
        command = [sys.executable, "-m", "isic_tf.serve", f"--workdir={run}", "--port=0", *flags]
        self.log = log
        with open(log, "w") as file:
            self.process = subprocess.Popen(command, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT)

    def wait(self):
        wait_until(lambda: self.process.poll() is not None or "serving at " in self.log.read_text())

    @property
    def address(self):
        return re.findall(r"serving at (http://\S+)", self.log.read_text())[-1]

    @property
    def worker(self):
        (found,) = [one for one in psutil.Process(self.process.pid).children() if "worker" in " ".join(one.cmdline())]
        return found

    def ask(self, path, body=None, headers=()):
        request = urllib.request.Request(self.address + path, body, dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def judge(self, image, headers=()):
        body = (
            b'--b\r\nContent-Disposition: form-data; name="images"; filename="Erika.png"\r\n\r\n'
            + image
            + b"\r\n--b--\r\n"
        )
        kind = {"content-type": "multipart/form-data; boundary=b"}
        status, answer = self.ask("/judge", body, {**kind, **dict(headers)})
        return status, json.loads(answer)


@pytest.fixture
def start(run, tmp_path):
    servers = []

    def start_server(*flags):
        servers.append(Server(run, tmp_path / f"log{len(servers)}.txt", *flags))
        servers[-1].wait()
        return servers[-1]

    yield start_server
    for server in servers:
        server.process.kill()
        server.process.wait()


def test_a_killed_worker_is_replaced_and_ctrl_c_finishes_what_is_running(start):
    server = start()
    image = image_bytes.png()
    status, before = server.judge(image)
    assert status == 200
    killed = server.worker
    killed.kill()
    # A request that comes meanwhile waits for the next worker.
    assert server.judge(image) == (200, before)
    assert server.worker.pid != killed.pid
    worker = server.worker
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.judge, LARGE)
        wait_until(lambda: worker.cpu_percent(0.05) > 30)
        server.process.send_signal(signal.SIGINT)
        assert running.result()[0] == 200
    assert server.process.wait(60) == 0
    assert not worker.is_running()
    log = server.log.read_text()
    assert "killed by signal 9; another one is started" in log
    assert "stopping; requests that are being answered are finished" in log
    assert "Erika" not in log
    assert "Traceback" not in log


def test_a_hanging_worker_is_replaced(start, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    flags = (tmp_path / "run" / "flags.txt").read_text()
    (tmp_path / "run" / "flags.txt").write_text(flags.replace(":build_trunk", ":build_hanging_trunk"))
    server = start("--max_seconds=3", f"--workdir={tmp_path / 'run'}")
    status, before = server.judge(image_bytes.png())
    assert status == 200
    hanging = server.worker
    status, answer = server.judge(image_bytes.png(np.full((48, 64, 3), 255, np.uint8)))
    assert status == 504
    assert answer["detail"].startswith("judging took longer than 3 s (--max_seconds), so the worker is restarted")
    wait_until(lambda: not hanging.is_running() or hanging.status() == psutil.STATUS_ZOMBIE)
    assert server.judge(image_bytes.png()) == (200, before)
    log = server.log.read_text()
    assert "the networks took more than 3 s (--max_seconds), so the worker is ended" in log
    assert "note: the worker hung; another one is started" in log
    assert "Traceback" not in log


def test_a_worker_ends_with_its_parent_and_other_addresses_need_a_token(start):
    server = start("--host=0.0.0.0")
    token = re.search(r"token, printed only here: (\S+)", server.log.read_text())[1]
    address = server.address.replace("0.0.0.0", "127.0.0.1")
    assert address.startswith("http://127.0.0.1:")
    assert server.ask("/health")[0] == 200
    assert server.ask("/run")[0] == server.judge(image_bytes.png())[0] == 401
    assert server.judge(image_bytes.png(), {"authorization": f"Bearer {token}"})[0] == 200
    assert server.log.read_text().count(token) == 1
    assert token not in " ".join(server.worker.cmdline() + server.process.args)
    worker = server.worker
    server.process.kill()
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_a_run_that_cannot_be_loaded_ends_the_command_with_one_line(start, run):
    weights = next((run / "fold1").glob("*.h5"))
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:1000])
        server = start()
        assert server.process.wait(60) == 1
    finally:
        weights.write_bytes(content)
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("ERROR")]
    assert len(lines) == 1
    assert "Traceback" not in server.log.read_text()

import os
import signal
import socket
import subprocess
import sys
import threading

import psutil
import pytest
from harness import wait_until

from isic_tf.server import serving
from isic_tf.server.config import HANGING, ServeConfig
from tfrecord_tools import errors


def python(code):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


def test_this_machine_alone_needs_no_token_and_others_get_one(monkeypatch, capsys):
    monkeypatch.delenv("ISIC_TOKEN", raising=False)
    assert serving._choose_token(ServeConfig(workdir="run")) == ""
    assert capsys.readouterr().out == ""
    tokens = [serving._choose_token(ServeConfig(workdir="run", host="0.0.0.0")) for _ in range(2)]
    assert tokens[0] != tokens[1]
    assert min(map(len, tokens)) >= 32
    printed = capsys.readouterr().out
    assert all(printed.count(token) == 1 for token in tokens)


def test_a_token_of_the_environment_is_used_everywhere_and_not_printed(monkeypatch, capsys):
    monkeypatch.setenv("ISIC_TOKEN", "sixteen-letters!")
    for host in ("127.0.0.1", "0.0.0.0"):
        assert serving._choose_token(ServeConfig(workdir="run", host=host)) == "sixteen-letters!"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("token", ["short", "with spaces in between", "größer-als-sechzehn"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token, monkeypatch):
    monkeypatch.setenv("ISIC_TOKEN", token)
    with pytest.raises(errors.ConfigError, match="expected at least 16 ASCII characters without spaces as ISIC_TOKEN"):
        serving._choose_token(ServeConfig(workdir="run"))


def test_an_address_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(errors.ConfigError, match=f"cannot listen at 127.0.0.1 port {port} .Address already in use"):
            serving._listen(ServeConfig(workdir="run", port=port))
    with pytest.raises(errors.ConfigError, match="cannot listen at nowhere.invalid port 8000"):
        serving._listen(ServeConfig(workdir="run", host="nowhere.invalid"))
    with pytest.raises(errors.ConfigError, match="cannot listen at .example port 8000"):
        serving._listen(ServeConfig(workdir="run", host=".example"))


def test_a_killed_process_is_started_again_and_the_end_of_one_is_the_end(capsys):
    # By SIGTERM from elsewhere, the worker ends itself, with this code.
    codes = iter(["import os; os.kill(os.getpid(), 9)", "import os; os.kill(os.getpid(), 6)", "exit(143)", "exit(3)"])
    with pytest.raises(SystemExit) as caught:
        serving.supervise(lambda: python(next(codes)))
    assert caught.value.code == 3
    printed = capsys.readouterr().out
    assert "killed by signal 9; another one is started" in printed
    assert "killed by signal 6" in printed
    assert "killed by signal 15" in printed


def test_a_process_that_hangs_is_started_again_however_often(capsys):
    codes = iter([f"exit({HANGING})"] * 7 + ["exit(0)"])
    with pytest.raises(SystemExit) as caught:
        serving.supervise(lambda: python(next(codes)))
    assert caught.value.code == 0
    assert capsys.readouterr().out.count("the worker hung; another one is started") == 7


def test_a_process_that_is_killed_again_and_again_is_given_up():
    started = []

    def start():
        started.append(1)
        return python("import os; os.kill(os.getpid(), 9)")

    with pytest.raises(errors.IsicError, match="6 were killed within 120 s, the last by signal 9; check the memory"):
        serving.supervise(start)
    assert len(started) == 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_process_gently_and_is_not_an_error(number, tmp_path):
    ready = tmp_path / "ready"
    # One that finishes its work first.
    code = f"""
import pathlib, signal, sys, time
def finish(*_):
    time.sleep(0.3)
    pathlib.Path({str(tmp_path / "finished")!r}).touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
pathlib.Path({str(ready)!r}).touch()
while True:
    time.sleep(1)
"""

    def interrupt():
        wait_until(ready.exists)
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    thread = threading.Thread(target=interrupt)
    thread.start()
    serving.supervise(lambda: python(code))
    thread.join()
    assert (tmp_path / "finished").exists()
    assert signal.getsignal(number) == before
    assert not [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "finished" in " ".join(one.cmdline())
    ]

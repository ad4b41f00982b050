import os
import signal
import threading

import pytest

from isic_tf.distribution import preemption


def test_a_request_to_end_while_nothing_is_trained_exits_with_0():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, preemption.exiting_cleanly():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 0
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_function_that_is_decorated_exits_with_0_each_time(capsys):
    @preemption.exiting_cleanly()
    def work():
        os.kill(os.getpid(), signal.SIGTERM)

    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            work()
        assert ended.value.code == 0
    assert capsys.readouterr().out.count("asked to stop; run the same command to resume") == 2


def test_a_handler_is_called_inside_of_the_block_alone():
    before = signal.getsignal(signal.SIGTERM)
    calls = []
    with preemption.on_termination(lambda number, frame: calls.append(number)):
        os.kill(os.getpid(), signal.SIGTERM)
    assert calls == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_leaves_the_handler_as_it_is():
    before, found = signal.getsignal(signal.SIGTERM), []

    def work():
        with preemption.on_termination(lambda *_: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]

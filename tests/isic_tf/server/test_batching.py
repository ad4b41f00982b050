import threading

import numpy as np
import pytest

from isic_tf.diagnosis.network_results import NetworkResults
from isic_tf.server import batching


class Networks:
    """Stands in for a run: the score of an image is its first pixel; works when it is allowed to."""

    def __init__(self):
        self.allowed, self.started, self.passes = threading.Semaphore(0), threading.Semaphore(0), []

    def compute(self, images, known, patients):
        self.started.release()
        assert self.allowed.acquire(timeout=30)
        self.passes.append(patients)
        self.known = known
        if (images == 255).any():
            raise RuntimeError("broken")
        scores = images[:, 0, 0, :1].astype(np.float64)
        return NetworkResults(scores, scores, scores[:, None], scores[:, 0], images[..., 0])


def picture(*values):
    return np.stack([np.full((2, 2, 3), value, np.uint8) for value in values])


@pytest.fixture
def networks():
    return Networks()


@pytest.fixture
def batcher(networks):
    batcher = batching.Batcher(networks.compute)
    yield batcher
    networks.allowed.release(100)
    batcher.close()
    assert not batcher.is_alive


def test_requests_that_wait_are_one_pass_and_get_their_own_results(batcher, networks):
    first = batcher.submit(picture(1))
    assert networks.started.acquire(timeout=30)
    others = [batcher.submit(picture(2, 3)), batcher.submit(picture(4))]
    networks.allowed.release(2)
    assert first.result(30).scores.tolist() == [[1]]
    assert [one.result(30).scores.tolist() for one in others] == [[[2], [3]], [[4]]]
    assert others[0].result().maps.shape == (2, 2, 2)
    # Each request is a patient of its own.
    assert networks.passes == [["request 0"], ["request 0", "request 0", "request 1"]]
    assert batcher.passes == 2


def test_a_pass_has_no_more_images_than_fit_and_the_order_is_kept(batcher, networks):
    first = batcher.submit(picture(1))
    assert networks.started.acquire(timeout=30)
    others = [batcher.submit(picture(*[2] * 10)), batcher.submit(picture(*[3] * 10)), batcher.submit(picture(4))]
    networks.allowed.release(3)
    assert [len(one.result(30).scores) for one in (first, *others)] == [1, 10, 10, 1]
    assert [len(patients) for patients in networks.passes] == [1, 10, 11]
    # One request alone may be larger.
    networks.allowed.release(1)
    assert len(batcher.submit(picture(*[5] * 40)).result(30).scores) == 40


def test_a_failure_is_that_of_its_requests_and_the_next_are_judged(batcher, networks):
    networks.allowed.release(2)
    with pytest.raises(RuntimeError, match="broken"):
        batcher.submit(picture(255)).result(30)
    assert batcher.submit(picture(7)).result(30).scores.tolist() == [[7]]
    assert batcher.passes == 1


def test_a_request_that_is_given_up_is_left_out(batcher, networks):
    first = batcher.submit(picture(1))
    assert networks.started.acquire(timeout=30)
    given_up, last = batcher.submit(picture(2)), batcher.submit(picture(3))
    assert given_up.cancel()
    networks.allowed.release(2)
    assert (first.result(30).scores.item(), last.result(30).scores.item()) == (1, 3)
    assert networks.passes[1:] == [["request 0"]]


def test_what_is_queued_is_finished_before_the_end(networks):
    batcher = batching.Batcher(networks.compute)
    waiting = [batcher.submit(picture(value)) for value in range(5)]
    networks.allowed.release(5)
    batcher.close()
    assert [one.result(0).scores.item() for one in waiting] == [0, 1, 2, 3, 4]
    assert not batcher.is_alive


def test_metadata_are_joined_as_the_images_are(batcher, networks):
    first = batcher.submit(picture(1), np.array([[1.0]]))
    assert networks.started.acquire(timeout=30)
    others = [batcher.submit(picture(2, 3), np.array([[2.0], [3.0]])), batcher.submit(picture(4), np.array([[4.0]]))]
    networks.allowed.release(2)
    assert [len(one.result(30).scores) for one in (first, *others)] == [1, 2, 1]
    assert networks.known.tolist() == [[2], [3], [4]]


def test_the_time_of_a_pass_is_known_and_all_that_wait_for_it_can_be_told_of_an_error(batcher, networks):
    assert batcher.seconds == 0
    waiting = [batcher.submit(picture(1))]
    assert networks.started.acquire(timeout=30)
    waiting += [batcher.submit(picture(2)), batcher.submit(picture(3))]
    before = batcher.seconds
    assert 0 < before < batcher.seconds
    waiting[1].cancel()
    batcher.abandon(TimeoutError("too long"))
    for result in (waiting[0], waiting[2]):
        with pytest.raises(TimeoutError, match="too long"):
            result.result(30)
    assert waiting[1].cancelled()
    # Where the pass ends after all, the next requests are judged.
    networks.allowed.release(2)
    assert batcher.submit(picture(4)).result(30).scores.tolist() == [[4]]

import numpy as np
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.data import mixture
from isic_tf.training import profiler, tensorboard


def read_events(folder):
    """Gives all values of the events files of a folder, by tag and step."""
    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found |= {(value.tag, event.step): value for value in event.summary.value}
    return found


def test_figures_are_written_by_epoch(tmp_path):
    with tensorboard.writing(str(tmp_path)) as write:
        row = {"epoch": 3, "loss": 0.5, "gradient_norm": 2.0, "auc": 0.75, "partial_auc": 0.1, "learning_rate": 1e-3}
        write(row, 100.0, 0.25)
    found = {tag: float(tf.make_ndarray(value.tensor)) for (tag, step), value in read_events(tmp_path).items()}
    assert found == {
        "train/loss": 0.5,
        "train/gradient_norm": 2.0,
        "train/learning_rate": pytest.approx(1e-3),
        "held_out/auc": 0.75,
        "held_out/partial_auc_above_80_sensitivity": pytest.approx(0.1),
        "speed/images_per_second": 100.0,
        "speed/share_of_time_waiting_for_input": 0.25,
    }
    assert {step for _, step in read_events(tmp_path)} == {3}


def test_nothing_is_written_where_there_is_no_folder():
    with tensorboard.writing(None) as write:
        write({"epoch": 1}, 1.0, 0.0)


def test_a_sample_batch_is_written_as_the_first_epoch_augments_it(tmp_path, record_set):
    rows = mixture.read_sets(str(record_set))
    tensorboard.write_samples(str(tmp_path), rows, make_config(**{"augment_policy": "winner"}))
    ((tag, step), value), *_ = read_events(tmp_path).items()
    width, height, *pictures = tf.make_ndarray(value.tensor)
    assert (tag, step, width, height) == ("sample_batch", 0, b"32", b"32")
    assert len(pictures) == 8
    decoded = np.stack([tf.io.decode_png(picture).numpy() for picture in pictures])
    assert decoded.std() > 5
    assert value.metadata.summary_description.startswith("malignant: ")


def test_the_steps_of_a_profile():
    assert profiler.parse_profile("10:20") == (10, 20)
    assert profiler.parse_profile("") is None


@pytest.mark.parametrize("text", ["10", "20:10", "0:5", "a:b", "5:5"])
def test_profiles_of_no_steps_are_refused(text):
    with pytest.raises(ValueError, match=f"expected --profile=FIRST:LAST, steps from 1, as in 10:20, got '{text}'"):
        profiler.parse_profile(text)


def test_a_profile_begins_before_its_first_step_and_ends_after_its_last(tmp_path, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr(tensorboard.tf.profiler.experimental, "start", lambda folder: calls.append(("start", now)))
    monkeypatch.setattr(tensorboard.tf.profiler.experimental, "stop", lambda: calls.append(("stop", now)))
    now = 0
    with profiler.profiling(str(tmp_path), (1, 4)) as pause:
        for now in range(1, 7):
            pause(now - 1, now)
    # The first step is profiled too, so it begins before any is done.
    assert calls == [("start", 0), ("stop", 4)]
    assert "profile of steps 1 to 4 written to" in capsys.readouterr().out


def test_a_profile_takes_the_steps_that_this_process_does(tmp_path, capsys):
    with profiler.profiling(str(tmp_path), (2, 4), done=2) as pause:
        pause(2, 10)
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))
    assert "profile of steps 3 to 10 written to" in capsys.readouterr().out
    with profiler.profiling(str(tmp_path), (2, 4), done=6) as pause:
        pause(6, 7)
    assert "no profile: steps 2 to 4 are not among those from 7 to 7" in capsys.readouterr().out


def test_a_profile_that_is_cut_off_is_ended(tmp_path):
    with pytest.raises(KeyboardInterrupt), profiler.profiling(str(tmp_path), (1, 9)) as pause:
        pause(0, 1)
        raise KeyboardInterrupt
    # Another could not begin otherwise.
    with profiler.profiling(str(tmp_path / "again"), (1, 2)) as pause:
        pause(0, 1)
        pause(1, 2)
    assert list((tmp_path / "again").glob("plugins/profile/*/*.xplane.pb"))

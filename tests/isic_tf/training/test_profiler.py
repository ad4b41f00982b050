import pytest
import tensorflow as tf

from isic_tf.training import profiler


def test_a_profile_begins_before_its_first_step_and_ends_after_its_last(tmp_path, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr(tf.profiler.experimental, "start", lambda folder: calls.append(("start", now)))
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: calls.append(("stop", now)))
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
    assert "no profile was written: steps 2 to 4 are not among the trained steps 7 to 7" in capsys.readouterr().out


def test_a_profile_that_is_cut_off_is_ended(tmp_path):
    with pytest.raises(KeyboardInterrupt), profiler.profiling(str(tmp_path), (1, 9)) as pause:
        pause(0, 1)
        raise KeyboardInterrupt
    # Another could not begin otherwise.
    with profiler.profiling(str(tmp_path / "again"), (1, 2)) as pause:
        pause(0, 1)
        pause(1, 2)
    assert list((tmp_path / "again").glob("plugins/profile/*/*.xplane.pb"))

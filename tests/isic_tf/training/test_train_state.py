import signal

import numpy as np
import tensorflow as tf
from harness import make_config, train_apart, write_brightness_policy

from isic_tf.artifacts import run_directory
from isic_tf.training import checkpointing, train_state


def start(record_set, workdir, stop=0, number=0):
    # All that has a state of its own, and all that depends on the place in the data.
    state = {"ema": 0.9, "freeze_epochs": 1, "gradient_accumulation_steps": 2, "cache": "memory"}
    state["augment_policy"] = str(write_brightness_policy(workdir.parent))
    process = train_apart(record_set, workdir, stop, number, deterministic=True, save_steps=2, **state)
    output, errors = process.communicate()
    return process.returncode, output, errors


def test_a_run_stopped_at_three_steps_ends_in_the_bits_of_one_that_was_not(record_set, tmp_path):
    uninterrupted, stopped = tmp_path / "uninterrupted", tmp_path / "stopped"
    code, _, errors = start(record_set, uninterrupted)
    assert code == 0, errors
    steps = np.random.default_rng().integers(1, 4, 3)
    print("stopped after", steps)
    # A checkpoint is written every other step: a kill may lose one step, a request to end loses none.
    for stop, number in zip(steps, (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), strict=True):
        code, output, errors = start(record_set, stopped, stop, number)
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 0, errors
            assert "asked to stop: saved" in output
    code, output, errors = start(record_set, stopped)
    assert code == 0, errors
    assert ", resuming after step " in output
    for name in ("history.csv", "oof.csv", "best.weights.h5", "metrics.json"):
        assert (stopped / "fold0" / name).read_bytes() == (uninterrupted / "fold0" / name).read_bytes(), name
    final = [
        tf.train.load_checkpoint(run_directory.find_checkpoints(str(run / "fold0" / "checkpoints"))[0])
        for run in (uninterrupted, stopped)
    ]
    for name in final[0].get_variable_to_shape_map():
        if not name.startswith(("save_counter", "_CHECKPOINTABLE")):
            assert np.array_equal(*(reader.get_tensor(name) for reader in final)), name


def test_all_dropout_of_a_backbone_resumes_from_a_checkpoint(tmp_path):
    tf.keras.utils.set_random_seed(0)
    state = train_state.make_state(tf.distribute.get_strategy(), make_config(), 3)
    # Ten layers: that of the head and one of each block that adds its input.
    assert len(state.dropout) == 10
    forward = tf.function(lambda: state.model(tf.ones([4, 32, 32, 3]), training=True))
    state.save(str(tmp_path / "ckpt"))
    first, second = forward().numpy(), forward().numpy()
    checkpointing.restore(state, run_directory.find_checkpoints(str(tmp_path)))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, forward().numpy())

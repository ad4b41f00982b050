"""Training on two worker processes of this machine."""

import concurrent.futures
import json
import signal

import numpy as np
import pandas as pd
import pytest
from harness import free_ports, train_apart, write_brightness_policy


def train_on_two(record_set, workdir, stop=0, number=signal.SIGKILL):
    """Trains on two worker processes; the second sends itself a signal after `stop` steps.

    Returns their exit codes and outputs.
    """
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {"TF_CONFIG": json.dumps(task)}
        own = stop if index == 1 else 0
        options = {"strategy": "multiworker", "save_steps": 2}
        options["augment_policy"] = str(write_brightness_policy(workdir.parent))
        processes.append(train_apart(record_set, workdir, own, number, environment, **options))
    try:
        # In threads: a worker whose pipe is full would block the other.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            outputs = list(pool.map(lambda process: process.communicate(timeout=240), processes))
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def history(workdir):
    return pd.read_csv(workdir / "fold0" / "history.csv")


def test_two_workers_killed_and_restarted_take_the_same_steps_as_two_uninterrupted_ones(record_set, tmp_path):
    codes, outputs = train_on_two(record_set, tmp_path / "whole")
    assert codes == [0, 0], outputs
    # When one is asked to stop, both save a checkpoint.
    codes, outputs = train_on_two(record_set, tmp_path / "stopped", stop=1, number=signal.SIGTERM)
    assert codes == [0, 0], outputs
    assert all("asked to stop: saved " in output for output, _ in outputs)
    codes, outputs = train_on_two(record_set, tmp_path / "stopped", stop=4)
    assert codes == [1, -signal.SIGKILL], outputs
    assert "IsicError: another worker failed; rerun the same command on every worker" in outputs[0][1]
    codes, outputs = train_on_two(record_set, tmp_path / "stopped")
    assert codes == [0, 0], outputs
    assert ", resuming after step 4" in outputs[0][0]
    whole = history(tmp_path / "whole")
    stopped = history(tmp_path / "stopped")
    assert whole.shape == stopped.shape
    columns = ["loss", "auc", "learning_rate"]
    assert np.allclose(whole[columns], stopped[columns], atol=1e-5)
    figures = json.loads((tmp_path / "stopped" / "fold0" / "metrics.json").read_text())
    assert figures["auc"] == pytest.approx(stopped["auc"].max(), abs=1e-5)

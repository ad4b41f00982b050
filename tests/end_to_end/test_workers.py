import concurrent.futures
import json
import signal

import numpy as np
import pandas as pd
import pytest
from harness import free_ports, train_apart


def train_on_two(record_set, workdir, stop=0, number=signal.SIGKILL):
    """Trains on two worker processes; the second sends itself a signal after `stop` steps.

    Gives their codes and outputs.
    """
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for place in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": place}}
        environment = {"TF_CONFIG": json.dumps(task)}
        own = stop if place == 1 else 0
        options = {"strategy": "multiworker", "save_steps": 2}
        processes.append(train_apart(record_set, workdir, own, number, environment, **options))
    try:
        # In threads, since a worker whose pipe is full would stop the other.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            outputs = list(pool.map(lambda process: process.communicate(timeout=240), processes))
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def history(workdir):
    return pd.read_csv(workdir / "fold0" / "history.csv")


def test_two_workers_one_killed_and_restarted_end_with_the_steps_of_two_that_were_not(record_set, tmp_path):
    codes, outputs = train_on_two(record_set, tmp_path / "whole")
    assert codes == [0, 0], outputs
    # Asked to stop, both save.
    codes, outputs = train_on_two(record_set, tmp_path / "stopped", stop=1, number=signal.SIGTERM)
    assert codes == [0, 0], outputs
    assert all("asked to stop: saved " in output for output, _ in outputs)
    codes, outputs = train_on_two(record_set, tmp_path / "stopped", stop=4)
    assert codes == [1, -signal.SIGKILL], outputs
    assert "ValueError: another worker is gone; start all workers with the same command again" in outputs[0][1]
    codes, outputs = train_on_two(record_set, tmp_path / "stopped")
    assert codes == [0, 0], outputs
    assert ", going on after step 4" in outputs[0][0]
    whole, stopped = history(tmp_path / "whole"), history(tmp_path / "stopped")
    assert whole.shape == stopped.shape
    columns = ["loss", "auc", "learning_rate"]
    assert np.allclose(whole[columns], stopped[columns], atol=1e-5)
    figures = json.loads((tmp_path / "stopped" / "fold0" / "metrics.json").read_text())
    assert figures["auc"] == pytest.approx(stopped["auc"].max(), abs=1e-5)

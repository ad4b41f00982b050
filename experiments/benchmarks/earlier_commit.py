"""Work against an earlier commit, in turns: CPU time, peak memory, and whether the figures are the same.

`evaluate` on a million images, `context --method=boost` on a competitor's predictions, `duplicates` on views of real
images (without reading them), and the first step of a fold, frozen and thawed, after that of another fold. CPU time,
since other work on the machine lengthens the wall time at random.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import common
import evaluate_million

# The last commit before these commands were made faster.
OLD = "f62eb48"
REPEATS = 2
# Ratio of the CPU times that is hoped for.
AIMS = {"evaluate": 3, "context": 2.8, "duplicates": 2, "first_step": 1.67}
MATCHING = """
import sys
sys.path.insert(0, "experiments/benchmarks")
import common, duplicates, json, time
import numpy as np
views = []
for name in ("isic2020/jpeg512", "isic2017/train", "isic2017/val", "ham10000"):
    views += duplicates.read_images(common.REAL_DATA / name).views
started = time.process_time()
duplicates.time_matching(views, 33126, np.random.default_rng(0))
print("cpu", time.process_time() - started)
"""

FIRST_STEP = """
import time
import tensorflow as tf
from isic_tf.training import train_state, train_step
from isic_tf.training.config import TrainConfig
config = TrainConfig(
    data_dir="", workdir="", backbone="efficientnet-b0", weights="none", image_size=128, global_batch_size=8,
    freeze_epochs=1, warmup_epochs=0.0,
)
strategy = tf.distribute.get_strategy()
batch = (
    tf.zeros([8, 128, 128, 3], tf.uint8), tf.zeros([8, 1]),
    tf.random.stateless_uniform([8, 2], [1, 2], 0, 1000, tf.int64),
)
batches = iter(strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensors(batch).repeat()))
for fold in range(2):
    state = train_state.make_state(strategy, config, 10)
    started = time.process_time()
    for frozen in (True, False):
        train_step.make_train_step(strategy, state, config, frozen)(batches)
        assert int(state.step) == (1 if frozen else 2)
print("cpu", time.process_time() - started)
"""


def run(checkout: pathlib.Path, arguments: Sequence[str], output: pathlib.Path) -> tuple[float, float]:
    """Runs Python in a checkout; returns seconds of CPU time, those it prints itself where it does, and peak GB."""
    settings = {"PYTHONPATH": str(checkout), "TF_USE_LEGACY_KERAS": "1", "ISIC_REAL_DATA": str(common.REAL_DATA)}
    with output.open("w") as file:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *arguments],
            cwd=checkout,
            env={**os.environ, **settings},
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"a command failed in {checkout}")
    printed = [line.split()[1] for line in output.read_text().splitlines() if line.startswith("cpu ")]
    return float(printed[0]) if printed else usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6


def list_commands(directory: pathlib.Path, build: str) -> dict[str, list[str]]:
    """Lists the arguments of Python for each command, which writes its figures to a file of the build's."""
    real = common.REAL_DATA
    return {
        "evaluate": [
            "-m",
            "isic_tf.evaluate",
            f"--predictions={directory / 'predictions.csv'}",
            f"--labels={directory / 'labels.csv'}",
            f"--output={directory / f'evaluate_{build}.json'}",
        ],
        "context": [
            "-m",
            "isic_tf.context",
            f"--oof={real / 'predictions' / 'oof' / 'model_b.csv'}",
            f"--metadata={real / 'isic2020' / 'train.csv'}",
            f"--output={directory / 'context.csv'}",
            f"--model_dir={directory / build}",
        ],
        "duplicates": ["-c", MATCHING],
        "first_step": ["-c", FIRST_STEP],
    }


def main() -> None:
    chosen = sys.argv[1:] or list(AIMS)
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        old = directory / "checkout"
        old.mkdir()
        common.check_out(OLD, old, "the earlier commit")
        builds = {"old": old, "new": common.ROOT}
        commands = {build: list_commands(directory, build) for build in builds}
        if "evaluate" in chosen:
            evaluate_million.write_tables(directory)
        for command in chosen:
            found: dict[str, list[Any]] = {build: [] for build in builds}
            for _ in range(REPEATS):
                for build, checkout in builds.items():
                    found[build].append(run(checkout, commands[build][command], directory / f"{command}_{build}.txt"))
            ratio = statistics.median(
                before / after for (before, _), (after, _) in zip(found["old"], found["new"], strict=True)
            )
            texts = [
                f"{build} {min(cpu for cpu, _ in runs):.1f} s of CPU time, {max(peak for _, peak in runs):.2f} GB"
                for build, runs in found.items()
            ]
            print(f"{command}: {', '.join(texts)}; {ratio:.2f} times as fast (aim {AIMS[command]})", flush=True)
            if command == "evaluate":
                figures = [(directory / f"evaluate_{build}.json").read_bytes() for build in builds]
                print(f"  figures {'the same' if figures[0] == figures[1] else 'DIFFERENT'}")
            if command == "context":
                for build in builds:
                    nested = json.loads((directory / build / "context.json").read_text())["nested"]
                    print(f"  {build}: context less stage one {nested['context less stage one']}")


if __name__ == "__main__":
    main()

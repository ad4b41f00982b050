"""Training and input of this checkout against version 0.1, in turns on the same records, in two processes of one run.

Version 0.1 is taken from the history of this repository.
"""

import pathlib
import statistics
import subprocess
import sys
import tempfile

import common

# The last commit of version 0.1.
OLD = "61b8f2c"
REPEATS = 6
AIM = 0.98

# Each worker prepares its work, then does a unit of it for every line that it is given and prints the seconds.
_HEAD = """
import pathlib, sys, time
sys.path.insert(0, str(pathlib.Path(sys.argv[1]) / "experiments" / "benchmarks"))
import common
import numpy as np, pandas as pd, tensorflow as tf

rows = pd.read_csv(sys.argv[2])
BATCH = 32
options = {"weights": "none", "epochs": 2, "warmup_epochs": 0.0, "augment_policy": "light", "shuffle_buffer": 256}
strategy = tf.distribute.get_strategy()
steps = len(rows) // BATCH
"""
_TAIL = """
unit()
for line in sys.stdin:
    started = time.perf_counter()
    unit()
    print("seconds", time.perf_counter() - started, flush=True)
"""
_INPUT = """
iterator = iter(stream)

def unit():
    for _ in range(steps):
        next(iterator)
"""
WORK = {
    "input of records of 1024 px as batches of 256 px": {
        "old": """
from isic_tf import pipeline
options = {"image_size": 256, "batch_size": BATCH, "seed": 0, "shuffle_buffer": 256}
stream = pipeline.train_dataset(rows, threads=pipeline.count_cores(), **options)
"""
        + _INPUT,
        "new": """
from isic_tf.data import input_pipeline, record_stream
options = record_stream.StreamOptions(shuffle_buffer=256)
stream = input_pipeline.make_train_dataset(rows, image_size=256, batch_size=BATCH, seed=0, stream=options)
"""
        + _INPUT,
    },
    "an epoch of EfficientNet-B0 at 128 px": {
        "old": """
from isic_tf import checkpoints, epochs, mixture, optimize
recipe = common.make_recipe(image_size=128, **options)
plan = mixture.Plan(rows.assign(group=0), np.array([len(rows)]), rows, "")
state = checkpoints.make_state(strategy, recipe, steps)
step = optimize.make_train_step(strategy, state, recipe)
batches = epochs.make_batches(strategy, plan, None, recipe, start=0)

def unit():
    state.epoch.assign_add(1)
    state.step.assign(state.epoch * steps)
    epochs.run(step, state, batches, steps, "epoch")
""",
        "new": """
from isic_tf.data import mixture
from isic_tf.training import distributed_input, epochs, train_state, train_step
config = common.make_config(image_size=128, **options)
plan = mixture.Plan(rows.assign(group=0), np.array([len(rows)]), rows, "")
state = train_state.make_state(strategy, config, steps)
step = train_step.make_train_step(strategy, state, config)
batches = distributed_input.make_batches(strategy, plan, None, config, start=0)

def unit():
    state.epoch.assign_add(1)
    state.step.assign(state.epoch * steps)
    epochs.run_epoch(step, state, batches, steps, "epoch")
""",
    },
}


def start(code, checkout, rows):
    command = [sys.executable, "-c", _HEAD + code + _TAIL, str(checkout), rows]
    environment = {"PYTHONPATH": str(checkout), "TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    return subprocess.Popen(command, env={**common.os.environ, **environment}, cwd=checkout, **options)  # noqa: S603


def measure(worker):
    """Lets a worker do one unit of work; returns the seconds."""
    worker.stdin.write("\n")
    for line in worker.stdout:
        if line.startswith("seconds "):
            return float(line.split()[1])
    sys.exit("a worker ended early; its error is above")


with tempfile.TemporaryDirectory() as directory:
    old = pathlib.Path(directory) / "old"
    old.mkdir()
    common.check_out(OLD, old, "version 0.1")
    table = str(pathlib.Path(directory) / "rows.csv")
    _, rows = common.make_set(directory, 40)
    rows.to_csv(table, index=False)
    ratios = {}
    for claim, code in WORK.items():
        workers = {"old": start(code["old"], old, table), "new": start(code["new"], common.ROOT, table)}
        # Each is first in turn: what one still prepares ahead takes a little of the other's time.
        orders = [("old", "new"), ("new", "old")]
        times = [{name: measure(workers[name]) for name in orders[number % 2]} for number in range(REPEATS)]
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
        # In pairs, since other work slows both; the median does not depend on the luckiest pair.
        ratios[claim] = statistics.median(pair["old"] / pair["new"] for pair in times)
        best = {name: min(pair[name] for pair in times) for name in workers}
        print(
            f"{claim}: version 0.1 {best['old']:.2f} s, this checkout {best['new']:.2f} s, "
            f"{ratios[claim]:.3f} times as fast (median of {REPEATS} pairs; aim {AIM} or more)",
            flush=True,
        )
if min(ratios.values()) < AIM:
    sys.exit(f"expected at least {AIM} times the speed of version 0.1")

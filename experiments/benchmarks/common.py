"""Shared by the benchmarks: real files, jobs and records made of them, and timing in turns within one process."""

import dataclasses
import io
import logging
import os
import pathlib
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
REAL_DATA = pathlib.Path(os.environ.get("ISIC_REAL_DATA", ROOT.parent / "shared" / "realdata"))
# Before TensorFlow, which then has oneDNN's kernels, as in the commands.
import isic_tf  # noqa: E402, F401
from tfrecord_tools.building import record_conversion, shard_jobs, shard_writer  # noqa: E402

OPTIONS = record_conversion.ConversionOptions(image_size=1024)
logging.getLogger("pydicom").setLevel(logging.ERROR)


def find_real(pattern: str) -> list[pathlib.Path]:
    """Lists the real files that match a pattern; ends the benchmark if there are none."""
    files = sorted(REAL_DATA.glob(pattern))
    if not files:
        sys.exit(f"no real files match {REAL_DATA / pattern}; set ISIC_REAL_DATA to their directory")
    return files


def measure_seconds(function: Callable[[], object]) -> float:
    """Returns the wall time of a call in seconds."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(
    claim: str, aim: float | str, textbook: Callable[[], object], ours: Callable[[], object], repeats: int = 3
) -> tuple[float, float]:
    """Times both functions in turns, and prints the ratio of their best times next to its target.

    Args:
        claim: What is compared.
        aim: The target of the ratio.
        textbook: The textbook way of doing the work.
        ours: The way of this package.
        repeats: Number of turns.

    Returns:
        The best times of both in seconds.
    """
    times = [(measure_seconds(textbook), measure_seconds(ours)) for _ in range(repeats)]
    slow, fast = (min(column) for column in zip(*times, strict=True))
    print(f"{claim}: textbook {slow:.2f} s, isic-tf {fast:.2f} s, {slow / fast:.2f} times as fast (aim {aim})")
    return slow, fast


def check_out(commit: str, directory: pathlib.Path, name: str) -> None:
    """Writes the tree of a commit of this repository into a directory; ends the benchmark if there is none."""
    command = ["git", "-C", str(ROOT), "archive", commit]
    result = subprocess.run(command, capture_output=True, check=False)  # noqa: S603
    if result.returncode:
        print(f"skipped: {name} (commit {commit}) is not in the history of this clone; clone it with its history")
        sys.exit(0)
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        archive.extractall(directory, filter="data")


def make_job(paths: Sequence[pathlib.Path], output: str | pathlib.Path, image_size: int = 1024) -> shard_jobs.ShardJob:
    """Returns the job that writes image files to one shard."""
    rows = [(f"i{number}", str(path), 0, 0, {"target": 0}, 0) for number, path in enumerate(paths)]
    table = pd.DataFrame(rows, columns=["image_name", "path", "offset", "length", "integers", "shard"])
    options = dataclasses.replace(OPTIONS, image_size=image_size)
    return shard_jobs.make_jobs(table, str(output), "train", options, "stop")[0]


def make_config(**changes: Any) -> "TrainConfig":
    """Returns the default configuration of `isic_tf.train` with some options changed."""
    from isic_tf.distribution import cpu
    from isic_tf.training.config import TrainConfig

    return TrainConfig(**{"data_dir": "", "workdir": "", "threads": cpu.count_cores(), **changes})


def make_set(directory: str | pathlib.Path, copies: int) -> tuple[list[str], pd.DataFrame]:
    """Writes four shards of 1024 px records of the real DICOM files.

    Args:
        directory: Where to write them.
        copies: Copies of each file, in all shards together; a multiple of 4.

    Returns:
        Paths of the shards, and rows as `fold_split.split_rows` returns them.
    """
    files = find_real("isic2020/dicom/*/*.dcm") * (copies // 4)
    tables = []
    shards = []
    for number in range(4):
        output = pathlib.Path(directory) / str(number)
        shard_writer.make_shard(make_job(files, output))
        shards.append(str(next(output.rglob("*.tfrec"))))
        columns = {
            "shard": shards[-1],
            "position": range(len(files)),
            "target": 0,
            "source": str(directory),
            "image_name": [f"i{position}" for position in range(len(files))],
        }
        tables.append(pd.DataFrame(columns))
    rows = pd.concat(tables, ignore_index=True)
    return shards, rows.assign(number=range(len(rows)), key=rows["image_name"] + rows["shard"], label=0.0)

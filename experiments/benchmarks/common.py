"""What the benchmarks share: the real files, and ratios of best times taken in turns in one process."""

import logging
import os
import pathlib
import sys
import time

import pandas as pd

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
REAL_DATA = pathlib.Path(os.environ.get("ISIC_REAL_DATA", ROOT.parent / "shared" / "realdata"))
from tfrecord_tools.building import shard_writer  # noqa: E402

OPTIONS = {"image_size": 1024, "resize": "stretch", "trim_border": False, "color_constancy": "none", "quality": 95}
logging.getLogger("pydicom").setLevel(logging.ERROR)


def find_real(pattern):
    """Lists real files, or ends the benchmark where there are none."""
    files = sorted(REAL_DATA.glob(pattern))
    if not files:
        sys.exit(f"no real files match {REAL_DATA / pattern}; set ISIC_REAL_DATA to their folder")
    return files


def seconds(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def compare(claim, aim, textbook, ours, repeats=3):
    """Times both in turns, takes the best of each, and prints the ratio beside what is aimed at; gives both times."""
    times = [(seconds(textbook), seconds(ours)) for _ in range(repeats)]
    slow, fast = (min(column) for column in zip(*times, strict=True))
    print(f"{claim}: textbook {slow:.2f} s, isic-tf {fast:.2f} s, {slow / fast:.2f} times as fast (aim {aim})")
    return slow, fast


def job_of(paths, output, image_size=1024):
    """One shard's job over image files."""
    rows = [(f"i{number}", str(path), 0, 0, {"target": 0}, 0) for number, path in enumerate(paths)]
    table = pd.DataFrame(rows, columns=["image_name", "path", "offset", "length", "integers", "shard"])
    return shard_writer.make_jobs(table, str(output), "train", OPTIONS | {"image_size": image_size}, "stop")[0]


def make_config(**changes):
    """Returns the default configuration of `isic_tf.train`, with some options changed."""
    from isic_tf.distribution import cpu
    from isic_tf.training.config import TrainConfig

    return TrainConfig(**{"data_dir": "", "workdir": "", "threads": cpu.count_cores(), **changes})


def make_set(folder, copies):
    """Makes records of 1024 px of the real DICOM files, each so many times, in four shards.

    Returns:
        Paths of the shards, and rows as `fold_split.split_rows` gives them.
    """
    names = find_real("isic2020/dicom/*/*.dcm") * (copies // 4)
    tables, files = [], []
    for number in range(4):
        output = pathlib.Path(folder) / str(number)
        shard_writer.make_shard(job_of(names, output))
        files.append(str(next(output.rglob("*.tfrec"))))
        columns = {"shard": files[-1], "position": range(len(names)), "target": 0, "source": str(folder)}
        tables.append(pd.DataFrame({**columns, "image_name": [f"i{place}" for place in range(len(names))]}))
    rows = pd.concat(tables, ignore_index=True)
    return files, rows.assign(number=range(len(rows)), key=rows["image_name"] + rows["shard"], label=0.0)

"""Two worker processes against one on real DICOM files, both with their start; and the peak memory of a worker."""

import pathlib
import resource
import tempfile
from collections.abc import Sequence

import common
import pandas as pd
from tqdm import tqdm

from tfrecord_tools.building import runners, shard_jobs

COPIES = 80
SHARDS = 8


def make_jobs(directory: str, files: Sequence[pathlib.Path]) -> list[shard_jobs.ShardJob]:
    rows = [(f"i{number}", str(path), 0, 0, {"target": 0}, number % SHARDS) for number, path in enumerate(files)]
    table = pd.DataFrame(rows, columns=["image_name", "path", "offset", "length", "integers", "shard"])
    table = table.sort_values("shard", kind="stable")
    return shard_jobs.make_jobs(table, directory, "train", common.OPTIONS, "stop")


def peak_megabytes() -> float:
    """Returns the largest peak memory of all worker processes so far."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def build(workers: int, files: Sequence[pathlib.Path]) -> None:
    with tempfile.TemporaryDirectory() as directory, tqdm(disable=True) as progress:
        runners._run_processes(make_jobs(directory, files), workers, progress)


if __name__ == "__main__":
    files = common.find_real("isic2020/dicom/*/*.dcm")
    large = [file for file in files if file.stem in ("ISIC_0149568", "ISIC_0199780")]
    for count in (8, 160):
        build(1, (large * count)[:count])
        print(f"peak memory of a worker after {count} images of 6000x4000: {peak_megabytes():.0f} MB (aim at most 700)")
    copies = files * COPIES
    claim = f"{len(copies)} DICOM files, one worker process (textbook) and two, both with their start"
    common.compare(claim, 1.8, lambda: build(1, copies), lambda: build(2, copies), repeats=2)

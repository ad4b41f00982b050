"""Two worker processes against one, both started anew, on real DICOM files; and the peak memory of a worker."""

import resource
import tempfile

import common
import pandas as pd
from tqdm import tqdm

from tfrecord_tools.building import runners, shard_writer

REPEATS = 80


def jobs(folder, files):
    rows = [(f"i{number}", str(path), 0, 0, {"target": 0}, number % 8) for number, path in enumerate(files)]
    table = pd.DataFrame(rows, columns=["image_name", "path", "offset", "length", "integers", "shard"])
    return shard_writer.make_jobs(table.sort_values("shard", kind="stable"), folder, "train", common.OPTIONS, "stop")


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def build(workers, files):
    with tempfile.TemporaryDirectory() as folder, tqdm(disable=True) as progress:
        runners._run_processes(jobs(folder, files), workers, progress)


if __name__ == "__main__":
    files = common.find_real("isic2020/dicom/*/*.dcm")
    large = [file for file in files if file.stem in ("ISIC_0149568", "ISIC_0199780")]
    for count in (8, 160):
        build(1, (large * count)[:count])
        print(f"peak RSS of a worker after {count} images of 6000x4000: {peak_megabytes():.0f} MB (aim: 700 at most)")
    images = files * REPEATS
    claim = f"{len(images)} DICOM files, one worker process (textbook) and two, both started anew"
    common.compare(claim, 1.8, lambda: build(1, images), lambda: build(2, images), repeats=2)

"""Peak memory of an epoch over 33,000 records against one over 2,000, of real bytes at 1024 px, in processes apart."""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import common
import pandas as pd

SIZE, BATCH = 256, 32
# Below the smaller epoch, or its shuffle would never be full.
BUFFER = 1024


def epoch(folder, count):
    """Reads one epoch; prints the process's peak in MB."""
    from isic_tf.data import input_pipeline
    from isic_tf.distribution import cpu

    rows = pd.read_csv(pathlib.Path(folder) / "rows.csv")
    tables = []
    # The same bytes under other names: links, so that the page cache holds them once.
    for number in range(-(-count // len(rows))):
        links = {file: f"{file}.{number}" for file in rows["shard"].unique()}
        for file, link in links.items():
            if not os.path.exists(link):
                os.link(file, link)
        tables.append(rows.assign(shard=rows["shard"].map(links)))
    rows = pd.concat(tables, ignore_index=True).iloc[:count]
    rows = rows.assign(key=rows["image_name"] + rows["shard"])
    options = {"image_size": SIZE, "batch_size": BATCH, "threads": cpu.count_cores(), "shuffle_buffer": BUFFER}
    dataset = input_pipeline.make_train_dataset(rows, seed=0, **options)
    for _ in dataset.take(count // BATCH):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


if len(sys.argv) > 1:
    epoch(sys.argv[1], int(sys.argv[2]))
else:
    with tempfile.TemporaryDirectory() as folder:
        common.make_set(folder, 32)[1].to_csv(pathlib.Path(folder) / "rows.csv", index=False)
        peaks = {}
        for count in (2_000, 33_000):
            command = [sys.executable, __file__, folder, str(count)]
            result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            peaks[count] = float(result.stdout.split()[-1])
        small, large = peaks.values()
        print(
            f"peak memory of an epoch at {SIZE} px: {small:.0f} MB over 2,000 records, {large:.0f} MB over 33,000, "
            f"{large / small - 1:+.1%} (aim within 5 %)"
        )

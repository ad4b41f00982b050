"""Peak memory of an epoch over 33,000 records of 1024 px against one over 2,000, each in a process of its own."""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile

import common
import pandas as pd

SIZE = 256
BATCH = 32
# Less than the smaller epoch: otherwise its shuffle buffer would never be full.
BUFFER = 1024


def read_epoch(directory: str, count: int) -> None:
    """Reads one epoch and prints the peak memory of the process in MB."""
    from isic_tf.data import input_pipeline, record_stream

    shard_rows = pd.read_csv(pathlib.Path(directory) / "rows.csv")
    tables = []
    # The same bytes under other names, as links, so that the page cache holds them once.
    for number in range(-(-count // len(shard_rows))):
        links = {file: f"{file}.{number}" for file in shard_rows["shard"].unique()}
        for file, link in links.items():
            if not os.path.exists(link):
                os.link(file, link)
        tables.append(shard_rows.assign(shard=shard_rows["shard"].map(links)))
    rows = pd.concat(tables, ignore_index=True).iloc[:count]
    rows = rows.assign(key=rows["image_name"] + rows["shard"])
    options = record_stream.StreamOptions(shuffle_buffer=BUFFER)
    dataset = input_pipeline.make_train_dataset(rows, image_size=SIZE, batch_size=BATCH, seed=0, stream=options)
    for _ in dataset.take(count // BATCH):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        _, rows = common.make_set(directory, 32)
        rows.to_csv(pathlib.Path(directory) / "rows.csv", index=False)
        peaks = []
        for count in (2_000, 33_000):
            command = [sys.executable, __file__, directory, str(count)]
            result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            peaks.append(float(result.stdout.split()[-1]))
    small, large = peaks
    print(
        f"peak memory of an epoch at {SIZE} px: {small:.0f} MB over 2,000 records, {large:.0f} MB over 33,000, "
        f"{large / small - 1:+.1%} (aim within 5 %)"
    )


if len(sys.argv) > 1:
    read_epoch(sys.argv[1], int(sys.argv[2]))
else:
    main()

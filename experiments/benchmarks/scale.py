"""Tables, folds, index and duplicate search at 500,000 and 5 million images, each in a process of its own.

Time and peak memory of what works on whole sets, on made-up tables and descriptors: no image is decoded but
for the descriptors. `docs/benchmarks/scale.md` has the results, and what follows for archives. Arguments choose the
parts: `tables`, `folds`, `index`, `jobs`, `search`.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import common
import numpy as np
import pandas as pd

from tfrecord_tools.deduplication import image_similarity, nearest_views, view_reading

COUNTS = (500_000, 5_000_000)
# Descriptors of the search; its growth follows from the two.
DESCRIPTORS = (100_000, 400_000)
QUERIES = 4_096
# Tenths of the similarities between real images and their edits, see `duplicates.EDITS`.
SIMILARITIES = (0.59, 0.78, 0.86, 0.93, 0.97, 0.985, 0.992, 0.995, 0.997, 0.998)
IMAGES_PER_PATIENT = 8
IMAGES_PER_SHARD = 5000
PREVALENCE = 0.0176
SITES = ("torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", "")
_BLOCK = 500_000
# Arguments after which the script is one of its own steps.
_STEP = "--step"


def make_rows(start: int, stop: int, count: int) -> dict[str, np.ndarray]:
    """Makes columns of random images, of patients whose images are spread over the table, as those of an archive."""
    rng = np.random.default_rng(start)
    size = stop - start
    numbers = pd.Series(np.arange(start, stop)).astype(str)
    patients = pd.Series(rng.integers(count // IMAGES_PER_PATIENT, size=size)).astype(str)
    return {
        "image_name": ("ISIC_" + numbers.str.zfill(7)).to_numpy(object),
        "patient_id": ("IP_" + patients.str.zfill(7)).to_numpy(object),
        "sex": rng.choice(["male", "female", ""], size, p=[0.5, 0.498, 0.002]),
        "age_approx": rng.choice([*map(str, range(15, 90, 5)), ""], size),
        "anatom_site_general_challenge": rng.choice(SITES, size),
        "diagnosis": rng.choice(["unknown", "nevus", "melanoma"], size, p=[0.8, 0.19, 0.01]),
        "target": (rng.random(size) < PREVALENCE).astype(int),
    }


def list_blocks(count: int) -> list[tuple[int, int]]:
    """Divides the images into blocks: a table of all of them would take what is to be measured."""
    return [(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)]


def write_table(path: pathlib.Path, count: int) -> None:
    """Writes a table in the package's columns."""
    for start, stop in list_blocks(count):
        pd.DataFrame(make_rows(start, stop, count)).to_csv(path, index=False, mode="a", header=not start)


def write_index(directory: pathlib.Path, count: int) -> None:
    """Writes an index, as it would be in a file, and empty shards of plausible size."""
    for start, stop in list_blocks(count):
        rows = make_rows(start, stop, count)
        numbers = np.arange(start, stop)
        shards = [f"train{number:04d}-{IMAGES_PER_SHARD}.tfrec" for number in range(-(-count // IMAGES_PER_SHARD))]
        digests = pd.Series(numbers * 2654435761).map("{:016x}".format)
        columns = {
            "shard": np.array(shards, object)[numbers // IMAGES_PER_SHARD],
            "position": numbers % IMAGES_PER_SHARD,
            "image_name": rows["image_name"],
            "patient_id": rows["patient_id"],
            "target": rows["target"],
            "fold": pd.Series(rows["patient_id"]).str[-1:].astype(int) % 5,
            "lesion_id": "",
            "image_digest": digests,
        }
        pd.DataFrame(columns).to_csv(directory / "train.index.csv", index=False, mode="a", header=not start)
    for shard in shards:
        with (directory / shard).open("wb") as file:
            file.truncate(IMAGES_PER_SHARD * 1000)


def run_step(name: str, arguments: list[str], environment: dict[str, str] | None = None) -> dict[str, float]:
    """Runs Python and prints its time and peak memory; returns what it printed as JSON in its last line."""
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603
        [sys.executable, *arguments],
        cwd=common.ROOT,
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    printed = process.stdout.read().strip().splitlines() if process.stdout else []
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status:
        sys.exit(f"{name} failed")
    seconds = usage.ru_utime + usage.ru_stime
    found = json.loads(printed[-1]) if printed and printed[-1].startswith("{") else {}
    more = "".join(f", {key} {value:.4g}" for key, value in found.items())
    print(f"{name}: {wall:.1f} s, {seconds:.1f} s of CPU time, {usage.ru_maxrss / 1e6:.2f} GB{more}", flush=True)
    return found


def step_read_table(path: str) -> None:
    from tfrecord_tools.io import csv_tables

    csv_tables.read_table(path, ("image_name", "patient_id", "target"))


def step_read_index(directory: str) -> None:
    from tfrecord_tools.io import record_index

    record_index.read_index(directory, "train")


def step_write_index(directory: str) -> None:
    """Writes an index and its manifest again; reading it is in the time too."""
    from tfrecord_tools.io import manifest, record_index

    index = record_index.read_index(directory, "train")
    index["shard"] = index["shard"].map(os.path.basename)
    shards = [
        {"name": name, "records": int(count), "bytes": 1, "sha256": ""}
        for name, count in index["shard"].value_counts().items()
    ]
    started = time.process_time()
    written = os.path.join(directory, "written")
    manifest.write_manifest_and_index(written, "train", shards, index)
    print(json.dumps({"s of writing": time.process_time() - started}))


def step_split_rows(directory: str) -> None:
    """What `isic_tf.train` does with an index before it opens a shard."""
    from isic_tf.data import fold_split, record_sets

    fold_split.split_rows(record_sets.read_rows([directory], 1, False), 0)


def step_jobs(path: str) -> None:
    """What `build` does with a table between reading it and the first image."""
    from tfrecord_tools.building import record_conversion, shard_assignment, shard_jobs
    from tfrecord_tools.io import csv_tables

    table = csv_tables.read_table(path, ("image_name", "patient_id", "target"))
    places = {"path": "gs://bucket/jpeg/" + table["image_name"] + ".jpg", "offset": 0, "length": 0}
    rows = table.assign(**places, integers=[{"target": 0}] * len(table))
    started = time.perf_counter()
    rows = shard_assignment.assign_shards(rows, len(table) // IMAGES_PER_SHARD, 5)
    assigned = time.perf_counter()
    options = record_conversion.ConversionOptions(image_size=1024)
    shard_jobs.make_jobs(rows, "gs://bucket/records", "train", options, "stop")
    print(json.dumps({"shards": assigned - started, "jobs": time.perf_counter() - assigned}))


def write_descriptors(path: pathlib.Path) -> None:
    """Writes the descriptors of real images."""
    _, views = view_reading.read_views(str(common.REAL_DATA / "ham10000"), os.cpu_count() or 1)
    np.save(path, image_similarity.embed(image_similarity.describe(np.stack([own[0] for own in views]))))


def make_descriptors(real: np.ndarray, count: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Makes descriptors with the mean and covariance of real ones, and copies of some as similar as those of edits.

    Returns:
        float32 `[queries + count, 392]`, the copies first; and int64 `[queries]`, what each is a copy of.
    """
    rng = np.random.default_rng(count)
    factor = np.linalg.cholesky(np.cov(real.T) + 1e-7 * np.eye(real.shape[1])).T.astype(np.float32)
    made = np.empty((queries + count, real.shape[1]), np.float32)
    for start in range(0, len(made), 50_000):
        block = made[start : start + 50_000]
        block[:] = real.mean(axis=0) + rng.standard_normal(block.shape, np.float32) @ factor
        block /= np.linalg.norm(block, axis=1, keepdims=True)
    originals = queries + rng.choice(count, queries, replace=False)
    similarity = rng.choice(SIMILARITIES, (queries, 1)).astype(np.float32)
    made[:queries] = similarity * made[originals] + np.sqrt(1 - similarity**2) * made[:queries]
    made[:queries] /= np.linalg.norm(made[:queries], axis=1, keepdims=True)
    return made, originals


def step_search(path: str, count: str) -> None:
    """CPU time of the search of one descriptor among many, and whether it finds what it is a copy of."""
    made, originals = make_descriptors(np.load(path), int(count), QUERIES)
    found = {}
    for name, limit, queries in (("exact", len(made), 512), ("cells", 0, QUERIES)):
        nearest_views.EXACT_UP_TO = limit
        seconds = []
        # With one query, what is done once is left.
        for number in (1, queries):
            part = made[queries - number : queries], made[QUERIES:]
            started = time.process_time()
            pairs = nearest_views.find_nearest(np.concatenate(part), np.arange(number + int(count)), number, 6)
            seconds.append(time.process_time() - started)
        hits = np.isin(np.arange(queries) * len(made) + originals[:queries] - QUERIES + queries, pairs @ (len(made), 1))
        each = (seconds[1] - seconds[0]) / (queries - 1)
        found |= {
            f"{name}: recall": hits.mean(),
            f"{name}: once, s": seconds[0],
            f"{name}: each, ms": 1000 * each,
            f"{name}: all, s": seconds[0] + int(count) * each,
        }
    print(json.dumps(found))


STEPS: dict[str, Callable[..., None]] = {
    "read_table": step_read_table,
    "read_index": step_read_index,
    "write_index": step_write_index,
    "split_rows": step_split_rows,
    "jobs": step_jobs,
    "search": step_search,
}


def main() -> None:
    chosen = sys.argv[1:] or ["tables", "folds", "index", "jobs", "search"]
    if "search" in chosen:
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name, "descriptors.npy")
            write_descriptors(path)
            for count in DESCRIPTORS:
                # Of one thread, so that CPU time is work.
                one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
                run_step(f"search of {count:,} descriptors", [__file__, _STEP, "search", str(path), str(count)], one)
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            table = str(directory / "train.csv")
            title = f"{count:,} images"
            if {"tables", "folds", "jobs"} & set(chosen):
                write_table(pathlib.Path(table), count)
            if "tables" in chosen:
                run_step(f"{title}: a table read", [__file__, _STEP, "read_table", table])
                arguments = [f"--tables={table}", f"--output={directory / 'normalized.csv'}"]
                run_step(f"{title}: `tables`", ["-m", "tfrecord_tools.tables", *arguments])
            if "folds" in chosen:
                arguments = [f"--csv={table}", f"--output={directory / 'folds.csv'}"]
                run_step(f"{title}: `folds`", ["-m", "tfrecord_tools.folds", *arguments])
                arguments = [f"--csv={table}", f"--audit={directory / 'folds.csv'}"]
                run_step(f"{title}: `folds --audit`", ["-m", "tfrecord_tools.folds", *arguments])
            if "index" in chosen:
                write_index(directory, count)
                for step, what in (
                    ("read_index", "an index read"),
                    ("write_index", "read and written"),
                    ("split_rows", "split for a fold"),
                ):
                    run_step(f"{title}: {what}", [__file__, _STEP, step, str(directory)])
            if "jobs" in chosen:
                run_step(f"{title}: the jobs of a build", [__file__, _STEP, "jobs", table])


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == _STEP:
        STEPS[sys.argv[2]](*sys.argv[3:])
    else:
        main()

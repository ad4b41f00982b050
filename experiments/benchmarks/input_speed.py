"""Images per second from records of 1024 px to batches, against the textbook pipeline and the bare JPEG decoder."""

import concurrent.futures
import os
import tempfile
from collections.abc import Callable, Sequence

import common
import cv2
import numpy as np
import pandas as pd
import tensorflow as tf
import textbook

from isic_tf.data import decoding, image_cache, input_pipeline, record_loading, record_stream
from isic_tf.distribution import cpu

BATCH = 32
COPIES = 80
# Batches read before the timing starts, so that none of the timed ones was prefetched.
AHEAD = 8
REDUCED = {512: cv2.IMREAD_REDUCED_COLOR_2, 256: cv2.IMREAD_REDUCED_COLOR_4}

Stream = tf.data.Dataset | Callable[[], object]


def measure_seconds(stream: Stream, batches: int) -> float:
    """Times a number of batches of a dataset, or one call of a function; no other stream runs meanwhile."""
    if callable(stream):
        return common.measure_seconds(stream)
    iterator = iter(stream)
    for _ in range(AHEAD):
        next(iterator)

    def drain() -> None:
        for _ in range(batches):
            next(iterator)

    return common.measure_seconds(drain)


def compare(claim: str, aim: float, reference: Stream, ours: Stream, batches: int, repeats: int = 7) -> None:
    """Compares two streams like `common.compare`, in images per second.

    The best of each counts, since other work on the machine only slows them down.
    """
    times = [(measure_seconds(reference, batches), measure_seconds(ours, batches)) for _ in range(repeats)]
    slow, fast = (batches * BATCH / min(column) for column in zip(*times, strict=True))
    print(f"{claim}: {slow:.0f} images/s, isic-tf {fast:.0f}, {fast / slow:.2f} times as fast (aim {aim})", flush=True)


def make_textbook_stream(files: Sequence[str], size: int) -> tf.data.Dataset:
    return textbook.make_dataset(files, size, BATCH, 256).repeat()


def make_stream(rows: pd.DataFrame, size: int, images: record_loading.ImageReader | None = None) -> tf.data.Dataset:
    options = record_stream.StreamOptions(shuffle_buffer=256)
    return input_pipeline.make_train_dataset(
        rows, image_size=size, batch_size=BATCH, seed=0, images=images, stream=options
    )


def decode_in_threads(jpegs: Sequence[np.ndarray], flag: int) -> None:
    """Decodes as many images in parallel as there are cores, each on one core."""
    cv2.setNumThreads(1)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(lambda data: cv2.imdecode(data, flag), jpegs):
            pass


with tempfile.TemporaryDirectory() as directory:
    files, rows = common.make_set(directory, COPIES)
    batches = len(rows) // BATCH
    for size, aim in ((256, 2.5), (384, 2.4), (512, 4.0)):
        claim = f"records of 1024 px to batches of {size} px, textbook"
        compare(claim, aim, make_textbook_stream(files, size), make_stream(rows, size), batches // 2)
    serialized = [data for file in files for data in tf.data.TFRecordDataset(file).as_numpy_iterator()]
    jpegs = [np.frombuffer(decoding.parse(data, False)["image"].numpy(), np.uint8) for data in serialized]
    for size, flag in REDUCED.items():
        compare(
            f"to {size} px, libjpeg-turbo alone in a thread pool",
            0.95,
            lambda flag=flag: decode_in_threads(jpegs[: batches // 2 * BATCH], flag),
            make_stream(rows, size),
            batches // 2,
        )
    cache = image_cache.open_images(rows, "memory", 256, cpu.count_cores())
    cached = make_stream(rows, 256, cache)
    claim = "an epoch at 256 px from the memory cache, against decoding"
    compare(claim, 10, make_stream(rows, 256), cached, batches, repeats=3)

"""Images a second from records of 1024 px to batches, against the textbook pipeline and the bare JPEG decoder."""

import concurrent.futures
import os
import tempfile

import common
import cv2
import numpy as np
import tensorflow as tf
import textbook

from isic_tf.data import decoding, image_cache, input_pipeline
from isic_tf.distribution import cpu

BATCH = 32
COPIES = 80
# Batches read before the clock starts, so that none of those timed was ready before.
AHEAD = 8
REDUCED = {512: cv2.IMREAD_REDUCED_COLOR_2, 256: cv2.IMREAD_REDUCED_COLOR_4}


def seconds(stream, batches):
    """Times so many batches of a dataset, or a function; nothing of another stream runs meanwhile."""
    if callable(stream):
        return common.seconds(stream)
    iterator = iter(stream)
    for _ in range(AHEAD):
        next(iterator)

    def drain():
        for _ in range(batches):
            next(iterator)

    return common.seconds(drain)


def compare(claim, aim, textbook, ours, batches, repeats=7):
    """As `common.compare`, in images a second; in turns, the best of each, since other work only ever slows."""
    times = [(seconds(textbook, batches), seconds(ours, batches)) for _ in range(repeats)]
    slow, fast = (batches * BATCH / min(column) for column in zip(*times, strict=True))
    print(f"{claim}: {slow:.0f} images/s, isic-tf {fast:.0f}, {fast / slow:.2f} times as fast (aim {aim})", flush=True)


def textbook_stream(files, size):
    return textbook.dataset(files, size, BATCH, 256).repeat()


def stream(rows, size, images=None):
    threads = cpu.count_cores()
    options = {"image_size": size, "batch_size": BATCH, "threads": threads, "shuffle_buffer": 256}
    return input_pipeline.make_train_dataset(rows, seed=0, images=images, **options)


def decode_in_threads(jpegs, flag):
    """Decodes as many images at once as there are cores, each on one."""
    cv2.setNumThreads(1)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(lambda data: cv2.imdecode(data, flag), jpegs):
            pass


with tempfile.TemporaryDirectory() as folder:
    files, rows = common.make_set(folder, COPIES)
    batches = len(rows) // BATCH
    for size, aim in ((256, 2.5), (384, 2.4), (512, 4.0)):
        claim = f"records of 1024 px to batches of {size} px, textbook"
        compare(claim, aim, textbook_stream(files, size), stream(rows, size), batches // 2)
    serialized = [data for file in files for data in tf.data.TFRecordDataset(file).as_numpy_iterator()]
    jpegs = [np.frombuffer(decoding.parse(data, False)["image"].numpy(), np.uint8) for data in serialized]
    for size, flag in REDUCED.items():
        compare(
            f"to {size} px, libjpeg-turbo alone in a thread pool",
            0.95,
            lambda flag=flag: decode_in_threads(jpegs[: batches // 2 * BATCH], flag),
            stream(rows, size),
            batches // 2,
        )
    cached = stream(rows, 256, image_cache.open_images(rows, "memory", 256, cpu.count_cores()))
    compare("an epoch at 256 px from the memory cache, decoding", 10, stream(rows, 256), cached, batches, repeats=3)

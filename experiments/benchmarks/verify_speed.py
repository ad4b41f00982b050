"""Verifying a record set on one core: without decoding, against TensorFlow's reader; with it, against its limit.

The limit of decoding is the CPU time of libjpeg-turbo at an eighth of the size, which decodes the Huffman codes of the
whole file and computes next to no pixels, with the SHA-256 that the manifest asks for.
"""

import contextlib
import hashlib
import io
import pathlib
import tempfile
import time
from collections.abc import Callable

import common
import simplejpeg
import tensorflow as tf

from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.io import tf_example, tfrecord
from tfrecord_tools.verification import record_set_verifier


def write_shard(directory: str, megabytes: float) -> None:
    jpegs = [path.read_bytes() for path in common.find_real("isic2020/jpeg512/train/*.jpg")]
    total = 0
    number = 0
    with tf.io.TFRecordWriter(f"{directory}/train00-0.tfrec") as writer:
        while total < megabytes * 1e6:
            # Three images of 512 px have about the bytes of one of 1024 px.
            jpeg = b"".join(jpegs[(number + offset) % len(jpegs)] for offset in range(3))
            writer.write(tf_example.to_example(jpeg, f"i{number:07d}", patient_id=number, target=0))
            total += len(jpeg)
            number += 1


def textbook(path: str) -> None:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    for data in tf.data.TFRecordDataset(path, buffer_size=2**20).as_numpy_iterator():
        tf.train.Example.FromString(data)


def read(path: str) -> None:
    with open(path, "rb") as file:
        while file.read(2**20):
            pass


def measure_cpu(function: Callable[[], object]) -> float:
    """Returns the CPU time of a call in seconds."""
    started = time.process_time()
    function()
    return time.process_time() - started


def decode_all(path: str) -> None:
    for _, data, _ in tfrecord.scan(path, hashlib.sha256()):
        image = tfrecord.parse(data)[0]["image"]
        simplejpeg.decode_jpeg(image, "BGR", min_height=128, min_width=128, min_factor=8)


def compare_with_decoding(directory: str) -> None:
    """Prints the CPU time of verification with decoding next to that of its two necessary parts."""
    files, _ = common.make_set(directory, 16)
    config = record_set_verifier.VerifyConfig(records=files[0], workers=1)
    times = [
        (measure_cpu(lambda: record_set_verifier.verify_record_set(config)), measure_cpu(lambda: decode_all(files[0])))
        for _ in range(3)
    ]
    ours, limit = (min(column) for column in zip(*times, strict=True))
    megabytes = pathlib.Path(files[0]).stat().st_size / 1e6
    print(
        f"verify with decoding: {megabytes / ours:.0f} MB per CPU second, {limit / ours:.0%} of what libjpeg-turbo and "
        "SHA-256 alone do"
    )


with tempfile.TemporaryDirectory() as directory, contextlib.redirect_stdout(io.StringIO()) as hidden:
    write_shard(directory, 1000)
    record_set_indexer.index_record_set(record_set_indexer.IndexConfig(records=f"{directory}/*.tfrec"))
    path = f"{directory}/train00-0.tfrec"
    megabytes = pathlib.Path(path).stat().st_size / 1e6
    config = record_set_verifier.VerifyConfig(records=path, decode=False, workers=1)

    def verify() -> None:
        with contextlib.redirect_stdout(hidden):
            record_set_verifier.verify_record_set(config)

    with contextlib.redirect_stdout(io.StringIO()) as report:
        _, ours = common.compare("verify without decoding", "1", lambda: textbook(path), verify)
    limit = min(common.measure_seconds(lambda: read(path)) for _ in range(3))
print(f"{report.getvalue().strip()}; {megabytes / ours:.0f} MB/s (aim 500; only reading: {megabytes / limit:.0f} MB/s)")
with tempfile.TemporaryDirectory() as directory:
    compare_with_decoding(directory)

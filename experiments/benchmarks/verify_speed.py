"""Verifying a record set without decoding, one core, against reading it through TensorFlow and only reading it."""

import contextlib
import hashlib
import io
import pathlib
import tempfile

import common
import tensorflow as tf

from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.io import tf_example
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

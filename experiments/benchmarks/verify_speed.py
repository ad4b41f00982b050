"""Checking a record set without decoding, one core, beside reading it through TensorFlow and reading it at all."""

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


def write(folder, megabytes):
    jpegs = [path.read_bytes() for path in common.find_real("isic2020/jpeg512/train/*.jpg")]
    total, number = 0, 0
    with tf.io.TFRecordWriter(f"{folder}/train00-0.tfrec") as writer:
        while total < megabytes * 1e6:
            # As large as a record of 1024 px.
            jpeg = b"".join(jpegs[(number + place) % len(jpegs)] for place in range(3))
            writer.write(tf_example.to_example(jpeg, f"i{number:07d}", patient_id=number, target=0))
            total, number = total + len(jpeg), number + 1


def textbook(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    for data in tf.data.TFRecordDataset(path, buffer_size=2**20).as_numpy_iterator():
        tf.train.Example.FromString(data)


def read(path):
    with open(path, "rb") as file:
        while file.read(2**20):
            pass


with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()) as hidden:
    write(folder, 1000)
    record_set_indexer.index_record_set(
        record_set_indexer.IndexConfig(records=f"{folder}/*.tfrec", csv=None, folds=None, output=None)
    )
    path = pathlib.Path(folder) / "train00-0.tfrec"
    megabytes = path.stat().st_size / 1e6

    def check():
        with contextlib.redirect_stdout(hidden):
            record_set_verifier.verify_record_set(
                record_set_verifier.VerifyConfig(
                    records=str(path), duplicates=None, decode=False, quarantine=None, workers=1
                )
            )

    with contextlib.redirect_stdout(io.StringIO()) as report:
        _, ours = common.compare("verify without decoding", "1", lambda: textbook(path), check)
    limit = min(common.seconds(lambda: read(path)) for _ in range(3))
print(f"{report.getvalue().strip()}; {megabytes / ours:.0f} MB/s (aim 500; reading alone {megabytes / limit:.0f} MB/s)")

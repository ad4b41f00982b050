"""Records of 1024 px to records of 512 px, one core: a scaled decode against a full one and a resize."""

import dataclasses
import pathlib
import tempfile

import common
import cv2
import numpy as np
import tensorflow as tf

from tfrecord_tools.building import data_sources, runners, shard_jobs, shard_writer
from tfrecord_tools.io import tf_example

COPIES = 40


def textbook(source: str, target: str) -> None:
    with tf.io.TFRecordWriter(target) as writer:
        for data in tf.data.TFRecordDataset(source).as_numpy_iterator():
            features = tf.io.parse_single_example(data, tf_example.parse_spec(labeled=True))
            image = cv2.imdecode(np.frombuffer(features["image"].numpy(), np.uint8), cv2.IMREAD_COLOR)
            image = cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            name = features["image_name"].numpy().decode()
            writer.write(tf_example.to_example(jpeg, name, target=features["target"]))


def rebuild(source: str, output: str) -> None:
    rows = data_sources.read_records(source, None, "train").assign(shard=0)
    options = dataclasses.replace(common.OPTIONS, image_size=512)
    runners.run_local(shard_jobs.make_jobs(rows, output, "train", options, "stop"), workers=1)


with tempfile.TemporaryDirectory() as directory:
    files = common.find_real("isic2020/dicom/*/*.dcm") * COPIES
    shard_writer.make_shard(common.make_job(files, directory))
    source = str(next(pathlib.Path(directory).rglob("*.tfrec")))
    common.compare(
        f"{len(files)} records of real images from 1024 to 512 px",
        2,
        lambda: textbook(source, f"{directory}/textbook.tfrec"),
        lambda: rebuild(source, f"{directory}/out"),
    )

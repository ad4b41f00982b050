"""Records of 1024 px to records of 512 px: a scaled decode against a full one and a resize, one core."""

import pathlib
import tempfile

import common
import cv2
import numpy as np
import tensorflow as tf

from tfrecord_tools.building import data_sources, runners, shard_writer
from tfrecord_tools.io import tf_example

REPEATS = 40


def textbook(source, target):
    with tf.io.TFRecordWriter(target) as writer:
        for data in tf.data.TFRecordDataset(source).as_numpy_iterator():
            features = tf.io.parse_single_example(data, tf_example.parse_spec(labelled=True))
            image = cv2.imdecode(np.frombuffer(features["image"].numpy(), np.uint8), cv2.IMREAD_COLOR)
            image = cv2.resize(image, (512, 512), interpolation=cv2.INTER_AREA)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            writer.write(
                tf_example.to_example(jpeg, features["image_name"].numpy().decode(), target=features["target"])
            )


def rebuild(source, output):
    rows = data_sources.read_records(source, None, "train").assign(shard=0)
    options = common.OPTIONS | {"image_size": 512}
    runners.run_local(shard_writer.make_jobs(rows, output, "train", options, "stop"), workers=1)


with tempfile.TemporaryDirectory() as folder:
    shard_writer.make_shard(common.job_of(common.find_real("isic2020/dicom/*/*.dcm") * REPEATS, folder))
    source = str(next(pathlib.Path(folder).rglob("*.tfrec")))
    common.compare(
        f"{15 * REPEATS} records of real images from 1024 to 512 px",
        2,
        lambda: textbook(source, f"{folder}/textbook.tfrec"),
        lambda: rebuild(source, f"{folder}/out"),
    )

"""DICOM files to records of 1024 px, one core: a scaled decode of the frame against pydicom's `pixel_array`."""

import tempfile

import common
import cv2
import pydicom
import tensorflow as tf

from tfrecord_tools.building import shard_writer
from tfrecord_tools.io import tf_example

FILES = common.find_real("isic2020/dicom/*/*.dcm")


def textbook(path: str) -> None:
    with tf.io.TFRecordWriter(path) as writer:
        for number, file in enumerate(FILES):
            image = pydicom.dcmread(file).pixel_array
            image = cv2.resize(image[..., ::-1], (1024, 1024), interpolation=cv2.INTER_AREA)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            writer.write(tf_example.to_example(jpeg, f"i{number}", target=0))


with tempfile.TemporaryDirectory() as directory:
    job = common.make_job(FILES, directory)
    common.compare(
        f"{len(FILES)} real DICOM files of 0.3 to 24 megapixels",
        10,
        lambda: textbook(f"{directory}/textbook.tfrec"),
        lambda: shard_writer.make_shard(job),
    )

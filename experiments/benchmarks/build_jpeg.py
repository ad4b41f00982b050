"""JPEG files of 6000x4000 to records of 1024 px, one core: a scaled decode against a full one."""

import pathlib
import tempfile
from collections.abc import Sequence

import common
import cv2
import pydicom
import tensorflow as tf
from pydicom.encaps import get_frame

from tfrecord_tools.building import shard_writer
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import tf_example

COPIES = 8


def textbook(files: Sequence[pathlib.Path], path: str) -> None:
    with tf.io.TFRecordWriter(path) as writer:
        for number, file in enumerate(files):
            image = cv2.resize(cv2.imread(str(file)), (1024, 1024), interpolation=cv2.INTER_AREA)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
            writer.write(tf_example.to_example(jpeg, f"i{number}", target=0))


with tempfile.TemporaryDirectory() as directory:
    files = []
    for file in common.find_real("isic2020/dicom/*/*.dcm"):
        frame = get_frame(pydicom.dcmread(file).PixelData, 0, number_of_frames=1)
        if codec.jpeg_header(frame)[:2] == (6000, 4000):
            files.append(pathlib.Path(directory) / f"{file.stem}.jpg")
            files[-1].write_bytes(frame)
    copies = files * COPIES
    job = common.make_job(copies, directory)
    common.compare(
        f"{len(copies)} copies of a real JPEG of 6000x4000",
        2.2,
        lambda: textbook(copies, f"{directory}/textbook.tfrec"),
        lambda: shard_writer.make_shard(job),
    )

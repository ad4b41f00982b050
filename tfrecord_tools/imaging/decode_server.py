"""The process that `own_process` starts: decodes one image from standard input to standard output."""

import json
import os
import resource
import sys
from typing import Any, BinaryIO

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, dicom_pixels, own_process
from tfrecord_tools.imaging.rasters import raster_files

# Lines in which a decoder prints that an image is damaged, by kind; libtiff's other lines are about unknown tags.
_DAMAGE = {"raster": "TIFF_Error|JPEGLib|Decode:"}
_ANY_LINE = "."
_Decoded = tuple[np.ndarray, tuple[int, int]]


def serve() -> None:
    """Reads one request, decodes the image and writes the answer; for a process of its own."""
    # What a library prints must not end up in the answer.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    output.write(own_process.READY)
    output.flush()
    request = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read()
    _limit_memory(request["megabytes"], len(data))
    answer(request, data, output)
    output.flush()
    # Without the time that Python takes to clean up.
    os._exit(0)


def _limit_memory(megabytes: int, num_bytes: int) -> None:
    """Limits what this process may use beside what it uses already."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + num_bytes + (megabytes << 20), hard))


def answer(request: dict[str, Any], data: bytes, output: BinaryIO) -> None:
    """Decodes an image and writes the answer: a line of JSON, and the pixels.

    Args:
        request: Dict of `kind`, `source` and `options`, see `own_process.decode`.
        data: Bytes of the file.
        output: File to write.
    """
    damage = _DAMAGE.get(request["kind"], "")
    source = request["source"]
    try:
        try:
            image, (width, height) = _decode(request, data)
        except codec.UnusualJpegError:
            damage = _ANY_LINE
            image, (width, height) = codec.decode_with_opencv(data, source, **request["options"])
    except errors.CorruptRecordError as error:
        output.write(json.dumps({"problem": str(error)}).encode() + b"\n")
        return
    head = {"shape": image.shape, "width": width, "height": height, "damage": damage}
    output.write(json.dumps(head).encode() + b"\n")
    output.write(np.ascontiguousarray(image).data)


def _decode(request: dict[str, Any], data: bytes) -> _Decoded:
    source = request["source"]
    if request["kind"] == "frame":
        image = dicom_pixels.decode_here(dicom.read(data, source), source)
        return image, (image.shape[1], image.shape[0])
    if request["kind"] == "raster":
        return raster_files.decode_here(data, source)
    return codec.decode_here(data, source, **request["options"])

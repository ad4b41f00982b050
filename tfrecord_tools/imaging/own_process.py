"""Decodes an image in a process of its own, which is ended when it takes too long or too much memory.

A decoder cannot be interrupted from within its process. So an image whose header promises more work than the limits
allow for, though not more pixels, is decoded by another process.
"""

import json
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits as image_limits

_PROGRAM = "from tfrecord_tools.imaging import decode_server; decode_server.serve()"
# What the process writes when it has started.
READY = b"ready\n"


def decode(
    kind: str, data: bytes, source: str, limits: image_limits.ImageLimits, **options: Any
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes an image in a process of its own.

    Args:
        kind: `file` for a JPEG or PNG, `raster` for a BMP, TIFF or WebP, `frame` for the only frame of a DICOM file.
        data: Bytes of the file.
        source: Name of the image in errors.
        limits: `ImageLimits`; time and memory are those of the process, once it has started.
        **options: Further arguments of `codec.decode_here`, as JSON.

    Returns:
        What `codec.decode` returns.

    Raises:
        CorruptRecordError: The image cannot be decoded within the limits.
    """
    request = {"kind": kind, "source": source, "megabytes": limits.max_image_megabytes, "options": options}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603  # The program is a part of this package.
        [sys.executable, "-c", _PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe, env=environment
    ) as process:
        try:
            if process.stdout and process.stdout.readline() == READY:
                content = json.dumps(request).encode() + b"\n" + data
                answer, log = process.communicate(content, timeout=limits.max_image_seconds)
            else:
                answer, log = process.communicate()
        except subprocess.TimeoutExpired as error:
            raise errors.CorruptRecordError(
                f"{source} takes more than {limits.max_image_seconds:g} seconds to be decoded; convert it, or raise "
                "--max_image_seconds"
            ) from error
        finally:
            process.kill()
    return _read_answer(answer, log, source, limits)


def _read_answer(
    answer: bytes, log: bytes, source: str, limits: image_limits.ImageLimits
) -> tuple[np.ndarray, tuple[int, int]]:
    head, _, content = answer.partition(b"\n")
    if not head:
        lines = log.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "without a message")
        raise errors.CorruptRecordError(
            f"{source} ended its decoder ({reason}), which may use {limits.max_image_megabytes} MB; replace the file, "
            "or raise --max_image_megabytes"
        )
    found = json.loads(head)
    if "problem" in found:
        raise errors.CorruptRecordError(found["problem"])
    # Some decoders only print what is wrong, see `codec.decode_here` and `raster_files.decode`.
    lines = [line for line in log.decode(errors="replace").splitlines() if re.search(found["damage"], line)]
    if found["damage"] and lines:
        raise errors.CorruptRecordError(f"{source} is damaged: {lines[0]}; replace the file")
    image = np.frombuffer(bytearray(content), np.uint8).reshape(found["shape"])
    return image, (found["width"], found["height"])

"""One photograph: as the networks of a run see it, and as it is."""

import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from isic_tf.data import image_files
from tfrecord_tools.imaging import limits as image_limits


class Photograph(typing.NamedTuple):
    """A decoded photograph."""

    square: np.ndarray  # uint8 [S, S, 3], RGB, as the records of a run were made
    whole: np.ndarray  # uint8 [height, width, 3], RGB, upright
    is_color_guessed: bool = False  # whether its pixels decided between RGB and YCbCr, since a DICOM header does not


class PhotographReader:
    """Decodes photographs, from files or from memory, as the records of a run were made. Safe for several threads."""

    def __init__(
        self, image_size: int, run: Mapping[str, str], limits: image_limits.ImageLimits = image_limits.DEFAULTS
    ) -> None:
        """Chooses the preprocessing; logs the options that are unknown, and what is assumed for them.

        Args:
            image_size: Side S in pixels.
            run: Dict of the run's options as text, see `run_directory.read_flags`.
            limits: What the decoding of an image may take.
        """
        self._preparation = image_files.choose_preparation(image_size, run)
        self._limits = image_limits.extract(limits)

    def read_file(self, path: str) -> Photograph:
        """Decodes an image file.

        Args:
            path: See `image_files.list_files`.

        Returns:
            `Photograph`.

        Raises:
            CorruptRecordError: The image cannot be decoded within the limits.
            OSError: The file cannot be read; in a bucket an error of TensorFlow, see `filesystem.is_failure`.
        """
        from tfrecord_tools.imaging import image_files as files

        return self.read_bytes(files.read_file(path, self._limits), path)

    def read_bytes(self, data: bytes, name: str) -> Photograph:
        """Decodes an image file that is in memory; nothing is written to disk.

        Args:
            data: Bytes of the file.
            name: Its path, or a name for errors; by its extension, DICOM files without a preamble are known.

        Returns:
            `Photograph`.

        Raises:
            CorruptRecordError: The image cannot be decoded within the limits.

        Examples:
            >>> from tfrecord_tools.imaging import encode
            >>> reader = PhotographReader(32, {"resize": "crop", "trim_border": "False", "color_constancy": "none"})
            >>> found = reader.read_bytes(encode(np.zeros((48, 64, 3), np.uint8), quality=95), "lesion")
            >>> found.square.shape, found.whole.shape
            ((32, 32, 3), (48, 64, 3))
        """
        from tfrecord_tools.imaging import image_files as files
        from tfrecord_tools.imaging import preprocessing

        notes: list[str] = []
        decode = files.open_bytes(data, name, self._limits, notes)
        kept = []

        def decode_and_keep(**scale: Any) -> tuple[np.ndarray, tuple[int, int]]:
            found, size = decode(**scale)
            if (found.shape[1], found.shape[0]) == size:
                kept.append(found)
            return found, size

        square, _ = preprocessing.resize_to_square(decode_and_keep, **self._preparation.options)
        # Of a large JPEG the network sees a smaller decode; the photograph itself is decoded apart.
        whole = kept[0] if kept else decode(at_least=self._limits.max_image_side)[0]
        return Photograph(self._preparation.finish(square[..., ::-1]), whole[..., ::-1], bool(notes))

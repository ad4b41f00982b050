"""Decodes image files as the records of a run were made."""

import concurrent.futures
import contextlib
import logging
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.data import decoding, preprocessing_config, record_loading
from tfrecord_tools import errors
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)


def choose_preprocessing(run: Mapping[str, str]) -> dict[str, Any]:
    """Chooses how image files are prepared for a run; logs what is assumed.

    Args:
        run: Dict of the run's options as text, see `run_directory.read_flags`.

    Returns:
        `resize` (text), `trim_border` (bool) and `color_constancy` (text), see `preprocessing.resize_to_square`; and,
        where they are known, `record_size` and `quality`, see `preprocessing_config.read_preprocessing`.

    Examples:
        >>> choose_preprocessing({"resize": "pad", "trim_border": "True", "color_constancy": "none"})
        {'resize': 'pad', 'trim_border': True, 'color_constancy': 'none'}
    """
    known = preprocessing_config.find_preprocessing(run)
    assumed = {name: value for name, value in preprocessing_config.DEFAULTS.items() if name not in known}
    if assumed:
        texts = [f"{name}={value}" for name, value in assumed.items()]
        _LOG.warning(f"note: the preprocessing of the run's records is unknown; image files use {', '.join(texts)}")
    options = {**assumed, **known}
    return {**options, "trim_border": str(options["trim_border"]) == "True"}


class Preparation(typing.NamedTuple):
    """How image files become what the networks of a run saw of its records."""

    options: dict[str, Any]  # keyword arguments of `preprocessing.resize_to_square`
    finish: Callable[[np.ndarray], np.ndarray]  # from a square that it returns, but RGB, to uint8 [S, S, 3]


def choose_preparation(image_size: int, run: Mapping[str, str]) -> Preparation:
    """Chooses how image files are prepared for a run; logs what is assumed.

    Where size and quality of the run's records are known, a file passes through a record, so that the networks see
    the same pixels of it as of the record that `tfrecord_tools.build` makes of it.

    Args:
        image_size: Side S in pixels.
        run: See `choose_preprocessing`.

    Returns:
        `Preparation`.
    """
    options = choose_preprocessing(run)
    size, quality = options.pop("record_size", None), options.pop("quality", None)
    if size is None:
        return Preparation({"image_size": image_size, **options}, lambda image: image)
    return Preparation(
        {"image_size": size, **options},
        lambda image: decoding.pass_through_record(image, quality, image_size).numpy(),
    )


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
        self._preparation = choose_preparation(image_size, run)
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


@contextlib.contextmanager
def open_reader(
    rows: pd.DataFrame,
    image_size: int,
    run: Mapping[str, str],
    threads: int,
    skipped: dict[str, str] | None = None,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
) -> Iterator[record_loading.ImageReader]:
    """Opens a function that decodes image files, several at once, as the records of a run were made.

    Logs the preprocessing options that are unknown, and what is assumed for them.

    Args:
        rows: See `image_files.list_files`.
        image_size: Side S in pixels.
        run: Dict of the run's options as text, see `run_directory.read_flags`.
        threads: Images decoded at once.
        skipped: Where files that cannot be decoded are skipped, the dict that receives the problem of each by image
            name; None to stop at the first.
        limits: What the decoding of an image may take.

    Yields:
        Function from numbers (int64 `[b]`, the column `number`) to images (uint8 `[b, S, S, 3]`), for
        `input_pipeline.make_eval_dataset`. A skipped image is black.

    Raises:
        IsicError: A file that is read inside the block, by the function or by a dataset that calls it, cannot be read
            or decoded, and is not skipped; the message names it.
    """
    from tfrecord_tools.imaging import image_files, jpeg_colors
    from tfrecord_tools.imaging.sources import addresses

    notes: list[str] = []
    preparation = choose_preparation(image_size, run)
    paths = rows["path"].tolist()
    failures = []

    def decode(number: int) -> np.ndarray:
        try:
            image = image_files.prepare_image(paths[number], preparation.options, limits, notes)
            return preparation.finish(image)
        except Exception as error:
            if skipped is None or not (isinstance(error, ValueError) or filesystem.is_failure(error)):
                failures.append(error)
                raise
            # The manifest of a record set names files without the directories of this machine, too.
            problem = addresses.hide_directories(" ".join(str(error).split()), paths[number])
            skipped[rows["image_name"].iloc[number]] = problem
            return np.zeros((image_size, image_size, 3), np.uint8)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            yield lambda numbers: np.stack(list(pool.map(decode, numbers)))
        except Exception as error:
            if not failures:
                raise
            # A dataset turns it into many lines of TensorFlow's own.
            problem = " ".join(str(failures[0]).split())
            raise errors.IsicError(f"{problem}; to skip unreadable images, use --on_error=skip") from error
    if notes:
        _LOG.warning(f"note: {jpeg_colors.describe_notes(len(set(notes)), notes[0])}")

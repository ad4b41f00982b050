"""From shards on disk to decoded images: what to read, read, parse, decode."""

import contextlib
import re

import tensorflow as tf

from tfrecord_tools import schema

STALE_LABEL = "index and record disagree on the target of"
STALE_NAME = "the shard holds another record where the index has"
READ_ERRORS = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)


def training_files(index, fold):
    """Splits a record set's index for one fold.

    Args:
        index: See `schema.read_index`.
        fold: The held-out fold; None to hold out nothing.

    Returns:
        Two DataFrames of index rows: to train on, and held out. Their patients may share shards.

    Raises:
        ValueError: The fold is not in the index or has one class only, labels are missing, or a patient is in both
            parts.
    """
    folds = sorted(set(index["fold"]) - {schema.UNKNOWN})
    if fold is not None and fold not in folds:
        raise ValueError(f"expected one of the index's folds {folds or '(it has none)'}, got fold {fold}")
    held_out = index[index["fold"] == fold] if fold is not None else index[:0]
    # Where there are folds, a record in none is a duplicate of another.
    kept = index[~index["fold"].isin([fold, schema.UNKNOWN])] if folds else index
    parts = {"training part": kept} | ({} if fold is None else {"held-out part": held_out})
    for part, rows in parts.items():
        if {0, 1} != set(rows["target"]):
            name = "full" if fold is None else f"fold {fold}"
            raise ValueError(f"{name}: the {part} must have both classes and no blanks, has {set(rows['target'])}")
    leaks = sorted((set(kept["patient_id"]) & set(held_out["patient_id"])) - {""})
    if leaks:
        raise ValueError(
            f"fold {fold} leaks: {len(leaks)} patients are in training too, {leaks[0]} first; remake folds"
        )
    return kept, held_out


def read(files):
    """Reads serialized records in file order.

    Args:
        files: Path of a shard, or several.

    Returns:
        Dataset of string `[]`.
    """
    return tf.data.TFRecordDataset(files)


def parse(serialized, labelled):
    """Parses one record.

    Args:
        serialized: string `[]`.
        labelled: Whether to read the label; a test record never yields one.

    Returns:
        Dict of `image` (JPEG, string `[]`), `image_name` (string `[]`), the schema's integers (int64 `[]`, -1 where
        unknown) and, where labelled, `target`.
    """
    return tf.io.parse_single_example(serialized, schema.parse_spec(labelled))


def decode(image, image_size):
    """Decodes a JPEG to a square of one size.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg), so that no more pixels are decoded than the smallest
    such size that is not below `image_size`; a resize is left only where that is not exact.

    Args:
        image: JPEG, string `[]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`, RGB.
    """
    side = tf.reduce_min(tf.io.extract_jpeg_shape(image)[:2])
    # libjpeg rounds a scaled side up.
    fits = [-(-side // ratio) >= image_size for ratio in (8, 4, 2)]
    decoded = tf.case(
        [(fit, _scaled_decode(image, ratio)) for fit, ratio in zip(fits, (8, 4, 2), strict=True)],
        default=_scaled_decode(image, 1),
    )
    return resize(decoded, image_size)


def _scaled_decode(image, ratio):
    return lambda: tf.io.decode_jpeg(image, channels=3, ratio=ratio)


def resize(image, image_size):
    """Stretches an image, uint8 `[h, w, 3]`, to a square of one size, uint8 `[S, S, 3]`, where it is not one."""
    exact = tf.reduce_all(tf.equal(tf.shape(image)[:2], image_size))
    resized = tf.cond(exact, lambda: image, lambda: _resize(image, image_size))
    return tf.ensure_shape(resized, [image_size, image_size, 3])


def _resize(image, image_size):
    sides = tf.shape(image)[:2]
    size = [image_size, image_size]

    def bilinear():
        return tf.raw_ops.ResizeBilinear(images=image[tf.newaxis], size=size, half_pixel_centers=True)[0]

    def area_or_antialiased():
        # The area average comes as near to an antialiased resize on photographs and costs a quarter; it cannot enlarge.
        return tf.cond(
            tf.reduce_all(sides >= image_size),
            lambda: tf.image.resize(image, size, "area"),
            lambda: tf.image.resize(image, size, antialias=True),
        )

    # Up to 4/3 (512 px to 384) four neighbours leave out next to nothing, in half the time again.
    near = tf.reduce_all((sides >= image_size) & (3 * sides <= 4 * image_size))
    # All three are averages, so none leaves the range.
    return tf.cast(tf.cond(near, bilinear, area_or_antialiased) + 0.5, tf.uint8)


def explain(files, error):
    """Finds what is wrong with the records that made a dataset fail.

    Args:
        files: Paths of the shards that were read.
        error: `tf.errors.OpError` that was raised.

    Returns:
        ValueError that names the shard and the record's position in it, or the image; `error` itself where the records
        are not to blame.
    """
    if stale := re.search(rf"({STALE_LABEL}|{STALE_NAME})\W+([^\]\"]+)", error.message):
        return ValueError(f"{stale[1]} {stale[2]}; index the set again, or rebuild it")
    if "expected to contain" in error.message:
        return ValueError("the index lists more images than its shards hold; index the set again, or rebuild it")
    of_records = isinstance(error, tf.errors.DataLossError) or re.search("(?i)jpe?g|feature|example", error.message)
    for file in files if of_records else ():
        position = 0
        try:
            for serialized in tf.data.TFRecordDataset(file):
                record = parse(serialized, labelled=False)
                tf.io.decode_jpeg(record["image"], channels=3, ratio=8)
                position += 1
        except tf.errors.OpError as found:
            reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", found.message.split("\n")[0]).strip()
            return ValueError(f"{file} is corrupt at record {position}: {reason}; make or fetch this shard again")
    return error


@contextlib.contextmanager
def explained(files):
    """Turns a failure of records that are read inside the block into the ValueError that `explain` gives."""
    try:
        yield
    except READ_ERRORS as error:
        explanation = explain(files, error)
        if explanation is error:
            raise
        raise explanation from error

"""Checks the records of one shard, the shards of one split against its manifest and index, and folds for leaks."""

import collections
import concurrent.futures
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.imaging import channel_order, codec
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import filesystem, identity, image_formats, tfrecord
from tfrecord_tools.splits import leaks

COLUMNS = ("path", "position", "offset", "image_name", "target", "problem", "image_digest", "mean_red", "mean_blue")
# Stands for the fold of all images of a test split.
TEST_FOLD = "test"
_NOT_DECODED = (float("nan"), float("nan"))
_Result = TypeVar("_Result")


def examine_shard(
    path: str,
    image_size: int | None,
    decode: bool,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
    with_digests: bool = True,
    threads: int = 1,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Reads all records of a shard, past damaged ones too.

    Args:
        path: The shard.
        image_size: Required side of the images, in pixels; None if unknown.
        decode: Whether to decode the images too.
        limits: What the decoding of one image may take.
        with_digests: Whether to compute the digests of the images.
        threads: Number of records that are checked at once.

    Returns:
        table: DataFrame of `COLUMNS`, one row per record or damaged part: `offset` is in bytes, `target` is the
            record's own, -1 if it has none, `problem` is "" if the record is valid, and `image_digest` is that of
            `identity.image_digest`, "" without an image or a digest. `mean_red` and `mean_blue` are those of
            `channel_order.mean_red_and_blue`, NaN where the image is not decoded.
        facts: Dict of the file's `bytes` and `sha256`.

    Examples:
        >>> table, facts = examine_shard("records/train00-2071.tfrec", image_size=384, decode=True)  # doctest: +SKIP
        >>> table["problem"].value_counts()  # doctest: +SKIP
    """
    digest = hashlib.sha256()
    size = filesystem.size(path)

    def check(found: tuple[int, tuple[int, bytes | None, str]]) -> tuple[Any, ...]:
        position, (offset, data, damage) = found
        return path, position, offset, *_check_record(data, damage, image_size, decode, limits, with_digests)

    rows = list(_map_ahead(check, enumerate(tfrecord.scan(path, digest)), threads))
    return pd.DataFrame(rows, columns=COLUMNS), {"bytes": size, "sha256": digest.hexdigest()}


def _map_ahead(function: Callable[[Any], _Result], items: Iterable[Any], threads: int) -> Iterator[_Result]:
    """Maps items in order by threads; unlike a pool's own `map`, holds a few of the items at a time."""
    if threads == 1:
        yield from map(function, items)
        return
    waiting: collections.deque[concurrent.futures.Future[_Result]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        for one in waiting:
            yield one.result()


def _check_record(
    data: bytes | None,
    damage: str,
    image_size: int | None,
    decode: bool,
    limits: image_limits.ImageLimits,
    with_digests: bool,
) -> tuple[Any, ...]:
    """Returns the values of `COLUMNS` from `image_name` on."""
    features: dict[str, Any] = {}
    problems = [damage]
    if data is not None and not damage:
        features, problems = tfrecord.parse(data)
    means = _NOT_DECODED
    if not problems:
        problems, means = _check_image(features["image"], image_size, decode, limits)
    target = features.get("target", schema.UNKNOWN)
    if not problems and target not in (schema.UNKNOWN, 0, 1):
        problems = [f"target must be 0 or 1, is {target}"]
    image_digest = identity.image_digest(features["image"]) if with_digests and "image" in features else ""
    return features.get("image_name", ""), target, "; ".join(problems), image_digest, *means


def _check_image(
    image: bytes, image_size: int | None, decode: bool, limits: image_limits.ImageLimits
) -> tuple[list[str], tuple[float, float]]:
    """Returns the problems of an image, and the means of red and blue, NaN where it is not decoded."""
    problem = image_formats.describe_format(image)
    if problem:
        return [f"image {problem}"], _NOT_DECODED
    size = codec.image_size(image)
    if size is None:
        return ["image has no intact header"], _NOT_DECODED
    try:
        image_limits.check_size(limits, "image", *size)
        if image_size and size != (image_size, image_size):
            stated = f"the manifest states {image_size}x{image_size}"
            return [f"image is {size[0]}x{size[1]}, but {stated}"], _NOT_DECODED
        if not decode:
            return [], _NOT_DECODED
        # An eighth of the size is enough for the means, and all bytes of the file are read.
        decoded, _ = codec.decode(image, "image", at_least=1, limits=limits)
    except errors.CorruptRecordError as error:
        # The remedy of `codec` is that for a file; the one for records is that of `verify_record_set`.
        return [str(error).split("; ")[0]], _NOT_DECODED
    return [], channel_order.mean_red_and_blue(decoded)


def check_counts(
    directory: str, manifest: Mapping[str, Any], facts_by_path: Mapping[str, Mapping[str, Any]], table: pd.DataFrame
) -> list[str]:
    """Compares the shards of a split with its manifest.

    Args:
        directory: Directory of the set.
        manifest: See `manifest.read_manifest`.
        facts_by_path: `bytes` and `sha256` of each shard, by path.
        table: DataFrame of `COLUMNS` of all these shards.

    Returns:
        List of problems.
    """
    listed = {shard["name"]: shard for shard in manifest["shards"]}
    counts = table.groupby("path").size()
    problems = []
    for path, facts in facts_by_path.items():
        name = os.path.basename(path)
        if name not in listed:
            problems.append(f"{name} is not in the manifest")
            continue
        found = {"records": int(counts.get(path, 0)), **facts}
        for fact in ("records", "bytes", "sha256"):
            if found[fact] != listed[name][fact]:
                problems.append(f"{name} has {fact} {found[fact]}, but the manifest states {listed[name][fact]}")
    checked = {os.path.basename(path) for path in facts_by_path}
    for name in sorted(set(listed) - checked):
        if not filesystem.exists(os.path.join(directory, name)):
            problems.append(f"{name} is in the manifest, but does not exist")
    return problems


def check_index(index: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Compares the records of a split with its index: names in order, positions, targets, and images.

    Args:
        index: DataFrame of text, the index.
        table: DataFrame of `COLUMNS` of shards of the split.

    Returns:
        List of problems.
    """
    problems = []
    rows_by_shard = dict(list(index.groupby("shard")))
    for path, part in table.groupby("path"):
        shard = os.path.basename(path)
        rows = rows_by_shard.get(shard)
        if rows is None or rows["image_name"].tolist() != part["image_name"].tolist():
            problems.append(f"the index lists other images than {shard} holds")
            continue
        positions = pd.to_numeric(rows["position"], errors="coerce").to_numpy()
        num_misplaced = int((positions != part["position"].to_numpy()).sum())
        if num_misplaced:
            problems.append(f"{shard} has {num_misplaced} records at another position than the index")
        own = part["target"].to_numpy()
        indexed = pd.to_numeric(rows["target"].replace("", str(schema.UNKNOWN))).to_numpy()
        num_differing = int(((own != indexed) & (indexed >= 0)).sum())
        if num_differing:
            problems.append(f"{shard} has {num_differing} records with another target than the index")
        if "image_digest" in rows:
            listed = rows["image_digest"].to_numpy()
            num_replaced = int(((listed != "") & (listed != part["image_digest"].to_numpy())).sum())
            if num_replaced:
                problems.append(f"{shard} has {num_replaced} records with another image than the index")
    return problems


def check_leaks(index: pd.DataFrame, pairs: pd.DataFrame | None) -> list[str]:
    """Finds patients, lesions and duplicates that are in two folds, or in training and test; photographs in two folds.

    Args:
        index: DataFrame of text with `image_name`, `patient_id`, `fold` and optionally `lesion_id` and `image_digest`,
            the indexes of all splits; `fold` is `TEST_FOLD` in a test split.
        pairs: DataFrame of text with `image_name_1` and `image_name_2`, the known duplicates; or None.

    Returns:
        List of problems.

    Examples:
        >>> index = pd.DataFrame({"image_name": ["a", "b"], "patient_id": ["p", "p"], "fold": ["0", "1"]})
        >>> check_leaks(index, None)
        ['1 patients are in two folds (for example p)']
    """
    places = index["fold"].astype(object).replace("", None)
    is_test = places == TEST_FOLD
    splits = pd.Series("train", index.index, dtype=object).mask(is_test, "test").where(places.notna(), None)
    in_two_folds = leaks.find_split(index, places.mask(is_test, None))
    in_both_splits = leaks.find_split(index, splits)
    problems = []
    for kind, cases in in_two_folds.items():
        if cases:
            problems.append(f"{len(cases)} {leaks.SPLIT_KINDS[kind]} are in two folds (for example {cases[0]})")
    for kind in ("patients", "lesions"):
        cases = in_both_splits[kind]
        if cases:
            problems.append(f"{len(cases)} {leaks.SPLIT_KINDS[kind]} are in training and test (for example {cases[0]})")
    if pairs is None:
        return problems
    apart = leaks.find_split(index, places, pairs)["pairs"]
    if apart:
        problems.append(f"{len(apart)} pairs of listed duplicates are in two folds or splits (for example {apart[0]})")
    return problems

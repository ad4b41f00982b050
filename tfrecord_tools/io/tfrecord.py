"""Reads and writes TFRecord files; reading names damage instead of trusting it.

TensorFlow's own reader trusts every length with a correct checksum and allocates that much memory. This reader first
compares every length with the size of the file, and `check_lengths` does so for files that TensorFlow will read.
"""

import functools
import os
import re
import struct
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import DecodeError

from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, record_frames, tf_example

INTEGERS = (*schema.METADATA, "target")
_BYTES = ("image", "image_name")
_HEADER = record_frames.HEADER_BYTES
_FOOTER = record_frames.FOOTER_BYTES
# Bytes read at once while damaged data are skipped.
_BLOCK_BYTES = 2**22


def split_of(file: str) -> str:
    """Returns the split of a shard by its file name.

    Args:
        file: Path of the shard.

    Returns:
        `test` if the name starts with `test` or contains `-test` or `_test`, else `train`.

    Examples:
        >>> split_of("records/test00-687.tfrec")
        'test'
    """
    return "test" if re.search(r"(^|[-_])test", os.path.basename(file), re.IGNORECASE) else "train"


def write(file: Any, data: bytes) -> None:
    """Writes one record.

    Args:
        file: File object, open for writing bytes.
        data: Serialized `tf.train.Example`.
    """
    length = struct.pack("<Q", len(data))
    for part in (length, data):
        file.write(part + struct.pack("<I", record_frames.masked_crc(part)))


class _Reader:
    """Reads a file from start to end, may step back, and feeds every byte to a digest once."""

    def __init__(self, file: Any, digest: Any) -> None:
        self.position = 0
        self._file = file
        self._digest = digest

    def take(self, start: int, count: int) -> bytes:
        """Reads up to `count` bytes from `start`, which is at most the current position."""
        if start < self.position:
            self._file.seek(start)
        block = self._file.read(count)
        if self._digest:
            self._digest.update(block[self.position - start :])
        self.position = start + len(block)
        return block

    def skip_to(self, end: int) -> None:
        """Reads on to `end`."""
        while self.position < end:
            self.take(self.position, min(end - self.position, _BLOCK_BYTES))


def scan(path: str, digest: Any = None) -> Iterator[tuple[int, bytes | None, str]]:
    """Reads all records of a TFRecord file, past damaged ones too.

    After an invalid length, reading resumes at the next offset that holds an intact length. A compressed file is one
    damaged record.

    Args:
        path: The file, local or in a bucket.
        digest: hashlib object to update with all bytes of the file, or None.

    Yields:
        (offset, data, problem): where the record starts, in bytes from the start of the file; its data, which starts 12
        bytes later, or None if it is damaged; and a description of the damage, or "".
    """
    size = filesystem.size(path)
    offset = 0
    with filesystem.open(path) as file:
        reader = _Reader(file, digest)
        while offset < size:
            header = reader.take(offset, min(_HEADER, size - offset))
            length, problem = record_frames.read_length(header, size - offset)
            if problem:
                compression = "" if offset else record_frames.describe_compression(path)
                start = size if compression else _find_next(path, offset + 1, size)
                reader.skip_to(start)
                damage = f"the file {compression}" if compression else f"{problem}; skipped {start - offset} bytes"
                yield offset, None, damage
                offset = start
                continue
            body = reader.take(offset + _HEADER, length + _FOOTER)
            if len(body) != length + _FOOTER:
                yield offset, None, "the file ends inside this record"
                return
            data = body[:length]
            if record_frames.masked_crc(data) == struct.unpack("<I", body[length:])[0]:
                yield offset, data, ""
            else:
                yield offset, None, "the checksum of its data is wrong"
            offset += _HEADER + length + _FOOTER


def _find_next(path: str, offset: int, size: int) -> int:
    # In a file object of its own, since `scan` reads on where it stopped.
    with filesystem.open(path) as file:
        return record_frames.find_next(file, offset, size)


def list_places(path: str) -> Iterator[tuple[int, int]]:
    """Lists where the records of a file are; reads their lengths only.

    Args:
        path: The file, local or in a bucket.

    Yields:
        (offset, length): where the record starts and the length of its data, both in bytes.

    Raises:
        CorruptRecordError: The length of a record is damaged, or exceeds the rest of the file; or the file is
            compressed.
    """
    size = filesystem.size(path)
    offset = 0
    position = 0
    with filesystem.open(path) as file:
        while offset < size:
            file.seek(offset)
            length, problem = record_frames.read_length(file.read(_HEADER), size - offset)
            if problem:
                refuse_compressed(path)
                raise _corrupt(path, position, offset, problem)
            yield offset, length
            offset += _HEADER + length + _FOOTER
            position += 1


def check_lengths(path: str) -> int:
    """Checks the length of every record, before TensorFlow reads a file; a file that is unchanged is checked once.

    TensorFlow's reader allocates as many bytes as a length states, and may end the process where it is absurd.

    Args:
        path: The file, local or in a bucket.

    Returns:
        Number of records.

    Raises:
        CorruptRecordError: See `list_places`.
    """
    return _count_records(path, filesystem.stamp(path))


# More than the shards of a set.
@functools.lru_cache(maxsize=2**14)
def _count_records(path: str, stamp: tuple[int, int]) -> int:
    return sum(1 for _ in list_places(path))


def refuse_compressed(path: str) -> None:
    """Refuses a file that is compressed as a whole.

    Args:
        path: The file, local or in a bucket.

    Raises:
        CorruptRecordError: The file is compressed, by GZIP for example.
    """
    compression = record_frames.describe_compression(path)
    if compression:
        raise errors.CorruptRecordError(f"expected a TFRecord file without compression, but {path} {compression}")


def _corrupt(path: str, position: int, offset: int, problem: str) -> errors.CorruptRecordError:
    return errors.CorruptRecordError(
        f"{path} is corrupt at record {position}, byte {offset}: {problem}; download it again, or keep the intact "
        "records with tfrecord_tools.verify --quarantine"
    )


def parse(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """Parses the features of a record, without decoding its image.

    Args:
        data: Serialized `tf.train.Example`.

    Returns:
        Dict of `image` (bytes), `image_name` (text) and the features of `INTEGERS` that the record has (int); and a
        list of the features that do not match the schema, which the dict lacks.
    """
    try:
        features = tf_example.Example.FromString(data).features.feature
    except DecodeError:
        return {}, ["is not a tf.train.Example"]
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name in (*_BYTES, *INTEGERS):
        kind = "bytes" if name in _BYTES else "int64"
        if name not in features:
            if kind == "bytes":
                problems.append(f"lacks {name} (bytes)")
            continue
        values = getattr(features[name], f"{kind}_list").value
        if len(values) == 1:
            found[name] = values[0]
        else:
            problems.append(f"{name} must be one {kind}, is {_describe_values(features[name])}")
    if "image_name" in found:
        try:
            found["image_name"] = found["image_name"].decode()
        except UnicodeDecodeError:
            problems.append("image_name is not UTF-8 text")
            del found["image_name"]
    if problems:
        for name in sorted(set(features) - {*_BYTES, *INTEGERS}):
            problems.append(f"has {name} ({_describe_values(features[name])}), which is not in the schema")
    return found, problems


def _describe_values(feature: Any) -> str:
    """Returns the number and kind of a feature's values, as "2 int64"."""
    kind = feature.WhichOneof("kind")
    if kind is None:
        return "empty"
    return f"{len(getattr(feature, kind).value)} {kind.removesuffix('_list')}"


def read(path: str, digest: Any = None) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Reads a file in which every record must be intact.

    Args:
        path: The file, local or in a bucket.
        digest: hashlib object to update with all bytes of the file, or None.

    Yields:
        (offset, length, features): where the record starts, the length of its data, both in bytes, and the dict of
        `parse`.

    Raises:
        CorruptRecordError: A record is damaged or has a different schema, or the file is compressed.
    """
    for position, (offset, data, problem) in enumerate(scan(path, digest)):
        if data is None:
            if not offset:
                refuse_compressed(path)
            raise _corrupt(path, position, offset, problem)
        features, problems = parse(data)
        if problems:
            raise errors.CorruptRecordError(
                f"{path} has a different schema: record {position} {'; '.join(problems)}; build records from its "
                "images with tfrecord_tools.build"
            )
        yield offset, len(data), features


def read_at(path: str, offset: int, length: int) -> bytes:
    """Reads the data of one record at a place that `read` returned.

    Args:
        path: The file, local or in a bucket.
        offset: Where the record starts, in bytes.
        length: Length of its data, in bytes.

    Returns:
        Serialized `tf.train.Example`.

    Raises:
        CorruptRecordError: The file has changed since.
    """
    with filesystem.open(path) as file:
        file.seek(offset + _HEADER)
        body = file.read(length + _FOOTER)
    if (
        len(body) != length + _FOOTER
        or record_frames.masked_crc(body[:length]) != struct.unpack("<I", body[length:])[0]
    ):
        raise errors.CorruptRecordError(
            f"{path} no longer has an intact record at byte {offset}; if the file was replaced, run the command again"
        )
    return body[:length]

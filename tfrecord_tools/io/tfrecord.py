"""TFRecord files of any maker, read so that damage is named and never trusted.

A record is 8 bytes of length (little endian), the masked CRC-32C of those 8 bytes, the data, and the masked CRC-32C of
the data. TensorFlow's own reader believes any length whose CRC is right and asks for that much memory; here every
length is held against the file's size first.
"""

import os
import re
import struct

import google_crc32c
import numpy as np
from google.protobuf.message import DecodeError

from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, tf_example

_HEADER, _FOOTER = 12, 4
_WINDOW = 2**22
INTEGERS = (*schema.METADATA, "target")


def split_of(file):
    """Tells a shard's split by its name: `test` where that begins so, or holds `-test`, else `train`."""
    return "test" if re.search(r"(^|[-_])test", os.path.basename(file)) else "train"


def masked_crc(data):
    """Gives TensorFlow's masked CRC-32C of bytes."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write(file, data):
    """Writes one record to an open file."""
    length = struct.pack("<Q", len(data))
    for part in (length, data):
        file.write(part + struct.pack("<I", masked_crc(part)))


def scan(path, digest=None):
    """Reads a TFRecord file through, over damage too.

    After a length that cannot be right, reading goes on at the next place that is a record with the right checksums.

    Args:
        path: The file; of this machine or a bucket.
        digest: hashlib object to feed with all bytes, or None.

    Yields:
        (offset, data, problem): where the record begins, its bytes or None, and what is wrong or "". `offset` counts
        bytes from the start of the file and `data` begins 12 bytes after it.
    """
    size, offset, seen = filesystem.size(path), 0, 0
    with filesystem.open(path) as file:

        def take(start, count):
            nonlocal seen
            if start < seen:
                file.seek(start)
            block = file.read(count)
            if digest:
                digest.update(block[seen - start :])
            seen = start + len(block)
            return block

        while offset < size:
            length, problem = _read_length(take(offset, min(_HEADER, size - offset)), size - offset)
            if problem:
                start = _resume(path, offset + 1, size)
                while seen < start:
                    take(seen, min(start - seen, _WINDOW))
                yield offset, None, f"{problem}; {start - offset} bytes passed over"
                offset = start
                continue
            body = take(offset + _HEADER, length + _FOOTER)
            data = body[:length]
            if len(body) != length + _FOOTER:
                yield offset, None, "the file ends within it"
                return
            good = masked_crc(data) == struct.unpack("<I", body[length:])[0]
            yield offset, data if good else None, "" if good else "the checksum of its data is wrong"
            offset += _HEADER + length + _FOOTER


def _read_length(header, left):
    """Gives a record's length and what is wrong with it, for a record with `left` bytes to the end of the file."""
    if len(header) < _HEADER:
        return 0, f"{len(header)} bytes are no whole record"
    length, crc = struct.unpack("<QI", header)
    if masked_crc(header[:8]) != crc:
        return 0, "the checksum of its length is wrong"
    if length > left - _HEADER - _FOOTER:
        return 0, f"its length, {length} bytes, passes the end of the file"
    return length, ""


def _resume(path, offset, size):
    """Finds the next offset that begins a sound record, or the end of the file."""
    with filesystem.open(path) as file:
        while offset + _HEADER + _FOOTER < size:
            file.seek(offset)
            window = np.frombuffer(file.read(_WINDOW + _HEADER), np.uint8)
            count = min(_WINDOW, len(window) - _HEADER)
            # A length below 2^32 has four zero bytes at its end, which hardly ever occurs within a JPEG.
            low = sum(window[place : place + count].astype(np.uint32) << 8 * place for place in range(4))
            high = sum(window[place : place + count] != 0 for place in range(4, 8))
            left = size - offset - np.arange(count) - _HEADER - _FOOTER
            for start in np.flatnonzero((high == 0) & (low > 0) & (low <= left)):
                _, problem = _read_length(window[start : start + _HEADER].tobytes(), size - offset - start)
                if not problem:
                    return int(offset + start)
            offset += _WINDOW
    return size


def parse(data):
    """Reads a record's features without decoding its image.

    Args:
        data: Serialized `tf.train.Example`.

    Returns:
        Dict of `image` (bytes), `image_name` (text) and those of `INTEGERS` that the record has (int), and a list of
        what does not fit the schema, feature by feature; the dict lacks what does not fit.
    """
    try:
        features = tf_example.Example.FromString(data).features.feature
    except DecodeError:
        return {}, ["is no tf.train.Example"]
    found, problems = {}, []
    for name in ("image", "image_name", *INTEGERS):
        kind = "bytes" if name in ("image", "image_name") else "int64"
        if name not in features:
            problems += [f"lacks {name} (bytes)"] if kind == "bytes" else []
            continue
        values = getattr(features[name], f"{kind}_list").value
        if len(values) == 1:
            found[name] = values[0]
        else:
            problems.append(f"{name} must be one {kind}, is {_describe(features[name])}")
    try:
        if "image_name" in found:
            found["image_name"] = found["image_name"].decode()
    except UnicodeDecodeError:
        problems.append("image_name is no UTF-8 text")
        del found["image_name"]
    if problems:
        others = sorted(set(features) - {"image", "image_name", *INTEGERS})
        problems += [f"has {name} ({_describe(features[name])}), which the schema has not" for name in others]
    return found, problems


def _describe(feature):
    kind = feature.WhichOneof("kind")
    return "empty" if kind is None else f"{len(getattr(feature, kind).value)} {kind.removesuffix('_list')}"


def read(path, digest=None):
    """Reads the sound records of a file that should hold nothing else.

    Args:
        path: The file.
        digest: See `scan`.

    Yields:
        (offset, length, features): where the record begins, the bytes of its data, and the dict of `parse`.

    Raises:
        IsicError: A record is damaged or of another schema.
    """
    for position, (offset, data, problem) in enumerate(scan(path, digest)):
        if problem:
            raise errors.CorruptRecordError(
                f"{path} is corrupt at record {position}, byte {offset}: {problem}; fetch it again, or keep the good "
                "records with tfrecord_tools.verify --quarantine"
            )
        features, problems = parse(data)
        if problems:
            raise errors.CorruptRecordError(f"{path} is of another schema, its record {position} {'; '.join(problems)}")
        yield offset, len(data), features


def read_at(path, offset, length):
    """Reads one record's data at a place that `read` gave.

    Raises:
        IsicError: The file has changed since.
    """
    with filesystem.open(path) as file:
        file.seek(offset + _HEADER)
        body = file.read(length + _FOOTER)
    if len(body) != length + _FOOTER or masked_crc(body[:length]) != struct.unpack("<I", body[length:])[0]:
        raise errors.CorruptRecordError(
            f"{path} has no sound record at byte {offset} any more; was it replaced? start again"
        )
    return body[:length]

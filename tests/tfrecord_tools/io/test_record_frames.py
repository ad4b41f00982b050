import bz2
import gzip
import io
import lzma
import struct
import zlib

import numpy as np
import pytest

from tfrecord_tools.io import record_frames, tfrecord


def frame(data):
    file = io.BytesIO()
    tfrecord.write(file, data)
    return file.getvalue()


def test_the_masked_checksum_is_that_of_the_format():
    # CRC-32C of "123456789" is e3069283 (RFC 3720); rotated right by 15 bits, c78c0d26 hex 0x0d27c60d + 0xa282ead8.
    rotated = (0xE3069283 >> 15 | 0xE3069283 << 17) & 0xFFFFFFFF
    assert record_frames.masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_checksums_of_many_rows_are_those_of_each():
    rows = np.random.default_rng(0).integers(0, 256, (50, 8), np.uint8)
    expected = [record_frames.masked_crc(row.tobytes()) for row in rows]
    assert record_frames._masked_crcs(iter(rows.T)).tolist() == expected


@pytest.mark.parametrize(
    ("header", "remaining", "expected"),
    [
        (frame(b"abc")[:12], 19, (3, "")),
        (frame(b"abc")[:12], 18, (0, "its length, 3 bytes, exceeds the rest of the file")),
        (frame(b"abc")[:11], 99, (0, "11 bytes are too few for a record")),
        (struct.pack("<QI", 3, 0), 99, (0, "the checksum of its length is wrong")),
    ],
)
def test_a_length_is_believed_with_its_checksum_and_within_the_file(header, remaining, expected):
    assert record_frames.read_length(header, remaining) == expected


class CountingFile(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("rest", [bytes(5), b"\1" + bytes(7), b"\xff"])
@pytest.mark.parametrize("distance", [0, 1, 100, 16373, 16384, 16396, 60_000])
def test_the_next_header_is_found_at_any_distance_whatever_lies_between(rest, distance):
    # The second kind makes every eighth offset a possible length of 1.
    between = (rest * (distance // len(rest) + 1))[:distance]
    content = b"\0" + between + frame(b"abc") + bytes(10**6)
    file = CountingFile(content)
    assert record_frames.find_next(file, 1, len(content)) == 1 + distance
    assert file.count <= 2**15 + 4 * distance


def test_without_another_header_the_search_ends_at_the_end():
    assert record_frames.find_next(io.BytesIO(bytes(70_000)), 1, 70_000) == 70_000
    assert record_frames.find_next(io.BytesIO(b"short"), 1, 5) == 5


@pytest.mark.parametrize(
    ("compress", "expected"),
    [
        (gzip.compress, "is compressed by GZIP; decompress it: gunzip < "),
        (bz2.compress, "is compressed by bzip2; decompress it: bunzip2 < "),
        (lzma.compress, "is compressed by XZ; decompress it: unxz < "),
        (zlib.compress, "is compressed by ZLIB; decompress it, for example with zlib.decompress of Python"),
        (lambda data: b"PK\3\4" + data, "is compressed by ZIP; decompress it: unzip -p "),
        (lambda data: b"\x28\xb5\x2f\xfd" + data, "is compressed by Zstandard; decompress it: unzstd < "),
        (bytes, ""),
        (lambda data: b"\x78\x9c" + data, ""),
        (lambda data: b"", ""),
    ],
)
def test_a_compressed_file_is_recognized_with_its_remedy(tmp_path, compress, expected):
    path = tmp_path / "a.tfrec"
    path.write_bytes(compress(frame(b"abc")))
    found = record_frames.describe_compression(str(path))
    assert found.startswith(expected)
    assert bool(found) == bool(expected)


def test_a_length_that_looks_like_a_signature_is_no_compression(tmp_path):
    length = int.from_bytes(b"\x1f\x8b\x08\0", "little")
    path = tmp_path / "a.tfrec"
    path.write_bytes(frame(bytes(length)))
    assert path.read_bytes()[:3] == b"\x1f\x8b\x08"
    assert record_frames.describe_compression(str(path)) == ""

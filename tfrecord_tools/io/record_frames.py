"""Frames of a TFRecord file: the length and the checksums around the data of each record.

A record is 8 bytes of length (little endian), the masked CRC-32C of those 8 bytes, the data, and the masked CRC-32C of
the data.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import google_crc32c
import numpy as np

from tfrecord_tools.io import filesystem

HEADER_BYTES = 12
FOOTER_BYTES = 4
# The first window of a search and the largest one: most damage is short, and a window is searched as a whole.
_FIRST_WINDOW = 2**14
_LAST_WINDOW = 2**22
_MASK_DELTA = 0xA282EAD8
# The polynomial of CRC-32C, with its bits reversed.
_POLYNOMIAL = 0x82F63B78
# Signature, name, and the command that decompresses a file.
_COMPRESSIONS = (
    (b"\x1f\x8b\x08", "GZIP", "gunzip <"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd <"),
    (b"\xfd7zXZ\x00", "XZ", "unxz <"),
    (b"BZh", "bzip2", "bunzip2 <"),
    (b"PK\x03\x04", "ZIP", "unzip -p"),
)


def masked_crc(data: bytes) -> int:
    """Computes the masked CRC-32C of bytes, the checksum of the TFRecord format."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def read_length(header: bytes, remaining: int) -> tuple[int, str]:
    """Reads the length of a record.

    Args:
        header: The first `HEADER_BYTES` of the record, or fewer at the end of a file.
        remaining: Number of bytes from the start of the record to the end of the file.

    Returns:
        The length of the data in bytes, and what is wrong with it, or "".
    """
    if len(header) < HEADER_BYTES:
        return 0, f"{len(header)} bytes are too few for a record"
    length, crc = struct.unpack("<QI", header)
    if masked_crc(header[:8]) != crc:
        return 0, "the checksum of its length is wrong"
    if length > remaining - HEADER_BYTES - FOOTER_BYTES:
        return 0, f"its length, {length} bytes, exceeds the rest of the file"
    return length, ""


def find_next(file: Any, offset: int, size: int) -> int:
    """Searches for the next intact header; the time grows with the distance to it only.

    Args:
        file: File object, open for reading bytes.
        offset: Where to start, in bytes.
        size: Size of the file in bytes.

    Returns:
        The offset of a header with a correct checksum and a length that fits into the file, or `size`.
    """
    window_bytes = _FIRST_WINDOW
    while offset + HEADER_BYTES + FOOTER_BYTES < size:
        file.seek(offset)
        window = np.frombuffer(file.read(window_bytes + HEADER_BYTES), np.uint8)
        starts = _find_headers(window, size - offset)
        if len(starts):
            return offset + int(starts[0])
        offset += window_bytes
        window_bytes = min(2 * window_bytes, _LAST_WINDOW)
    return size


def _find_headers(window: np.ndarray, remaining: int) -> np.ndarray:
    """Returns the offsets in a window, uint8 `[n]`, at which an intact header starts; `remaining` is from its start."""
    count = len(window) - HEADER_BYTES
    # A length below 2^32 has four zero bytes at its end, which hardly ever occurs within a JPEG.
    low = sum(window[place : place + count].astype(np.uint32) << 8 * place for place in range(4))
    high = sum(window[place : place + count] != 0 for place in range(4, 8))
    most = remaining - np.arange(count) - HEADER_BYTES - FOOTER_BYTES
    starts = np.flatnonzero((high == 0) & (low > 0) & (low <= most))
    # In a file with many zeros all offsets may be candidates, so their checksums are computed together.
    stored = sum(window[starts + 8 + place].astype(np.uint32) << 8 * place for place in range(4))
    return starts[_masked_crcs(window[starts + place] for place in range(8)) == stored]


def _make_crc_table() -> np.ndarray:
    """Returns the CRC-32C of each byte, uint32 `[256]`, without the inversions at both ends."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


_CRC_TABLE = _make_crc_table()


def _masked_crcs(columns: Iterator[np.ndarray]) -> np.ndarray:
    """Computes `masked_crc` of many rows of bytes, given column by column, uint8 `[n]` each; returns uint32 `[n]`."""
    crcs = np.array(0xFFFFFFFF, np.uint32)
    for column in columns:
        crcs = _CRC_TABLE[(crcs ^ column) & 0xFF] ^ crcs >> 8
    crcs = ~crcs
    return (crcs >> 15 | crcs << 17) + np.uint32(_MASK_DELTA)


def describe_compression(path: str) -> str:
    """Recognizes a compressed file.

    Args:
        path: The file, local or in a bucket.

    Returns:
        The compression and the remedy, such as "is compressed by GZIP; ..."; or "" for any other file.
    """
    with filesystem.open(path) as file:
        start = file.read(2**12)
    if _is_header(start[:HEADER_BYTES]):
        # The length of an uncompressed record may look like a signature.
        return ""
    for signature, name, command in _COMPRESSIONS:
        if start.startswith(signature):
            return f"is compressed by {name}; decompress it: {command} {path} > NEW_FILE"
    if _is_header(_decompress_header(start)):
        return "is compressed by ZLIB; decompress it, for example with zlib.decompress of Python"
    return ""


def _is_header(header: bytes) -> bool:
    return len(header) == HEADER_BYTES and masked_crc(header[:8]) == int.from_bytes(header[8:], "little")


def _decompress_header(start: bytes) -> bytes:
    """Decompresses as many bytes as the header of a record has; b"" where `start` is not compressed by zlib."""
    try:
        return zlib.decompressobj().decompress(start, HEADER_BYTES)
    except zlib.error:
        return b""

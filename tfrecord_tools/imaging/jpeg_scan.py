"""Finds damage in the compressed data of a JPEG of which a decoder does not warn.

Zeros in the place of a lost block of a disk decode like any other bits, and the decoder is often in step again after
them: of holes of 200 zeros in real files, libjpeg warns of two in three or fewer.
"""

from tfrecord_tools.imaging import jpeg_markers

# Frames of one Huffman code for all coefficients of a block: baseline and extended sequential.
_SEQUENTIAL = (0xC0, 0xC1)
# So many zeros hold a complete block, even of codes of a single bit.
_NUM_ZEROS = 32
_HUFFMAN_TABLES = 0xC4
_END_OF_BLOCK = 0


def find_zeros(data: bytes, header: jpeg_markers.JpegHeader) -> int | None:
    """Finds a run of zeros that no encoder writes.

    The code of zeros is the first of a Huffman table. Where it does not end a block, a run of zeros is a block in which
    every coefficient is the same, and no image has one. Where it does in all tables, the run may be a flat area, and
    nothing is said.

    Args:
        data: Bytes of the file.
        header: Its header, see `jpeg_markers.read_header`.

    Returns:
        Offset of the first such run in bytes; None if there is none, or the JPEG is of a kind in which it may occur.
    """
    start = header.scan + 2 + int.from_bytes(data[header.scan + 2 : header.scan + 4], "big")
    place = data.find(bytes(_NUM_ZEROS), start)
    if place < 0 or header.frame not in _SEQUENTIAL or jpeg_markers.NEXT_MARKER.search(data, start, place):
        return None
    num_components = data[header.scan + 4]
    selectors = data[header.scan + 6 : header.scan + 5 + 2 * num_components : 2]
    firsts = _read_first_symbols(data)
    found = {firsts.get(selector & 15, _END_OF_BLOCK) for selector in selectors}
    return None if found <= {_END_OF_BLOCK} else place


def _read_first_symbols(data: bytes) -> dict[int, int]:
    """Reads the symbol of the code of zeros of each Huffman table of coefficients, by its number."""
    firsts: dict[int, int] = {}
    for marker, start, end in jpeg_markers.list_segments(data):
        table = start + 4
        while marker == _HUFFMAN_TABLES and table + 17 < end:
            if data[table] >> 4 == 1:
                firsts[data[table] & 15] = data[table + 17]
            table += 17 + sum(data[table + 1 : table + 17])
    return firsts

"""Reads the orientation that a camera writes into a file, and turns images upright."""

import numpy as np

_ORIENTATION = 0x0112
_SHORT = 3


def read_orientation(block: bytes) -> int:
    r"""Reads the orientation of a block of EXIF data.

    Args:
        block: The TIFF structure of EXIF: byte order, offset of the first directory, the directory.

    Returns:
        1 to 8 as in the standard (JEITA CP-3451, 4.6.4); 1, upright, where the block is damaged or states nothing.

    Examples:
        >>> read_orientation(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0")
        6
    """
    if block[:4] not in (b"MM\0*", b"II*\0"):
        return 1
    little = block[:1] == b"I"

    def number(at: int, size: int) -> int:
        return int.from_bytes(block[at : at + size], "little" if little else "big")

    first = number(4, 4)
    for entry in range(number(first, 2)):
        at = first + 2 + 12 * entry
        if at + 12 > len(block):
            break
        if number(at, 2) == _ORIENTATION:
            value = number(at + 8, 2)
            return value if number(at + 2, 2) == _SHORT and 1 <= value <= 8 else 1
    return 1


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns an image as its orientation says.

    Args:
        image: uint8 `[height, width, 3]`.
        orientation: See `read_orientation`.

    Returns:
        uint8 `[height, width, 3]`, or `[width, height, 3]` for an orientation of 5 to 8.

    Examples:
        >>> image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
        >>> turn_upright(image, 3).tolist(), turn_upright(image, 6).shape
        ([[[3, 4, 5], [0, 1, 2]]], (2, 1, 3))
    """
    if orientation == 1:
        return image
    # Only here, since training as such needs no OpenCV.
    import cv2

    if orientation >= 5:
        image = cv2.transpose(image)
    # Around the horizontal axis (0), the vertical axis (1), or both (-1).
    axis = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return image if axis is None else cv2.flip(image, axis)

"""Makes small uncompressed TIFF files for tests."""

import struct

import numpy as np

_KINDS = {"H": 3, "I": 4}


def make_tiff(image: np.ndarray, order: str = "<", pages: int = 1, **tags: int) -> bytes:
    """Returns a TIFF of pages with one strip each.

    Args:
        image: uint8 or uint16 `[height, width]` or `[height, width, samples]`.
        order: `<` or `>`, the order of bytes.
        pages: Number of directories, all of the same image.
        **tags: Values of further tags, named `t` and their number, such as `t274=6`.
    """
    height, width = image.shape[:2]
    samples = image.shape[2] if image.ndim == 3 else 1
    content = image.astype(image.dtype.newbyteorder(order)).tobytes()
    data = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    entries = {
        256: width,
        257: height,
        258: 8 * image.dtype.itemsize,
        259: 1,
        262: 2 if samples >= 3 else 1,
        277: samples,
        278: height,
        279: len(content),
    }
    entries |= {int(name[1:]): value for name, value in tags.items()}
    size = 2 + 12 * (len(entries) + 1) + 4
    extra = 2 * samples if samples > 2 else 0
    start = 8 + pages * (size + extra)
    for page in range(pages):
        at = 8 + page * (size + extra)
        directory = struct.pack(f"{order}H", len(entries) + 1)
        for tag, value in sorted({**entries, 273: start}.items()):
            form = "I" if tag in (254, 273, 279) else "H"
            if tag == 258 and extra:
                directory += struct.pack(f"{order}HHII", tag, 3, samples, at + size)
            else:
                directory += struct.pack(f"{order}HHI{form}", tag, _KINDS[form], 1, value).ljust(12, b"\0")
        following = at + size + extra if page + 1 < pages else 0
        bits = struct.pack(f"{order}H", entries[258]) * samples if extra else b""
        data += directory + struct.pack(f"{order}I", following) + bits
    return data + content

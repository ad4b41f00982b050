"""PyTorch files written by hand, instruction by instruction."""

import io
import struct
import zipfile

import numpy as np

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
VERSION = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}."


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def integers(values):
    return b"(" + b"".join(b"\x8a\x0a" + value.to_bytes(10, "little", signed=True) for value in values) + b"t"


def storage(key, size, kind="FloatStorage"):
    """The instructions that name a storage; a size beyond 31 bits takes nine bytes."""
    number = b"J" + struct.pack("<i", size) if size < 2**31 else b"\x8a\x09" + size.to_bytes(9, "little")
    words = text("storage") + b"ctorch\n" + kind.encode() + b"\n" + text(key) + text("cpu")
    return b"(" + words + number + b"NtQ"


def tensor(name, array, key, kind="FloatStorage", offset=0, strides=None, size=None, shape=None):
    """The instructions that add one tensor to a dict; the storage is its elements in the order of memory."""
    steps = [step // array.itemsize for step in array.strides] if strides is None else strides
    shape = array.shape if shape is None else shape
    arguments = (
        b"("
        + storage(key, array.size if size is None else size, kind)
        + b"J"
        + struct.pack("<i", offset)
        + integers(shape)
        + integers(steps)
    )
    return text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"\x89ccollections\nOrderedDict\n)RtR"


def pickled(parts):
    """The pickle of an ordered dict of `tensor`s, or of other instructions for a name and a value."""
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + b"".join(parts) + b"u."


def old_file(parts, storages):
    """A file of the old format: the pickles, the list of storages, the storages."""
    keys = b"\x80\x02](" + b"".join(text(key) for key in storages) + b"e."
    content = MAGIC + VERSION + SYSTEM + pickled(parts) + keys
    return content + b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())


def zip_file(parts, storages, *, compression=zipfile.ZIP_STORED, root="archive"):
    """A file of the zip format."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", pickled(parts))
        for key, array in storages.items():
            archive.writestr(f"{root}/data/{key}", array.tobytes())
    return file.getvalue()


def state_dict_file(arrays):
    """A file of the old format with arrays by name, float32."""
    named = {str(number): np.ascontiguousarray(array, np.float32) for number, array in enumerate(arrays.values())}
    parts = [tensor(name, array, key) for name, (key, array) in zip(arrays, named.items(), strict=True)]
    return old_file(parts, named)

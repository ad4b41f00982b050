"""Writes files atomically: complete or not at all."""

import contextlib
import os

from tfrecord_tools.io import filesystem


@contextlib.contextmanager
def replaced(path):
    """Yields a temporary path beside `path`; it takes that name when the block ends and is removed when it fails."""
    folder, name = os.path.split(path)
    if folder:
        filesystem.makedirs(folder)
    # Several processes may work in one folder, as folds trained side by side.
    temporary = os.path.join(folder, f".tmp-{os.getpid()}-{name}")
    try:
        yield temporary
        filesystem.replace(temporary, path)
    except BaseException:
        if filesystem.exists(temporary):
            filesystem.remove(temporary)
        raise


def write_text(path, text):
    """Writes a text file whole or not at all."""
    with replaced(path) as temporary, filesystem.open(temporary, "w") as file:
        file.write(text)

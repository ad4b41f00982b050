"""Writes files atomically: complete or not at all."""

import contextlib
import os
from collections.abc import Iterator

from tfrecord_tools.io import filesystem


@contextlib.contextmanager
def replaced(path: str) -> Iterator[str]:
    """Yields a temporary path next to `path`, to be written within the `with` block.

    When the block ends, the temporary file replaces `path`. When the block fails, the file is removed.

    Args:
        path: The file to write; missing directories are created.

    Yields:
        Path of the temporary file.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     with replaced(f"{directory}/a.txt") as temporary, open(temporary, "w") as file:
        ...         _ = file.write("complete")
        ...     os.listdir(directory)
        ['a.txt']
    """
    directory, name = os.path.split(path)
    if directory:
        filesystem.makedirs(directory)
    # Several processes may write to one directory, for example when they train folds in parallel.
    temporary = os.path.join(directory, f".tmp-{os.getpid()}-{name}")
    try:
        yield temporary
        filesystem.replace(temporary, path)
    except BaseException:
        if filesystem.exists(temporary):
            filesystem.remove(temporary)
        raise


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 text file, complete or not at all.

    Args:
        path: The file to write; missing directories are created.
        text: Its content; line ends are kept as they are.
    """
    with replaced(path) as temporary, filesystem.open(temporary, "w") as file:
        file.write(text)

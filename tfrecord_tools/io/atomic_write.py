"""Writes files atomically: complete or not at all."""

import contextlib
import os
from collections.abc import Iterator

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, temporary_files


@contextlib.contextmanager
def replaced(path: str) -> Iterator[str]:
    """Yields a temporary path next to `path`, to be written within the `with` block.

    When the block ends, the temporary file replaces `path`. When the block fails, the file is removed. Those that
    killed processes left in the directory are removed too, see `temporary_files.remove_leftovers`.

    Args:
        path: The file to write; missing directories are created.

    Yields:
        Path of the temporary file.

    Raises:
        IsicError: The file cannot be written: there is no room, or the path does not allow it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     with replaced(f"{directory}/a.txt") as temporary, open(temporary, "w") as file:
        ...         _ = file.write("complete")
        ...     os.listdir(directory)
        ['a.txt']
    """
    directory, name = os.path.split(path)
    # Several processes may write to one directory, for example when they train folds in parallel.
    temporary = os.path.join(directory, temporary_files.make_name(name))
    with filesystem.explained_write_errors(path):
        refuse_other_kinds(path)
        if directory:
            filesystem.makedirs(directory)
        temporary_files.remove_leftovers_once(directory or ".")
    try:
        yield temporary
        filesystem.replace(temporary, path)
    except BaseException as error:
        filesystem.remove(temporary, missing_ok=True)
        # Errors about another file are those of what the block reads; if there is no file to rename, it wrote none.
        is_own = isinstance(error, OSError) and error.filename in (None, temporary) and error.filename2 is None
        explained = filesystem.explain_write_error(path, error) if is_own else None
        if explained is None:
            raise
        raise explained from error


def refuse_other_kinds(path: str) -> None:
    """Refuses a path at which there is something that a file cannot replace.

    Args:
        path: The file to write, local or in a bucket.

    Raises:
        ConfigError: The path is a directory, a named pipe, a socket or a device.
    """
    if filesystem.isdir(path):
        raise errors.ConfigError(f"expected the path of a file to write, got the directory {path}; add a file name")
    if filesystem.exists(path) and not filesystem.is_regular(path):
        raise errors.ConfigError(
            f"expected the path of a file to write, got {path}, which is a device, a named pipe or a socket; choose "
            "another path"
        )


def refuse_other_content(path: str, text: str) -> None:
    """Refuses to replace a file that the user may have changed; one with the same content may be written again.

    Args:
        path: The file to write, local or in a bucket.
        text: Its content.

    Raises:
        ConfigError: There is a file with other content, or something that a file cannot replace.
    """
    refuse_other_kinds(path)
    if filesystem.exists(path) and filesystem.read(path) != text.encode():
        raise errors.ConfigError(
            f"expected no {path}, or the one that this run writes, got a file with other content; move it, or choose "
            "another name"
        )


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 text file, complete or not at all.

    Args:
        path: The file to write; missing directories are created.
        text: Its content; line ends are kept as they are.
    """
    with replaced(path) as temporary, filesystem.open(temporary, "w") as file:
        file.write(text)

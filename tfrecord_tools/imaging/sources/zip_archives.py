"""Reads image files in zip archives in place."""

import struct
import zipfile
import zlib

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import filesystem

_IS_ENCRYPTED = 1
# Those that zipfile inflates part by part; a few bytes of others may become any number at once.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises for damaged archives.
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, UnicodeDecodeError)


def open_archive(path: str) -> zipfile.ZipFile:
    """Opens a zip archive and reads its list of files.

    Args:
        path: Local path, or URL of a bucket.

    Returns:
        `zipfile.ZipFile`, which several threads may read.

    Raises:
        CorruptRecordError: The file is not an intact zip archive.
    """
    file = filesystem.open(path)
    try:
        return zipfile.ZipFile(file)
    except _DAMAGE as error:
        file.close()
        raise errors.CorruptRecordError(
            f"{path} is not an intact zip archive: {error}; download it again, or move it out of --images"
        ) from error


def list_members(archive: zipfile.ZipFile) -> list[str]:
    """Lists the names of the files of an archive, in order; a name that it has twice is listed twice."""
    return sorted(info.filename for info in archive.infolist() if not info.is_dir())


def measure(archive: zipfile.ZipFile, member: str) -> int:
    """Returns the size in bytes that the archive states for a file; -1 where it lacks the file."""
    info = archive.NameToInfo.get(member)
    return -1 if info is None else info.file_size


def read_start(archive: zipfile.ZipFile, path: str, member: str, num_bytes: int) -> bytes:
    """Reads the first bytes of a file.

    Args:
        archive: See `open_archive`.
        path: Name of the archive in errors.
        member: Name of the file in it.
        num_bytes: How many bytes to read.

    Returns:
        At most so many bytes; none of a file that is encrypted or damaged, which is named when it is read.
    """
    try:
        return _read(archive, path, member, num_bytes)
    except errors.CorruptRecordError:
        return b""


def read(archive: zipfile.ZipFile, path: str, member: str, limits: image_limits.ImageLimits) -> bytes:
    """Reads a file.

    Args:
        archive: See `open_archive`.
        path: Name of the archive in errors.
        member: Name of the file in it.
        limits: What reading may take.

    Returns:
        Bytes of the file.

    Raises:
        CorruptRecordError: The archive lacks the file, or it is damaged, encrypted or larger than the limits.
    """
    num_bytes = measure(archive, member)
    image_limits.check_memory(limits, f"{path}::{member}", num_bytes)
    # No more bytes than the archive states are inflated.
    return _read(archive, path, member, num_bytes)


def _read(archive: zipfile.ZipFile, path: str, member: str, num_bytes: int) -> bytes:
    info = archive.NameToInfo.get(member)
    if info is None:
        raise errors.CorruptRecordError(f"{path} has no file {member}, expected one; check the path")
    if info.flag_bits & _IS_ENCRYPTED:
        raise errors.CorruptRecordError(f"{path}::{member} is encrypted, expected a plain file; unpack the archive")
    if info.compress_type not in _METHODS:
        raise errors.CorruptRecordError(
            f"{path}::{member} is compressed by the method {info.compress_type}, expected stored (0) or deflated (8); "
            "unpack the archive"
        )
    try:
        with archive.open(info) as file:
            return file.read(num_bytes)
    except NotImplementedError as error:
        raise errors.CorruptRecordError(f"{path}::{member} cannot be read: {error}; unpack the archive") from error
    except _DAMAGE as error:
        raise errors.CorruptRecordError(
            f"{path}::{member} is damaged: {error or 'it ends early'}; download the archive again"
        ) from error

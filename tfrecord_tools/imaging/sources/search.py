"""Searches directories, zip archives and HDF5 files for image files, or takes single files."""

import dataclasses
import functools
import os
import re
from collections.abc import Callable, Iterator

from tfrecord_tools.imaging.sources import addresses
from tfrecord_tools.io import filesystem, image_formats

DICOM_EXTENSIONS = (".dcm", ".dicom")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", *DICOM_EXTENSIONS)
# Extensions that such files also have, if their first bytes agree.
_RARE_EXTENSIONS = (".jpe", ".jfif", ".ima", ".dic")
# Formats that are recognized by their first bytes, where the extension does not tell.
_SNIFFED = ("JPEG", "PNG", "DICOM")
_HEADER_BYTES = 132
# Files of other extensions whose first bytes are read, to say what was passed over.
_MOST_OPENED = 1000
# The table of contents of a DICOM medium, which has the magic bytes but no image.
_DICOM_CONTENTS = "DICOMDIR"
_IMAGE = "image"
_SEPARATORS = re.compile(r"[/\\]")


@dataclasses.dataclass
class Search:
    """What a search has found so far.

    Attributes:
        skipped: Names of subdirectories of the sources, and of directories at the top of archives, that are not
            searched.
        paths: Paths or addresses of the images by image name, in order.
        passed_over: First file and number of the others by what they are, in the plural, of the current source.
        visited: Directories that have been searched, so that a link cannot lead in circles.
    """

    skipped: frozenset[str]
    paths: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    passed_over: dict[str, tuple[str, int]] = dataclasses.field(default_factory=dict)
    visited: set[tuple[int, int] | str] = dataclasses.field(default_factory=set)
    _num_opened: int = 0

    def search(self, source: str) -> None:
        """Searches a directory with all its subdirectories, or a container; takes a single file.

        Args:
            source: Path of a directory, zip archive, HDF5 file or image file.
        """
        self.passed_over = {}
        self._num_opened = 0
        if not filesystem.isdir(source):
            if source in self.visited:
                return
            if addresses.is_container(source):
                self._search_container(source, "")
            else:
                self._take_file(os.path.basename(source), source, source)
            return
        # By name, so that the order is the same on every machine; a stack, so that no depth is too deep.
        waiting = [(source, "")]
        while waiting:
            place, relative = waiting.pop()
            directories = []
            for name, path, kind in self._list(place):
                below = f"{relative}{name}"
                if kind == "directory":
                    if relative or name not in self.skipped:
                        directories.append((path, f"{below}/"))
                elif kind == "file":
                    self._take_file(name, path, below)
                else:
                    self._pass_over(kind, below)
            waiting += reversed(directories)

    def _list(self, place: str) -> Iterator[tuple[str, str, str]]:
        """Yields name, path and kind of what a directory holds: `file`, `directory`, or something else in plural."""
        if filesystem.is_remote(place):
            yield from _list_remote(place)
            return
        try:
            status = os.stat(place)
            identity = (status.st_dev, status.st_ino)
            if identity in self.visited:
                return
            self.visited.add(identity)
            with os.scandir(place) as scanned:
                entries = sorted(scanned, key=lambda entry: entry.name)
        except OSError:
            self._pass_over("directories that cannot be read", place)
            return
        for entry in entries:
            yield entry.name, entry.path, _find_kind(entry)

    def _take_file(self, name: str, path: str, relative: str) -> None:
        """Takes an image or the images of a container, and counts every other file."""
        stem, extension = os.path.splitext(name)
        extension = extension.lower()
        if extension in EXTENSIONS:
            self.paths.setdefault(stem, []).append(path)
            return
        if addresses.is_container(name):
            self._search_container(path, relative)
            return
        kind = self._classify(name, extension, functools.partial(_read_start, path))
        if kind == _IMAGE:
            self.paths.setdefault(name_image(name), []).append(path)
        else:
            self._pass_over(kind, relative)

    def _search_container(self, path: str, relative: str) -> None:
        self.visited.add(path)
        num_images = 0
        is_hdf5 = addresses.is_hdf5(path)
        for member in addresses.list_members(path):
            first, *others = _SEPARATORS.split(member)
            name = others[-1] if others else first
            if is_hdf5:
                kind = _IMAGE
            elif others and first in self.skipped:
                continue
            else:
                extension = os.path.splitext(name)[1].lower()
                kind = self._classify(name, extension, functools.partial(_read_member_start, path, member))
            if kind == _IMAGE:
                num_images += 1
                self.paths.setdefault(name_image(name), []).append(addresses.join(path, member))
            else:
                self._pass_over(kind, addresses.join(relative, member) if relative else member)
        if not num_images:
            self._pass_over("containers without images", relative or path)

    def _classify(self, name: str, extension: str, read_start: Callable[[], bytes]) -> str:
        """Returns `image` for an image file that can be read, or else what the file is, in the plural."""
        if name.startswith("."):
            return "hidden files"
        if extension in EXTENSIONS:
            return _IMAGE
        if name.upper() == _DICOM_CONTENTS:
            return "tables of contents"
        if addresses.is_container(name):
            return "containers within archives"
        may_be_image = extension in _RARE_EXTENSIONS or is_without_extension(name)
        if not may_be_image and self._num_opened >= _MOST_OPENED:
            return "other files"
        self._num_opened += not may_be_image
        found = image_formats.find_format(read_start())
        if found in _SNIFFED:
            return _IMAGE if may_be_image else f"{found} files with another extension"
        return f"{found or 'other'} files"

    def _pass_over(self, kind: str, relative: str) -> None:
        first, count = self.passed_over.get(kind, (relative, 0))
        self.passed_over[kind] = (first, count + 1)

    def describe_passed_over(self) -> str:
        """Describes what the last source had beside images: `2 other files (first: notes.txt)`; "" for nothing."""
        found = sorted(self.passed_over.items())
        return ", ".join(f"{count} {kind} (first: {first})" for kind, (first, count) in found)


def _find_kind(entry: os.DirEntry[str]) -> str:
    """Returns what an entry of a local directory is; links count as what they lead to."""
    if entry.name.startswith("."):
        return "hidden files"
    try:
        if entry.is_dir():
            return "directory"
        if entry.is_file():
            return "file"
    except OSError:
        pass
    return "pipes, devices or broken links"


def _list_remote(place: str) -> Iterator[tuple[str, str, str]]:
    for name in filesystem.listdir(place):
        path = f"{place.rstrip('/')}/{name}"
        # A request for each image of a bucket would take minutes.
        if name.startswith("."):
            yield name, path, "hidden files"
        elif not name.lower().endswith(EXTENSIONS) and filesystem.isdir(path):
            yield name, path, "directory"
        else:
            yield name, path, "file"


def _read_start(path: str) -> bytes:
    try:
        with filesystem.open(path) as opened:
            found: bytes = opened.read(_HEADER_BYTES)
            return found
    except Exception as error:
        if not filesystem.is_failure(error):
            raise
        return b""


def _read_member_start(path: str, member: str) -> bytes:
    return addresses.read_start(path, member, _HEADER_BYTES)


def is_without_extension(file: str) -> bool:
    """Returns whether a file has no extension; the last part of a DICOM UID, a number, is none."""
    extension = os.path.splitext(file)[1]
    return not extension or extension[1:].isdecimal()


def is_image(path: str) -> bool:
    """Returns whether a file is an image by its extension or, where that does not tell, by its first bytes."""
    extension = os.path.splitext(path)[1].lower()
    if extension in EXTENSIONS:
        return True
    may_be_image = extension in _RARE_EXTENSIONS or is_without_extension(os.path.basename(path))
    return may_be_image and image_formats.find_format(_read_start(path)) in _SNIFFED


def name_image(file: str) -> str:
    """Returns the image name of a file: its name without an extension.

    Examples:
        >>> name_image("ISIC_1.JPG"), name_image("1.2.840.7")
        ('ISIC_1', '1.2.840.7')
    """
    return file if is_without_extension(file) else os.path.splitext(file)[0]

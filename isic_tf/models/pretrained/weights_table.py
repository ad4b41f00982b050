"""The table of published weights: which files there are, where they come from, and their digests."""

import dataclasses
import difflib
import functools
import importlib.resources
import os

import yaml

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

# Those that a backbone starts from by name, the best last; the table has `imagenet-keras` too, for files by path.
KINDS = ("imagenet", "noisy-student")
# What `--weights` may be besides a path.
CHOICES = ("none", *KINDS)
_LABELS = {"sha256": "SHA-256", "md5": "MD5"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of published weights.

    Attributes:
        backbone: Name of the backbone whose weights it holds.
        kind: How they were trained: one of `KINDS`, or `imagenet-keras`, the files of
            `tf.keras.applications.EfficientNetB0` to B7.
        has_top: Whether it holds the classification layer too.
        name: Name of the file.
        algorithm: Digest that its publishers state: `sha256` or `md5`.
        digest: That digest, in hexadecimal digits.
        source: Package that states it.
        url: Address of the file; "" for one in a package.
        package: Package of Python that holds it, as `name==version`; "" for a download.
        num_bytes: Its size; 0 where it is not known.
    """

    backbone: str
    kind: str
    has_top: bool
    name: str
    algorithm: str
    digest: str
    source: str
    url: str = ""
    package: str = ""
    num_bytes: int = 0

    @property
    def digest_label(self) -> str:
        """Name of the digest for readers: `SHA-256` or `MD5`."""
        return _LABELS[self.algorithm]


@functools.cache
def read_table() -> tuple[PublishedFile, ...]:
    """Reads the table of all published files.

    Returns:
        Files; those of one backbone and kind in order of preference.

    Examples:
        >>> read_table()[0].name
        'efficientnet-lite0-57934424.pth'
    """
    content = (importlib.resources.files(__package__) / "published" / "weights.yaml").read_bytes()
    # Makes text of every scalar, and nothing but texts, lists and dicts; in C a tenth of a second faster.
    groups = yaml.load(content, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506
    return tuple(_parse_file(group, file) for group in groups for file in group["files"])


def _parse_file(group: dict[str, str], file: dict[str, str]) -> PublishedFile:
    algorithm = "sha256" if "sha256" in file else "md5"
    return PublishedFile(
        backbone=file["backbone"],
        kind=file["kind"],
        has_top=file["top"] == "true",
        name=file["file"],
        algorithm=algorithm,
        digest=file[algorithm],
        source=group["source"],
        url=f"{group['url']}{file['file']}" if "url" in group else "",
        package=file.get("package", ""),
        num_bytes=int(file.get("bytes", 0)),
    )


def find_files(backbone: str, kind: str) -> list[PublishedFile]:
    """Finds the files of a backbone's weights.

    Args:
        backbone: Name of the backbone.
        kind: See `PublishedFile`.

    Returns:
        Files in order of preference: without the classification layer before those with it, where both exist.

    Examples:
        >>> [file.has_top for file in find_files("efficientnet-b0", "noisy-student")]
        [False, True]
    """
    found = [file for file in read_table() if (file.backbone, file.kind) == (backbone, kind)]
    return sorted(found, key=lambda file: file.has_top)


def identify(path: str, name: str | None = None) -> PublishedFile | None:
    """Finds which published file a file is, by its digest.

    Args:
        path: Local or remote file.
        name: Its name, where it is a copy that is called otherwise.

    Returns:
        The file that was published; None for one that is not in the table.

    Raises:
        CorruptRecordError: It has the name of a published file, but other content.
    """
    found = filesystem.compute_digests(path, _LABELS)
    for file in read_table():
        if found[file.algorithm] == file.digest:
            return file
    name = name or os.path.basename(path)
    for file in read_table():
        if file.name == name:
            raise _make_error(path, file, found[file.algorithm])
    return None


def verify(path: str, file: PublishedFile) -> None:
    """Verifies the size and the digest of a published file.

    Args:
        path: Local or remote file.
        file: What it should be.

    Raises:
        CorruptRecordError: It is another file, or a damaged one.
    """
    size = filesystem.size(path)
    if file.num_bytes and size != file.num_bytes:
        raise errors.CorruptRecordError(
            f"expected {file.name} of {file.num_bytes} bytes at {path}, got {size} bytes; remove it, so that it is "
            "fetched again"
        )
    found = filesystem.compute_digests(path, [file.algorithm])[file.algorithm]
    if found != file.digest:
        raise _make_error(path, file, found)


def _make_error(path: str, file: PublishedFile, found: str) -> errors.CorruptRecordError:
    return errors.CorruptRecordError(
        f"expected the published {file.name} at {path}, with the {file.digest_label} {file.digest}, got {found}; "
        "remove it, so that it is fetched again, or rename it if it holds other weights"
    )


def list_kinds(backbone: str) -> tuple[str, ...]:
    """Lists the kinds of weights that are published for a backbone.

    Args:
        backbone: Name of the backbone.

    Returns:
        Some of `KINDS`, the best last.

    Examples:
        >>> list_kinds("efficientnet-b0"), list_kinds("efficientnet-l2")
        (('imagenet', 'noisy-student'), ())
    """
    return tuple(kind for kind in KINDS if find_files(backbone, kind))


def check_file(path: str) -> None:
    """Checks that there is a weights file.

    Args:
        path: See `weights_files.load_weights`.

    Raises:
        ConfigError: There is none.
    """
    kinds = f"--weights is {', '.join(CHOICES)} or the path of an .h5 file, or of a .pth file of EfficientNet-Lite"
    if not filesystem.exists(path):
        close = difflib.get_close_matches(path, CHOICES, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise errors.ConfigError(f"expected a weights file at {path}, which does not exist; {kinds}{meant}")
    if filesystem.isdir(path):
        raise errors.ConfigError(f"expected a weights file at {path}, which is a directory; {kinds}")

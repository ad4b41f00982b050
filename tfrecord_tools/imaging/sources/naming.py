"""Names images whose files have one name in several directories by their directories, too."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

from tfrecord_tools import errors
from tfrecord_tools.imaging.sources import search
from tfrecord_tools.io import identity

_LOG = logging.getLogger(__name__)

# Names with several files of which an error lists the files.
_MOST_LISTED = 5
_SEPARATORS = re.compile(r"[/\\]|::")


def settle_names(
    found: Mapping[str, Sequence[str]], sources: Sequence[str], wanted: Iterable[str] = ()
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Tells files of one name in several directories apart, where a table names them with a directory.

    Exports of clinics have files of one name for each patient. The DICOM files among them are named by their
    directories below the source, joined by `_`, so that `P1/S1/IMG1` and `P2/S1/IMG1` become `P1_S1_IMG1` and
    `P2_S1_IMG1`. A table may name files of any format so, with any number of directories and any separator.

    Args:
        found: Paths by image name, see `image_files.find_images`.
        sources: Directories and containers that were searched.
        wanted: Image names of a table.

    Returns:
        Paths by image name, and new name by the spelling of a table for the names that were wanted so.

    Examples:
        >>> found = {"img": ["d/benign/img.jpg", "d/malignant/img.jpg"], "b": ["d/b.jpg"]}
        >>> paths, renamed = settle_names(found, ["d"], wanted=["benign/img.jpg", "malignant/img.jpg", "b"])
        >>> list(paths), renamed["benign/img.jpg"]
        (['benign_img', 'malignant_img', 'b'], 'benign_img')
    """
    if all(len(paths) == 1 for paths in found.values()):
        return {name: list(paths) for name, paths in found.items()}, {}
    texts = list(wanted)
    as_they_are = set(texts) | {identity.image_key(text) for text in texts if not _SEPARATORS.search(text)}
    spellings = {flatten(text): text for text in texts}
    settled: dict[str, list[str]] = {}
    renamed = {}
    num_named = 0
    example = ""
    for name, paths in found.items():
        if len(paths) == 1 or name in as_they_are or identity.image_key(name) in as_they_are:
            settled.setdefault(name, []).extend(paths)
            continue
        others = []
        for path, aliases in zip(paths, _list_aliases(paths, sources), strict=True):
            alias = next((alias for alias in aliases if alias in spellings), None)
            if alias is not None:
                renamed[spellings[alias]] = alias
            elif aliases and _may_be_dicom(paths):
                # Of a file that was named itself, all directories may be those of this machine.
                alias = aliases[0 if path in sources else -1]
                example = example or alias
                num_named += 1
            if alias is None:
                others.append(path)
            else:
                settled.setdefault(alias, []).append(path)
        if others:
            settled.setdefault(name, []).extend(others)
    if num_named:
        _LOG.warning(
            f"note: {num_named} DICOM files have names that files in other directories have too; they are named by "
            f"their directories (first: {example})"
        )
    return settled, renamed


def _may_be_dicom(paths: Sequence[str]) -> bool:
    """Returns whether none of several images has the extension of another format."""
    return all(
        path.lower().endswith(search.DICOM_EXTENSIONS) or search.is_without_extension(_file(path)) for path in paths
    )


def _file(path: str) -> str:
    return _SEPARATORS.split(path)[-1]


def flatten(name: str) -> str:
    """Joins the directories and the name of an image, without its extension, by `_`.

    Examples:
        >>> flatten("benign/img1.jpg")
        'benign_img1'
    """
    *directories, file = _SEPARATORS.split(name)
    name = search.name_image(file) if file.lower().endswith(search.EXTENSIONS) else file
    return "_".join([*(part for part in directories if part not in ("", ".")), name])


def _list_aliases(paths: Sequence[str], sources: Sequence[str]) -> list[list[str]]:
    """Lists the names with directories that each of several files has alone, the shortest first.

    The directories are those below the source or, of a file that is a source itself, all of its path.
    """
    listed = []
    for path in paths:
        source = max((source for source in sources if path.startswith(source) and path != source), key=len, default="")
        below = path if path in sources else path[len(source) :]
        *directories, file = [part for part in _SEPARATORS.split(below) if part not in ("", ".", "..")]
        name = search.name_image(file)
        listed.append(
            ["_".join([*directories[len(directories) - count :], name]) for count in range(1, len(directories) + 1)]
        )
    counts: dict[str, int] = {}
    for aliases in listed:
        for alias in set(aliases):
            counts[alias] = counts.get(alias, 0) + 1
    return [[alias for alias in aliases if counts[alias] == 1] for aliases in listed]


def describe_repeated(found: Mapping[str, Sequence[str]]) -> str:
    """Lists the names that several files have, each with its files; "" for none.

    Args:
        found: Paths by image name, see `image_files.find_images`.

    Examples:
        >>> describe_repeated({"a": ["d/a.jpg", "d/a.png"], "b": ["d/b.jpg"]})
        "'a' (d/a.jpg, d/a.png)"
    """
    repeated = {name: paths for name, paths in found.items() if len(paths) > 1}
    cases = [f"{name!r} ({', '.join(sorted(paths))})" for name, paths in sorted(repeated.items())[:_MOST_LISTED]]
    others = len(repeated) - len(cases)
    return ", ".join([*cases, *([f"and {others} more"] if others else [])])


def refuse_repeated(found: Mapping[str, Sequence[str]], images: str) -> None:
    """Refuses names that several files have; the error lists these.

    Args:
        found: Paths by image name, see `image_files.find_images`.
        images: What was searched.

    Raises:
        IsicError: There are such names.
    """
    repeated = describe_repeated(found)
    if repeated:
        raise errors.IsicError(
            f"expected one file per image in {images}, but some names have more: {repeated}; remove or rename the "
            "other files"
        )

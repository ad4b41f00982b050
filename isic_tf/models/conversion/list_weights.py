"""Lists the published weights in a table."""

from isic_tf.models.pretrained import weights_cache, weights_table
from tfrecord_tools import errors

_HEADER = ("backbone", "weights", "top", "bytes", "here", "digest", "file")


def list_published() -> list[str]:
    """Lists the files of published weights: name, size and digest, and whether they are on this machine.

    Files on this machine are not opened: `--weights` and `--check` verify them.

    Returns:
        Lines of aligned columns, the first with their names.

    Examples:
        >>> list_published()[1].split()[:3]
        ['efficientnet-lite0', 'imagenet', 'yes']
    """
    rows = [_HEADER, *(_describe(file) for file in weights_table.read_table())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _describe(file: weights_table.PublishedFile) -> tuple[str, ...]:
    size = str(file.num_bytes or "-")
    place = f"{file.name} in {file.package}" if file.package else file.name
    digest = f"{file.digest_label} {file.digest}"
    return file.backbone, file.kind, _yes(file.has_top), size, _yes(_is_here(file)), digest, place


def _is_here(file: weights_table.PublishedFile) -> bool:
    try:
        return weights_cache.find_local(file) is not None
    except errors.IsicError:
        # Its package is not installed.
        return False


def _yes(value: bool) -> str:
    return "yes" if value else "no"

"""Keeps the weights of a fold beside their SHA-256 and epoch, and checks them wherever they are opened.

HDF5 has no checksum of its own: of most changed bytes nothing is noticed when it is read.
"""

import json
import os
import re
from typing import Any

from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem


def digest_path(path: str) -> str:
    """Returns the path of the file with the SHA-256 of a weights file."""
    return f"{path}.json"


def replace_weights(path: str, local: str, epoch: int) -> None:
    """Replaces a weights file and its SHA-256; both fit each other whenever the process is killed.

    Args:
        path: Weights file to write, local or remote.
        local: Local file with the new weights.
        epoch: Epoch whose weights they are, from 1.
    """
    new = {filesystem.compute_sha256(local): epoch}
    # Until the weights are replaced, and if that never happens, those of before are right too.
    old = read_digests(path)
    if not old and filesystem.exists(path):
        # Kept by release 0.1.
        old = {filesystem.compute_sha256(path): 0}
    _write_digests(path, {**old, **new})
    with atomic_write.replaced(path) as temporary:
        filesystem.copy(local, temporary)
    if old:
        _write_digests(path, new)


def _write_digests(path: str, digests: dict[str, int]) -> None:
    record = {"fold": _find_fold(path), "epoch_of_sha256": digests}
    atomic_write.write_text(digest_path(path), json.dumps(record, indent=1) + "\n")


def _find_fold(path: str) -> str:
    """Returns the name of the fold in whose directory a weights file lies; "" if it lies elsewhere."""
    name = os.path.basename(os.path.dirname(path))
    return name if re.fullmatch(r"fold\d+|full", name) else ""


def _read_record(path: str) -> dict[str, Any]:
    """Reads what is recorded of a weights file: its `fold`, and `epoch_of_sha256`; empty if nothing is."""
    sidecar = digest_path(path)
    if not filesystem.exists(sidecar):
        return {}
    try:
        record = json.loads(filesystem.read(sidecar))
        digests = {str(digest): int(epoch) for digest, epoch in record["epoch_of_sha256"].items()}
        return {"fold": str(record.get("fold", "")), "epoch_of_sha256": digests}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise errors.CorruptRecordError(
            f"expected the SHA-256 of {path} in {sidecar}, which is damaged ({error!r}); restore it from a copy, or "
            "remove it to use the weights unchecked"
        ) from error


def read_digests(path: str) -> dict[str, int]:
    """Reads which SHA-256 a weights file may have.

    Args:
        path: Weights file.

    Returns:
        Dict from SHA-256 to the epoch of the weights, 0 where unknown; empty where nothing is recorded, as by
        release 0.1.

    Raises:
        CorruptRecordError: The record is damaged.
    """
    return _read_record(path).get("epoch_of_sha256", {})


def check_digest(path: str, local: str | None = None) -> int:
    """Checks a weights file against its recorded SHA-256 and fold.

    Args:
        path: Weights file.
        local: Local copy to check in its place, where there is one.

    Returns:
        Epoch of the weights, from 1; 0 where it is not recorded.

    Raises:
        CorruptRecordError: The weights are not those that were kept.
    """
    record = _read_record(path)
    digests = record.get("epoch_of_sha256", {})
    if not digests:
        return 0
    fold = _find_fold(path)
    if fold and record["fold"] not in ("", fold):
        raise errors.CorruptRecordError(
            f"expected the weights of {fold} in {path}, got those of {record['fold']}, which may have been trained on "
            "the images that this fold holds out; restore them from a copy"
        )
    found = filesystem.compute_sha256(local or path)
    if found not in digests:
        raise errors.CorruptRecordError(
            f"{path} is damaged: expected the SHA-256 {' or '.join(digests)} of {digest_path(path)}, got {found}; "
            "restore it from a copy, or remove the .json file beside it if you replaced the weights yourself"
        )
    return digests[found]

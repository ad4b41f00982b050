"""The run directory: one configuration in flags.txt, and one directory per fold.

See `fold_results` for what a trained fold contains.
"""

import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from isic_tf.artifacts import run_flags
from tfrecord_tools import cli, errors
from tfrecord_tools.io import atomic_write, csv_tables, filesystem

_LOG = logging.getLogger(__name__)

FLAGS_FILE = "flags.txt"
BEST_WEIGHTS = "best.weights.h5"
HISTORY_FILE = "history.csv"
METRICS_FILE = "metrics.json"
OOF_FILE = "oof.csv"
_POLICY_FILE = "augment_policy.json"
_FOLD_FILES = (
    BEST_WEIGHTS,
    f"{BEST_WEIGHTS}.json",
    HISTORY_FILE,
    METRICS_FILE,
    OOF_FILE,
    f"{OOF_FILE}.json",
    "seen_images.csv",
    "unlike.npz",
)
# Files of a run, or glob patterns of them, that no command may write in place of another output.
OWN_FILES = (
    *(FLAGS_FILE, OOF_FILE, f"{OOF_FILE}.json", METRICS_FILE, "calibration.json", _POLICY_FILE),
    *(f"{fold}/{name}" for fold in ("fold*", "full") for name in _FOLD_FILES),
)


def claim(
    workdir: str,
    flags: Mapping[str, Any],
    free: Sequence[str],
    index: pd.DataFrame,
    files: Sequence[bytes] = (),
    preparation: Mapping[str, Any] | None = None,
    is_shared: bool = False,
    defaults: Mapping[str, Any] | None = None,
    can_grow: bool = False,
) -> None:
    """Writes the flags of a run, or checks them where the directory already has an epoch or a checkpoint.

    Args:
        workdir: Run directory.
        flags: Flags of the run and their values; None for flags that are not set.
        free: Flags that may differ between calls, such as the location of the data.
        index: Index of the record sets. Other records, shards, labels or folds are another configuration.
        files: Contents of files that the flags name. Other contents are another configuration.
        preparation: How the images were made, see `preprocessing_config.read_preprocessing`; recorded for predictions
            of image files.
        is_shared: Whether another process is training a fold of the run, so that its flags are checked in any case.
        defaults: Defaults of the flags, which a run of a release without them has.
        can_grow: Whether a run may be given more `epochs`: its schedule does not depend on their number.

    Raises:
        ConfigError: The directory belongs to another configuration, or a value has several lines.
        CorruptRecordError: The flags of the run are damaged.
    """
    path = os.path.join(workdir, FLAGS_FILE)
    known = {"data_sha256": run_flags.digest_data(index, files), **(preparation or {})}
    is_shared = is_shared and filesystem.exists(path)
    if not is_shared and not is_begun(workdir):
        atomic_write.write_text(path, run_flags.format_flags(flags, known))
        return
    old = read_flags(workdir)
    # A run goes on as it was begun, also where it does not know how its records hold images, as of release 0.1.
    known = {name: value for name, value in known.items() if name not in run_flags.ENCODING}
    text = run_flags.format_flags(flags, {**known, **{name: old[name] for name in run_flags.ENCODING if name in old}})
    new = run_flags.parse_flags(path, text.encode())
    differing, added = run_flags.find_differences(path, old, new, free, defaults or {})
    if added:
        _LOG.warning(f"note: {path} lacks {', '.join(added)}; taken as the default, as of an earlier release")
    if differing == ["epochs"] and can_grow and not is_shared and int(new["epochs"]) > int(old["epochs"]):
        _LOG.info(f"{workdir} grows from {old['epochs']} to {new['epochs']} epochs")
        atomic_write.write_text(path, text)
    elif differing:
        raise errors.ConfigError(run_flags.describe_differences(workdir, old, new, differing))


def is_begun(workdir: str) -> bool:
    """Returns whether a run has a checkpoint or an epoch, so that its flags are fixed.

    Args:
        workdir: Run directory; it may not exist.
    """
    has_checkpoint = any(find_checkpoints(directory) for directory in fold_files(workdir, "checkpoints"))
    return has_checkpoint or any(fold_files(workdir, name) for name in (HISTORY_FILE, METRICS_FILE))


def keep_policy(workdir: str, path: str) -> None:
    """Copies the file of `--augment_policy` into the run: predictions may use it on machines that lack the file.

    Args:
        workdir: Run directory.
        path: JSON file of an augmentation policy.
    """
    atomic_write.write_text(os.path.join(workdir, _POLICY_FILE), filesystem.read(path).decode())


def read_flags(workdir: str) -> dict[str, str]:
    """Reads the flags of a run; those of earlier releases under their present names.

    Args:
        workdir: Run directory.

    Returns:
        Dict from flag to its value as text, including what `claim` recorded about the data.

    Raises:
        IsicError: The directory does not hold a run.
        CorruptRecordError: The flags are damaged; the error names the file and the line.
    """
    path = os.path.join(workdir, FLAGS_FILE)
    if not filesystem.exists(path):
        raise errors.IsicError(f"expected a run in {workdir}, found no {FLAGS_FILE}; check --workdir")
    return run_flags.parse_flags(path, filesystem.read(path))


def read_network(workdir: str) -> dict[str, Any]:
    """Reads the flags that describe the networks of a run, and checks those that every run has.

    Args:
        workdir: Run directory.

    Returns:
        Dict from flag to its value as text, see `classifiers.options`; `image_size` is an integer (pixels), and
        `augment_policy` the path of the run's own copy where there is one.

    Raises:
        IsicError: The directory does not hold a run.
        CorruptRecordError: Its flags are damaged.
    """
    damaged = f"{os.path.join(workdir, FLAGS_FILE)} is damaged"
    flags = read_flags(workdir)
    if not flags.get("backbone"):
        raise errors.CorruptRecordError(f"{damaged}: it lacks the line --backbone=NAME; restore it from a copy")
    image_size = flags.get("image_size", "")
    if not image_size.isdecimal():
        received = image_size or "no such line"
        raise errors.CorruptRecordError(
            f"{damaged}: expected a line --image_size=PIXELS, got {received}; restore it from a copy"
        )
    policy = os.path.join(workdir, _POLICY_FILE)
    own_copy = {"augment_policy": policy} if filesystem.exists(policy) else {}
    return {**flags, **own_copy, "image_size": int(image_size)}


def fold_dir(workdir: str, fold: int | None) -> str:
    """Returns the directory of a fold; None for the run that holds nothing out."""
    return os.path.join(workdir, "full" if fold is None else f"fold{fold}")


def fold_files(workdir: str, name: str) -> list[str]:
    """Lists the paths of a file in all folds that have it.

    Args:
        workdir: Run directory; it may not exist.
        name: Name of the file.

    Returns:
        Paths in order of fold; that of the run that holds nothing out comes last.
    """
    entries = filesystem.listdir(workdir) if filesystem.isdir(workdir) else []
    matches = (re.fullmatch(r"fold(\d+)/?", entry) for entry in entries)
    numbers = sorted(int(match[1]) for match in matches if match)
    paths = [os.path.join(fold_dir(workdir, number), name) for number in [*numbers, None]]
    return [path for path in paths if filesystem.exists(path)]


def trained_folds(workdir: str, fold: str = "all") -> list[str]:
    """Lists the trained weights of a run, and logs which belong to a fold that is still in training.

    Args:
        workdir: Run directory.
        fold: `all`, the number of a fold as text, or `full` for the run that holds nothing out.

    Returns:
        Paths of the weights, in order of fold, at least one.

    Raises:
        IsicError: No fold is trained.
        ConfigError: The fold is not trained.
    """
    paths = _find_trained(workdir)
    if fold != "all":
        names = [os.path.basename(os.path.dirname(path)).removeprefix("fold") for path in paths]
        if fold not in names:
            raise errors.ConfigError(f"expected --fold to be all or a trained one of {', '.join(names)}, got {fold!r}")
        paths = [paths[names.index(fold)]]
    for path in paths:
        if not is_finished(os.path.dirname(path)):
            _LOG.warning(f"note: {path} is of a fold that is still in training")
    return paths


def check_trained(workdir: str) -> None:
    """Checks that a directory holds a run with a trained fold.

    Raises:
        IsicError: It does not.
        CorruptRecordError: The flags of the run are damaged.
    """
    read_network(workdir)
    _find_trained(workdir)


def _find_trained(workdir: str) -> list[str]:
    paths = fold_files(workdir, BEST_WEIGHTS)
    if not paths:
        raise errors.IsicError(
            f"expected a trained fold in {workdir}, found no fold*/{BEST_WEIGHTS}; run isic_tf.train"
        )
    return paths


def is_finished(directory: str) -> bool:
    """Returns whether a fold is trained to the end: its metrics are written last."""
    return filesystem.exists(os.path.join(directory, METRICS_FILE))


def read_metrics(directory: str) -> dict[str, Any]:
    """Reads the metrics of a fold, or of all folds together.

    Args:
        directory: Directory of the fold, or of the run.

    Returns:
        Dict, see `fold_results.finish_fold`; empty where there are none.

    Raises:
        CorruptRecordError: The file is damaged.
    """
    path = os.path.join(directory, METRICS_FILE)
    if not filesystem.exists(path):
        return {}
    try:
        metrics = json.loads(filesystem.read(path))
        if not isinstance(metrics, dict):
            raise TypeError(f"expected a dict, got {metrics!r}")
    except (ValueError, TypeError) as error:
        raise errors.CorruptRecordError(
            f"{path} does not hold the metrics of a fold ({error}); restore it, or remove it"
        ) from error
    return metrics


def read_history(directory: str) -> list[dict[str, Any]]:
    """Reads the training history of a fold.

    Args:
        directory: Directory of the fold.

    Returns:
        A dict per epoch: `epoch` (int, from 1 without gaps), `loss` (float) and further figures; empty where there is
        no history.

    Raises:
        IsicError: The file is damaged; the error names it.
    """
    path = os.path.join(directory, HISTORY_FILE)
    if not filesystem.exists(path):
        return []
    table = csv_tables.read_table(path, ("epoch", "loss"))
    try:
        rows = table.astype("float64").astype({"epoch": "int64"}).to_dict("records")
    except ValueError as error:
        raise errors.CorruptRecordError(f"{path} is damaged: {error}; restore it from a copy") from error
    for number, row in enumerate(rows, 1):
        if row["epoch"] != number:
            raise errors.CorruptRecordError(
                f"{path} is damaged: expected epoch {number} in row {number}, got {row['epoch']}; restore it"
            )
    return rows


def write_history(directory: str, history: Sequence[Mapping[str, Any]]) -> None:
    """Writes the training history of a fold, one row per epoch.

    Args:
        directory: Directory of the fold.
        history: See `read_history`.
    """
    atomic_write.write_text(os.path.join(directory, HISTORY_FILE), pd.DataFrame(history).to_csv(index=False))


def find_checkpoints(directory: str) -> list[str]:
    """Lists the checkpoints of a directory by their prefixes, the newest first.

    TensorFlow's own list in the file `checkpoint` is not used: if it were damaged, a run would silently start over.
    """
    names = filesystem.listdir(directory) if filesystem.isdir(directory) else []
    matches = (re.fullmatch(r"ckpt-(\d+)\.index", name) for name in names)
    numbers = sorted((int(match[1]) for match in matches if match), reverse=True)
    return [os.path.join(directory, f"ckpt-{number}") for number in numbers]


def parse_config(config_class: type[cli.ConfigT], workdir: str, flags: Mapping[str, Any]) -> cli.ConfigT:
    """Parses the flags of a run into a configuration.

    Args:
        config_class: Subclass of `tfrecord_tools.cli.Config`.
        workdir: Run directory, for errors.
        flags: Its flags, see `read_flags`.

    Returns:
        The configuration.

    Raises:
        CorruptRecordError: A flag is damaged; the error names the file.
    """
    try:
        return config_class.from_text({name: str(text) for name, text in flags.items()})
    except errors.ConfigError as error:
        path = os.path.join(workdir, FLAGS_FILE)
        raise errors.CorruptRecordError(f"{path} is damaged: {error}; restore it from a copy") from error

"""Locks a run directory, in which several processes may train different folds of one configuration at the same time."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence

from isic_tf.artifacts import run_directory
from tfrecord_tools.io import filesystem, output_lock, temporary_files

_FOLDS = r"fold\d+|full"
# What TensorFlow leaves of a checkpoint that a killed process was writing.
_UNFINISHED_CHECKPOINT = re.compile(r".*\.tempstate\d+|checkpoint\.tmp\w+|ckpt-\d+_temp")


def refuse_others(directories: Sequence[str]) -> None:
    """Refuses folds that another process is training, before anything else is done.

    Args:
        directories: Directories of the folds.

    Raises:
        ConfigError: A running process trains one of them.
    """
    for directory in directories:
        output_lock.refuse_writer(directory)


@contextlib.contextmanager
def claimed(workdir: str, directories: Sequence[str], claim: Callable[[bool], object]) -> Iterator[None]:
    """Locks folds while the block runs, and claims the run directory for their configuration.

    Both happen at once as far as other processes are concerned: of two trainings with different flags, one is refused.
    Temporary files that killed processes left in the folds are removed.

    Args:
        workdir: Run directory.
        directories: Directories of the folds to train.
        claim: Records or compares the configuration, see `run_directory.claim`; called with whether other processes
            are training folds of the run.

    Yields:
        Nothing.

    Raises:
        ConfigError: Another process trains one of the folds, or `claim` refuses the configuration.
        IsicError: The run directory cannot be made.
    """
    with contextlib.ExitStack() as locks:
        # Removed in the end where the configuration is refused.
        with filesystem.explained_write_errors(workdir):
            locks.callback(filesystem.remove_empty, filesystem.make_missing(workdir))
        with updating(workdir):
            is_shared = bool(output_lock.find_locked(workdir, _FOLDS))
            for directory in directories:
                locks.enter_context(output_lock.locked(directory))
                _remove_leftovers(directory)
            claim(is_shared)
        yield


@contextlib.contextmanager
def updating(workdir: str) -> Iterator[None]:
    """Keeps other processes from changing the files of all folds, such as `flags.txt` and `oof.csv`; waits for them.

    Args:
        workdir: Run directory.

    Yields:
        Nothing.
    """
    with output_lock.locked(os.path.join(workdir, run_directory.FLAGS_FILE), wait=True):
        yield


def _remove_leftovers(directory: str) -> None:
    """Removes the temporary files that killed processes left in the directory of a fold, which is locked."""
    temporary_files.remove_leftovers(directory)
    checkpoints = os.path.join(directory, "checkpoints")
    for name in filesystem.listdir(checkpoints):
        path = os.path.join(checkpoints, name)
        if not _UNFINISHED_CHECKPOINT.fullmatch(name):
            continue
        if filesystem.isdir(path):
            filesystem.rmtree(path)
        else:
            filesystem.remove(path)

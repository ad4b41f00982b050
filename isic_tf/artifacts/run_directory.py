"""The run folder: one configuration in flags.txt, and for each fold its weights, history, predictions and figures."""

import hashlib
import json
import logging
import os
import re
import tempfile

import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import prediction_sidecar
from isic_tf.metrics import summaries
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, csv_tables, filesystem

_LOG = logging.getLogger(__name__)

FLAGS_FILE = "flags.txt"
BEST_WEIGHTS = "best.weights.h5"
HISTORY_FILE = "history.csv"
_POLICY_FILE = "augment_policy.json"
METRICS_FILE = "metrics.json"
# Names of earlier releases, in the flags of runs and on the command line.
RENAMED_FLAGS = {
    "accumulate": "gradient_accumulation_steps",
    "backbone_rate": "backbone_lr_multiplier",
    "keep": "keep_weights",
    "malignant_repeats": "malignant_oversampling",
}


def claim(workdir, flags, free, index, files=(), preparation=None):
    """Writes the run's flags into a folder, or checks them where there is an epoch or a checkpoint of it.

    Args:
        workdir: Run folder.
        flags: Dict of the run's flags and values.
        free: Names among them that may differ between calls, as where the data lies.
        index: Index of the record sets; other records, in other shards, or other labels or folds are another
            configuration.
        files: Contents (bytes) of files that the flags name; others are another configuration too.
        preparation: See `preprocessing_config.read_preprocessing`; kept for predictions of image files.

    Raises:
        IsicError: The folder belongs to another configuration.
    """
    columns = ["shard", "position", "image_name", "patient_id", "target", "fold"]
    # Where the shards lie may differ.
    content = index[columns].assign(shard=index["shard"].map(os.path.basename))
    content = content.sort_values(columns).to_csv(index=False).encode()
    # What is known of the data is a comment to --flagfile.
    known = {"data_sha256": hashlib.sha256(b"".join([content, *files])).hexdigest(), **(preparation or {})}
    lines = [f"# {name}={value}" for name, value in sorted(known.items())]
    lines += [f"--{name}={value}" for name, value in sorted(flags.items()) if value is not None]
    path = os.path.join(workdir, FLAGS_FILE)
    begun = any(find_checkpoints(folder) for folder in fold_files(workdir, "checkpoints"))
    if not begun and not fold_files(workdir, HISTORY_FILE):
        atomic_write.write_text(path, "\n".join(lines) + "\n")
        return
    old, new = read_flags(workdir), _parse(lines)
    differing = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name) and name not in free)
    if differing:
        changes = ", ".join(f"{name} was {old.get(name)}, is {new.get(name)}" for name in differing)
        raise errors.IsicError(f"{workdir} holds a run of another configuration ({changes}); choose another --workdir")


def keep_policy(workdir, path):
    """Keeps a copy of the file that `--augment_policy` names: predictions may draw from it where the file is not."""
    atomic_write.write_text(os.path.join(workdir, _POLICY_FILE), filesystem.read(path).decode())


def read_flags(workdir):
    """Reads the flags of a run.

    Returns:
        Dict from flag to its value as text.

    Raises:
        IsicError: The folder holds no run.
    """
    path = os.path.join(workdir, FLAGS_FILE)
    if not tf.io.gfile.exists(path):
        raise errors.IsicError(f"expected a run in {workdir}, found no {FLAGS_FILE}; check --workdir")
    with tf.io.gfile.GFile(path) as file:
        return _parse(file.read().splitlines())


def _parse(lines):
    found = (re.fullmatch(r"(?:--|# )(\w+)=(.*)", line) for line in lines)
    return {RENAMED_FLAGS.get(match[1], match[1]): match[2] for match in found if match}


def fold_dir(workdir, fold):
    """Gives the folder of one fold; None for that of the run that holds out nothing."""
    return os.path.join(workdir, "full" if fold is None else f"fold{fold}")


def fold_files(workdir, name):
    """Lists a file's paths in all folds that have it, in order of fold, that without a fold last."""
    there = tf.io.gfile.listdir(workdir) if tf.io.gfile.isdir(workdir) else []
    numbers = sorted(int(match[1]) for match in (re.fullmatch(r"fold(\d+)/?", entry) for entry in there) if match)
    paths = [os.path.join(fold_dir(workdir, number), name) for number in [*numbers, None]]
    return [path for path in paths if tf.io.gfile.exists(path)]


def trained_folds(workdir, fold="all"):
    """Lists the trained weights of a run; says which are of a fold that is still in training.

    Args:
        workdir: Run folder.
        fold: `all`, a fold's number as text, or `full` for that which holds out nothing.

    Returns:
        Paths of the folds' weights, in order of fold, at least one.

    Raises:
        IsicError: There is none, or not the one.
    """
    paths = fold_files(workdir, BEST_WEIGHTS)
    if not paths:
        raise errors.IsicError(
            f"expected a trained fold in {workdir}, found no fold*/{BEST_WEIGHTS}; run isic_tf.train"
        )
    if fold != "all":
        names = [os.path.basename(os.path.dirname(path)).removeprefix("fold") for path in paths]
        if fold not in names:
            raise errors.IsicError(f"expected --fold to be all or a trained one of {', '.join(names)}, got {fold!r}")
        paths = [paths[names.index(fold)]]
    for path in paths:
        if not is_finished(os.path.dirname(path)):
            _LOG.info(f"note: {path} is of a fold that is still in training")
    return paths


def read_network(workdir):
    """Reads the flags of a run whose networks are wanted, and checks those that every run has.

    Returns:
        Dict from flag to its value as text, see `classifiers.options`; but `image_size`, a whole number, and of a policy's
        file the path of the run's own copy.

    Raises:
        IsicError: The folder holds no run, or its flags are damaged.
    """
    remedy = f"{os.path.join(workdir, FLAGS_FILE)} is damaged: expected a line"
    try:
        run = read_flags(workdir)
    except UnicodeDecodeError as error:
        raise errors.IsicError(f"{remedy} --name=value for each flag, found no text; restore it from a copy") from error
    if not run.get("backbone"):
        raise errors.IsicError(f"{remedy} --backbone=NAME, found none; restore it from a copy")
    if not run.get("image_size", "").isdecimal():
        found = run.get("image_size")
        raise errors.IsicError(f"{remedy} --image_size=PIXELS, found {found!r}; restore it from a copy")
    policy = os.path.join(workdir, _POLICY_FILE)
    kept = {"augment_policy": policy} if filesystem.exists(policy) else {}
    return {**run, **kept, "image_size": int(run["image_size"])}


def is_finished(folder):
    """Tells whether a fold has had all its epochs: its figures are written last."""
    return tf.io.gfile.exists(os.path.join(folder, METRICS_FILE))


def read_history(folder):
    """Reads a fold's history; an empty list where there is none.

    Returns:
        List of dicts, one an epoch.
    """
    path = os.path.join(folder, HISTORY_FILE)
    if not tf.io.gfile.exists(path):
        return []
    return (
        csv_tables.read_table(path, ("epoch", "loss")).astype("float64").astype({"epoch": "int64"}).to_dict("records")
    )


def write_history(folder, history):
    """Writes a fold's history, one row an epoch."""
    atomic_write.write_text(os.path.join(folder, HISTORY_FILE), pd.DataFrame(history).to_csv(index=False))


def keep_weights(folder, classifier, wanted):
    """Keeps an epoch's weights if they are wanted.

    They are saved either way, since all workers read the variables together and need not agree to the last bit on what
    is best.

    Args:
        folder: Folder of the fold.
        classifier: Keras model.
        wanted: Whether to keep them.
    """
    with tempfile.TemporaryDirectory() as local:
        # Keras writes HDF5 to local files only.
        weights = os.path.join(local, BEST_WEIGHTS)
        classifier.save_weights(weights)
        if wanted:
            with atomic_write.replaced(os.path.join(folder, BEST_WEIGHTS)) as temporary:
                tf.io.gfile.copy(weights, temporary)


def finish(folder, table, history, keep="best"):
    """Writes a finished fold's `oof.csv` and, last, `metrics.json`; prints its line.

    Args:
        folder: Folder of the fold.
        table: Held-out index rows with the `prediction` of the best weights; None where nothing was held out.
        history: See `read_history`.
        keep: Whose weights were kept: those of the `best` epoch or of the `last`.
    """
    path = os.path.join(folder, METRICS_FILE)
    if table is None:
        figures = {"epochs": len(history), "loss": history[-1]["loss"]}
        atomic_write.write_text(path, json.dumps(figures, indent=1, allow_nan=False) + "\n")
        _LOG.info(f"{os.path.basename(folder)}: trained for {len(history)} epochs, nothing held out to judge it by")
        return
    oof = table[["image_name", "prediction", "fold", "target"]]
    atomic_write.write_text(os.path.join(folder, "oof.csv"), oof.to_csv(index=False))
    summary = summaries.summarize(table)
    kept = history[-1] if keep == "last" else max(history, key=lambda row: row["auc"])
    figures = {**summary, "kept_epoch": int(kept["epoch"]), "epochs": len(history)}
    atomic_write.write_text(path, json.dumps(figures, indent=1, allow_nan=False) + "\n")
    _LOG.info(
        f"{os.path.basename(folder)}: {summaries.describe(summary)}, epoch {figures['kept_epoch']} of {len(history)}"
    )


def merge_folds(workdir, index):
    """Joins the folds so far: their predictions in `oof.csv`, the figures of several printed and in `metrics.json`.

    Args:
        workdir: Run folder.
        index: DataFrame with `image_name` and `patient_id` of the images that were held out.
    """
    tables = [csv_tables.read_table(path, ("image_name", "prediction")) for path in fold_files(workdir, "oof.csv")]
    used = read_flags(workdir).get("context") == "set"
    for path in [*fold_files(workdir, "oof.csv"), *([os.path.join(workdir, "oof.csv")] if tables else [])]:
        prediction_sidecar.write_sidecar(path, patient_context=used, made_by="isic_tf.train")
    if tables:
        atomic_write.write_text(os.path.join(workdir, "oof.csv"), pd.concat(tables).to_csv(index=False))
    if len(tables) > 1:
        patients = index.drop_duplicates("image_name").set_index("image_name")["patient_id"]
        table = pd.concat(tables).astype({"prediction": "float64", "target": "int64"})
        summary = summaries.summarize(table.assign(patient_id=table["image_name"].map(patients)))
        content = json.dumps({"folds": len(tables), **summary}, indent=1, allow_nan=False)
        atomic_write.write_text(os.path.join(workdir, METRICS_FILE), content + "\n")
        _LOG.info(f"{len(tables)} folds together: {summaries.describe(summary)}")


def find_checkpoints(folder):
    """Lists the checkpoints of a folder, the newest first, without the prefix's endings.

    Their own list in the file `checkpoint` is not asked: a damaged one would make a run begin anew without a word.
    """
    there = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    found = filter(None, (re.fullmatch(r"ckpt-(\d+)\.index", name) for name in there))
    return [
        os.path.join(folder, f"ckpt-{number}") for number in sorted((int(match[1]) for match in found), reverse=True)
    ]

"""Combines several record sets, and decides how often each record occurs in an epoch."""

import os
import typing

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files
from isic_tf.data import fold_split
from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, record_index


class Plan(typing.NamedTuple):
    """What one fold is trained on, and how often."""

    rows: pd.DataFrame  # to train on, with `group`
    quotas: np.ndarray  # int64: the records of each group in an epoch
    held_out: pd.DataFrame
    text: str  # says all this

    @property
    def size(self):
        """The records of an epoch."""
        return int(self.quotas.sum())


def read_sets(data_dir, extra_data_dir="", pseudo_csv=None):
    """Reads the indexes of all record sets of a run.

    Args:
        data_dir: Folders with folds, separated by commas; no image may be in two of them.
        extra_data_dir: Folders that are for training alone, whatever folds they have; or "".
        pseudo_csv: Prediction file that labels images without a label, of extra sets and of the folders' test splits;
            or None.

    Returns:
        DataFrame with the columns of `record_index.read_index` and `source` (the folder, as given), `extra` (bool), `number`
        (the row, from 0), `key` (text that tells records apart: `image_name`, but for an extra set's copy of it),
        `label` (float, chance of being malignant) and `pseudo` (bool: the label is a prediction, and `target` it
        rounded).

    Raises:
        IsicError: A folder is named twice, an index cannot be read, or a name is in two sets with folds.
    """
    main, extra = ([part.strip() for part in text.split(",") if part.strip()] for text in (data_dir, extra_data_dir))
    folders = main + extra
    if not main or len(set(folders)) < len(folders):
        raise errors.IsicError(
            f"expected different folders in --data_dir and --extra_data_dir, got {', '.join(folders)!r}"
        )
    tables = []
    for place, folder in enumerate(folders):
        table = record_index.read_index(folder, "train").assign(source=folder, extra=place >= len(main))
        if pseudo_csv and filesystem.exists(os.path.join(folder, "test.index.csv")):
            test = record_index.read_index(folder, "test").assign(source=os.path.join(folder, "test"), extra=True)
            # Whatever label such an index holds, it is not for training.
            table = pd.concat([table, test.assign(target=schema.UNKNOWN)])
        if len(folders) > 1:
            # A bare number is each set's own code for a patient; other identifiers are the archive's.
            codes = table["patient_id"].str.fullmatch(r"-?\d+")
            table["patient_id"] = table["patient_id"].where(~codes, f"{place}:" + table["patient_id"])
        tables.append(table)
    rows = _add_pseudo_labels(pd.concat(tables, ignore_index=True), pseudo_csv)
    twice = rows.loc[~rows["extra"] & rows["image_name"].duplicated(), "image_name"]
    if len(twice):
        raise errors.IsicError(
            f"{len(twice)} images are in two sets of --data_dir, {twice.iloc[0]} first; name one of the sets in "
            "--extra_data_dir, or rebuild it without them"
        )
    copies = rows.groupby("image_name").cumcount().astype(str)
    key = rows["image_name"].where(copies == "0", rows["image_name"] + "#" + copies)
    return rows.assign(number=np.arange(len(rows)), key=key)


def _add_pseudo_labels(rows, pseudo_csv):
    """Adds the columns `label` and `pseudo`, and leaves out what neither an index nor the file labels."""
    rows = rows.assign(label=rows["target"].astype(float), pseudo=False)
    if not pseudo_csv:
        return rows
    predictions = prediction_files.read_prediction_file(pseudo_csv).set_index("image_name")["prediction"]
    open_ones = rows["extra"] & (rows["target"] == schema.UNKNOWN)
    pseudo = open_ones & rows["image_name"].isin(predictions.index)
    if not pseudo.any():
        raise errors.IsicError(
            f"{pseudo_csv} names none of the {open_ones.sum()} images without a label that these sets have; name a "
            "folder with their test records in --data_dir or --extra_data_dir"
        )
    labels = rows["image_name"].map(predictions)
    rows = rows.assign(
        pseudo=pseudo,
        label=rows["label"].where(~pseudo, labels),
        target=rows["target"].where(~pseudo, (labels >= 0.5).astype(int)),
    )
    return rows[pseudo | ~open_ones].reset_index(drop=True)


def parse_mix(text, sources):
    """Reads `--mix`, as in `C=0.5,D=2`.

    Args:
        text: The flag.
        sources: The folders of the run's sets.

    Returns:
        Dict from folder to weight, 1 where not named.

    Raises:
        IsicError: A name is no folder's, or that of two, or a weight is no number above 0 and up to 100.
    """
    weights = dict.fromkeys(sources, 1.0)
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        found = [s for s in sources if s == name] or [s for s in sources if os.path.basename(s.rstrip("/")) == name]
        if len(found) != 1:
            raise errors.IsicError(f"expected one of the sets {', '.join(sources)} in --mix, got {name!r}")
        try:
            weights[found[0]] = float(value)
        except ValueError:
            weights[found[0]] = float("nan")
        if not 0 < weights[found[0]] <= 100:
            raise errors.IsicError(f"expected --mix=SET=WEIGHT with a weight above 0 and up to 100, got {part!r}")
    return weights


def weigh(rows, mix, malignant_oversampling=1, balance=0.0):
    """Says how many records of each set and class an epoch has.

    Args:
        rows: Rows to train on, see `split`.
        mix: Dict from source to how often each of its records comes in an epoch, on average.
        malignant_oversampling: Factor on that for malignant records.
        balance: Share of malignant records in an epoch that stays as long as it is; 0 for what comes of the above.

    Returns:
        The rows with `group` (int, of source and class), and an int64 array: the records of each group an epoch.

    Raises:
        IsicError: Both ways to raise the malignant share at once.
    """
    if balance and malignant_oversampling != 1:
        raise errors.IsicError(
            f"expected one of --balance={balance} and --malignant_oversampling={malignant_oversampling}, not both"
        )
    groups = rows.groupby(["source", "target"], sort=False)
    sizes = groups.size().rename("images").reset_index()
    malignant = sizes["target"] == 1
    quotas = sizes["images"] * sizes["source"].map(mix) * np.where(malignant, malignant_oversampling, 1)
    if balance:
        share = quotas[malignant].sum() / quotas.sum()
        quotas = quotas * np.where(malignant, balance / share, (1 - balance) / (1 - share))
    return rows.assign(group=groups.ngroup()), np.maximum(1, np.round(quotas)).astype(np.int64).to_numpy()


def plan_fold(rows, fold, mix="", pairs=None, malignant_oversampling=1, balance=0.0):
    """Decides what one fold is trained on.

    Args:
        rows: See `read_sets`.
        fold: The held-out fold; None to hold out nothing.
        mix: See `parse_mix`.
        pairs: See `csv_tables.read_pairs`, or None.
        malignant_oversampling: See `weigh`.
        balance: See `weigh`.

    Returns:
        `Plan`.
    """
    kept, held_out, left_out = fold_split.split_rows(rows, fold, pairs)
    weights = parse_mix(mix, list(rows["source"].unique()))
    kept, quotas = weigh(kept, weights, malignant_oversampling, balance)
    name, counts = f"fold{fold}", f"{len(held_out)} ({held_out['target'].sum()} malignant)"
    if fold is None:
        name, counts = "full", "none"
    lines = [f"{name}: {sum(quotas)} images an epoch, {counts} held out"]
    lines += [f"  left out: {count} {reason}" for reason, count in left_out.items()]
    return Plan(kept, quotas, held_out, "\n".join([*lines, describe(kept, quotas)]))


def describe(rows, quotas):
    """Says in a line for each source how many images of either class an epoch has, and of how many."""
    firsts = rows.drop_duplicates("group").set_index("group").sort_index()
    table = firsts[["source", "target"]].assign(quota=quotas, images=rows.groupby("group").size())
    lines = []
    for source, part in table.groupby("source", sort=False):
        counts = part.set_index("target")
        texts = [
            f"{counts.at[target, 'quota']} {name} of {counts.at[target, 'images']}"
            for target, name in ((1, "malignant"), (0, "benign"))
            if target in counts.index
        ]
        lines.append(f"  {source}: {', '.join(texts)}")
    return "\n".join(lines)

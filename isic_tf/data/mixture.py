"""Combines several record sets, and plans how often each record occurs in an epoch."""

import os
import typing
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files
from isic_tf.data import fold_split, record_seeds, record_sets
from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, identity, name_join


class Plan(typing.NamedTuple):
    """Training records of one fold, how often each occurs, and the records that the fold is evaluated on.

    Attributes:
        rows: Records to train on, with the columns of `read_sets` and `group` (int, from 0: source and class).
        samples_per_epoch: int64 `[groups]`, samples of each group in an epoch.
        held_out: Records to evaluate on, with the columns of `read_sets`.
        text: Describes the plan, for a log.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["a", "b", "c"], "group": [0, 0, 1]})
        >>> Plan(rows, np.array([2, 4]), rows[:0], "fold0").size
        6
    """

    rows: pd.DataFrame
    samples_per_epoch: np.ndarray
    held_out: pd.DataFrame
    text: str

    @property
    def size(self) -> int:
        """The number of samples in an epoch."""
        return int(self.samples_per_epoch.sum())


def read_sets(
    data_dir: str,
    extra_data_dir: str = "",
    pseudo_csv: str | None = None,
    patients_are: str | None = None,
    pseudo_weight: float = 0.0,
) -> pd.DataFrame:
    """Reads the indexes of all record sets of a run.

    Args:
        data_dir: Directories of record sets with folds, separated by commas; no image may be in two of them.
        extra_data_dir: Directories of record sets that are used for training only, whatever folds they have; or "".
        pseudo_csv: Prediction file that labels images without a label, in extra sets and in the test splits of all
            directories, and changes labels with `pseudo_weight`; or None.
        patients_are: Whether equal numbers of patients in several sets are the `same` people or `different` ones; None
            where it is not known.
        pseudo_weight: Share of the prediction in the label of a labeled image that the prediction file names.

    Returns:
        DataFrame of all records, with the columns of `record_index.read_index` and of `person_numbers.add_keys`, and
        `source` (the directory, as given), `extra` (bool), `number` (int, the row, from 0), `key` (text that identifies
        the record: `image_name`, with a suffix for the copy in an extra set), `label` (float, probability of being
        malignant, 0 to 1, -1 where unknown) and `pseudo` (bool: the label is not that of the record but a
        prediction, and `target` is that prediction rounded).

    Raises:
        ConfigError: A directory is given twice, an image is in two sets with folds, or two sets number their patients
            and it is not known whether these are the same people.
        IsicError: An index cannot be read, or the prediction file names none of these images.

    Examples:
        >>> rows = read_sets("records/384")  # doctest: +SKIP
        >>> plan = plan_fold(rows, fold=0)  # doctest: +SKIP
        >>> len(plan.rows), len(plan.held_out)  # doctest: +SKIP
        (26500, 6626)
    """
    main = filesystem.split_list(data_dir)
    extra = filesystem.split_list(extra_data_dir)
    directories = main + extra
    if not main or len(set(directories)) < len(directories):
        raise errors.ConfigError(
            f"expected different directories in --data_dir and --extra_data_dir, got {', '.join(directories)!r}"
        )
    rows = record_sets.read_rows(directories, len(main), bool(pseudo_csv), patients_are)
    rows = _add_pseudo_labels(rows, pseudo_csv, pseudo_weight)
    _refuse_images_of_two_sets(rows[~rows["extra"]])
    return rows.assign(number=np.arange(len(rows)), key=_make_keys(rows["image_name"]))


def _refuse_images_of_two_sets(rows: pd.DataFrame) -> None:
    photographs = identity.image_keys(rows["image_name"])
    first_sources = rows["source"].groupby(photographs).transform("first")
    repeated = rows.loc[rows["source"] != first_sources, "image_name"]
    if len(repeated):
        raise errors.ConfigError(
            f"{len(repeated)} images are in two sets of --data_dir (first: {repeated.iloc[0]}); name one of the sets "
            "in --extra_data_dir, or rebuild it without them"
        )


def _make_keys(names: pd.Series) -> pd.Series:
    """Returns names, with #1, #2, ... added where a name was there before."""
    copies = names.groupby(names).cumcount().astype(str)
    return names.where(copies == "0", names + "#" + copies)


def _add_pseudo_labels(rows: pd.DataFrame, pseudo_csv: str | None, weight: float) -> pd.DataFrame:
    """Adds the columns `label` and `pseudo`, and leaves out what neither an index nor the file labels.

    With a weight, labels of labeled images are mixed with predictions, too; their targets are not changed.
    """
    rows = rows.assign(label=rows["target"].astype(float), pseudo=False)
    if not pseudo_csv:
        return rows
    predictions = prediction_files.read_prediction_file(pseudo_csv)
    unlabeled = rows["extra"] & (rows["target"] == schema.UNKNOWN)
    is_wanted = unlabeled | bool(weight)
    names = rows.loc[is_wanted, "image_name"].drop_duplicates()
    places = pd.Series(name_join.find_rows(names, predictions["image_name"], pseudo_csv), names.to_numpy())
    places = rows["image_name"].where(is_wanted).map(places).fillna(-1).astype("int64")
    pseudo = (places >= 0) & unlabeled
    if not (places >= 0).any():
        kind = "" if weight else " without a label"
        raise errors.IsicError(
            f"{pseudo_csv} names none of the {is_wanted.sum()} images{kind} in these sets; name a directory with their "
            "records in --data_dir or --extra_data_dir"
        )
    labels = pd.Series(predictions["prediction"].to_numpy()[places], rows.index)
    mixed = rows["label"].where(places < 0, (1 - weight) * rows["label"] + weight * labels)
    rows = rows.assign(
        pseudo=pseudo,
        label=mixed.where(~pseudo, labels),
        target=rows["target"].where(~pseudo, (labels >= 0.5).astype(int)),
    )
    return rows[pseudo | ~unlabeled].reset_index(drop=True)


def parse_mix(text: str, sources: Sequence[str]) -> dict[str, float]:
    """Parses the option `--mix`, such as `C=0.5,D=2`.

    Args:
        text: The option.
        sources: The directories of all sets.

    Returns:
        Dict from directory to weight, 1 where not named.

    Raises:
        ConfigError: A name fits no directory or several, or a weight is not a number above 0 and up to 100.
    """
    weights = dict.fromkeys(sources, 1.0)
    for part in filesystem.rejoin(text.split(","), lambda joined: _is_weight_of_one(joined, sources)):
        name, _, value = part.partition("=")
        source = _find_source(name, sources)
        try:
            weight = float(value)
        except ValueError:
            weight = float("nan")
        if not 0 < weight <= 100:
            raise errors.ConfigError(f"expected --mix=SET=WEIGHT with a weight above 0 and up to 100, got {part!r}")
        weights[source] = weight
    return weights


def _is_weight_of_one(text: str, sources: Sequence[str]) -> bool:
    """Returns whether a text with a comma is one weight, of a directory whose name has a comma."""
    name, _, weight = text.rpartition("=")
    return "," not in weight and any(name in (source, os.path.basename(source.rstrip("/"))) for source in sources)


def _find_source(name: str, sources: Sequence[str]) -> str:
    """Finds the directory of a name: the directory itself, or the last part of its path."""
    found = [source for source in sources if source == name]
    found = found or [source for source in sources if os.path.basename(source.rstrip("/")) == name]
    if len(found) != 1:
        raise errors.ConfigError(f"expected one of the sets {', '.join(sources)} in --mix, got {name!r}")
    return found[0]


def weigh(
    rows: pd.DataFrame, mix: Mapping[str, float], malignant_oversampling: float = 1, balance: float = 0.0
) -> tuple[pd.DataFrame, np.ndarray]:
    """Computes the samples per epoch of each record set and class.

    Args:
        rows: Rows to train on, see `fold_split.split_rows`.
        mix: Dict from source to how often each of its records occurs in an epoch, on average.
        malignant_oversampling: Factor on that for malignant records.
        balance: Prevalence of malignant records in an epoch, 0 to 1, without a change of the size of the epoch; 0 for
            the prevalence that results from the above.

    Returns:
        The rows with `group` (int, from 0: source and class), and the samples of each group in an epoch, int64
        `[groups]`.

    Raises:
        ConfigError: Both `malignant_oversampling` and `balance` are given, or a record would occur too often for each
            occurrence to be augmented differently.
    """
    if balance and malignant_oversampling != 1:
        raise errors.ConfigError(
            f"expected one of --balance={balance} and --malignant_oversampling={malignant_oversampling}, not both"
        )
    groups = rows.groupby(["source", "target"], sort=False)
    sizes = groups.size().rename("images").reset_index()
    malignant = sizes["target"] == 1
    samples = sizes["images"] * sizes["source"].map(mix) * np.where(malignant, malignant_oversampling, 1)
    if balance:
        prevalence = samples[malignant].sum() / samples.sum()
        samples = samples * np.where(malignant, balance / prevalence, (1 - balance) / (1 - prevalence))
    most = (samples / sizes["images"]).max()
    if most >= record_seeds.MAX_COPIES:
        raise errors.ConfigError(
            f"expected each record to occur less than {record_seeds.MAX_COPIES} times in an epoch, got {most:.0f}; "
            "lower --malignant_oversampling, --mix or --balance"
        )
    samples_per_epoch = np.maximum(1, np.round(samples)).astype(np.int64).to_numpy()
    return rows.assign(group=groups.ngroup()), samples_per_epoch


def plan_fold(
    rows: pd.DataFrame,
    fold: int | None,
    mix: str = "",
    pairs: pd.DataFrame | None = None,
    malignant_oversampling: float = 1,
    balance: float = 0.0,
    groups: tuple[str, str] = ("malignant", "benign"),
) -> Plan:
    """Plans what one fold is trained on.

    Args:
        rows: See `read_sets`.
        fold: The held-out fold; None to hold out nothing.
        mix: Weights of record sets, see `parse_mix`.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; None for none.
        malignant_oversampling: See `weigh`.
        balance: See `weigh`.
        groups: What images of target 1 and of target 0 are called in the text of the plan.

    Returns:
        `Plan`.

    Raises:
        ConfigError: The fold is not in the index, or options contradict each other.
        LeakageError: A patient is in training and held out.
        IsicError: Labels are missing, or a part has one class only.

    Examples:
        >>> names = ["a", "b", "c", "d"]
        >>> rows = pd.DataFrame({"image_name": names, "patient_id": names, "target": [0, 1, 0, 1]})
        >>> plan = plan_fold(rows.assign(fold=[0, 0, 1, 1], extra=False, source="records"), fold=0)
        >>> plan.rows["image_name"].tolist(), plan.held_out["image_name"].tolist(), plan.samples_per_epoch.tolist()
        (['c', 'd'], ['a', 'b'], [1, 1])
    """
    kept, held_out, left_out = fold_split.split_rows(rows, fold, pairs)
    weights = parse_mix(mix, list(rows["source"].unique()))
    kept, samples_per_epoch = weigh(kept, weights, malignant_oversampling, balance)
    if fold is None:
        name = "full"
        held_out_count = "none"
    else:
        name = f"fold{fold}"
        held_out_count = f"{len(held_out)} ({held_out['target'].sum()} {groups[0]})"
    lines = [
        f"{name}: {samples_per_epoch.sum()} images per epoch, {held_out_count} held out",
        *(f"  left out: {count} {reason}" for reason, count in left_out.items()),
        *_describe_samples(kept, samples_per_epoch, groups),
    ]
    return Plan(kept, samples_per_epoch, held_out, "\n".join(lines))


def _describe_samples(rows: pd.DataFrame, samples_per_epoch: np.ndarray, names: tuple[str, str]) -> list[str]:
    """Describes in a line per source how many samples of each class an epoch has, and of how many images."""
    first_rows = rows.drop_duplicates("group").set_index("group").sort_index()
    sizes = first_rows[["source", "target"]].assign(samples=samples_per_epoch, images=rows.groupby("group").size())
    lines = []
    for source, part in sizes.groupby("source", sort=False):
        counts = part.set_index("target")
        texts = [
            f"{counts.at[target, 'samples']} {name} of {counts.at[target, 'images']}"
            for target, name in zip((1, 0), names, strict=True)
            if target in counts.index
        ]
        lines.append(f"  {source}: {', '.join(texts)}")
    return lines

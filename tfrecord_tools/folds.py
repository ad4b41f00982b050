"""Splits a table into folds: no patient in two of them, malignancy and images per patient balanced; or audits folds.

python -m tfrecord_tools.folds --csv=train.csv --output=folds.csv --num_folds=5
python -m tfrecord_tools.folds --csv=train.csv --audit=folds.csv --duplicates=ISIC_2020_Training_Duplicates.csv
"""

import numpy as np
import pandas as pd
from absl import flags
from scipy import sparse

from tfrecord_tools import command, fold_audit, schema

# What an imbalance costs the start: malignant images, images, patients, and each bin of images per patient.
_START_WEIGHTS = (4.0, 30.0, 4.0, 0.3)
# And exchanges: malignant rate, images, patients, total variation. Where folds cannot have the same number of malignant
# images, 1 to 4 makes up for a fifth of the difference by a difference in images.
_WEIGHTS = np.array([1.0, 4.0, 4.0, 1.0])
# Rounds at the most, rounds in vain before the end, exchanges tried in a round.
_ROUNDS, _PATIENCE, _EXCHANGES = 2000, 300, 128
# Folds that were published, each of some of Deotte's 15 shards: his own, and those of the competition's winners.
_PRESETS = {
    "deotte15": tuple((shard,) for shard in range(15)),
    "winners5": ((0, 9, 11), (5, 8, 13), (1, 2, 14), (4, 7, 10), (3, 6, 12)),
}


def group_codes(patient_ids):
    """Numbers the patients in order of first appearance; each blank id is a group of its own.

    Args:
        patient_ids: Sequence of text `[n]`, "" where unknown.

    Returns:
        int64 `[n]`, codes from 0 without gaps.
    """
    keys = [patient_id or ("", row) for row, patient_id in enumerate(patient_ids)]
    return pd.factorize(pd.Series(keys, dtype=object))[0]


def join_duplicates(groups, names, pairs):
    """Joins groups that a duplicate links, directly or through others; pairs of other images change nothing.

    Args:
        groups: int `[n]`, see `group_codes`.
        names: Sequence of text `[n]`, each image name once.
        pairs: DataFrame of text, `image_name_1` and `image_name_2`.

    Returns:
        int64 `[n]`, codes in order of first appearance, from 0 without gaps.
    """
    first, second = (pd.Index(names).get_indexer(pairs[column]) for column in schema.PAIR_COLUMNS)
    known = (first >= 0) & (second >= 0)
    links = groups[first[known]], groups[second[known]]
    num_groups = groups.max() + 1
    graph = sparse.coo_matrix((np.ones(known.sum()), links), shape=(num_groups, num_groups))
    joined = sparse.csgraph.connected_components(graph, directed=False)[1]
    return pd.factorize(joined[groups])[0]


def assign(groups, targets, num_folds, seed=0, patients=None):
    """Assigns whole groups to folds: the hardest to place first, each where it unbalances least, then exchanges.

    An exchange moves a group or swaps two, and stays where it lowers the weighted sum of the squared figures of
    `fold_audit.audit`, by which Deotte's "triple stratified" folds were judged.

    Args:
        groups: int `[n]`, what must stay together per image, from 0 without gaps.
        targets: int `[n]`, 1 for malignant; anything else counts as benign.
        num_folds: Number of folds, from 2 to the number of groups.
        seed: Orders groups that are alike and draws the exchanges; the same one gives the same folds.
        patients: int `[n]`, a patient's number per image, from 0; by default the groups. A group of several counts as
            that many patients, each with images of its own.

    Returns:
        int64 `[n]`, folds from 0, none of them empty.

    Raises:
        ValueError: `num_folds` is below 2 or above the number of groups.
    """
    sizes = fold_audit.count(groups, groups if patients is None else patients, targets).astype(np.float64)
    if not 2 <= num_folds <= len(sizes):
        kind = "patients" if patients is None else "patients (those that duplicates join count once)"
        raise ValueError(f"expected a number of folds from 2 to the {len(sizes)} {kind} there are, got {num_folds}")
    rng = np.random.default_rng(seed)
    return _exchange(sizes, _place(sizes, num_folds, rng), num_folds, rng)[groups]


def _place(sizes, num_folds, rng):
    """Places the groups one by one; gives the fold of each."""
    share = sizes.sum(axis=0) / num_folds
    weights = np.array([*_START_WEIGHTS, *_START_WEIGHTS[-1:] * (len(share) - 4)]) / np.maximum(share, 1) ** 2
    loads = np.zeros((num_folds, sizes.shape[1]))
    folds = np.zeros(len(sizes), np.int64)
    for group in np.lexsort((rng.random(len(sizes)), -sizes[:, 1], -sizes[:, 0])):
        # The growth of the weighted squared loads, less what is the same for every fold; rounded as `_cost`.
        fold = np.argmin((loads @ (weights * sizes[group])).round(12))
        folds[group] = fold
        loads[fold] += sizes[group]
    return folds


def _exchange(sizes, folds, num_folds, rng):
    """Moves and swaps groups while that helps, the best of a few random exchanges at a time."""
    loads = np.zeros((num_folds, sizes.shape[1]))
    np.add.at(loads, folds, sizes)
    lowest, idle, tries = _cost(loads), 0, np.arange(_EXCHANGES)
    for _ in range(_ROUNDS):
        given, taken = rng.integers(len(sizes), size=(2, _EXCHANGES))
        swaps = rng.random(_EXCHANGES) < 0.9
        change = sizes[given] - sizes[taken] * swaps[:, None]
        trials = np.repeat(loads[None], _EXCHANGES, axis=0)
        trials[tries, folds[given]] -= change
        trials[tries, folds[taken]] += change
        costs = np.where(trials[..., 1].min(axis=-1) > 0, _cost(trials), np.inf)
        best = np.argmin(costs)
        if costs[best] < lowest:
            lowest, loads, idle = costs[best], trials[best], 0
            source, target = folds[given[best]], folds[taken[best]]
            folds[given[best]] = target
            if swaps[best]:
                folds[taken[best]] = source
        elif (idle := idle + 1) == _PATIENCE:
            break
    return folds


def _cost(loads):
    deviated = fold_audit.deviations(loads)
    # Extremes alone would leave flat steps, where an exchange of two folds between them counts for nothing.
    squares = fold_audit.spread(deviated) ** 2 + 4 * (deviated**2).mean(axis=-2)
    # What is equal must be equal on every machine, whatever the order of its sums.
    return (squares * _WEIGHTS).sum(axis=-1).round(12)


def make(csv, output=None, num_folds=None, seed=None, duplicates=None, preset=None, audit=None):
    """Writes a table's folds, or reads them from a file; prints what they hold and whether they leak.

    Args:
        csv: Table with `image_name` and `patient_id`, `target` where known, and `tfrecord` for a preset.
        output: CSV file to write; None where folds are audited.
        num_folds: Number of folds; None for 5.
        seed: See `assign`; None for 0.
        duplicates: CSV file of pairs that must share a fold, see `schema.read_pairs`; or None.
        preset: See `preset_folds`; or None.
        audit: CSV file of folds to judge; or None.

    Raises:
        ValueError: Arguments contradict each other; a table lacks a column, lists an image twice or holds a bad value;
            there are fewer patients than folds; or a preset or a file leaks.
    """
    _refuse_contradictions(output, num_folds, seed, preset, audit)
    table = _read(csv, ("tfrecord",) if preset else ())
    pairs = schema.read_pairs(duplicates) if duplicates else None
    if audit:
        table["fold"] = fold_audit.read(audit, table["image_name"])
    elif preset:
        table["fold"] = preset_folds(table["tfrecord"], preset)
    else:
        groups = patients = table["patient"].to_numpy()
        if pairs is not None:
            groups = join_duplicates(patients, table["image_name"], pairs)
            counts = patients.max() + 1, groups.max() + 1, np.bincount(groups).max()
            print("duplicates join {} patients to {} groups, the largest of {} images".format(*counts))
        num_folds = 5 if num_folds is None else num_folds
        table["fold"] = assign(groups, table["target"], num_folds, seed or 0, patients if duplicates else None)
    by_fold, figures = fold_audit.audit(table, pairs)
    fold_audit.show(by_fold, figures)
    fold_audit.refuse_leaks(audit or preset or csv, figures)
    if output:
        command.write_text(output, table[["image_name", "fold"]].to_csv(index=False))


def _refuse_contradictions(output, num_folds, seed, preset, audit):
    if bool(output) == bool(audit):
        raise ValueError(f"expected --output, to write folds, or --audit, got {'both' if audit else 'neither'}")
    if (audit or preset) and (num_folds, seed) != (None, None):
        raise ValueError("--audit and --preset take folds as they are; leave out --num_folds and --seed")
    if audit and preset:
        raise ValueError("expected --audit or --preset, got both; write the preset's folds first, and audit them")


def _read(csv, columns):
    """Reads a table with `patient` as a number and `target` as 1, 0 or -1, and says what it does not hold."""
    table = schema.read_table(csv, ("image_name", "patient_id", *columns))
    schema.refuse_repeats(csv, table, "list")
    table["patient"] = group_codes(table["patient_id"])
    if blank := (table["patient_id"] == "").sum():
        print(f"note: {blank} images have no patient_id; each is taken for a patient of its own")
    try:
        table["target"] = [schema.encode("target", value) for value in table.get("target", [""] * len(table))]
    except ValueError as error:
        raise ValueError(f"{csv}: {error}") from error
    if unknown := (table["target"] < 0).sum():
        print(f"note: {unknown} images have no target; they count as benign")
    return table


def preset_folds(shards, preset):
    """Gives the folds that others published over Deotte's 15 shards.

    Args:
        shards: Series of text, `tfrecord` of Deotte's tables: 0 to 14; -1 or a blank is in no fold.
        preset: `deotte15`, a fold for each shard; or `winners5`, three shards for each of the winners' five folds.

    Returns:
        int64 `[n]`, -1 for none.

    Raises:
        ValueError: A shard is none of the 15.
    """
    codes = fold_audit.parse("the column tfrecord", shards)
    if codes.max() > 14:
        raise ValueError(f"the column tfrecord must hold shards from 0 to 14, or -1 for none, got {codes.max()}")
    folds = {shard: fold for fold, members in enumerate(_PRESETS[preset]) for shard in members}
    return pd.Series(codes).map(folds | {schema.UNKNOWN: schema.UNKNOWN}).to_numpy()


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Table with image_name, patient_id and, to balance malignancy, target.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name, fold (-1: in no fold).")
    flags.DEFINE_integer("num_folds", None, "Number of folds; 5 if not given.", lower_bound=2)
    flags.DEFINE_integer("seed", None, "Another seed gives other folds, as good; 0 if not given.", lower_bound=0)
    flags.DEFINE_string("duplicates", None, "CSV with image_name_1 and image_name_2, pairs that must share a fold.")
    flags.DEFINE_enum("preset", None, list(_PRESETS), "Published folds, from the column tfrecord of Deotte's tables.")
    flags.DEFINE_string("audit", None, "CSV with image_name and fold to judge, folds or index; code 1 where it leaks.")
    flags.mark_flag_as_required("csv")


if __name__ == "__main__":
    command.run(make, define_flags)

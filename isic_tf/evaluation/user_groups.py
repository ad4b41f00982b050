"""Evaluates groups of the user's own: the values of columns of the label tables, and the largest gap between them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.evaluation import joined_tables, label_columns, subgroups
from isic_tf.metrics import group_difference
from tfrecord_tools import errors, schema

PREFIX = "group_"
_UNKNOWN = "unknown"
_MOST_GROUPS = 50


def add_columns(known: pd.DataFrame, labels: joined_tables.TableSource, columns: Sequence[str]) -> pd.DataFrame:
    """Adds columns of groups to labels.

    Args:
        known: DataFrame, see `label_tables.read_labels`.
        labels: The tables that it was read from.
        columns: Names of their columns, in any case of letters; or of columns of `known`.

    Returns:
        The DataFrame with a column `group_NAME` (text, "" where blank or a word for an unknown value) for each.

    Raises:
        IsicError: No table has a column, or it has more values than can be groups.

    Examples:
        >>> labels = pd.DataFrame({"image_name": ["a", "b"], "Clinic": ["north", ""]})
        >>> add_columns(labels[["image_name"]], labels, ["clinic"])["group_clinic"].tolist()
        ['north', '']
    """
    if not columns:
        return known
    tables = label_columns.read_raw_tables(labels)
    found = {}
    for name in dict.fromkeys(columns):
        # One table may lack what another has; a column that normalization made is in neither.
        if label_columns.find_table(tables, [name]) is None and name in known:
            texts = known[name].astype(str)
        else:
            table = label_columns.require_table(tables, [name], "--groups")
            texts = label_columns.read_texts(table, [name], known)[name]
        texts = texts.where(~texts.str.casefold().isin(schema.UNKNOWN_WORDS), "")
        count = texts[texts != ""].nunique()
        if count > _MOST_GROUPS:
            raise errors.IsicError(
                f"expected a column of at most {_MOST_GROUPS} different values for --groups, {name} has {count}; name "
                "another column, or add one with a few bands of these values"
            )
        found[f"{PREFIX}{name}"] = texts.to_numpy()
    return pd.concat([known, pd.DataFrame(found, known.index, dtype=object)], axis=1)


def evaluate(
    table: pd.DataFrame, columns: Sequence[str], threshold: float | None, resamples: int = 1000, seed: int = 0
) -> list[dict[str, Any]]:
    """Evaluates the groups of each column.

    Args:
        table: See `subgroups.folds`, with the columns that `add_columns` adds.
        columns: Names of the columns.
        threshold: See `operating_points.confusion`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        List of dicts, one per column: `by`, `rows` (see `subgroups.evaluate_group`) and `gap`, see `find_gap`.

    Examples:
        >>> table = pd.DataFrame({"target": [0, 1], "prediction": [0.1, 0.9], "patient": [0, 1]})
        >>> evaluate(table.assign(group_clinic="north"), ["clinic"], 0.5)[0]["gap"]["note"]
        'no gap: fewer than two groups are large enough'
    """
    found = []
    for name, group in labels(table, columns).items():
        rows = subgroups.evaluate_group(table, group, threshold, resamples, seed)
        found.append({"by": name, "rows": rows, "gap": find_gap(table, group, rows, resamples, seed)})
    return found


def labels(table: pd.DataFrame, columns: Sequence[str]) -> dict[str, pd.Categorical]:
    """Names the group of each image, for each column.

    Args:
        table: See `evaluate`.
        columns: See `evaluate`.

    Returns:
        Dict from the name of the column to the ordered groups, `[n]`.

    Examples:
        >>> list(labels(pd.DataFrame({"group_clinic": ["north", ""]}), ["clinic"])["clinic"])
        ['north', 'unknown']
    """
    return {name: _order(table[f"{PREFIX}{name}"]) for name in dict.fromkeys(columns)}


def _order(texts: pd.Series) -> pd.Categorical:
    """Orders groups by name, numbers by value; the unknown one is the last."""
    names = texts.where(texts != "", _UNKNOWN)
    known = sorted(set(names) - {_UNKNOWN}, key=lambda name: (_to_number(name), name.casefold(), name))
    return pd.Categorical(names, [*known, _UNKNOWN])


def _to_number(name: str) -> float:
    try:
        number = float(name)
    except ValueError:
        return np.inf
    return number if np.isfinite(number) else np.inf


def find_gap(
    table: pd.DataFrame,
    group: pd.Categorical,
    rows: Sequence[dict[str, Any]],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Finds the largest gap: between the groups with the highest and the lowest ROC AUC.

    Its interval is that of these two groups, over resamples of their patients. It takes no account of their being the
    extremes of several: with many groups of one true ROC AUC, the gap is above 0, and may seem more certain than it is.

    Args:
        table: See `evaluate`.
        group: Name of the group of each image, `[n]`.
        rows: The figures of each group, see `subgroups.evaluate_group`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict of `highest` and `lowest` (names of groups), `difference`, `low`, `high`, `groups` (number of groups
        compared), `left_out` (names of those that are too small for an interval; images of unknown group are not
        compared either), and `note`: "", or why there is no gap or no interval.
    """
    named = [row for row in rows if row["group"] != _UNKNOWN]
    # Of the others one would often be an extreme, by chance.
    ranked = sorted((row for row in named if row["auc_low"] is not None), key=lambda row: row["auc"])
    left_out = [row["group"] for row in named if row["auc_low"] is None]
    counts = {"groups": len(ranked), "left_out": left_out}
    if len(ranked) < 2:
        empty = dict.fromkeys(("highest", "lowest", "difference", "low", "high"))
        return {**empty, **counts, "note": "no gap: fewer than two groups are large enough"}
    lowest, highest = ranked[0]["group"], ranked[-1]["group"]
    targets, scores, patient = (table[name].to_numpy() for name in ("target", "prediction", "patient"))
    is_highest, is_lowest = (np.asarray(group == name) for name in (highest, lowest))
    compared = group_difference.compare(targets, scores, patient, is_highest, is_lowest, resamples, seed)
    note = compared.pop("interval_note")
    return {"highest": highest, "lowest": lowest, **compared, **counts, "note": note}

"""Writes an evaluation as plain text for a terminal."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from isic_tf.evaluation.number_format import TEXT
from isic_tf.metrics import cluster_bootstrap

_NUMBER = re.compile(r"[-+]?\d[\d.]*|-")
_CONFUSION_RATES = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
_GROUP_HEADINGS = ["", "", "images", "malignant", "patients", "ROC AUC", "", "sensitivity", "specificity"]


def write(assessment: Mapping[str, Any]) -> str:
    """Formats an assessment as aligned tables, without the line that `summaries.describe` returns.

    Args:
        assessment: See `evaluator.assess`.

    Returns:
        Text of several lines, without a final line break.
    """
    parts = [
        _summary(assessment["summary"]),
        _calibration(assessment["calibration"]),
        _operating_points(assessment["operating_points"]),
        _confusion(assessment["confusion"]),
        _groups(assessment),
        _patients(assessment["patients"]),
        _shortcuts(assessment["shortcuts"]),
    ]
    return "\n\n".join(parts)


def compare(first: str, second: str, comparison: Mapping[str, Any]) -> str:
    """Formats the comparison of two prediction files in a few lines.

    Args:
        first: Name of the first file.
        second: Name of the second file.
        comparison: See `paired_auc_test.compare`.

    Returns:
        Text of several lines, without a final line break.
    """
    p = comparison["delong_p"]
    by_patients = TEXT.interval(comparison["low"], comparison["high"])
    by_delong = TEXT.interval(comparison["delong_low"], comparison["delong_high"])
    partial = TEXT.interval(comparison["partial_auc_low"], comparison["partial_auc_high"])
    rows = [
        ["ROC AUC", f"{comparison['difference']:+.4f}", by_patients, "over patients"],
        ["", "", by_delong, f"DeLong, p {TEXT.significant(p, 2)}"],
        ["partial ROC AUC", f"{comparison['partial_auc_difference']:+.4f}", partial, "over patients"],
    ]
    note = f"; {comparison['interval_note']}" if comparison["interval_note"] else ""
    return align(f"{first} minus {second}, on the same images{note}", rows)


def align(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Aligns rows of text in columns under a title, columns of numbers to the right.

    Args:
        title: First line.
        rows: Cells, the same number in each row.

    Returns:
        Text of one line more than there are rows, without a final line break.
    """
    columns = []
    for column in zip(*rows, strict=True):
        width = max(map(len, column))
        words = sum(not _NUMBER.fullmatch(cell) for cell in column if cell)
        # A column of numbers may have a heading.
        columns.append([cell.rjust(width) if words < 2 else cell.ljust(width) for cell in column])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _with_interval(figures: Mapping[str, Any], name: str) -> list[str]:
    """Returns two cells: a figure and its interval."""
    return [TEXT.number(figures[name]), TEXT.interval(figures[f"{name}_low"], figures[f"{name}_high"])]


def _summary(summary: Mapping[str, Any]) -> str:
    delong = TEXT.interval(summary["auc_delong_low"], summary["auc_delong_high"])
    partial = _with_interval(summary, "partial_auc")
    precision = _with_interval(summary, "average_precision")
    rows = [
        ["ROC AUC", *_with_interval(summary, "auc"), ""],
        ["ROC AUC by DeLong", TEXT.number(summary["auc"]), delong, "treats a patient's images as independent"],
        ["partial ROC AUC above 80 % sensitivity", *partial, "0.02 by chance, 0.2 at most"],
        ["average precision", *precision, f"{TEXT.number(summary['prevalence'])} by chance"],
    ]
    intervals = summary["interval_note"] or f"95 % intervals over {summary['resamples']} resamples of the patients"
    return align(f"Ranking, {intervals}", rows)


def _calibration(figures: Mapping[str, Any]) -> str:
    mean = TEXT.number(figures["mean_prediction"])
    prevalence = TEXT.number(figures["prevalence"])
    by_count = TEXT.number(figures["ece_equal_count"])
    in_the_large = f"0 is best, predicted {mean} on average, {prevalence} are malignant"
    rows = [
        ["Brier score", TEXT.number(figures["brier"]), "", "0 is best"],
        ["log loss", TEXT.number(figures["log_loss"]), "", "nats, 0 is best"],
        ["calibration error, 10 bins of equal width", TEXT.number(figures["ece"]), "", "0 is best"],
        ["calibration error, 10 bins of equally many images", by_count, "", "0 is best"],
        ["slope", *_with_interval(figures, "slope"), "1 is best, below 1: too extreme"],
        ["intercept", *_with_interval(figures, "intercept"), "0 is best"],
        ["intercept at slope 1", TEXT.number(figures["in_the_large"]), "", in_the_large],
    ]
    return align("Calibration", rows)


def _operating_points(points: Sequence[Mapping[str, Any]]) -> str:
    rows = [["at least", "threshold", "sensitivity", "", "specificity", ""]]
    for point in points:
        interval = TEXT.interval(point["low"], point["high"])
        # The interval is that of the rate that is not fixed.
        of_sensitivity = interval if point["held"] == "specificity" else ""
        of_specificity = interval if point["held"] == "sensitivity" else ""
        rows.append(
            [
                f"{100 * point['level']:.4g} % {point['held']}",
                TEXT.threshold(point["threshold"]),
                TEXT.number(point["sensitivity"]),
                of_sensitivity,
                TEXT.number(point["specificity"]),
                of_specificity,
            ]
        )
    return align("Operating points, each threshold chosen on these images", rows)


def _confusion(confusion: Mapping[str, Any]) -> str:
    rows = [
        ["", "called malignant", "called benign"],
        ["malignant", str(confusion["true_positives"]), str(confusion["false_negatives"])],
        ["benign", str(confusion["false_positives"]), str(confusion["true_negatives"])],
    ]
    table = align(f"At threshold {TEXT.threshold(confusion['threshold'])} ({confusion['chosen']})", rows)
    rates = [f"{name.replace('_', ' ')} {TEXT.number(confusion[name])}" for name in _CONFUSION_RATES]
    return f"{table}\n  {', '.join(rates)}"


def _groups(assessment: Mapping[str, Any]) -> str:
    folds = assessment["folds"]
    kinds = [{"by": "fold", "rows": folds["rows"]}] if folds else []
    rows = [_GROUP_HEADINGS]
    for kind in [*kinds, *assessment["groups"]]:
        for place, group in enumerate(kind["rows"]):
            rows.append(["" if place else kind["by"], *_group_cells(group)])
    needed = f"intervals with at least {cluster_bootstrap.MIN_PATIENTS} patients of each class"
    threshold = TEXT.threshold(assessment["confusion"]["threshold"])
    table = align_notes(f"Groups, at threshold {threshold}; {needed}", rows)
    gaps = [f"  {describe_gap(kind['by'], kind['gap'])}" for kind in assessment["groups"] if "gap" in kind]
    table = "\n".join([table, *gaps])
    if not folds:
        return table
    mean = f"mean of the folds {TEXT.number(folds['mean_auc'])}"
    if folds["mean_auc"] is None:
        mean = f"no mean: {folds['note']}"
    return f"{table}\n  {mean}, all images together {TEXT.number(assessment['summary']['auc'])}"


def describe_gap(by: str, gap: Mapping[str, Any]) -> str:
    """Formats the largest gap between groups of the user's own as one line.

    Args:
        by: Name of the column of the groups.
        gap: See `user_groups.find_gap`.

    Returns:
        Text without a line break.
    """
    left_out = f"; too small to compare: {', '.join(gap['left_out'])}" if gap["left_out"] else ""
    if gap["difference"] is None:
        return f"{by}: {gap['note']}{left_out}"
    interval = gap["note"] or TEXT.interval(gap["low"], gap["high"])
    choice = " (the interval takes no account of this choice)" if gap["groups"] > 2 else ""
    return (
        f"{by}: largest gap {TEXT.number(gap['difference'])} {interval}, ROC AUC of {gap['highest']} minus "
        f"{gap['lowest']}, the highest and the lowest of {gap['groups']} groups{choice}{left_out}"
    )


def _group_cells(group: Mapping[str, Any]) -> list[str]:
    counts = [str(group[name]) for name in ("images", "malignant", "patients")]
    if group["note"]:
        return [group["group"], *counts, group["note"], "", "", ""]
    rates = [TEXT.number(group["sensitivity"]), TEXT.number(group["specificity"])]
    return [group["group"], *counts, *_with_interval(group, "auc"), *rates]


def align_notes(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Aligns rows, the first of which are headings; a note in place of a ROC AUC runs across the columns after it."""
    first = rows[0].index("ROC AUC")
    notes = {}
    shown = []
    for place, row in enumerate(rows):
        if row[first].startswith("too small"):
            notes[place] = row[first]
            row = [*row[:first], *[""] * (len(row) - first)]
        shown.append(row)
    title_line, *lines = align(title, shown).split("\n")
    start = lines[0].index("ROC AUC")
    noted = [line.ljust(start) + notes[place] if place in notes else line for place, line in enumerate(lines)]
    return "\n".join([title_line, *noted])


def _patients(figures: Mapping[str, Any]) -> str:
    title = "The melanoma among its patient's lesions"
    if figures["note"]:
        return f"{title}\n  {figures['note']}"
    by_chance = f"{TEXT.number(figures['top_1_by_chance'])} by chance"
    of_images = f"of {figures['images']:.1f} images; median {figures['median_rank']:.4g}"
    rows = [
        ["highest of the patient", *_with_interval(figures, "top_1"), by_chance],
        ["ROC AUC within the patient", *_with_interval(figures, "auc_within"), "0.5 by chance"],
        ["mean rank", f"{figures['mean_rank']:.1f}", "", of_images],
        ["mean percentile", TEXT.number(figures["mean_percentile"]), "", "1 at the top, 0 at the bottom"],
    ]
    note = f"; {figures['interval_note']}" if figures["interval_note"] else ""
    return align(f"{title}, mean over {figures['patients']} patients with malignant and benign ones{note}", rows)


def _shortcuts(audit: Mapping[str, Any]) -> str:
    rows = [["alone", "ROC AUC", "", "of the model's", "model within pairs", "indistinguishable pairs"]]
    warnings = []
    for shortcut in audit["rows"]:
        name = shortcut["shortcut"]
        if shortcut["note"]:
            rows.append([name, shortcut["note"], "", "", "", ""])
            continue
        share = TEXT.percent(shortcut["share"], 0)
        within = TEXT.number(shortcut["model_within"])
        rows.append([name, *_with_interval(shortcut, "auc"), share, within, TEXT.percent(shortcut["pairs_within"])])
        if shortcut["warning"]:
            warnings.append(
                f"  WARNING: {name} alone gives ROC AUC {TEXT.number(shortcut['auc'])}, {share} of the way from 0.5 to "
                f"the model's {TEXT.number(audit['model_auc'])}; within pairs that it cannot distinguish, the model "
                f"has {within}"
            )
    table = align("Shortcuts: what predicts the label without the lesion, cross-validated over patients", rows)
    return "\n".join([table, *warnings])

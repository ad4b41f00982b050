"""Writes the figures of unlike images as plain text for a terminal."""

from collections.abc import Mapping
from typing import Any

from isic_tf.evaluation import text_report
from isic_tf.evaluation.number_format import TEXT

_HEADINGS = ["", "images", "malignant", "ROC AUC", "", "sensitivity", "specificity"]


def write(figures: Mapping[str, Any], threshold: float | None) -> str:
    """Formats the figures of unlike images as aligned tables.

    Args:
        figures: See `unlike_images.assess`.
        threshold: The threshold of the decisions; None where none is called malignant.

    Returns:
        Text of several lines, without a final line break.
    """
    parts = [_shares(figures), _rows(figures, threshold), _coverages(figures, threshold)]
    return "\n\n".join(parts)


def _shares(figures: Mapping[str, Any]) -> str:
    kinds = [{"by": "all", "rows": [{"group": "", **figures}]}, *figures["groups"]]
    rows = [["", "", "images", "flagged", "share", ""]]
    for kind in kinds:
        for place, row in enumerate(kind["rows"]):
            counts = [str(row["images"]), str(row["flagged"]), TEXT.number(row["share"])]
            interval = TEXT.interval(row["share_low"], row["share_high"])
            rows.append(["" if place else kind["by"], row["group"], *counts, interval])
    unknown = f"; {figures['unknown']} more have no value" if figures["unknown"] else ""
    return text_report.align(f"Images unlike the training images (unlike above 1){unknown}", rows)


def _figure_cells(row: Mapping[str, Any]) -> list[str]:
    counts = [str(row["images"]), str(row["malignant"])]
    if row["note"]:
        return [*counts, row["note"], "", "", ""]
    rates = [TEXT.number(row["sensitivity"]), TEXT.number(row["specificity"])]
    return [*counts, TEXT.number(row["auc"]), TEXT.interval(row["auc_low"], row["auc_high"]), *rates]


def _rows(figures: Mapping[str, Any], threshold: float | None) -> str:
    rows = [_HEADINGS, *([row["group"], *_figure_cells(row)] for row in figures["rows"])]
    title = f"With and without the flagged images, at threshold {TEXT.threshold(threshold)}"
    table = text_report.align_notes(title, rows)
    return f"{table}\n  {describe_difference(figures['without_flagged'])}"


def describe_difference(comparison: Mapping[str, Any]) -> str:
    """Formats the difference that leaving out the flagged images makes as one line.

    Args:
        comparison: `without_flagged` of `unlike_images.assess`.

    Returns:
        Text without a line break.
    """
    if comparison["difference"] is None:
        return f"no difference of the ROC AUC: {comparison['interval_note']}"
    interval = comparison["interval_note"] or TEXT.interval(comparison["low"], comparison["high"])
    return f"ROC AUC without the flagged minus that of all: {comparison['difference']:+.4f} {interval}"


def _coverages(figures: Mapping[str, Any], threshold: float | None) -> str:
    rows = [["kept", "unlike up to", "error rate", *_HEADINGS[1:]]]
    for row in figures["coverages"]:
        kept = TEXT.percent(row["coverage"], 0)
        rows.append([kept, TEXT.significant(row["limit"]), TEXT.number(row["error"]), *_figure_cells(row)])
    title = f"Risk against coverage: the least unlike images, at threshold {TEXT.threshold(threshold)}"
    found = figures["risk_coverage"]
    interval = found["interval_note"] or TEXT.interval(found["low"], found["high"])
    line = (
        f"area under the error rate {TEXT.number(found['area'])}, in random order {TEXT.number(found['area_random'])}, "
        f"difference {found['difference']:+.4f} {interval}"
    )
    table = text_report.align_notes(title, rows)
    return f"{table}\n  {line}"

"""Writes the figures of several classes as plain text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from isic_tf.evaluation import report_plots, text_report
from isic_tf.evaluation.number_format import TEXT

_HEADINGS = [
    "",
    "images",
    "patients",
    "ROC AUC",
    "",
    "avg. precision",
    "sensitivity",
    "",
    "specificity",
    "precision",
    "F1",
]
_MEANS = {
    "macro_auc": "ROC AUC, mean of the classes",
    "macro_average_precision": "average precision, mean of the classes",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "F1, mean of the classes",
    "accuracy": "accuracy",
}
_CHALLENGE_F1 = "F1 above 0.5, mean of the classes"
# Names of classes up to this length are headings of columns; else numbers are.
_MAX_HEADING = 8


def write(figures: Mapping[str, Any]) -> str:
    """Formats the figures of several classes as aligned tables.

    Args:
        figures: See `evaluator.assess_classes`.

    Returns:
        Text of several lines, without a final line break.
    """
    parts = [_means(figures), _rows(figures)]
    if figures["confusion"]:
        parts.append(_matrix([row["class"] for row in figures["rows"]], figures["confusion"]))
    return "\n\n".join(parts)


def _means(figures: Mapping[str, Any]) -> str:
    rows = [
        [title, TEXT.number(figures[name]), TEXT.interval(figures[f"{name}_low"], figures[f"{name}_high"])]
        for name, title in _MEANS.items()
    ]
    challenge = figures.get("challenge")
    # Another figure than the F1 of the decisions. The scorer takes that of a class without images for 1.
    if challenge and all(row["images"] for row in figures["rows"]):
        rows.append([_CHALLENGE_F1, TEXT.number(challenge["macro_average"]["dice"]), "as MILK10k is scored"])
    intervals = figures["interval_note"] or f"95 % intervals over {figures['resamples']} resamples of the patients"
    return text_report.align(f"{len(figures['rows'])} classes, {intervals}", rows)


def _rows(figures: Mapping[str, Any]) -> str:
    rows = [_HEADINGS]
    for row in figures["rows"]:
        intervals = {name: TEXT.interval(row[f"{name}_low"], row[f"{name}_high"]) for name in ("auc", "sensitivity")}
        rows.append(
            [
                row["class"],
                str(row["images"]),
                str(row["patients"]),
                TEXT.number(row["auc"]),
                intervals["auc"],
                TEXT.number(row["average_precision"]),
                TEXT.number(row["sensitivity"]),
                intervals["sensitivity"],
                TEXT.number(row["specificity"]),
                TEXT.number(row["precision"]),
                TEXT.number(row["f1"]),
            ]
        )
    rule = "a probability of 0.5 or more" if figures["multi_label"] else "the most probable class, ties are undecided"
    return text_report.align(f"Each class against the rest ({figures['truth']}); decided by {rule}", rows)


def _matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Formats a confusion matrix: counts, and percentages of the row."""
    title = "Images of each class (rows) by the decision (columns), with the percentage of the row"
    if len(names) > report_plots.MOST_CLASSES:
        return f"{title}: {len(names)} classes, see the JSON file (--output)"
    headings = list(names)
    titles = list(names)
    if max(map(len, names)) > _MAX_HEADING:
        headings = [str(number) for number in range(1, len(names) + 1)]
        titles = [f"{number} {name}" for number, name in zip(headings, names, strict=True)]
    has_undecided = any(row[-1] for row in counts)
    columns = len(names) + has_undecided
    rows = [["", *headings, *(["undecided"] if has_undecided else [])]]
    for name, row in zip(titles, counts, strict=True):
        total = sum(row)
        rows.append([name, *(_cell(count, total) for count in row[:columns])])
    return text_report.align(title, _right(rows))


def _cell(count: int, total: int) -> str:
    return f"{count} ({100 * count / total:.0f} %)" if count else "0"


def _right(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Aligns all columns but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[row[0], *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))] for row in rows]

"""An assessment as plain text for a terminal."""

import re

from isic_tf.metrics import operating_points

_NUMBER = re.compile(r"[-+]?\d[\d.]*|-")


def write(found):
    """Writes what `evaluator.assess` found, but for the line that `summaries.describe` gives, as aligned tables.

    Returns:
        Text of several lines, without an end of line.
    """
    parts = [
        _summary(found["summary"]),
        _calibration(found["calibration"]),
        _points(found["operating_points"]),
        _confusion(found["confusion"]),
        _groups(found),
        _patients(found["patients"]),
        _shortcuts(found["shortcuts"]),
    ]
    return "\n\n".join(parts)


def align(title, rows):
    """Lays out rows of text in columns, numbers to the right, under a title."""
    columns = []
    for column in zip(*rows, strict=True):
        width = max(map(len, column))
        # But for a heading, numbers only.
        words = sum(not _NUMBER.fullmatch(cell) for cell in column if cell)
        columns.append([cell.rjust(width) if words < 2 else cell.ljust(width) for cell in column])
    lines = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return "\n".join([title, *(f"  {line}" for line in lines)])


def number(value):
    """Writes a figure with four places; "-" where there is none."""
    return "-" if value is None else f"{value:.4f}"


def interval(low, high):
    """Writes an interval; "-" where there is none."""
    return "-" if low is None else f"[{low:.4f}, {high:.4f}]"


def threshold(value):
    """Writes a threshold; "-" where there is none."""
    return "-" if value is None else operating_points.spell(value)


def _figure(found, name):
    return [number(found[name]), interval(found[f"{name}_low"], found[f"{name}_high"])]


def _summary(found):
    delong = [number(found["auc"]), interval(found["auc_delong_low"], found["auc_delong_high"])]
    rows = [
        ["ROC AUC", *_figure(found, "auc"), ""],
        ["ROC AUC by DeLong", *delong, "takes a patient's images as independent"],
        ["partial ROC AUC above 80 % sensitivity", *_figure(found, "partial_auc"), "0.02 by chance, 0.2 at most"],
        ["average precision", *_figure(found, "average_precision"), f"{found['prevalence']:.4f} by chance"],
    ]
    return align(f"Ranking, 95 % intervals over {found['resamples']} resamples of the patients", rows)


def _calibration(found):
    predicted = f"predicted {found['mean_prediction']:.4f} on average, {found['prevalence']:.4f} are malignant"
    rows = [
        ["Brier score", number(found["brier"]), "", "0 is best"],
        ["log loss", number(found["log_loss"]), "", "nats, 0 is best"],
        ["calibration error, 10 bins of equal width", number(found["ece"]), "", "0 is best"],
        ["calibration error, 10 bins of equally many images", number(found["ece_equal_count"]), "", "0 is best"],
        ["slope", *_figure(found, "slope"), "1 is best, below: too sure"],
        ["intercept", *_figure(found, "intercept"), "0 is best"],
        ["intercept at slope 1", number(found["in_the_large"]), "", f"0 is best, {predicted}"],
    ]
    return align("Calibration", rows)


def _points(points):
    rows = [["at least", "threshold", "sensitivity", "", "specificity", ""]]
    for point in points:
        ends = interval(point["low"], point["high"])
        cells = {"sensitivity": [number(point["sensitivity"]), ""], "specificity": [number(point["specificity"]), ""]}
        cells["specificity" if point["held"] == "sensitivity" else "sensitivity"][1] = ends
        level = f"{100 * point['level']:.4g} % {point['held']}"
        rows.append([level, threshold(point["threshold"]), *cells["sensitivity"], *cells["specificity"]])
    return align("Operating points, each threshold chosen on these images", rows)


def _confusion(found):
    rows = [
        ["", "called malignant", "called benign"],
        ["malignant", str(found["true_positives"]), str(found["false_negatives"])],
        ["benign", str(found["false_positives"]), str(found["true_negatives"])],
    ]
    names = ("sensitivity", "specificity", "positive_predictive_value", "negative_predictive_value")
    shares = ", ".join(f"{name.replace('_', ' ')} {number(found[name])}" for name in names)
    return align(f"At threshold {threshold(found['threshold'])} ({found['chosen']})", rows) + f"\n  {shares}"


def _groups(found):
    kinds = found["groups"]
    if found["folds"]:
        kinds = [{"by": "fold", "rows": found["folds"]["rows"]}, *kinds]
    rows = [["", "", "images", "malignant", "patients", "ROC AUC", "", "sensitivity", "specificity"]]
    for kind in kinds:
        for place, row in enumerate(kind["rows"]):
            counts = [str(row[name]) for name in ("images", "malignant", "patients")]
            figures = [*_figure(row, "auc"), number(row["sensitivity"]), number(row["specificity"])]
            if row["note"]:
                figures = [row["note"], "", "", ""]
            rows.append(["" if place else kind["by"], row["group"], *counts, *figures])
    text = _align_notes(f"Groups, at threshold {threshold(found['confusion']['threshold'])}", rows)
    if found["folds"]:
        mean = found["folds"]["mean_auc"]
        means = f"mean of the folds {number(mean)}" if mean is not None else f"no mean: {found['folds']['note']}"
        text += f"\n  {means}, all images together {number(found['summary']['auc'])}"
    return text


def _align_notes(title, rows):
    """Aligns rows whose last cells may be one note across them."""
    noted = {place: row[5] for place, row in enumerate(rows) if row[5].startswith("too small")}
    shown = [[*row[:5], "", "", "", ""] if place in noted else row for place, row in enumerate(rows)]
    lines = align(title, shown).split("\n")
    start = lines[1].index("ROC AUC")
    return "\n".join(
        f"{line.ljust(start)}{noted[place]}" if (place := number_of - 1) in noted else line
        for number_of, line in enumerate(lines)
    )


def _patients(found):
    title = "The melanoma among its patient's lesions"
    if found["note"]:
        return f"{title}\n  {found['note']}"
    rows = [
        ["highest of the patient", *_figure(found, "top_1"), f"{number(found['top_1_by_chance'])} by chance"],
        ["ROC AUC within the patient", *_figure(found, "auc_within"), "0.5 by chance"],
        [
            "mean rank",
            f"{found['mean_rank']:.1f}",
            "",
            f"of {found['images']:.1f} images; median {found['median_rank']:.4g}",
        ],
        ["mean percentile", number(found["mean_percentile"]), "", "1 at the top, 0 at the bottom"],
    ]
    return align(f"{title}, mean over {found['patients']} patients with malignant and benign ones", rows)


def _shortcuts(found):
    rows = [["alone", "ROC AUC", "", "of the model's", "model among alike", "pairs alike"]]
    notes = []
    for row in found["rows"]:
        if row["note"]:
            rows.append([row["shortcut"], row["note"], "", "", "", ""])
            continue
        share = "-" if row["share"] is None else f"{100 * row['share']:.0f} %"
        pairs = f"{100 * row['pairs_within']:.1f} %"
        rows.append([row["shortcut"], *_figure(row, "auc"), share, number(row["model_within"]), pairs])
        if row["warning"]:
            notes.append(
                f"WARNING: {row['shortcut']} alone gives ROC AUC {row['auc']:.4f}, {share} of the way from 0.5 to the "
                f"model's {found['model_auc']:.4f}; among images alike in it, the model has "
                f"{number(row['model_within'])}"
            )
    text = align("Shortcuts: what can be told without the lesion, cross-validated over patients", rows)
    return "\n".join([text, *(f"  {note}" for note in notes)])


def compare(first, second, found):
    """Writes what `paired_auc_test.compare` found of two files in a few lines."""
    p = found["delong_p"]
    rows = [
        ["ROC AUC", f"{found['difference']:+.4f}", interval(found["low"], found["high"]), "over patients"],
        ["", "", interval(found["delong_low"], found["delong_high"]), f"DeLong, p {'-' if p is None else f'{p:.2g}'}"],
        [
            "partial ROC AUC",
            f"{found['partial_auc_difference']:+.4f}",
            interval(found["partial_auc_low"], found["partial_auc_high"]),
            "over patients",
        ],
    ]
    return align(f"{first} less {second}, on the same images", rows)

import pytest

from isic_tf.evaluation import text_report

INTERVALS = {f"{name}_{end}": None for name in ("auc", "auc_delong", "partial_auc") for end in ("low", "high")}
SUMMARY = {
    "auc": 0.75,
    **INTERVALS,
    "auc_low": 0.6,
    "auc_high": 0.9,
    "partial_auc": 0.1,
    "average_precision": 0.5,
    "average_precision_low": 0.4,
    "average_precision_high": 0.6,
    "prevalence": 0.25,
    "resamples": 1000,
    "interval_note": "",
}
CALIBRATION = {
    "brier": 0.1,
    "log_loss": 0.3,
    "ece": 0.02,
    "ece_equal_count": 0.03,
    "slope": 0.9,
    "slope_low": 0.8,
    "slope_high": 1.0,
    "intercept": -0.5,
    "intercept_low": None,
    "intercept_high": None,
    "in_the_large": 0.0,
    "mean_prediction": 0.3,
    "prevalence": 0.25,
}
CONFUSION = {
    "threshold": 0.4,
    "chosen": "as given",
    "true_positives": 8,
    "false_negatives": 2,
    "false_positives": 5,
    "true_negatives": 25,
    "sensitivity": 0.8,
    "specificity": 25 / 30,
    "positive_predictive_value": None,
    "negative_predictive_value": 25 / 27,
}
POINTS = [
    {"held": "specificity", "level": 0.9, "threshold": 0.4, "sensitivity": 0.8, "specificity": 0.9}
    | {"low": 0.7, "high": 0.85},
    {"held": "sensitivity", "level": 0.95, "threshold": None, "sensitivity": 0.95, "specificity": 0.5}
    | {"low": None, "high": None},
]


def group(name, note="", **figures):
    counts = {"group": name, "images": 40, "malignant": 10, "patients": 20}
    blank = dict.fromkeys(("auc", "auc_low", "auc_high", "sensitivity", "specificity"))
    return {**counts, **blank, **figures, "note": note}


GROUPS = [
    {"by": "sex", "rows": [group("female", auc=0.8, auc_low=0.7, auc_high=0.9, sensitivity=0.8, specificity=0.5)]}
]
PATIENTS = {"note": "too few: 3 patients with malignant and benign images, 5 needed"}
SHORTCUTS = {
    "model_auc": 0.75,
    "rows": [
        {"shortcut": "image size", "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8, "share": 0.8, "warning": True}
        | {"model_within": 0.55, "pairs_within": 0.4, "note": ""},
        {"shortcut": "file size", "auc": None, "note": "not known", "warning": False},
    ],
}
ASSESSMENT = {
    "summary": SUMMARY,
    "calibration": CALIBRATION,
    "operating_points": POINTS,
    "confusion": CONFUSION,
    "folds": None,
    "groups": GROUPS,
    "patients": PATIENTS,
    "shortcuts": SHORTCUTS,
}


def section(text, title):
    """Returns the lines of the section whose title begins so."""
    return next(part.split("\n") for part in text.split("\n\n") if part.startswith(title))


def test_the_report_has_seven_sections_in_order():
    titles = [part.split("\n")[0] for part in text_report.write(ASSESSMENT).split("\n\n")]
    beginnings = ["Ranking", "Calibration", "Operating points", "At threshold", "Groups", "The melanoma", "Shortcuts"]
    assert len(titles) == len(beginnings)
    assert all(title.startswith(beginning) for title, beginning in zip(titles, beginnings, strict=True))


def test_columns_are_aligned_and_numbers_are_to_the_right():
    text = text_report.align("Title", [["", "images"], ["a", "7"], ["long name", "1234"]])
    assert text == "Title\n             images\n  a               7\n  long name    1234"


def test_a_column_of_words_is_to_the_left():
    assert text_report.align("T", [["a", "one"], ["b", "three words here"]]).split("\n")[1:] == [
        "  a  one",
        "  b  three words here",
    ]


def test_the_ranking_worked_by_hand():
    assert section(text_report.write(ASSESSMENT), "Ranking") == [
        "Ranking, 95 % intervals over 1000 resamples of the patients",
        "  ROC AUC                                 0.7500  [0.6000, 0.9000]",
        "  ROC AUC by DeLong                       0.7500  -                 treats a patient's images as independent",
        "  partial ROC AUC above 80 % sensitivity  0.1000  -                 0.02 by chance, 0.2 at most",
        "  average precision                       0.5000  [0.4000, 0.6000]  0.2500 by chance",
    ]


def test_the_interval_of_an_operating_point_is_next_to_the_rate_that_is_not_fixed():
    _, heading, first, second = section(text_report.write(ASSESSMENT), "Operating points")
    assert heading.split() == ["at", "least", "threshold", "sensitivity", "specificity"]
    assert first.split() == ["90", "%", "specificity", "0.4", "0.8000", "[0.7000,", "0.8500]", "0.9000"]
    assert second.split() == ["95", "%", "sensitivity", "-", "0.9500", "0.5000", "-"]


def test_the_confusion_matrix_has_its_rates_below_it():
    *_, malignant, benign, rates = section(text_report.write(ASSESSMENT), "At threshold 0.4 (as given)")
    assert malignant.split() == ["malignant", "8", "2"]
    assert benign.split() == ["benign", "5", "25"]
    assert "sensitivity 0.8000, specificity 0.8333, positive predictive value -," in rates


def test_a_note_takes_the_place_of_a_groups_figures():
    groups = [{"by": "sex", "rows": [*GROUPS[0]["rows"], group("male", "too small: 3 malignant images, 10 needed")]}]
    _, heading, female, male = section(text_report.write({**ASSESSMENT, "groups": groups}), "Groups")
    assert female.split()[:2] == ["sex", "female"]
    assert male.index("too small") == heading.index("ROC AUC")
    assert male.endswith("too small: 3 malignant images, 10 needed")


@pytest.mark.parametrize(
    ("mean", "note", "expected"),
    [
        (0.7, "", "mean of the folds 0.7000, all images together 0.7500"),
        (None, "a fold is too small", "no mean: a fold is too small, all images together 0.7500"),
    ],
)
def test_folds_have_a_mean_or_the_reason_why_not(mean, note, expected):
    folds = {"rows": [group("0", auc=0.7, auc_low=0.6, auc_high=0.8, sensitivity=0.8, specificity=0.5)]}
    folds |= {"mean_auc": mean, "note": note}
    lines = section(text_report.write({**ASSESSMENT, "folds": folds}), "Groups")
    assert lines[2].split()[:2] == ["fold", "0"]
    assert lines[-1].strip() == expected


def test_shortcuts_without_figures_have_a_note_and_others_a_warning():
    lines = section(text_report.write(ASSESSMENT), "Shortcuts")
    assert [line.split("  ")[1] for line in lines[2:4]] == ["image size", "file size"]
    assert "not known" in lines[3]
    assert lines[-1] == (
        "  WARNING: image size alone gives ROC AUC 0.7000, 80 % of the way from 0.5 to the model's 0.7500; "
        "within pairs that it cannot distinguish, the model has 0.5500"
    )


def test_a_comparison_has_signs_intervals_and_a_p_value():
    compared = {"difference": -0.05, "low": -0.1, "high": 0.0, "delong_low": None, "delong_high": None}
    compared |= {"delong_p": 0.0312, "partial_auc_difference": 0.01, "partial_auc_low": None, "partial_auc_high": None}
    compared["interval_note"] = ""
    title, auc, by_delong, partial = text_report.compare("a.csv", "b.csv", compared).split("\n")
    assert title == "a.csv minus b.csv, on the same images"
    assert auc.split() == ["ROC", "AUC", "-0.0500", "[-0.1000,", "0.0000]", "over", "patients"]
    assert by_delong.split() == ["-", "DeLong,", "p", "0.031"]
    assert partial.split() == ["partial", "ROC", "AUC", "+0.0100", "-", "over", "patients"]
    assert "DeLong, p -" in text_report.compare("a.csv", "b.csv", {**compared, "delong_p": None})


def test_too_few_patients_are_stated_where_intervals_would_be():
    note = "no interval: 3 patients with a malignant lesion, at least 10 needed"
    report = text_report.write({**ASSESSMENT, "summary": {**SUMMARY, "interval_note": note}})
    assert f"Ranking, {note}\n" in report
    assert "Groups, at threshold 0.4; intervals with at least 10 patients of each class\n" in report
    names = ("low", "high", "delong_low", "delong_high", "delong_p", "partial_auc_low", "partial_auc_high")
    compared = {"difference": 0.1, "partial_auc_difference": 0.1, **dict.fromkeys(names), "interval_note": note}
    text = text_report.compare("a.csv", "b.csv", compared)
    assert text.startswith(f"a.csv minus b.csv, on the same images; {note}\n")
    assert "[" not in text

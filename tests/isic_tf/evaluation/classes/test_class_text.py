import numpy as np

from isic_tf.evaluation import report_plots
from isic_tf.evaluation.classes import class_text
from isic_tf.metrics import class_metrics


def assess(names=("MEL", "NV"), **options):
    truth = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.4, 0.6]])
    found = class_metrics.assess(class_metrics.ClassPredictions(names, truth, probabilities, np.arange(4), **options))
    return {**found, "truth": "the column dx of t.csv"}


def test_the_text_has_the_means_the_classes_and_the_matrix():
    text = class_text.write(assess())
    means, rows, matrix = text.split("\n\n")
    assert "2 classes, no interval: 2 patients with images of class MEL" in means
    assert "balanced accuracy                       0.7500  -" in means
    assert "(the column dx of t.csv)" in rows
    assert rows.splitlines()[2].split()[:4] == ["MEL", "2", "2", "1.0000"]
    assert [line.split() for line in matrix.splitlines()[1:]] == [
        ["MEL", "NV", "undecided"],
        ["MEL", "1", "(50", "%)", "0", "1", "(50", "%)"],
        ["NV", "0", "2", "(100", "%)", "0"],
    ]


def test_long_names_are_numbered_in_the_matrix():
    matrix = class_text.write(assess(("melanoma in situ", "nevus"))).split("\n\n")[2].splitlines()
    assert matrix[1].split() == ["1", "2", "undecided"]
    assert matrix[2].startswith("  1 melanoma in situ")


def test_classes_that_do_not_exclude_each_other_have_no_matrix():
    text = class_text.write(assess(multi_label=True))
    assert "decided by a probability of 0.5 or more" in text
    assert "(rows)" not in text


def test_a_matrix_of_too_many_classes_is_left_to_the_file(monkeypatch):
    monkeypatch.setattr(report_plots, "MOST_CLASSES", 1)
    assert class_text.write(assess()).endswith("2 classes, see the JSON file (--output)")


def test_the_f1_of_milk10k_is_another_one_than_that_of_the_decisions():
    figures = {**assess(), "challenge": {"macro_average": {"dice": 0.25}}}
    assert "\n  F1 above 0.5, mean of the classes       0.2500  as MILK10k is scored" in class_text.write(figures)
    # The scorer counts a class without images as 1.
    rows = [{**figures["rows"][0], "images": 0}, figures["rows"][1]]
    assert "MILK10k" not in class_text.write({**figures, "rows": rows})

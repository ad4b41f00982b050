import pandas as pd
import pytest

from isic_tf.evaluation import report_plots, svg_plots

# At a threshold of 0.65: both malignant images are found, one of two benign ones is called malignant.
TABLE = pd.DataFrame({"target": [1, 0, 1, 0], "prediction": [0.9, 0.8, 0.7, 0.1]})
OTHER = pd.DataFrame({"target": [1, 0, 1, 0], "prediction": [0.2, 0.3, 0.9, 0.6]})
CONFUSION = {"specificity": 0.5, "sensitivity": 1.0, "positive_predictive_value": 2 / 3, "threshold": 0.65}
BINS = [
    {"images": 2, "predicted": 0.45, "observed": 0.5},
    {"images": 2, "predicted": 0.8, "observed": 0.5},
]


def plot(*tables, interval_note="", **confusion):
    assessment = {"confusion": {**CONFUSION, **confusion}, "calibration": {"bins": BINS}}
    assessment["summary"] = {"interval_note": interval_note}
    return report_plots.plot_predictions(assessment, tables)


def styles(figure):
    return [shape["style"] for shape in figure["shapes"]]


def test_a_file_alone_has_its_four_figures():
    figures = plot(TABLE)
    assert list(figures) == ["roc", "precision_recall", "reliability", "histogram"]
    assert styles(figures["roc"]) == ["guide", "curve series0", "point"]
    assert styles(figures["precision_recall"]) == ["guide", "curve series0", "point"]
    assert len({figure["text"] for figure in figures.values()}) == 4


def test_the_operating_point_is_on_both_curves():
    figures = plot(TABLE)
    # Sensitivity 1 at a false positive rate of a half; precision 2/3 at a recall of 1.
    (point,) = figures["roc"]["shapes"][-1]["dots"]
    assert point == ((svg_plots.LEFT + svg_plots.RIGHT) / 2, svg_plots.TOP)
    ((across, up),) = figures["precision_recall"]["shapes"][-1]["dots"]
    assert across == svg_plots.RIGHT
    assert up == pytest.approx(svg_plots.BOTTOM + (svg_plots.TOP - svg_plots.BOTTOM) * 2 / 3, abs=0.05)


def test_without_a_precision_there_is_no_point_on_its_curve():
    figures = plot(TABLE, positive_predictive_value=None, sensitivity=0.0, specificity=1.0)
    assert styles(figures["precision_recall"]) == ["guide", "curve series0"]
    assert figures["roc"]["shapes"][-1]["dots"] == [(svg_plots.LEFT, svg_plots.BOTTOM)]


def test_curves_show_all_files_and_the_other_figures_the_first():
    alone, compared = plot(TABLE), plot(TABLE, OTHER)
    for name in ("roc", "precision_recall"):
        assert styles(compared[name]) == ["guide", "curve series1", "curve series0", "point"]
        assert compared[name]["shapes"][2:] == alone[name]["shapes"][1:]
    for name in ("reliability", "histogram"):
        assert compared[name] == alone[name]
    assert plot(OTHER)["histogram"] != alone["histogram"]


def test_the_reliability_diagram_has_a_dot_per_bin():
    dots = next(shape["dots"] for shape in plot(TABLE)["reliability"]["shapes"] if "dots" in shape)
    assert len(dots) == 2
    # On a square-root axis a half is at 0.7071 of its length.
    height = svg_plots.BOTTOM + (svg_plots.TOP - svg_plots.BOTTOM) * 0.5**0.5
    assert [up for _, up in dots] == pytest.approx([height, height], abs=0.05)


def test_few_patients_leave_the_bins_without_intervals():
    whiskers = [styles(plot(TABLE, interval_note=note)["reliability"]).count("whisker") for note in ("", "no interval")]
    assert whiskers == [1, 0]


def test_every_class_has_a_curve_where_it_has_images():
    rows = [{"class": "A", "auc": 0.75, "specificity": 0.5, "sensitivity": 1.0}, {"class": "B", "auc": None}]
    table = pd.DataFrame({"truth_A": [1, 0, 1, 0], "probability_A": [0.9, 0.8, 0.7, 0.1]})
    (first, curve), second = report_plots.plot_classes({"classes": {"rows": rows}}, table)
    assert first == "A"
    assert styles(curve) == ["guide", "curve series0", "point"]
    assert second == ("B", None)
    assert report_plots.plot_classes({}, table) == []
    assert report_plots.plot_classes({"classes": {"rows": rows * 30}}, table) == []


def test_the_curve_of_risk_ends_at_the_error_rate_of_all_images():
    # Of 40 images, the 10 that are most unlike are wrong.
    table = pd.DataFrame({"target": [0, 1] * 20, "prediction": [0.2, 0.8] * 15 + [0.8, 0.2] * 5, "unlike": range(40)})
    assessment = {"confusion": CONFUSION, "unlike": {"images": 40}}
    found = report_plots.plot_risk_coverage(assessment, table)
    assert styles(found) == ["guide", "curve series0"]
    assert [text for _, text in found["y"]["ticks"]] == ["0", "0.05", "0.1", "0.15", "0.2", "0.25"]
    # A quarter of all is wrong: the top of the axis. The half that is kept first is right.
    start, *_, end = found["shapes"][1]["path"].removeprefix("M").split("L")
    assert start == f"{(svg_plots.LEFT + svg_plots.RIGHT) / 2:g} {svg_plots.BOTTOM}"
    assert end == f"{svg_plots.RIGHT} {svg_plots.TOP}"


def test_the_curve_of_risk_needs_values_of_enough_images():
    table = TABLE.assign(unlike=[0.5, 1.5, 0.5, 0.5])
    assert report_plots.plot_risk_coverage({"confusion": CONFUSION}, table) is None
    assert report_plots.plot_risk_coverage({"confusion": CONFUSION, "unlike": {"images": 4}}, table) is None

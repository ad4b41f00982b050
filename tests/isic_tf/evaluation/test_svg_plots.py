import numpy as np
import pytest

from isic_tf.evaluation import svg_plots

# The drawing's corners: 0 and 1 of either axis.
LEFT, RIGHT, TOP, BOTTOM = svg_plots.LEFT, svg_plots.RIGHT, svg_plots.TOP, svg_plots.BOTTOM


def of_style(plot, style):
    return [shape for shape in plot["shapes"] if shape["style"] == style]


def test_values_are_placed_on_plain_and_square_root_axes():
    plain, root = svg_plots.Axis("", 0, 2, {}), svg_plots.Axis("", 0, 1, {}, 0.5)
    assert svg_plots.place(plain, [0, 0.5, 2], 100, 200).tolist() == [100, 125, 200]
    # Upwards in a drawing is towards 0.
    assert svg_plots.place(root, [0, 0.25, 1], 200, 100).tolist() == [200, 150, 100]


def test_points_on_a_straight_line_are_left_out():
    line = [(0, 0), (0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (3, 3), (4, 4)]
    assert svg_plots.thin(np.array(line)).tolist() == [[0, 0], [0, 2], [2, 2], [4, 4]]
    there_and_back = [[0, 0], [0, 3], [0, 1]]
    assert svg_plots.thin(np.array(there_and_back)).tolist() == there_and_back
    assert svg_plots.thin(np.array([(1, 1), (1, 1)])).tolist() == [[1, 1]]


def test_a_roc_curve_worked_by_hand():
    # From the top: malignant, benign, malignant, benign: half of either up, across, up, across.
    targets, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    plot = svg_plots.roc([(targets, scores)], (0.5, 1.0))
    across, up = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    path = f"M{LEFT} {BOTTOM}L{LEFT} {up:g}L{across:g} {up:g}L{across:g} {TOP}L{RIGHT} {TOP}"
    assert of_style(plot, "curve series0")[0]["path"] == path
    assert of_style(plot, "point")[0]["dots"] == [(across, TOP)]
    assert plot["x"]["ticks"][0] == (LEFT, "0")
    assert plot["y"]["ticks"][-1] == (TOP, "1")


def test_the_first_file_is_drawn_over_the_others():
    curve = np.array([1, 0]), np.array([0.9, 0.8])
    styles = [shape["style"] for shape in svg_plots.roc([curve, curve], None)["shapes"]]
    assert styles == ["guide", "curve series1", "curve series0"]


def test_a_precision_recall_curve_worked_by_hand():
    # Recall 1/2 at precision 1, the second malignant image at 2/3; below, the precision of all is 1/2.
    targets, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    plot = svg_plots.precision_recall([(targets, scores)], None)
    across, height = (LEFT + RIGHT) / 2, BOTTOM - TOP
    low, middle = (round(BOTTOM - height * precision, 1) for precision in (1 / 2, 2 / 3))
    steps = f"M{RIGHT} {low:g}L{RIGHT} {middle:g}L{across:g} {middle:g}L{across:g} {low:g}"
    assert of_style(plot, "curve series0")[0]["path"].startswith(steps)
    assert of_style(plot, "curve series0")[0]["path"].endswith(f"L{LEFT} {TOP}")
    assert of_style(plot, "guide")[0]["path"] == f"M{LEFT} {low:g}L{RIGHT} {low:g}"
    assert not of_style(plot, "point")


def test_a_bins_interval_is_wilsons():
    plot = svg_plots.reliability([{"images": 10, "predicted": 0.25, "observed": 0.0}])
    # Of 0 in 10: 0 to z^2 / (10 + z^2), with z of 95 %.
    high = 1.959964**2 / (10 + 1.959964**2)
    place = round(BOTTOM - (BOTTOM - TOP) * high**0.5, 1)
    assert of_style(plot, "whisker")[0]["path"] == f"M{(LEFT + RIGHT) / 2:g} {BOTTOM}V{place:g}"
    assert of_style(plot, "bin series0")[0]["dots"] == [((LEFT + RIGHT) / 2, BOTTOM)]


def test_a_histogram_shows_fractions_of_each_class():
    targets = np.array([0, 0, 0, 0, 1])
    plot = svg_plots.histogram(targets, np.array([0.0, 0.0, 0.0, 1.0, 1.0]), 0.25)
    top = {text: at for at, text in plot["y"]["ticks"]}["100\N{NO-BREAK SPACE}%"]
    share = round(BOTTOM - 0.75 * (BOTTOM - top), 1)
    assert f" {share:g}" in of_style(plot, "curve benign")[0]["path"]
    assert f" {top:g}" in of_style(plot, "curve malignant")[0]["path"]
    assert of_style(plot, "fill benign")[0]["path"].endswith(f"V{BOTTOM}H{LEFT}Z")
    assert of_style(plot, "guide")[0]["path"].startswith(f"M{(LEFT + RIGHT) / 2:g} ")
    assert not of_style(svg_plots.histogram(targets, np.full(5, 0.5), None), "guide")


def test_training_is_drawn_of_the_folds_that_have_the_figure():
    judged = [{"epoch": epoch, "loss": 1 / epoch, "auc": 0.5 + 0.1 * epoch} for epoch in (1, 2, 3)]
    full = [{"epoch": epoch, "loss": 2 / epoch} for epoch in (1, 2)]
    plot = svg_plots.training([full, judged], "auc", "ROC AUC")
    assert [shape["style"] for shape in plot["shapes"]] == ["curve series1", "bin series1"]
    assert len(of_style(plot, "bin series1")[0]["dots"]) == 3
    assert [text for _, text in plot["x"]["ticks"]] == ["1", "2", "3"]
    assert len(svg_plots.training([full, judged], "loss", "loss")["shapes"]) == 4
    assert svg_plots.training([full, []], "auc", "ROC AUC") is None
    # One epoch is a dot in a figure of some height.
    one = svg_plots.training([judged[:1]], "loss", "loss")
    assert np.isfinite(of_style(one, "bin series0")[0]["dots"]).all()


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((0.6, 0.75, 0.9), [20, 50, 80]),
        ((0.3, 0.45, 0.6), [0, 0, 20]),
        ((None, 0.7, None), None),
        ((None, None, None), None),
    ],
)
def test_an_interval_is_placed_on_a_strip(ends, expected):
    assert svg_plots.span(*ends) == expected

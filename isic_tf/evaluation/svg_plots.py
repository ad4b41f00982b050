"""Lays out the report's figures as coordinates, which a template draws as SVG."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, roc_curve

# Size and frame of a figure, in units of its own; on a page it is as wide as its column.
WIDTH = 380
HEIGHT = 300
LEFT = 52
RIGHT = 370
TOP = 12
BOTTOM = 254
# Colors of the style sheet, for prediction files or folds.
COLORS = 5
_BINS = 30
# Dots mark epochs where there are fewer than this.
_MAX_DOTS = 30

# Targets, 0 or 1, and scores of one prediction file, both `[n]`.
Curve = tuple[np.ndarray, np.ndarray]
# Figure: see `plot`.
Plot = dict[str, Any]


class Axis(typing.NamedTuple):
    """One axis: its label and range, the texts at its ticks, and the power that places values."""

    label: str
    low: float
    high: float
    ticks: Mapping[float, str]
    power: float = 1.0


UNIT: dict[float, str] = {0: "0", 0.2: "0.2", 0.4: "0.4", 0.6: "0.6", 0.8: "0.8", 1: "1"}
# For square-root axes: most predictions are small.
ROOT: dict[float, str] = {
    0: "0",
    0.01: "0.01",
    0.05: "0.05",
    0.1: "0.1",
    0.2: "0.2",
    0.4: "0.4",
    0.7: "0.7",
    1: "1",
}
_DIAGONAL = {"kind": "line", "style": "guide", "x": [0, 1], "y": [0, 1]}


def place(axis: Axis, values: Any, start: float, end: float) -> np.ndarray:
    """Places values between two coordinates, rounded to a tenth.

    Args:
        axis: `Axis`.
        values: Floats on the axis, `[n]`.
        start: Coordinate of the axis's low end.
        end: Coordinate of its high end.

    Returns:
        float64 `[n]`.
    """
    low, high, scaled = (np.power(each, axis.power) for each in (axis.low, axis.high, np.asarray(values, float)))
    return np.round(start + (end - start) * (scaled - low) / (high - low), 1)


def plot(x: Axis, y: Axis, text: str, shapes: Sequence[Mapping[str, Any]]) -> Plot:
    """Lays out a figure.

    Args:
        x: Horizontal axis.
        y: Vertical axis.
        text: Description of the figure for screen readers.
        shapes: Dicts of `style` (a class of the template's style sheet), `x` and `y` (values on the axes, `[n]`), and
            `kind`: `line`, `area` (down to the axis), `dots` or `bars` (from `low` to `high` at each x).

    Returns:
        Dict of `text`, `x` and `y` (dicts of `label` and `ticks`, pairs of coordinate and text) and `shapes`, dicts of
        `style` and either `path` (of SVG) or `dots` (pairs of coordinates).
    """
    return {
        "text": text,
        "x": _place_ticks(x, LEFT, RIGHT),
        "y": _place_ticks(y, BOTTOM, TOP),
        "shapes": [_draw(x, y, **shape) for shape in shapes],
    }


def _place_ticks(axis: Axis, start: float, end: float) -> dict[str, Any]:
    coordinates = place(axis, list(axis.ticks), start, end).tolist()
    return {"label": axis.label, "ticks": list(zip(coordinates, axis.ticks.values(), strict=True))}


def _draw(
    x_axis: Axis, y_axis: Axis, kind: str, style: str, x: Any, y: Any, low: Any = None, high: Any = None
) -> dict[str, Any]:
    across = place(x_axis, x, LEFT, RIGHT)
    up = place(y_axis, y, BOTTOM, TOP)
    if kind == "dots":
        return {"style": style, "dots": list(zip(across.tolist(), up.tolist(), strict=True))}
    if kind == "bars":
        ends = zip(across, place(y_axis, low, BOTTOM, TOP), place(y_axis, high, BOTTOM, TOP), strict=True)
        return {"style": style, "path": "".join(f"M{at:g} {first:g}V{last:g}" for at, first, last in ends)}
    path = "M" + "L".join(f"{at:g} {height:g}" for at, height in thin(np.stack([across, up], axis=1)))
    return {"style": style, "path": path + f"V{BOTTOM}H{across[0]:g}Z" if kind == "area" else path}


def thin(points: np.ndarray) -> np.ndarray:
    """Removes those points of a line, `[n, 2]`, that lie on the straight line between their neighbors."""
    moved = (np.diff(points, axis=0) != 0).any(axis=1)
    points = points[np.r_[True, moved]]
    if len(points) < 3:
        return points
    steps = np.diff(points, axis=0)
    before = steps[:-1]
    after = steps[1:]
    straight = before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]
    ahead = straight & ((before * after).sum(axis=1) > 0)
    return points[np.r_[True, ~ahead, True]]


def roc(curves: Sequence[Curve], point: tuple[float, float] | None) -> Plot:
    """Lays out ROC curves.

    Args:
        curves: Targets and scores of one or several prediction files; the first is drawn on top.
        point: Specificity and sensitivity at the operating point, or None.

    Returns:
        See `plot`.
    """
    shapes: list[dict[str, Any]] = [_DIAGONAL]
    for number, (targets, scores) in reversed(list(enumerate(curves))):
        false, true, _ = roc_curve(targets, scores)
        shapes.append({"kind": "line", "style": f"curve series{number % COLORS}", "x": false, "y": true})
    if point:
        shapes.append({"kind": "dots", "style": "point", "x": [1 - point[0]], "y": [point[1]]})
    x = Axis("1 \N{MINUS SIGN} specificity", 0, 1, UNIT)
    y = Axis("sensitivity", 0, 1, UNIT)
    return plot(x, y, "ROC curve: sensitivity over 1 - specificity, for all thresholds.", shapes)


def precision_recall(curves: Sequence[Curve], point: tuple[float, float] | None) -> Plot:
    """Lays out precision-recall curves.

    Args:
        curves: See `roc`.
        point: Positive predictive value and sensitivity at the operating point, or None.

    Returns:
        See `plot`; the guide is at the prevalence, the precision by chance.
    """
    prevalence = np.mean(curves[0][0])
    shapes: list[dict[str, Any]] = [{"kind": "line", "style": "guide", "x": [0, 1], "y": [prevalence, prevalence]}]
    for number, (targets, scores) in reversed(list(enumerate(curves))):
        precision, recall, _ = precision_recall_curve(targets, scores, drop_intermediate=True)
        # Between two recalls the precision is that of the higher one, as in the average precision.
        step = {"x": np.repeat(recall, 2)[1:], "y": np.repeat(precision, 2)[:-1]}
        shapes.append({"kind": "line", "style": f"curve series{number % COLORS}", **step})
    if point:
        shapes.append({"kind": "dots", "style": "point", "x": [point[1]], "y": [point[0]]})
    x = Axis("recall (sensitivity)", 0, 1, UNIT)
    y = Axis("precision (PPV)", 0, 1, UNIT)
    return plot(x, y, "Precision-recall curve: positive predictive value over sensitivity.", shapes)


def reliability(bins: Sequence[Mapping[str, Any]], with_intervals: bool = True) -> Plot:
    """Lays out a reliability diagram: the observed malignant fraction over the mean prediction.

    Args:
        bins: Dicts of `images`, `predicted` and `observed`, see `calibration_metrics.assess`.
        with_intervals: Whether to draw intervals, which few patients do not allow.

    Returns:
        See `plot`; the bars are Wilson's 95 % intervals (JASA 1927), for independent images.
    """
    predicted = [one["predicted"] for one in bins]
    observed = [one["observed"] for one in bins]
    tests = [binomtest(round(one["observed"] * one["images"]), one["images"]) for one in bins]
    intervals = [test.proportion_ci(method="wilson") for test in tests]
    low = [interval.low for interval in intervals]
    high = [interval.high for interval in intervals]
    whiskers = {"kind": "bars", "style": "whisker", "x": predicted, "y": observed, "low": low, "high": high}
    shapes = [
        _DIAGONAL,
        *([whiskers] if with_intervals else []),
        {"kind": "line", "style": "curve series0", "x": predicted, "y": observed},
        {"kind": "dots", "style": "bin series0", "x": predicted, "y": observed},
    ]
    x = Axis("mean prediction", 0, 1, ROOT, 0.5)
    y = Axis("malignant fraction", 0, 1, ROOT, 0.5)
    return plot(x, y, "Reliability diagram: malignant fraction over mean prediction, in ten bins.", shapes)


def histogram(targets: np.ndarray, scores: np.ndarray, threshold: float | None) -> Plot:
    """Lays out the distribution of the predictions of each class.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float in [0, 1], `[n]`.
        threshold: Threshold of the operating point, or None.

    Returns:
        See `plot`.
    """
    edges = np.linspace(0, 1, _BINS + 1) ** 2
    counts = [np.histogram(scores[targets == target], edges)[0] for target in (0, 1)]
    fractions = [count / max(count.sum(), 1) for count in counts]
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, max(map(max, fractions)))
    percents = {tick: f"{100 * tick:g}\N{NO-BREAK SPACE}%" for tick in ticks}
    shapes: list[dict[str, Any]] = []
    for style, fraction in zip(("benign", "malignant"), fractions, strict=True):
        step = {"x": np.repeat(edges, 2), "y": np.r_[0, np.repeat(fraction, 2), 0]}
        shapes.append({"kind": "area", "style": f"fill {style}", **step})
        shapes.append({"kind": "line", "style": f"curve {style}", **step})
    if threshold is not None and 0 <= threshold <= 1:
        shapes.append({"kind": "line", "style": "guide", "x": [threshold, threshold], "y": [0, ticks[-1]]})
    x = Axis("prediction", 0, 1, ROOT, 0.5)
    y = Axis("fraction of the class", 0, ticks[-1], percents)
    return plot(x, y, "Histogram of the predictions of each class.", shapes)


def training(histories: Sequence[Sequence[Mapping[str, float]]], column: str, label: str) -> Plot | None:
    """Lays out a metric of a run's folds by epoch.

    Args:
        histories: One list of dicts per fold, see `run_directory.read_history`.
        column: Metric to show; folds that lack it are left out.
        label: Its name on the axis.

    Returns:
        See `plot`; None where no fold has the metric.
    """
    folds = []
    for number, history in enumerate(histories):
        if history and np.isfinite([row.get(column, np.nan) for row in history]).all():
            folds.append((number, [row["epoch"] for row in history], [row[column] for row in history]))
    if not folds:
        return None
    values = [value for _, _, of_fold in folds for value in of_fold]
    low = min(values)
    high = max(values)
    ticks = MaxNLocator(5).tick_values(low, high if high > low else low + 1e-3)
    last = max(epochs[-1] for _, epochs, _ in folds)
    across = [tick for tick in MaxNLocator(6, integer=True).tick_values(1, last) if 1 <= tick <= last]
    shapes = []
    for number, epochs, of_fold in folds:
        style = f"series{number % COLORS}"
        shapes.append({"kind": "line", "style": f"curve {style}", "x": epochs, "y": of_fold})
        if len(epochs) < _MAX_DOTS:
            shapes.append({"kind": "dots", "style": f"bin {style}", "x": epochs, "y": of_fold})
    x = Axis("epoch", 1, max(last, 2), {tick: f"{tick:.0f}" for tick in across})
    y = Axis(label, ticks[0], ticks[-1], {tick: f"{tick:.4g}" for tick in ticks})
    return plot(x, y, f"{label} of each fold, by epoch.", shapes)


def span(low: float | None, value: float | None, high: float | None, start: float = 0.5) -> list[float] | None:
    """Places an interval on a strip from `start` to 1, for the cell of a table.

    Args:
        low: Low end of the interval, or None.
        value: The figure, or None.
        high: High end of the interval, or None.
        start: Value at the left end of the strip.

    Returns:
        Low end, value and high end in percent of the strip's width; None without an interval.
    """
    if value is None or low is None:
        return None
    ends = np.clip((np.array([low, value, high]) - start) / (1 - start), 0, 1) * 100
    return [round(float(end), 1) for end in ends]

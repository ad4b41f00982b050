"""The report's figures, as coordinates that its template draws in SVG."""

import typing

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_curve, roc_curve

# Of the drawing, in its own units; the figure is as wide as its column.
WIDTH, HEIGHT = 380, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 370, 12, 254
_BINS = 30
# Of the style sheet, for prediction files or folds.
COLOURS = 5


class Axis(typing.NamedTuple):
    """One axis: what it shows, from where to where, the texts at its ticks, and the power that places values."""

    label: str
    low: float
    high: float
    ticks: dict
    power: float = 1.0


UNIT = {0: "0", 0.2: "0.2", 0.4: "0.4", 0.6: "0.6", 0.8: "0.8", 1: "1"}
# Most predictions are small: on a square root's axis there is room for them.
ROOT = {0: "0", 0.01: "0.01", 0.05: "0.05", 0.1: "0.1", 0.2: "0.2", 0.4: "0.4", 0.7: "0.7", 1: "1"}


def place(axis, values, start, end):
    """Places values between two coordinates, rounded to a tenth."""
    low, high, values = (np.power(each, axis.power) for each in (axis.low, axis.high, np.asarray(values, float)))
    return np.round(start + (end - start) * (values - low) / (high - low), 1)


def plot(x, y, text, shapes):
    """Lays out a figure.

    Args:
        x: `Axis`.
        y: `Axis`.
        text: What the figure shows, for those who cannot see it.
        shapes: Dicts of `style` (a class of the template's style sheet) and `x` and `y`, values on the axes, `[n]`. A
            `kind` of `line`, `area` (down to the axis), `dots` or `bars` (from `low` to `high` at each x).

    Returns:
        Dict of `text`, `x` and `y` (dicts of `label` and `ticks`, pairs of coordinate and text) and `shapes`, dicts of
        `style` and either `path` (SVG's) or `dots` (pairs of coordinates).
    """
    axes = {
        name: {
            "label": axis.label,
            "ticks": list(zip(place(axis, list(axis.ticks), *ends).tolist(), axis.ticks.values(), strict=True)),
        }
        for name, axis, ends in (("x", x, (LEFT, RIGHT)), ("y", y, (BOTTOM, TOP)))
    }
    return {"text": text, **axes, "shapes": [_draw(x, y, **shape) for shape in shapes]}


def _draw(x_axis, y_axis, kind, style, x, y, low=None, high=None):
    across = place(x_axis, x, LEFT, RIGHT)
    up = place(y_axis, y, BOTTOM, TOP)
    if kind == "dots":
        return {"style": style, "dots": list(zip(across.tolist(), up.tolist(), strict=True))}
    if kind == "bars":
        ends = zip(across, place(y_axis, low, BOTTOM, TOP), place(y_axis, high, BOTTOM, TOP), strict=True)
        return {"style": style, "path": "".join(f"M{at:g} {first:g}V{last:g}" for at, first, last in ends)}
    path = "M" + "L".join(f"{at:g} {height:g}" for at, height in thin(np.stack([across, up], axis=1)))
    return {"style": style, "path": path + f"V{BOTTOM}H{across[0]:g}Z" if kind == "area" else path}


def thin(points):
    """Leaves out of a line's points, `[n, 2]`, those that lie on the straight line between their neighbours."""
    points = points[np.r_[True, (np.diff(points, axis=0) != 0).any(axis=1)]]
    if len(points) < 3:
        return points
    before, after = np.diff(points, axis=0)[:-1], np.diff(points, axis=0)[1:]
    ahead = (before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]) & ((before * after).sum(axis=1) > 0)
    return points[np.r_[True, ~ahead, True]]


def roc(curves, point):
    """Draws ROC curves.

    Args:
        curves: List of targets (`[n]`, 0 or 1) and scores (`[n]`) of one prediction file or several.
        point: Specificity and sensitivity at the chosen threshold, or None.

    Returns:
        See `plot`.
    """
    shapes = [{"kind": "line", "style": "guide", "x": [0, 1], "y": [0, 1]}]
    # The first lies over the others.
    for number, (targets, scores) in reversed(list(enumerate(curves))):
        false, true, _ = roc_curve(targets, scores)
        shapes.append({"kind": "line", "style": f"curve series{number % COLOURS}", "x": false, "y": true})
    if point:
        shapes.append({"kind": "dots", "style": "point", "x": [1 - point[0]], "y": [point[1]]})
    x, y = Axis("1 \N{MINUS SIGN} specificity", 0, 1, UNIT), Axis("sensitivity", 0, 1, UNIT)
    return plot(x, y, "ROC curve: sensitivity over 1 - specificity, for all thresholds.", shapes)


def precision_recall(curves, point):
    """Draws precision-recall curves; `point` is the positive predictive value and the sensitivity. See `roc`."""
    prevalence = np.mean(curves[0][0])
    shapes = [{"kind": "line", "style": "guide", "x": [0, 1], "y": [prevalence, prevalence]}]
    for number, (targets, scores) in reversed(list(enumerate(curves))):
        precision, recall, _ = precision_recall_curve(targets, scores, drop_intermediate=True)
        # Between two recalls the precision is that of the higher one, as the average precision has it.
        step = {"x": np.repeat(recall, 2)[1:], "y": np.repeat(precision, 2)[:-1]}
        shapes.append({"kind": "line", "style": f"curve series{number % COLOURS}", **step})
    if point:
        shapes.append({"kind": "dots", "style": "point", "x": [point[1]], "y": [point[0]]})
    x, y = Axis("recall (sensitivity)", 0, 1, UNIT), Axis("precision (PPV)", 0, 1, UNIT)
    return plot(x, y, "Precision-recall curve: positive predictive value over sensitivity.", shapes)


def reliability(bins):
    """Draws the malignant share over the mean prediction.

    Args:
        bins: List of dicts of `images`, `predicted` and `observed`, see `calibration_metrics.assess`.

    Returns:
        See `plot`; the bars are Wilson's 95 % intervals (JASA 1927), for independent images.
    """
    predicted, observed = ([one[name] for one in bins] for name in ("predicted", "observed"))
    tests = [binomtest(round(one["observed"] * one["images"]), one["images"]) for one in bins]
    intervals = [test.proportion_ci(method="wilson") for test in tests]
    low, high = ([getattr(one, end) for one in intervals] for end in ("low", "high"))
    shapes = [
        {"kind": "line", "style": "guide", "x": [0, 1], "y": [0, 1]},
        {"kind": "bars", "style": "whisker", "x": predicted, "y": observed, "low": low, "high": high},
        {"kind": "line", "style": "curve series0", "x": predicted, "y": observed},
        {"kind": "dots", "style": "bin series0", "x": predicted, "y": observed},
    ]
    x, y = Axis("mean prediction", 0, 1, ROOT, 0.5), Axis("malignant share", 0, 1, ROOT, 0.5)
    return plot(x, y, "Reliability diagram: malignant share over mean prediction, in ten bins.", shapes)


def histogram(targets, scores, threshold):
    """Draws how the predictions of either class are spread.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float in [0, 1], `[n]`.
        threshold: The chosen one, or None.

    Returns:
        See `plot`.
    """
    edges = np.linspace(0, 1, _BINS + 1) ** 2
    counts = [np.histogram(scores[targets == kind], edges)[0] for kind in (0, 1)]
    shares = [count / max(count.sum(), 1) for count in counts]
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, max(map(max, shares)))
    y = Axis("share of the class", 0, ticks[-1], {tick: f"{100 * tick:g}\N{NO-BREAK SPACE}%" for tick in ticks})
    shapes = []
    for style, share in zip(("benign", "malignant"), shares, strict=True):
        step = {"x": np.repeat(edges, 2), "y": np.r_[0, np.repeat(share, 2), 0]}
        shapes.append({"kind": "area", "style": f"fill {style}", **step})
        shapes.append({"kind": "line", "style": f"curve {style}", **step})
    if threshold is not None and 0 <= threshold <= 1:
        shapes.append({"kind": "line", "style": "guide", "x": [threshold, threshold], "y": [0, ticks[-1]]})
    return plot(Axis("prediction", 0, 1, ROOT, 0.5), y, "Histogram of the predictions of either class.", shapes)


def training(histories, column, label):
    """Draws a figure of a run's folds by epoch.

    Args:
        histories: List of lists of dicts, see `run_directory.read_history`.
        column: What to draw; folds without it are left out.
        label: Its name on the axis.

    Returns:
        See `plot`; None where no fold has it.
    """
    columns = [
        (number, *zip(*((row["epoch"], row[column]) for row in history), strict=True))
        for number, history in enumerate(histories)
        if history and np.isfinite([row.get(column, np.nan) for row in history]).all()
    ]
    if not columns:
        return None
    values = [value for _, _, found in columns for value in found]
    low, high = min(values), max(values)
    ticks = MaxNLocator(5).tick_values(low, high if high > low else low + 1e-3)
    y = Axis(label, ticks[0], ticks[-1], {tick: f"{tick:.4g}" for tick in ticks})
    last = max(epochs[-1] for _, epochs, _ in columns)
    across = [tick for tick in MaxNLocator(6, integer=True).tick_values(1, last) if 1 <= tick <= last]
    x = Axis("epoch", 1, max(last, 2), {tick: f"{tick:.0f}" for tick in across})
    shapes = []
    for number, epochs, found in columns:
        style = f"series{number % COLOURS}"
        shapes.append({"kind": "line", "style": f"curve {style}", "x": epochs, "y": found})
        if len(epochs) < 30:
            shapes.append({"kind": "dots", "style": f"bin {style}", "x": epochs, "y": found})
    return plot(x, y, f"{label} of each fold, by epoch.", shapes)


def span(low, value, high, start=0.5):
    """Places an interval on a strip from `start` to 1, for a table's cell; percents of its width, None without one."""
    if value is None or low is None:
        return None
    ends = np.clip((np.array([low, value, high]) - start) / (1 - start), 0, 1) * 100
    return [round(float(end), 1) for end in ends]

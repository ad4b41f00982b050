#!/bin/sh
# confidenceinterval 1.0.5: the interval of a ROC AUC with few malignant images, as in every small clinic's data.
# All bootstrap methods return (nan, nan) for 3 malignant of 203 images, because some resamples have none; there is no
# error. DeLong's method, the default, returns an interval of no width, [1, 1], where the 3 rank highest of 23 images.
#
# Seen: bootstrap_percentile (nan, nan); delong 1.0 [1.0, 1.0].
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet confidenceinterval==1.0.5
cat > check.py <<'PYTHON'
import numpy as np
from confidenceinterval import roc_auc_score

rng = np.random.default_rng(0)
labels = np.r_[np.zeros(200, int), np.ones(3, int)]
scores = np.r_[rng.random(200), 0.5, 0.6, 0.99]
value, interval = roc_auc_score(labels, scores, method="bootstrap_percentile", random_state=0)
print(f"3 of 203 malignant, bootstrap: {value:.3f}, interval {[float(end) for end in interval]}")
assert np.isnan(interval).all(), "the behavior has changed"

labels = np.r_[np.zeros(20, int), np.ones(3, int)]
value, interval = roc_auc_score(labels, np.linspace(0, 1, 23), method="delong")
print(f"3 of 23 malignant ranked highest, DeLong: {value:.3f}, interval {[float(end) for end in interval]}")
assert [float(end) for end in interval] == [1.0, 1.0], "the behavior has changed"
PYTHON
environment/bin/python -W ignore check.py

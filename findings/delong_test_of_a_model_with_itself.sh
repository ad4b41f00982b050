#!/bin/sh
# MLstatkit 0.1.91 (DeLong's test of two ROC curves): two models with the same predictions are reported as different,
# with p = 0. The variance of their difference is 0, the test falls back to a bootstrap, and its p-value counts the
# resamples with a difference above 0 of which there are none. A seed that changes nothing, or two names of one file,
# thus looks like a significant result.
#
# Seen: z = 0.0, p = 0.0 for a model and itself; p = 0.16 for two different models.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet mlstatkit==0.1.91
cat > check.py <<'PYTHON'
import numpy as np
from MLstatkit import Delong_test

rng = np.random.default_rng(0)
labels = np.r_[np.zeros(50, int), np.ones(10, int)]
model = rng.random(60) + labels * 0.5
other = rng.random(60) + labels * 0.3

different = Delong_test(labels, model, other)
same = Delong_test(labels, model, model)
print(f"two models: z = {different[0]:.3f}, p = {different[1]:.3f}")
print(f"one model and itself: z = {same[0]:.3f}, p = {same[1]:.3f}")
assert 0.1 < different[1] < 0.2
assert same[0] == 0.0
assert same[1] == 0.0, "the behavior has changed"
PYTHON
environment/bin/python -W ignore check.py

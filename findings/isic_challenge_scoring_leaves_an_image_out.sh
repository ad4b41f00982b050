#!/bin/sh
# isic-challenge-scoring 5.6.0 (the official scorer of the ISIC challenges) gives the image ISIC_0035068 no weight,
# whatever the truth file says: a submission that is wrong there scores as if it were right. It sorts the truth by name
# but not the weights, so that in a truth file in another order the weight of 0 falls on another image. A figure that is
# recomputed from all rows with another tool differs from the official one.
# In the same scorer a class that is never predicted above 0.5 has a positive predictive value of 1.
#
# Seen: balanced accuracy 1.0 with ISIC_0035068 wrong (truth sorted), 0.75 with ISIC_0035069 wrong, 0.75 with
# ISIC_0035068 wrong where its row comes second; ppv of MEL 1.0 when nothing is predicted as MEL.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet isic-challenge-scoring==5.6.0 pandas==2.2.3
cat > check.py <<'PYTHON'
import io
import warnings

from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

warnings.simplefilter("ignore")
ROWS = ["ISIC_0000001,1.0,0.0", "ISIC_0000002,0.0,1.0", "ISIC_0000003,0.0,1.0", "{last},1.0,0.0"]
WRONG = ["ISIC_0000001,0.9,0.1", "ISIC_0000002,0.1,0.9", "ISIC_0000003,0.2,0.8", "{last},0.1,0.9"]
NEVER = ["ISIC_0000001,0.4,0.6", "ISIC_0000002,0.1,0.9", "ISIC_0000003,0.2,0.8", "{last},0.3,0.7"]


def score(last, truth, submission):
    texts = ["\n".join(["image,MEL,NV", *rows, ""]).format(last=last) for rows in (truth, submission)]
    return ClassificationScore.from_stream(*map(io.StringIO, texts), ClassificationMetric.BALANCED_ACCURACY)


accuracies = {
    "ISIC_0035068": float(score("ISIC_0035068", ROWS, WRONG).overall),
    "ISIC_0035069": float(score("ISIC_0035069", ROWS, WRONG).overall),
    "ISIC_0035068 in the second row": float(score("ISIC_0035068", [ROWS[0], ROWS[3], *ROWS[1:3]], WRONG).overall),
}
print("balanced accuracy with this image wrong:", accuracies)
assert list(accuracies.values()) == [1.0, 0.75, 0.75], "the behavior has changed"

ppv = float(score("ISIC_0035069", ROWS, NEVER).per_category.at["MEL", "ppv"])
print("positive predictive value of MEL, never predicted:", ppv)
assert ppv == 1.0, "the behavior has changed"
PYTHON
environment/bin/python check.py

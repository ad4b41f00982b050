#!/bin/sh
# isic-challenge-scoring 5.6.0 (the official scorer of the ISIC challenges) scores nothing where one class of the format
# has no image in the truth, as in a fold, in a hospital's own test set or in ISIC 2019's training truth (UNK). It fails
# for all three metrics, also for balanced accuracy, which can be defined over the classes that are there, and its message
# does not name the class.
#
# Seen: ValueError "array of sample points is empty" for a truth of MEL and NV whose column BCC is all 0; with one image
# of BCC the same predictions score 1.0.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet isic-challenge-scoring==5.6.0 pandas==2.2.3 numpy==2.4.6 scikit-learn==1.9.1
cat > check.py <<'PYTHON'
import io
import warnings

from isic_challenge_scoring.classification import ClassificationMetric, ClassificationScore

warnings.simplefilter("ignore")
HEADER = "image,MEL,NV,BCC"
TRUTH = ["ISIC_0000001,1.0,0.0,0.0", "ISIC_0000002,0.0,1.0,0.0", "ISIC_0000003,0.0,1.0,0.0"]
PREDICTED = ["ISIC_0000001,0.8,0.1,0.1", "ISIC_0000002,0.1,0.8,0.1", "ISIC_0000003,0.2,0.7,0.1"]
TRUTH_OF_BCC, PREDICTED_OF_BCC = "ISIC_0000004,0.0,0.0,1.0", "ISIC_0000004,0.1,0.1,0.8"


def score(truth, predicted, metric=ClassificationMetric.BALANCED_ACCURACY):
    texts = ["\n".join([HEADER, *rows, ""]) for rows in (truth, predicted)]
    try:
        return float(ClassificationScore.from_stream(*map(io.StringIO, texts), metric).overall)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


complete = score([*TRUTH, TRUTH_OF_BCC], [*PREDICTED, PREDICTED_OF_BCC])
print("balanced accuracy with an image of each class:", complete)
assert complete == 1.0, "the behavior has changed"
for metric in ClassificationMetric:
    found = score(TRUTH, PREDICTED, metric)
    print(f"{metric.name} without an image of BCC:", found)
    assert found == "ValueError: array of sample points is empty", "the behavior has changed"
PYTHON
environment/bin/python check.py

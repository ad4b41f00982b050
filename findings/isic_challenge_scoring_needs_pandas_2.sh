#!/bin/sh
# isic-challenge-scoring 5.6.0 (the official scorer of the ISIC challenges) states no upper bound for pandas, and pip
# installs pandas 3 beside it. Every valid submission then ends in an AttributeError, since pandas 3 has no
# `DataFrame.applymap`. With pandas 2.2 the same files are scored. Install `pandas<3` with it.
#
# Seen: pandas 3.1.1 AttributeError about applymap; pandas 2.2.3 balanced accuracy 1.0.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
printf 'image,MEL,NV\nISIC_0000001,1.0,0.0\nISIC_0000002,0.0,1.0\n' > truth.csv
printf 'image,MEL,NV\nISIC_0000001,0.9,0.1\nISIC_0000002,0.1,0.9\n' > submission.csv

environment/bin/pip install --quiet isic-challenge-scoring==5.6.0 pandas==3.1.1
if environment/bin/isic-challenge-scoring classification truth.csv submission.csv > output.txt 2>&1; then
    echo "the behavior has changed: scored with pandas 3"
    exit 1
fi
echo "pandas 3.1.1: $(tail -n 1 output.txt)"
grep -q "has no attribute 'applymap'" output.txt

environment/bin/pip install --quiet isic-challenge-scoring==5.6.0 pandas==2.2.3
environment/bin/isic-challenge-scoring --output json classification truth.csv submission.csv > output.txt
echo "pandas 2.2.3: scored"
grep -q '"overall": 1.0' output.txt

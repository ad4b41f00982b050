#!/bin/sh
# sklesion 0.2.2 (a trained Keras classifier of skin lesions in a package): of its ways to a prediction only predict_P
# works. predict_y, which is to return the diagnosis, and predict_P_info, which is to name the probabilities, pass an
# argument on that predict_P does not take. The order of the seven columns of predict_P is in model_props["i_cl_map"].
#
# Seen: predict_P returns an array of shape (1, 7); predict_y and predict_P_info raise TypeError about 'verbose'.
# Python 3.11 or 3.12, for the TensorFlow 2.17.0 that the package pins; about 600 MB to install.
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet sklesion==0.2.2 tensorflow==2.17.0 keras==3.15.1 pandas==2.2.3 numpy==1.26.4
cat > check.py <<'PYTHON'
import tensorflow as tf
from sklesion.model import SkinLesionClassifier

image = tf.io.encode_jpeg(tf.zeros([254, 254, 3], tf.uint8)).numpy()
lesion = {"image": image, "meta": {"age": 50, "sex": "female", "location": "trunk"}}
classifier = SkinLesionClassifier()
shape = classifier.predict_P(lesion).shape
print(f"predict_P: an array of shape {shape}; columns {classifier.model_props['i_cl_map']}")
assert shape == (1, 7)
for name in ("predict_y", "predict_P_info"):
    try:
        getattr(classifier, name)(lesion)
    except TypeError as error:
        print(f"{name}: {error}")
        assert "verbose" in str(error)
    else:
        raise AssertionError(f"{name} works: the behavior has changed")
PYTHON
TF_CPP_MIN_LOG_LEVEL=3 environment/bin/python -W ignore check.py

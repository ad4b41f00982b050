"""Builds, indexes and checks TFRecord sets of dermoscopic images."""

import os

# TensorFlow's start-up banner would bury a one-line error; an explicit setting of the user's wins.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

"""Builds, indexes and checks TFRecord sets of dermoscopic images."""

import os

# TensorFlow's remarks would bury a one-line error; an explicit setting of the user's wins. (Since 2.18 its start-up
# banner comes before it reads this.)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# OpenCV reads this when it loads; its own limit is four times as high.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))

__version__ = "0.1.0"

"""Trains, applies and judges melanoma classifiers on sets of dermoscopic TFRecords.

Importing the package selects Keras 2 (`tf_keras`): Keras 3's `fit` fails under `TPUStrategy` and its maintainers do not
support `MultiWorkerMirroredStrategy` (keras-team/keras#19448, #20601).
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# `tf.keras` is bound at its first use; where that came before this import, it is Keras 3 for the process's life.
if "tensorflow" in sys.modules and not sys.modules["tensorflow"].keras.Model.__module__.startswith("tf_keras"):
    raise ImportError(
        "isic_tf needs Keras 2, but this process already uses Keras 3: restart it and import isic_tf before tf.keras, "
        "or set TF_USE_LEGACY_KERAS=1 before Python starts"
    )

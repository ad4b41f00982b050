import pandas as pd
import pytest

from isic_tf.data import targets
from isic_tf.inference import class_correction

CLASSES = targets.ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL"))
TABLE = pd.DataFrame(
    {
        "image_name": ["a", "b"],
        "prediction": [0.8, 0.3],
        "probability_BCC": [0.1, 0.1],
        "probability_MEL": [0.3, 0.2],
        "probability_NV": [0.6, 0.7],
    }
)


def test_probabilities_follow_the_corrected_rows_only():
    found = class_correction.rescale_classes(TABLE, pd.Series([0.4, 0.3], index=[7, 8]), CLASSES)
    # 0.4 became 0.8, so that the positive ones double and 0.6 became 0.2.
    assert found.iloc[0, 2:].tolist() == pytest.approx([0.2, 0.6, 0.2])
    assert found.iloc[1].tolist() == TABLE.iloc[1].tolist()
    assert list(found) == list(TABLE)
    plain = TABLE[["image_name", "prediction"]]
    assert class_correction.rescale_classes(plain, pd.Series([0.4, 0.3]), targets.BINARY) is plain

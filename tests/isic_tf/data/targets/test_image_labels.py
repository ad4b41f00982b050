import numpy as np
import pandas as pd
import pytest

from isic_tf.data import targets
from tfrecord_tools import schema

NAMES = list(targets.CLASSES)


def table(*rows):
    columns = pd.DataFrame(rows, columns=["label", "diagnosis"])
    return columns.assign(image_name=[f"i{number}" for number in range(len(rows))])


def code(name):
    return schema.encode("diagnosis", name)


@pytest.mark.parametrize(
    ("label", "diagnosis", "expected"),
    [
        (0, code("NV"), "nevus"),
        (0, code("BKL"), "benign keratosis"),
        (0, code("cafe-au-lait macule"), "unknown"),
        (0, -1, "unknown"),
        (1, code("Melanoma, NOS"), "melanoma"),
    ],
)
def test_an_image_is_labeled_with_its_class(label, diagnosis, expected):
    found = targets.label(table((label, diagnosis)), "diagnosis")
    assert found.shape == (1, 9)
    assert NAMES[found[0].argmax()] == expected
    assert found.sum() == 1


def test_binary_labels_are_one_column_and_may_be_soft():
    found = targets.label(table((0.25, -1), (1, -1)), "binary")
    assert found.tolist() == [[0.25], [1.0]]
    assert found.dtype == np.float32


def test_a_benign_melanoma_is_refused():
    with pytest.raises(ValueError, match="1 images are diagnosed as melanoma but labeled benign .first: i1."):
        targets.label(table((0, -1), (0, code("melanoma"))), "diagnosis")


def test_malignant_images_without_a_diagnosis_of_melanoma_are_listed_by_diagnosis():
    rows = table((1, code("SCC")), (0, code("NV")), (1, code("BCC")), (1, code("SCC")), (1, -1), (1, code("unknown")))
    message = (
        "5 images are labeled malignant but not diagnosed as melanoma .first: i0., but 2 squamous cell carcinoma, 1 "
        "basal cell carcinoma, 1 without a diagnosis of the schema, 1 unknown; --target=diagnosis requires target=1 "
        "exactly for melanoma.*name other malignant classes in --positive_classes .among them 'other malignant'"
    )
    with pytest.raises(ValueError, match=message):
        targets.label(rows, "diagnosis")


def test_malignant_images_without_a_class_have_one_of_their_own_where_asked():
    classes = targets.make_class_set(
        "diagnosis", positive_classes="melanoma,basal cell carcinoma,squamous cell carcinoma,other malignant"
    )
    rows = table((1, code("BCC")), (1, -1), (1, code("unknown")), (0, -1), (1, code("MEL")))
    found = targets.label(rows, "diagnosis", classes)
    assert [classes.names[place] for place in found.argmax(axis=1)] == [
        "basal cell carcinoma",
        "other malignant",
        "other malignant",
        "unknown",
        "melanoma",
    ]
    with pytest.raises(ValueError, match="1 images are labeled malignant but not .*, but 1 dermatofibroma"):
        targets.label(table((1, code("dermatofibroma"))), "diagnosis", classes)
    with pytest.raises(
        ValueError, match="1 images are diagnosed as melanoma or basal .* labeled benign .*, but 1 basal"
    ):
        targets.label(table((0, code("BCC"))), "diagnosis", classes)


def test_classes_are_counted_for_each_source():
    rows = table((0, code("NV")), (1, code("MEL")), (0, -1), (0, code("NV"))).assign(source=["a", "a", "b", "a"])
    assert targets.describe(rows) == "  a: 2 nevus, 1 melanoma\n  b: 1 unknown"
    own = rows.assign(**{"class:A": [1, 0, 0, 1], "class:B": 0.0})
    classes = targets.ClassSet(("A", "B"), ("A",), multi_label=True)
    assert targets.describe(own, "columns:A,B", classes).splitlines()[-1] == "  note: no training image of B"

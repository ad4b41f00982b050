import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import targets
from tfrecord_tools import schema

NAMES = list(targets.CLASSES)


def table(*rows):
    columns = pd.DataFrame(rows, columns=["label", "diagnosis"])
    return columns.assign(image_name=[f"i{number}" for number in range(len(rows))])


def code(name):
    return schema.encode("diagnosis", name)


def test_every_diagnosis_of_the_schema_is_in_one_class():
    members = [name for names in targets.CLASSES.values() for name in names]
    assert sorted(members) == sorted(schema.CATEGORIES["diagnosis"])
    assert len(NAMES) == targets.count_outputs("diagnosis") == 9
    assert targets.count_outputs("binary") == 1


@pytest.mark.parametrize(
    ("label", "diagnosis", "expected"),
    [
        (0, code("nevus"), "nevus"),
        (0, code("NV"), "nevus"),
        (0, code("solar lentigo"), "benign keratosis"),
        (0, code("BKL"), "benign keratosis"),
        (0, code("cafe-au-lait macule"), "unknown"),
        (0, code("SCC"), "squamous cell carcinoma"),
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


def test_a_malignant_image_of_another_diagnosis_is_refused():
    with pytest.raises(ValueError, match="1 images are labeled malignant but not diagnosed as melanoma .first: i1."):
        targets.label(table((1, code("MEL")), (1, code("BCC"))), "diagnosis")


def test_malignant_images_without_a_diagnosis_of_melanoma_are_listed_by_diagnosis():
    rows = table((1, code("SCC")), (0, code("NV")), (1, code("BCC")), (1, code("SCC")), (1, -1), (1, code("unknown")))
    message = (
        "5 images are labeled malignant but not diagnosed as melanoma .first: i0., but 2 squamous cell carcinoma, 1 "
        "basal cell carcinoma, 1 without a diagnosis of the schema, 1 unknown; --target=diagnosis requires target=1"
    )
    with pytest.raises(ValueError, match=message):
        targets.label(rows, "diagnosis")


def test_classes_are_counted_for_each_source():
    rows = table((0, code("NV")), (1, code("MEL")), (0, -1), (0, code("NV"))).assign(source=["a", "a", "b", "a"])
    assert targets.describe(rows) == "  a: 2 nevus, 1 melanoma\n  b: 1 unknown"


def test_the_malignant_logit_is_that_of_the_softmax():
    logits = np.random.default_rng(0).normal(0, 3, (5, 9)).astype(np.float32)
    exponentials = np.exp(logits)
    expected = exponentials[:, NAMES.index("melanoma")] / exponentials.sum(axis=1)
    found = tf.sigmoid(targets.malignant_logit(tf.constant(logits))).numpy()
    assert found == pytest.approx(expected, abs=1e-6)
    assert targets.malignant_logit(tf.constant([[0.3]])).numpy() == pytest.approx([0.3])
    assert targets.malignant_probability(tf.constant(logits)).numpy() == pytest.approx(
        logits[:, NAMES.index("melanoma")]
    )

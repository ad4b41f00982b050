import numpy as np
import pandas as pd
import pytest

from isic_tf.patient_context import lesion_numbers
from tfrecord_tools import errors


def test_values_are_compared_with_the_patients_others_worked_by_hand():
    numbers = pd.DataFrame({"area": [4.0, 10.0, 6.0, 8.0, np.nan, 6.0]})
    patients = np.array([0, 0, 0, 1, 0, 2])
    found = lesion_numbers.tabulate(numbers, patients, {"area": [6.0, 2.0]}, patient_context=True)
    assert list(found) == ["area_value", "area_unknown", "area_less_mean", "area_z_score"]
    assert found["area_value"].tolist() == [-1, 2, 0, 1, 0, 0]
    assert found["area_unknown"].tolist() == [0, 0, 0, 0, 1, 0]
    # Of the first lesion, the others are 2 and 0: their mean is 1 and their spread 1.
    assert found["area_less_mean"] == pytest.approx([-2, 2.5, -0.5, 0, 0, 0])
    assert found["area_z_score"] == pytest.approx([-2 / 1.5, 2.5 / 1, -0.5 / 2, 0, 0, 0])
    alone = lesion_numbers.tabulate(numbers, patients, {"area": [6.0, 2.0]}, patient_context=False)
    assert list(alone) == ["area_value", "area_unknown"]


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    numbers, patients = pd.DataFrame({"a": rng.normal(size=60)}), rng.integers(0, 7, 60)
    order = rng.permutation(60)
    standards = lesion_numbers.compute_standards(numbers)
    one = lesion_numbers.tabulate(numbers, patients, standards, True)
    other = lesion_numbers.tabulate(numbers.iloc[order].reset_index(drop=True), patients[order], standards, True)
    assert all(np.array_equal(one[name][order], other[name]) for name in one)


def test_a_column_without_information_is_refused():
    with pytest.raises(
        ValueError, match="different values of a, a column of --columns, got 1 for all of the 2 lesions"
    ):
        lesion_numbers.compute_standards(pd.DataFrame({"a": [1.0, 1.0]}))


@pytest.mark.parametrize("standards", [[], {"a": 1}, {"a": [1]}, {"a": [1, 0]}, {"a": [1, "2"]}, {"a": [1, True]}])
def test_damaged_standards_of_a_file_are_refused(standards):
    lesion_numbers.check_standards({"a": [-1, 2.5]})
    with pytest.raises(errors.CorruptRecordError, match="expected numbers with a mean and a standard deviation, got"):
        lesion_numbers.check_standards(standards)

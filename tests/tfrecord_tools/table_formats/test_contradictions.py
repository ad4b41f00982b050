"""Contradictions are listed with both tables."""

import numpy as np
import pytest

from tfrecord_tools import errors
from tfrecord_tools.table_formats import contradictions


def list_cases(count, second="b.csv"):
    names = np.array([f"i{number}" for number in range(count)], object)
    values = np.full(count, "male", object), np.full(count, "female", object)
    paths = np.full(count, "a.csv", object), np.full(count, second, object)
    return contradictions.list_cases("sex", names, values, np.full(count, True), paths)


def test_a_case_names_the_image_the_column_and_both_tables():
    with pytest.raises(
        errors.IsicError, match="got 1 contradictions: i0 has sex 'male' in a.csv and 'female' in b.csv;"
    ):
        contradictions.refuse(list_cases(1))
    assert str(list_cases(1, "a.csv")[0]) == "i0 has sex 'male' and 'female' in a.csv"


def test_of_many_the_first_are_listed_and_all_are_counted():
    cases = list_cases(30)
    assert len(cases) == 10
    with pytest.raises(errors.IsicError, match=r"got 30 contradictions: .*i4 has [^;]*; and 25 more; correct them"):
        contradictions.refuse(cases)


def test_nothing_is_refused_without_a_case():
    contradictions.refuse([])

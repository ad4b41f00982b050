import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import table_checks


def test_at_most_three_values_are_listed():
    assert table_checks.list_first([1]) == "1"
    assert table_checks.list_first(["a", "b", "c"]) == "a, b, c"
    assert table_checks.list_first(pd.Index(["a", "b", "c", "d"])) == "a, b, c, ..."


def test_probabilities_of_any_shape_and_type_are_valid():
    for values in ([0, 1], np.float32([[0.5, 1.0], [0.0, 0.25]]), pd.Series([0.1]), []):
        assert table_checks.describe_invalid_probabilities(values) == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-9, 1 + 1e-9])
def test_invalid_values_are_counted_and_named(bad):
    names = pd.Series(["a", "b", "c"])
    found = table_checks.describe_invalid_probabilities([0.1, bad, bad], names, "scores")
    assert found == "expected scores from 0 to 1, 2 of 3 are not (b, c)"


def test_values_are_quoted_where_there_are_no_names():
    found = table_checks.describe_invalid_probabilities(np.array([[0.5, 1.5], [np.nan, 0.0]]))
    assert found == "expected predictions from 0 to 1, 2 of 4 are not (1.5, nan)"

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata
from isic_tf.serving import graph_metadata


def test_metadata_are_encoded_as_those_of_a_table():
    table = pd.DataFrame({"age_approx": [-1, 0, 35, 120], "sex": [1, -1, 0, 0]})
    codes = [table["age_approx"].to_numpy(), table["sex"].to_numpy()]
    assert np.array_equal(graph_metadata.encode_codes(codes, "age,sex"), clinical_metadata.encode(table, "age,sex"))
    assert graph_metadata.encode_codes([], "") is None


def test_inputs_of_two_columns_never_have_one_name():
    names = graph_metadata.list_inputs("area,area_unknown,a b,a_b,sex_")
    assert names == ["area", "area_unknown_", "a_b", "a_b_", "sex_"]

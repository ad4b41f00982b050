import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.patient_context import lesion_features, lesion_numbers
from isic_tf.serving.patients import graph_lesions

SITES = {"torso": 3, "": -1}
# Numbers of lesions, and what is divided by them: a tree may compare with the same number.
DISCRETE = ("count", "rank", "rank_share", "site_count", "site_share", "age_count", "age_share", "ages", "look_rank")


def make_patient(logits, ages=None, sites=None, looks=None, **numbers):
    """The lesions of one patient, for both packages' functions: as tensors, and as rows of a table."""
    count = len(logits)
    codes = {"age_approx": ages or [-1] * count, "sex": [0] * count}
    codes["anatom_site_general_challenge"] = sites or [-1] * count
    looks = np.zeros((count, 1, 1), np.float32) if looks is None else looks
    lesions = graph_lesions.PatientLesions(
        tf.constant(logits, tf.float64),
        {name: tf.constant(values, tf.int64) for name, values in codes.items()},
        {name: tf.constant(values, tf.float64) for name, values in numbers.items()},
        tf.constant(looks),
    )
    rows = lesion_features.gather(
        np.reshape(logits, (count, 1)), [1] * count, pd.DataFrame(codes), looks, pd.DataFrame(numbers)
    )
    return lesions, rows


def tabulate(lesions, **standards):
    found = graph_lesions.tabulate(lesions, patient_context=True, uses_embeddings=True, standards=standards)
    return {name: values.numpy() for name, values in found.items()}


def test_three_lesions_of_a_patient_by_hand():
    lesions, _ = make_patient([1.0, -1.0, -3.0], [40, 50, 50], [SITES["torso"]] * 2 + [SITES[""]])
    found = tabulate(lesions)
    expected = {
        "count": [np.log(3)] * 3,
        "others_mean": [-2, -1, 0],
        "others_spread": [1, 2, 1],
        "others_highest": [-1, 1, 1],
        "less_mean": [3, 0, -3],
        "less_median": [2, 0, -2],
        "less_highest": [2, -2, -4],
        "z_score": [2, 0, -2],
        "rank": [0, np.log(2), np.log(3)],
        "rank_share": [0, 0.5, 1],
        "site_count": [np.log(2), np.log(2), 0],
        "site_share": [2 / 3, 2 / 3, 1 / 3],
        # At the torso the first has one other of logit -1, and all others' -2 as one more.
        "site_less_mean": [2.5, -1, -3],
        "age_since": [0, 10, 10],
        "age_until": [10, 0, 0],
        "ages": [2, 2, 2],
        "age_share": [1 / 3, 2 / 3, 2 / 3],
        "outlier_factor": [1, 1, 1],
    }
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-12), name


def test_ties_and_unknown_ages_by_hand():
    lesions, _ = make_patient([2.0, 2.0, 0.0, 2.0], [30, -1, -1, -1])
    found = tabulate(lesions)
    # Three share the ranks 1 to 3.
    assert np.exp(found["rank"]) == pytest.approx([2, 2, 4, 2])
    assert found["rank_share"] == pytest.approx([1 / 3, 1 / 3, 1, 1 / 3])
    assert found["others_highest"].tolist() == [2, 2, 2, 2]
    assert found["less_median"].tolist() == [0, 0, -2, 0]
    assert found["ages"].tolist() == [1, 1, 1, 1]
    assert found["age_since"].tolist() == found["age_until"].tolist() == [0, 0, 0, 0]
    assert np.exp(found["age_count"]) == pytest.approx([1, 3, 3, 3])
    nobody, _ = make_patient([0.0, 1.0])
    assert tabulate(nobody)["ages"].tolist() == [0, 0]


def test_numbers_of_which_some_are_unknown_by_hand():
    lesions, _ = make_patient([0.0] * 4, area=[1.0, 3.0, np.nan, 8.0], width=[np.nan] * 4)
    found = tabulate(lesions, area=[2.0, 2.0], width=[0.0, 1.0])
    # Standardized: -0.5, 0.5 and 3.
    assert found["area_value"].tolist() == [-0.5, 0.5, 0, 3]
    assert found["area_unknown"].tolist() == [0, 0, 1, 0]
    assert found["area_less_mean"] == pytest.approx([-2.25, -0.75, 0, 3])
    # The others' standard deviations are 1.25, 1.75 and 0.5, and half of one is added.
    assert found["area_z_score"] == pytest.approx([-2.25 / 1.75, -0.75 / 2.25, 0, 3 / 1])
    assert found["width_less_mean"].tolist() == found["width_z_score"].tolist() == [0] * 4
    alone = graph_lesions.tabulate(lesions, False, False, {"area": [2.0, 2.0]})
    assert set(alone) == {"logit", *(f"metadata_{place}" for place in range(12)), "area_value", "area_unknown"}


def tabulate_in_graph(lesions, standards):
    """Tabulates by a graph for any number of lesions, as that of a signature is."""
    kinds = [tf.TensorSpec([None, *values.shape[1:]], values.dtype) for values in tf.nest.flatten(lesions)]

    @tf.function(input_signature=kinds)
    def graph(*values):
        return graph_lesions.tabulate(tf.nest.pack_sequence_as(lesions, values), True, True, standards)

    return graph(*tf.nest.flatten(lesions))


@pytest.mark.parametrize("count", [2, 3, 4, 11, 12, 40])
def test_random_patients_have_the_features_of_tables(count):
    rng = np.random.default_rng(count)
    # Two networks' embeddings, of which two lesions have the same.
    looks = rng.normal(size=(count, 2, 5)).astype(np.float32)
    looks[0] = looks[1]
    ages, sites = rng.choice([30, 35, -1], count).tolist(), rng.choice([-1, 0, 3], count).tolist()
    area = np.where(rng.random(count) < 0.2, np.nan, rng.normal(5, 2, count).round(1))
    lesions, rows = make_patient(rng.normal(size=count).tolist(), ages, sites, looks, area=area)
    standards = {"area": [5.1, 1.7]}
    expected = lesion_features.add_numbers(lesion_features.tabulate(rows, True), rows, True, standards)
    found = {name: values.numpy() for name, values in tabulate_in_graph(lesions, standards).items()}
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-11, atol=1e-11, err_msg=name)
    exact = [*DISCRETE, "area_value"]
    np.testing.assert_array_equal(np.stack([found[name] for name in exact], axis=1), expected[exact])


def test_outlier_factors_are_those_of_tables():
    points = np.random.default_rng(0).normal(size=(60, 3))
    points[0] += 4
    for count in (2, 3, 4, 60):
        distances = np.linalg.norm(points[:count, None] - points[:count], axis=2)
        expected = lesion_features.outlier_factors(distances)
        np.testing.assert_allclose(graph_lesions.outlier_factors(tf.constant(distances)), expected, rtol=1e-12)
    assert lesion_features.outlier_factors(distances).max() > 2
    same = graph_lesions.outlier_factors(tf.zeros([9, 9], tf.float64)).numpy()
    np.testing.assert_allclose(same, lesion_features.outlier_factors(np.zeros((9, 9))))


def test_the_standards_of_a_fit_are_used():
    numbers = pd.DataFrame({"area": [1.0, 3.0, np.nan]})
    lesions, _ = make_patient([0.0] * 3, area=numbers["area"].tolist())
    found = tabulate(lesions, **lesion_numbers.compute_standards(numbers))
    assert found["area_less_mean"].tolist() == [-2, 2, 0]

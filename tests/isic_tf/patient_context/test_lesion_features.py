import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import LocalOutlierFactor

from isic_tf.patient_context import lesion_features


def make(seed=0, patients=40, embeddings=None):
    rng = np.random.default_rng(seed)
    owner = rng.integers(patients, size=400)
    rows = pd.DataFrame(
        {"sex": rng.choice(["male", "female", ""], 400), "age_approx": rng.choice(["40", "45", ""], 400)}
    )
    rows["anatom_site_general_challenge"] = rng.choice(["torso", "head/neck", "shin", ""], 400)
    return lesion_features.gather(rng.normal(size=(400, 2)), [f"p{number}" for number in owner], rows, embeddings)


def test_three_lesions_of_a_patient_by_hand():
    rows = pd.DataFrame(
        {"age_approx": ["40", "50", "50", ""], "anatom_site_general_challenge": ["torso"] * 2 + ["", "torso"]}
    )
    given = lesion_features.gather([[1.0], [-1.0], [-3.0], [2.0]], ["a", "a", "a", "b"], rows)
    found = lesion_features.tabulate(given, patient_context=True).round(6)
    assert found["count"].tolist() == pytest.approx([np.log(3)] * 3 + [0], abs=1e-6)
    assert found["others_mean"].tolist()[:3] == [-2, -1, 0]
    assert found["others_spread"].tolist()[:3] == [1, 2, 1]
    assert found["others_highest"].tolist()[:3] == [-1, 1, 1]
    assert found["less_mean"].tolist()[:3] == [3, 0, -3]
    assert found["less_median"].tolist()[:3] == [2, 0, -2]
    assert found["less_highest"].tolist()[:3] == [2, -2, -4]
    assert found["z_score"].tolist()[:3] == [2, 0, -2]
    assert found["rank_share"].tolist()[:3] == [0, 0.5, 1]
    # At the torso the first has one other of logit -1, and all others' -2 as one more.
    assert found["site_less_mean"].tolist()[:3] == [2.5, -1, -3]
    assert found["age_since"].tolist() == [0, 10, 10, 0]
    assert found["ages"].tolist() == [2, 2, 2, 0]
    assert found["outlier_factor"].tolist() == [1] * 4
    assert np.isfinite(found.to_numpy()).all()


def test_the_order_of_rows_and_other_patients_do_not_matter():
    rng = np.random.default_rng(1)
    given = make(embeddings=rng.normal(size=(400, 2, 5)).astype(np.float32))
    found = lesion_features.tabulate(given, patient_context=True).to_numpy()
    order = rng.permutation(400)[:399]
    order = np.concatenate([order[given.patients[order] == owner] for owner in range(7)])
    whole = order[
        np.isin(
            given.patients[order],
            [owner for owner in range(7) if sum(given.patients == owner) == sum(given.patients[order] == owner)],
        )
    ]
    part = lesion_features.Lesions(
        given.logits[whole],
        given.patients[whole],
        given.codes.iloc[whole].reset_index(drop=True),
        given.embeddings[whole],
    )
    np.testing.assert_array_equal(lesion_features.tabulate(part, patient_context=True).to_numpy(), found[whole])


def test_without_context_a_lesion_is_told_alone():
    given = make()
    first = lesion_features.tabulate(given, patient_context=False)
    other = lesion_features.tabulate(given._replace(patients=np.zeros(400, np.int64)), patient_context=False)
    pd.testing.assert_frame_equal(first, other)
    assert first["logit"].to_numpy() == pytest.approx(given.logits.mean(axis=1))


def test_unknown_patients_are_alone_and_unknown_facts_are_marked():
    rows = pd.DataFrame(
        {
            "sex": ["", "male", "other", "male"],
            "anatom_site_general_challenge": ["torso", "an unseen site", "", "torso"],
        }
    )
    given = lesion_features.gather(np.zeros((4, 1)), ["", "a", "", "a"], rows)
    assert lesion_features.is_alone(given).tolist() == [True, False, True, False]
    assert given.codes["sex"].tolist() == [-1, 0, -1, 0]
    assert given.codes["anatom_site_general_challenge"].tolist() == [3, -1, -1, 3]
    assert given.codes["age_approx"].tolist() == [-1] * 4
    codes = lesion_features.gather(np.zeros((4, 1)), [-1, 5, -1, 5], given.codes)
    assert lesion_features.is_alone(codes).tolist() == [True, False, True, False]
    pd.testing.assert_frame_equal(codes.codes, given.codes)


def test_sizes_of_image_and_file_are_no_feature():
    rows = pd.DataFrame(
        {"width": ["6000", "640"], "height": ["4000", "480"], "bytes": ["9", "1"], "diagnosis": ["nevus", "melanoma"]}
    )
    plain = lesion_features.gather(np.zeros((2, 1)), ["a", "a"], pd.DataFrame(index=[0, 1]))
    pd.testing.assert_frame_equal(
        lesion_features.tabulate(lesion_features.gather(np.zeros((2, 1)), ["a", "a"], rows), True),
        lesion_features.tabulate(plain, True),
    )


def test_the_outlier_factor_is_that_of_scikit_learn():
    points = np.random.default_rng(0).normal(size=(60, 3))
    points[0] += 4
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    expected = -LocalOutlierFactor(10).fit(points).negative_outlier_factor_
    assert lesion_features.outlier_factors(distances) == pytest.approx(expected, rel=1e-9)
    assert lesion_features.outlier_factors(distances).argmax() == 0
    assert lesion_features.outlier_factors(distances[:3, :3]).tolist() == [1] * 3
    assert np.isfinite(lesion_features.outlier_factors(np.zeros((9, 9)))).all()


def test_looks_are_compared_in_each_networks_own_features():
    rng = np.random.default_rng(0)
    looks = rng.normal(size=(12, 1, 4)).astype(np.float32)
    looks[3] += 10
    owner = ["a"] * 6 + ["b"] * 6
    once = lesion_features.tabulate(
        lesion_features.gather(np.zeros((12, 1)), owner, pd.DataFrame(index=range(12)), looks), True
    )
    assert once["look_distance"].idxmax() == 3
    assert once["look_rank"].iloc[3] == pytest.approx(11 / 12)
    # A second network, of another scale, that saw only the second patient's; a third saw none.
    more = np.full((12, 3, 4), np.nan, np.float32)
    more[:6, 0], more[6:, 1] = looks[:6, 0], 50 * looks[6:, 0]
    twice = lesion_features.tabulate(
        lesion_features.gather(np.zeros((12, 1)), owner, pd.DataFrame(index=range(12)), more), True
    )
    np.testing.assert_allclose(twice, once, rtol=1e-5)


def test_a_patient_with_a_thousand_lesions():
    rng = np.random.default_rng(0)
    found = lesion_features.tabulate(
        lesion_features.gather(rng.normal(size=(1000, 1)), ["a"] * 1000, pd.DataFrame(index=range(1000))), True
    )
    assert np.isfinite(found.to_numpy()).all()
    assert found["rank_share"].sort_values().to_numpy() == pytest.approx(np.linspace(0, 1, 1000))

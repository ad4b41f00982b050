import json

import pytest

from isic_tf.augmentation import policies
from tfrecord_tools import errors


def test_strength_moves_values_from_what_changes_nothing_and_leaves_probabilities():
    assert policies.read_policy("deotte", 0.5)["zoom_x"] == {"normal": [1, 0.0625]}
    assert policies.read_policy("deotte", 2.0)["saturation"]["uniform"] == pytest.approx([0.4, 1.6])
    assert policies.read_policy("light", 0.5)["flip_x"] == {"p": 0.5}
    half = policies.read_policy("winner", 0.5)
    assert half["brightness"] == {"p": 0.75, "uniform": [-0.1, 0.1]}
    # Halfway to a field as large as the image.
    assert policies.read_policy("strong", 0.5)["vignette"]["uniform"] == pytest.approx([0.725, 0.8])
    # Held within what the operation may have.
    assert policies.read_policy("strong", 5.0)["blur"]["uniform"][1] == policies.OPERATIONS["blur"][2]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ([], "expected a JSON object, got list"),
        ({"fill": "wrap"}, "expected fill to be one of reflect, edge, constant, got 'wrap'"),
        ({"rotate": {"uniform": [0, 1]}}, "unknown operation 'rotate'; did you mean rotate90"),
        ({"qqq": {}}, "unknown operation 'qqq'; there are transpose, "),
        ({"rotation": 15}, "rotation: expected normal or uniform, and optionally instead, p, together, got 15"),
        ({"rotation": {}}, "rotation: expected normal or uniform"),
        ({"rotation": {"uniform": [0, 1], "normal": [0, 1]}}, "rotation: expected normal or uniform"),
        ({"rotation": {"uniform": [0, 1], "chance": 1}}, "rotation: expected normal or uniform"),
        ({"rotation": {"uniform": [5, -5]}}, r"expected uniform to be \[low, high\] in -3600 to 3600, got \[5, -5\]"),
        ({"rotation": {"uniform": [0]}}, "expected uniform to be"),
        ({"rotation": {"uniform": ["0", 1]}}, "expected uniform to be"),
        ({"zoom": {"uniform": [0.0, 1]}}, r"expected uniform to be \[low, high\] in 0.2 to 5"),
        ({"zoom": {"normal": [1, -1]}}, r"expected normal to be \[mean, standard deviation\], got \[1, -1\]"),
        ({"flip_x": {"uniform": [0, 1]}}, "flip_x: expected instead, p, together, got"),
        ({"flip_x": {"p": 1.5}}, "expected p to be a number from 0 to 1, got 1.5"),
        ({"flip_x": {"p": float("nan")}}, "expected finite numbers, got NaN"),
        ({"flip_x": {"p": True}}, "expected p to be a number"),
        ({"mixup": {"alpha": 0}}, "expected alpha to be a number from 0.05 to 10, got 0"),
        ({"dropout": {"uniform": [0, 1], "count": 99}}, "expected count to be a number from 1 to 16, got 99"),
        ({"dropout": {"uniform": [0, 1], "count": 1.5}}, "expected count to be a whole number, got 1.5"),
        (
            {"flip_x": {"p": 0.5, "together": "a"}, "flip_y": {"p": 0.4, "together": "a"}},
            r"expected one p for all of 'a', got \[0.5, 0.4\]",
        ),
        (
            {"flip_x": {"p": 0.5, "instead": "a"}, "flip_y": {"p": 0.6, "instead": "a"}},
            "the probabilities of 'a' must add up to at most 1, got 1.1",
        ),
        ({"pick": 3}, r"expected pick to be \[n, \[at least n of its operations\]\], got 3"),
        ({"pick": [1, ["flip_x"]]}, "expected pick to be"),
        ({"flip_x": {}, "pick": [2, ["flip_x"]]}, "expected pick to be"),
        ({"flip_x": {"p": 0.5}, "pick": [1, ["flip_x"]]}, "flip_x is in pick, so it cannot have p"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(policy, message, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy))
    with pytest.raises(ValueError, match=message):
        policies.read_policy(str(path))


def test_a_typo_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(ValueError, match="or a JSON file, got 'deote'; did you mean deotte"):
        policies.read_policy("deote")
    (tmp_path / "policy.json").write_text("{")
    with pytest.raises(ValueError, match="policy.json is not a valid augmentation policy .JSONDecodeError"):
        policies.read_policy(str(tmp_path / "policy.json"))
    (tmp_path / "large.json").write_bytes(bytes(2**20 + 1))
    with pytest.raises(
        ValueError, match="large.json is not a valid augmentation policy .expected at most 1048576 bytes, got 1048577"
    ):
        policies.read_policy(str(tmp_path / "large.json"))


def test_the_operation_names_of_release_0_1_are_read_with_a_notice(tmp_path, capsys):
    path = tmp_path / "old.json"
    operations = {"turn": {}, "microscope": {"uniform": [0.5, 0.6]}, "hair": {"uniform": [1, 2]}}
    path.write_text(json.dumps({**operations, "pick": [1, ["microscope", "hair"]]}))
    policy = policies.read_policy(str(path))
    assert policy == {
        "rotate90": {},
        "vignette": {"uniform": [0.5, 0.6]},
        "hair": {"uniform": [1.0, 2.0]},
        "pick": [1, ["vignette", "hair"]],
    }
    assert "turn is now rotate90, microscope is now vignette; old names" in capsys.readouterr().out


def test_a_pick_that_is_damaged_is_refused_under_old_names_too(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"turn": {}, "pick": [1, [["turn"]]]}))
    with pytest.raises(errors.ConfigError, match="expected pick to be"):
        policies.read_policy(str(path))

import json

import pandas as pd
import pytest

from tfrecord_tools.splits import fold_table


@pytest.fixture
def table(tmp_path):
    """Twelve images of six patients, the second image of every other patient malignant, in shards 0 to 5."""
    rows = [(f"i{number}", f"p{number // 2}", str(number % 4 // 3), str(number // 2)) for number in range(12)]
    path = tmp_path / "train.csv"
    pd.DataFrame(rows, columns=["image_name", "patient_id", "target", "tfrecord"]).to_csv(path, index=False)
    return path


def test_make_writes_every_image_once_and_logs_the_audit(table, tmp_path, capsys):
    returned = fold_table.make_folds(
        fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), num_folds=3, seed=0)
    )
    written = pd.read_csv(tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(returned, written, check_dtype=False)
    assert written["image_name"].tolist() == [f"i{number}" for number in range(12)]
    assert sorted(set(written["fold"])) == [0, 1, 2]
    out = capsys.readouterr().out
    assert "malignant_rate" in out
    assert "note" not in out
    # Three malignant images, of the patients 1, 3 and 5, among twelve.
    audit = returned.attrs["audit"]
    assert audit["leaking_patients"] == audit["images_apart"] == audit["rate_spread"] == 0
    loads = [(row["fold"], row["images"], row["malignant"]) for row in audit["by_fold"]]
    assert loads == [(0, 4, 1), (1, 4, 1), (2, 4, 1)]
    assert json.loads(json.dumps(audit)) == audit


def test_make_keeps_listed_duplicates_in_one_fold_and_counts_those_not_there(table, tmp_path, capsys):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image_name_1,image_name_2\ni0,i2\ni3,i4\ni0,gone\n")
    fold_table.make_folds(
        fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), num_folds=2, duplicates=str(pairs))
    )
    written = pd.read_csv(tmp_path / "folds.csv")["fold"]
    # Patients 0, 1 and 2 are one group, so the three others make up the other fold.
    assert written[:6].nunique() == written[6:].nunique() == 1
    out = capsys.readouterr().out
    assert "duplicates link 6 patients to 4 groups; the largest has 6 images" in out
    assert "3 (1 with an image that is not in the table)" in out


def test_make_logs_what_a_table_does_not_have(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("image_name,patient_id\na,\nb,\nc,1\n")
    fold_table.make_folds(
        fold_table.FoldsConfig(csv=str(tmp_path / "train.csv"), output=str(tmp_path / "folds.csv"), num_folds=2)
    )
    out = capsys.readouterr().out
    assert "2 images have no patient_id; each counts as a separate patient" in out
    assert "3 images have no target; they count as benign" in out


def test_make_audits_a_file_and_writes_nothing(table, tmp_path, capsys):
    fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), num_folds=2))
    written = capsys.readouterr().out
    before = sorted(tmp_path.iterdir())
    audited = fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), audit=str(tmp_path / "folds.csv")))
    assert audited["fold"].tolist() == pd.read_csv(tmp_path / "folds.csv")["fold"].tolist()
    assert capsys.readouterr().out == written
    assert sorted(tmp_path.iterdir()) == before


def test_make_fails_after_the_audit_of_a_file_that_leaks(table, tmp_path, capsys):
    path, pairs = tmp_path / "folds.csv", tmp_path / "pairs.csv"
    path.write_text("image_name,fold\n" + "".join(f"i{number},{(number + 1) // 2 % 2}\n" for number in range(12)))
    pairs.write_text("image_name_1,image_name_2\ni0,i2\n")
    with pytest.raises(ValueError, match=r"folds\.csv leaks: 6 patients and 1 listed duplicate pairs are in two folds"):
        fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), audit=str(path), duplicates=str(pairs)))
    assert "patients in two folds" in capsys.readouterr().out


@pytest.mark.parametrize(("preset", "expected"), [("deotte15", [0, 1, 2, 3, 4, 5]), ("winners5", [0, 2, 2, 4, 3, 1])])
def test_presets_map_shards_to_folds(table, tmp_path, preset, expected):
    fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), preset=preset))
    assert pd.read_csv(tmp_path / "folds.csv")["fold"][::2].tolist() == expected


def test_a_preset_that_leaks_is_not_written(tmp_path):
    (tmp_path / "train.csv").write_text("image_name,patient_id,target,tfrecord\na,1,0,0\nb,1,0,1\n")
    with pytest.raises(ValueError, match="deotte15 leaks: 1 patients"):
        fold_table.make_folds(
            fold_table.FoldsConfig(
                csv=str(tmp_path / "train.csv"), output=str(tmp_path / "folds.csv"), preset="deotte15"
            )
        )
    assert not (tmp_path / "folds.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected either --output, to write folds, or --audit, got neither; give one of them"),
        ({"output": "folds.csv", "audit": "folds.csv"}, "or --audit, got both; give one"),
        ({"audit": "folds.csv", "preset": "winners5"}, "expected --audit or --preset, got both"),
        ({"audit": "folds.csv", "num_folds": 5}, "omit --num_folds and --seed"),
        ({"output": "folds.csv", "preset": "winners5", "seed": 0}, "omit --num_folds and --seed"),
    ],
)
def test_make_refuses_arguments_that_contradict_each_other(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), **arguments))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_name,patient_id\na,1\na,2\n", "must list every image once, but repeats 1, for example a"),
        ("image_name,patient_id,target\na,1,0\nb,2,malignant\n", "target must be 0 or 1, got 'malignant'"),
    ],
)
def test_make_refuses_an_invalid_table(tmp_path, text, message):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        fold_table.make_folds(
            fold_table.FoldsConfig(csv=str(tmp_path / "train.csv"), output=str(tmp_path / "folds.csv"), num_folds=2)
        )

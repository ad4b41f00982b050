"""Record sets read as one table; see also `test_mixture`."""

import pandas as pd
import pytest

from isic_tf.data import record_sets
from tfrecord_tools import errors, schema


@pytest.fixture
def write(tmp_path):
    """A function that writes a record set with an index and an empty shard, and returns its directory."""

    def write_set(name, split="train", **columns):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / f"{split}00-9.tfrec").touch()
        table = pd.DataFrame(columns, dtype=str).assign(shard=f"{split}00-9.tfrec", target="0", fold="0")
        table = table.assign(position=range(len(table)))
        table.reindex(columns=[*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS], fill_value="").to_csv(
            folder / f"{split}.index.csv", index=False
        )
        return str(folder)

    return write_set


def read(*directories, patients_are=None, with_test_split=False):
    return record_sets.read_rows(directories, 1, with_test_split, patients_are)


def test_patients_and_lesions_of_a_set_have_one_spelling(write):
    directory = write("a", image_name=list("abcd"), patient_id=["7", "007", "p", "P"], lesion_id=["L", "l", "", "?"])
    rows = read(directory)
    assert rows["patient_id"].tolist() == ["7", "7", "p", "p"]
    assert rows["lesion_id"].tolist() == ["L", "L", "", ""]
    assert rows["patient_key"].iloc[0] == rows["patient_key"].iloc[1] != "7"
    assert rows["extra"].tolist() == [False] * 4


def test_numbers_of_two_sets_are_of_their_set(write):
    one = write("a", image_name=["a", "b"], patient_id=["7", "p"], lesion_id=["", "3"])
    other = write("b", image_name=["c", "d"], patient_id=["7", "P"], lesion_id=["3", ""])
    with pytest.raises(errors.ConfigError, match="share 1 numbers of patients or lesions .such as 7."):
        read(one, other)
    rows = read(one, other, patients_are="different")
    assert rows["patient_id"].tolist() == ["0:7", "p", "1:7", "p"]
    assert rows["lesion_id"].tolist() == ["", "0:3", "1:3", ""]
    rows = read(one, other, patients_are="same")
    assert rows["patient_id"].tolist() == ["0:7", "p", "0:7", "p"]
    assert rows["patient_key"].nunique() == 2
    assert rows["lesion_key"].tolist()[1] == rows["lesion_key"].tolist()[2]
    assert rows["extra"].tolist() == [False, False, True, True]


def test_sets_with_the_competitions_own_numbers_need_no_answer(write):
    # Three published numbers in each prove it.
    numbers = ["25", "76", "127", "178", "229", "280", "331"]
    names = ["84086", "148677", "163767", "177190", "195078", "216296", "236778"]
    names = [f"ISIC_{int(name):07d}" for name in names]
    one = write("a", image_name=[*names[:4], "ISIC_0000001"], patient_id=[*numbers[:4], "9"])
    other = write("b", image_name=[*names[4:], "ISIC_0000002"], patient_id=[*numbers[4:], "9"])
    rows = read(one, other)
    assert rows["patient_key"].str.startswith("isic2020#").all()
    assert rows["patient_id"].iloc[4] == rows["patient_id"].iloc[-1] == "0:9"


def test_both_splits_of_a_directory_number_the_same_patients(write):
    directory = write("a", image_name=["a", "b"], patient_id=["7", "8"])
    assert write("a", "test", image_name=["c"], patient_id=["7"]) == directory
    rows = read(directory, with_test_split=True)
    assert rows["patient_key"].tolist()[0] == rows["patient_key"].tolist()[2]
    assert rows["extra"].tolist() == [False, False, True]
    assert rows["target"].tolist() == [0, 0, -1]
    assert rows["source"].tolist() == [directory, directory, f"{directory}/test"]
    assert len(read(directory)) == 2


@pytest.mark.parametrize(
    ("patients", "is_noted"), [(["7", "8"], True), (["p", "q"], False), (["", "unknown"], False), (["p", "7"], True)]
)
def test_names_of_patients_beside_numbers_are_noted(write, patients, is_noted, capsys):
    one = write("a", image_name=["a", "b"], patient_id=["p", "q"])
    other = write("b", image_name=["c", "d"], patient_id=patients)
    read(one, other)
    assert (f"the patients of {one} have names and those of {other} numbers" in capsys.readouterr().out) is is_noted

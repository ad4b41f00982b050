import logging

import pandas as pd
import pytest

from isic_tf.data import image_table


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_columns_are_joined_by_any_spelling_of_the_names(tmp_path, caplog):
    path = write(tmp_path / "t.csv", "image,MEL,Stage", "ISIC_0000001.jpg,1.0,II", "ISIC_0000002,0.0,NA", "other,0.0,I")
    with caplog.at_level(logging.WARNING):
        found = image_table.read_columns(
            path, ["ISIC_0000002", "ISIC_0000001", "ISIC_0000009", "ISIC_0000002"], ["stage", "MEL"]
        )
    assert found.to_dict("list") == {"stage": ["", "II", "", ""], "MEL": ["0.0", "1.0", "", "0.0"]}
    assert f"1 of 3 images are not in {path} (first: ISIC_0000009)" in caplog.text


def test_a_column_is_found_under_the_names_of_published_tables(tmp_path):
    path = write(tmp_path / "t.csv", "image_id,dx", "a,nv")
    assert image_table.read_columns(path, ["a"], ["diagnosis", "dx"]).to_dict("list") == {
        "diagnosis": ["nv"],
        "dx": ["nv"],
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,MEL", "a,1"], "needs the columns image_name, stage; it has only image, MEL; add or rename stage"),
        (["image,stage", "a,1", "a,2"], "must list every image once, but repeats 1, for example a"),
        (["image,stage", ",1", "a,2"], "the image_name of 1 is blank .first: row 1."),
        (["image,stage", "x,1"], "to have names in common, got none .'a' in one, 'x' in the other."),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path, lines, message):
    with pytest.raises(ValueError, match=message):
        image_table.read_columns(write(tmp_path / "t.csv", *lines), ["a"], ["stage"])


def test_a_table_is_read_once_for_all_sets(tmp_path, monkeypatch):
    """Two sets hold one photograph under two names, which the table lists both."""
    table = tmp_path / "table.csv"
    table.write_text("image_name,dx\nISIC_1,mel\nISIC_1_downsampled,nv\nISIC_2,bcc\n")
    rows = pd.DataFrame({"image_name": ["ISIC_1", "ISIC_2", "ISIC_1_downsampled"], "source": ["a", "b", "b"]})
    calls, original = [], image_table.read_table
    monkeypatch.setattr(image_table, "read_table", lambda *given: calls.append(given) or original(*given))
    found = image_table.read_set_columns(str(table), rows.iloc[::-1], ["dx"])
    assert found["dx"].to_dict() == {2: "nv", 1: "bcc", 0: "mel"}
    assert len(calls) == 1

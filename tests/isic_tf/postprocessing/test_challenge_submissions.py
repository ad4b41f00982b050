import io

import pandas as pd
import pytest

from isic_tf.artifacts import prediction_sidecar
from isic_tf.postprocessing import challenge_submissions
from isic_tf.postprocessing.challenge_formats import FORMATS

MILK = FORMATS["milk10k"].classes


def make_predictions(classes, rows):
    """Predictions in which each image has some classes and zeros for the others."""
    table = pd.DataFrame(0.0, list(rows), [f"probability_{name}" for name in classes])
    for name, values in rows.items():
        table.loc[name, [f"probability_{own}" for own in values]] = list(values.values())
    table.insert(0, "prediction", table["probability_MEL"])
    return table.rename_axis("image_name").reset_index()


def run(folder, source, **options):
    source.to_csv(folder / "test.csv", index=False)
    config = {"predictions": str(folder / "test.csv"), "output": str(folder / "out.csv"), **options}
    returned = challenge_submissions.prepare_submission(challenge_submissions.ChallengeSubmissionConfig(**config))
    written = pd.read_csv(folder / "out.csv")
    pd.testing.assert_frame_equal(written, returned, check_dtype=False)
    return written


def test_images_are_written_in_the_columns_of_2019(tmp_path, capsys):
    classes = ["SCC", "NV", "MEL", "BCC", "AK", "BKL", "DF", "VASC"]
    rows = {"ISIC_0000002.jpg": {"MEL": 0.75, "SCC": 0.25}, "ISIC_0000001": {"NV": 1.0}}
    (tmp_path / "list.csv").write_text("image,age_approx\nISIC_0000001,55\nISIC_0000002,\n")
    table = run(
        tmp_path, make_predictions(classes, rows), format="isic2019", sample_submission=str(tmp_path / "list.csv")
    )
    assert ",".join(table) == "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
    assert table.values.tolist() == [
        ["ISIC_0000001", 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ["ISIC_0000002", 0.75, 0, 0, 0, 0, 0, 0, 0.25, 0],
    ]
    # The scorer refuses columns of whole numbers.
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "ISIC_0000001" + ",0.0,1.0" + 7 * ",0.0"
    assert "UNK: 0 (no class of the predictions)" in capsys.readouterr().out


@pytest.mark.parametrize(("join", "expected"), [("mean", [0.5, 0.5]), ("max", [0.75, 0.75])])
def test_lesions_of_milk10k_have_two_images(tmp_path, capsys, join, expected):
    rows = {"a": {"BCC": 0.75, "MEL": 0.25}, "b": {"NV": 1.0}, "c": {"BCC": 0.25, "MEL": 0.75}}
    (tmp_path / "table.csv").write_text("lesion_id,image_type,isic_id\nIL_2,x,a\nIL_1,x,b\nIL_2,y,c\n")
    options = {"format": "milk10k", "join": join, "table": str(tmp_path / "table.csv")}
    table = run(tmp_path, make_predictions(MILK, rows), **options)
    assert list(table) == ["lesion_id", *MILK]
    assert table["lesion_id"].tolist() == ["IL_2", "IL_1"]
    assert table.loc[0, ["BCC", "MEL"]].tolist() == expected
    assert table.loc[1, "NV"] == 1
    assert f"joined 3 images by their {join}: 1 lesions of 1 image, 1 lesions of 2 images" in capsys.readouterr().out


def test_images_are_written_under_the_names_of_the_test_set(tmp_path, capsys):
    rows = {"ISIC_0000002": {"MEL": 0.75}, "ISIC_0000001_downsampled.JPG": {"NV": 1.0}}
    (tmp_path / "list.csv").write_text("image\nISIC_0000001\nISIC_0000002_downsampled\n")
    predictions = make_predictions(FORMATS["isic2018"].classes, rows)
    table = run(tmp_path, predictions, format="isic2018", sample_submission=str(tmp_path / "list.csv"))
    assert table[["image", "MEL", "NV"]].values.tolist() == [
        ["ISIC_0000001", 0, 1],
        ["ISIC_0000002_downsampled", 0.75, 0],
    ]
    assert "list.csv" in capsys.readouterr().out


def test_lesions_without_all_of_their_images_are_noted(tmp_path, capsys):
    (tmp_path / "table.csv").write_text("lesion_id,isic_id\nIL_1,a\nIL_1,b\nIL_2,c\nIL_2,d\nIL_3,e\n")
    predictions = make_predictions(MILK, {"a": {"MEL": 0.25}, "c": {"MEL": 0.5}, "d": {"MEL": 1.0}})
    table = run(tmp_path, predictions, format="milk10k", table=str(tmp_path / "table.csv"))
    assert table[["lesion_id", "MEL"]].values.tolist() == [["IL_1", 0.25], ["IL_2", 0.75]]
    out = capsys.readouterr().out
    assert "note: 1 lesions have further images in" in out
    assert "without a prediction (first: IL_1)" in out
    assert "table.csv have no prediction and no row (first: IL_3)" in out


def test_several_labels_are_not_added_up(tmp_path):
    table = make_predictions(["MEL", "NV", "nevus"], {"a": {"NV": 0.5, "nevus": 0.5}})
    zeros = [f"{name}=" for name in ("BCC", "AKIEC", "BKL", "DF", "VASC")]
    assert run(tmp_path, table, format="isic2018", class_map=zeros)["NV"].tolist() == [1.0]
    facts = {"classes": ["MEL", "NV", "nevus"], "positive_classes": ["MEL"], "multi_label": True}
    prediction_sidecar.write_sidecar(str(tmp_path / "test.csv"), patient_context=None, made_by="test", **facts)
    assert run(tmp_path, table, format="isic2018", class_map=zeros)["NV"].tolist() == [0.5]


@pytest.mark.parametrize(
    ("table", "sample", "message"),
    [
        ("lesion_id,isic_id\nIL_1,a\n", None, r"a lesion_id in .*table.csv for every image, 1 have none \(first: b\)"),
        (
            "lesion_id,isic_id\nIL_1,a\nIL_1,b\n",
            "lesion_id\nIL_1\nIL_2\n",
            r"missing \(IL_2\); predict the images",
        ),
        ("isic_id\na\n", None, "needs the columns image_name, lesion_id"),
    ],
)
def test_lesions_that_do_not_fit_are_refused(tmp_path, table, sample, message):
    (tmp_path / "table.csv").write_text(table)
    options = {"format": "milk10k", "table": str(tmp_path / "table.csv")}
    if sample:
        (tmp_path / "sample.csv").write_text(sample)
        options["sample_submission"] = str(tmp_path / "sample.csv")
    with pytest.raises(ValueError, match=message):
        run(tmp_path, make_predictions(MILK, {"a": {"MEL": 1.0}, "b": {"MEL": 1.0}}), **options)
    assert not (tmp_path / "out.csv").exists()


def test_a_file_without_classes_is_refused(tmp_path):
    table = pd.DataFrame({"image_name": ["a"], "prediction": [0.5]})
    with pytest.raises(ValueError, match="test.csv has no columns probability_CLASS; predict with a run"):
        run(tmp_path, table, format="isic2018")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either --submission to check, or --predictions to write as one, got neither"),
        ({"submission": "s", "predictions": "p", "output": "o"}, "got both"),
        ({"format": "isic2018", "predictions": "p"}, "--predictions are written to --output"),
        ({"format": "isic2018", "submission": "s", "class_map": ["A=b"]}, "--class_map only with --predictions"),
        ({"format": "isic2018", "predictions": "p", "output": "o", "table": "t"}, "expected --table, which says the"),
        ({"format": "milk10k", "predictions": "p", "output": "o"}, "expected --table, which says the lesion_id"),
        ({"predictions": "p", "output": "o"}, "isic_tf.predict --sample_submission writes the submissions of isic2020"),
        ({"submission": "s"}, "expected --sample_submission with --format=isic2020"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        challenge_submissions.ChallengeSubmissionConfig(**options)


def test_the_competition_of_2020_is_the_default(tmp_path):
    (tmp_path / "own.csv").write_text("image_name,target\na,0.25\n")
    path = str(tmp_path / "own.csv")
    config = challenge_submissions.ChallengeSubmissionConfig(submission=path, sample_submission=path)
    assert challenge_submissions.prepare_submission(config)["target"].tolist() == [0.25]


def test_the_official_scorer_reads_what_is_written(tmp_path, monkeypatch):
    pytest.importorskip("isic_challenge_scoring")
    load_csv = pytest.importorskip("isic_challenge_scoring.load_csv")
    if not hasattr(pd.DataFrame, "applymap"):
        # Renamed in pandas 2.1 and gone in 3.
        monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)
    classes = FORMATS["isic2019"].classes
    table = run(tmp_path, make_predictions(classes, {"a.jpg": {"MEL": 1.0}, "b": {"NV": 0.5}}), format="isic2019")
    text = (tmp_path / "out.csv").read_text()
    read = load_csv.parse_csv(io.StringIO(text), pd.Index(classes))
    load_csv.validate_rows(pd.DataFrame(index=["a", "b"]), read)
    assert read.values.tolist() == table[classes].values.tolist()

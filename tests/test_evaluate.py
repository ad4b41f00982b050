import pytest

from isic_tf import evaluate

LABELS = "image_name,patient_id,target\na,p,0\nb,p,1\nc,q,0\nd,,1\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "one.csv").write_text("image_name,prediction\nd,0.9\nc,0.2\nb,0.1\na,0.15\n")
    (tmp_path / "two.csv").write_text("image_name,prediction,fold\na,0.15,0\nb,0.5,0\n")
    return tmp_path


def test_each_file_gets_its_line_joined_by_name(files, capsys):
    for name in ("one.csv", "two.csv"):
        evaluate.evaluate([str(files / name)], str(files / "labels.csv"))
    first, second = (line for line in capsys.readouterr().out.splitlines() if ".csv: " in line)
    # d beats both benign images, b neither: 2 of 4 pairs.
    assert "one.csv: ROC AUC 0.5000" in first
    assert "4 images, 2 malignant, 3 patients" in first
    assert "two.csv: ROC AUC 1.0000" in second


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + "a,p,0\n", "must label every image once, 1 come again, a first"),
        (LABELS.replace("a,p,0", "a,p,"), "must label every image, the target of a is blank"),
        (LABELS.replace("a,p,0", "a,p,benign"), "target must be 0 or 1, got 'benign'"),
        (LABELS.replace("a,p,0\n", ""), r"1 images of .*one.csv have no label in .*labels.csv, a first"),
        ("image_name,target\na,1\n", "needs the columns image_name, patient_id, target"),
    ],
)
def test_labels_that_do_not_fit_are_refused(files, labels, message):
    (files / "labels.csv").write_text(labels)
    with pytest.raises(ValueError, match=message):
        evaluate.evaluate([str(files / "one.csv")], str(files / "labels.csv"))

import pytest

from isic_tf.postprocessing import challenge_checks
from isic_tf.postprocessing.challenge_formats import FORMATS

HEADER = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
VALID = (
    HEADER + "ISIC_0000001_downsampled.jpg,0.75,0.25,0.0,0.0,0.0,0.0,0.0\nISIC_0000002,0.5,0.5,0.0,0.0,0.0,0.0,0.0\n"
)


def check(folder, text, sample=None, name="isic2018"):
    (folder / "own.csv").write_text(text)
    order = None
    if sample:
        (folder / "sample.csv").write_text(sample)
        order = challenge_checks.read_order(str(folder / "sample.csv"), "image")
    return challenge_checks.check_submission(str(folder / "own.csv"), FORMATS[name], order)


def test_a_valid_submission_is_returned(tmp_path, capsys):
    table = check(tmp_path, VALID)
    assert table["MEL"].tolist() == [0.75, 0.5]
    out = capsys.readouterr().out
    assert "valid for ISIC 2018, task 3, 2 images; 1 have one class above 0.5, 0 several and 1 none" in out
    assert "note: not compared with the images of the test set" in out
    check(tmp_path, VALID, sample="image\nISIC_0000002\nISIC_0000001_downsampled\n")
    assert "not compared" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "it has a header but no rows"),
        (VALID.replace(",VASC", ",Vasc"), "it lacks VASC and has Vasc besides; correct it"),
        (VALID.replace(",VASC", ""), "it lacks VASC; correct it"),
        (VALID.replace(",VASC", ",VASC,X").replace("0.0\n", "0.0,1\n"), "it has X besides"),
        (VALID.replace(",VASC", ",VASC,DF").replace("0.0\n", "0.0,1\n"), "it has a column twice besides"),
        (VALID.replace("0.75", "1.5"), r"numbers in MEL from 0 to 1, 1 of 2 are not \(ISIC_0000001_down"),
        (VALID.replace("0.75", ""), "numbers in MEL from 0 to 1, 1 of 2 are not"),
        (VALID.replace("0.0\n", "0\n"), "VASC has no decimal point in any row"),
        (
            VALID.replace("ISIC_0000002", "ISIC_0000001_downsampled"),
            r"1 names are repeated \(ISIC_0000001_downsampled\)",
        ),
        (VALID.replace("ISIC_0000002", ""), "1 rows have no image"),
        (
            VALID.replace("ISIC_0000002", "ISIC_0000002.png"),
            r"missing \(ISIC_0000002\); 1 names are not .* \(ISIC_0000002.png\)",
        ),
        (
            VALID.replace("ISIC_0000002", "ISIC_0000003"),
            r"missing \(ISIC_0000002\); 1 names are not .* \(ISIC_0000003\)",
        ),
    ],
)
def test_what_the_official_scorer_refuses_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        check(tmp_path, text, sample="image_name\nISIC_0000001_downsampled\nISIC_0000002.jpg\n")


def test_a_list_of_images_is_a_list_of_lesions_too(tmp_path):
    (tmp_path / "images.csv").write_text("isic_id,lesion_id\na,l2\nb,l1\nc,l2\n")
    assert challenge_checks.read_order(str(tmp_path / "images.csv"), "lesion_id") == ["l2", "l1"]
    assert challenge_checks.read_order(str(tmp_path / "images.csv"), "image") == ["a", "b", "c"]

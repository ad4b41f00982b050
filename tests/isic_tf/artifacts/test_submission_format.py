import pytest

from isic_tf.artifacts import submission_format

SAMPLE = "image_name,target\na,0\nb,0\nc,0\nd,0\n"


@pytest.fixture
def validate(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE)

    def check(text):
        (tmp_path / "own.csv").write_text(text)
        submission_format.validate_submission(
            submission_format.SubmissionConfig(
                submission=str(tmp_path / "own.csv"), sample_submission=str(tmp_path / "sample.csv")
            )
        )

    return check


def test_a_good_submission_is_said_to_be_one(validate, capsys):
    validate("image_name,target\na,0\nb,1\nc,0.25\nd,0.75\n")
    expected = "own.csv: 4 images, those of the sample in its order; targets 0.0000 to 1.0000, mean 0.5000\n"
    assert capsys.readouterr().out.endswith(expected)
    validate(SAMPLE)
    assert "note: all of them are the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0\nb,0\nc,0\n", r"1 of the sample's names are missing \(d\)"),
        ("a,0\nb,0\nc,0\nd,0\ne,0\nf,0\ng,0\nh,0\n", r"4 names are not in the sample \(e, f, g, \.\.\.\)"),
        ("a,0\nb,0\nb,0\nc,0\nd,0\n", r"1 names come more than once \(b\)"),
        ("a,0\nb,nan\nc,1.5\nd,-0.1\n", r"3 targets are no number from 0 to 1 \(b, c, d\)"),
        ("a,0\nb,\nc,x\nd,inf\n", r"3 targets are no number from 0 to 1 \(b, c, d\)"),
        ("b,0\na,0\nc,0\nd,0\n", "another order: row 1 is b in place of a"),
        ("b,0\na,2\nc,0\nd,0\n", r"1 targets are no number from 0 to 1 \(a\)$"),
    ],
)
def test_all_that_is_wrong_with_a_submission_is_named(validate, text, message):
    with pytest.raises(ValueError, match=message):
        validate("image_name,target\n" + text)


def test_a_sample_that_names_an_image_twice_is_refused(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE + "a,0\n")
    with pytest.raises(ValueError, match="must name every image once, 1 come again, a first"):
        submission_format.read_order(str(tmp_path / "sample.csv"))

import pytest

from isic_tf.artifacts import submission_format

SAMPLE = "image_name,target\na,0\nb,0\nc,0\nd,0\n"


@pytest.fixture
def validate(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE)

    def check(text):
        (tmp_path / "own.csv").write_text(text)
        return submission_format.validate_submission(
            submission_format.SubmissionConfig(
                submission=str(tmp_path / "own.csv"), sample_submission=str(tmp_path / "sample.csv")
            )
        )

    return check


def test_a_valid_submission_is_returned_and_logged(validate, capsys):
    table = validate("image_name,target\na,0\nb,1\nc,0.25\nd,0.75\n")
    assert table["image_name"].tolist() == ["a", "b", "c", "d"]
    assert table["target"].tolist() == [0.0, 1.0, 0.25, 0.75]
    expected = "own.csv: valid, 4 images in the order of the sample; targets 0.0000 to 1.0000, mean 0.5000\n"
    assert capsys.readouterr().out.endswith(expected)
    validate(SAMPLE)
    assert "note: all targets are the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0\nb,0\nc,0\n", r"1 names of the sample are missing \(d\)"),
        ("a,0\nb,0\nc,0\nd,0\ne,0\nf,0\ng,0\nh,0\n", r"4 names are not in the sample \(e, f, g, \.\.\.\)"),
        ("a,0\nb,0\nb,0\nc,0\nd,0\n", r"1 names are repeated \(b\)"),
        ("a,0\nb,nan\nc,1.5\nd,-0.1\n", r"expected targets from 0 to 1, 3 of 4 are not \(b, c, d\)"),
        ("a,0\nb,\nc,x\nd,inf\n", r"expected targets from 0 to 1, 3 of 4 are not \(b, c, d\)"),
        ("b,0\na,0\nc,0\nd,0\n", "the order differs: row 1 is b instead of a"),
        ("b,0\na,2\nc,0\nd,0\n", r"expected targets from 0 to 1, 1 of 4 are not \(a\); write it again with"),
    ],
)
def test_all_problems_of_a_submission_are_listed(validate, text, message):
    with pytest.raises(ValueError, match=message):
        validate("image_name,target\n" + text)


def test_a_sample_with_a_repeated_name_is_refused(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE + "a,0\n")
    with pytest.raises(ValueError, match="must name every image once, but repeats 1, for example a"):
        submission_format.read_sample_names(str(tmp_path / "sample.csv"))


def test_names_are_returned_in_the_order_of_the_sample(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE)
    assert submission_format.match_sample(list("dbca"), str(tmp_path / "sample.csv")) == ["a", "b", "c", "d"]


def test_names_that_differ_from_the_sample_are_refused_with_the_flags_to_check(tmp_path):
    (tmp_path / "sample.csv").write_text(SAMPLE)
    message = r"does not match .*sample.csv: 2 names of the sample are missing \(c, d\); 1 names are not in the sample"
    with pytest.raises(ValueError, match=message + r" \(x\); check --records$"):
        submission_format.match_sample(["b", "a", "x"], str(tmp_path / "sample.csv"), flags="--records")

import pytest

from isic_tf import predict, runs
from tfrecord_tools import command


def sample(folder, names):
    path = folder / "sample_submission.csv"
    path.write_text("image_name,target\n" + "".join(f"{name},0\n" for name in names))
    return str(path)


def test_the_samples_order_is_kept(tmp_path):
    assert predict.read_sample(sample(tmp_path, "bca"), list("abc")) == list("bca")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("abcx", r"1 missing from the records \(x\)"),
        ("ab", r"1 in the records but not in the sample \(c\)"),
        ("abcc", r"1 names twice in the sample \(c\)"),
        ("xyzw", r"4 missing from the records \(w, x, y\); 3 in the records but not in the sample \(a, b, c\)"),
    ],
)
def test_missing_extra_and_double_names_are_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        predict.read_sample(sample(tmp_path, names), list("abc"))


def test_a_run_without_a_trained_fold_is_refused(tmp_path, index):
    runs.claim(str(tmp_path), {"image_size": 64}, (), index)
    with pytest.raises(ValueError, match=r"expected a trained fold in .*, found no fold\*/best.weights.h5"):
        predict.predict(str(tmp_path), "x", str(tmp_path / "out.csv"), None, 8, 2, "default", "")


def test_names_are_checked_before_any_prediction(tmp_path, index, record_set):
    runs.claim(str(tmp_path), {"image_size": 64, "backbone": "efficientnet-b0"}, (), index)
    # No weights file: reading it would fail, so the sample's error shows that no model was built.
    command.write_text(runs.fold_dir(str(tmp_path), 0) + "/best.weights.h5", "")
    with pytest.raises(ValueError, match="1 missing from the records"):
        predict.predict(
            str(tmp_path),
            f"{record_set}/test*.tfrec",
            str(tmp_path / "out.csv"),
            sample(tmp_path, ["x"]),
            8,
            2,
            "default",
            "",
        )


def test_a_folder_for_an_output_is_refused_before_any_work(tmp_path, index):
    runs.claim(str(tmp_path), {"image_size": 64}, (), index)
    command.write_text(runs.fold_dir(str(tmp_path), 0) + "/best.weights.h5", "")
    with pytest.raises(ValueError, match="expected a file's name for --output, got the folder"):
        predict.predict(str(tmp_path), "x", str(tmp_path), None, 8, 2, "default", "")

import os

import cv2
import pytest

from isic_tf.visualization import grad_cam_sheet


def test_training_images_of_every_network_are_reported(run, record_set, index, tmp_path, capsys):
    (run / "fold0" / "seen_images.csv").unlink()
    grad_cam_sheet.explain(
        grad_cam_sheet.ExplainConfig(
            workdir=str(run),
            records=f"{record_set}/train*.tfrec",
            output=str(tmp_path / "sheet.png"),
            images=4,
            names="",
            seed=0,
        )
    )
    seen = index.loc[index["fold"] == 0, "image_name"].tolist()
    output = capsys.readouterr().out
    assert f"wrote 4 images and their maps to {tmp_path / 'sheet.png'}" in output
    height, width, _ = cv2.imread(str(tmp_path / "sheet.png")).shape
    assert (height, width) == (450, pytest.approx(1140, abs=1))
    grad_cam_sheet.explain(
        grad_cam_sheet.ExplainConfig(
            workdir=str(run),
            records=f"{record_set}/train*.tfrec",
            output=str(tmp_path / "one.pdf"),
            images=4,
            names=",".join(seen[:2]),
            seed=0,
        )
    )
    assert "2 of these images were, or may have been, training images of every network of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "sheet.txt"}, "expected --output to end in .png, .jpg or .pdf, got 'sheet.txt'"),
        ({"names": "ISIC_gone"}, r"1 images of --names are not in these records \(first: ISIC_gone\); check --records"),
        ({"records": "nowhere*"}, "no shards match 'nowhere"),
        ({"workdir": "nowhere"}, "expected a run in nowhere, found no flags.txt"),
    ],
)
def test_what_does_not_fit_is_refused(run, record_set, tmp_path, changes, message):
    given = {"workdir": str(run), "records": f"{record_set}/train*.tfrec", "output": str(tmp_path / "sheet.png")}
    with pytest.raises(ValueError, match=message):
        grad_cam_sheet.explain(
            grad_cam_sheet.ExplainConfig(**{**given, "images": 3, "names": "", "seed": 0, **changes})
        )
    assert not os.path.exists(tmp_path / "sheet.png")

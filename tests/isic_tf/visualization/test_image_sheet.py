import cv2
import numpy as np
import pytest

from isic_tf.visualization.image_sheet import LABELS, CaptionedImage, check_output, draw_sheet
from tfrecord_tools import errors

RED = np.full((32, 32, 3), (255, 0, 0), np.uint8)
BLUE = np.full((32, 32, 3), (0.0, 0.0, 1.0), np.float32)


def centers(path, columns, rows, title=0):
    """Returns the RGB color at the middle of each image of a sheet without a title."""
    sheet = cv2.imread(str(path))[..., ::-1]
    height, width = (sheet.shape[0] - title) / rows, sheet.shape[1] / columns
    found = []
    for row in range(rows):
        for column in range(columns):
            pixel = sheet[int(title + (row + 0.42) * height), int((column + 0.5) * width)]
            found.append(tuple(pixel.tolist()))
    return found


def test_images_are_in_order_row_by_row(tmp_path):
    path = tmp_path / "sheet.png"
    pictures = [CaptionedImage(RED, "a"), CaptionedImage(BLUE, "b"), CaptionedImage(BLUE, "c")]
    assert draw_sheet(str(path), pictures, columns=2) == str(path)
    # The last place is empty.
    assert centers(path, 2, 2) == [(255, 0, 0), (0, 0, 255), (0, 0, 255), (255, 255, 255)]


def test_a_sheet_has_190_pixels_per_image_and_room_for_captions_and_a_title(tmp_path):
    draw_sheet(str(tmp_path / "plain.png"), [CaptionedImage(RED, "a")] * 6, columns=3)
    height, width, _ = cv2.imread(str(tmp_path / "plain.png")).shape
    assert (height, width) == (pytest.approx(2 * 225, abs=1), pytest.approx(3 * 190, abs=1))
    draw_sheet(str(tmp_path / "titled.png"), [CaptionedImage(RED, "a")] * 6, columns=3, title="title")
    assert cv2.imread(str(tmp_path / "titled.png")).shape[0] == pytest.approx(2 * 225 + 40, abs=1)


def test_values_beyond_0_and_1_are_clipped(tmp_path):
    draw_sheet(str(tmp_path / "sheet.png"), [CaptionedImage(BLUE * 3 - 1, "b")], columns=1)
    assert centers(tmp_path / "sheet.png", 1, 1) == [(0, 0, 255)]


def test_dollar_signs_are_text(tmp_path):
    # As a formula, a caption or title like this would be an error.
    text = r"$\frac{$ 1"
    draw_sheet(str(tmp_path / "sheet.png"), [CaptionedImage(RED, text)], columns=1, title=text)
    assert (tmp_path / "sheet.png").stat().st_size > 0


@pytest.mark.parametrize(("name", "start"), [("s.PNG", b"\x89PNG"), ("s.jpg", b"\xff\xd8"), ("s.pdf", b"%PDF")])
def test_the_suffix_chooses_the_format(tmp_path, name, start):
    draw_sheet(str(tmp_path / name), [CaptionedImage(RED, "a")], columns=1)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_other_suffixes_are_refused_and_nothing_written(tmp_path):
    with pytest.raises(errors.ConfigError, match="expected --output to end in .png, .jpg or .pdf, got 'sheet.gif'"):
        check_output("sheet.gif")
    with pytest.raises(errors.ConfigError, match="expected --output to end in .png, .jpg or .pdf"):
        draw_sheet(str(tmp_path / "sheet"), [CaptionedImage(RED, "a")], columns=1)
    assert not list(tmp_path.iterdir())


def test_every_label_has_a_caption():
    assert LABELS == {-1: "no label", 0: "benign", 1: "malignant"}

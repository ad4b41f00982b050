import numpy as np

from isic_tf.image_quality import working_image


def test_shrinking_keeps_the_aspect_ratio_and_never_enlarges():
    assert working_image.shrink(np.zeros((400, 800, 3), np.uint8), 512).shape == (256, 512, 3)
    assert working_image.shrink(np.zeros((8000, 32, 3), np.uint8), 128).shape == (128, 1, 3)
    small = np.zeros((40, 50, 3), np.uint8)
    assert working_image.shrink(small, 512) is small


def test_shrinking_averages_areas():
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[::2] = 200
    assert (working_image.shrink(stripes, 128) == 100).all()


def test_corners_are_outside_the_ellipse():
    ellipse = working_image.make_ellipse(60, 100)
    assert not ellipse[0, 0]
    assert ellipse[30, 50]
    assert abs(ellipse.mean() - np.pi * 0.48**2) < 0.01


def test_a_black_border_is_no_content_and_a_black_lesion_is():
    image = np.full((100, 100, 3), 180, np.uint8)
    image[:, :30] = 5
    image[45:55, 60:70] = 5
    content = working_image.find_content(image, working_image.make_ellipse(100, 100))
    # The border is widened by two pixels, over what JPEG mixed.
    assert not content[:, :32].any()
    assert content[50, 32]
    assert content[50, 65]


def test_of_an_all_black_image_the_ellipse_is_the_content():
    ellipse = working_image.make_ellipse(50, 50)
    assert (working_image.find_content(np.zeros((50, 50, 3), np.uint8), ellipse) == ellipse).all()

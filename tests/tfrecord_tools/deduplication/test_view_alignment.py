import numpy as np
import pytest
from edited_pictures import EDITS, picture

from tfrecord_tools.deduplication import image_similarity, local_detail, view_alignment


def compare(rows, pairs):
    described = image_similarity.describe(rows), local_detail.find_details(rows)
    return view_alignment.compare(rows, *described, pairs)


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_near_and_another_picture_far(edit):
    rows = np.concatenate(
        [image_similarity.make_views(image) for image in (picture(0), EDITS[edit](picture(0)), picture(1))]
    )
    near, far = compare(rows, np.array([[0, 1], [0, 2]]))
    assert near < 0.1
    assert far > 0.5


def test_black_and_uniform_pictures_match_nothing():
    rows = np.stack(
        [np.full((image_similarity.SIDE, image_similarity.SIDE), level, np.uint8) for level in (0, 0, 150, 150)]
    )
    distances = compare(rows, np.array([[0, 1], [2, 3], [0, 2]]))
    assert distances.tolist() == [1, 1, 1]


def test_the_rings_of_edits_correlate_and_those_of_other_pictures_do_not():
    rows = np.concatenate(
        [image_similarity.make_views(image) for image in (picture(0), np.rot90(picture(0)), picture(1))]
    )
    rings = image_similarity.describe(rows)
    angles, flips, correlations = view_alignment._orient(rings[[0, 0, 0]], rings[[0, 1, 2]])
    # A picture with itself; turned by a right angle; another picture.
    assert (angles[0], flips[0]) == (0, False)
    assert correlations[0] == pytest.approx(1, abs=1e-5)
    assert angles[1] in (np.pi / 2, 3 * np.pi / 2)
    assert correlations[1] > 0.9
    assert correlations[2] < 0.6


def test_an_affine_map_is_about_the_center():
    # A right angle about (1.5, 1.5), and a shift by a quarter of four pixels to the right.
    matrix = view_alignment._to_matrix(np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([0.25, 0.0]), 4)
    assert matrix.tolist() == [[0, 1, 1], [-1, 0, 3]]


def test_a_correlation_is_weighted():
    first, second = np.float32([1, 2, 3, 9]), np.float32([2, 4, 6, -5])
    weight = np.float32([1, 1, 1, 0]) / 3
    # Variances 2/3 and 8/3, covariance 4/3, with 0.02 in the denominator.
    assert view_alignment._correlate(first, second, weight) == pytest.approx((4 / 3) / (4 / 3 + 0.02), rel=1e-5)

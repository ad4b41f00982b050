import numpy as np

from tfrecord_tools.deduplication import local_detail


def picture():
    return np.random.default_rng(0).integers(30, 256, (64, 64)).astype(np.float32)


def test_a_mask_without_holes_gives_the_detail_of_no_mask():
    gray = picture()
    ones = np.ones_like(gray)
    found = local_detail.find_detail(gray, ones, 13, 6)
    assert np.allclose(found, local_detail.find_detail(gray, ones, 13, 6, coverage=ones), atol=1e-5)


def test_detail_is_in_units_of_the_local_contrast():
    # Two levels side by side in columns: the mean of a box lies between them, and the contrast is half their distance.
    gray = np.float32(np.tile([100, 140], (64, 32)))
    detail = local_detail.find_detail(gray, np.ones_like(gray), 13, 6)[10:-10, 10:-10]
    assert np.abs(np.abs(detail) - 20 / np.hypot(20, 6)).max() < 0.1
    assert np.array_equal(detail > 0, gray[10:-10, 10:-10] > 120)


def test_details_of_views_are_those_of_each():
    views = np.random.default_rng(0).integers(0, 256, (3, 96, 96), np.uint8)
    views[2] = 0
    found = local_detail.find_details(views)
    assert (found.shape, found.dtype) == ((3, 64, 64), np.float16)
    small = local_detail.shrink(views[1])
    expected = local_detail.find_detail(small, local_detail.find_content(small), 13, 6)
    assert np.abs(found[1] - expected).max() < 2e-3
    assert not found[2].any()

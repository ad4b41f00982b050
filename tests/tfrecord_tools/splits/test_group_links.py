"""What links a group of images, with groups made by hand."""

import pandas as pd
import pytest

from tfrecord_tools.io import components
from tfrecord_tools.splits import group_links

COLUMNS = ["image_name", "patient_id", "lesion_id", "image_digest"]


def describe(rows, pairs=None):
    table = pd.DataFrame(rows, columns=COLUMNS, index=range(7, 7 + len(rows)))
    found = None if pairs is None else pd.DataFrame(pairs, columns=["image_name_1", "image_name_2"])
    return group_links.describe_largest(table, components.group_images(table, found), found)


@pytest.mark.parametrize(
    ("rows", "pairs", "linked"),
    [
        ([("a", "P1", "", ""), ("b", "P1", "", ""), ("c", "P2", "", "")], None, "2 images, linked by patient 'P1'"),
        # The lesion links c to the two images of the patient.
        (
            [("a", "P1", "", ""), ("b", "p1", "L1", ""), ("c", "", "l1", ""), ("d", "", "", "")],
            None,
            "3 images, linked by patient 'P1' (2 images) and lesion 'L1' (2 images)",
        ),
        (
            [("a", "P1", "", ""), ("b", "P1", "", ""), ("c", "P2", "", ""), ("d", "P2", "", ""), ("e", "P2", "", "")],
            [("a", "D.jpg"), ("x", "y")],
            "5 images, linked by 2 patients (the largest, 'P2', has 3 images) and 1 listed pairs of duplicates (for "
            "example 'a' and 'D.jpg')",
        ),
        (
            [("ISIC_0000001", "", "", "1f"), ("isic_1.JPG", "", "", ""), ("b", "", "", "1f")],
            [],
            "3 images, linked by 1 photographs under several names (for example 'ISIC_0000001' and 'isic_1.JPG') and "
            "equal bytes of 2 images (for example 'ISIC_0000001' and 'b')",
        ),
        # Two images that are linked only by one that the table lacks.
        (
            [("a", "", "", ""), ("b", "", "", "")],
            [("a", "x"), ("x", "b")],
            "2 images, linked by 2 listed pairs of duplicates (for example 'a' and 'x')",
        ),
        ([("a", "P1", "L1", ""), ("b", "P2", "L2", "")], None, "1 images"),
    ],
)
def test_the_largest_group_is_described_with_all_that_links_it(rows, pairs, linked):
    line = describe(rows, pairs)
    assert line.endswith(f"; the largest has {linked}")
    assert line.startswith(f"{len(rows)} images in ")


def test_lesions_that_are_no_keys_link_nothing():
    rows = [(f"i{lesion}{patient}", patient, str(lesion), "") for lesion in range(1, 6) for patient in ("P1", "P2")]
    assert describe(rows) == (
        "10 images in 2 groups of patients, lesions and duplicates; the largest has 5 images, linked by patient 'P1'"
    )

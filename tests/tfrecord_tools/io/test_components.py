import numpy as np
import pandas as pd
import pytest

from tfrecord_tools.io import components


@pytest.mark.parametrize(
    ("links", "count", "expected"),
    [
        # 0-3 and 3-1 make one component; 2 and 4 are alone.
        ([(0, 3), (3, 1)], 5, [0, 0, 1, 0, 2]),
        # Direction and repetition change nothing.
        ([(1, 0), (0, 1), (1, 0)], 3, [0, 0, 1]),
        # Two separate pairs, given in reverse order.
        ([(2, 3), (0, 1)], 4, [0, 0, 1, 1]),
        # A link from an item to itself.
        ([(1, 1)], 2, [0, 1]),
        # A chain through all items.
        ([(0, 1), (1, 2), (2, 3)], 4, [0, 0, 0, 0]),
        ([], 3, [0, 1, 2]),
    ],
)
def test_label_components_numbers_components_by_first_appearance(links, count, expected):
    labels = components.label_components(np.array(links, np.int64).reshape(-1, 2), count)
    assert labels.tolist() == expected


def test_rows_are_linked_by_their_values_and_blanks_link_nothing():
    columns = [pd.Series(["p", "", "q", "p", ""]), pd.Series(["", "a", "a", "", ""])]
    links, num_items = components.link_rows(columns, 7)
    assert links.tolist() == [[0, 7], [2, 8], [3, 7], [1, 9], [2, 9]]
    assert num_items == 10
    assert components.label_components(links, num_items)[:5].tolist() == [0, 1, 1, 0, 2]
    assert components.link_rows([], 3)[0].shape == (0, 2)


def test_groups_are_chains_of_patients_lesions_photographs_and_pairs():
    table = pd.DataFrame(
        [
            ("ISIC_1", "IP_1", "", "aa"),
            ("ISIC_2", "", "IL_1", "bb"),
            ("ISIC_3", "ip_1", "il_1", "cc"),
            ("x.png", "unknown", "", "dd"),
            ("y", "unknown", "", "dd"),
            ("ISIC_0000002_downsampled", "", "", "ee"),
            ("z", "", "", ""),
            ("w", "", "", ""),
        ],
        columns=["image_name", "patient_id", "lesion_id", "image_digest"],
    )
    assert components.group_images(table).tolist() == [0, 0, 0, 1, 1, 0, 2, 3]
    pairs = pd.DataFrame({"image_name_1": ["isic_0000003", "z"], "image_name_2": ["X", "absent"]})
    assert components.group_images(table, pairs).tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    # z and w are both duplicates of an image that the table does not have.
    pairs = pd.DataFrame({"image_name_1": ["z", "Absent.jpg"], "image_name_2": ["absent", "w"]})
    assert components.group_images(table, pairs).tolist() == [0, 0, 0, 1, 1, 0, 2, 2]


@pytest.mark.parametrize(("num_lesions", "expected"), [(5, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), (4, [0] * 8)])
def test_lesions_that_are_numbered_within_each_patient_do_not_chain_the_patients(num_lesions, expected):
    rows = [(f"i{lesion}{patient}", patient, str(lesion)) for lesion in range(num_lesions) for patient in ("P1", "P2")]
    table = pd.DataFrame(rows, columns=["image_name", "patient_id", "lesion_id"])
    assert components.group_images(table).tolist() == expected

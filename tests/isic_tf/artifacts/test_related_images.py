"""Related images, found by hand."""

import numpy as np
import pandas as pd

from isic_tf.artifacts import related_images


def test_photographs_are_found_by_name_bytes_and_listed_duplicates():
    rows = pd.DataFrame({"image_name": ["ISIC_1", "b", "c", "d"], "image_digest": ["", "0f", "", ""]})
    known = pd.DataFrame({"image_name": ["isic_0001.jpg", "x"], "image_digest": ["", "0f"]})
    assert related_images.find_equal_bytes(rows, known).tolist() == [False, True, False, False]
    assert related_images.find_photographs(rows, known).tolist() == [True, True, False, False]
    # c is a duplicate of b, whose bytes are those of x.
    pairs = pd.DataFrame({"image_name_1": ["C"], "image_name_2": ["b.png"]})
    assert related_images.find_photographs(rows, known, pairs).tolist() == [True, True, True, False]


def test_unknown_bytes_are_not_equal_bytes():
    rows = pd.DataFrame({"image_name": ["a"], "image_digest": [""]})
    assert not related_images.find_equal_bytes(rows, rows).any()
    assert not related_images.find_equal_bytes(rows, rows[["image_name"]]).any()


def test_people_are_found_in_chains_from_known_people_and_from_known_images():
    rows = pd.DataFrame({"patient_key": ["p", "", "q", "q", "", ""], "lesion_key": ["l", "l", "m", "", "", ""]})
    nobody = pd.DataFrame({"patient_key": [""], "lesion_key": [""]})
    shown = np.array([False] * 6)
    assert not related_images.find_people(rows, nobody, shown).any()
    known = pd.DataFrame({"patient_key": ["p"], "lesion_key": [""]})
    assert related_images.find_people(rows, known, shown).tolist() == [True, True, False, False, False, False]
    shown[2] = shown[5] = True
    assert related_images.find_people(rows, nobody, shown).tolist() == [False, False, True, True, False, True]


def test_images_of_nobody_are_groups_of_their_own():
    table = pd.DataFrame({"patient_key": ["", ""], "lesion_key": ["", ""]})
    assert related_images.label_people(table).tolist() == [0, 1]
    assert related_images.label_people(table[:0]).tolist() == []

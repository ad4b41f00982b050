import pytest

from tfrecord_tools import schema
from tfrecord_tools.io import csv_tables


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("sex", "male", 0),
        ("sex", "Female", 1),
        ("sex", "", -1),
        ("anatom_site_general_challenge", "head/neck", 0),
        ("anatom_site_general_challenge", "oral/genital", 5),
        ("anatom_site_general_challenge", "SKIN", -1),
        ("diagnosis", "unknown", 0),
        ("diagnosis", "Keratoacanthoma", -1),
        # Another word before the comma, or none, is no category.
        ("diagnosis", "Suspected melanoma, NOS", -1),
        ("diagnosis", ", melanoma", -1),
        ("age_approx", "unknown", -1),
        ("age_approx", "-1", -1),
        ("diagnosis", "lentigo NOS", 4),
        ("diagnosis", "atypical melanocytic proliferation", 8),
        ("age_approx", "45.0", 45),
        ("age_approx", "0", 0),
        ("age_approx", "", -1),
        ("target", "1", 1),
        ("target", "0.0", 0),
    ],
)
def test_encode_returns_the_published_codes(column, value, code):
    assert schema.encode(column, value) == code


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age_approx", "old", "age_approx must be a number from 0 to 120 or blank, got 'old'"),
        ("age_approx", "-3", "got '-3'"),
        ("age_approx", "nan", "got 'nan'"),
        ("target", "2", "target must be 0 or 1, got '2'"),
        ("target", "0.5", "got '0.5'"),
    ],
)
def test_encode_refuses_values_that_are_not_an_age_or_a_label(column, value, message):
    with pytest.raises(ValueError, match=message):
        schema.encode(column, value)


@pytest.mark.parametrize(
    ("column", "value", "same"),
    [
        ("diagnosis", "MEL", "melanoma"),
        ("diagnosis", "nv", "nevus"),
        ("diagnosis", "BKL", "benign keratosis"),
        ("diagnosis", "akiec", "actinic keratosis"),
        ("diagnosis", "UNK", "unknown"),
        ("anatom_site_general_challenge", "anterior torso", "torso"),
        ("anatom_site_general_challenge", "lateral torso", "torso"),
        ("anatom_site_general_challenge", "Scalp", "head/neck"),
        ("anatom_site_general_challenge", "acral", "palms/soles"),
        ("diagnosis", "Melanoma, NOS", "melanoma"),
        ("diagnosis", "Melanoma in situ, lentigo maligna type", "melanoma"),
        ("diagnosis", "Basal cell carcinoma, nodular", "basal cell carcinoma"),
        ("diagnosis", "Nevus, Atypical, Dysplastic, or Clark", "nevus"),
        ("diagnosis", "Squamous  cell carcinoma in situ, Bowens disease", "squamous cell carcinoma"),
        ("diagnosis", "Lentigo, NOS", "lentigo NOS"),
        ("diagnosis", "Solar or actinic keratosis", "actinic keratosis"),
        ("sex", "F", "female"),
    ],
)
def test_the_name_of_a_category_in_another_data_set_has_its_code(column, value, same):
    assert schema.encode(column, value) == schema.encode(column, same) >= 0


@pytest.mark.realdata
def test_every_diagnosis_and_site_of_ham10000_has_a_code(real_data):
    table = csv_tables.read_table(str(real_data / "ham10000" / "train.csv"), ("diagnosis_code", "anatom_site_general"))
    columns = {"diagnosis_code": "diagnosis", "anatom_site_general": "anatom_site_general_challenge"}
    for column, name in columns.items():
        given = table.loc[table[column] != "", column]
        assert len(given) > 4000
        assert given.map(lambda value, name=name: schema.encode(name, value)).min() >= 0

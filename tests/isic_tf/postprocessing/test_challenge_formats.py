import numpy as np
import pytest

from isic_tf.data.targets import diagnosis_classes
from isic_tf.postprocessing import challenge_formats
from isic_tf.postprocessing.challenge_formats import FORMATS, place_classes

COLUMNS = {
    "isic2018": "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC",
    "isic2019": "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
    "milk10k": "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC",
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_those_of_the_challenge(name):
    wanted = FORMATS[name]
    assert ",".join([wanted.key, *wanted.classes]) == COLUMNS[name]
    # Whatever the order and the case of letters.
    places = place_classes([column.lower() for column in reversed(wanted.classes)], wanted)
    assert list(places.columns.values()) == [[place] for place in reversed(range(len(wanted.classes)))]


def test_the_diagnoses_of_a_run_find_their_columns():
    names = list(diagnosis_classes.CLASSES)
    places = place_classes(names, FORMATS["isic2019"], ["=unknown"])
    found = {column: [names[place] for place in own] for column, own in places.columns.items()}
    assert found["AK"] == ["actinic keratosis"]
    assert found["BKL"] == ["benign keratosis"]
    assert found["UNK"] == []
    assert places.dropped == ["unknown"]
    with pytest.raises(ValueError, match="got squamous cell carcinoma, unknown; name their columns"):
        place_classes(names, FORMATS["isic2018"])
    pairs = ["akiec=squamous cell carcinoma", "NV = unknown"]
    columns = place_classes(names, FORMATS["isic2018"], pairs).columns
    assert columns["AKIEC"] == [names.index("actinic keratosis"), names.index("squamous cell carcinoma")]
    assert columns["NV"] == [0, names.index("unknown")]


@pytest.mark.parametrize(
    ("names", "pairs", "message"),
    [
        (["MEL", "NV"], [], "got none for BCC, AKIEC, BKL, DF, VASC .* have MEL, NV.*--class_map=BCC=,AKIEC=,BKL="),
        (["MEL", "odd"], [], r"got odd; .*--class_map=COLUMN=odd,.*, or leave them out with --class_map==odd"),
        (["MEL"], ["MEL"], "got 'MEL'; correct it"),
        (["MEL"], ["="], "got '='; correct it"),
        (["MEL"], ["X=MEL"], "got 'X=MEL'; correct it"),
        (["MEL"], ["MEL=NV"], "got 'MEL=NV'; correct it"),
        (["MEL"], ["MEL=MEL", "NV=MEL"], "got MEL twice"),
    ],
)
def test_classes_that_do_not_fit_are_refused(names, pairs, message):
    with pytest.raises(ValueError, match=message):
        place_classes(names, FORMATS["isic2018"], pairs)


def test_several_labels_of_a_column_are_not_added_up():
    places = challenge_formats.ClassPlaces({"A": [0, 1], "B": []}, [])
    probabilities = np.array([[0.75, 0.5], [0.25, 0.0]])
    filled = challenge_formats.fill_columns(probabilities, places, adds_up=False)
    assert {name: values.tolist() for name, values in filled.items()} == {"A": [0.75, 0.25], "B": [0, 0]}
    assert challenge_formats.fill_columns(probabilities, places, adds_up=True)["A"].tolist() == [1, 0.25]

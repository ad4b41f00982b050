import base64
import dataclasses
import re

import cv2
import numpy as np

from isic_tf.diagnosis import diagnosis_page, judge, neighbors

FACTS = {
    "name": "run",
    "folds": 5,
    "versions": 1,
    "prevalence": 0.0176,
    "operate_at": "sensitivity:0.9",
    "false_alarm_rate": 0.05,
    "threshold": 0.25,
    "sensitivity": 0.9,
    "specificity": 0.5,
    "benign": 20,
    "malignant": 10,
}


def write(tmp_path, found, facts=FACTS):
    images = np.zeros((len(found), 32, 32, 3), np.uint8)
    images[0] = (200, 100, 50)
    path = str(tmp_path / "page.html")
    assert (
        diagnosis_page.write(path, found, images, np.zeros((len(found), 32, 32), np.float32), facts, "A notice") == path
    )
    return (tmp_path / "page.html").read_text()


def test_figures_are_stated_and_the_most_suspicious_image_is_first(tmp_path):
    low = judge.Diagnosis("low", 0.1, probability=0.004, interval=(0.001, 0.01), above_benign=0.3)
    low = dataclasses.replace(low, above_malignant=0.05, is_called_malignant=False, unlike=1.5)
    high = judge.Diagnosis("high", 0.7, warnings=("dark: Use more light.",), classes={"nevus": 0.25})
    page = write(tmp_path, [low, high])
    assert page.index("<h2>high</h2>") < page.index("<h2>low</h2>")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for part in ("0.4 %", "0.1 to 1.0 %", "30 % of benign, 5 % of malignant", "called benign", "1.50 times the limit"):
        assert part in text
    assert "dark: Use more light." in text
    assert "nevus 0.250" in text
    assert "from a score of 0.2500" in text
    assert "A notice" in text
    assert "5 % are beyond the limit" in text
    assert "no detector" not in text
    # Its own picture comes with each image.
    first = base64.b64decode(re.findall(r"data:image/jpeg;base64,([^\"]+)", page)[2])
    picture = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(picture.astype(int) - (200, 100, 50)).max() < 8


def test_a_run_that_knows_nothing_more_states_the_score_alone(tmp_path):
    facts = {**FACTS, "prevalence": None, "threshold": None, "false_alarm_rate": None}
    page = write(tmp_path, [judge.Diagnosis("a", 0.5)], facts)
    assert "0.5000" in page
    assert "This run has no detector of unlike images, so that was not checked." in page
    for text in ("beyond the limit", "interval", "operating point", "None", "calibrated for"):
        assert text not in page


def test_names_and_warnings_are_escaped_and_nothing_is_loaded(tmp_path):
    other = neighbors.Neighbor('<a>"', "benign", 0.5, "data:image/jpeg;base64,AA")
    found = judge.Diagnosis('<b>"x"', 0.5, warnings=("<script>",), classes={"<i>": 0.5}, neighbors=(other,))
    page = write(tmp_path, [found], {**FACTS, "name": "<u>"})
    for tag in ("<a>", "<b>", "<script>", "<i>0", "<u>"):
        assert tag not in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "default-src 'none'" in page


def test_similar_training_images_are_shown_with_a_warning_only_where_they_are_asked_for(tmp_path):
    other = neighbors.Neighbor("ISIC_1", "malignant", 0.875, "data:image/jpeg;base64,AA")
    page = write(tmp_path, [judge.Diagnosis("a", 0.5, neighbors=(other,))])
    for part in ('alt="The training image ISIC_1, malignant"', "malignant, 0.88", "shows training images of patients"):
        assert part in page
    assert "training images of patients" not in write(tmp_path, [judge.Diagnosis("a", 0.5)])

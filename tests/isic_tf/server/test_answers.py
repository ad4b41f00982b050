import dataclasses

import pydantic
import pytest

from isic_tf.diagnosis import Diagnosis
from isic_tf.server import answers


def test_an_image_has_every_figure_of_a_diagnosis():
    fields = {field.name for field in dataclasses.fields(Diagnosis)}
    # Training images are shown by `diagnose` alone.
    assert fields - {"neighbors"} == set(answers.JudgedImage.model_fields) - {"fold_scores", "picture", "map"}
    one = answers.JudgedImage(**dataclasses.asdict(Diagnosis("image 1", 0.5)), fold_scores=[0.4, 0.6])
    assert one.model_dump()["warnings"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"fold_scores": []},
        {"fold_scores": [[float("nan")]]},
        {"fold_scores": [[1.1]]},
        {"fold_scores": [[0.1, 0.2]]},
        {"prevalence": 1},
        {"x": 1},
    ],
)
def test_a_request_to_calibrate_is_checked(change):
    with pytest.raises(pydantic.ValidationError):
        answers.make_calibrate_request(1)(**{"fold_scores": [[0.5]], "prevalence": 0.1, **change})

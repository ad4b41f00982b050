"""What the endpoints take and answer, as the OpenAPI description lists it."""

from typing import Annotated

import pydantic

# Strict: no truth value counts as a number.
Score = Annotated[float, pydantic.Field(ge=0, le=1, strict=True)]


class Problem(pydantic.BaseModel):
    """Why a request is not answered."""

    detail: str = pydantic.Field(description="One line: what was expected, and what to do.")


class Health(pydantic.BaseModel):
    """That the server answers."""

    status: str = pydantic.Field(description="ok, or failing where the networks cannot be reached.")


class MetadataField(pydantic.BaseModel):
    """A field of the form of /judge that the run uses besides the images: given once for all, or once for each."""

    name: str
    label: str
    choices: list[str] = pydantic.Field(description="The words that it may be; none for a number.")
    least: float | None = pydantic.Field(None, description="Smallest number.")
    most: float | None = pydantic.Field(None, description="Largest number.")


class RunFacts(pydantic.BaseModel):
    """The run that judges, and the limits of a request."""

    notice: str
    name: str
    folds: int = pydantic.Field(description="Networks whose scores are averaged.")
    versions: int = pydantic.Field(description="Flips and turns of each image whose scores are averaged.")
    is_calibrated: bool = pydantic.Field(description="Whether there are probabilities and intervals.")
    has_patient_context: bool = pydantic.Field(description="Whether the images of a request are judged together.")
    prevalence: float | None = pydantic.Field(description="That of the probabilities, where a request gives none.")
    operate_at: str = pydantic.Field(description="The operating point, such as sensitivity:0.9.")
    threshold: float | None = pydantic.Field(description="Score from which an image is called malignant.")
    sensitivity: float | None = pydantic.Field(None, description="Of the threshold, on the out-of-fold images.")
    specificity: float | None = None
    benign: int | None = pydantic.Field(None, description="Benign out-of-fold images.")
    malignant: int | None = None
    false_alarm_rate: float | None = pydantic.Field(
        description="Share of usual images whose `unlike` is above 1; null without a detector of unlike images."
    )
    metadata: list[MetadataField] = pydantic.Field(description="What the run uses besides the images.")
    max_images: int
    max_upload_megabytes: int


class JudgedImage(pydantic.BaseModel):
    """What the run says of one image; see `isic_tf.diagnosis.Diagnosis`."""

    image: str = pydantic.Field(description="Its place in the request, such as: image 1.")
    score: Score = pydantic.Field(description="Mean of the folds; comparable only within a run.")
    fold_scores: list[Score] = pydantic.Field(description="Score of each fold, for /calibrate.")
    probability: Score | None = pydantic.Field(description="Calibrated; null without a calibration.")
    interval: tuple[Score, Score] | None = pydantic.Field(description="Both ends of its 95 % interval.")
    context_probability: Score | None = pydantic.Field(description="By the patient-context model; null without one.")
    other_images: int = pydantic.Field(0, description="Images of the patient that this model judged it beside.")
    above_benign: Score | None = pydantic.Field(description="Share of benign out-of-fold images with a lower score.")
    above_malignant: Score | None = pydantic.Field(description="Share of malignant ones.")
    is_called_malignant: bool | None = pydantic.Field(description="Whether the score reaches the operating point.")
    unlike: float | None = pydantic.Field(description="Above 1: unlike the training images; null where unknown.")
    warnings: list[str] = pydantic.Field(description="What speaks against trusting the score.")
    classes: dict[str, float] = pydantic.Field(description="Probability of each class, of a run with several.")
    picture: str | None = pydantic.Field(None, description="As the networks see it: a data address of a JPEG.")
    map: str | None = pydantic.Field(None, description="Grad-CAM map over it, likewise.")


class Judged(pydantic.BaseModel):
    """The images of a request, in its order."""

    notice: str
    prevalence: float | None = pydantic.Field(description="That of the probabilities.")
    images: list[JudgedImage]


class Calibrated(pydantic.BaseModel):
    """A probability with both ends of its 95 % interval."""

    probability: Score
    interval: tuple[Score, Score]


def make_calibrate_request(folds: int) -> type[pydantic.BaseModel]:
    """Makes the model of a request to /calibrate: scores of images, and the prevalence to calibrate them for.

    Args:
        folds: Scores of each image.

    Returns:
        Model with `fold_scores` (list of lists of scores) and `prevalence`.
    """
    own = Annotated[list[Score], pydantic.Field(min_length=folds, max_length=folds)]
    scores = pydantic.Field(min_length=1, max_length=200, description="Of each image, as /judge answered them.")
    return pydantic.create_model(
        "CalibrateRequest",
        __config__=pydantic.ConfigDict(extra="forbid"),
        fold_scores=(Annotated[list[own], scores], ...),
        prevalence=(Annotated[float, pydantic.Field(gt=0, lt=1, strict=True)], ...),
    )

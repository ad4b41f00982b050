"""Options of patient-context models."""

import dataclasses

from isic_tf.distribution.config import StrategyConfig
from tfrecord_tools import cli

# They put a score in relation to the patient's other lesions, and need no fit.
RELATIVE_METHODS = ("z_score", "ratio", "rank")
METHODS = (*RELATIVE_METHODS, "boost", "set")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextConfig(StrategyConfig):
    """Options for fitting and evaluating a patient-context model.

    Examples:
        >>> ContextConfig(method="rank").method
        'rank'
        >>> ContextConfig(permutations=-1)
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: expected permutations of at least 0, got -1
    """

    embeddings: str | None = cli.option(
        None,
        help="NumPy archive (.npz) of the embeddings of these images, from isic_tf.predict --embeddings; with --oof, "
        "from --out_of_fold.",
    )
    method: str = cli.option(
        "boost",
        choices=METHODS,
        help="z_score, ratio, rank: the score relative to the patient's other lesions, nothing is fitted; boost: "
        "gradient boosting on features of both; set: a set transformer over all lesions of a patient.",
    )
    no_patient_context: bool = cli.option(
        False,
        help="Use score and metadata only, where rules forbid the patient's other images; the sidecar records this.",
    )
    columns: tuple[str, ...] = cli.option(
        (),
        help="Numeric columns of the table of metadata to fit on as well, separated by commas, such as "
        "tbp_lv_areaMM2; only for boost and set. Each is standardized, and compared with the patient's other lesions.",
    )
    join: str = cli.option(
        "equal",
        choices=("equal", "inner"),
        help="equal: all files must hold the same images; inner: use the images that all files hold.",
    )
    permutations: int | None = cli.option(
        None,
        lower=0,
        upper=10_000,
        help="Evaluations with shuffled patients, as a control; 10 if not given, 1 for set.",
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Random seed.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextFilesConfig(ContextConfig):
    """Options for fitting or applying a patient-context model, and the files that are read and written."""

    oof: tuple[str, ...] | None = cli.option(
        None, help="Out-of-fold predictions of image-level models (oof.csv of runs), one per model, to fit on."
    )
    predictions: tuple[str, ...] | None = cli.option(
        None, help="Prediction files or submissions of the same models in the same order, to apply --model_dir to."
    )
    metadata: str = cli.option(
        help="CSV file with image_name, patient_id and, where known, age_approx, sex, anatom_site_general_challenge; "
        "with --oof also target."
    )
    model_dir: str | None = cli.option(
        None, help="Directory of the patient-context model: written with --oof, read with --predictions."
    )
    output: str = cli.option(
        help="CSV file to write: image_name, prediction, stage_one (with --oof also fold, target)."
    )
    sample_submission: str | None = cli.option(
        None, help="With --predictions: write a submission instead, image_name, target, in the order of this file."
    )

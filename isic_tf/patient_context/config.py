"""Options of patient-context models."""

import dataclasses

from isic_tf.data import clinical_metadata
from isic_tf.distribution.config import StrategyConfig
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables

# They put a score in relation to the patient's other lesions, and need no fit.
RELATIVE_METHODS = ("z_score", "ratio", "rank")
METHODS = (*RELATIVE_METHODS, "boost", "set")
# Files of a fitted model.
STAGE_FILE = "context.json"
BOOST_FILE = "boost.npz"
SET_DIRECTORY = "set"
SET_WEIGHTS_FILE = "set.npz"
SET_FACTS_FILE = "set.json"
MODEL_FILES = (STAGE_FILE, BOOST_FILE, f"{SET_DIRECTORY}/{SET_WEIGHTS_FILE}", f"{SET_DIRECTORY}/{SET_FACTS_FILE}")


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
        path="read",
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

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: They do not.
        """
        super().__post_init__()
        if self.no_patient_context and self.method != "boost":
            raise errors.ConfigError(
                f"--method={self.method} needs patient context; with --no_patient_context use --method=boost"
            )
        numeric = clinical_metadata.parse_numeric(",".join(self.columns), "--columns")
        others = [name for name in self.columns if name not in numeric]
        if others:
            raise errors.ConfigError(
                f"expected --columns to be numeric columns of --metadata, got {', '.join(others)}: age, sex and site "
                "are used in any case; leave them out"
            )
        if numeric and self.method in RELATIVE_METHODS:
            raise errors.ConfigError(
                f"expected no --columns with --method={self.method}, which fits nothing, got {', '.join(numeric)}; "
                "leave them out, or use --method=boost"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextFilesConfig(ContextConfig):
    """Options for fitting or applying a patient-context model, and the files that are read and written."""

    oof: tuple[str, ...] | None = cli.option(
        None,
        path="read",
        help="Out-of-fold predictions of image-level models (oof.csv of runs), one per model, to fit on.",
    )
    predictions: tuple[str, ...] | None = cli.option(
        None,
        path="read",
        help="Prediction files or submissions of the same models in the same order, to apply --model_dir to.",
    )
    metadata: str = cli.option(
        path="read",
        help="CSV file with image_name, patient_id and, where known, age_approx, sex, anatom_site_general_challenge; "
        "with --oof also target.",
    )
    model_dir: str | None = cli.option(
        None,
        path="directory",
        files=MODEL_FILES,
        help="Directory of the patient-context model: written with --oof, read with --predictions.",
    )
    output: str = cli.option(
        path="write", help="CSV file to write: image_name, prediction, stage_one (with --oof also fold, target)."
    )
    sample_submission: str | None = cli.option(
        None,
        path="read",
        help="With --predictions: write a submission instead, image_name, target, in the order of this file.",
    )

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: They do not.
        """
        super().__post_init__()
        if bool(self.oof) == bool(self.predictions):
            received = "both" if self.oof else "neither"
            raise errors.ConfigError(
                "expected either --oof, to fit a patient-context model, or --predictions, to apply the one in "
                f"--model_dir, got {received}"
            )
        if self.predictions and not self.model_dir:
            raise errors.ConfigError(
                "expected --model_dir with --predictions: the directory that a call with --oof wrote"
            )
        if self.predictions and self.columns:
            raise errors.ConfigError(
                "expected --columns only with --oof: the model in --model_dir knows its columns; leave it out"
            )
        if self.oof and self.sample_submission:
            raise errors.ConfigError(
                "expected --sample_submission only with --predictions: out-of-fold predictions are not a submission"
            )

    def check_inputs(self) -> None:
        """Checks that the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        csv_tables.check_paths(*(self.oof or ()), *(self.predictions or ()), self.metadata, self.sample_submission)

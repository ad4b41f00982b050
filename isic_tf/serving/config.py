"""Options of export."""

import dataclasses

from isic_tf.artifacts import run_directory
from isic_tf.patient_context.config import MODEL_FILES
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables, filesystem, record_index

FORMATS = ("saved_model", "tflite", "onnx")
# Numeric formats of a TensorFlow Lite model.
FORMS = ("float32", "float16", "int8")
_FLOAT32 = {"saved_model": "a SavedModel", "onnx": "an ONNX model"}
_LISTS = {"labels": "labels", "table": "describes"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(cli.Config):
    """Options for exporting a run.

    Examples:
        >>> config = ExportConfig(workdir="runs/b0", output="exported", format="tflite", quantize="float32,float16")
        >>> config.quantize
        ('float32', 'float16')
        >>> ExportConfig(workdir="runs/b0", output="exported", labels="train.csv")
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: --labels needs --records: the shards of the images that it labels
    """

    workdir: str = cli.option(path="read", help="Run directory with at least one trained fold.")
    output: str = cli.option(path="directory", help="Directory to write; new or empty.")
    format: str = cli.option(
        "saved_model",
        choices=FORMATS,
        help="saved_model takes JPEG or PNG files, or RGB images; tflite takes an RGB image, onnx a batch.",
    )
    fold: str = cli.option("all", help="Number of a fold, full, or all: the average of all trained folds.")
    quantize: tuple[str, ...] = cli.option(
        ("float32",), help=f"With --format=tflite: numeric formats to write, one file each: {', '.join(FORMS)}."
    )
    tta: int = cli.option(
        1, lower=1, upper=8, help="Versions of each image (flips and turns) that a SavedModel averages; as in predict."
    )
    context: str | None = cli.option(
        None,
        path="read",
        files=MODEL_FILES,
        help="Directory of a patient-context model fitted by isic_tf.context: a SavedModel then judges a patient's "
        "images together.",
    )
    records: str | None = cli.option(
        None,
        path="read",
        help="Glob pattern of shards to compare the exported model with the run on; required for int8.",
    )
    labels: str | None = cli.option(
        None,
        path="read",
        help="Labels (CSV) for also reporting the ROC AUC lost by conversion: image_name, patient_id, target.",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="With --records: CSV file with image_name and the numeric columns that the run, or the model of "
        "--context, was trained with (--metadata, --columns).",
    )
    threads: int = cli.option(
        0,
        lower=0,
        upper=1024,
        help="Threads of TensorFlow Lite and ONNX Runtime in the comparison; 0 uses all available cores.",
    )

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: A form is unknown, or options contradict each other.
        """
        super().__post_init__()
        received = ",".join(self.quantize)
        if not self.quantize or not set(self.quantize) <= set(FORMS):
            raise errors.ConfigError(f"expected --quantize to be some of {','.join(FORMS)}, got {received!r}")
        if self.format != "tflite" and self.quantize != ("float32",):
            raise errors.ConfigError(
                f"--quantize={received} needs --format=tflite: {_FLOAT32[self.format]} is always float32; leave one of "
                "them out"
            )
        if self.tta > 1 and self.format != "saved_model":
            raise errors.ConfigError(
                f"--tta={self.tta} needs --format=saved_model; leave it out, and average the versions in the client"
            )
        if self.context and self.format != "saved_model":
            raise errors.ConfigError(
                f"expected --context with --format=saved_model, got {self.format}, which predicts single images; leave "
                "one of them out"
            )
        if "int8" in self.quantize and not self.records:
            raise errors.ConfigError("--quantize=int8 needs --records: the ranges of activations are taken from images")
        for name, path in (("labels", self.labels), ("table", self.table)):
            if path and not self.records:
                raise errors.ConfigError(f"--{name} needs --records: the shards of the images that it {_LISTS[name]}")

    def check_inputs(self) -> None:
        """Checks that the run, the shards and the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        refuse_existing(self.output)
        run_directory.check_trained(self.workdir)
        if self.records:
            record_index.match_shards(self.records)
        csv_tables.check_paths(self.labels, self.table)


def refuse_existing(output: str) -> None:
    """Raises a ConfigError for a directory to write that is not new or empty."""
    if filesystem.exists(output) and (not filesystem.isdir(output) or filesystem.listdir(output)):
        raise errors.ConfigError(f"expected --output to be a new or empty directory, but {output} is not; name another")

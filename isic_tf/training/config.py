"""The configuration of a training run; see `config_checks` for the rules that its options follow together."""

import dataclasses
import os
from typing import Any, ClassVar

from isic_tf.artifacts import person_numbers, run_directory, run_flags
from isic_tf.augmentation import policies, presets
from isic_tf.distribution.config import StrategyConfig
from isic_tf.models.config import ModelConfig
from isic_tf.optim.config import OptimizerConfig
from isic_tf.training import config_checks
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables, filesystem, record_index

LOSSES = ("cross_entropy", "focal", "auc")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(cli.Config):
    """Options of the training data and the input pipeline."""

    data_dir: str = cli.option(
        path="read", help="Directory of a record set with its index and folds; separate several with commas."
    )
    extra_data_dir: str = cli.option(
        "",
        path="read",
        help="Directories of record sets used for training only, never held out; separate several with commas.",
    )
    mix: str = cli.option(
        "", help="Occurrences per epoch of each record of a set, such as 'ham=0.5'; 1 for sets not named."
    )
    patients_are: str | None = cli.option(
        None,
        choices=person_numbers.CHOICES,
        help="Where several record sets, or the weights to start from, number their patients: whether equal numbers "
        "are the same people or different ones. Only needed where the sets cannot tell.",
    )
    duplicates: str | None = cli.option(
        None,
        path="read",
        help="CSV files of duplicate pairs, separated by commas: training records that duplicate a held-out image are "
        "dropped.",
    )
    pseudo_csv: str | None = cli.option(
        None, path="read", help="Prediction file: soft pseudo-labels for test records and for unlabeled extra records."
    )
    pseudo_weight: float = cli.option(
        0.0,
        lower=0.0,
        upper=1.0,
        help="Distillation: share of the prediction of --pseudo_csv in the label of each labeled image that it names; "
        "0 leaves these labels as they are. The predictions must be of networks that hold out the same fold.",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and the columns of --target=column:NAME or columns:A,B, and the numeric columns "
        "of --metadata, for the images of all record sets; it may list others.",
    )
    malignant_oversampling: int = cli.option(
        1, lower=1, upper=1000, help="Occurrences per epoch of each malignant record, or one of --positive_classes."
    )
    balance: float = cli.option(
        0.0,
        lower=0.0,
        upper=0.99,
        help="Fraction of malignant records, or those of --positive_classes, in an epoch; 0 keeps the prevalence.",
    )
    augment_policy: str = cli.option(
        "light", path="read", help=f"Augmentation policy: {', '.join(presets.PRESETS)}, or the path of a JSON file."
    )
    augment_strength: float = cli.option(
        1.0, lower=0.0, upper=5.0, help="Factor on the strength of the augmentation policy; 0 disables augmentation."
    )
    cache: str = cli.option(
        "none",
        path="directory",
        help="Where to cache decoded images: none, memory, or a directory that later runs reuse.",
    )
    shuffle_buffer: int = cli.option(2048, lower=1, help="Size of the shuffle buffer, in records (JPEG bytes).")
    on_corrupt: str = cli.option(
        "stop",
        choices=("stop", "skip"),
        help="How to handle unreadable records: stop with an error, or skip and list them.",
    )
    threads: int = cli.option(
        0, lower=0, upper=1024, help="Number of parallel image decoders; 0 uses all available cores."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig, ModelConfig, OptimizerConfig, StrategyConfig):
    """The configuration of a training run; each field is a flag of `python -m isic_tf.train`.

    Raises:
        ConfigError: A value has the wrong type, is out of range, or is not one of the choices. Options that contradict
            each other are found by `train`.

    Examples:
        >>> config = TrainConfig(data_dir="records/384", workdir="runs/b0", fold="all", epochs=10)
        >>> config.backbone
        'efficientnet-lite0'
    """

    RENAMED: ClassVar[dict[str, str]] = run_flags.RENAMED_FLAGS

    epochs: int = cli.option(
        None,
        lower=1,
        derive=lambda config: 30 if config.is_probe else OptimizerConfig.epochs,
        help=f"Passes over the training images; where not given, {OptimizerConfig.epochs}, and 30 with "
        "--freeze_epochs=all.",
    )
    learning_rate: float = cli.option(
        None,
        lower=0.0,
        upper=1e30,
        derive=lambda config: 3e-3 if config.is_probe else OptimizerConfig.learning_rate,
        help=f"Peak learning rate; where not given, {OptimizerConfig.learning_rate}, and 0.003 with "
        "--freeze_epochs=all.",
    )
    workdir: str = cli.option(path="directory", help="Run directory: one configuration, one subdirectory per fold.")
    fold: str = cli.option("0", help="Fold to hold out; 'all': each in turn; 'full': hold out nothing.")
    init_from: str = cli.option(
        "", path="read", help="Run directory, or fold directory in one, whose trained weights to start from."
    )
    loss: str = cli.option(
        "cross_entropy",
        choices=LOSSES,
        help="Loss: cross_entropy, focal, or auc (a pairwise surrogate of the ROC AUC; its predictions are ranks, "
        "not probabilities).",
    )
    label_smoothing: float = cli.option(
        0.05, lower=0.0, upper=0.99, help="Label smoothing s: with two classes, targets become s/2 and 1 - s/2."
    )
    focal_gamma: float = cli.option(2.0, lower=0.0, upper=10.0, help="Exponent of the focal loss.")
    malignant_weight: float = cli.option(
        1.0, lower=0.0, upper=1000.0, help="Loss weight of malignant images, or of those of --positive_classes."
    )
    global_batch_size: int = cli.option(32, lower=1, help="Images per step, over all replicas.")
    clip_norm: float = cli.option(
        0.0, lower=0.0, help="Largest global norm of the gradients; 0 disables gradient clipping."
    )
    gradient_accumulation_steps: int = cli.option(
        1, lower=1, help="Gradient accumulation: split each replica's batch into this many micro-batches."
    )
    ema: float = cli.option(
        0.0,
        lower=0.0,
        upper=1.0,
        help="Decay of the moving average of weights and batch statistics that is evaluated and kept; 0 disables it.",
    )
    backbone_lr_multiplier: float = cli.option(1.0, lower=0.0, help="Factor on the learning rate of the backbone.")
    layer_decay: float = cli.option(
        1.0,
        lower=0.01,
        upper=1.0,
        help="Factor on the learning rate from each block of the backbone to the block before it; 1 disables it.",
    )
    freeze_epochs: str = cli.option(
        "0",
        help="Epochs during which the backbone, including its batch statistics, is frozen; all: a linear probe, which "
        "computes the features of each image once, in its eight rotations and flips, and trains the head on them.",
    )
    sync_batch_norm: bool = cli.option(False, help="Synchronize batch normalization statistics over replicas.")
    keep_weights: str = cli.option(
        "best",
        choices=("best", "last"),
        help="Which epoch's weights to keep: the best on the held-out fold (its AUC is then slightly optimistic), or "
        "the last.",
    )
    early_stop_patience: int = cli.option(
        0, lower=0, help="Stop after this many epochs without a better validation AUC; 0 disables."
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of initial weights, order and augmentation.")
    deterministic: bool = cli.option(False, help="Make results bit-for-bit reproducible on the same device; slower.")
    save_steps: int = cli.option(1000, lower=1, help="Steps between checkpoints, besides one per epoch.")
    steps_per_execution: int = cli.option(
        1, lower=1, help="Steps that the device runs without returning to the host; raise it on TPUs."
    )
    tensorboard: bool = cli.option(True, help="Write TensorBoard events into the fold's directory.")
    profile: str = cli.option("", help="First and last step to profile for TensorBoard, such as 10:20.")
    dry_run: bool = cli.option(False, help="Run a few steps, estimate time and memory, and write nothing.")
    compile_for: str = cli.option(
        "",
        help="With --dry_run: instead of running steps, compile them for a TPU that need not be there, such as v5e:1x1 "
        "(one chip) or v3:2x2; separate several with commas.",
    )

    def __post_init__(self) -> None:
        """Checks the options, and that `freeze_epochs` is a number or `all`.

        Raises:
            ConfigError: A value is not allowed.
        """
        super().__post_init__()
        if not self.is_probe:
            object.__setattr__(self, "freeze_epochs", str(_parse_epochs(self.freeze_epochs)))

    def check_inputs(self) -> None:
        """Checks that options fit each other, and that record sets and tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        if self.compile_for:
            # It reads no record.
            return
        config_checks.check_choices(self)
        policies.check_name(self.augment_policy)
        for directory in filesystem.split_list(f"{self.data_dir},{self.extra_data_dir}"):
            record_index.check_index(directory, "train")
        csv_tables.check_paths(self.table, self.pseudo_csv)

    @property
    def is_probe(self) -> bool:
        """Whether only the head is trained, on features that are computed once, see `linear_probe`."""
        return self.freeze_epochs == "all"

    @property
    def num_frozen_epochs(self) -> int:
        """Epochs during which the backbone is frozen: all of them with a linear probe."""
        return self.epochs if self.is_probe else int(self.freeze_epochs)

    @property
    def trains_backbone_apart(self) -> bool:
        """Whether the backbone has an optimizer of its own: for another rate, or since it is unfrozen later."""
        return self.backbone_lr_multiplier != 1 or (self.num_frozen_epochs > 0 and not self.is_probe)

    def settings(self) -> dict[str, Any]:
        """Returns the options that `flags.txt` records: all except `workdir`, `fold`, `dry_run` and `compile_for`."""
        names = {field.name for field in dataclasses.fields(self)} - {"workdir", "fold", "dry_run", "compile_for"}
        return {name: getattr(self, name) for name in sorted(names)}

    @classmethod
    def from_run(cls, run: str | os.PathLike[str]) -> "TrainConfig":
        """Reads the configuration of a run back from its `flags.txt`; runs of release 0.1 too.

        Args:
            run: Run directory, or a `Run`.

        Returns:
            The configuration, with the default `fold`, which a run directory does not record.

        Raises:
            CorruptRecordError: A flag of the run is damaged.
            IsicError: The directory does not hold a run.
        """
        workdir = os.fspath(run)
        flags = run_directory.read_flags(workdir)
        return run_directory.parse_config(cls, workdir, {**flags, "workdir": workdir})


def _parse_epochs(text: str) -> int:
    """Parses the number of frozen epochs."""
    # Longer numbers do not fit into a tensor.
    if not text.isdecimal() or len(text) > 18:
        raise errors.ConfigError(f"expected freeze_epochs to be a whole number from 0, or all, got {text!r}")
    return int(text)

"""Checks that the options of a training run fit together and fit the devices; imports no TensorFlow."""

import logging
import re
from typing import TYPE_CHECKING

from isic_tf.artifacts import prediction_sidecar
from isic_tf.augmentation import policies
from isic_tf.data import clinical_metadata, targets
from isic_tf.models import backbones
from isic_tf.models.pretrained import weights_table
from isic_tf.training.linear_probe import probe_checks
from tfrecord_tools import errors
from tfrecord_tools.io import column_names

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

_LOG = logging.getLogger(__name__)


def check_options(config: "TrainConfig", replicas: int, on_tpu: bool) -> None:
    """Checks that the options of a run fit each other and a number of devices, which need not be there.

    Args:
        config: The configuration of the run.
        replicas: Number of devices.
        on_tpu: Whether they are cores of a TPU.

    Raises:
        ConfigError: They do not.
        LeakageError: Predictions to learn from are of networks that know labels of the held-out fold.
    """
    check_choices(config)
    policies.read_policy(config.augment_policy)
    _check_batch_size(config, replicas)
    _check_batch_norm(config, replicas)
    if on_tpu and config.precision == "mixed_float16":
        raise errors.ConfigError(
            "expected --precision=mixed_bfloat16 or float32 on a TPU, got mixed_float16; use mixed_bfloat16"
        )
    if config.context == "set":
        check_bags(config, replicas)


def check_choices(config: "TrainConfig") -> None:
    """Checks that the options of a run fit each other, whatever the devices.

    Args:
        config: The configuration of the run.

    Raises:
        ConfigError: They do not, or a file of weights does not exist.
    """
    _check_precision(config)
    _check_layer_decay(config)
    if config.is_probe:
        probe_checks.check_probe(config)
    _check_loss(config)
    _check_target(config)
    _check_pseudo_labels(config)
    _check_initial_weights(config)
    _check_early_stopping(config)
    _check_metadata(config)
    parse_profile(config.profile)


def parse_profile(text: str) -> tuple[int, int] | None:
    """Parses the option `--profile`.

    Args:
        text: Such as `10:20`; "" for no profile.

    Returns:
        First and last step to profile, counted from 1; None for "".

    Raises:
        ConfigError: The text is not two step numbers, of which the first is at least 1 and below the second.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    first, last = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 0 < first < last:
        raise errors.ConfigError(f"expected --profile=FIRST:LAST, steps counted from 1 such as 10:20, got {text!r}")
    return first, last


def check_bags(config: "TrainConfig", replicas: int) -> None:
    """Checks the options of a run whose batches are bags of one patient's images (`--context=set`).

    Args:
        config: The configuration of the run.
        replicas: Number of devices.

    Raises:
        ConfigError: The bags do not fit the batch, or would mix or repeat lesions.
    """
    _check_batch_size(config, replicas, config.bag_size)
    mixes = sorted(set(policies.read_policy(config.augment_policy, config.augment_strength)) & set(policies.MIXES))
    if mixes:
        raise errors.ConfigError(
            f"expected an --augment_policy without {' and '.join(mixes)} with --context=set, got "
            f"{config.augment_policy}: a mix of two lesions belongs to no patient; use another policy, such as light"
        )
    if config.malignant_oversampling != 1 or config.balance:
        raise errors.ConfigError(
            "expected --malignant_oversampling=1 and --balance=0 with --context=set, got "
            f"{config.malignant_oversampling} and {config.balance}: oversampling would put a malignant lesion twice in "
            "one bag and leak its label; use --malignant_weight"
        )


def _check_batch_size(config: "TrainConfig", replicas: int, bag_size: int = 1) -> None:
    """Checks that replicas, and their micro-batches, can share the batch evenly, in complete bags."""
    micro_batches = config.gradient_accumulation_steps
    unit = replicas * micro_batches * bag_size
    if config.global_batch_size % unit:
        factors = [f"{replicas} replicas"]
        if micro_batches > 1:
            factors.append(f"{micro_batches} micro-batches")
        if bag_size > 1:
            factors.append(f"bags of {bag_size}")
        suggestion = -(-config.global_batch_size // unit) * unit
        raise errors.ConfigError(
            f"expected a global batch size divisible by {unit} ({' x '.join(factors)}), got "
            f"{config.global_batch_size}; use --global_batch_size={suggestion}"
        )


def _check_precision(config: "TrainConfig") -> None:
    if config.precision == "mixed_float16" and config.trains_backbone_apart:
        # Two optimizers would scale one loss.
        raise errors.ConfigError(
            "expected --backbone_lr_multiplier=1 and --freeze_epochs=0 with --precision=mixed_float16, got "
            f"{config.backbone_lr_multiplier} and {config.freeze_epochs}; use --precision=mixed_bfloat16"
        )


def _check_layer_decay(config: "TrainConfig") -> None:
    if config.layer_decay != 1 and config.optimizer == "ranger":
        # It keeps slow weights of its own, which the update would not scale.
        raise errors.ConfigError(
            "expected --layer_decay=1 with --optimizer=ranger, which updates all weights at one rate, got "
            f"{config.layer_decay}; use --optimizer=radam"
        )


def _check_batch_norm(config: "TrainConfig", replicas: int) -> None:
    if config.sync_batch_norm and config.gradient_accumulation_steps > 1 and replicas > 1:
        # TensorFlow does not allow communication between replicas in a loop of the graph.
        raise errors.ConfigError(
            "expected --gradient_accumulation_steps=1 with --sync_batch_norm on several replicas, got "
            f"{config.gradient_accumulation_steps}; leave out one of the two"
        )


def _check_loss(config: "TrainConfig") -> None:
    if config.loss != "auc":
        return
    if config.gradient_accumulation_steps > 1:
        raise errors.ConfigError(
            "expected --gradient_accumulation_steps=1 with --loss=auc, which compares all images of a batch, got "
            f"{config.gradient_accumulation_steps}; use 1, or another --loss"
        )
    if config.malignant_weight != 1:
        raise errors.ConfigError(
            "expected --malignant_weight=1 with --loss=auc, which compares malignant with benign images in pairs, got "
            f"{config.malignant_weight}; use 1, or another --loss"
        )


def _check_target(config: "TrainConfig") -> None:
    kind, _ = targets.parse_target(config.target)
    is_of_table = kind in ("column", "columns")
    if is_of_table and not config.table and not config.compile_for:
        raise errors.ConfigError(
            f"expected --table=FILE.csv with --target={config.target}, the table that has the column, got none; add it"
        )
    if not is_of_table or config.classes or config.compile_for:
        # Otherwise the classes are not known before the table is read.
        config.class_set  # noqa: B018


def _check_metadata(config: "TrainConfig") -> None:
    numeric = clinical_metadata.parse_numeric(config.metadata)
    _, targets_columns = targets.parse_target(config.target)
    # Columns of the target are found in any case of letters.
    folded = {column_names.fold(name) for name in targets_columns}
    leaked = [name for name in numeric if column_names.fold(name) in folded]
    if leaked:
        raise errors.ConfigError(
            f"--metadata={','.join(leaked)} is refused: it is the --target; leave it out of --metadata"
        )
    if config.table and not numeric and not targets_columns:
        raise errors.ConfigError(
            f"expected --table only with --target=column:NAME or columns:A,B, or numeric columns in --metadata, got "
            f"{config.table} with --target={config.target}; leave it out, or name the columns to use"
        )
    if numeric and not config.table and not config.compile_for:
        raise errors.ConfigError(
            f"expected --metadata to be some of {','.join(clinical_metadata.FIELDS)}, or numeric columns of a table, "
            f"got {', '.join(map(repr, numeric))} without --table; add --table=FILE.csv, or correct --metadata"
        )


def _check_pseudo_labels(config: "TrainConfig") -> None:
    if config.pseudo_csv and config.target != "binary":
        raise errors.ConfigError(
            "expected --target=binary with --pseudo_csv, whose predictions are no classes, got "
            f"{config.target}; use --target=binary, or leave out --pseudo_csv"
        )
    if config.pseudo_weight and not config.pseudo_csv:
        raise errors.ConfigError(
            f"expected --pseudo_csv with --pseudo_weight={config.pseudo_weight}, got none; add the predictions of the "
            "teacher, or leave out --pseudo_weight"
        )
    if config.pseudo_weight and config.fold != "full":
        _refuse_leaking_teacher(config)


def _refuse_leaking_teacher(config: "TrainConfig") -> None:
    """Refuses predictions for labeled images by networks that were trained on the labels of the held-out fold."""
    if not config.fold.isdigit():
        raise errors.LeakageError(
            f"expected the number of one fold as --fold with --pseudo_weight, got {config.fold}: one file of "
            "predictions holds out one fold; train each in a run directory of its own"
        )
    fold = prediction_sidecar.read_fold(config.pseudo_csv or "")
    if fold is None:
        _LOG.warning(
            f"note: {config.pseudo_csv} does not say which networks it is of; those that were trained on fold "
            f"{config.fold} would tell the student its held-out labels"
        )
    elif fold != config.fold:
        raise errors.LeakageError(
            f"expected predictions of fold {config.fold} alone as --pseudo_csv of a student that holds it out, got "
            f"{config.pseudo_csv} of {fold}, with networks that know its held-out labels; use "
            f"isic_tf.predict --fold={config.fold}"
        )


def _check_initial_weights(config: "TrainConfig") -> None:
    if config.init_from and config.weights not in backbones.WEIGHTS:
        raise errors.ConfigError(
            f"--init_from and --weights=PATH are mutually exclusive, got {config.init_from} and {config.weights}; "
            "leave out one of them"
        )
    path = backbones.weights_path(config.weights)
    if path:
        weights_table.check_file(path)
    elif not config.init_from:
        backbones.check_weights(config.backbone, config.weights)


def _check_early_stopping(config: "TrainConfig") -> None:
    if config.fold == "full" and config.early_stop_patience:
        raise errors.ConfigError(
            "expected --early_stop_patience=0 with --fold=full, where nothing is held out to evaluate, got "
            f"{config.early_stop_patience}; limit the training by --epochs"
        )

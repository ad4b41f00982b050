"""Options of a classifier."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, targets
from isic_tf.models import backbones
from tfrecord_tools import cli

POOLINGS = ("gap", "gem")
CONTEXTS = ("none", "set")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(cli.Config):
    """The architecture of a classifier, and the weights that it starts from.

    Examples:
        >>> ModelConfig(image_size=256, pooling="gem").head_options()["pooling"]
        'gem'
    """

    image_size: int = cli.option(384, lower=32, upper=4096, help="Side of the square input images, in pixels.")
    backbone: str = cli.option(
        "efficientnet-lite0",
        help=f"Image encoder: {', '.join(backbones.BACKBONES)}; or module:function, a function of your own that "
        "receives the image size and returns a Keras model from images in [0, 1] to a feature map.",
    )
    weights: str = cli.option(
        None,
        derive=lambda config: backbones.default_weights(config.backbone),
        path="read",
        help=f"Initial weights: {', '.join(backbones.WEIGHTS)}, or the path of a weights file; where not given, "
        "noisy-student for EfficientNet B0 to B7, imagenet for others, and none where nothing is published, as for "
        "efficientnet-l2 and your own.",
    )
    pooling: str = cli.option(
        "gap",
        choices=POOLINGS,
        help="Pooling of the feature map: gap (global average) or gem (generalized mean with a learned exponent).",
    )
    hidden_units: int = cli.option(
        0, lower=0, upper=65536, help="Units of a hidden layer before the logits; 0 for no hidden layer."
    )
    dropout: float = cli.option(0.2, lower=0.0, upper=0.95, help="Dropout rate before the logits.")
    dropout_samples: int = cli.option(
        1, lower=1, upper=64, help="Multi-sample dropout: number of dropout masks whose logits are averaged."
    )
    metadata: str = cli.option(
        "",
        help="Metadata that the model receives besides the image, separated by commas: any of "
        f"{','.join(clinical_metadata.FIELDS)}, and numeric columns of --table by their names, such as tbp_lv_areaMM2.",
    )
    context: str = cli.option(
        "none",
        choices=CONTEXTS,
        help="Patient context; set: a set transformer corrects each lesion's logit by the patient's other lesions, "
        "trained end to end with the backbone.",
    )
    bag_size: int = cli.option(
        8, lower=2, upper=64, help="With --context=set: images of one patient that are trained on together."
    )
    target: str = cli.option(
        "binary",
        help="Prediction target: binary (malignant or not); diagnosis (nine classes, melanoma among them); "
        "column:NAME, the classes of a column of --table; or columns:A,B, several columns of 0 and 1 of --table "
        "(multi-label).",
    )
    classes: str = cli.option(
        "",
        help="Classes of --target=column:NAME, separated by commas; where not given, all values of the column, sorted.",
    )
    positive_classes: str = cli.option(
        "",
        help="Classes that make the single score, the column prediction, separated by commas, such as MEL,BCC,SCC; "
        "where not given, those of melanoma by their names, or 1 of 0 and 1.",
    )

    def __post_init__(self) -> None:
        """Checks the options, and that there are such a backbone and target.

        Raises:
            ConfigError: A value is not allowed.
        """
        super().__post_init__()
        backbones.check_name(self.backbone)
        targets.parse_target(self.target)

    @property
    def class_set(self) -> targets.ClassSet:
        """The classes that the model predicts.

        Raises:
            ConfigError: They are those of a column, which no table was read for; or the options contradict each other.
        """
        return targets.make_class_set(self.target, self.classes, self.positive_classes)

    def head_options(self) -> dict[str, Any]:
        """Returns the keyword arguments of `classifiers.build_classifier` besides backbone, image size and weights."""
        names = ("metadata", "pooling", "hidden_units", "dropout", "dropout_samples", "context", "bag_size")
        return {"classes": self.class_set, **{name: getattr(self, name) for name in names}}


def read_model_config(workdir: str | os.PathLike[str], flags: Mapping[str, str] | None = None) -> ModelConfig:
    """Reads the architecture of a run's networks.

    Args:
        workdir: Run directory.
        flags: Its flags, where they are read already: see `run_directory.read_network`.

    Returns:
        `ModelConfig`.

    Raises:
        CorruptRecordError: The flags of the run are damaged; the error names the file.
        IsicError: The directory does not hold a run.
    """
    texts = run_directory.read_network(os.fspath(workdir)) if flags is None else flags
    return run_directory.parse_config(ModelConfig, os.fspath(workdir), texts)

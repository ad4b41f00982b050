"""Options of the command for weights."""

import dataclasses

from isic_tf.models import backbones
from isic_tf.models.conversion import recognition
from tfrecord_tools import cli, errors

NORMALIZATIONS = ("imagenet", "half", "unit")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsConfig(cli.Config):
    """What to do with weights, and with which file.

    Examples:
        >>> WeightsConfig(convert="tf_efficientnet_b0.ns_jft_in1k.safetensors", output="b0.h5").backbone is None
        True
    """

    list: bool = cli.option(False, help="List the published weights, and which of them are on this machine.")
    check: str | None = cli.option(None, path="read", help="Weights file: say what it is.")
    convert: str | None = cli.option(
        None,
        path="read",
        help="Weights file of an EfficientNet of timm, torchvision, efficientnet_pytorch or Keras 3 (.safetensors, "
        ".npz, .pth, .keras or .weights.h5) to convert for --weights of isic_tf.train.",
    )
    output: str | None = cli.option(None, path="write", help="With --convert: .h5 file to write.")
    backbone: str | None = cli.option(
        None,
        help="The backbone that the file is of, as in isic_tf.train; where not given, an EfficientNet is recognized.",
    )
    model: str | None = cli.option(
        None,
        help="With a file of timm: the name of the model there, as tf_efficientnet_b0.ns_jft_in1k; where not given, "
        "the name of the file.",
    )
    normalization: str | None = cli.option(
        None,
        choices=NORMALIZATIONS,
        help="With --convert: the images that the weights expect: imagenet (its mean and standard deviation), half "
        "(2 x - 1 of x in [0, 1]) or unit (x); where not given, as the library that published such weights.",
    )

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: They do not.
        """
        super().__post_init__()
        given = [name for name in ("list", "check", "convert") if getattr(self, name)]
        if len(given) != 1:
            found = " and ".join(f"--{name}" for name in given) or "none"
            raise errors.ConfigError(f"expected one of --list, --check=FILE and --convert=FILE, got {found}")
        if bool(self.convert) != bool(self.output):
            raise errors.ConfigError("--convert writes to --output=PATH.h5: give both or neither")
        if self.list and self.backbone:
            raise errors.ConfigError("expected --backbone only with --check or --convert; omit it")
        if self.backbone:
            backbones.check_name(self.backbone)
        if self.convert and self.backbone not in (None, *recognition.BACKBONES):
            names = ", ".join(recognition.BACKBONES)
            raise errors.ConfigError(f"expected with --convert a --backbone of {names}, got {self.backbone}")
        if (self.model or self.normalization) and not self.convert:
            raise errors.ConfigError("expected --model and --normalization only with --convert; omit them")

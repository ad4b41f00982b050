"""The names of the backbones, by the module in `families` that builds them; and the addresses of networks of the user.

They are here so that the options of a command are known without importing TensorFlow.
"""

import re
import sys

from tfrecord_tools import errors

_REGNET_SIZES = ("002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320")
FAMILIES = {
    "efficientnet_lite": tuple(f"efficientnet-lite{number}" for number in range(3)),
    "efficientnet": tuple(f"efficientnet-{size}" for size in (*(f"b{number}" for number in range(8)), "l2")),
    "efficientnet_v2": tuple(f"efficientnetv2-{size}" for size in ("b0", "b1", "b2", "b3", "s", "m", "l")),
    "convnext": tuple(f"convnext-{size}" for size in ("tiny", "small", "base", "large", "xlarge")),
    "keras_applications": (
        *(f"resnet-rs-{depth}" for depth in (50, 101, 152, 200, 270, 350, 420)),
        *(f"regnet{kind}-{size}" for kind in "xy" for size in _REGNET_SIZES),
        *(f"densenet-{depth}" for depth in (121, 169, 201)),
        *(f"mobilenetv3-{size}" for size in ("small", "large")),
    ),
}
_ADDRESS = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def find_family(backbone: str) -> str:
    """Returns the module in `families` that builds a backbone.

    Examples:
        >>> find_family("densenet-121"), find_family("my_networks:build")
        ('keras_applications', 'user_backbones')
    """
    return next((family for family, names in FAMILIES.items() if backbone in names), "user_backbones")


def is_address(backbone: str) -> bool:
    """Returns whether a name is meant as the address of a function, `module:function`.

    Examples:
        >>> is_address("my_networks.small:build"), is_address("efficientnet-b0")
        (True, False)
    """
    return ":" in backbone


def check_address(backbone: str) -> None:
    """Checks that an address is well formed, without importing its module.

    Args:
        backbone: Address `module:function` of ASCII letters, digits, underscores and dots. The module may not be one
            of Python's standard library, so that the flags of a run cannot call the functions of the system.

    Raises:
        ConfigError: It is no such address.
    """
    if not _ADDRESS.fullmatch(backbone):
        raise errors.ConfigError(
            f"expected --backbone=module:function of letters, digits, underscores and dots, got {backbone!r}"
        )
    module = backbone.partition(":")[0]
    if module.split(".")[0] in sys.stdlib_module_names:
        raise errors.ConfigError(
            f"expected --backbone=module:function with a module of your own, got {module}, which is Python's"
        )

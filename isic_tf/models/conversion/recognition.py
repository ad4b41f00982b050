"""Recognizes an EfficientNet by its convolutions, whatever their names and the order of their axes."""

from collections.abc import Mapping

import numpy as np

# Number of the kernels of convolutions, and of their elements.
_KERNELS = {
    "efficientnet-lite0": (49, 3_328_992),
    "efficientnet-lite1": (64, 4_082_016),
    "efficientnet-lite2": (64, 4_752_976),
    "efficientnet-b0": (81, 3_956_192),
    "efficientnet-b1": (115, 6_436_976),
    "efficientnet-b2": (115, 7_618_016),
    "efficientnet-b3": (130, 10_588_856),
    "efficientnet-b4": (160, 17_394_376),
    "efficientnet-b5": (194, 28_127_728),
    "efficientnet-b6": (224, 40_458_672),
    "efficientnet-b7": (273, 63_403_040),
    "efficientnet-l2": (436, 473_454_600),
    "efficientnetv2-b0": (91, 5_784_576),
    "efficientnetv2-b1": (111, 6_773_152),
    "efficientnetv2-b2": (116, 8_586_384),
    "efficientnetv2-b3": (136, 12_687_448),
    "efficientnetv2-s": (170, 19_988_424),
    "efficientnetv2-m": (245, 52_498_504),
    "efficientnetv2-l": (339, 116_602_144),
}
BACKBONES = tuple(_KERNELS)


def recognize(arrays: Mapping[str, np.ndarray]) -> str:
    """Finds which backbone arrays are of.

    Args:
        arrays: All arrays of a file.

    Returns:
        One of `BACKBONES`; "" where they are of none, as where one is missing.

    Examples:
        >>> recognize({"kernel": np.zeros([3, 3, 3, 32])})
        ''
    """
    found = count_kernels(arrays)
    return next((backbone for backbone, counts in _KERNELS.items() if counts == found), "")


def find_nearest(arrays: Mapping[str, np.ndarray]) -> str:
    """Finds the backbone whose convolutions have nearly as many elements, for errors.

    Args:
        arrays: See `recognize`.

    Returns:
        Words such as `the nearest is efficientnet-b0 with 81 of 3956192`.
    """
    _, elements = count_kernels(arrays)
    nearest = min(_KERNELS, key=lambda backbone: abs(_KERNELS[backbone][1] - elements))
    number, expected = _KERNELS[nearest]
    return f"the nearest is {nearest} with {number} of {expected}"


def count_kernels(arrays: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Counts the kernels of convolutions, and their elements.

    Args:
        arrays: See `recognize`.

    Returns:
        Number of kernels, number of elements.
    """
    kernels = [array for array in arrays.values() if array.ndim == 4]
    return len(kernels), sum(array.size for array in kernels)

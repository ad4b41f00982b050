"""Compares the measures of one photograph with thresholds set on real dermoscopic images."""

import dataclasses

import numpy as np

from isic_tf.image_quality import foreign_objects, lesion_contrast, sharpness, tones, working_image
from tfrecord_tools import errors

# Shorter side in pixels.
_SMALLEST = 32


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a photograph.

    Attributes:
        name: `blurred`, `dark`, `overexposed`, `color cast`, `no lesion`, `ruler or ink`, `low resolution` or
            `compressed`.
        value: What was measured.
        threshold: The limit that `value` is beyond.
        text: One line for users.

    Examples:
        >>> Finding("dark", value=90.0, threshold=135.0, text=CHECKS["dark"].text).text
        'The photograph is too dark. Use more light.'
    """

    name: str
    value: float
    threshold: float
    text: str


@dataclasses.dataclass(frozen=True)
class Check:
    """A limit of one measure.

    Attributes:
        threshold: The last value that is not flagged.
        above: Whether values above the threshold are flagged; else values below it.
        text: One line for users.
    """

    threshold: float
    above: bool
    text: str


# Chosen so that at most three of 192 images, every second one of 384 of ISIC 2020, are flagged. The limits of
# `ruler or ink` and `compressed` were chosen with all sets in sight; `low resolution` is a definition, the input of the
# smallest published backbones. docs/guides/image_quality.md lists the rates.
CHECKS = {
    "blurred": Check(0.7, True, "The photograph is blurred. Hold the camera still and focus on the lesion."),
    "dark": Check(135, False, "The photograph is too dark. Use more light."),
    "overexposed": Check(0.01, True, "Parts of the photograph are overexposed. Use less light, or avoid reflections."),
    "color cast": Check(3.1, True, "The colors are unlike those of skin. Check the light and the white balance."),
    "no lesion": Check(8.5, False, "No lesion stands out from the skin. Center the lesion and go closer."),
    "ruler or ink": Check(0.06, True, "A ruler, a sticker or ink covers much of the photograph. Leave it out."),
    "low resolution": Check(224, False, "The photograph has too few pixels. Send the original file of the camera."),
    "compressed": Check(2.5, True, "The file is compressed too much. Send the original file of the camera."),
}


def check_image(image: np.ndarray) -> list[Finding]:
    """Lists what is wrong with a photograph of a skin lesion.

    The image is first shrunk to 512 px, so that a photograph of any size takes about as long. The guide on image
    quality states each measure, its source, and how often it is right.

    Args:
        image: uint8 `[height, width, 3]`, RGB. Less than 32 px high or wide, only that is found.

    Returns:
        Findings in a fixed order; an empty list if nothing is wrong.

    Raises:
        ConfigError: The array is not such an image.

    Examples:
        >>> [finding.name for finding in check_image(np.full((300, 400, 3), (220, 170, 150), np.uint8))]
        ['no lesion']
    """
    if getattr(image, "ndim", 0) == 3 and 1 <= min(image.shape[:2]) < _SMALLEST:
        check = CHECKS["low resolution"]
        return [Finding("low resolution", float(min(image.shape[:2])), check.threshold, check.text)]
    values = measure(image)
    return [
        Finding(name, values[name], check.threshold, check.text)
        for name, check in CHECKS.items()
        if (values[name] > check.threshold if check.above else values[name] < check.threshold)
    ]


def measure(image: np.ndarray) -> dict[str, float]:
    """Computes what `CHECKS` limits.

    Args:
        image: See `check_image`.

    Returns:
        A value for each name of `CHECKS`.

    Raises:
        ConfigError: See `check_image`.
    """
    shape, kind = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if kind != np.uint8 or len(shape) != 3 or shape[2] != 3 or min(shape) < 3 or min(shape[:2]) < _SMALLEST:
        raise errors.ConfigError(
            f"expected a uint8 image [height, width, 3] of at least {_SMALLEST} x {_SMALLEST} px, got {kind} "
            f"{list(shape)}; convert the image to 8-bit RGB"
        )
    large = working_image.shrink(image, working_image.LARGE)
    medium = working_image.shrink(large, working_image.MEDIUM)
    small = working_image.shrink(large, working_image.SMALL)
    ellipse = working_image.make_ellipse(small.shape[0], small.shape[1])
    content = working_image.find_content(small, ellipse)
    return {
        "blurred": sharpness.reblur_ratio(medium),
        "dark": tones.brightness(small[ellipse]),
        "overexposed": tones.clipped_share(small[ellipse]),
        "color cast": tones.color_distance(small[content]),
        "no lesion": lesion_contrast.lesion_contrast(small, content),
        "ruler or ink": foreign_objects.ink_share(small, content) + foreign_objects.ruler_share(large),
        "low resolution": float(min(image.shape[:2])),
        "compressed": sharpness.blockiness(image),
    }

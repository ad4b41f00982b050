"""The built-in augmentation policies; `policies` documents their form."""

from collections.abc import Callable
from typing import Any

Policy = dict[str, Any]


def geometric() -> Policy:
    """Returns a gentle policy that keeps the colors: any orientation, small rotations, zooms and shifts."""
    return {
        "fill": "reflect",
        "flip_x": {"p": 0.5},
        "rotate90": {},
        "rotation": {"uniform": [-15, 15]},
        "zoom": {"uniform": [0.89, 1.13]},
        "shift_x": {"uniform": [-0.06, 0.06]},
        "shift_y": {"uniform": [-0.06, 0.06]},
    }


def light() -> Policy:
    """Returns `geometric` with moderate color changes."""
    return {
        **geometric(),
        "saturation": {"uniform": [0.8, 1.2]},
        "contrast": {"uniform": [0.8, 1.2]},
        "brightness": {"uniform": [-0.1, 0.1]},
    }


def deotte() -> Policy:
    """Returns the augmentation of Deotte's notebook "Triple Stratified KFold with TFRecords" (Kaggle, 2020).

    Rotation by 180 N(0, 1) degrees, shear by 2 N, zoom of each axis by 1 + N / 8, shift of each axis by 8 N pixels at
    256, border pixels repeated; then a flip from left to right, saturation 0.7 to 1.3, contrast 0.8 to 1.2, brightness
    +-0.1. Sampling is cubic; the notebook takes the nearest pixel.
    """
    return {
        "fill": "edge",
        "flip_x": {"p": 0.5},
        "rotation": {"normal": [0, 180]},
        "shear": {"normal": [0, 2]},
        "zoom_x": {"normal": [1, 0.125]},
        "zoom_y": {"normal": [1, 0.125]},
        "shift_x": {"normal": [0, 8 / 256]},
        "shift_y": {"normal": [0, 8 / 256]},
        "saturation": {"uniform": [0.7, 1.3]},
        "contrast": {"uniform": [0.8, 1.2]},
        "brightness": {"uniform": [-0.1, 0.1]},
    }


def winner() -> Policy:
    """Returns the augmentation of the competition's first place (Ha, Liu and Liu, arXiv:2010.05351; albumentations).

    Substitutes, where an operation is too slow on the device: a Gaussian blur for the motion blur and the median blur
    of 3 or 5 pixels (at 512); `local_contrast` for CLAHE, from 0.4 to 1.1, which fits clip limits from 1 to 4 best on
    real images and removes two fifths of the difference. ElasticTransform(alpha=3) moves pixels by a fiftieth of a
    pixel and is left out, together with its third of the distortions. Hue, saturation and value are shifted by
    up to 20 degrees, 20 / 255 and 10 / 255, as OpenCV's 8-bit 10, 20 and 10. All geometric
    operations come first, so color, blur and noise come after them. The distortions are as strong as published: the
    grid may move a lesion to the border.
    """
    half = {"p": 0.5, "together": "hsv"}
    most = {"p": 0.85, "together": "shift, scale, rotate"}
    return {
        "fill": "constant",
        "transpose": {"p": 0.5},
        "flip_x": {"p": 0.5},
        "flip_y": {"p": 0.5},
        "rotation": {**most, "uniform": [-15, 15]},
        "zoom": {**most, "uniform": [0.9, 1.1]},
        "shift_x": {**most, "uniform": [-0.1, 0.1]},
        "shift_y": {**most, "uniform": [-0.1, 0.1]},
        "lens": {"p": 0.7 / 3, "instead": "distortion", "uniform": [-1, 1]},
        "grid": {"p": 0.7 / 3, "instead": "distortion", "uniform": [1, 1]},
        "hue": {**half, "uniform": [-20, 20]},
        "saturation_shift": {**half, "uniform": [-20 / 255, 20 / 255]},
        "value_shift": {**half, "uniform": [-10 / 255, 10 / 255]},
        "local_contrast": {"p": 0.7, "uniform": [0.4, 1.1]},
        "gain": {"p": 0.75, "uniform": [0.8, 1.2]},
        "brightness": {"p": 0.75, "uniform": [-0.2, 0.2]},
        "blur": {"p": 0.7 * 3 / 4, "instead": "blur or noise", "uniform": [0.8 / 512, 1.1 / 512]},
        "noise": {"p": 0.7 / 4, "instead": "blur or noise", "uniform": [5**0.5 / 255, 30**0.5 / 255]},
        "dropout": {"p": 0.7, "uniform": [0.375, 0.375], "count": 1},
    }


def strong() -> Policy:
    """Returns a strong policy: large geometric changes, three of ten other operations per image, half of them mixed."""
    return {
        "fill": "reflect",
        "flip_x": {"p": 0.5},
        "rotate90": {},
        "rotation": {"uniform": [-45, 45]},
        "shear": {"uniform": [-8, 8]},
        "zoom": {"uniform": [0.8, 1.3]},
        "aspect": {"uniform": [0.87, 1.15]},
        "shift_x": {"uniform": [-0.1, 0.1]},
        "shift_y": {"uniform": [-0.1, 0.1]},
        "hair": {"uniform": [3, 12]},
        "hue": {"uniform": [-12, 12]},
        "saturation": {"uniform": [0.6, 1.4]},
        "local_contrast": {"uniform": [0, 1]},
        "contrast": {"uniform": [0.7, 1.3]},
        "brightness": {"uniform": [-0.15, 0.15]},
        "blur": {"uniform": [0.001, 0.005]},
        "noise": {"uniform": [0.01, 0.04]},
        "vignette": {"uniform": [0.45, 0.6]},
        "dropout": {"uniform": [0.1, 0.2], "count": 4},
        "pick": [
            3,
            ["hair", "hue", "saturation", "local_contrast", "contrast"]
            + ["brightness", "blur", "noise", "vignette", "dropout"],
        ],
        "mixup": {"p": 0.25, "alpha": 0.4, "instead": "mix"},
        "cutmix": {"p": 0.25, "alpha": 1.0, "instead": "mix"},
    }


# Each function returns a new dict.
PRESETS: dict[str, Callable[[], Policy]] = {
    "none": dict,
    "geometric": geometric,
    "light": light,
    "deotte": deotte,
    "winner": winner,
    "strong": strong,
}

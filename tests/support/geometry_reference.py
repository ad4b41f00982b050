"""The definition of the geometric augmentation in NumPy, pixel by pixel with Python's integers."""

import fractions
import math

import numpy as np

# Keys's parameter.
SHARPNESS = fractions.Fraction(-5, 8)
PARAMETERS = {
    "transpose": 0.0,
    "flip_x": 0.0,
    "flip_y": 0.0,
    "rotate90": 0.0,
    "rotation": 0.0,
    "shear": 0.0,
    "zoom_x": 1.0,
    "zoom_y": 1.0,
    "shift_x": 0.0,
    "shift_y": 0.0,
}


def weights(part):
    """Weights in 1/128 of the four pixels around a place that is `part` / 256 pixels after the second of them."""

    def kernel(x):
        x, a = abs(x), SHARPNESS
        return (a + 2) * x**3 - (a + 3) * x**2 + 1 if x <= 1 else a * (x**3 - 5 * x**2 + 8 * x - 4)

    place = fractions.Fraction(int(part), 256)
    found = [math.floor(128 * kernel(place - tap) + fractions.Fraction(1, 2)) for tap in (-1, 0, 1, 2)]
    found[1] = 128 - found[0] - found[2] - found[3]
    return found


def rounded(total, unit):
    """A sum of quarters of a gray level in 1/128, as a multiple of `unit` quarters from black to white."""
    return unit * min(max((2 * total + 128 * unit) // (256 * unit), 0), 1020 // unit)


def resample(line, places, weights_of_places, unit):
    """A line `[S, 3]` in quarters of a gray level at places in 1/256 pixel, mirrored beyond its ends."""
    result = np.zeros([len(places), 3], int)
    for number, (place, own) in enumerate(zip(places, weights_of_places, strict=True)):
        taps = [mirrored(place // 256 + tap, len(line)) for tap in (-1, 0, 1, 2)]
        for channel in range(3):
            total = sum(int(weight) * int(line[tap][channel]) for weight, tap in zip(own, taps, strict=True))
            result[number, channel] = rounded(total, unit)
    return result


def mirrored(index, size):
    span = max(size - 1, 1)
    index %= 2 * span
    return min(min(index, 2 * span - index), size - 1)


def shear(line, offset, length, limit):
    """The middle `length` pixels of a line, moved by an offset in 1/256 pixel; black beyond its ends."""
    whole, own = min(max(int(offset) // 256, -limit), limit), weights(int(offset) % 256)
    result = np.zeros([length, 3], int)
    for place in range(length):
        first = (len(line) - length) // 2 + place + whole
        for channel in range(3):
            taps = [first + tap for tap in (-1, 0, 1, 2)]
            known = [int(line[tap][channel]) if 0 <= tap < len(line) else 0 for tap in taps]
            result[place, channel] = rounded(sum(a * b for a, b in zip(own, known, strict=True)), 1)
    return result


def bend(line, places):
    """A line in quarters of a gray level at places in 1/128 pixel, interpolated linearly to whole gray levels."""
    last = len(line) - 1
    result = np.zeros_like(line)
    for number, place in enumerate(places):
        first, share = int(place) // 128, int(place) % 128
        total = (128 - share) * line[first] + share * line[min(first + 1, last)]
        result[number] = [rounded(int(value), 4) for value in total]
    return result


def apply_along(function, image, axis):
    """Applies a function of a line and its number to all rows (axis 1) or all columns (axis 0)."""
    lines = image if axis else image.swapaxes(0, 1)
    done = np.stack([function(line, number) for number, line in enumerate(lines)])
    return done if axis else done.swapaxes(0, 1)


def change(image, found, reach):
    """Changes one image, uint8 `[S, S, 3]`, as `geometric.locate` says; returns gray levels."""
    size, image = len(image), 4 * image.astype(int)
    for name, axis in (("places_lens_x", 1), ("places_lens_y", 0)):
        if name in found:
            image = apply_along(lambda line, n, name=name: bend(line, found[name][min(n, size - 1 - n)]), image, axis)
    if found["swap"]:
        image = image.swapaxes(0, 1)
    for name, axis, unit in (("y", 0, 4), ("x", 1, 1)):
        own = found[f"places_{name}"], found[f"weights_{name}"].T, unit
        image = apply_along(lambda line, _, own=own: resample(line, *own), image, axis)
    if "offsets_0" in found:
        for number, axis, length in ((2, 1, len(image)), (1, 0, size), (0, 1, size)):
            # Two pixels beyond what is seen count too.
            limit, offsets = math.ceil(reach.offsets[number] * (size + 4)), found[f"offsets_{number}"]
            own = offsets, length, limit
            image = apply_along(lambda line, n, own=own: shear(line, own[0][n], *own[1:]), image, axis)
    return image / 4


def inverse(transpose, flip_x, flip_y, rotate90, rotation, shear, zoom_x, zoom_y, shift_x, shift_y):
    """Where a pixel of the output comes from, float64 `[2, 3]`: the inverse of all steps, worked in the picture."""
    steps = [
        [[0, 1], [1, 0]] if transpose else np.eye(2),
        np.diag([1 - 2 * flip_x, 1 - 2 * flip_y]),
        turned(90 * rotate90),
        turned(rotation),
        np.linalg.inv([[1, math.sin(math.radians(shear))], [0, math.cos(math.radians(shear))]]),
        np.diag([zoom_x, zoom_y]),
    ]
    forward = np.eye(2)
    for step in steps:
        forward = np.asarray(step) @ forward
    found = np.linalg.inv(forward)
    return np.concatenate([found, -found @ [[shift_x], [shift_y]]], axis=1)


def turned(degrees):
    """A counterclockwise turn takes the point on the right up, where y points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin], [-sin, cos]])

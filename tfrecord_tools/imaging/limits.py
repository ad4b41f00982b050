"""Limits of what the decoding of one image may take: options of every command that decodes images."""

import dataclasses

from tfrecord_tools import cli, errors

# Slower than any decoder here on any machine of this century: 6000x4000 pixels take 2.4 s at this rate.
_PIXELS_PER_SECOND = 10e6


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageLimits(cli.Config):
    """Limits of one image; files of strangers may be made to keep a decoder busy or to fill the memory.

    Examples:
        >>> ImageLimits(max_image_seconds=5).max_image_side
        32768
    """

    max_image_side: int = cli.option(32768, lower=1, help="Longest side of an image that is decoded, in pixels.")
    max_image_megapixels: float = cli.option(
        128.0, lower=0, upper=268, help="Largest image that is decoded, in millions of pixels."
    )
    max_image_megabytes: int = cli.option(
        1024, lower=1, help="Most memory that the decoding of one image may need, in MB."
    )
    max_image_seconds: float = cli.option(
        60.0, lower=0.001, help="Longest time that the decoding of one image may take, in seconds."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFileLimits(ImageLimits):
    """Limits of one image, and whether grayscale DICOM files count as images; for commands that read image files.

    Examples:
        >>> ImageFileLimits(monochrome="accept").max_image_side
        32768
    """

    monochrome: str = cli.option(
        "refuse",
        choices=("refuse", "accept"),
        help="How to handle monochrome DICOM files, which are not dermoscopic: refuse them, or accept them as gray.",
    )


DEFAULTS = ImageFileLimits()


def extract(config: ImageLimits) -> ImageLimits:
    """Returns the limits alone of the options of a command.

    Args:
        config: Options that include the limits.

    Returns:
        `ImageFileLimits`, or `ImageLimits` where the command reads no image files.

    Examples:
        >>> extract(DEFAULTS) == DEFAULTS
        True
    """
    kind = ImageFileLimits if isinstance(config, ImageFileLimits) else ImageLimits
    return kind(**{field.name: getattr(config, field.name) for field in dataclasses.fields(kind)})


def accepts_monochrome(limits: ImageLimits) -> bool:
    """Returns whether grayscale DICOM files count as images."""
    return isinstance(limits, ImageFileLimits) and limits.monochrome == "accept"


def check_size(limits: ImageLimits, source: str, width: int, height: int) -> None:
    """Refuses an image by the size in its header.

    Args:
        limits: `ImageLimits`.
        source: Name of the image in errors.
        width: Width in pixels.
        height: Height in pixels.

    Raises:
        CorruptRecordError: The image has no pixels, or is larger than the limits.
    """
    if min(width, height) < 1:
        raise errors.CorruptRecordError(
            f"{source} has {width}x{height} pixels, expected at least 1x1; replace the file"
        )
    if max(width, height) > limits.max_image_side:
        raise errors.CorruptRecordError(
            f"{source} has {width}x{height} pixels, expected sides of at most {limits.max_image_side}; shrink it, or "
            "raise --max_image_side"
        )
    if width * height > limits.max_image_megapixels * 1e6:
        raise errors.CorruptRecordError(
            f"{source} has {width}x{height} pixels, expected at most {limits.max_image_megapixels:g} million; shrink "
            "it, or raise --max_image_megapixels"
        )


def check_memory(limits: ImageLimits, source: str, num_bytes: int) -> None:
    """Refuses an image whose decoding needs more memory than the limit.

    Args:
        limits: `ImageLimits`.
        source: Name of the image in errors.
        num_bytes: Bytes that decoding needs at least.

    Raises:
        CorruptRecordError: They are more than the limit.
    """
    if num_bytes > limits.max_image_megabytes << 20:
        raise errors.CorruptRecordError(
            f"{source} needs {num_bytes >> 20} MB to be decoded, expected at most {limits.max_image_megabytes}; shrink "
            "it, or raise --max_image_megabytes"
        )


def may_be_slow(limits: ImageLimits, num_pixels: int) -> bool:
    """Returns whether the decoding of so many pixels could exceed the limit of time.

    Args:
        limits: `ImageLimits`.
        num_pixels: Pixels that the decoder visits; those of a progressive JPEG count once per scan.

    Examples:
        >>> may_be_slow(DEFAULTS, 6000 * 4000), may_be_slow(ImageLimits(max_image_seconds=1), 6000 * 4000)
        (False, True)
    """
    return num_pixels > limits.max_image_seconds * _PIXELS_PER_SECOND

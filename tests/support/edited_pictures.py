"""Made-up pictures, and edits that keep what they show."""

import cv2
import numpy as np

from tfrecord_tools.deduplication import image_similarity


def picture(seed):
    """Returns a smooth picture with many features."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(
        rng.normal(size=(image_similarity.SIDE, image_similarity.SIDE, 3)).astype(np.float32), (0, 0), 3
    )
    return np.uint8(np.clip(128 + 300 * noise, 30, 255))


EDITS = {
    "turned": np.rot90,
    "upside down": lambda image: image[::-1, ::-1],
    "flipped": lambda image: image[:, ::-1],
    "brightened": lambda image: cv2.convertScaleAbs(image, alpha=1.1),
}

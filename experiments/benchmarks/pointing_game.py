"""Sanity checks of Grad-CAM on synthetic images with known lesions: where the map peaks, and maps of random weights.

EfficientNet-B0 with random initial weights learns to distinguish moles from melanomas anywhere in the image, in some
minutes on two cores. The pointing game (Zhang et al., ECCV 2016) counts how often the peak of the map lies on the
lesion. The randomization test (Adebayo et al., NeurIPS 2018) compares the map with that of random weights.
"""

import common  # noqa: F401  # adds the checkout to the path
import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from isic_tf.metrics import roc
from isic_tf.models import classifiers
from isic_tf.visualization import grad_cam
from tfrecord_tools.synthetic import lesion_renderer

SIDE = 128
TRAINING_IMAGES = 1000
TEST_IMAGES = 300
EPOCHS = 8


def build(seed: int) -> tf.keras.Model:
    tf.keras.utils.set_random_seed(seed)
    return classifiers.build_classifier("efficientnet-b0", SIDE)


def train() -> tf.keras.Model:
    images, _, labels = lesion_renderer.draw_anywhere(TRAINING_IMAGES, SIDE, seed=0)
    classifier = build(seed=1)
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    classifier.compile(tf.keras.optimizers.Adam(1e-3), loss)
    targets = labels[:, None].astype(np.float32)
    classifier.fit(images / np.float32(255), targets, batch_size=25, epochs=EPOCHS, verbose=2)
    return classifier


def correlate(maps: np.ndarray, others: np.ndarray) -> float:
    """Returns the mean Spearman correlation of two sets of maps, over the images where neither map is empty."""
    pairs = [(one.ravel(), other.ravel()) for one, other in zip(maps, others, strict=True) if one.any() and other.any()]
    return np.mean([spearmanr(*pair)[0] for pair in pairs])


def hit_rate(maps: np.ndarray, masks: np.ndarray) -> float:
    """Returns the share of maps whose peak lies on the lesion."""
    enlarged = grad_cam.enlarge(maps, SIDE)
    return np.mean([mask.flat[one.argmax()] for one, mask in zip(enlarged, masks, strict=True)])


def main() -> None:
    images, masks, labels = lesion_renderer.draw_anywhere(TEST_IMAGES, SIDE, seed=1)
    classifier = train()
    _, logits = grad_cam.compute_grad_cam(classifier, images)
    print(f"ROC AUC {roc.roc_auc(labels, logits):.4f} on {TEST_IMAGES} test images")
    melanomas = images[labels == 1]
    lesions = masks[labels == 1]
    maps, _ = grad_cam.compute_grad_cam(classifier, melanomas)
    random_pixel = lesions.mean()
    center = lesions[:, SIDE // 2, SIDE // 2].mean()
    print(f"pointing game on {len(melanomas)} melanomas: {hit_rate(maps, lesions):.3f} of the peaks lie on the lesion")
    print(f"(aim 0.9); a random pixel {random_pixel:.3f}, the center of the image {center:.3f}")
    random_maps = [grad_cam.compute_grad_cam(build(seed), melanomas)[0] for seed in (7, 8, 9)]
    hits = np.mean([hit_rate(each, lesions) for each in random_maps])
    correlation = np.mean([correlate(maps, each) for each in random_maps])
    print(
        f"random weights, mean of three networks: {hits:.3f} of the peaks on the lesion, rank correlation with the "
        f"trained network's maps {correlation:.3f} (aim within 0.3 of 0)"
    )


if __name__ == "__main__":
    main()

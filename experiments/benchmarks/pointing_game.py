"""Grad-CAM's sanity on made-up images whose lesions are known: where the map is greatest, and what other weights give.

EfficientNet-B0 from random weights learns to tell moles from melanomas anywhere in the image, in some minutes on two
cores. The pointing game (Zhang et al., ECCV 2016) counts how often the map's greatest value lies on the lesion; the
randomisation test (Adebayo et al., NeurIPS 2018) compares the map with that of other weights.
"""

import common  # noqa: F401  # puts the checkout on the path
import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from isic_tf.metrics import roc
from isic_tf.models import classifiers
from isic_tf.visualization import grad_cam
from tfrecord_tools.synthetic import lesion_renderer

SIDE = 128
TRAINED, JUDGED, EPOCHS = 1000, 300, 8


def build(seed):
    tf.keras.utils.set_random_seed(seed)
    return classifiers.build_classifier("efficientnet-b0", SIDE)


def train():
    images, _, labels = lesion_renderer.draw_anywhere(TRAINED, SIDE, seed=0)
    classifier = build(seed=1)
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    classifier.compile(tf.keras.optimizers.Adam(1e-3), loss)
    classifier.fit(images / np.float32(255), labels[:, None].astype(np.float32), 25, EPOCHS, verbose=2)
    return classifier


def correlate(maps, others):
    """The mean Spearman correlation of maps over the images where neither is empty."""
    pairs = [(one.ravel(), other.ravel()) for one, other in zip(maps, others, strict=True) if one.any() and other.any()]
    return np.mean([spearmanr(*pair)[0] for pair in pairs])


def hit_rate(maps, masks):
    large = grad_cam.enlarge(maps, SIDE)
    return np.mean([mask.flat[one.argmax()] for one, mask in zip(large, masks, strict=True)])


def main():
    images, masks, labels = lesion_renderer.draw_anywhere(JUDGED, SIDE, seed=1)
    classifier = train()
    _, logits = grad_cam.compute_grad_cam(classifier, images)
    print(f"ROC AUC {roc.roc_auc(labels, logits):.4f} on {JUDGED} other images")
    images, masks = images[labels == 1], masks[labels == 1]
    maps, _ = grad_cam.compute_grad_cam(classifier, images)
    chance, middle = masks.mean(), masks[:, SIDE // 2, SIDE // 2].mean()
    print(f"pointing game on {len(images)} melanomas: {hit_rate(maps, masks):.3f} of the maps' greatest values lie on")
    print(f"the lesion (aim 0.9); a point drawn by lot {chance:.3f}, the middle of the image {middle:.3f}")
    random = [grad_cam.compute_grad_cam(build(seed), images)[0] for seed in (7, 8, 9)]
    hits = np.mean([hit_rate(each, masks) for each in random])
    correlation = np.mean([correlate(maps, each) for each in random])
    print(
        f"random weights: {hits:.3f} on the lesion, rank correlation with the trained network's maps {correlation:.3f}"
    )
    print("(aim: within 0.3 of 0), of three networks")


if __name__ == "__main__":
    main()

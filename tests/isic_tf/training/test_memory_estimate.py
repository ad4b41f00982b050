import importlib.util

import pytest
import tensorflow as tf
from harness import make_config, tiny, tiny_trunk

from isic_tf.models import backbones, classifiers
from isic_tf.training import memory_estimate, train_state


@pytest.fixture
def state(monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", tiny)
    recipe = make_config(**{"ema": 0.9, "backbone_lr_multiplier": 0.5})
    return train_state.make_state(tf.distribute.get_strategy(), recipe, 3)


# Of the trunk its input and 7 x 7 x 8 features, and of the head its input, the pooled 8 and one logit; 4 bytes each.
# Then the gradients of the largest, an image, on either side.
ACTIVATIONS = 4 * (2 * 32 * 32 * 3 + 7 * 7 * 8 + 8 + 1 + 2 * 32 * 32 * 3)
# 5 x 5 x 3 x 8 weights and 8 biases, 8 weights and a bias.
WEIGHTS = 5 * 5 * 3 * 8 + 8 + 8 + 1


def test_activations_worked_by_hand(state):
    assert memory_estimate.count_activations(state.model) == ACTIVATIONS


def test_in_half_precision_what_is_between_the_layers_takes_half(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    counts = []
    for precision in ("float32", "mixed_bfloat16"):
        recipe = make_config(**{"precision": precision})
        counts.append(
            memory_estimate.count_activations(train_state.make_state(tf.distribute.get_strategy(), recipe, 3).model)
        )
    # The images stay as they are: inputs of head and trunk, and normalised.
    images = 4 * 5 * 32 * 32 * 3
    logits = 4
    assert counts[1] - images - logits == pytest.approx((counts[0] - images - logits) / 2)


def test_the_state_worked_by_hand(state):
    # Weights, gradients, Adam's two means and the averages; and of both optimizers the steps done, 8 bytes each.
    assert memory_estimate.count_state(state) == 5 * 4 * WEIGHTS + 2 * 8


@pytest.mark.skipif(not importlib.util.find_spec("tensorflow_addons"), reason="needs tensorflow-addons")
def test_the_state_of_an_optimizer_of_addons(monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", tiny)
    state = train_state.make_state(tf.distribute.get_strategy(), make_config(**{"optimizer": "radam"}), 3)
    assert memory_estimate.count_state(state) >= 4 * 4 * WEIGHTS


def test_a_batch_that_tpus_would_pad_is_named(state):
    kept = memory_estimate.count_state(state)
    text = memory_estimate.estimate_memory(state, 96, 2, 3).describe()
    assert text.startswith("each of 2 device(s) processes 16 images at a time (a multiple of 8, as TPUs require)")
    assert f"{int((0.9 * 16e9 - kept) / ACTIVATIONS) // 8 * 8} images at a time would fit a TPU core of 16 GB" in text
    assert f"needs about {(kept + 16 * ACTIVATIONS) / 1e9:.2f} GB" in text
    text = memory_estimate.estimate_memory(state, 60, 2, 3).describe()
    assert "10 images at a time (not a multiple of 8, to which TPUs pad; use --global_batch_size=96)" in text
    # Fewer micro-batches, if they fit, before another batch size, which would change the training.
    text = memory_estimate.estimate_memory(state, 128, 8, 4).describe()
    assert "4 images at a time (not a multiple of 8, to which TPUs pad; use --gradient_accumulation_steps=1)" in text


def test_the_room_of_the_files_of_a_fold_worked_by_hand(state):
    # Weights, averages, the two moments of each weight, and step and learning rate of each of the two optimizers.
    expected = 4 * 4 * WEIGHTS
    assert expected <= memory_estimate.count_checkpoint(state) <= expected + 4 * 16
    # 625 weights are 2500 bytes.
    text = memory_estimate.describe_files(state)
    assert text == "0.0 MB for each of up to 3 checkpoints and 0.0 MB for each of up to 2 copies of the weights"

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
# Of each of 32 x 32 positions the 3 channels, padded to 4 rows, and 128 columns for up to 128 images; of each of 7 x 7
# the 8 channels in 8 rows; 4 bytes each.
TPU_ACTIVATIONS = 4 * 128 * (32 * 32 * 4 + 7 * 7 * 8)
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


def test_activations_on_a_tpu_worked_by_hand(state):
    assert memory_estimate.count_tpu_activations(state.model, 16) == TPU_ACTIVATIONS
    assert memory_estimate.count_tpu_activations(state.model, 129) == 2 * TPU_ACTIVATIONS


@pytest.mark.parametrize(
    ("channels", "images", "numbers"),
    [
        (24, 32, 24 * 128),
        (144, 32, 32 * 256),
        (3, 384, 4 * 384),
        (1000, 20, 24 * 1024),
        (1, 1, 128),
    ],
)
def test_the_plane_of_images_and_channels_is_padded_to_tiles(channels, images, numbers):
    assert memory_estimate._pad_array((5, 7, channels), images) == 5 * 7 * numbers


def test_a_tpu_keeps_convolutions_and_additions_and_not_what_is_fused_with_them():
    layers = tf.keras.layers
    image = tf.keras.Input((4, 4, 3))
    first = layers.Conv2D(16, 1)(image)
    second = layers.DepthwiseConv2D(3, padding="same")(layers.Activation("swish")(layers.BatchNormalization()(first)))
    network = tf.keras.Model(image, layers.Add()([first, layers.Dropout(0.1)(second)]))
    assert memory_estimate.count_tpu_activations(network, 128) == 4 * 128 * 4 * 4 * (4 + 3 * 16)


def test_in_half_precision_a_tpu_keeps_half(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    counts = []
    for precision in ("float32", "mixed_bfloat16"):
        state = train_state.make_state(tf.distribute.get_strategy(), make_config(precision=precision), 3)
        counts.append(memory_estimate.count_tpu_activations(state.model, 16))
    assert counts == [TPU_ACTIVATIONS, TPU_ACTIVATIONS / 2]


def test_micro_batches_add_the_images_of_the_whole_batch_on_a_tpu(state):
    kept = memory_estimate.count_state(state)
    assert memory_estimate.estimate_memory(state, 32, 2, 1).tpu_bytes == kept + TPU_ACTIVATIONS
    waiting = 16 * 32 * 32 * 3 * 4
    assert memory_estimate.estimate_memory(state, 32, 2, 2).tpu_bytes == kept + TPU_ACTIVATIONS + waiting


def test_the_most_images_that_fit_a_tpu(state):
    # 128 images fill the columns; the next ones need as much again.
    for available, images in ((3 * TPU_ACTIVATIONS, 384), (3 * TPU_ACTIVATIONS - 1, 256), (0, 0), (-5, 0)):
        assert memory_estimate._find_most_images(state.model, available) == images


def test_the_state_worked_by_hand(state):
    # Weights, gradients, Adam's two means and the averages; and of both optimizers the steps done, 8 bytes each.
    assert memory_estimate.count_state(state) == 5 * 4 * WEIGHTS + 2 * 8


def test_layer_decay_copies_the_weights_that_it_slows_down(state):
    slower = 5 * 5 * 3 * 8 + 8
    kept = memory_estimate.count_state(state)
    assert memory_estimate.count_state(state, 0.5) == kept + 4 * slower
    assert memory_estimate.estimate_memory(state, 32, 2, 1, 0.5).tpu_bytes == kept + 4 * slower + TPU_ACTIVATIONS


def test_a_probe_keeps_nothing_for_gradients_worked_by_hand(state):
    num_bytes, text = memory_estimate.describe_probe(state, 4, 2)
    assert num_bytes == memory_estimate.count_checkpoint(state) + 4 * 2 * 4 * 32 * 32 * 3
    assert text.startswith("each of 2 device(s) computes the features of 4 images at a time and needs about 0.00 GB")


@pytest.mark.skipif(not importlib.util.find_spec("tensorflow_addons"), reason="needs tensorflow-addons")
def test_the_state_of_an_optimizer_of_addons(monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", tiny)
    state = train_state.make_state(tf.distribute.get_strategy(), make_config(**{"optimizer": "radam"}), 3)
    assert memory_estimate.count_state(state) >= 4 * 4 * WEIGHTS


def test_a_batch_that_tpus_would_pad_is_named(state):
    kept = memory_estimate.count_state(state)
    text = memory_estimate.estimate_memory(state, 96, 2, 3).describe()
    assert text.startswith("each of 2 device(s) processes 16 images at a time (a multiple of 8, as TPUs require)")
    most = int((0.9 * 16e9 - kept) / TPU_ACTIVATIONS) * 128
    assert f"up to {most} images at a time would fit a TPU core of 16 GB" in text
    assert f"needs about {(kept + 16 * ACTIVATIONS) / 1e9:.2f} GB" in text
    assert f"on a TPU about {(kept + TPU_ACTIVATIONS + 48 * 32 * 32 * 3 * 4) / 1e9:.2f} GB" in text
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

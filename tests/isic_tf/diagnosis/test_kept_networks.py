"""Networks by a kept graph give what built ones give."""

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import targets
from isic_tf.diagnosis import kept_networks, network_results
from isic_tf.inference import fold_networks
from isic_tf.models import ModelConfig, classifiers, stage_features
from isic_tf.models.pretrained import weights_files
from isic_tf.novelty import detector

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def write_folds(directory, options, count=2):
    """Writes the weights of random networks as folds; returns their paths."""
    paths = []
    for fold in range(count):
        tf.keras.utils.set_random_seed(fold)
        path = directory / f"fold{fold}" / "best.weights.h5"
        path.parent.mkdir(parents=True)
        classifiers.build_from_config(ModelConfig(**options), "none").save_weights(str(path))
        paths.append(str(path))
    return paths


@pytest.mark.parametrize(
    "options",
    [
        {"target": "diagnosis", "metadata": "age,n:dlogp", "hidden_units": 4, "pooling": "gem", "dropout_samples": 2},
        {"target": "columns:A,B", "positive_classes": "B", "backbone": "mobilenetv3-small"},
    ],
    ids=["classes and metadata", "labels"],
)
def test_results_are_the_same(tmp_path, options):
    options = {"image_size": 32, "weights": "none", **options}
    paths = write_folds(tmp_path, options)
    config = ModelConfig(**options)
    flags = {name: value for name, value in options.items() if name != "weights"}
    built = fold_networks.FoldNetworks(paths, flags, tf.distribute.get_strategy())
    first = weights_files.read_kept(paths[0])
    known = np.random.default_rng(1).random((3, built.network.inputs[1].shape[1])) if config.metadata else None
    known = known if known is None else known.astype(np.float32)
    width = stage_features.add_stage_features(built.network).outputs[-1].shape[-1]
    features = np.random.default_rng(2).normal(size=(120, width))
    detectors = [None, detector.fit_detector(features[:60], features[60:])]
    expected = network_results.NetworkRunner(built, detectors, config.class_set, 2, embed=True)
    content = expected.copy_graph(first)
    kept = kept_networks.read_networks(content, first, paths[1:])
    assert len(kept) == 2
    found = network_results.NetworkRunner(kept, detectors, config.class_set, 2, embed=True)
    found.prepare(IMAGES[:1], None if known is None else known[:1])
    for one, other in zip(found.run(IMAGES, known, [""] * 3), expected.run(IMAGES, known, [""] * 3), strict=True):
        # Threads add up in another order each time.
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    assert found.copy_graph(first) is None


@pytest.fixture
def folds(run):
    return run_directory.trained_folds(str(run))


@pytest.fixture
def runner(small_backbone, run, folds):
    options = run_directory.read_network(str(run))
    networks = fold_networks.FoldNetworks(folds, options, tf.distribute.get_strategy())
    return network_results.NetworkRunner(networks, [None, None], targets.BINARY)


def test_the_graph_holds_no_weights(runner, folds):
    first = weights_files.read_kept(folds[0])
    content = runner.copy_graph(first)
    assert max(array.nbytes for array in first.values()) > 100
    assert not [name for name, array in first.items() if array.nbytes > 100 and array.tobytes() in content]


@pytest.mark.parametrize("change", ["another shape", "another type", "a further array", "an array less"])
def test_of_arrays_that_are_not_the_networks_no_graph_is_kept(runner, folds, change):
    arrays = weights_files.read_kept(folds[0])
    name = next(iter(arrays))
    if change == "another shape":
        arrays[name] = arrays[name][:-1]
    elif change == "another type":
        arrays[name] = arrays[name].astype(np.float64)
    elif change == "a further array":
        arrays["layers/dense_9/vars/0"] = arrays[name]
    else:
        del arrays[name]
    assert runner.copy_graph(arrays) is None


def test_folds_whose_arrays_differ_are_not_read(runner, folds, tmp_path):
    first = weights_files.read_kept(folds[0])
    content = runner.copy_graph(first)
    assert kept_networks.read_networks(content, first, [str(tmp_path / "none.h5")]) is None
    other = {**first, next(iter(first)): np.zeros(3, np.float32)}
    assert kept_networks.read_networks(content, other, folds[1:]) is None

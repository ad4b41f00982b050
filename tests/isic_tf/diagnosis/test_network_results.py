import numpy as np
import pytest
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import targets
from isic_tf.diagnosis import network_results
from isic_tf.inference import fold_networks
from isic_tf.novelty import detector
from isic_tf.visualization import grad_cam

pytestmark = pytest.mark.usefixtures("small_backbone")
IMAGES = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3)).astype(np.uint8)


@pytest.fixture
def networks(run):
    paths = run_directory.trained_folds(str(run))
    return fold_networks.FoldNetworks(paths, run_directory.read_network(str(run)), tf.distribute.get_strategy())


def run_all(networks, detectors=(None, None), versions=1, embed=False, images=IMAGES):
    runner = network_results.NetworkRunner(networks, detectors, targets.BINARY, versions, embed)
    return runner.run(images, None, [""] * len(images))


def test_scores_features_and_maps_are_those_of_each_network(networks):
    found = run_all(networks, embed=True)
    maps = []
    for fold in (0, 1):
        networks.choose(fold)
        network = networks.network
        both = tf.keras.Model(network.input, [network.output, network.get_layer("pooled").output])
        logits, pooled = both(IMAGES / np.float32(255), training=False)
        np.testing.assert_allclose(found.fold_scores[:, fold], tf.sigmoid(logits)[:, 0], rtol=1e-4)
        np.testing.assert_allclose(found.embeddings[:, fold], pooled, rtol=1e-4, atol=1e-6)
        maps.append(grad_cam.compute_grad_cam(network, IMAGES)[0])
    np.testing.assert_allclose(found.scores[:, 0], found.fold_scores.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.maps, grad_cam.enlarge(np.mean(maps, axis=0), 32), atol=1e-4)
    assert np.isnan(found.unlike).all()
    assert run_all(networks).embeddings.shape == (10, 2, 0)


def test_versions_are_averaged_and_maps_are_of_the_image_as_it_is(networks):
    found = run_all(networks, versions=2, images=IMAGES[:2])
    as_is = run_all(networks, images=IMAGES[:2])
    flipped = run_all(networks, images=IMAGES[:2, :, ::-1])
    # The second symmetry is a flip of the columns or of the rows.
    other = run_all(networks, images=IMAGES[:2, ::-1])
    means = [(as_is.scores + turned.scores) / 2 for turned in (flipped, other)]
    assert any(np.allclose(found.scores, mean, rtol=1e-5) for mean in means)
    np.testing.assert_array_equal(found.maps, as_is.maps)


def test_detectors_are_of_their_fold(networks):
    rng = np.random.default_rng(0)
    # The stand-in has 8 features.
    usual = detector.fit_detector(rng.normal(size=(60, 8)), rng.normal(size=(60, 8)))
    one = run_all(networks, (usual, None))
    both = run_all(networks, (usual, usual))
    assert np.isfinite(one.unlike).all()
    networks.choose(0)
    assert (one.unlike != both.unlike).all()

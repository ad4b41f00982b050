import base64

import cv2
import numpy as np
import pytest
from scipy.spatial import distance

from isic_tf.diagnosis import judge, neighbors, training_features
from isic_tf.diagnosis.config import JudgeConfig
from isic_tf.visualization import record_images

pytestmark = pytest.mark.usefixtures("small_backbone")


def test_each_training_image_is_compared_by_its_own_network():
    whole = np.zeros(3, np.int64)
    names = np.array(["a", "b", "c"])
    features = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float16)
    known = training_features.TrainingFeatures(names, whole, whole, whole, np.array([0, 1, 1]), features)
    # Of one image: (3, 4) by the first network, (1, 0) by the second.
    found = neighbors.compare(known, np.array([[[3, 4], [1, 0]]], np.float32))
    np.testing.assert_allclose(found, [[0.6, 0, 0.6]], atol=1e-3)
    assert not neighbors.compare(known, np.zeros((1, 2, 2), np.float32)).any()


def test_the_most_similar_training_images_are_named_and_shown(run, record_set, index):
    found = judge.Judge(JudgeConfig(workdir=str(run)), embed=True)
    records = str(record_set / "train*.tfrec")
    index = index.reset_index(drop=True)
    images = record_images.load_images(index, 32)
    embeddings = found.compute(images, None, [""] * len(images)).embeddings
    options = (str(run), found.paths, found.run, lambda: found.networks, records)
    similar = neighbors.find_neighbors(*options, embeddings)
    for image, own in enumerate(similar):
        # The features of an image with themselves; some of the stand-in are parallel to those of others.
        assert own[0].similarity == pytest.approx(1, abs=2e-3)
        values = [one.similarity for one in own]
        assert values == sorted(values, reverse=True)
        places = [index.index[index["image_name"] == one.image].item() for one in own]
        assert len(set(places)) == neighbors.COUNT
        for place, one in zip(places, own, strict=True):
            network = index["fold"][place]
            wanted = 1 - distance.cosine(embeddings[image, network], embeddings[place, network])
            assert one.similarity == pytest.approx(wanted, abs=2e-3)
            assert one.label == ("benign", "malignant")[index["target"][place]]
        content = base64.b64decode(own[0].picture.removeprefix("data:image/jpeg;base64,"))
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert picture.shape == (112, 112, 3)
        assert np.abs(picture.mean(axis=(0, 1)) - images[places[0]].mean(axis=(0, 1))).max() < 3

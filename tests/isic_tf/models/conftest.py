import pytest
import source_weights

from isic_tf.models import backbones


@pytest.fixture(scope="session")
def networks():
    """Backbones of the three families with made-up weights; tests do not change them."""
    sizes = {"efficientnet-lite0": 65, "efficientnet-b0": 32, "efficientnetv2-b0": 32}
    built = {name: backbones.build_backbone(name, size) for name, size in sizes.items()}
    return {name: source_weights.randomize(network) for name, network in built.items()}


@pytest.fixture
def lite0(networks):
    return networks["efficientnet-lite0"]

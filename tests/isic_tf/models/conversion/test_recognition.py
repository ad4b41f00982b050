import numpy as np
import pytest

from isic_tf.models import backbones
from isic_tf.models.conversion import recognition


def test_the_table_is_unambiguous_and_has_the_three_families():
    assert len(set(recognition._KERNELS.values())) == len(recognition.BACKBONES) == 3 + 9 + 7
    assert set(recognition.BACKBONES) <= set(backbones.BACKBONES)


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "efficientnet-b0", "efficientnetv2-b0"])
def test_a_network_is_recognized_by_its_shapes(networks, backbone):
    arrays = {weight.name: weight.numpy() for weight in networks[backbone].weights}
    assert recognition.recognize(arrays) == backbone
    first = next(name for name, array in arrays.items() if array.ndim == 4)
    del arrays[first]
    assert recognition.recognize(arrays) == ""
    assert f"the nearest is {backbone} with" in recognition.find_nearest(arrays)


def test_only_kernels_are_counted():
    arrays = {"kernel": np.zeros([3, 3, 2, 4]), "top": np.zeros([4, 5]), "bias": np.zeros(4)}
    assert recognition.count_kernels(arrays) == (1, 72)

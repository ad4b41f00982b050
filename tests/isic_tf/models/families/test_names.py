import pytest

from isic_tf.models import families
from isic_tf.models.families import convnext, efficientnet_lite, keras_applications, names


@pytest.mark.parametrize("family", names.FAMILIES)
def test_every_name_is_of_a_family_that_builds_it(family):
    assert all(names.find_family(name) == family for name in names.FAMILIES[family])
    assert callable(getattr(families, family).build)
    assert callable(getattr(families, family).make_normalization)


def test_the_names_are_those_that_the_families_know():
    assert names.FAMILIES["convnext"] == tuple(convnext._VARIANTS)
    assert names.FAMILIES["efficientnet_lite"] == tuple(efficientnet_lite._SCALES)
    assert names.FAMILIES["keras_applications"] == tuple(keras_applications._FUNCTIONS)


def test_other_names_are_networks_of_the_user():
    assert names.find_family("networks:small") == "user_backbones"
    assert names.is_address("networks:small")
    assert not names.is_address("densenet-121")

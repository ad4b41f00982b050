import pytest

from isic_tf.models import backbones
from isic_tf.models.families import convnext, efficientnet, efficientnet_lite, keras_applications, user_backbones
from tfrecord_tools import errors


def test_every_backbone_has_one_name_and_one_family():
    assert len(set(backbones.BACKBONES)) == len(backbones.BACKBONES)
    assert len(backbones.BACKBONES) == 3 + 9 + 7 + 5 + 7 + 24 + 3 + 2
    assert all(hasattr(backbones.find_family(backbone), "build") for backbone in backbones.BACKBONES)
    assert backbones.find_family("convnext-tiny") is convnext
    assert backbones.find_family("densenet-121") is keras_applications
    assert backbones.find_family("efficientnet-b0") is efficientnet
    assert backbones.find_family("efficientnet-lite0") is efficientnet_lite
    assert backbones.find_family("networks:small") is user_backbones


@pytest.mark.parametrize("backbone", backbones.BACKBONES)
def test_the_default_weights_are_the_best_of_those_published(backbone):
    expected = "imagenet"
    if backbone.startswith("efficientnet-b"):
        expected = "noisy-student"
    if backbone == "efficientnet-l2":
        expected = "none"
    assert backbones.default_weights(backbone) == expected


@pytest.mark.parametrize(
    ("backbone", "weights", "others"),
    [
        ("efficientnet-lite0", "noisy-student", "imagenet, none"),
        ("efficientnetv2-s", "noisy-student", "imagenet, none"),
        ("regnety-002", "noisy-student", "imagenet, none"),
        ("efficientnet-l2", "noisy-student", "none"),
        ("efficientnet-l2", "imagenet", "none"),
    ],
)
def test_weights_that_nobody_published_are_refused(backbone, weights, others):
    with pytest.raises(
        errors.ConfigError, match=f"no {weights} weights of {backbone}: give --weights={others} or the path"
    ):
        backbones.build_backbone(backbone, 32, weights)


@pytest.mark.parametrize(
    "use", [backbones.check_name, backbones.default_weights, lambda backbone: backbones.build_backbone(backbone, 64)]
)
def test_unknown_backbones_are_answered_with_the_list_and_the_nearest_name(use):
    listed = "expected a backbone of efficientnet-lite0, .*mobilenetv3-large, or module:function for your own, got"
    with pytest.raises(errors.ConfigError, match=f"{listed} 'densenet121'; did you mean densenet-121\\?$"):
        use("densenet121")
    with pytest.raises(errors.ConfigError, match=f"{listed} 'vgg'$"):
        use("vgg")


@pytest.mark.parametrize("size", [0, 31, 64.0, "64"])
def test_image_sizes_that_are_none_are_refused(size):
    with pytest.raises(errors.ConfigError, match="expected an image size in whole pixels from 32, got"):
        backbones.build_backbone("efficientnet-b0", size)


def test_weights_are_a_kind_or_a_path():
    assert [backbones.weights_path(weights) for weights in ("none", "imagenet", "a.h5")] == [None, None, "a.h5"]

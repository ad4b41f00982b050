import numpy as np
import pytest
import torch_libraries
from source_weights import make_state_dict, randomize, safetensors_file
from torch_bytes import state_dict_file

from isic_tf.models import backbones
from isic_tf.models.conversion import convert_weights
from isic_tf.models.conversion.config import WeightsConfig
from isic_tf.models.pretrained import weights_files
from tfrecord_tools import errors


def write(path, arrays):
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        path.write_bytes((state_dict_file if path.suffix == ".pth" else safetensors_file)(arrays))


def convert(path, output, **options):
    return convert_weights.convert_file(WeightsConfig(convert=str(path), output=str(output), **options))


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("tf_efficientnet_lite0.in1k.safetensors", "timm"),
        ("own.npz", "efficientnet_pytorch"),
        ("own.pth", "torchvision"),
        ("keras.npz", "Keras 3"),
    ],
)
def test_what_is_converted_loads_with_the_same_weights(lite0, built_once, tmp_path, name, scheme):
    write(tmp_path / name, make_state_dict(lite0, scheme))
    lines = convert(tmp_path / name, tmp_path / "lite0.h5", **({"normalization": "half"} if "own" in name else {}))
    network = randomize(backbones.build_backbone("efficientnet-lite0", 65), seed=1)
    weights_files.load_weights(network, str(tmp_path / "lite0.h5"))
    expected = lite0.get_weights()
    if scheme == "torchvision":
        # Of epsilon 1e-5: only gamma differs, by little.
        assert max(np.abs(a - b).max() for a, b in zip(network.get_weights(), expected, strict=True)) < 2e-3
    else:
        for found, array in zip(network.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(found, array)
    assert f"efficientnet-lite0 of {scheme}, 245 arrays" in lines[0]
    assert lines[-1].endswith(f"--backbone=efficientnet-lite0 --weights={tmp_path}/lite0.h5")
    assert any("license of their publisher" in line for line in lines)
    assert any("PyTorch pads" in line for line in lines) == ("own" in name)


def test_another_normalization_is_folded_and_said(lite0, built_once, tmp_path):
    path = tmp_path / "efficientnet_lite0.ra_in1k.npz"
    write(path, make_state_dict(lite0, "timm"))
    lines = convert(path, tmp_path / "lite0.h5")
    assert "epsilon of batch normalization 1e-05, images normalized as imagenet" in lines
    assert convert_weights._BORDER in lines
    network = randomize(backbones.build_backbone("efficientnet-lite0", 65), seed=1)
    weights_files.load_weights(network, str(tmp_path / "lite0.h5"))
    ratio = network.get_weights()[0] / lite0.get_weights()[0]
    # (255 / 128) times the standard deviation of ImageNet is the inverse.
    np.testing.assert_allclose(ratio[1, 1, :, 0], 128 / 255 / np.array([0.229, 0.224, 0.225]), rtol=1e-5)


def test_the_same_output_is_left_and_another_refused(lite0, built_once, tmp_path):
    path, output = tmp_path / "lite0.npz", tmp_path / "lite0.h5"
    write(path, make_state_dict(lite0, "efficientnet_pytorch"))
    convert(path, output)
    content = output.read_bytes()
    convert(path, output)
    assert output.read_bytes() == content
    with pytest.raises(errors.ConfigError, match=r"or holds the same weights, got .*lite0.h5; choose another"):
        convert(path, output, normalization="imagenet")
    assert output.read_bytes() == content
    assert {found.name for found in tmp_path.iterdir()} == {"lite0.npz", "lite0.h5"}


def test_a_file_of_the_layout_here_needs_no_conversion(lite0, built_once, tmp_path):
    lite0.save_weights(tmp_path / "own.h5")
    with pytest.raises(errors.ConfigError, match=r"got .*own.h5, which --weights=.*own.h5 loads"):
        convert(tmp_path / "own.h5", tmp_path / "other.h5")


@pytest.mark.parametrize("output", ["b.pth", "b.weights.h5"])
def test_an_output_of_another_kind_is_refused_before_anything_is_read(output):
    with pytest.raises(errors.ConfigError, match=f"ends in .h5, and not in .weights.h5, .* got {output}"):
        convert("none.pth", output)


def test_foreign_and_incomplete_files_are_one_error_and_write_nothing(lite0, built_once, tmp_path):
    write(tmp_path / "resnet.npz", {"layer1.0.conv1.weight": np.zeros([4, 4, 1, 1], np.float32)})
    with pytest.raises(errors.CorruptRecordError, match="resnet.npz, found arrays named as 'layer1.0.conv1.weight'"):
        convert(tmp_path / "resnet.npz", tmp_path / "out.h5")
    arrays = make_state_dict(lite0, "efficientnet_pytorch")
    del arrays["_conv_head.weight"]
    write(tmp_path / "lite0.npz", arrays)
    with pytest.raises(errors.CorruptRecordError, match="found 48 convolutions of 2919392 numbers"):
        convert(tmp_path / "lite0.npz", tmp_path / "out.h5")
    with pytest.raises(errors.CorruptRecordError, match=r"lite0.npz, but _conv_head.weight is missing"):
        convert(tmp_path / "lite0.npz", tmp_path / "out.h5", backbone="efficientnet-lite0")
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("library", "name", "backbone"),
    [
        ("timm", "efficientnet_b0", "efficientnet-b0"),
        ("timm", "tf_efficientnetv2_b0", "efficientnetv2-b0"),
        ("timm", "tf_efficientnet_lite0", "efficientnet-lite0"),
        ("torchvision", "efficientnet_b0", "efficientnet-b0"),
        ("torchvision", "efficientnet_v2_s", "efficientnetv2-s"),
        ("efficientnet_pytorch", "efficientnet-b0", "efficientnet-b0"),
    ],
)
def test_features_are_those_of_the_library(library, name, backbone, tmp_path):
    torch_libraries.run(library, name, str(tmp_path))
    source = np.load(tmp_path / "features.npz")
    # No folding: the images are normalized already.
    own = "half" if "lite" in backbone or backbone == "efficientnetv2-s" else "imagenet"
    convert(tmp_path / f"{name}.npz", tmp_path / "out.h5", normalization=own)
    network = backbones.build_backbone(backbone, 65)
    weights_files.load_weights(network, str(tmp_path / "out.h5"))
    found = network(source["images"]).numpy()
    assert np.abs(found - source["features"]).max() <= 1e-5 * np.abs(source["features"]).max()

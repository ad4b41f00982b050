import numpy as np
import pytest
from shard_files import write_shard

from tfrecord_tools.building import channel_check
from tfrecord_tools.imaging import codec

SKIN = codec.encode(np.full((16, 16, 3), (90, 120, 180), np.uint8), 90)
EXCHANGED = codec.encode(np.full((16, 16, 3), (180, 120, 90), np.uint8), 90)


def places(folder, images):
    rows = [{"image_name": f"i{number}"} for number in range(len(images))]
    return channel_check.list_places([write_shard(folder, f"train00-{len(images)}.tfrec", rows, jpegs=images)])


def test_exchanged_channels_are_logged_with_their_share(tmp_path, capsys):
    found = channel_check.warn_of_exchanged_channels("my set", places(tmp_path, [EXCHANGED] * 8 + [b"no image"]))
    assert found.startswith("8 of 8 images have more blue than red")
    assert f"note: my set: {found}\n" in capsys.readouterr().out


@pytest.mark.parametrize("images", [[], [SKIN] * 9, [SKIN] * 8 + [EXCHANGED]])
def test_genuine_images_are_not_logged(tmp_path, capsys, images):
    assert channel_check.warn_of_exchanged_channels("my set", places(tmp_path, images)) is None
    assert capsys.readouterr().out == ""


def test_a_large_set_is_sampled_evenly(tmp_path, monkeypatch):
    monkeypatch.setattr(channel_check, "_MAX_SAMPLED", 6)
    half = [SKIN, EXCHANGED] * 8
    found = channel_check.warn_of_exchanged_channels("my set", places(tmp_path, [SKIN] + half + [EXCHANGED] * 20))
    # Of the records 0, 7, 14, 22, 29 and 36, the first two are skin.
    assert found.startswith("4 of 6 images")

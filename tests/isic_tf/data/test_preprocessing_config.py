import json
import pathlib

import pytest

from isic_tf.data import preprocessing_config


@pytest.fixture
def data_dir(tmp_path):
    manifest = {"shards": [], "resize": "pad", "trim_border": True, "color_constancy": None, "image_size": 64}
    (tmp_path / "train.manifest.json").write_text(json.dumps(manifest))
    return str(tmp_path)


def test_a_manifest_lists_the_preprocessing_and_what_it_leaves_out_is_unknown(data_dir):
    assert preprocessing_config.read_preprocessing(data_dir) == {"resize": "pad", "trim_border": True}


def test_size_and_quality_of_the_records_are_known_together(data_dir):
    path = pathlib.Path(data_dir, "train.manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "quality": 90}))
    found = preprocessing_config.read_preprocessing(data_dir)
    assert found == {"resize": "pad", "trim_border": True, "record_size": 64, "quality": 90}
    # Records of several sizes have none.
    path.write_text(path.read_text().replace('"image_size": 64', '"image_size": null'))
    assert preprocessing_config.read_preprocessing(data_dir) == {"resize": "pad", "trim_border": True}
    texts = {name: str(value) for name, value in found.items()}
    of_run = preprocessing_config.find_preprocessing({"image_size": "32", **texts})
    assert of_run == {**texts, "record_size": 64, "quality": 90}
    # Runs from before they kept that stay as they were.
    assert preprocessing_config.find_preprocessing({"data_dir": data_dir, "resize": "pad"}) == {"resize": "pad"}
    assert preprocessing_config.find_preprocessing({"data_dir": data_dir}) == {"resize": "pad", "trim_border": True}


@pytest.mark.parametrize(("size", "quality"), [(0, 90), (64, 101), (64, "90"), (64, 90.0), (True, 90)])
def test_a_size_or_quality_that_no_build_gives_is_refused(tmp_path, size, quality):
    facts = {"shards": [], "image_size": size, "quality": quality}
    (tmp_path / "train.manifest.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match=r"train.manifest.json: expected a whole number .* as (image_size|quality)"):
        preprocessing_config.read_preprocessing(str(tmp_path))


def test_without_a_manifest_nothing_is_known(tmp_path):
    assert preprocessing_config.read_preprocessing(str(tmp_path / "nothing")) == {}
    assert preprocessing_config.find_preprocessing({"data_dir": str(tmp_path)}) == {}
    assert preprocessing_config.find_preprocessing({}) == {}


def test_the_options_of_a_run_count_before_the_manifest_of_its_first_set(data_dir):
    run = {"data_dir": f"{data_dir},elsewhere", "backbone": "efficientnet-b0"}
    assert preprocessing_config.find_preprocessing(run) == {"resize": "pad", "trim_border": True}
    found = preprocessing_config.find_preprocessing({**run, "resize": "crop", "trim_border": "False"})
    assert found == {"resize": "crop", "trim_border": "False"}


@pytest.mark.parametrize("resize", ["two words", 3, ["pad"], ""])
def test_preprocessing_that_is_not_a_word_is_refused(tmp_path, resize):
    (tmp_path / "train.manifest.json").write_text(json.dumps({"shards": [], "resize": resize}))
    with pytest.raises(ValueError, match="train.manifest.json.* resize"):
        preprocessing_config.read_preprocessing(str(tmp_path))

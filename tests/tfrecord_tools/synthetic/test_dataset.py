import cv2
import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import errors
from tfrecord_tools.synthetic import config, dataset


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tables = dataset.make_dataset(
            dataset.SynthConfig(output=str(tmp_path / name), num_patients=1, malignant_rate=0.2, seed=seed)
        )
        for split in ("train", "test"):
            assert tables[split].to_csv(index=False) == (tmp_path / name / f"{split}.csv").read_text()
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_another_set_is_not_written_among_the_images_of_a_first_one(tmp_path):
    options = {"output": str(tmp_path), "num_patients": 1}
    dataset.make_dataset(config.SynthConfig(**options, malignant_rate=0.2))
    dataset.make_dataset(config.SynthConfig(**options, malignant_rate=0.2))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(errors.ConfigError, match="train.csv, or the one that this run writes, got a file with other"):
        dataset.make_dataset(config.SynthConfig(**options, malignant_rate=0.2, seed=1))
    assert sorted(tmp_path.rglob("*")) == before


def test_tables_have_the_competitions_shape(made_up):
    train, test = (pd.read_csv(made_up / f"{split}.csv") for split in ("train", "test"))
    assert list(train) == [
        "image_name",
        "patient_id",
        "sex",
        "age_approx",
        "anatom_site_general_challenge",
        "diagnosis",
        "benign_malignant",
        "target",
    ]
    assert list(test) == list(train)[:5]
    assert train["image_name"].is_unique
    assert not set(train["patient_id"]) & set(test["patient_id"])
    assert ((train["target"] == 1) == (train["benign_malignant"] == "malignant")).all()
    sample = pd.read_csv(made_up / "sample_submission.csv")
    assert sample["image_name"].tolist() == test["image_name"].tolist()
    jpegs = {path.stem for path in (made_up / "jpeg" / "train").iterdir()}
    assert jpegs == set(train["image_name"])


def test_defaults_follow_the_real_table():
    table = dataset.make_table(np.random.default_rng(0), 2000, config.MALIGNANT_RATE)
    sizes = table.groupby("patient_id").size()
    # The real table: 1.76 % malignant; 2 to 115 images per patient, median 12, mean 16.1; 0.2 % and 1.6 % blank.
    assert abs((table["target"] == "1").mean() - 0.0176) < 0.0002
    assert sizes.min() >= 2
    assert sizes.max() <= 115
    assert sizes.median() in (11, 12, 13)
    assert 15 < sizes.mean() < 17.5
    assert 0.001 < (table["sex"] == "").mean() < 0.003
    assert 0.013 < (table["anatom_site_general_challenge"] == "").mean() < 0.019


def test_image_sizes_vary(made_up):
    shapes = {cv2.imread(str(path)).shape for path in (made_up / "jpeg" / "train").iterdir()}
    assert len(shapes) >= 4


def test_the_number_of_threads_changes_no_byte(tmp_path, monkeypatch):
    table = dataset.make_table(np.random.default_rng(0), 1, 0.2)
    for cores in (1, 3):
        monkeypatch.setattr(dataset.os, "cpu_count", lambda cores=cores: cores)
        dataset.draw_images(np.random.default_rng(1), table, str(tmp_path / str(cores)), "test")
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("1", "3")
    ]
    assert len(files[0]) == 2 * len(table)
    assert files[0] == files[1]

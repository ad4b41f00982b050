import time

import cv2
import numpy as np
import pandas as pd

from tfrecord_tools.synthetic import dataset, lesion_renderer


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        dataset.make_dataset(
            dataset.SynthConfig(output=str(tmp_path / name), num_patients=1, malignant_rate=0.2, seed=seed)
        )
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    ]
    assert files[0] == files[1]
    assert files[0] != files[2]


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
    table = dataset.make_table(np.random.default_rng(0), 2000, dataset.MALIGNANT_RATE)
    sizes = table.groupby("patient_id").size()
    # Of the real table: 1.76 % malignant; 2 to 115 images a patient, median 12, mean 16.1; 0.2 % and 1.6 % blank.
    assert abs((table["target"] == "1").mean() - 0.0176) < 0.0002
    assert sizes.min() >= 2
    assert sizes.max() <= 115
    assert sizes.median() in (11, 12, 13)
    assert 15 < sizes.mean() < 17.5
    assert 0.001 < (table["sex"] == "").mean() < 0.003
    assert 0.013 < (table["anatom_site_general_challenge"] == "").mean() < 0.019


def lesion_features(image):
    """Mean darkness and colour spread, from the middle of the picture."""
    small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)[8:40, 8:40].astype(float).reshape(-1, 3)
    return np.array([small.std(axis=0).mean(), (small[:, 2] - small[:, 0]).std()])


def test_a_melanoma_departs_from_its_patients_other_moles():
    rng = np.random.default_rng(0)
    larger = []
    for _ in range(20):
        look = lesion_renderer.draw_patient_appearance(rng) | {"hairiness": 0.0}
        moles = [lesion_features(lesion_renderer.draw_lesion(rng, look, 0.05, (320, 240))[0]) for _ in range(4)]
        melanoma = lesion_features(lesion_renderer.draw_lesion(rng, look, 0.9, (320, 240))[0])
        larger.append(np.linalg.norm(melanoma - np.mean(moles, axis=0)) > np.std(moles, axis=0).max())
    assert np.mean(larger) >= 0.8


def test_lesions_lie_anywhere_and_where_their_masks_say():
    images, masks, labels = lesion_renderer.draw_anywhere(40, 64, seed=0)
    assert labels.tolist() == [0, 1] * 20
    assert images.shape == (40, 64, 64, 3)
    # A lesion is darker than the skin around it, in red too.
    darker = [image[~mask].mean() - image[mask].mean() for image, mask in zip(images[..., 0], masks, strict=True)]
    assert np.min(darker) > 0
    assert np.median(darker) > 20
    centres = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])
    assert (centres.std(axis=0) > 8).all()


def test_image_sizes_vary(made_up):
    shapes = {cv2.imread(str(path)).shape for path in (made_up / "jpeg" / "train").iterdir()}
    assert len(shapes) >= 4


def test_two_hundred_images_take_at_most_twenty_seconds_of_one_core():
    rng = np.random.default_rng(0)
    look, size, started = lesion_renderer.draw_patient_appearance(rng), (768, 576), time.process_time()
    for _ in range(20):
        lesion_renderer.draw_lesion(rng, look, 0.5, size)
    assert time.process_time() - started < 2

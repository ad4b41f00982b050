import time

import cv2
import numpy as np

from tfrecord_tools.synthetic import lesion_renderer


def lesion_features(image):
    """Returns the mean darkness and color spread in the middle of the picture."""
    small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)[8:40, 8:40].astype(float).reshape(-1, 3)
    return np.array([small.std(axis=0).mean(), (small[:, 2] - small[:, 0]).std()])


def test_a_melanoma_departs_from_its_patients_other_moles():
    rng = np.random.default_rng(0)
    larger = []
    for _ in range(20):
        appearance = lesion_renderer.draw_patient_appearance(rng) | {"hairiness": 0.0}
        moles = [lesion_features(lesion_renderer.draw_lesion(rng, appearance, 0.05, (320, 240))[0]) for _ in range(4)]
        melanoma = lesion_features(lesion_renderer.draw_lesion(rng, appearance, 0.9, (320, 240))[0])
        larger.append(np.linalg.norm(melanoma - np.mean(moles, axis=0)) > np.std(moles, axis=0).max())
    assert np.mean(larger) >= 0.8


def test_lesions_are_anywhere_in_the_image_and_where_their_masks_are():
    images, masks, labels = lesion_renderer.draw_anywhere(40, 64, seed=0)
    assert labels.tolist() == [0, 1] * 20
    assert images.shape == (40, 64, 64, 3)
    # A lesion is darker than the skin around it, in red too.
    darker = [image[~mask].mean() - image[mask].mean() for image, mask in zip(images[..., 0], masks, strict=True)]
    assert np.min(darker) > 0
    assert np.median(darker) > 20
    centres = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])
    assert (centres.std(axis=0) > 8).all()


def test_two_hundred_images_take_at_most_twenty_seconds_of_one_core():
    rng = np.random.default_rng(0)
    appearance = lesion_renderer.draw_patient_appearance(rng)
    started = time.process_time()
    for _ in range(20):
        lesion_renderer.draw_lesion(rng, appearance, 0.5, (768, 576))
    assert time.process_time() - started < 2


def test_an_appearance_is_within_its_ranges():
    rng = np.random.default_rng(1)
    for _ in range(50):
        appearance = lesion_renderer.draw_patient_appearance(rng)
        # Skin is darkened by at most (0.36, 0.32, 0.28) from (0.68, 0.74, 0.90).
        assert (appearance["skin"] >= np.float32([0.32, 0.42, 0.62])).all()
        assert (appearance["skin"] <= np.float32([0.68, 0.74, 0.90])).all()
        assert 0.25 <= appearance["radius"] <= 0.42
        assert 0.3 <= appearance["evenness"] <= 1.0
        assert appearance["hairiness"] >= 0


def test_a_mask_has_at_most_256_rows_and_the_image_its_own_size():
    rng = np.random.default_rng(2)
    appearance = lesion_renderer.draw_patient_appearance(rng)
    image, mask = lesion_renderer.draw_lesion(rng, appearance, 0.5, (640, 512))
    # 512 rows are halved to 256, and 640 columns to 320.
    assert image.shape == (512, 640, 3)
    assert mask.shape == (256, 320)
    assert 0 <= mask.min() < mask.max() <= 1


def test_images_do_not_depend_on_when_they_are_rendered():
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    appearance = lesion_renderer.draw_patient_appearance(rng)
    lesion_renderer.draw_patient_appearance(other)
    severities = (0.05, 0.9, 0.4)
    drawn = [lesion_renderer.draw_lesion(rng, appearance, severity, (320, 240)) for severity in severities]
    planned = [lesion_renderer.plan_lesion(other, appearance, severity, (320, 240)) for severity in severities]
    assert rng.random() == other.random()
    rendered = [render() for render in reversed(planned)][::-1]
    for (image, mask), (late_image, late_mask) in zip(drawn, rendered, strict=True):
        assert np.array_equal(image, late_image)
        assert np.array_equal(mask, late_mask)

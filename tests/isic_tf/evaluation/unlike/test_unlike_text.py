import numpy as np
import pandas as pd

from isic_tf.evaluation.unlike import unlike_images, unlike_text


def make(images):
    """Images of patients with two each; every fourth is unlike the training images, and its prediction wrong."""
    targets = np.arange(images) % 2
    is_unlike = np.arange(images) % 8 > 5
    scores = np.where(is_unlike, 1 - targets, targets) * 0.5 + 0.25
    unlike = is_unlike + np.arange(images) / images / 2 + 0.25
    columns = {"target": targets, "prediction": scores, "patient": np.arange(images) // 2, "unlike": unlike}
    return pd.DataFrame(columns)


def test_the_text_has_the_shares_the_difference_and_the_coverages():
    found = unlike_images.assess(make(600), 0.5, resamples=100)
    shares, rows, coverages = (part.splitlines() for part in unlike_text.write(found, 0.5).split("\n\n"))
    assert shares[0] == "Images unlike the training images (unlike above 1)"
    assert shares[2].split()[:4] == ["all", "600", "150", "0.2500"]
    assert shares[3].split()[:5] == ["images", "of", "the", "patient", "2"]
    assert rows[0] == "With and without the flagged images, at threshold 0.5"
    assert [line.split()[0] for line in rows[2:5]] == ["all", "not", "flagged"]
    difference = found["without_flagged"]
    assert rows[5] == (
        f"  ROC AUC without the flagged minus that of all: {difference['difference']:+.4f} "
        f"[{difference['low']:.4f}, {difference['high']:.4f}]"
    )
    assert coverages[2].split()[:2] == ["100", "%"]
    assert coverages[6].split()[4:6] == ["300", "150"]
    area = found["risk_coverage"]
    assert coverages[7].startswith(
        f"  area under the error rate {area['area']:.4f}, in random order {area['area_random']:.4f}, difference -0."
    )


def test_groups_that_are_too_small_have_a_note():
    table = make(8)
    table.loc[0, "unlike"] = np.nan
    found = unlike_images.assess(table, 0.5)
    text = unlike_text.write(found, None)
    assert "(unlike above 1); 1 more have no value\n" in text
    assert "at threshold -\n" in text
    assert "\n  no difference of the ROC AUC: too small: 3 malignant images, 10 needed\n" in text
    assert "\n  not flagged       5          3  too small: 3 malignant images, 10 needed\n" in text

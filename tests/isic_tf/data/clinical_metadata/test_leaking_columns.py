import pytest

from isic_tf.data.clinical_metadata import leaking_columns


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("iddx_1", "states the diagnosis"),
        ("IDDX_full", "states the diagnosis"),
        ("diagnosis_confirm_type", "states the diagnosis"),
        ("dx_type", "states the diagnosis"),
        ("benign_malignant", "states the diagnosis"),
        ("mel_thick_mm", "only melanomas"),
        ("invasion_thickness_interval", "only melanomas"),
        ("MAL_OTH", "is that of a diagnosis"),
        ("tbp_lv_dnn_lesion_confidence", "test tables of ISIC 2024 lack it"),
        ("concomitant_biopsy", "biopsied because"),
        ("pixels_x", "the size of image or file leaks the label"),
        ("image_width", "the size of image or file leaks the label"),
        ("file size", "the size of image or file leaks the label"),
        ("bytes", "the size of image or file leaks the label"),
        ("Rows", "the size of image or file leaks the label"),
        ("target", "is the label"),
        ("Target", "is the label"),
        ("probability_MEL", "is the label"),
        ("PATIENT_ID", "names an image, a lesion or a patient"),
        ("lesion_id", "names an image, a lesion or a patient"),
        ("image_name", "names an image, a lesion or a patient"),
        ("MEL", "is that of a diagnosis"),
        ("basal cell carcinoma", "is that of a diagnosis"),
    ],
)
def test_columns_that_tell_the_label_are_refused_with_the_reason(name, reason):
    assert reason in leaking_columns.find_reason(name)


@pytest.mark.parametrize(
    "name",
    [
        "tbp_lv_areaMM2",
        "tbp_lv_nevi_confidence",
        "clin_size_long_diam_mm",
        "tbp_lv_x",
        "MONET_hair",
        "diameter_1",
        "dxa_density",
        "elevation",
        "melanin_index",
    ],
)
def test_measurements_are_not(name):
    assert leaking_columns.find_reason(name) is None

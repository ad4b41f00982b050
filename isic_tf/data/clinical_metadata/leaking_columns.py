"""Columns of tables that tell the label, so that no network is given them."""

import re

from tfrecord_tools.io import column_names
from tfrecord_tools.table_formats import diagnoses

# Patterns of folded names, and why such columns are refused.
_REASONS = (
    (
        r"((image|img|file|jpe?g|photo|picture)_?)?(width|height|size|bytes|n?_?pixels?|megapixels|resolution|rows|columns)"
        r"(_(x|y|px|pixels|bytes|kb|mb))?",
        "the size of image or file leaks the label in this data",
    ),
    (r"(iddx|diagnos|benign|malignan|histo|patholog).*|dx(_.*)?|melanocytic", "it states the diagnosis"),
    (
        r"mel_.*|(breslow|clark|invasion|tumou?r_thickness).*",
        "only melanomas that a pathologist has seen have it",
    ),
    # Of the challenges' ground truth, like the diagnoses below.
    (r"(ben|mal)_oth|inf|unk", "its name is that of a diagnosis"),
    (r".*biops.*", "lesions are biopsied because they look malignant"),
    (r"tbp_lv_dnn_lesion_confidence", "it is not known of new images: the test tables of ISIC 2024 lack it"),
    (
        r"(known_)?target|labels?|class(es)?|ground_?truth|fold|prediction|probability_.*|stage_one",
        "it is the label, or made from it",
    ),
    (
        r"(.*_)?ids?|image|image_name|name|index|tfrecord|shard|position|row|unnamed.*",
        "it names an image, a lesion or a patient, and measures nothing",
    ),
)


def find_reason(name: str) -> str | None:
    """Finds why a column must not be given to a network.

    Args:
        name: Name of a column of a table.

    Returns:
        The reason; None for a column that may be used.

    Examples:
        >>> find_reason("iddx_full"), find_reason("tbp_lv_areaMM2")
        ('it states the diagnosis', None)
    """
    folded = column_names.fold(name)
    for pattern, reason in _REASONS:
        if re.fullmatch(pattern, folded):
            return reason
    return "its name is that of a diagnosis" if diagnoses.find_diagnosis(name) else None

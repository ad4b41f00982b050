"""Defines the feature names, dtypes and category codes of records, for all modules."""

import functools

from tfrecord_tools import errors

VERSION = 1
UNKNOWN = -1
# Highest age of a patient, in years.
MAX_AGE = 120
# A code is a position in these tuples: the competition's categories in order of first appearance in its train.csv, then
# the categories of ISIC 2019 and HAM10000 alone.
CATEGORIES: dict[str, tuple[str, ...]] = {
    "sex": ("male", "female"),
    "anatom_site_general_challenge": (
        "head/neck",
        "upper extremity",
        "lower extremity",
        "torso",
        "palms/soles",
        "oral/genital",
    ),
    "diagnosis": (
        "unknown",
        "nevus",
        "melanoma",
        "seborrheic keratosis",
        "lentigo NOS",
        "lichenoid keratosis",
        "solar lentigo",
        "cafe-au-lait macule",
        "atypical melanocytic proliferation",
        "actinic keratosis",
        "basal cell carcinoma",
        "benign keratosis",
        "dermatofibroma",
        "squamous cell carcinoma",
        "vascular lesion",
    ),
}
# Names of these categories in ISIC 2019, HAM10000, DICOM files and the ISIC Archive.
_ALIASES = {
    "m": "male",
    "f": "female",
    "anterior torso": "torso",
    "posterior torso": "torso",
    "lateral torso": "torso",
    "trunk": "torso",
    "abdomen": "torso",
    "back": "torso",
    "chest": "torso",
    "head and neck": "head/neck",
    "ear": "head/neck",
    "face": "head/neck",
    "neck": "head/neck",
    "scalp": "head/neck",
    "hand": "upper extremity",
    "foot": "lower extremity",
    "acral": "palms/soles",
    "genital": "oral/genital",
    "unk": "unknown",
    "nv": "nevus",
    "blue nevus": "nevus",
    "melanocytic nevus": "nevus",
    "mel": "melanoma",
    "melanoma in situ": "melanoma",
    "melanoma invasive": "melanoma",
    "melanoma metastasis": "melanoma",
    "ak": "actinic keratosis",
    "akiec": "actinic keratosis",
    "solar or actinic keratosis": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "pigmented benign keratosis": "benign keratosis",
    "lichen planus like keratosis": "lichenoid keratosis",
    "df": "dermatofibroma",
    "scc": "squamous cell carcinoma",
    "squamous cell carcinoma in situ": "squamous cell carcinoma",
    "vasc": "vascular lesion",
    "angioma": "vascular lesion",
    "angiokeratoma": "vascular lesion",
    "hemangioma": "vascular lesion",
    "pyogenic granuloma": "vascular lesion",
}
# Other names of columns in published tables, in lower case: those of ISIC 2017 to 2024, HAM10000, MILK10k and PAD-UFES.
COLUMN_ALIASES: dict[str, tuple[str, ...]] = {
    "image_name": ("isic_id", "image_id", "image", "img_id"),
    "patient_id": ("patient",),
    "lesion_id": ("lesion",),
    "sex": ("gender",),
    "age_approx": ("age", "age_approximate"),
    "anatom_site_general_challenge": ("anatom_site_general", "anatom_site", "localization"),
    "diagnosis": ("dx", "diagnosis_full", "diagnosis_3"),
}
# Words for an unknown value that tables have in place of a blank, and the code that records have.
UNKNOWN_WORDS = ("unknown", "unk", "-1", "-1.0")
METADATA = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis", "width", "height")
INDEX_COLUMNS = ("shard", "position", "image_name", "patient_id", "target", "fold")
# Columns of an index that those of release 0.1 lack: the lesion, and a digest of the bytes of the image.
OPTIONAL_INDEX_COLUMNS = ("lesion_id", "image_digest")
PAIR_COLUMNS = ("image_name_1", "image_name_2")


def encode(column: str, value: str) -> int:
    """Converts a table's text to a record's integer.

    Args:
        column: `sex`, `anatom_site_general_challenge`, `diagnosis`, `age_approx` or `target`.
        value: Text as in the table; blank or one of `UNKNOWN_WORDS` where unknown.

    Returns:
        The code of the category (by its own name, or by that of another public data set: of the ISIC Archive's names
        the words before the comma count), the age in whole years, or the target; -1 for a blank and for a category that
        is not in `CATEGORIES`.

    Raises:
        IsicError: An age is not a number from 0 to 120, or a target is not 0 or 1.

    Examples:
        >>> encode("diagnosis", "MEL"), encode("age_approx", "45.0"), encode("sex", "")
        (2, 45, -1)
        >>> encode("diagnosis", "Melanoma, NOS"), encode("diagnosis", "Basal cell carcinoma, nodular")
        (2, 10)
    """
    if value == "":
        return UNKNOWN
    if column in CATEGORIES:
        return _encode_category(column, value)
    if column == "age_approx" and value.casefold() in UNKNOWN_WORDS:
        return UNKNOWN
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    allowed = {"age_approx": 0 <= number <= MAX_AGE, "target": number in (0, 1)}
    if not allowed[column]:
        expected = "0 or 1" if column == "target" else f"a number from 0 to {MAX_AGE} or blank"
        raise errors.IsicError(f"{column} must be {expected}, got {value!r}")
    return int(number)


@functools.lru_cache(maxsize=4096)
def _encode_category(column: str, value: str) -> int:
    codes = {name.casefold(): code for code, name in enumerate(CATEGORIES[column])}
    name = " ".join(value.casefold().split())
    # "Lentigo, NOS" is a name, and so is "Melanoma, NOS" up to its comma.
    for spelling in (name, name.replace(",", ""), name.partition(",")[0].strip()):
        spelling = _ALIASES.get(spelling, spelling)
        if spelling in codes:
            return codes[spelling]
    return UNKNOWN

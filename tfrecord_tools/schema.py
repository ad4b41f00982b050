"""Defines the feature names, dtypes and category codes of records, for all modules."""

from tfrecord_tools import errors

VERSION = 1
UNKNOWN = -1
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
# Names of these categories in ISIC 2019 and HAM10000.
_ALIASES = {
    "anterior torso": "torso",
    "posterior torso": "torso",
    "lateral torso": "torso",
    "unk": "unknown",
    "nv": "nevus",
    "mel": "melanoma",
    "ak": "actinic keratosis",
    "akiec": "actinic keratosis",
    "bcc": "basal cell carcinoma",
    "bkl": "benign keratosis",
    "df": "dermatofibroma",
    "scc": "squamous cell carcinoma",
    "vasc": "vascular lesion",
}
METADATA = ("patient_id", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis", "width", "height")
INDEX_COLUMNS = ("shard", "position", "image_name", "patient_id", "target", "fold")
# Columns of an index that those of release 0.1 lack: the lesion, and a digest of the bytes of the image.
OPTIONAL_INDEX_COLUMNS = ("lesion_id", "image_digest")
PAIR_COLUMNS = ("image_name_1", "image_name_2")


def encode(column: str, value: str) -> int:
    """Converts a table's text to a record's integer.

    Args:
        column: `sex`, `anatom_site_general_challenge`, `diagnosis`, `age_approx` or `target`.
        value: Text as in the table; blank where unknown.

    Returns:
        The code of the category (by its own name or its ISIC 2019 name), the age in whole years, or the target; -1 for
        a blank and for a category that is not in `CATEGORIES`.

    Raises:
        IsicError: An age is not a number from 0 to 120, or a target is not 0 or 1.

    Examples:
        >>> encode("diagnosis", "MEL"), encode("age_approx", "45.0"), encode("sex", "")
        (2, 45, -1)
    """
    if value == "":
        return UNKNOWN
    if column in CATEGORIES:
        codes = {name.casefold(): code for code, name in enumerate(CATEGORIES[column])}
        name = value.casefold()
        return codes.get(_ALIASES.get(name, name), UNKNOWN)
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    allowed = {"age_approx": 0 <= number <= 120, "target": number in (0, 1)}
    if not allowed[column]:
        expected = "0 or 1" if column == "target" else "a number from 0 to 120 or blank"
        raise errors.IsicError(f"{column} must be {expected}, got {value!r}")
    return int(number)

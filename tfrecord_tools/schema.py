"""Feature names, dtypes and category codes of records: the one place where they are defined."""

from tfrecord_tools import errors

VERSION = 1
UNKNOWN = -1
# Codes are positions in these tuples: the order of first appearance in the competition's train.csv, then what only
# ISIC 2019 and HAM10000 have.
CATEGORIES = {
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
# What ISIC 2019 and HAM10000 write for them.
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
PAIR_COLUMNS = ("image_name_1", "image_name_2")


def encode(column, value):
    """Turns a table's text into a record's integer.

    Args:
        column: `sex`, `anatom_site_general_challenge`, `diagnosis`, `age_approx` or `target`.
        value: Text as in the table; blank where unknown.

    Returns:
        The category's code (by its name, or what ISIC 2019 calls it), the age in whole years or the target; -1 for a
        blank or a category not in `CATEGORIES`.

    Raises:
        IsicError: An age that is no number from 0 to 120, or a target other than 0 and 1.
    """
    if value == "":
        return UNKNOWN
    if column in CATEGORIES:
        codes = {name.casefold(): code for code, name in enumerate(CATEGORIES[column])}
        name = value.casefold()
        return codes.get(_ALIASES.get(name, name), UNKNOWN)
    allowed = {"age_approx": lambda number: 0 <= number <= 120, "target": lambda number: number in (0, 1)}
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not allowed[column](number):
        expected = "0 or 1" if column == "target" else "a number from 0 to 120 or blank"
        raise errors.IsicError(f"{column} must be {expected}, got {value!r}")
    return int(number)

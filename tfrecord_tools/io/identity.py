"""Compares image names, patients and lesions in a canonical form, and groups the images that must stay together.

One photograph is published under several names (`ISIC_0000000`, `ISIC_0000000_downsampled`, `isic_0000000.JPG`), and
one patient is typed in several ways (`IP_7` and `ip_7 `; `7`, `7.0` and `007`). Everything that asks whether two
images, patients or lesions are the same compares these keys; names in outputs stay as they were given.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd

# Words that stand for an unknown patient or lesion in published tables, records and DICOM files, without blanks.
_UNKNOWN_WORDS = {
    "-", "--", "---", ".", "..", "?", "??", "#n/a", "<na>", "anon", "anonym", "anonymised", "anonymized", "anonymous",
    "deidentified", "desconocido", "inconnu", "missing", "n.a.", "n.d.", "n/a", "n/k", "na", "nan", "nat", "nil",
    "noid", "none", "nopatient", "notapplicable", "notavailable", "notknown", "notprovided", "notrecorded",
    "notspecified", "null", "removed", "tbd", "unbekannt", "undefined", "unk", "unknown", "unspecified", "xxx", "xxxx",
}  # fmt: skip
# Those of them that are no abbreviation, which might be someone's initials.
_LONG_WORDS = {word for word in _UNKNOWN_WORDS if word.isalpha() and len(word) > 3}
# What stands around such words, as in `unknown_patient`, `IP_unknown` and `(unknown)`.
_AROUND_WORDS = re.compile(r"^(ip|il)_|patient|lesion|subject|[\W_]")
_EXTENSION = re.compile(r"\.(jpe?g|jpe|jfif|png|bmp|tiff?|webp|dcm|dicom|dic|ima)$")
_ARCHIVE_NAME = re.compile(r"isic[_-]?(\d+)(_downsampled)?")
# Lines with the names that almost all images of the archive have, and with most patients' and lesions' identifiers.
_PLAIN_IMAGE = re.compile(r"^(?:ISIC|isic)_0*([0-9]+)$", re.MULTILINE)
_PLAIN_PERSON = re.compile(r"^[A-Za-z][A-Za-z0-9_]*[0-9]$", re.MULTILINE)
_NUMBER = re.compile(r"([+-]?)0*(\d+)(\.0*)?")
_MINUS_SIGN = "\u2212"
# A zero with more than this share of the images, and so many times those of others, is no patient.
_LARGE_SHARE = 0.1
_LARGE_RATIO = 2
_DIGEST_DIGITS = 16
# A file with a zero byte is no table, so that no column of a table has these names.
_PATIENT_KEY = "patient\0key"
_PHOTOGRAPH = "photograph\0code"
CACHED = (_PATIENT_KEY, _PHOTOGRAPH)
# So many lesions of several patients, and such a share of those with several images, are no mistakes: the table numbers
# lesions within each patient. PAD-UFES-20 has 250 of 512, the other published tables none.
_MIN_SHARED = 5
_SHARED_SHARE = 0.1


def image_key(name: str) -> str:
    """Returns the canonical form of an image name: the same for all names of one photograph.

    Args:
        name: Name with or without a directory, an extension or `_downsampled`, in any case of letters, with any blanks,
            zero-width characters and full-width digits.

    Returns:
        Text in small letters; for a name of the ISIC Archive `isic_` and its number without leading zeros; for a whole
        number its digits without leading zeros and decimals.

    Examples:
        >>> image_key("ISIC_0000123_downsampled"), image_key("jpeg/isic_123.JPG"), image_key(" Case 7.png")
        ('isic_123', 'isic_123', 'case7')
    """
    folded = _fold(name.replace("\\", "/").rsplit("/", 1)[-1])
    folded = _EXTENSION.sub("", folded)
    archive = _ARCHIVE_NAME.fullmatch(folded)
    if archive:
        return f"isic_{archive[1].lstrip('0') or '0'}"
    number = _NUMBER.fullmatch(folded)
    return number[2] if number and not number[1] else folded


def person_key(identifier: str) -> str:
    """Returns the canonical form of a patient's or a lesion's identifier; "" where it stands for an unknown one.

    Args:
        identifier: Text as in a table.

    Returns:
        Text in small letters without blanks; a whole number without leading zeros and decimals.

    Examples:
        >>> [person_key(text) for text in ("IP_7", " ip_7", "007", "7.0", "-1", "Unknown", "nan")]
        ['ip_7', 'ip_7', '7', '7', '', '', '']
    """
    folded = _fold(identifier)
    number = _NUMBER.fullmatch(folded)
    if number:
        # Numbers below 0, such as -1, -9 and -999, stand for unknown ones.
        is_negative = number[1] == "-" and number[2] != "0"
        return "" if is_negative else number[2]
    return "" if folded in _UNKNOWN_WORDS or _AROUND_WORDS.sub("", folded) in {"", *_LONG_WORDS} else folded


def _fold(text: str) -> str:
    """Removes blanks and invisible characters, and folds digits, dashes, widths and the case of letters."""
    if text.isascii() and text.isprintable():
        return "".join(text.split()).casefold()
    letters = []
    for letter in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(letter)
        if category == "Pd" or letter == _MINUS_SIGN:
            letters.append("-")
        # Zero-width characters and byte order marks are of the category "format", Cf.
        elif category not in ("Cf", "Cc"):
            letters.append(str(unicodedata.decimal(letter, letter)))
    return unicodedata.normalize("NFKC", "".join("".join(letters).split()).casefold())


def image_keys(names: pd.Series) -> pd.Series:
    """Returns `image_key` of every name; see there.

    Args:
        names: Text `[n]`.

    Returns:
        Text `[n]` with the same row labels.
    """
    numbers = _find_in_lines(_PLAIN_IMAGE, names.tolist())
    if len(numbers) == len(names):
        return pd.Series([f"isic_{number}" for number in numbers], names.index, name=names.name, dtype=object)
    return map_distinct(names, image_key)


def _find_in_lines(pattern: re.Pattern[str], texts: Sequence[str]) -> list[str]:
    """Finds the matches of texts, one search for all, since they are many; none where a text has a line break."""
    lines = "\n".join(texts)
    return pattern.findall(lines) if lines.count("\n") == len(texts) - 1 else []


def map_distinct(values: pd.Series, function: Callable[[str], object]) -> pd.Series:
    """Applies a function to each distinct text of a column, which has few of them.

    Args:
        values: Text `[n]`, none missing.
        function: Function of a text.

    Returns:
        Objects `[n]` with the same row labels.

    Examples:
        >>> map_distinct(pd.Series(["a", "b", "a"]), str.upper).tolist()
        ['A', 'B', 'A']
    """
    codes, texts = pd.factorize(values.to_numpy(object))
    found = np.empty(len(texts), object)
    found[:] = [function(text) for text in texts]
    return pd.Series(found[codes], values.index, name=values.name, dtype=object)


def person_keys(identifiers: pd.Series) -> pd.Series:
    """Returns `person_key` of every identifier, and "" for zeros that stand for an unknown patient.

    `0` is a code like any other where records or tables number patients from 0. It stands for an unknown patient where
    other identifiers are not numbers, and where more than a tenth of the images have it, and more than twice as many as
    any other.

    Args:
        identifiers: Text `[n]`.

    Returns:
        Text `[n]` with the same row labels, "" where unknown.

    Examples:
        >>> person_keys(pd.Series(["0", "P1", "p1 ", "-1"])).tolist()
        ['', 'p1', 'p1', '']
        >>> person_keys(pd.Series(["0", "1", "1"] + [str(code) for code in range(2, 12)])).tolist()[:2]
        ['0', '1']
    """
    codes, texts = pd.factorize(identifiers.to_numpy(object))
    # With a letter first and a digit last it is no number and no word for an unknown one.
    plain = _find_in_lines(_PLAIN_PERSON, texts)
    found = [text.lower() for text in plain] if len(plain) == len(texts) else [person_key(text) for text in texts]
    keys = pd.Series(np.array(found, object)[codes], identifiers.index, name=identifiers.name, dtype=object)
    if "0" not in found:
        return keys
    zero = keys == "0"
    others = keys[~zero & (keys != "")]
    most = others.value_counts().max() if len(others) else 0
    are_codes = others.str.fullmatch(r"\d+").all()
    is_large = zero.mean() > _LARGE_SHARE and zero.sum() > _LARGE_RATIO * most
    return keys if are_codes and not is_large else keys.mask(zero, "")


def image_digest(image: bytes) -> str:
    """Returns a text that is the same for images of equal bytes: the first half of their SHA-256's digits.

    Args:
        image: Bytes of the image file.

    Returns:
        16 hexadecimal digits.
    """
    return hashlib.sha256(image).hexdigest()[:_DIGEST_DIGITS]


def patient_keys(table: pd.DataFrame) -> pd.Series:
    """Returns `person_keys` of the patients of a table; see `with_keys`.

    Args:
        table: DataFrame of text `[n]` with `patient_id`.

    Returns:
        Text `[n]` with the same row labels, "" where unknown.

    Examples:
        >>> patient_keys(pd.DataFrame({"patient_id": ["P1", "p1 ", "unknown"]})).tolist()
        ['p1', 'p1', '']
    """
    return table[_PATIENT_KEY] if _PATIENT_KEY in table else person_keys(table["patient_id"])


def photograph_codes(table: pd.DataFrame) -> pd.Series:
    """Numbers the photographs of a table, each once in whatever spelling; see `with_keys`.

    Args:
        table: DataFrame of text `[n]` with `image_name`.

    Returns:
        int64 `[n]` with the same row labels, from 0 without gaps in a whole table.

    Examples:
        >>> photograph_codes(pd.DataFrame({"image_name": ["ISIC_1", "b", "isic_1.jpg"]})).tolist()
        [0, 1, 0]
    """
    if _PHOTOGRAPH in table:
        return table[_PHOTOGRAPH]
    codes, _ = pd.factorize(image_keys(table["image_name"]))
    return pd.Series(codes.astype(np.int64), table.index)


def with_keys(table: pd.DataFrame) -> pd.DataFrame:
    """Adds what several functions ask of a table, to compute it once: of millions of rows it takes seconds each time.

    Args:
        table: DataFrame of text with `image_name` and `patient_id`, which must not be changed afterwards.

    Returns:
        The table with the columns `CACHED`, for `patient_keys` and `photograph_codes`.

    Examples:
        >>> table = with_keys(pd.DataFrame({"image_name": ["ISIC_1"], "patient_id": ["P1"]}))
        >>> patient_keys(table).tolist(), photograph_codes(table).tolist()
        (['p1'], [0])
    """
    return table.assign(**{_PATIENT_KEY: patient_keys(table), _PHOTOGRAPH: photograph_codes(table)})


def lesion_keys(table: pd.DataFrame) -> pd.Series:
    """Returns the canonical form of lesions, by which images are linked.

    Some tables number lesions within each patient, as PAD-UFES-20 does in part: there a `lesion_id` means a lesion
    only together with the patient. Where more than a tenth of the lesions with several images, and at least 5, are of
    several patients, a lesion does not link the images of known patients, whom the patient links anyway. Fewer such
    lesions link their patients, since one person may have two identifiers.

    Args:
        table: DataFrame of text `[n]` with `lesion_id` and perhaps `patient_id`, "" where unknown.

    Returns:
        Text `[n]` with the same row labels, see `person_keys`; "" too where the lesion links nothing.

    Examples:
        >>> table = pd.DataFrame({"patient_id": ["P1", "P1", "p2", ""], "lesion_id": ["1", "1", "2", "2"]})
        >>> lesion_keys(table).tolist()
        ['1', '1', '2', '2']
        >>> numbered = pd.DataFrame({"patient_id": ["P1", "P2", ""] * 5, "lesion_id": list("123451234512345")})
        >>> lesion_keys(numbered).tolist()[:3]
        ['', '', '3']
    """
    lesions = person_keys(table["lesion_id"])
    if "patient_id" not in table or not (lesions != "").any():
        return lesions
    patients = patient_keys(table)
    shared, num_repeated = find_shared_lesions(patients, lesions)
    return lesions.mask(patients != "", "") if are_numbered_within_patients(len(shared), num_repeated) else lesions


def find_shared_lesions(patients: pd.Series, lesions: pd.Series) -> tuple[pd.Index, int]:
    """Finds the lesions of several patients; counts the lesions of known patients with several images.

    Args:
        patients: Text `[n]`, see `person_keys`.
        lesions: Text `[n]`, in the same form.

    Returns:
        The lesions of several patients, and how many have several images.

    Examples:
        >>> shared, num_repeated = find_shared_lesions(pd.Series(["p1", "p2", "p1"]), pd.Series(["l1", "l1", "l2"]))
        >>> shared.tolist(), num_repeated
        (['l1'], 1)
    """
    is_known = (patients != "") & (lesions != "")
    by_lesion = patients[is_known].groupby(lesions[is_known], sort=False)
    counts = by_lesion.nunique()
    return counts.index[counts > 1], int((by_lesion.size() > 1).sum())


def are_numbered_within_patients(num_shared: int, num_repeated: int) -> bool:
    """Returns whether lesions mean something only together with their patient.

    Args:
        num_shared: Number of lesions of several patients.
        num_repeated: Number of lesions with several images.

    Examples:
        >>> are_numbered_within_patients(250, 512), are_numbered_within_patients(4, 4)
        (True, False)
    """
    return num_shared >= _MIN_SHARED and num_shared > _SHARED_SHARE * num_repeated


def find_matches(names: Sequence[str] | pd.Series, others: Iterable[str]) -> np.ndarray:
    """Finds the names of photographs that are among others, whatever their spelling.

    Args:
        names: Text `[n]`, image names.
        others: Image names.

    Returns:
        bool `[n]`.

    Examples:
        >>> find_matches(["ISIC_0000001", "ISIC_0000002"], ["isic_1_downsampled.jpg"]).tolist()
        [True, False]
    """
    keys, known = (image_keys(pd.Series(list(texts), dtype=object)) for texts in (names, others))
    return keys.isin(known).to_numpy(bool)

"""The one place where features, tables and category codes are spelled."""

import io
import os
import warnings

import pandas as pd

from tfrecord_tools import example, header, storage

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
# What tables write for an unknown value, besides nothing.
_BLANKS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
INDEX_COLUMNS = ("shard", "position", "image_name", "patient_id", "target", "fold")
PAIR_COLUMNS = ("image_name_1", "image_name_2")
# Columns that are known in any case of letters, as Image_Name.
_NAMES = {*METADATA, *INDEX_COLUMNS, *PAIR_COLUMNS, "prediction", "source", "bytes"}


def encode(column, value):
    """Turns a table's text into a record's integer.

    Args:
        column: `sex`, `anatom_site_general_challenge`, `diagnosis`, `age_approx` or `target`.
        value: Text as in the table; blank where unknown.

    Returns:
        The category's code (by its name, or what ISIC 2019 calls it), the age in whole years or the target; -1 for a
        blank or a category not in `CATEGORIES`.

    Raises:
        ValueError: An age that is no number from 0 to 120, or a target other than 0 and 1.
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
        raise ValueError(f"{column} must be {expected}, got {value!r}")
    return int(number)


def to_example(image, image_name, **integers):
    """Serializes one record; the same arguments give the same bytes.

    Args:
        image: JPEG bytes.
        image_name: Name without folder or extension.
        **integers: Any of `METADATA` and `target`; -1 where unknown. Leave `target` out for an unlabelled record.

    Returns:
        Bytes of a `tf.train.Example`.

    Raises:
        ValueError: An argument is no feature of the schema.
    """
    unknown = sorted(set(integers) - {*METADATA, "target"})
    if unknown:
        raise ValueError(f"expected features {', '.join(METADATA)} or target, got {', '.join(unknown)}")
    texts = {"image": image, "image_name": image_name.encode()}
    return example.serialize(texts | {name: int(value) for name, value in integers.items()})


def parse_spec(labelled):
    """Gives the features to parse: `image` and `image_name` required, the integers -1 where a record lacks them.

    Args:
        labelled: Whether `target` is parsed. False for a test split: published test records have carried labels.

    Returns:
        Dict of `tf.io.FixedLenFeature` for `tf.io.parse_single_example`.
    """
    import tensorflow as tf

    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("image", "image_name")}
    integers = (*METADATA, "target") if labelled else METADATA
    return spec | {name: tf.io.FixedLenFeature([], tf.int64, UNKNOWN) for name in integers}


def read_table(path, columns, may_be_empty=False):
    """Reads a CSV file as text, so that no name or identifier is taken for a number.

    Args:
        path: CSV file with a header, UTF-8 with or without a byte order mark. The names of columns that the schema
            knows, or `columns`, may be in capitals.
        columns: Names that must be there.
        may_be_empty: Whether a header without rows will do.

    Returns:
        DataFrame of stripped strings, "" where blank or, but for `image_name`, a word like NA.

    Raises:
        ValueError: The file does not exist, is no CSV file (as one with semicolons), holds no rows, or lacks a column.
    """
    if not storage.exists(path):
        raise ValueError(f"expected a CSV file at {path}, found none; check the path")
    try:
        content = storage.read(path)
        header.refuse_separators(path, content, columns)
        options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "skipinitialspace": True}
        with warnings.catch_warnings():
            # Rows longer than the header would lose a column, or by default shift all of them.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(io.BytesIO(content), index_col=False, **options)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no comma-separated UTF-8 table: {str(error).strip()}") from error
    table.columns = header.spell(table.columns.str.strip(), {*columns, *_NAMES})
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise ValueError(f"{path} needs the columns {', '.join(columns)}; it has only {found}")
    if table.empty and not may_be_empty:
        raise ValueError(f"{path} holds a header and no rows")
    table = table.fillna("").apply(lambda column: column.str.strip())
    return table.apply(lambda column: column if column.name == "image_name" else column.mask(column.isin(_BLANKS), ""))


def refuse_repeats(path, table, verb):
    """Raises a ValueError where a table names an image twice: it must `verb` ("hold", "label") every image once."""
    twice = table.loc[table["image_name"].duplicated(), "image_name"]
    if len(twice):
        raise ValueError(f"{path} must {verb} every image once, {len(twice)} come again, {twice.iloc[0]} first")


def read_pairs(path):
    """Reads a list of duplicates, such as ISIC's own or that of `tfrecord_tools.duplicates`.

    Args:
        path: CSV file with `image_name_1` and `image_name_2`; other columns are left out.

    Returns:
        DataFrame of text, `image_name_1` and `image_name_2`.

    Raises:
        ValueError: The file is not there, is no CSV file, lacks a column, or leaves a name blank.
    """
    pairs = read_table(path, PAIR_COLUMNS, may_be_empty=True)[list(PAIR_COLUMNS)]
    blank = (pairs == "").any(axis=1)
    if blank.any():
        row = blank.idxmax() + 1
        raise ValueError(f"{path} must name two images in every row, row {row} and perhaps others do not")
    return pairs


def match(pattern):
    """Lists the shards of a glob pattern, or of several separated by commas, in order of name.

    Raises:
        ValueError: None matches.
    """
    found = {file for part in pattern.split(",") for file in storage.glob(part)}
    files = sorted(file for file in found if not file.endswith((".csv", ".json")) and not storage.isdir(file))
    if not files:
        raise ValueError(f"no shards match {pattern!r} in {os.getcwd()}; quote the pattern, and check the folder")
    return files


def read_index(data_dir, split):
    """Reads the index of one split of a record set.

    Args:
        data_dir: Folder with `{split}.index.csv`.
        split: `train` or `test`.

    Returns:
        DataFrame with `INDEX_COLUMNS`, one row a record in file order; `shard` is a path, `position`, `target` and
        `fold` are int64 (-1 where blank), the rest text.

    Raises:
        ValueError: There is no index, it is not whole, or it names a file outside `data_dir`.
    """
    path = os.path.join(data_dir, f"{split}.index.csv")
    if not storage.exists(path):
        raise ValueError(f"no shards match: expected {split} records and {path}; make them with tfrecord_tools.build")
    index = read_table(path, INDEX_COLUMNS)[list(INDEX_COLUMNS)]
    outside = index.loc[index["shard"].map(os.path.basename) != index["shard"], "shard"]
    if len(outside):
        raise ValueError(f"{path} must name shards by file name alone, got {outside.iloc[0]!r}")
    for column in ("position", "target", "fold"):
        try:
            index[column] = index[column].replace("", str(UNKNOWN)).astype("int64")
        except ValueError as error:
            raise ValueError(f"{path}: the column {column} must hold whole numbers or blanks: {error}") from error
    duplicates = index.loc[index["image_name"].duplicated(), "image_name"]
    if len(duplicates):
        raise ValueError(f"{path} lists {len(duplicates)} names twice, {duplicates.iloc[0]} first; rebuild the set")
    index["shard"] = [os.path.join(data_dir, shard) for shard in index["shard"]]
    missing = [shard for shard in sorted(set(index["shard"])) if not storage.exists(shard)]
    if missing:
        raise ValueError(f"{path} lists {len(missing)} shards that are not there, {missing[0]} first; fetch or rebuild")
    return index

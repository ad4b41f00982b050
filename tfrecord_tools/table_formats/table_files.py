"""Writes a training table made of published ones, and reads the tables that commands are given as --csv."""

import json
import logging
from collections.abc import Sequence

import pandas as pd

from tfrecord_tools import errors, option_paths
from tfrecord_tools.io import atomic_write, column_names, csv_output, csv_tables, filesystem, output_lock
from tfrecord_tools.table_formats import normalization, raw_table, recognition, table_format
from tfrecord_tools.table_formats.config import TablesConfig
from tfrecord_tools.table_formats.normalization_report import NormalizationReport
from tfrecord_tools.table_formats.table_format import TableFormat

_LOG = logging.getLogger(__name__)

_HEADER_BYTES = 2**20
_OWN = "isic_tf"
_ALWAYS = ("image_name", "patient_id", "target")


@output_lock.locking("output")
def normalize_tables(config: TablesConfig) -> pd.DataFrame:
    """Reads tables of published data sets, or of formats of your own, and gives them the package's columns and values.

    Tables of one data set are joined by image or lesion; those of several are put together. Logs the report; with
    `output`, writes the table, and the report to `OUTPUT.report.txt` and `OUTPUT.report.json`.

    Args:
        config: `TablesConfig`.

    Returns:
        DataFrame of text with the columns of `normalization.COLUMNS`, without `target` if no table has labels, and
        those to keep; "" where unknown. Its `attrs["report"]` is the report as a dict.

    Raises:
        ConfigError: A column to keep is in no table, or is one of the output.
        IsicError: A table is damaged or not recognized, two tables contradict each other, or no row is left.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image_name,patient_id,sex,target", "ISIC_1,IP_1,F,1", sep=chr(10), file=file, flush=True)
        ...     table = normalize_tables(TablesConfig(tables=file.name))
        >>> table[["image_name", "sex", "target"]].to_dict("records")
        [{'image_name': 'ISIC_1', 'sex': 'female', 'target': '1'}]
    """
    raw = [raw_table.read_raw(path) for path in config.tables]
    table, report = normalization.normalize(raw, config)
    for line in report.to_text().splitlines():
        _LOG.info(line)
    _warn_of_unknown_values(report)
    if config.output:
        atomic_write.write_text(config.output, csv_output.format_table(table))
        atomic_write.write_text(f"{config.output}.report.txt", report.to_text())
        text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False)
        atomic_write.write_text(f"{config.output}.report.json", text + "\n")
        _LOG.info(f"{len(table)} rows in {config.output}; the report is beside it, in .report.txt and .report.json")
    table.attrs["report"] = report.to_dict()
    return table


def read_tables(paths: str, columns: Sequence[str], keep_unlabeled: bool = False) -> pd.DataFrame:
    r"""Reads a table for a command: one in the package's columns as it is, others as `tfrecord_tools.tables` does.

    Several tables, separated by commas, and a table of a published format without a column `target` are normalized
    under the default policy, which is logged. All other tables are read by `csv_tables.read_table`.

    Args:
        paths: CSV file, or several separated by commas.
        columns: Names of the required columns.
        keep_unlabeled: Whether to keep images that have no target under the policy, with a blank; for commands that
            read no labels.

    Returns:
        DataFrame of text, "" where unknown, see `csv_tables.read_table`.

    Raises:
        IsicError: A table is damaged, or lacks a column.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC", "a.jpg,1,0,0,0,0,0,0,0", sep="\n", file=file, flush=True)
        ...     table = read_tables(file.name, ["image_name", "target"])
        >>> table[["image_name", "target"]].to_dict("records")
        [{'image_name': 'a', 'target': '1'}]
    """
    parts = option_paths.split_paths(paths)
    if len(parts) < 2 and (not parts or _find_published(parts[0]) is None):
        return csv_tables.read_table(paths, columns)
    config = TablesConfig(tables=tuple(parts))
    raw = [raw_table.read_raw(path) for path in parts]
    table, report = normalization.normalize(raw, config, keep_all=True, keep_unlabeled=keep_unlabeled)
    _log_report(paths, report)
    is_blank = (table == "").all()
    blank = [name for name in table if is_blank[name] and name not in (*_ALWAYS, *columns)]
    return csv_tables.check_table(paths, table.drop(columns=blank), columns)


def _find_published(path: str) -> TableFormat | None:
    """Returns the published format of a table whose columns are not the package's own."""
    if not filesystem.exists(path) or filesystem.isdir(path) or not filesystem.is_regular(path):
        return None
    with filesystem.open(path) as file:
        content = file.read(_HEADER_BYTES)
    try:
        table = raw_table.make_raw(path, content)
    except errors.IsicError:
        # `read_table` says what is wrong with it.
        return None
    if table.has("target"):
        return None
    published = list(table_format.list_published().values())
    table = recognition.skip_legend(table, published)
    found = recognition.find_formats(table, published)
    # Of several the command `tables` says which; a table of unknown columns is refused as ever.
    return found[0] if len(found) == 1 and not has_own_columns(table, found[0]) else None


def has_own_columns(table: raw_table.RawTable, found: TableFormat) -> bool:
    """Returns whether a table has the package's own columns, by their own names.

    Args:
        table: The table.
        found: Its format.

    Returns:
        Whether reading it needs no format.
    """
    if found.name == _OWN:
        return True
    names = {column: [name for name in listed if table.has(name)] for column, listed in found.columns.items()}
    is_own = all(column_names.fold(listed[0]) == column for column, listed in names.items() if listed)
    return is_own and not found.classes and not found.images and not found.header


def _log_report(paths: str, report: NormalizationReport) -> None:
    """Logs how tables were read, and which policy made their targets."""
    titles = ", ".join(dict.fromkeys(table.table_format.title for table in report.tables))
    _LOG.info(f"{paths} is read as {titles}: {report.num_kept} of {report.num_images} images; {report.policy_text}")
    for reason, rows in report.count_dropped().items():
        _LOG.warning(f"note: {paths}: {rows} left out, since {reason}")
    for note in report.notes:
        _LOG.warning(f"note: {paths}: {note}")
    _warn_of_unknown_values(report)
    if report.is_labeled:
        _LOG.info("python -m tfrecord_tools.tables writes this table, with other policies and a full report")


def _warn_of_unknown_values(report: NormalizationReport) -> None:
    """Logs how many values of each column are not understood."""
    for column in dict.fromkeys(count.column for count in report.not_understood):
        counts = [count for count in report.not_understood if count.column == column]
        cases = csv_tables.describe_first_cases([f"{count.original} ({count.rows})" for count in counts])
        total = sum(count.rows for count in counts)
        _LOG.warning(f"note: {total} values of {column} are not understood and became unknown: {cases}")

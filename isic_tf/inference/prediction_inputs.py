"""The images to predict, as a table: records of shards, or image files of a directory."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from isic_tf.data import clinical_metadata, image_files, record_metadata
from isic_tf.inference.config import PredictFilesConfig
from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, record_index

# Image files in one part of a prediction.
_FILES_PER_PART = 256
_WILDCARDS = frozenset("*?[")


def split_source(source: str | os.PathLike[str]) -> tuple[str | None, str | None]:
    """Finds out whether a source names shards or image files.

    Args:
        source: Glob pattern or path of shards; or directories, zip archives and HDF5 files, separated by commas.

    Returns:
        The pattern of the shards and None; or None and the sources of image files.

    Raises:
        ConfigError: The source is neither.
    """
    text = os.fspath(source)
    if image_files.is_source(text):
        return None, text
    if text.endswith(".tfrec") or _WILDCARDS.intersection(text) or filesystem.exists(text):
        return text, None
    raise errors.ConfigError(
        f"expected a glob pattern of shards (such as 'records/test*.tfrec') or directories, zip archives or HDF5 files "
        f"of images, got {text!r}"
    )


def list_rows(
    config: PredictFilesConfig,
    run: Mapping[str, Any],
    with_context_model: bool = False,
    context_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Lists the images to predict.

    Args:
        config: Names either the records or the directory of image files, and perhaps the table of their metadata.
        run: Options of the run as text, see `run_directory.read_network`.
        with_context_model: Whether a patient-context model is applied, which uses metadata that the network may not.
        context_columns: Numeric columns that the patient-context model uses.

    Returns:
        DataFrame of one row per image for `input_pipeline.make_eval_dataset`, with `unit` (the shard or block of files
        that the image belongs to), `patient_id` (text, "" where unknown), `known_target` (int64, -1 where unknown) and
        the values that `clinical_metadata.add_values` adds.

    Raises:
        ConfigError: Numeric columns are used and no table is given, or one is given though none are used.
        IsicError: No shard or file matches, a name is repeated, a test record is labeled, or metadata are missing.
    """
    numeric = list(dict.fromkeys((*clinical_metadata.parse_numeric(run.get("metadata", "")), *context_columns)))
    clinical_metadata.check_table(config.table, numeric)
    if config.images:
        rows = _list_image_files(config, run, with_context_model)
    else:
        rows = list_records(config.records or "", run, with_context_model)
    rows = clinical_metadata.add_values(rows, config.table, numeric)
    clinical_metadata.log_unknown(rows, run.get("metadata", ""))
    return rows


def _list_image_files(config: PredictFilesConfig, run: Mapping[str, Any], with_context_model: bool) -> pd.DataFrame:
    columns = tuple(clinical_metadata.FIELDS.values()) if with_context_model else ()
    fields = run.get("metadata", "")
    rows = image_files.list_files(config.images or "", config.csv, fields, columns, config.allow_missing)
    return rows.assign(unit=rows.index // _FILES_PER_PART, known_target=schema.UNKNOWN)


def list_records(records: str, run: Mapping[str, Any], with_context_model: bool = False) -> pd.DataFrame:
    """Lists the records of shards; see `list_rows`.

    Args:
        records: Glob pattern of the shards.
        run: See `list_rows`.
        with_context_model: See `list_rows`.

    Returns:
        See `list_rows`, without numeric columns; with `image_digest`.

    Raises:
        IsicError: See `list_rows`.
    """
    columns = list(clinical_metadata.columns(run.get("metadata", "")))
    if with_context_model:
        # It uses metadata that the network may not use.
        columns = list(clinical_metadata.FIELDS.values())
    # Patients and bytes tell which images the networks were trained on.
    shards = record_index.match_shards(records)
    rows = record_metadata.list_records(shards, [*columns, "patient_id"], with_digests=True)
    rows = rows.rename(columns={"patient_id": "patient_code"})
    _refuse_labeled_test_records(rows)
    rows = record_metadata.add_index(rows).assign(unit=rows["shard"])
    return record_metadata.add_patients(rows)


def _refuse_labeled_test_records(rows: pd.DataFrame) -> None:
    of_test = rows["shard"].map(os.path.basename).str.lower().str.startswith("test")
    labeled = rows.loc[rows["labeled"] & of_test, "image_name"]
    if len(labeled):
        raise errors.IsicError(
            f"expected test records without labels, but {len(labeled)} have one, for example {labeled.iloc[0]}; name "
            "shards of training records train*, or rebuild them with tfrecord_tools.build --split=test"
        )

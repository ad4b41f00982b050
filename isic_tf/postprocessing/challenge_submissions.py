"""Writes and checks submissions to the ISIC challenges."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns, prediction_sidecar, submission_format
from isic_tf.data import image_table
from isic_tf.postprocessing import challenge_checks, challenge_formats, lesion_join
from isic_tf.postprocessing.config import KAGGLE, ChallengeSubmissionConfig
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, name_join, output_lock

_LOG = logging.getLogger(__name__)


@output_lock.locking("output")
def prepare_submission(config: ChallengeSubmissionConfig) -> pd.DataFrame:
    """Checks a submission, or writes predictions of several classes as one.

    Args:
        config: The challenge and the files.

    Returns:
        The submission: DataFrame of the names (text) and the columns of the challenge (float64, from 0 to 1).

    Raises:
        ConfigError: The classes of the predictions do not fit the columns of the challenge.
        IsicError: A file is damaged, or does not fit the challenge or the list of its images. The message lists all
            problems.

    Examples:
        >>> config = ChallengeSubmissionConfig(
        ...     format="milk10k", predictions="test.csv", table="MILK10k_Test_Metadata.csv", output="submission.csv"
        ... )
        >>> prepare_submission(config).columns[:3].tolist()  # doctest: +SKIP
        ['lesion_id', 'AKIEC', 'BCC']
    """
    if config.format == KAGGLE:
        return submission_format.validate_submission(
            submission_format.SubmissionConfig(
                submission=str(config.submission), sample_submission=str(config.sample_submission)
            )
        )
    wanted = challenge_formats.FORMATS[config.format]
    order = challenge_checks.read_order(config.sample_submission, wanted.key) if config.sample_submission else None
    if config.submission:
        return challenge_checks.check_submission(config.submission, wanted, order)
    table = _convert(config, wanted)
    if order is not None:
        table = _sort(table, wanted.key, order, config)
    output = str(config.output)
    text = csv_output.format_table(table)
    checked = challenge_checks.check_submission(output, wanted, order, text.encode())
    atomic_write.write_text(output, text)
    return checked


def _convert(config: ChallengeSubmissionConfig, wanted: challenge_formats.ChallengeFormat) -> pd.DataFrame:
    """Returns the predictions in the columns of a challenge."""
    path = str(config.predictions)
    names, table = _read_predictions(path)
    places = challenge_formats.place_classes(names, wanted, config.class_map)
    for column, own in places.columns.items():
        if [names[place] for place in own] != [column]:
            _LOG.info(f"{column}: {' + '.join(names[place] for place in own) or '0 (no class of the predictions)'}")
    if places.dropped:
        _LOG.warning(f"note: left out {', '.join(places.dropped)}")
    probabilities = class_columns.select_probabilities(table, path)
    adds_up = not prediction_sidecar.read_class_facts(path).get("multi_label", False)
    adds_up = adds_up and bool(class_columns.add_to_one(probabilities).all())
    filled = pd.DataFrame(challenge_formats.fill_columns(probabilities, places, adds_up))
    filled.insert(0, "image_name", table["image_name"])
    if wanted.key == "lesion_id":
        return _join_lesions(filled, str(config.table), config.join)
    names = [challenge_checks.remove_extension(name) for name in filled["image_name"]]
    return filled.assign(image_name=names).rename(columns={"image_name": wanted.key})


def _read_predictions(path: str) -> tuple[list[str], pd.DataFrame]:
    """Returns the classes of a prediction file, and its table."""
    table = csv_tables.read_table(path, ("image_name",))
    csv_tables.refuse_repeats(path, table, "hold")
    names = class_columns.list_classes(table)
    if not names:
        raise errors.IsicError(
            f"{path} has no columns {class_columns.PREFIX}CLASS; predict with a run that was trained on the classes of "
            "the challenge (isic_tf.train --target=column:NAME)"
        )
    class_columns.check_names(names)
    return names, table


def _join_lesions(filled: pd.DataFrame, path: str, how: str) -> pd.DataFrame:
    """Joins the images of each lesion; the result has a row for each lesion."""
    lesions = image_table.read_columns(path, filled["image_name"], ["lesion_id"])["lesion_id"]
    unknown = filled.loc[(lesions == "").to_numpy(), "image_name"]
    if len(unknown):
        raise errors.IsicError(
            f"expected a lesion_id in {path} for every image, {len(unknown)} have none (first: {unknown.iloc[0]}); add "
            "them to the table"
        )
    columns = [name for name in filled if name != "image_name"]
    joined = lesion_join.join_lesions(filled.assign(lesion_id=lesions.to_numpy()), columns, how)
    _note_incomplete(joined, path)
    counts = joined["num_images"].value_counts().sort_index()
    texts = [f"{lesions} lesions of {images} image{'s' if images > 1 else ''}" for images, lesions in counts.items()]
    _LOG.info(f"joined {len(filled)} images by their {how}: {', '.join(texts)}")
    return joined[["lesion_id", *columns]]


def _note_incomplete(joined: pd.DataFrame, path: str) -> None:
    """Logs which lesions of a table lack predictions of some of their images, or of all."""
    listed = image_table.read_table(path, ["lesion_id"])["lesion_id"]
    counts = listed[listed != ""].value_counts(sort=False)
    predicted = joined.set_index("lesion_id")["num_images"].reindex(counts.index, fill_value=0)
    partial = counts.index[(predicted > 0) & (predicted < counts)]
    absent = counts.index[predicted == 0]
    if len(partial):
        _LOG.warning(
            f"note: {len(partial)} lesions have further images in {path} without a prediction (first: {partial[0]}); "
            "they are joined without these"
        )
    if len(absent):
        _LOG.warning(f"note: {len(absent)} lesions of {path} have no prediction and no row (first: {absent[0]})")


def _sort(table: pd.DataFrame, key: str, order: Sequence[str], config: ChallengeSubmissionConfig) -> pd.DataFrame:
    """Returns the rows in the order of the list of the test set, and images under the names that it has for them."""
    if key == "image":
        rows = name_join.find_rows(table[key], order, str(config.sample_submission))
        table = table.assign(**{key: table[key].where(rows < 0, np.asarray(order, object)[rows])})
    problems = submission_format.compare_names(table[key].tolist(), order)
    if problems:
        raise errors.IsicError(
            f"{config.predictions} does not match {config.sample_submission}: {'; '.join(problems)}; predict the "
            "images of that list, and no others"
        )
    return table.set_index(key).loc[order].reset_index()

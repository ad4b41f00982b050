"""Builds a record set from images or from another record set."""

import collections
import dataclasses
import hashlib
import logging
import os

import pandas as pd

from tfrecord_tools import cli, errors, schema
from tfrecord_tools.building import data_sources, record_conversion, runners, shard_assignment, shard_writer
from tfrecord_tools.imaging import preprocessing
from tfrecord_tools.io import csv_tables, filesystem, manifest

_LOG = logging.getLogger(__name__)

_OPTIONS = ("image_size", "resize", "trim_border", "color_constancy", "quality")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig(cli.Config):
    """What a record set is built from, and how."""

    csv: str | None = cli.option(
        None,
        help="CSV file with image_name, patient_id, target and, where known, sex, age_approx, anatom_site_general_challenge, diagnosis.",
    )
    images: str | None = cli.option(
        None, help="Directory of JPEG, PNG or DICOM files, or of a subdirectory of them named like --split."
    )
    records: str | None = cli.option(
        None, help="Glob pattern of an existing record set to rebuild, in place of --images; --csv is then optional."
    )
    output: str | None = cli.option(None, help="Directory of the record set.")
    split: str = cli.option(
        "train", choices=("train", "test"), help="train: records have labels and folds; test: neither."
    )
    image_size: int = cli.option(1024, lower=8, upper=8192, help="Side of the square images, in pixels.")
    resize: str = cli.option(
        "stretch",
        choices=preprocessing.RESIZE_MODES,
        help="stretch: ignore aspect ratio; crop: center square; pad: letterbox in black.",
    )
    trim_border: bool = cli.option(False, help="Crop black borders, rectangular or circular.")
    color_constancy: str = cli.option(
        "none", choices=preprocessing.COLOR_CONSTANCIES, help="Color constancy correction."
    )
    quality: int = cli.option(95, lower=1, upper=100, help="JPEG quality.")
    num_shards: int = cli.option(
        15, lower=1, upper=100, help="Maximum number of shards, divided evenly between the folds."
    )
    num_folds: int = cli.option(5, lower=2, help="Number of folds.")
    folds: str | None = cli.option(
        None,
        help="CSV file with image_name and fold to use instead of --num_folds; the index of a record set also works.",
    )
    on_error: str = cli.option(
        "stop",
        choices=("stop", "skip"),
        help="How to handle unreadable images: stop with an error, or skip and list them.",
    )
    workers: int = cli.option(
        os.cpu_count() or 1, lower=1, help="Number of processes; each writes one shard at a time."
    )
    runner: str = cli.option(
        "local", choices=("local", "beam"), help="local: processes on this machine; beam: Apache Beam."
    )
    beam_options: str = cli.option("", help="Options of Apache Beam, such as '--runner=DataflowRunner --project=...'.")
    csv_from_dicom: str | None = cli.option(
        None, help="Write a table of the DICOM tags of --images to this CSV file, and stop."
    )


def build_record_set(config):
    """Builds one split of a record set; the same input gives the same bytes.

    Shards that an earlier run finished from the same input and options are kept. An earlier set in `output` stays until
    all shards of the new one are made.

    Args:
        config: `BuildConfig`.

    Raises:
        IsicError: All that is wrong with the table, together; or an image cannot be read; or options contradict.
    """
    _check_options(
        config.csv, config.images, config.records, config.output, config.split, config.folds, config.csv_from_dicom
    )
    if config.csv_from_dicom:
        data_sources.write_tags(config.images, config.split, config.csv_from_dicom)
        return
    shard_writer.refuse_foreign(config.output, config.split)
    table = (
        data_sources.read_records(config.records, config.csv, config.split)
        if config.records
        else data_sources.read_images(config.csv, config.images, config.split)
    )
    fold_table = csv_tables.read_table(config.folds, ("image_name", "fold")) if config.folds else None
    rows = shard_assignment.assign_shards(
        table, config.num_shards, config.num_folds if config.split == "train" else 0, fold_table
    )
    options = dict(
        zip(
            _OPTIONS,
            (config.image_size, config.resize, config.trim_border, config.color_constancy, config.quality),
            strict=True,
        )
    )
    jobs = shard_writer.make_jobs(rows, config.output, config.split, options, config.on_error)
    entries = _make_all(jobs, config.output, config.split, config.workers, config.runner, config.beam_options)
    if not sum(entry["shard"]["records"] for entry in entries):
        raise errors.IsicError(f"none of {len(rows)} images could be read, {entries[0]['skipped'][0]['problem']}")
    # The manifest goes first: with it, a run that is killed from here on can be repeated in the same folder.
    _describe(rows, entries, config.output, config.split, config.csv, options)
    shard_writer.put_in_place(config.output, config.split, entries)
    _report(rows, entries, config.output, config.split)


def _check_options(csv, images, records, output, split, folds, csv_from_dicom):
    if folds and split != "train":
        raise errors.IsicError(f"--folds goes with --split=train, got --split={split}")
    if bool(images) == bool(records):
        raise errors.IsicError(f"expected one of --images and --records, got {'both' if images else 'neither'}")
    if csv_from_dicom:
        if records or csv:
            raise errors.IsicError(
                "--csv_from_dicom writes a table from --images alone, got --records or --csv with it"
            )
    elif not output:
        raise errors.IsicError("expected --output, the folder of the new set; got none")
    elif images and not csv:
        raise errors.IsicError("--images needs --csv, the table that says which images; got none")
    elif records and os.path.abspath(output) in {os.path.abspath(os.path.dirname(p)) for p in records.split(",")}:
        raise errors.IsicError(f"--output must be another folder than that of --records, got {output} for both")


def _make_all(jobs, output, split, workers, runner, beam_options):
    """Makes the shards that no earlier run finished; gives the entries of all."""
    finished = [entry for job in jobs if (entry := shard_writer.find_finished(job, output))]
    shard_writer.clear_leftovers(output, split, finished)
    done = {entry["fingerprint"] for entry in finished}
    waiting = [job for job in jobs if job["fingerprint"] not in done]
    if done and waiting:
        _LOG.info(f"{split}: {len(done)} of {len(jobs)} shards are finished already; going on with the others")
    if runner == "beam":
        runners.run_beam(waiting, beam_options)
    else:
        runners.run_local(waiting, workers)
    entries = [shard_writer.find_finished(job, output) for job in jobs]
    if lost := [job["shard"] for job, entry in zip(jobs, entries, strict=True) if entry is None]:
        raise errors.IsicError(
            f"shards {lost} are not whole in {output}; did a file change? give the same command again"
        )
    return entries


def _describe(rows, entries, output, split, csv, options):
    source = {"files": sorted({os.path.splitext(path)[1].lower().lstrip(".") for path in rows["path"]})}
    if csv:
        source |= {"csv": os.path.basename(csv), "sha256": hashlib.sha256(filesystem.read(csv)).hexdigest()}
    skipped = [row for entry in entries for row in entry["skipped"]]
    facts = {**options, "source": source, "skipped": skipped, "tag_disagreements": _count_tags(entries)}
    made = [entry["shard"] for entry in entries if entry["shard"]["records"]]
    manifest.write_manifest(output, split, made, **facts)
    listed = rows.assign(target=rows["target"] if split == "train" else "", fold=rows["fold"].replace(-1, ""))
    parts = [part for _, part in listed.groupby("shard", sort=True)]
    listed = pd.concat([shard_writer.positions(entry, part) for entry, part in zip(entries, parts, strict=True)])
    listed["target"] = [schema.encode("target", target) for target in listed["target"]] if split == "train" else ""
    manifest.write_index(output, split, listed)


def _count_tags(entries):
    """Counts on how many DICOM files the tags and the table disagree, by column."""
    counts = sum((collections.Counter(entry["tags"]) for entry in entries), collections.Counter())
    return {name: counts[name] for name in ("files", *record_conversion.TAGGED)} if counts else {}


def _report(rows, entries, output, split):
    made = [entry["shard"]["records"] for entry in entries if entry["shard"]["records"]]
    patients = rows["patient_id"].nunique()
    _LOG.info(f"{split}: {sum(made)} records of {patients} patients in {len(made)} shards in {output}")
    tags = _count_tags(entries)
    if differing := [f"{name} {tags[name]}" for name in record_conversion.TAGGED if tags.get(name)]:
        _LOG.info(
            f"{split}: tags of {tags['files']} DICOM files differ from the table, which wins: {', '.join(differing)}"
        )
    if skipped := [row for entry in entries for row in entry["skipped"]]:
        _LOG.info(f"{split}: {len(skipped)} images skipped, listed in the manifest; first: {skipped[0]['problem']}")

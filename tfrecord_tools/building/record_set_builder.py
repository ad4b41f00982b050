"""Builds a record set from images or from another record set."""

import collections
import hashlib
import os

import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.building import data_sources, record_conversion, runners, shard_assignment, shard_writer
from tfrecord_tools.io import csv_tables, filesystem, manifest

_OPTIONS = ("image_size", "resize", "trim_border", "color_constancy", "quality")


def build_record_set(
    csv, images, records, output, split, image_size, resize, trim_border, color_constancy, quality, num_shards,
    num_folds, folds, on_error, workers, runner, beam_options, csv_from_dicom,
):  # fmt: skip
    """Builds one split of a record set; the same input gives the same bytes.

    Shards that an earlier run finished from the same input and options are kept. An earlier set in `output` stays until
    all shards of the new one are made.

    Args:
        csv: Table with `image_name`, `patient_id`, in a training split `target`, and the competition's other columns.
        images: Folder of JPEG, PNG or DICOM files named like `image_name`, in it or in its folder named like the split.
        records: Glob of another set's shards to read instead of `images`; then `csv` may be None.
        output: Folder to write.
        split: `train` (labelled, in folds) or `test` (neither).
        image_size: Side of the square images in pixels.
        resize: See `preprocessing.resize_to_square`.
        trim_border: See `preprocessing.resize_to_square`.
        color_constancy: See `preprocessing.resize_to_square`.
        quality: JPEG quality, 1 to 100.
        num_shards: Number of shards at the most.
        num_folds: Number of folds, where `folds` is None.
        folds: CSV file of `image_name` and `fold` to use instead; or None.
        on_error: `stop` at an image that cannot be read, or `skip` it and list it in the manifest.
        workers: Number of processes.
        runner: `local` or `beam`.
        beam_options: See `runners.run_beam`.
        csv_from_dicom: Path of a table to write from the tags of `images` instead of building; or None.

    Raises:
        ValueError: All that is wrong with the table, together; or an image cannot be read; or options contradict.
    """
    _check_options(csv, images, records, output, split, folds, csv_from_dicom)
    if csv_from_dicom:
        data_sources.write_tags(images, split, csv_from_dicom)
        return
    shard_writer.refuse_foreign(output, split)
    table = data_sources.read_records(records, csv, split) if records else data_sources.read_images(csv, images, split)
    fold_table = csv_tables.read_table(folds, ("image_name", "fold")) if folds else None
    rows = shard_assignment.assign_shards(table, num_shards, num_folds if split == "train" else 0, fold_table)
    options = dict(zip(_OPTIONS, (image_size, resize, trim_border, color_constancy, quality), strict=True))
    jobs = shard_writer.make_jobs(rows, output, split, options, on_error)
    entries = _make_all(jobs, output, split, workers, runner, beam_options)
    if not sum(entry["shard"]["records"] for entry in entries):
        raise ValueError(f"none of {len(rows)} images could be read, {entries[0]['skipped'][0]['problem']}")
    # The manifest goes first: with it, a run that is killed from here on can be repeated in the same folder.
    _describe(rows, entries, output, split, csv, options)
    shard_writer.put_in_place(output, split, entries)
    _report(rows, entries, output, split)


def _check_options(csv, images, records, output, split, folds, csv_from_dicom):
    if folds and split != "train":
        raise ValueError(f"--folds goes with --split=train, got --split={split}")
    if bool(images) == bool(records):
        raise ValueError(f"expected one of --images and --records, got {'both' if images else 'neither'}")
    if csv_from_dicom:
        if records or csv:
            raise ValueError("--csv_from_dicom writes a table from --images alone, got --records or --csv with it")
    elif not output:
        raise ValueError("expected --output, the folder of the new set; got none")
    elif images and not csv:
        raise ValueError("--images needs --csv, the table that says which images; got none")
    elif records and os.path.abspath(output) in {os.path.abspath(os.path.dirname(p)) for p in records.split(",")}:
        raise ValueError(f"--output must be another folder than that of --records, got {output} for both")


def _make_all(jobs, output, split, workers, runner, beam_options):
    """Makes the shards that no earlier run finished; gives the entries of all."""
    finished = [entry for job in jobs if (entry := shard_writer.find_finished(job, output))]
    shard_writer.clear_leftovers(output, split, finished)
    done = {entry["fingerprint"] for entry in finished}
    waiting = [job for job in jobs if job["fingerprint"] not in done]
    if done and waiting:
        print(f"{split}: {len(done)} of {len(jobs)} shards are finished already; going on with the others")
    if runner == "beam":
        runners.run_beam(waiting, beam_options)
    else:
        runners.run_local(waiting, workers)
    entries = [shard_writer.find_finished(job, output) for job in jobs]
    if lost := [job["shard"] for job, entry in zip(jobs, entries, strict=True) if entry is None]:
        raise ValueError(f"shards {lost} are not whole in {output}; did a file change? give the same command again")
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
    print(f"{split}: {sum(made)} records of {patients} patients in {len(made)} shards in {output}")
    tags = _count_tags(entries)
    if differing := [f"{name} {tags[name]}" for name in record_conversion.TAGGED if tags.get(name)]:
        print(f"{split}: tags of {tags['files']} DICOM files differ from the table, which wins: {', '.join(differing)}")
    if skipped := [row for entry in entries for row in entry["skipped"]]:
        print(f"{split}: {len(skipped)} images skipped, listed in the manifest; first: {skipped[0]['problem']}")

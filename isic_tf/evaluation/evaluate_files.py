"""Evaluates prediction files: metrics with intervals, a text summary and an HTML report."""

import json

import pandas as pd

from isic_tf.artifacts import prediction_sidecar
from isic_tf.data import label_tables
from isic_tf.evaluation import evaluator, joined_tables, text_report
from isic_tf.metrics import paired_auc_test, summaries
from tfrecord_tools.io import atomic_write, filesystem


def refuse_other_images(paths, tables):
    """Refuses prediction files of different images: a difference would be that of the images.

    Args:
        paths: Names for the message.
        tables: DataFrames in order of `image_name`.

    Raises:
        ValueError: The names of one are not those of the first.
    """
    first = pd.Index(tables[0]["image_name"])
    for path, table in zip(paths[1:], tables[1:], strict=True):
        names = pd.Index(table["image_name"])
        kinds = {paths[0]: first[~first.isin(names)], path: names[~names.isin(first)]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in kinds.items() if len(own)]
        if texts:
            raise ValueError(f"files can be compared on the same images only: {'; '.join(texts)}; give one at a time")


def evaluate(
    predictions, labels, records=None, output=None, report=None, workdir=None, threshold=None, specificity=None
):
    """Prints what can be said of each prediction file, and of the first against each other.

    Args:
        predictions: Paths of CSV files with `image_name` and `prediction`, or submissions; of several, all of the same
            images.
        labels: CSV file with `image_name`, `patient_id` and `target`; it may hold more images, and what groups and
            shortcuts are made of (see `tables`).
        records: Glob pattern of shards that know the sizes of images and files, and hold what the report shows; None
            for none.
        output: JSON file to write all figures to, or None.
        report: HTML file to write, or None.
        workdir: Run whose training the report shows and whose networks explain images in it, or None.
        threshold: See `evaluator.assess`.
        specificity: See `evaluator.assess`.

    Raises:
        ValueError: Flags do not go together, a table is damaged, a predicted image has no label or another target, the
            files are of different images, there is one class only, or the run has no networks.
    """
    refuse_misfits(predictions, records, output, report, workdir, threshold, specificity)
    known = label_tables.read_labels(labels)
    of_records = joined_tables.read_records(records) if records else None
    joined = [joined_tables.join(path, labels, known, of_records) for path in predictions]
    refuse_other_images(predictions, joined)
    files, comparisons = evaluate_tables(predictions, joined, threshold, specificity)
    if output:
        content = json.dumps({"files": files, "comparisons": comparisons}, indent=1, allow_nan=False)
        atomic_write.write_text(output, content + "\n")
        print(f"wrote all figures to {output}")
    if report:
        write_report(report, files, joined, comparisons, workdir, of_records)
        print(f"wrote the report to {report}, which names images, patients and the flags' paths; mind who gets it")


def refuse_misfits(predictions, records, output, report, workdir, threshold, specificity):
    """Raises a ValueError where flags do not go together, or there is no run to show; see `evaluate`."""
    if not predictions:
        raise ValueError("expected one or more files for --predictions, got none")
    if threshold is not None and specificity is not None:
        raise ValueError("expected --threshold or --specificity, got both; give one")
    for name, path in (("output", output), ("report", report)):
        if path and filesystem.isdir(path):
            raise ValueError(f"expected a file's name for --{name}, got the folder {path}")
    if workdir and not report:
        raise ValueError("expected --report with --workdir, whose training and networks it shows")
    if workdir:
        from isic_tf.evaluation import html_report

        html_report.check(workdir, bool(records))


def evaluate_tables(predictions, joined, threshold, specificity):
    """Judges prediction files and prints what is found; see `evaluate`.

    Args:
        predictions: Names of the files, `[n]`.
        joined: What `joined_tables.join` gives of each.
        threshold: See `evaluator.assess`.
        specificity: See `evaluator.assess`.

    Returns:
        List of what `evaluator.assess` gives of each file, with its `path` and `patient_context`; and list of what
        `paired_auc_test.compare` gives of the first and each other, with their paths as `first` and `second`.
    """
    files, comparisons = [], []
    for path, table in zip(predictions, joined, strict=True):
        found = evaluator.assess(table, threshold, specificity)
        print(f"{path}: {summaries.describe(found['summary'])}\n\n{text_report.write(found)}\n", flush=True)
        used = prediction_sidecar.used_patient_context([path])
        if used:
            print(f"In {path} the patients' other images had a part, which some rules forbid.\n")
        files.append({"path": path, "patient_context": used, **found})
    for path, table in zip(predictions[1:], joined[1:], strict=True):
        found = paired_auc_test.compare(joined[0], table)
        print(f"{text_report.compare(predictions[0], path, found)}\n")
        comparisons.append({"first": predictions[0], "second": path, **found})
    return files, comparisons


def write_report(path, files, joined, comparisons, workdir, records):
    """Writes the HTML report of the first prediction file, the others beside it."""
    # Jinja and the networks' code, which other evaluations need not wait for.
    from isic_tf.evaluation import html_report

    others = list(zip(files[1:], joined[1:], comparisons, strict=True))
    html_report.write(path, files[0]["path"], files[0], joined[0], others, workdir=workdir, records=records)

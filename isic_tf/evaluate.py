"""Judges prediction files: ranking, calibration, operating points, groups, patients and shortcuts, with intervals.

python -m isic_tf.evaluate --predictions=runs/b0/oof.csv --labels=train.csv --output=metrics.json
"""

import json

from absl import flags

from isic_tf import assess, compare, metrics, plain_text, provenance, tables
from tfrecord_tools import command, storage


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
        threshold: See `assess.assess`.
        specificity: See `assess.assess`.

    Raises:
        ValueError: Flags do not go together, a table is damaged, a predicted image has no label or another target, the
            files are of different images, there is one class only, or the run has no networks.
    """
    refuse_misfits(predictions, records, output, report, workdir, threshold, specificity)
    known = tables.read_labels(labels)
    of_records = tables.read_records(records) if records else None
    joined = [tables.join(path, labels, known, of_records) for path in predictions]
    compare.refuse_other_images(predictions, joined)
    files, comparisons = judge(predictions, joined, threshold, specificity)
    if output:
        content = json.dumps({"files": files, "comparisons": comparisons}, indent=1, allow_nan=False)
        command.write_text(output, content + "\n")
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
        if path and storage.isdir(path):
            raise ValueError(f"expected a file's name for --{name}, got the folder {path}")
    if workdir and not report:
        raise ValueError("expected --report with --workdir, whose training and networks it shows")
    if workdir:
        from isic_tf import report as html

        html.check(workdir, bool(records))


def judge(predictions, joined, threshold, specificity):
    """Judges prediction files and prints what is found; see `evaluate`.

    Args:
        predictions: Names of the files, `[n]`.
        joined: What `tables.join` gives of each.
        threshold: See `assess.assess`.
        specificity: See `assess.assess`.

    Returns:
        List of what `assess.assess` gives of each file, with its `path` and `patient_context`; and list of what
        `compare.compare` gives of the first and each other, with their paths as `first` and `second`.
    """
    files, comparisons = [], []
    for path, table in zip(predictions, joined, strict=True):
        found = assess.assess(table, threshold, specificity)
        print(f"{path}: {metrics.describe(found['summary'])}\n\n{plain_text.write(found)}\n", flush=True)
        used = provenance.used_context([path])
        if used:
            print(f"In {path} the patients' other images had a part, which some rules forbid.\n")
        files.append({"path": path, "patient_context": used, **found})
    for path, table in zip(predictions[1:], joined[1:], strict=True):
        found = compare.compare(joined[0], table)
        print(f"{plain_text.compare(predictions[0], path, found)}\n")
        comparisons.append({"first": predictions[0], "second": path, **found})
    return files, comparisons


def write_report(path, files, joined, comparisons, workdir, records):
    """Writes the HTML report of the first prediction file, the others beside it."""
    # Jinja and the networks' code, which other evaluations need not wait for.
    from isic_tf import report

    others = list(zip(files[1:], joined[1:], comparisons, strict=True))
    report.write(path, files[0]["path"], files[0], joined[0], others, workdir=workdir, records=records)


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_list(
        "predictions",
        None,
        "CSV files with image_name and prediction, or submissions, separated by commas; the first is compared with "
        "each other.",
    )
    flags.DEFINE_string(
        "labels",
        None,
        "CSV file with image_name, patient_id and target, and perhaps fold, source, sex, age_approx, "
        "anatom_site_general_challenge, diagnosis, width, height, bytes.",
    )
    text = "Glob pattern of shards, in quotes, that know the sizes of images and files, and hold the report's pictures."
    flags.DEFINE_string("records", None, text)
    flags.DEFINE_string("report", None, "HTML file to write: figures, curves, and with --records the worst errors.")
    text = "For --report: run whose training is shown and whose networks explain the worst errors (Grad-CAM)."
    flags.DEFINE_string("workdir", None, text)
    flags.DEFINE_string("output", None, "JSON file to write all figures to.")
    flags.DEFINE_float("threshold", None, "Prediction from which an image is called malignant.", 0.0, 1.0)
    flags.DEFINE_float(
        "specificity",
        None,
        f"Choose the threshold with this specificity (0 to 1), not that with {assess.SENSITIVITY} sensitivity.",
        0.0,
        1.0,
    )
    flags.mark_flags_as_required(["predictions", "labels"])


if __name__ == "__main__":
    command.run(evaluate, define_flags)

"""Judges a lesion beside the patient's other lesions: a second stage on out-of-fold scores, judged on other patients.

python -m isic_tf.context --oof=runs/b0/oof.csv --metadata=train.csv --output=context.csv --model_dir=runs/b0/context
python -m isic_tf.context --predictions=test.csv --metadata=test_metadata.csv --model_dir=runs/b0/context \
    --output=submission.csv --sample_submission=sample_submission.csv
"""

import numpy as np
import pandas as pd
from absl import flags

from isic_tf import blends, devices, gain, lesions, out_of_fold, provenance, second_stage
from isic_tf import embeddings as looks
from isic_tf import ensemble as files
from tfrecord_tools import command, schema

_PERMUTATIONS = {"boost": 10, "set": 1}


def context(
    oof, predictions, metadata, embeddings, method, no_patient_context, join, permutations, seed, model_dir, output,
    sample_submission, strategy, tpu,
):  # fmt: skip
    """Fits a second stage and writes its honest out-of-fold predictions, or applies one to other patients.

    Args:
        oof: Out-of-fold files of stage one, to fit on; or None.
        predictions: Prediction files of the same models, to apply `model_dir` to; or None.
        metadata: CSV file with `image_name` and `patient_id`, to fit also `target`; and age, sex and site where known.
        embeddings: NumPy archive that `predict --embeddings` wrote of these images; or None.
        method: One of `second_stage.METHODS`.
        no_patient_context: Whether to judge by score and metadata alone.
        join: See `out_of_fold.join_by_name`.
        permutations: How often to judge again with shuffled patients; None for 10 times, once for `set`.
        seed: Fixes what is drawn.
        model_dir: Folder of the second stage, to write or to apply; or None not to keep it.
        output: CSV file to write: `image_name, prediction, stage_one`, and `fold, target` out of fold.
        sample_submission: CSV file whose names, in its order, the output must have, as `image_name, target`; or None.
        strategy: One of `devices.STRATEGIES`, that `set` is trained under.
        tpu: See `devices.choose`.

    Raises:
        ValueError: Flags do not go together, a file is damaged, or names do not fit.
    """
    if bool(oof) == bool(predictions):
        raise ValueError("expected --oof to fit a second stage on, or --predictions to apply --model_dir to")
    if predictions and not model_dir:
        raise ValueError("expected --model_dir with --predictions: the folder that a call with --oof wrote")
    if oof and sample_submission:
        raise ValueError("--sample_submission is for --predictions; out-of-fold predictions are no submission")
    if no_patient_context and method != "boost":
        raise ValueError(f"--method={method} judges by the patient's others; without them give --method=boost")
    if predictions:
        apply(predictions, metadata, embeddings, join, model_dir, output, sample_submission)
        return
    known = out_of_fold.read(oof, metadata, join)
    for note in known.notes:
        print(f"note: {note}")
    given = gather(known.names, blends.logits(known.scores), metadata, embeddings)
    count = _PERMUTATIONS.get(method, 0) if permutations is None else permutations
    strategy = devices.choose(strategy, tpu) if method == "set" else None
    found, figures = gain.judge(known, given, method, not no_patient_context, count, seed, strategy)
    if model_dir:
        stage = second_stage.fit(method, given, known.targets, not no_patient_context, seed, strategy)
        second_stage.save(stage, model_dir, figures)
        print(f"wrote the second stage to {model_dir}; predict --context applies it")
    columns = {"prediction": found, "stage_one": known.scores.mean(axis=1), "fold": known.folds}
    table = pd.DataFrame({"image_name": known.names, **columns, "target": known.targets})
    write(table, output, method, not no_patient_context, oof)


def apply(predictions, metadata, embeddings, join, model_dir, output, sample_submission):
    """Applies a second stage to prediction files; see `context`."""
    stage = second_stage.load(model_dir)
    names, scores = files.read_scores(predictions, join)
    order = files.match_sample(names, sample_submission) if sample_submission else names
    given = gather(names, blends.logits(scores), metadata, embeddings)
    found = second_stage.apply(stage, given)
    table = pd.DataFrame({"image_name": names, "prediction": found, "stage_one": scores.mean(axis=1)})
    if sample_submission:
        table = table.set_index("image_name").loc[order, ["prediction"]].reset_index()
        table = table.rename(columns={"prediction": "target"})
    write(table, output, stage.method, stage.patient_context, predictions)


def write(table, output, method, patient_context, stage_one):
    """Writes a prediction file and its sidecar, which tells whether the patients' other images had a part."""
    # What stage one looked at counts too.
    used = patient_context or provenance.used_context(stage_one)
    files.write(output, table, used, "isic_tf.context", method)
    said = {True: "the patients' other images had a part in it", False: "no other image of a patient had a part in it"}
    print(said.get(used, "no other image of a patient was used here; whether stage one did, no sidecar beside it says"))


def gather(names, logits, metadata, embeddings):
    """Reads what is known of the images, in their order.

    Args:
        names: Images, `[n]`.
        logits: Float `[n, files]`.
        metadata: See `context`.
        embeddings: See `context`.

    Returns:
        `lesions.Lesions`.

    Raises:
        ValueError: The table or the archive lacks an image.
    """
    table = schema.read_table(metadata, ("image_name", "patient_id"))
    schema.refuse_repeats(metadata, table, "hold")
    place = pd.Index(table["image_name"], dtype=object).get_indexer(names)
    if (place < 0).any():
        first = names[np.argmax(place < 0)]
        raise ValueError(f"{(place < 0).sum()} images are not in {metadata}, {first} first; check --metadata")
    rows = table.iloc[place].reset_index(drop=True)
    absent = [name for name in lesions.COLUMNS if name not in rows]
    if absent:
        print(f"note: {metadata} has no {', '.join(absent)}; judged without")
    features = looks.read(embeddings, names) if embeddings else None
    return lesions.gather(logits, rows["patient_id"], rows, features)


def define_flags():
    """Defines the command's flags."""
    text = "Out-of-fold files of stage one (oof.csv of runs), one a model, to fit on."
    flags.DEFINE_list("oof", None, text)
    text = "Prediction files or submissions of the same models in the same order, to apply --model_dir to."
    flags.DEFINE_list("predictions", None, text)
    text = "CSV file with image_name, patient_id and, where known, age_approx, sex, anatom_site_general_challenge; "
    flags.DEFINE_string("metadata", None, text + "for --oof also target.")
    text = "NumPy archive (.npz) of these images by isic_tf.predict --embeddings, for --oof with --out_of_fold."
    flags.DEFINE_string("embeddings", None, text)
    text = "z_score, ratio, rank: the score in relation to the patient's others, nothing fitted; boost: gradient "
    text += "boosting on what is known of both; set: a network that attends to all lesions of a patient."
    flags.DEFINE_enum("method", "boost", second_stage.METHODS, text)
    text = "Judge by score and metadata alone, where rules forbid the patient's other images; the sidecar says so."
    flags.DEFINE_bool("no_patient_context", False, text)
    flags.DEFINE_enum("join", "equal", ["equal", "inner"], "inner: take the images that all files have.")
    text = "Times to judge again with shuffled patients, as control (default: 10, for set 1)."
    flags.DEFINE_integer("permutations", None, text, 0, 10_000)
    flags.DEFINE_integer("seed", 0, "Fixes what is drawn.", 0, 2**31 - 1)
    flags.DEFINE_string("model_dir", None, "Folder of the second stage: written with --oof, read with --predictions.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name, prediction, stage_one (and fold, target).")
    text = "With --predictions: write a submission instead, image_name, target in this file's order."
    flags.DEFINE_string("sample_submission", None, text)
    devices.define_flags()
    flags.adopt_module_key_flags(devices)
    flags.mark_flags_as_required(["metadata", "output"])


if __name__ == "__main__":
    command.run(context, define_flags)

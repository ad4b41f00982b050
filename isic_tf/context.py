"""Judges a lesion beside the patient's other lesions: a second stage on out-of-fold scores, judged on other patients.

python -m isic_tf.context --oof=runs/b0/oof.csv --metadata=train.csv --output=context.csv --model_dir=runs/b0/context
python -m isic_tf.context --predictions=test.csv --metadata=test_metadata.csv --model_dir=runs/b0/context \
    --output=submission.csv --sample_submission=sample_submission.csv
"""

from absl import flags

from isic_tf import shared_flags
from isic_tf.patient_context import fit_context, second_stage
from tfrecord_tools import cli


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
    shared_flags.define_strategy_flags()
    flags.adopt_module_key_flags(shared_flags)
    flags.mark_flags_as_required(["metadata", "output"])


if __name__ == "__main__":
    cli.run(fit_context.run_context, define_flags)

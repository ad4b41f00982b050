"""Blends prediction files; fitted blends are judged on patients they were not fitted on.

python -m isic_tf.ensemble --predictions=b4/test.csv,b6/test.csv --method=rank_mean --output=blend.csv
python -m isic_tf.ensemble --oof=b4/oof.csv,b6/oof.csv --labels=train.csv --method=greedy \
    --predictions=b4/test.csv,b6/test.csv --output=submission.csv --sample_submission=sample_submission.csv
"""

from absl import flags

from isic_tf.postprocessing import ensemble_predictions, ensembling
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_list("predictions", None, "CSV files with image_name and prediction, or submissions, one a model.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name, prediction, in the order of the first file.")
    flags.DEFINE_string(
        "sample_submission", None, "Write a submission instead: image_name, target in this file's order."
    )
    flags.DEFINE_list(
        "oof", None, "The same models' oof.csv, in the same order: what is fitted is fitted on these, and judged."
    )
    flags.DEFINE_string(
        "labels",
        None,
        "CSV file with image_name, patient_id and target, for --oof; without it, the folds of --oof are trusted to "
        "keep patients apart, and there are no intervals.",
    )
    flags.DEFINE_enum(
        "method",
        "mean",
        [*ensembling.UNFITTED, *ensembling.FITTED],
        "Formula; weighted (without --weights), greedy and stack are fitted on --oof. rank_mean gives ranks, not "
        "probabilities.",
    )
    flags.DEFINE_list("weights", None, "Weights for --method=weighted, one a file; fitted where there are none.")
    flags.DEFINE_enum("join", "equal", ["equal", "inner"], "inner: blend the images that all files have.")
    flags.DEFINE_string("oof_output", None, "CSV file to write the blend's honest predictions of --oof to.")


if __name__ == "__main__":
    cli.run(ensemble_predictions.ensemble, define_flags)

"""Judges a lesion beside the patient's other lesions: a second stage on out-of-fold scores, judged on other patients.

python -m isic_tf.context --oof=runs/b0/oof.csv --metadata=train.csv --output=context.csv --model_dir=runs/b0/context
python -m isic_tf.context --predictions=test.csv --metadata=test_metadata.csv --model_dir=runs/b0/context \
    --output=submission.csv --sample_submission=sample_submission.csv
"""

from isic_tf.patient_context.fit_context import ContextConfig, run_context
from tfrecord_tools import cli

CONFIG = ContextConfig


def main():
    """Runs the command."""
    cli.run(run_context, CONFIG, __doc__)


if __name__ == "__main__":
    main()

r"""Predicts each lesion together with the patient's other lesions, by a model fitted on out-of-fold predictions.

python -m isic_tf.context --oof=runs/b0/oof.csv --metadata=train.csv --output=context.csv --model_dir=runs/b0/context
python -m isic_tf.context --predictions=test.csv --metadata=test_metadata.csv --model_dir=runs/b0/context \
    --output=submission.csv --sample_submission=sample_submission.csv

The first command fits and saves a model, and evaluates it on patients it was not fitted on.
"""

from isic_tf.patient_context.config import ContextFilesConfig
from tfrecord_tools import cli

CONFIG = ContextFilesConfig
WORK = "isic_tf.patient_context.fit_context:run_context"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()

r"""Combines prediction files; fitted ensembles are evaluated on patients that they were not fitted on.

python -m isic_tf.ensemble --predictions=b4/test.csv,b6/test.csv --method=rank_mean --output=blend.csv
python -m isic_tf.ensemble --oof=b4/oof.csv,b6/oof.csv --labels=train.csv --method=greedy \
    --predictions=b4/test.csv,b6/test.csv --output=submission.csv --sample_submission=sample_submission.csv
"""

from isic_tf.postprocessing.ensemble_config import EnsembleConfig
from tfrecord_tools import cli

CONFIG = EnsembleConfig
WORK = "isic_tf.postprocessing.ensemble_predictions:ensemble"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()

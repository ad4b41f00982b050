import pytest

from isic_tf.evaluation import config
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (([], None, None), "one or more prediction files"),
        ((["a.csv"], 0.5, 0.9), "mutually exclusive"),
        ((["a.csv"], 1.5, None), "a threshold from 0 to 1, got 1.5"),
        ((["a.csv"], None, 95), "a specificity from 0 to 1, got 95"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.check_options(*options)

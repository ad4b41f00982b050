import pytest

from isic_tf.postprocessing import ensemble_config


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({}, "expected --predictions to combine, or --oof to evaluate an ensemble on, or both"),
        ({"predictions": ["a"], "output": "o"}, "expected at least two files in --predictions, .* got a"),
        ({"oof": ["a"]}, "expected at least two files in --oof, separated by commas, got a"),
        ({"predictions": list("ab"), "output": "o", "oof": list("abc")}, "in the same order, got 2 and 3 files"),
        ({"predictions": list("ab")}, "--predictions are written to --output: give both or neither"),
        ({"oof": list("ab"), "output": "o"}, "--predictions are written to --output: give both or neither"),
        ({"oof": list("ab"), "sample_submission": "s"}, "--sample_submission needs --predictions and --output"),
        ({"predictions": list("ab"), "output": "o", "weights": ["1", "1"]}, "--weights needs --method=weighted"),
        ({"predictions": list("ab"), "output": "o", "labels": "l"}, "--labels and --oof_output need --oof"),
        *[
            (
                {"predictions": list("ab"), "output": "o", "method": method},
                f"--method={method} is fitted on out-of-fold files: give those of the same models, in the same order",
            )
            for method in ensemble_config.FITTED
        ],
    ],
)
def test_options_that_contradict_each_other_are_refused_before_any_file_is_read(flags, message):
    with pytest.raises(ValueError, match=message):
        ensemble_config.EnsembleConfig(**flags)


def test_weights_that_are_given_are_not_fitted():
    files = {"predictions": ["a.csv", "b.csv"], "output": "blend.csv", "method": "weighted"}
    config = ensemble_config.EnsembleConfig(**files, weights=["1", "3"])
    assert not config.is_fitted
    assert config.num_models == 2

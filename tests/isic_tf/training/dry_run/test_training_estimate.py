from isic_tf.training.dry_run import training_estimate

ESTIMATE = training_estimate.TrainingEstimate(
    images_per_epoch=800,
    steps_per_epoch=100,
    epochs=3,
    folds=2,
    parameters=1000,
    trainable_parameters=900,
    device_memory=10**9,
    step_speed=80.0,
    input_speed=40.0,
    building_seconds=30.0,
    epoch_seconds=20.0,
    evaluation_seconds=2.5,
    detector_seconds=5.0,
    decoding_seconds=60.0,
)


def test_the_time_of_a_run_worked_by_hand():
    # Three epochs, four evaluations, that of the kept weights too, and the detector of unlike images.
    assert ESTIMATE.fold_seconds == 30 + 3 * 20 + 4 * 2.5 + 5
    assert ESTIMATE.total_seconds == 60 + 2 * 105
    assert training_estimate.describe_time(ESTIMATE, 2400) == (
        "3 epochs of 20 s and 2 s of evaluation: 1 min 45 s per fold; 2 folds: 3 min 30 s; decoding 2400 images "
        "before: 1 min 0 s. Nothing was written."
    )


def test_what_limits_the_speed_is_named():
    start = "training steps: 80 images/s; input of this host: 40 images/s at 64 px: "
    assert (
        training_estimate.describe_speed(ESTIMATE, 64, False) == f"{start}input-bound: more cores or --cache would help"
    )
    assert training_estimate.describe_speed(ESTIMATE, 64, True) == f"{start}the input is decoded once, for the cache"


def test_times_are_formatted_in_two_units():
    assert [training_estimate._format_duration(seconds) for seconds in (4.4, 60, 3725)] == [
        "4 s",
        "1 min 0 s",
        "1 h 2 min",
    ]

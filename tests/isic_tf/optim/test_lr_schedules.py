import dataclasses
import math

import pytest
from harness import make_config

from isic_tf.optim import lr_schedules


def schedule(name, steps=10, factor=1.0, **changes):
    recipe = make_config(**{"schedule": name, "learning_rate": 0.4, "epochs": 3, "warmup_epochs": 1.0, **changes})
    return lr_schedules.make_schedule(recipe, steps, factor)


def test_cosine_worked_by_hand():
    expected = {0: 0.0, 5: 0.2, 10: 0.4, 20: 0.2, 30: 0.0, 31: 0.0}
    expected[15] = 0.4 * (1 + math.cos(math.pi / 4)) / 2
    assert {step: float(schedule("cosine")(step)) for step in expected} == pytest.approx(expected, abs=1e-7)
    assert float(schedule("cosine", warmup_epochs=0.0)(0)) == pytest.approx(0.4)


def test_constant_worked_by_hand():
    expected = {0: 0.0, 5: 0.2, 10: 0.4, 29: 0.4}
    assert {step: float(schedule("constant")(step)) for step in expected} == pytest.approx(expected, abs=1e-7)
    assert float(schedule("constant", factor=0.5)(29)) == pytest.approx(0.2)


def test_a_late_schedule_follows_the_rate_of_the_run():
    recipe = make_config(**{"schedule": "cosine", "learning_rate": 0.4, "epochs": 3, "warmup_epochs": 1.0})
    late = lr_schedules.make_schedule(recipe, 10, first=10)
    # The second epoch is warmed up in again: its begin, its middle (half of a cosine's 0.4 (1 + cos(pi / 4)) / 2), its
    # end, and the run's end.
    expected = [0.0, 0.1 * (1 + math.cos(math.pi / 4)), 0.2, 0.0]
    assert [float(late(step)) for step in (0, 5, 10, 20)] == pytest.approx(expected, abs=1e-7)
    late = lr_schedules.make_schedule(dataclasses.replace(recipe, warmup_epochs=0.0), 10, first=10)
    assert [float(late(step)) for step in (0, 20)] == pytest.approx([0.3, 0.0], abs=1e-7)


def test_deottes_schedule_reaches_its_peak_after_part_of_an_epoch():
    found = schedule("deotte", learning_rate=1.0, epochs=5, warmup_epochs=1.5)
    assert float(found(20)) == pytest.approx(1.0)
    assert float(found(30)) == pytest.approx(1 / 320 + (1 - 1 / 320) * 0.8)


def test_deottes_schedule_gives_the_rates_of_the_notebook():
    # Its eight replicas of batches of 32 peak at 1.25e-6 * 8 * 32; ramp 5 epochs, hold 0.
    def published(epoch, hold):
        start, peak, end = 5e-6, 1.25e-6 * 8 * 32, 1e-6
        if epoch < 5:
            return (peak - start) / 5 * epoch + start
        return peak if epoch < 5 + hold else (peak - end) * 0.8 ** (epoch - 5 - hold) + end

    for hold in (0, 2):
        found = schedule("deotte", learning_rate=3.2e-4, epochs=12, warmup_epochs=5.0, hold_epochs=float(hold))
        for epoch in range(12):
            # The same for all steps of an epoch.
            for step in (10 * epoch, 10 * epoch + 9):
                assert float(found(step)) == pytest.approx(published(epoch, hold), rel=1e-5)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="expected a warm-up shorter than the run's 30 steps, got 30; lower --warmup"):
        schedule("cosine", warmup_epochs=3.0)

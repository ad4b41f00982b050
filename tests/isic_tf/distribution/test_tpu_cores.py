import pytest

from isic_tf.distribution import tpu_cores


def test_the_time_of_a_step_worked_by_hand():
    core = tpu_cores.Core(memory_bytes=16e9, bytes_per_second=800e9, flops_per_second=200e12, cycles_per_second=1.5e9)
    assert core.find_roofline(8e9, 1e12, 3e6) == (8 / 800, "memory")
    assert core.find_roofline(8e9, 4e12, 3e6) == (4 / 200, "arithmetic")
    assert core.find_roofline(8e9, 1e12, 30e6) == (30 / 1500, "cycles")


def test_a_generation_without_a_published_clock_is_bound_by_bytes_and_arithmetic():
    core = tpu_cores.find_core("v6e:2x4")
    assert core.cycles_per_second is None
    assert core.find_roofline(1638e9, 1.0, 1e30) == (1.0, "memory")


@pytest.mark.parametrize(
    ("topology", "gibibytes"),
    [("v2:2x2", 8), ("v3:2x2", 16), ("v4:2x2x1", 32), ("v5e:1x1", 16), ("v5p:2x2x1", 95), ("v6e:1x1", 32)],
)
def test_the_memory_of_a_core_as_tensorflow_sees_it(topology, gibibytes):
    assert tpu_cores.find_core(topology).memory_bytes == gibibytes * 2**30


def test_an_unknown_generation_has_no_figures():
    assert tpu_cores.find_core("v9:1x1") is None

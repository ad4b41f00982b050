import dataclasses

import pytest

from isic_tf.distribution import tpu_cores
from isic_tf.distribution.tpu_compiler import CompiledProgram
from isic_tf.training.compile_check import reports

LINE = '  %{0} = f32[] {1}(%a), metadata={{op_name="{2}"}}, backend_config={{"estimated_cycles":"{3}"}}\n'
TEXT = LINE.format("fusion.1", "fusion", "classifier/stem/Conv2D", 3_000_000) + LINE.format("copy.2", "copy", "", 10**6)
STEP = CompiledProgram(
    topology="v5e:2x2",
    devices=4,
    versions={"jax": "1.0", "libtpu": "0.9"},
    argument_bytes=2 * 10**9,
    output_bytes=10**9,
    aliased_bytes=10**9,
    temporary_bytes=3 * 10**9,
    code_bytes=10**8,
    bytes_accessed=10e9,
    flops=2e12,
    text=TEXT,
)
REFUSED = dataclasses.replace(
    STEP, error="RESOURCE_EXHAUSTED: (32G) exceeds available HBM (16G)", is_out_of_memory=True, text=""
)


def report(step, **changes):
    # Of a loop of four rounds, so that more bytes are accessed than the compiler counts.
    part = reports.CompiledPart(name="training step", images=32, program=step, bytes_accessed=40.95e9, flops=2e12)
    core = tpu_cores.find_core("v5e:2x2")
    return reports.CompileReport(topology="v5e:2x2", cores=4, core=core, parts=(part,), **changes)


def test_the_report_of_a_step_that_is_accepted():
    augmentation = dataclasses.replace(STEP, bytes_accessed=4.095e9, text=LINE.format("a.1", "add", "", 400_000))
    found = report(STEP, augmentation=augmentation)
    assert found.is_accepted
    # 40.95 GB at 819 GB/s.
    assert found.step_seconds == pytest.approx(0.05)
    assert found.describe() == [
        "compiled for v5e:2x2 by jax 1.0, libtpu 0.9: 4 core(s) of 17.2 GB (16 GiB), 32 images a step on each; nothing "
        "ran",
        "  training step: accepted, needs 5.10 GB: 2.00 of variables and batch, 3.00 of temporary values, 0.10 of code",
        "    accesses 41.0 GB, 2000 GFLOP, 4.0 million cycles estimated",
        "    roofline: 50.0 ms a step (memory), 2,560 images/s: a bound by these figures, not a measurement",
        "    largest operations, by the compiler's estimate of cycles:",
        "       75.0% fusion f32[]: classifier/stem/Conv2D",
        "       25.0% copy f32[]: added by the compiler",
        "  augmentation, compiled alone: 10.0% of the bytes and 10.0% of the cycles of the training step",
        "  fits v5e:2x2: at most 5.10 of 17.2 GB (16 GiB) on each core",
    ]


def test_the_report_of_a_step_that_needs_too_much_memory():
    found = report(REFUSED, remedy="--gradient_accumulation_steps=4")
    assert not found.is_accepted
    assert found.step_seconds is None
    assert found.describe()[1:] == [
        "  training step: refused: out of memory: it needs 34.4 GB, a core has 17.2 GB for programs",
        "  does not fit v5e:2x2; the training step does with --gradient_accumulation_steps=4",
    ]


def test_a_generation_without_figures_has_no_bound():
    found = dataclasses.replace(report(STEP), core=None)
    assert found.step_seconds is None
    text = "\n".join(found.describe())
    assert "4 core(s), whose figures are not known here, 32 images" in text
    assert "roofline" not in text
    assert text.endswith("fits v5e:2x2: at most 5.10 GB on each core")


def test_the_ten_largest_operations_are_listed():
    text = "".join(LINE.format(f"fusion.{number}", "fusion", f"layer{number}", 100 + number) for number in range(12))
    lines = report(dataclasses.replace(STEP, text=text)).describe()
    assert [line.split(": ")[1] for line in lines[-11:-1]] == [f"layer{number}" for number in range(11, 1, -1)]


def test_a_long_name_of_an_operation_is_cut_visibly():
    text = LINE.format("fusion.1", "fusion", "a/" * 50, 100)
    (line,) = [line for line in report(dataclasses.replace(STEP, text=text)).describe() if "a/a/" in line]
    assert line.endswith("fusion f32[]: ..." + "a/" * 45)

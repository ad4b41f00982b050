"""The programs of small networks, compiled by the compiler of TPUs where the extra `tpu-compile` is installed.

`test_tpu_readiness.py` holds the list of operations for machines without the extra.
"""

import importlib.util
import math
import re

import pytest
import tensorflow as tf
from harness import make_config, tiny_with_norm

from isic_tf.augmentation import presets
from isic_tf.distribution import tpu_compiler, tpu_program
from isic_tf.models import classifiers, set_transformer
from isic_tf.patient_context import set_model_training
from isic_tf.training.compile_check import programs
from tfrecord_tools import errors

needs_the_compiler = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in tpu_compiler.VERSIONS),
    reason="needs the extra tpu-compile",
)
TOPOLOGY = "v5e:1x1"
SIZE, BATCH = 64, 16
# Bytes that a program may access, in units of the padded batch: 16 images of 64 px, each channel with full lanes, in
# float32: one and a half times what libtpu 0.0.52 counts. Where pixels are gathered, it counts thousands.
LARGEST = {"none": 2, "geometric": 80, "light": 80, "deotte": 95, "winner": 150, "strong": 140}
LARGEST_STEP = 1000
BATCH_BYTES = 4 * BATCH * SIZE * 128 * 3
# What moves pixels one by one, and what loops over them.
FORBIDDEN = ("gather", "scatter")
LOOPS = {"while", "dynamic-slice", "dynamic-update-slice"}


def make_run(monkeypatch, cores=1, **changes):
    monkeypatch.setattr(classifiers, "build_classifier", tiny_with_norm)
    options = {"image_size": SIZE, "global_batch_size": BATCH * cores, "precision": "mixed_bfloat16", "ema": 0.9}
    return programs.RunPrograms(make_config(**{**options, **changes}), cores)


def find_image_movers(text):
    """Lists instructions that move pixels one by one: those of `FORBIDDEN` with an output as large as the batch."""
    found = []
    for line in text.splitlines():
        match = re.match(r" +(?:ROOT )?%\S+ = \w+\[([\d,]*)\]\S* ([a-z-]+)\(", line)
        if match and match[2] in FORBIDDEN:
            shape = [int(number) for number in match[1].split(",") if number]
            found += [line.strip()[:200]] * (math.prod(shape) >= BATCH * SIZE * SIZE)
    return found


def test_a_gather_over_pixels_is_found_and_one_of_parameters_is_not():
    line = "  %gather.1 = f32[{},3]{{1,0:T(8,128)}} gather(%a, %b), offset_dims={{1}}\n"
    assert len(find_image_movers(line.format(BATCH * SIZE * SIZE))) == 1
    assert find_image_movers(line.format(BATCH)) == []


@needs_the_compiler
@pytest.mark.parametrize("policy", presets.PRESETS)
def test_augmentation_moves_no_pixel_by_itself(monkeypatch, policy):
    run = make_run(monkeypatch, augment_policy=policy)
    found = run.export_augmentation().compile(TOPOLOGY, 1)
    assert found.error == ""
    assert find_image_movers(found.text) == []
    assert not tpu_program.count_kinds(found.text).keys() & LOOPS
    assert found.bytes_accessed < LARGEST[policy] * BATCH_BYTES


@needs_the_compiler
def test_a_step_and_the_predictions_are_accepted(monkeypatch):
    run = make_run(monkeypatch, gradient_accumulation_steps=2, clip_norm=1.0)
    exported = run.export_step()
    step = exported.compile(TOPOLOGY, 1)
    assert step.error == ""
    assert find_image_movers(step.text) == []
    assert 0 < step.bytes_accessed < LARGEST_STEP * BATCH_BYTES
    # Variables are updated in place, so they count once.
    assert step.aliased_bytes >= 0.9 * run.variable_bytes
    assert {operation.repeats for operation in step.operations} == {1, 2}
    for versions in (1, 8):
        assert run.export_prediction(versions).compile(TOPOLOGY, 1).error == ""


@needs_the_compiler
def test_the_step_of_eight_cores_sums_over_them(monkeypatch):
    found = make_run(monkeypatch, cores=8, augment_strength=0.0).export_step().compile("v3:2x2", 8)
    assert (found.error, found.devices) == ("", 8)
    assert sum(count for kind, count in tpu_program.count_kinds(found.text).items() if "all-reduce" in kind) > 0


class Exporter(tf.distribute.OneDeviceStrategy):
    """Exports what it runs, instead of running it compiled."""

    def __init__(self):
        super().__init__("/cpu:0")
        self.programs = []

    def run(self, fn, args=(), kwargs=None, options=None):
        specifications = [tf.TensorSpec(value.shape, value.dtype) for value in tf.nest.flatten(args)]

        def flat(*values):
            return fn(*tf.nest.pack_sequence_as(args, values))

        with tf.init_scope():
            lower = tf.function(flat, jit_compile=True).experimental_get_compiler_ir(*specifications)
            self.programs.append(lower(stage="hlo_serialized", platform_name="CPU"))
        return super().run(fn, args)


@needs_the_compiler
def test_the_step_of_the_second_stage_is_accepted():
    strategy = Exporter()
    network = set_transformer.build_set_transformer(3, units=8)
    step = set_model_training.make_train_step(strategy, network, tf.keras.optimizers.AdamW(1e-3, jit_compile=False))
    values = [tf.random.stateless_normal([2, 4, width], [width, 0]) for width in (3, 1)]
    step((*values, tf.ones([2, 4, 1]), tf.ones([2, 4])), tf.constant(8.0))
    # Gradients and update.
    assert len(strategy.programs) == 2
    assert [tpu_compiler.compile_program(program, TOPOLOGY).error for program in strategy.programs] == ["", ""]


@needs_the_compiler
def test_too_little_memory_is_said_with_the_numbers():
    program = tf.function(lambda values: values + 1.0, jit_compile=True)
    lower = program.experimental_get_compiler_ir(tf.TensorSpec([10**7, 1024]))
    found = tpu_compiler.compile_program(lower(stage="hlo_serialized"), TOPOLOGY)
    assert found.is_out_of_memory
    # Argument and output, and what is left of 16 GiB.
    assert found.need[0] == pytest.approx(2 * 4 * 1024 * 10**7, rel=0.01)
    assert found.need[1] == 15.75 * 2**30


@needs_the_compiler
def test_an_unknown_tpu_lists_those_that_are_known():
    with pytest.raises(errors.ConfigError, match=r"got v9:1x1: .*it knows for instance v2:2x2, v3:2x2, .*v6e"):
        tpu_compiler.count_cores("v9:1x1")
    assert [tpu_compiler.count_cores(name) for name in ("v4:2x2x1", "v3:2x2")] == [4, 8]

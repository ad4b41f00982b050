import dataclasses
import types

import pytest
from harness import make_config

import isic_tf
from isic_tf.distribution import tpu_compiler
from isic_tf.training import loop
from isic_tf.training.compile_check import programs
from tfrecord_tools import errors

CORES = {"v5e:1x1": 1, "v3:2x2": 8}
# GiB of a core for programs, of the variables, and of each image of the training step.
ROOM, FIXED, PER_IMAGE = 15.75, 1.0, 0.4


class Compiler:
    """Stands in for the export and the compiler of programs."""

    def __init__(self):
        self.asked, self.refused = [], {}

    def make_run(self, config, cores):
        def export_step(**changes):
            own = dataclasses.replace(config, **changes)
            images = own.global_batch_size // cores // own.gradient_accumulation_steps
            return self.make_program("step", FIXED + PER_IMAGE * images)

        return types.SimpleNamespace(
            variable_bytes=FIXED * 2**30,
            export_step=export_step,
            export_prediction=lambda versions: self.make_program(f"prediction {versions}"),
            export_augmentation=lambda: self.make_program("augmentation"),
        )

    def make_program(self, name, need=0.0):
        def compiled(topology, cores):
            self.asked.append((name, topology, cores))
            found = tpu_compiler.CompiledProgram(
                topology=topology, devices=cores, versions={"libtpu": "1"}, bytes_accessed=1e9, flops=1e9
            )
            if need > ROOM:
                error = f"RESOURCE_EXHAUSTED: ({need:.2f}G) exceeds available HBM ({ROOM}G)"
                return dataclasses.replace(found, error=error, is_out_of_memory=True)
            return dataclasses.replace(found, error=self.refused.get(name, ""))

        return types.SimpleNamespace(compile=compiled, graph=None)


@pytest.fixture
def compiler(monkeypatch):
    found = Compiler()
    monkeypatch.setattr(programs, "RunPrograms", found.make_run)
    monkeypatch.setattr(tpu_compiler, "count_cores", CORES.__getitem__)
    return found


def check(**changes):
    # Neither the records nor the directory exist.
    where = {"data_dir": "/nonexistent/records", "workdir": "/nonexistent/run", "strategy": "tpu", "dry_run": True}
    return loop.train(make_config(**{**where, **changes}))


def test_every_program_is_compiled_for_every_tpu_and_nothing_is_read_or_written(compiler, capsys):
    result = check(compile_for="v5e:1x1, v3:2x2", global_batch_size=16)
    assert [report.topology for report in result.compiled] == ["v5e:1x1", "v3:2x2"]
    # Step, prediction, with versions, augmentation.
    kinds = ("step", "prediction 1", "prediction 8", "augmentation")
    assert compiler.asked == [(kind, name, count) for name, count in CORES.items() for kind in kinds]
    names = ["training step", "prediction", "prediction of 8 versions (TTA)"]
    for report, images in zip(result.compiled, (16, 2), strict=True):
        assert [part.name for part in report.parts] == names
        assert {part.images for part in report.parts} == {images}
        assert report.is_accepted
    # The network is in the program twice, and runs eight times.
    assert [part.bytes_accessed for part in report.parts] == [1e9, 1e9, 4e9]
    output = capsys.readouterr().out
    assert "compiled for v3:2x2 by libtpu 1: 8 core(s) of 17.2 GB (16 GiB), 2 images a step on each" in output
    assert "Nothing was written." in output
    assert "/nonexistent/records does not exist; a compilation does not need it" in output
    assert "note: --precision=float32" in output
    assert result.folds == ()
    with pytest.raises(errors.IsicError, match="a dry run writes no run directory"):
        _ = result.run
    assert repr(result).startswith("RunResult(workdir='/nonexistent/run', compiled=(CompileReport(topology='v5e:1x1'")


def test_micro_batches_count_as_often_as_they_run(compiler):
    (report,) = check(compile_for="v5e:1x1", gradient_accumulation_steps=4, augment_strength=0.0).compiled
    # The step, one micro-batch of it, and two predictions.
    assert [kind for kind, _, _ in compiler.asked] == ["step", "step", "prediction 1", "prediction 8"]
    assert report.parts[0].bytes_accessed == 4e9
    assert report.augmentation is None


def test_too_little_memory_is_an_error_with_the_micro_batches_that_fit(compiler, capsys):
    # 1 + 128 * 0.4 = 52.2 GiB; 32 images at a time need 13.8 GiB.
    expected = (
        r"expected the training step to compile for v5e:1x1, got: out of memory: it needs 56\.0 GB, a core has "
        r"16\.9 GB for programs; use --gradient_accumulation_steps=4"
    )
    with pytest.raises(errors.IsicError, match=expected):
        check(compile_for="v5e:1x1", global_batch_size=128)
    output = capsys.readouterr().out
    assert "does not fit v5e:1x1; the training step does with --gradient_accumulation_steps=4" in output
    # Compiled in any case.
    assert "prediction of 8 versions (TTA): accepted" in output
    assert "Nothing was written." in output


def test_too_little_memory_is_an_error_with_the_batch_that_fits(compiler):
    # The pairs of this loss are those of a whole batch: 40 images of a core need 17 GiB, 32 need 13.8.
    with pytest.raises(errors.IsicError, match=r"use --global_batch_size=256 --gradient_accumulation_steps=1"):
        check(compile_for="v3:2x2", global_batch_size=320, loss="auc")


def test_the_batch_that_fits_has_complete_bags(compiler):
    # 1 + 48 * 0.4 = 20.2 GiB; 24 images are the largest multiple of 8 and of the bags of 12 that fits.
    with pytest.raises(errors.IsicError, match=r"use --global_batch_size=24 --gradient_accumulation_steps=1"):
        check(compile_for="v5e:1x1", global_batch_size=48, context="set", bag_size=12)


def test_a_program_that_is_refused_is_an_error_with_the_compiler_s_reason(compiler):
    compiler.refused = {"prediction 1": "UNIMPLEMENTED: float64"}
    expected = (
        "expected the prediction to compile for v5e:1x1, got: UNIMPLEMENTED: float64; the error is the compiler's"
    )
    with pytest.raises(errors.IsicError, match=expected):
        check(compile_for="v5e:1x1")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dry_run": False}, "expected --compile_for only with --dry_run, got v3:2x2; add --dry_run"),
        ({"global_batch_size": 12}, "expected a global batch size divisible by 8"),
        ({"precision": "mixed_float16"}, "or float32 on a TPU, got mixed_float16"),
        ({"compile_for": " , "}, "expected --compile_for to name at least one TPU"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_compiled(compiler, changes, expected):
    with pytest.raises(isic_tf.ConfigError, match=expected):
        check(**{"compile_for": "v3:2x2", **changes})
    assert compiler.asked == []

"""Compiles the training step and the prediction of a configuration for TPUs that need not be there."""

import dataclasses
import logging
import math
from collections.abc import Sequence

from isic_tf.distribution import tpu_compiler, tpu_cores
from isic_tf.inference import test_time_augmentation
from isic_tf.training import config_checks, memory_estimate
from isic_tf.training.compile_check import fitting, programs, reports
from isic_tf.training.config import TrainConfig
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)


def check_compilation(config: TrainConfig) -> tuple[reports.CompileReport, ...]:
    """Compiles the programs of a run for each TPU of `config.compile_for`, and logs what the compiler says.

    No record is read and nothing is written.

    Args:
        config: The configuration of the run, with `dry_run` and `compile_for`.

    Returns:
        A report for each TPU.

    Raises:
        ConfigError: The extra is missing, a TPU is not known, or the options do not fit it.
        IsicError: The compiler refuses a program, such as for lack of memory.

    Examples:
        >>> from isic_tf.training import TrainConfig
        >>> check_compilation(TrainConfig(data_dir="", workdir="", compile_for="v5e:1x1"))
        Traceback (most recent call last):
            ...
        tfrecord_tools.errors.ConfigError: expected --compile_for only with --dry_run, got v5e:1x1; add --dry_run
    """
    if not config.dry_run:
        raise errors.ConfigError(f"expected --compile_for only with --dry_run, got {config.compile_for}; add --dry_run")
    topologies = [name.strip() for name in config.compile_for.split(",") if name.strip()]
    if not topologies:
        raise errors.ConfigError(
            f"expected --compile_for to name at least one TPU, such as v5e:1x1, got {config.compile_for!r}; name one"
        )
    # Names that are not known are found before the first long compilation.
    cores = {name: tpu_compiler.count_cores(name) for name in topologies}
    for count in cores.values():
        config_checks.check_options(config, count, on_tpu=True)
    _log_doubts(config)
    found = [_check(config, name, count) for name, count in cores.items()]
    _LOG.info("Nothing was written.")
    _refuse(found)
    return tuple(found)


def _log_doubts(config: TrainConfig) -> None:
    """Logs what is accepted but may not be meant."""
    # A bucket may be out of reach of a machine that only compiles.
    if not filesystem.is_remote(config.data_dir) and not filesystem.exists(config.data_dir):
        _LOG.warning(f"note: {config.data_dir} does not exist; a compilation does not need it, the training will")
    if config.precision == "float32":
        _LOG.warning("note: --precision=float32; on a TPU mixed_bfloat16 takes about half the memory and time")


def _check(config: TrainConfig, topology: str, cores: int) -> reports.CompileReport:
    """Compiles the programs of a run for one TPU, and logs what the compiler says of each."""
    run = programs.RunPrograms(config, cores)
    images = config.global_batch_size // cores
    step = compile_step(run, config, topology, cores)
    remedy = ""
    if step.program.is_out_of_memory:
        remedy = _find_remedy(run, config, topology, cores, step.program.need)
    report = reports.CompileReport(
        topology=topology, cores=cores, core=tpu_cores.find_core(topology), parts=(step,), remedy=remedy
    )
    _LOG.info("\n".join([report.describe_head(), *report.describe_part(step)]))
    for versions in (1, test_time_augmentation.DIHEDRAL):
        part = _compile_prediction(run, versions, images, topology, cores)
        _LOG.info("\n".join(report.describe_part(part)))
        report = dataclasses.replace(report, parts=(*report.parts, part))
    if config.augment_strength and step.program.is_accepted:
        report = dataclasses.replace(report, augmentation=run.export_augmentation().compile(topology, cores))
    _LOG.info("\n".join(report.describe_end()))
    return report


def compile_step(run: programs.RunPrograms, config: TrainConfig, topology: str, cores: int) -> reports.CompiledPart:
    """Compiles the training step; with micro-batches also one of them, whose figures the loop of the step repeats.

    Args:
        run: The programs of the run.
        config: The configuration of the run.
        topology: Name of the TPU, such as `v5e:1x1`.
        cores: Number of its cores.

    Returns:
        The training step, as the compiler takes it or refuses it.
    """
    exported = run.export_step()
    _LOG.info(f"compiling the training step for {topology}; this takes 2 to 20 minutes, most for large networks")
    program = exported.compile(topology, cores)
    repeats = config.gradient_accumulation_steps - 1
    num_bytes = program.bytes_accessed
    flops = program.flops
    if repeats and program.is_accepted:
        # The compiler counts the body of a loop once. What this adds of the update is what the sums of gradients take.
        batch = config.global_batch_size // config.gradient_accumulation_steps
        single = run.export_step(global_batch_size=batch, gradient_accumulation_steps=1, augment_strength=0.0)
        part = single.compile(topology, cores)
        num_bytes += repeats * part.bytes_accessed
        flops += repeats * part.flops
    return reports.CompiledPart(
        name="training step",
        images=config.global_batch_size // cores,
        program=program,
        bytes_accessed=num_bytes,
        flops=flops,
        graph=exported.graph,
    )


def _compile_prediction(
    run: programs.RunPrograms, versions: int, images: int, topology: str, cores: int
) -> reports.CompiledPart:
    """Compiles the prediction of a batch."""
    program = run.export_prediction(versions).compile(topology, cores)
    num_bytes = program.bytes_accessed
    flops = program.flops
    if versions > 1:
        # The program holds the network twice: for the image as it is, and in a loop for all other versions.
        num_bytes *= versions / 2
        flops *= versions / 2
    name = "prediction" if versions == 1 else f"prediction of {versions} versions (TTA)"
    return reports.CompiledPart(name=name, images=images, program=program, bytes_accessed=num_bytes, flops=flops)


def _find_remedy(run: programs.RunPrograms, config: TrainConfig, topology: str, cores: int, need: fitting.Need) -> str:
    """Finds the option with which the training step fits a core; "" if there is none."""

    def compile_parts(count: int) -> tpu_compiler.CompiledProgram:
        _LOG.info(f"  trying {count} micro-batches")
        return run.export_step(gradient_accumulation_steps=count).compile(topology, cores)

    def compile_batch(images: int) -> tpu_compiler.CompiledProgram:
        _LOG.info(f"  trying {images} images on each core")
        step = run.export_step(global_batch_size=images * cores, gradient_accumulation_steps=1)
        return step.compile(topology, cores)

    share = config.global_batch_size // cores
    fixed = run.variable_bytes
    if config.loss != "auc" and not (config.sync_batch_norm and cores > 1) and config.context != "set":
        count = fitting.find_micro_batches(compile_parts, share, config.gradient_accumulation_steps, need, fixed)
        if count:
            return f"--gradient_accumulation_steps={count}"
    unit = memory_estimate.TPU_ROWS
    if config.context == "set":
        unit = math.lcm(unit, config.bag_size)
    images = fitting.find_largest_batch(compile_batch, share // config.gradient_accumulation_steps, need, fixed, unit)
    return f"--global_batch_size={images * cores} --gradient_accumulation_steps=1" if images else ""


def _refuse(found: Sequence[reports.CompileReport]) -> None:
    """Raises an error if a program was refused.

    Raises:
        IsicError: The first program that was.
    """
    for report in found:
        for part in report.parts:
            if part.program.is_accepted:
                continue
            raise errors.IsicError(
                f"expected the {part.name} to compile for {report.topology}, got: {part.program.describe_refusal()}; "
                f"{_find_advice(report, part)}"
            )


def _find_advice(report: reports.CompileReport, part: reports.CompiledPart) -> str:
    """Returns what to do about a part that is refused."""
    if not part.program.is_out_of_memory:
        return "the error is the compiler's; report it with the command"
    if part is not report.parts[0]:
        return "use a smaller --global_batch_size"
    return f"use {report.remedy or 'a smaller --image_size or --backbone'}"

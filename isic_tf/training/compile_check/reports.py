"""What the TPU's compiler says of a training run, as text."""

import dataclasses

import tensorflow as tf

from isic_tf.distribution import tpu_compiler, tpu_cores
from isic_tf.training.compile_check import source_lines

# Operations that are listed.
_MOST_OPERATIONS = 10
_MOST_SCOPE = 90


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledPart:
    """A part of a run, as the compiler takes it.

    Args:
        name: What it is: `training step`, `prediction` or `prediction of 8 versions`.
        images: Images that a core processes in a run of the program.
        program: The compiled program.
        bytes_accessed: Bytes that it reads and writes, loops included.
        flops: Its floating-point operations, loops included.
        graph: The graph of TensorFlow that it was made from.
    """

    name: str
    images: int
    program: tpu_compiler.CompiledProgram
    bytes_accessed: float = 0.0
    flops: float = 0.0
    graph: tf.Graph | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompileReport:
    """What the compiler of a TPU says of a training run.

    Args:
        topology: Name of the TPU, such as `v5e:1x1`.
        cores: Its cores, as TensorFlow sees them.
        core: Figures of a core; None if they are not known.
        parts: The compiled parts of the run, the training step first.
        augmentation: The augmentation, compiled alone; None if there is none.
        remedy: Option with which the training step fits the memory of a core; "" if it fits, or if none is known.

    Examples:
        >>> import isic_tf
        >>> config = isic_tf.TrainConfig(data_dir="", workdir="", dry_run=True, compile_for="v5e:1x1")
        >>> [report] = isic_tf.train(config).compiled  # doctest: +SKIP
        >>> report.parts[0].program.memory_bytes / 1e9  # doctest: +SKIP
        0.9
        >>> report.describe()[-1]  # doctest: +SKIP
        '  fits v5e:1x1: at most 0.90 of 17.2 GB (16 GiB) on each core'
    """

    topology: str
    cores: int
    core: tpu_cores.Core | None
    parts: tuple[CompiledPart, ...]
    augmentation: tpu_compiler.CompiledProgram | None = None
    remedy: str = ""

    @property
    def is_accepted(self) -> bool:
        """Whether the compiler takes all parts."""
        return all(part.program.is_accepted for part in self.parts)

    @property
    def step_seconds(self) -> float | None:
        """Time of a training step by the roofline, in seconds; None if it is refused or of a core without figures."""
        roofline = self._find_roofline(self.parts[0])
        return roofline and roofline[0]

    def describe(self) -> list[str]:
        """Formats the report as lines of text."""
        step, *others = self.parts
        lines = [self.describe_head(), *self.describe_part(step)]
        for part in others:
            lines += self.describe_part(part)
        return lines + self.describe_end()

    def describe_head(self) -> str:
        """Formats what the programs were compiled for."""
        step = self.parts[0]
        memory = f" of {self.core.describe_memory()}" if self.core else ", whose figures are not known here"
        return (
            f"compiled for {self.topology} by {step.program.describe_versions()}: {self.cores} core(s){memory}, "
            f"{step.images} images a step on each; nothing ran"
        )

    def describe_part(self, part: CompiledPart) -> list[str]:
        """Formats what the compiler says of a part; of the training step also its most expensive operations."""
        program = part.program
        if not program.is_accepted:
            return [f"  {part.name}: refused: {program.describe_refusal()}"]
        lines = [
            f"  {part.name}: accepted, needs {program.memory_bytes / 1e9:.2f} GB: "
            f"{program.argument_bytes / 1e9:.2f} of variables and batch, {program.temporary_bytes / 1e9:.2f} of "
            f"temporary values, {program.code_bytes / 1e9:.2f} of code",
            f"    accesses {part.bytes_accessed / 1e9:.1f} GB, {part.flops / 1e9:.0f} GFLOP, "
            f"{program.cycles / 1e6:.1f} million cycles estimated",
        ]
        roofline = self._find_roofline(part)
        if roofline:
            seconds, limit = roofline
            speed = part.images * self.cores / seconds
            lines.append(
                f"    roofline: {1000 * seconds:.1f} ms a step ({limit}), {speed:,.0f} images/s: a bound by these "
                "figures, not a measurement"
            )
        if part is self.parts[0]:
            lines.append("    largest operations, by the compiler's estimate of cycles:")
            lines += [f"      {line}" for line in _list_largest(part)]
        return lines

    def describe_end(self) -> list[str]:
        """Formats the share of the augmentation, and whether the run fits the TPU."""
        step = self.parts[0]
        lines = []
        if self.augmentation and self.augmentation.is_accepted and step.program.is_accepted:
            lines.append(f"  {_describe_share(self.augmentation, step)}")
        if self.is_accepted:
            need = max(part.program.memory_bytes for part in self.parts)
            room = f"of {self.core.describe_memory()}" if self.core else "GB"
            return [*lines, f"  fits {self.topology}: at most {need / 1e9:.2f} {room} on each core"]
        remedy = f"; the training step does with {self.remedy}" if self.remedy else ""
        return [*lines, f"  does not fit {self.topology}{remedy}"]

    def _find_roofline(self, part: CompiledPart) -> tuple[float, str] | None:
        if not self.core or not part.program.is_accepted:
            return None
        return self.core.find_roofline(part.bytes_accessed, part.flops, part.program.cycles)


def _describe_share(augmentation: tpu_compiler.CompiledProgram, step: CompiledPart) -> str:
    """Formats the share of the augmentation, compiled alone, in the figures of the training step."""
    shares = [f"{augmentation.bytes_accessed / max(step.bytes_accessed, 1):.1%} of the bytes"]
    if step.program.cycles:
        shares.append(f"{augmentation.cycles / step.program.cycles:.1%} of the cycles")
    return f"augmentation, compiled alone: {' and '.join(shares)} of the training step"


def _list_largest(step: CompiledPart) -> list[str]:
    """Formats the most expensive operations: share, kind, output, node of the graph and Python line."""
    total = max(step.program.cycles, 1)
    lines = []
    for operation in step.program.operations[:_MOST_OPERATIONS]:
        place = source_lines.find_line(step.graph, operation.scope) if step.graph else ""
        scope = operation.scope or "added by the compiler"
        if len(scope) > _MOST_SCOPE:
            scope = f"...{scope[-_MOST_SCOPE:]}"
        times = f"{operation.repeats} x " if operation.repeats > 1 else ""
        text = f"{operation.cycles / total:6.1%} {times}{operation.kind} {operation.shape}: {scope}"
        lines.append(f"{text} ({place})" if place else text)
    return lines

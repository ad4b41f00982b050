"""What the compiler of TPUs says of this build, without a TPU: bytes, estimated cycles, memory and code.

python experiments/benchmarks/tpu_compile.py [--old PATH]
    compiles the augmentation and the training step of EfficientNet-B0 (32 images of 384 px, mixed_bfloat16, AdamW,
    moving averages) for one core of a TPU v5e, and prints the figures next to their targets; with `--old` also those of
    another checkout, exported by a process of its own. Fails if a target is missed.
python experiments/benchmarks/tpu_compile.py --recipes
    compiles the configs for TPUs and those of the notebooks for their chips, and prints the table of
    docs/compatibility.md.

Needs the extra tpu-compile. A training step takes minutes to compile.
"""

import argparse
import dataclasses
import importlib
import pathlib
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isic_tf.distribution.tpu_compiler import CompiledProgram

ROOT = pathlib.Path(__file__).parents[2]
TOPOLOGY = "v5e:1x1"
SIZE = 384
BATCH = 32
STEP = {
    "image_size": SIZE,
    "weights": "none",
    "global_batch_size": BATCH,
    "precision": "mixed_bfloat16",
    "optimizer": "adamw",
    "ema": 0.999,
}
POLICIES = ("deotte", "light", "winner", "strong")
# Options of the steps that are compiled, by name.
STEPS: dict[str, dict[str, Any]] = {
    "step none": {"augment_strength": 0.0},
    "step deotte": {"augment_policy": "deotte"},
}
# What is compiled for its chip: name, flag file, further flags, topology. Kaggle's TPU has eight chips of v5e.
RECIPES = (
    ("tpu_v5e_b4_384, notebook colab_tpu", "tpu_v5e_b4_384", (), "v5e:1x1"),
    ("notebook kaggle_tpu", "tpu_v5e_b4_384", (), "v5e:2x4"),
    ("deotte_b6_384", "deotte_b6_384", ("--precision=mixed_bfloat16",), "v3:2x2"),
    ("masdevallia_b6_512", "masdevallia_b6_512", ("--precision=mixed_bfloat16",), "v3:2x2"),
)


def export(build: str, names: list[str], output: str) -> None:
    """Writes programs of a checkout as serialized HLO modules; runs in a process that imports no other checkout."""
    for name in names:
        content = _export_flat(name) if (pathlib.Path(build) / "isic_tf" / "optimize.py").exists() else _export(name)
        (pathlib.Path(output) / name).write_bytes(content)


def _export(name: str) -> bytes:
    """Exports a program of this layout of the packages."""
    import tensorflow as tf

    from isic_tf.augmentation import augmenter, policies
    from isic_tf.training import train_state, train_step
    from isic_tf.training.config import TrainConfig

    kind, policy = name.split()
    options: dict[str, Any] = {**STEP, **STEPS.get(name, {"augment_policy": policy})}
    config = TrainConfig(data_dir="", workdir="", **options)
    try:
        from isic_tf.training.compile_check import programs
    except ImportError:
        # A build before the compile check.
        if kind == "augment":
            return _lower(augmenter.make_augment(policies.read_policy(policy)))
        state = train_state.make_state(tf.distribute.get_strategy(), config, 1000)
        return _lower(train_step.make_replica_step(state, config))
    run = programs.RunPrograms(config, cores=1)
    program = run.export_augmentation() if kind == "augment" else run.export_step()
    return program.content


def _export_flat(name: str) -> bytes:
    """Exports a program of release 0.1, whose modules are in one directory."""
    import tensorflow as tf

    # That build's own modules.
    from isic_tf import augment, checkpoints, optimize, policies

    sys.path.insert(0, str(pathlib.Path(sys.modules["isic_tf"].__path__[0]).parent / "experiments" / "benchmarks"))
    common: Any = importlib.import_module("common")
    kind, policy = name.split()
    if kind == "augment":
        return _lower(augment.make_augment(policies.read(policy)))
    recipe = common.make_recipe(**STEP, **STEPS[name])
    return _lower(
        optimize.make_replica_step(checkpoints.make_state(tf.distribute.get_strategy(), recipe, 1000), recipe)
    )


def _lower(function: Any) -> bytes:
    import tensorflow as tf

    def run(*inputs: Any) -> Any:
        return function(*inputs)

    arguments = [
        tf.TensorSpec([BATCH, SIZE, SIZE, 3], tf.uint8),
        tf.TensorSpec([BATCH, 1], tf.float32),
        tf.TensorSpec([BATCH, 2], tf.int64),
    ]
    program = tf.function(run, jit_compile=True)
    return program.experimental_get_compiler_ir(*arguments)(stage="hlo_serialized", platform_name="CPU")


def compile_build(build: pathlib.Path, names: list[str]) -> dict[str, "CompiledProgram"]:
    """Exports programs of a checkout, and compiles them."""
    from isic_tf.distribution import tpu_compiler

    with tempfile.TemporaryDirectory() as output:
        command = [sys.executable, __file__, "--export", output, "--build", str(build), "--programs", ",".join(names)]
        subprocess.run(command, check=True)  # noqa: S603
        found = {}
        for name in names:
            found[name] = tpu_compiler.compile_program((pathlib.Path(output) / name).read_bytes(), TOPOLOGY)
            print(f"{build.name}, {name}: {describe(found[name])}", flush=True)
        return found


def describe(program: "CompiledProgram") -> str:
    """Formats the figures of a program, with the version of the compiler."""
    if not program.is_accepted:
        return f"refused: {program.describe_refusal()} ({program.describe_versions()})"
    return (
        f"{program.bytes_accessed / 1e9:.2f} GB accessed, {program.cycles / 1e6:.2f} M cycles, "
        f"{program.temporary_bytes / 1e9:.3f} GB temporary, {program.code_bytes / 1e6:.1f} MB code "
        f"({program.describe_versions()})"
    )


def compare_with_targets(found: dict[str, "CompiledProgram"]) -> list[tuple[str, float, float]]:
    """Returns the figures of a build that have targets: name, value and largest value."""
    plain = found["step none"]
    base = plain.cycles
    figures = [("augment deotte: GB accessed", found["augment deotte"].bytes_accessed / 1e9, 8.0)]
    for policy, target in (("deotte", 12.0), ("winner", 25.0), ("strong", 25.0)):
        share = 100 * found[f"augment {policy}"].cycles / base
        figures.append((f"augment {policy}: cycles, % of the step without", share, target))
    ratio = found["step deotte"].bytes_accessed / plain.bytes_accessed
    return [
        *figures,
        ("step deotte: bytes, times the step without", ratio, 1.3),
        ("step without augmentation: GB accessed", plain.bytes_accessed / 1e9, 22.0),
        ("step without augmentation: MB of code", plain.code_bytes / 1e6, 50.0),
    ]


def print_targets(old: pathlib.Path | None) -> bool:
    """Compiles this build, and another one if given; prints the table and returns whether all targets are met."""
    names = [f"augment {policy}" for policy in POLICIES] + list(STEPS)
    builds = {"this build": ROOT, **({"old build": old} if old else {})}
    compiled = {name: compile_build(build, names) for name, build in builds.items()}
    tables = {name: compare_with_targets(found) for name, found in compiled.items()}
    versions = compiled["this build"]["step none"].describe_versions()
    print(f"\n| figure ({TOPOLOGY}, {versions}) | {' | '.join(tables)} | target |")
    print(f"|---|{'---|' * (len(tables) + 1)}")
    own = tables["this build"]
    for row, (title, _, target) in enumerate(own):
        values = " | ".join(f"{table[row][1]:,.2f}" for table in tables.values())
        print(f"| {title} | {values} | <= {target:g} |")
    print("the share of augmentation in a step on a CPU: experiments/benchmarks/augment_share.py")
    return all(value <= target for _, value, target in own)


def print_recipes() -> None:
    """Compiles the training step of each recipe for its chip, and prints the table as Markdown."""
    columns = (
        "config",
        "TPU",
        "images of a core",
        "accepted",
        "memory",
        "`--dry_run`",
        "accessed",
        "bound",
        "compiler",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for name, flag_file, flags, topology in RECIPES:
        print(
            f"| {' | '.join([name, topology, *_describe_recipe(_read_flags(flag_file, *flags), topology)])} |",
            flush=True,
        )


def _describe_recipe(config: Any, topology: str) -> list[str]:
    """Compiles the training step of a config; returns the cells of its row."""
    from isic_tf.distribution import tpu_compiler, tpu_cores
    from isic_tf.training import memory_estimate
    from isic_tf.training.compile_check import checks, programs, reports

    cores = tpu_compiler.count_cores(topology)
    run = programs.RunPrograms(config, cores)
    step = checks.compile_step(run, config, topology, cores)
    core = tpu_cores.find_core(topology)
    seconds = reports.CompileReport(topology=topology, cores=cores, core=core, parts=(step,)).step_seconds
    parts = config.gradient_accumulation_steps
    estimate = memory_estimate.estimate_memory(run.state, config.global_batch_size, cores, parts)
    program = step.program
    # A program that is refused has no figures.
    figures = [f"{program.memory_bytes / 1e9:.1f} GB", f"{step.bytes_accessed / 1e9:.0f} GB"]
    memory, accessed = figures if program.is_accepted else ("-", "-")
    return [
        f"{config.global_batch_size // cores} in {parts} part(s)",
        "yes" if program.is_accepted else program.describe_refusal(),
        memory,
        f"{estimate.tpu_bytes / 1e9:.1f} GB",
        accessed,
        f"{1000 * seconds:.0f} ms, {config.global_batch_size / seconds:,.0f} images/s" if seconds else "-",
        program.describe_versions(),
    ]


def _read_flags(flag_file: str, *flags: str) -> Any:
    """Reads a config of experiments/configs."""
    from absl import flags as absl_flags

    from isic_tf.training.config import TrainConfig
    from tfrecord_tools import cli

    values = absl_flags.FlagValues()
    cli.define_flags(TrainConfig, values, "train")
    path = ROOT / "experiments" / "configs" / f"{flag_file}.flags"
    values(["train", f"--flagfile={path}", "--data_dir=records", "--workdir=run", *flags])
    options: dict[str, Any] = {field.name: values[field.name].value for field in dataclasses.fields(TrainConfig)}
    return TrainConfig(**options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=pathlib.Path, help="checkout of another build to compare with")
    parser.add_argument("--recipes", action="store_true", help="compile the recipes for TPUs instead")
    for name in ("--export", "--build", "--programs"):
        parser.add_argument(name, default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, options.build or str(ROOT))
    if options.export:
        export(options.build, options.programs.split(","), options.export)
    elif options.recipes:
        print_recipes()
    else:
        sys.exit(not print_targets(options.old))


if __name__ == "__main__":
    main()

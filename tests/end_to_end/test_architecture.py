"""The import rule: a package imports only packages below it; and what the tree promises a reader."""

import ast
import importlib
import importlib.metadata
import inspect
import pathlib
import re
import subprocess
import sys
import typing

import pytest
from harness import ENVIRONMENT, ROOT

# Lowest first. A package imports packages of lower floors, never of its own floor or above.
FLOORS = {
    "tfrecord_tools": (
        ("errors",),
        ("schema",),
        ("io",),
        ("flag_files", "option_paths"),
        ("configuration",),
        ("cli",),
        ("imaging",),
        ("table_formats",),
        ("splits",),
        ("building", "deduplication", "synthetic"),
        ("verification",),
        ("commands",),
    ),
    "isic_tf": (
        ("distribution", "image_quality", "metrics", "optim"),
        ("artifacts",),
        ("data",),
        ("augmentation", "models", "postprocessing"),
        ("novelty", "patient_context"),
        ("inference",),
        ("training", "visualization"),
        ("evaluation",),
        ("diagnosis",),
        ("serving", "server"),
        ("commands",),
    ),
}
COMMANDS = {
    "isic_tf": [
        "train",
        "predict",
        "diagnose",
        "serve",
        "evaluate",
        "calibrate",
        "ensemble",
        "context",
        "explain",
        "export",
        "submission",
        "show",
        "weights",
    ],
    "tfrecord_tools": ["build", "index", "verify", "folds", "duplicates", "synth", "tables"],
}
# What isic_tf may use of tfrecord_tools; image files alone are also read as the tools read them.
SHARED = {"schema", "errors", "io", "option_paths", "configuration", "cli", "table_formats"}
EXCEPTIONS = {
    ("isic_tf.data.decoding", "imaging"),
    ("isic_tf.data.image_files", "imaging"),
    ("isic_tf.data.photographs", "imaging"),
    ("isic_tf.inference.config", "imaging"),
    ("isic_tf.diagnosis.config", "imaging"),
    # In a graph, too.
    ("isic_tf.serving.graph_images", "imaging"),
    # Damage that TensorFlow's decoder only prints is found by decoding records as `tfrecord_tools.verify` does.
    ("isic_tf.data.corrupt_records", "imaging"),
}
MODULES = sorted(path for root in FLOORS for path in (ROOT / root).rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """The modules that a module imports, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(module):
    """Root and package of a module's name: `isic_tf.train` belongs to the commands."""
    root, *rest = module.split(".")
    if not rest:
        return root, None
    return root, "commands" if rest[0] in COMMANDS[root] else rest[0]


def floor_of(root, package):
    return next(number for number, packages in enumerate(FLOORS[root]) if package in packages)


def find_violations(module, imported):
    """Lists the imports of a module that the rule forbids."""
    root, package = package_of(module)
    found = []
    for name in imported:
        if name.split(".")[0] not in FLOORS:
            continue
        other_root, other = package_of(name)
        if other is None or other.startswith("__") or (other_root, other) == (root, package):
            continue
        if root == "tfrecord_tools" and other_root == "isic_tf":
            found.append(name)
        elif root == "isic_tf" and other_root == "tfrecord_tools":
            if other not in SHARED and (module, other) not in EXCEPTIONS:
                found.append(name)
        elif floor_of(other_root, other) >= floor_of(root, package):
            found.append(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_packages_below_its_own(path):
    if path.parent in (ROOT / "isic_tf", ROOT / "tfrecord_tools") and path.name == "__init__.py":
        # The public names of the whole package; they are imported when they are first used.
        return
    assert find_violations(name_of(path), imports(path)) == []


def test_the_rule_finds_what_it_forbids():
    assert find_violations("isic_tf.metrics.roc", ["isic_tf.data.decoding"]) == ["isic_tf.data.decoding"]
    assert find_violations("isic_tf.data.mixture", ["isic_tf.train.main"]) == ["isic_tf.train.main"]
    assert find_violations("isic_tf.training.loop", ["isic_tf.visualization.grad_cam"])
    assert find_violations("tfrecord_tools.io.manifest", ["isic_tf.data.targets"])
    assert find_violations("isic_tf.data.record_stream", ["tfrecord_tools.imaging.codec"])
    assert not find_violations("isic_tf.data.image_files", ["tfrecord_tools.imaging.image_files", "numpy"])
    assert not find_violations("isic_tf.serving.export_run", ["isic_tf.data.targets", "tfrecord_tools.io.filesystem"])


def test_training_runs_where_opencv_is_not_installed():
    below = [path for path in MODULES if package_of(name_of(path)) in {("tfrecord_tools", name) for name in SHARED}]
    assert len(below) > 8
    for path in below:
        assert not [name for name in imports(path) if name.split(".")[0] in ("cv2", "pydicom")], path


def test_no_directory_holds_more_than_20_modules():
    counts = {}
    for path in MODULES:
        counts[path.parent] = counts.get(path.parent, 0) + 1
    assert max(counts.values()) <= 20, counts


@pytest.mark.parametrize(
    "package", [path.parent for path in MODULES if path.name == "__init__.py"], ids=lambda p: p.name
)
def test_every_public_name_exists_and_is_documented(package):
    module = importlib.import_module(name_of(package / "__init__.py"))
    assert module.__doc__
    assert len(module.__all__) <= 20
    for name in module.__all__:
        found = getattr(module, name)
        assert name.startswith("__") or isinstance(found, (tuple, dict)) or found.__doc__, name


def test_every_command_is_a_thin_module_of_options_and_one_call():
    for root, commands in COMMANDS.items():
        for name in commands:
            path = ROOT / root / f"{name}.py"
            assert path.read_text().count("\n") <= 60, path
            module = importlib.import_module(f"{root}.{name}")
            assert callable(module.main)
            assert module.CONFIG.__doc__


def test_every_command_calls_a_function_of_its_config():
    for root, commands in COMMANDS.items():
        for name in commands:
            command = importlib.import_module(f"{root}.{name}")
            module, _, function = command.WORK.partition(":")
            work = inspect.unwrap(getattr(importlib.import_module(module), function))
            assert typing.get_type_hints(work)["config"] is command.CONFIG


# Of predictions and tables: these never need TensorFlow.
TABLE_COMMANDS = ("evaluate", "ensemble", "submission", "calibrate")


def test_tensorflow_is_imported_by_no_command_before_its_work():
    work = [importlib.import_module(f"isic_tf.{name}").WORK.partition(":")[0] for name in TABLE_COMMANDS]
    commands = [f"{root}.{name}" for root, names in COMMANDS.items() for name in names]
    code = f"""
import importlib, sys
from absl import flags
from tfrecord_tools import cli
heavy = ("tensorflow", "tf_keras", "cv2", "h5py", "matplotlib", "scipy.sparse", "sklearn", "fastapi", "uvicorn")
def report(name):
    print(name, [other for other in heavy if other in sys.modules])
for name in {commands}:
    module = importlib.import_module(name)
    cli.define_flags(module.CONFIG, flags.FlagValues())
    report(name)
for name in {work}:
    importlib.import_module(name)
print("work", "tensorflow" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == [*(f"{name} []" for name in commands), "work False"]


@pytest.mark.parametrize(("chosen", "kernels"), [({}, "1"), ({"TF_ENABLE_ONEDNN_OPTS": "0"}, "0")])
def test_importing_the_packages_loads_no_tensorflow_and_selects_keras_2_and_fast_kernels(chosen, kernels):
    code = (
        "import os, sys, isic_tf, tfrecord_tools; print('tensorflow' in sys.modules, "
        "os.environ['TF_USE_LEGACY_KERAS'], os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    names = ("TF_USE_LEGACY_KERAS", "TF_ENABLE_ONEDNN_OPTS")
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in names} | chosen
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "1", kernels]


def test_a_command_module_does_not_hide_the_function_of_its_name():
    import isic_tf

    for name in ("train", "predict", "evaluate"):
        importlib.import_module(f"isic_tf.{name}")
        assert callable(getattr(isic_tf, name))


def test_packages_are_reached_as_attributes_and_completion_offers_the_public_names():
    code = (
        "import isic_tf, tfrecord_tools; isic_tf.models.build_classifier; isic_tf.metrics.roc_auc; "
        "tfrecord_tools.io.read_index; assert {'IsicError', 'train', 'data'} <= set(dir(isic_tf)); "
        "assert {'LeakageError', 'build_record_set', 'io'} <= set(dir(tfrecord_tools))"
    )
    subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=True, capture_output=True)


def test_importing_the_package_takes_less_than_a_third_of_a_second():
    # Of this process alone, since others may keep the machine busy.
    code = "import time; started = time.process_time(); import isic_tf; print(time.process_time() - started)"
    program = [sys.executable, "-c", code]
    times = [
        float(subprocess.run(program, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout)
        for _ in range(3)
    ]
    assert min(times) < 0.3


def test_console_scripts_call_the_commands():
    expected = {
        f"{prefix}-{name}": f"{root}.{name}:main"
        for root, prefix in (("isic_tf", "isic"), ("tfrecord_tools", "tfrecord"))
        for name in COMMANDS[root]
    }
    scripts = {point.name: point.value for point in importlib.metadata.distribution("isic-tf").entry_points}
    assert scripts == expected


def test_what_is_not_python_is_packaged_too():
    setup = (ROOT / "setup.py").read_text()
    patterns = ast.literal_eval(re.search(r"package_data=\{\"\": (\[.*?\])\}", setup)[1])
    others = [
        path.relative_to(ROOT).as_posix()
        for root in FLOORS
        for path in (ROOT / root).rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(others) > 20
    assert not [path for path in others if not any(pathlib.PurePath(path).match(pattern) for pattern in patterns)]


def test_no_help_text_is_taken_for_a_format():
    # absl formats the docstring of a command.
    for root, commands in COMMANDS.items():
        for name in commands:
            assert "%" not in importlib.import_module(f"{root}.{name}").__doc__


# Options, errors and public names are tested where they are used; commands by running them.
WITHOUT_A_TEST_FILE = {"__init__", "config", "errors"}


def test_tests_mirror_the_modules():
    modules = {
        path.relative_to(ROOT)
        for path in MODULES
        if path.stem not in WITHOUT_A_TEST_FILE and package_of(name_of(path))[1] != "commands"
    }
    missing = [
        str(path) for path in sorted(modules) if not (ROOT / "tests" / path.parent / f"test_{path.name}").exists()
    ]
    assert missing == []

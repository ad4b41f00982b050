"""The install and check cells of the notebooks, the requirements list, and, on request, real installations.

`ISIC_TEST_INDEX=1` adds the tests that download: a fresh environment with `tensorflow-tpu`, and the TPU's library.
"""

import glob
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import shutil
import signal
import struct
import subprocess
import sys
import types
import zipfile

import pytest
import tensorflow as tf
from harness import ENVIRONMENT, ROOT, make_config
from notebook_cells import read, source
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from isic_tf.distribution import strategies, tpus
from isic_tf.optim import lr_schedules, optimizers

LIBTPU = "0.0.21.1" if sys.version_info >= (3, 11) else "0.0.20"
LIST = ROOT / "experiments" / "requirements" / "tpu_requirements.txt"
index_asked_for = pytest.mark.skipif(
    not os.environ.get("ISIC_TEST_INDEX"), reason="downloads up to 1 GB from a package index; set ISIC_TEST_INDEX=1"
)

# Versions in the runtimes of the packages that the cell checks.
COLAB_TPU = {"jax": "0.7.2", "libtpu": LIBTPU, "numpy": "2.1.3", "pandas": "2.2.3"}
PINS = ["tensorflow-tpu==2.20.0", "protobuf<7,>=5.28", f"libtpu=={LIBTPU}"]
KAGGLE_TPU = {"tensorflow-cpu": "2.20.0", "tf-keras": "2.20.1", "jax": "0.8.1", "libtpu": "0.0.24", "numpy": "2.0.2"}
COLAB_GPU = {"tensorflow": "2.20.0", "tf-keras": "2.20.1", "numpy": "2.1.3", "opencv-python-headless": "5.0.0"}


class Runtime:
    """Stands in for a machine's packages and for pip, where the cells access them."""

    def __init__(self, packages, monkeypatch, tmp_path, devices=(), loaded=()):
        self.packages = dict(packages)
        self.calls = []
        self.code = 0
        for name in ("tensorflow", "jax"):
            if name in loaded:
                monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
            else:
                monkeypatch.delitem(sys.modules, name, raising=False)
        for name in ("TPU_NAME", "COLAB_TPU_ADDR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("glob.glob", lambda pattern: [path for path in devices if path.startswith(pattern[:8])])
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if name in self.packages else None)
        monkeypatch.setattr(importlib.metadata, "version", self.version)
        monkeypatch.setattr(subprocess, "run", self.run)
        self.space = {"SCRATCH": str(tmp_path), "REPOSITORY": str(ROOT)}
        self.cell = source(read("kaggle_tpu"), "install")

    def version(self, name):
        if name not in self.packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.packages[name]

    def run(self, command, **_):
        assert command[:3] == [sys.executable, "-m", "pip"]
        verb, *arguments = command[3:]
        self.calls.append(command[3:])
        for argument in (argument for argument in arguments if not argument.startswith("-")):
            if verb == "uninstall":
                del self.packages[argument]
            elif os.path.isdir(argument):
                self.packages |= {"isic-tf": "0.1.0"} | ({} if "--no-deps" in command else {"tensorflow": "2.21.0"})
            else:
                line = Requirement(argument)
                # The newest version that the requirement allows.
                newest = next(iter(line.specifier)).version if "==" in argument else "6.33.0"
                self.packages[line.name] = newest.replace("*", "1")
        return types.SimpleNamespace(returncode=self.code, stderr="no network")

    def install(self):
        exec(self.cell, self.space)


def named(calls, verb):
    """Lists the packages that pip was given, without versions."""
    found = [argument for call in calls if call[0] == verb for argument in call[1:] if not argument.startswith("-")]
    return [Requirement(argument).name for argument in found if not os.path.isdir(argument)]


def test_a_colab_tpu_without_tensorflow_gets_the_one_for_tpus_and_what_it_lacks(monkeypatch, tmp_path):
    runtime = Runtime(COLAB_TPU, monkeypatch, tmp_path, devices=("/dev/vfio/0",))
    runtime.install()
    assert runtime.calls[0] == ["install", *PINS]
    # Nothing else is installed as a dependency, above all not tensorflow.
    assert all("--no-deps" in call for call in runtime.calls[1:])
    assert {"tf-keras", "efficientnet", "opencv-python-headless"} <= set(named(runtime.calls, "install"))
    assert not set(named(runtime.calls, "install")) & {"tensorflow", "numpy", "pandas", "jax"}
    assert COLAB_TPU.items() <= runtime.packages.items()
    assert runtime.packages["isic-tf"]
    # Run again, as after a restart, it installs nothing.
    runtime.calls.clear()
    runtime.install()
    assert runtime.calls == []


@pytest.mark.parametrize("present", ["tensorflow-cpu", "tensorflow"])
def test_a_tensorflow_that_does_not_see_the_tpu_is_replaced(present, monkeypatch, tmp_path):
    packages = {(present if name == "tensorflow-cpu" else name): version for name, version in KAGGLE_TPU.items()}
    runtime = Runtime(packages, monkeypatch, tmp_path, devices=("/dev/accel0",))
    runtime.install()
    assert runtime.calls[0] == ["uninstall", "--yes", present]
    assert runtime.calls[1] == ["install", *PINS]
    assert present not in runtime.packages
    assert runtime.packages["libtpu"] == LIBTPU
    assert not set(named(runtime.calls, "install")) & {"numpy", "tf-keras"}


def test_two_tensorflows_are_both_uninstalled_before_one_is_installed(monkeypatch, tmp_path):
    packages = {**KAGGLE_TPU, "tensorflow-tpu": "2.20.0", "tf-keras": "2.19.0", "libtpu": "0.0.52"}
    runtime = Runtime(packages, monkeypatch, tmp_path)
    monkeypatch.setenv("TPU_NAME", "local")
    runtime.install()
    assert runtime.calls[0] == ["uninstall", "--yes", "tensorflow-cpu", "tensorflow-tpu"]
    assert runtime.packages["tensorflow-tpu"] == "2.20.0"
    # Keras 2 of another TensorFlow release is replaced too.
    assert runtime.packages["tf-keras"] == "2.20.1"


def test_a_libtpu_that_does_not_work_with_tensorflow_is_replaced(monkeypatch, tmp_path):
    runtime = Runtime({**KAGGLE_TPU, "libtpu": "0.0.52"}, monkeypatch, tmp_path, devices=("/dev/accel0",))
    runtime.packages["tensorflow-tpu"] = runtime.packages.pop("tensorflow-cpu")
    runtime.install()
    assert runtime.packages["libtpu"] == LIBTPU


@pytest.mark.parametrize("devices", [(), ("/dev/vfio/0",)])
def test_on_a_gpu_or_cpu_nothing_that_is_installed_is_replaced(devices, monkeypatch, tmp_path):
    # Other devices have the same file names; without the TPU's library they are not taken for TPUs.
    held = {**COLAB_GPU, "tensorflow": "2.19.0", "tf-keras": "2.18.0"}
    runtime = Runtime(held, monkeypatch, tmp_path, devices=devices, loaded=("tensorflow", "jax"))
    runtime.install()
    assert held.items() <= runtime.packages.items()
    assert all("--no-deps" in call for call in runtime.calls)
    assert named(runtime.calls, "uninstall") == []


def test_keras_2_matches_the_release_of_the_installed_tensorflow(monkeypatch, tmp_path):
    runtime = Runtime({"tensorflow-cpu": "2.18.1"}, monkeypatch, tmp_path)
    runtime.install()
    assert runtime.packages["tf-keras"] == "2.18.1"
    assert "tensorflow" not in runtime.packages


def test_a_machine_without_tensorflow_gets_the_package_with_all_dependencies(monkeypatch, tmp_path):
    runtime = Runtime({}, monkeypatch, tmp_path)
    runtime.install()
    assert runtime.calls[0] == ["install", str(tmp_path / "isic-tf")]


@pytest.mark.parametrize("name", ["tensorflow", "jax"])
def test_a_restart_is_requested_if_a_replaced_package_was_loaded(name, monkeypatch, tmp_path):
    runtime = Runtime(KAGGLE_TPU, monkeypatch, tmp_path, devices=("/dev/accel0",), loaded=(name,))
    with pytest.raises(SystemExit, match=f"Restart the runtime and run all cells again; already loaded: {name}"):
        runtime.install()
    # In the new session nothing is replaced, so no restart is requested; missing packages are installed.
    assert "isic-tf" not in runtime.packages
    runtime.install()
    assert runtime.packages["tf-keras"].startswith("2.20.")
    assert runtime.packages["isic-tf"]


def test_after_a_pip_that_failed_halfway_keras_2_still_matches(monkeypatch, tmp_path):
    # The TensorFlow for TPUs is installed, next to the Keras 2 of the previous one.
    packages = {**COLAB_TPU, "tensorflow-tpu": "2.20.0", "protobuf": "5.29.6", "tf-keras": "2.19.0"}
    runtime = Runtime(packages, monkeypatch, tmp_path, devices=("/dev/vfio/0",))
    runtime.install()
    assert named(runtime.calls, "uninstall") == []
    assert runtime.packages["tf-keras"].startswith("2.20.")


def test_a_failed_pip_is_reported_with_its_reason_and_a_remedy(monkeypatch, tmp_path):
    runtime = Runtime(COLAB_GPU, monkeypatch, tmp_path)
    runtime.code = 1
    with pytest.raises(SystemExit, match="no network\npip failed; check the network connection"):
        runtime.install()


def test_the_repository_is_found_among_the_data(monkeypatch, tmp_path):
    repository = tmp_path / "input" / "datasets" / "someone" / "isic-tf"
    search = glob.glob
    runtime = Runtime({**COLAB_GPU, "isic-tf": "0.1.0"}, monkeypatch, tmp_path)
    monkeypatch.setattr("glob.glob", lambda pattern: search(pattern) if pattern.startswith(str(tmp_path)) else [])
    runtime.space |= {"REPOSITORY": "", "DATA": str(tmp_path / "input")}
    with pytest.raises(SystemExit, match="repository was not found below .*input: add it there, or set REPOSIT"):
        runtime.install()
    (repository / "isic_tf").mkdir(parents=True)
    (repository / "isic_tf" / "__init__.py").write_text("")
    shutil.copytree(ROOT / "experiments", repository / "experiments")
    runtime.install()
    assert runtime.space["REPOSITORY"] == str(repository)


def test_a_repository_that_cannot_be_cloned_is_named(monkeypatch, tmp_path):
    runtime = Runtime(COLAB_GPU, monkeypatch, tmp_path)
    runtime.space["REPOSITORY"] = "nowhere"
    monkeypatch.setattr(subprocess, "run", lambda command, **_: types.SimpleNamespace(returncode=128))
    with pytest.raises(SystemExit, match="REPOSITORY must be a directory or a URL that git can clone, got nowhere"):
        runtime.install()


def check(monkeypatch, stdout="", stderr="", code=0, packages=None, on_tpu=False):
    """Runs the check cell on the given output of its process."""
    packages = {"numpy": "2.1.3", "libtpu": "0.0.52", **(packages or {})}
    result = types.SimpleNamespace(returncode=code, stdout=stdout, stderr=stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    lines = ["numpy>=1.26", "pydicom>=3.0", 'apache-beam>=2.60; extra == "beam"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    space = {"HOME": ".", "installed": packages.get, "on_tpu": lambda: on_tpu, "Requirement": Requirement}
    exec("import importlib.metadata, subprocess, sys\n" + source(read("colab_tpu"), "check"), space)


def test_the_check_prints_what_was_found_in_one_line(monkeypatch, capsys):
    line = "Python 3.12.1, TensorFlow 2.20.0, libtpu 0.0.21.1; resolver local; TPUStrategy: 8 replica(s) on TPU"
    check(monkeypatch, f"TensorFlow's banner\n{line}\n", on_tpu=True)
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"code": -signal.SIGABRT}, "signal 6: libtpu 0.0.52 does not work with TensorFlow, or another process is"),
        ({"code": 1, "stderr": "x\nImportError: no tf_keras\n"}, "no tf_keras\nRun the install cell again"),
        (
            {"stdout": "running without a TPU: too new\nDefaultDistributionStrategy", "on_tpu": True},
            "running without a TPU: too new\nDefaultDistributionStrategy\nThis runtime's TPU was not found: restart",
        ),
        ({"packages": {"pydicom": "2.4.4"}}, "run  %pip install --no-deps 'pydicom>=3.0'  and then the install cell"),
    ],
)
def test_a_failed_check_says_what_to_do(answer, message, monkeypatch):
    with pytest.raises(SystemExit, match=message):
        check(monkeypatch, **answer)


def test_the_probe_describes_a_tpu(monkeypatch, capsys):
    # With a stand-in for the strategy, since no machine of the suite has a TPU.
    monkeypatch.setattr(tf.distribute, "TPUStrategy", tf.distribute.Strategy)
    monkeypatch.setattr(strategies, "choose_strategy", tf.distribute.get_strategy)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: {"libtpu": LIBTPU}[name])
    monkeypatch.setattr(tpus, "find_address", lambda: "")
    exec(source(read("colab_tpu"), "check").partition('PROBE = """')[2].partition('"""')[0], {})
    line = capsys.readouterr().out
    assert f", libtpu {LIBTPU}; resolver local; DefaultDistributionStrategy: 1 replica(s) on CPU; " in line


def listed(python="3.11"):
    """Returns a dict from package to pinned version, of the lines that apply to a Python version."""
    lines = [Requirement(line) for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    machine = {"python_version": python, "platform_machine": "x86_64"}
    applicable = [line for line in lines if not line.marker or line.marker.evaluate(machine)]
    return {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in applicable}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_list_has_all_requirements_of_the_package_except_tensorflow(python):
    found = listed(python)
    assert all(version[0].isdecimal() for version in found.values())
    assert not {"tensorflow", "tensorflow-cpu", "tensorflow-tpu", "keras", "libtpu"} & set(found)
    for line in map(Requirement, importlib.metadata.requires("isic-tf")):
        machine = {"extra": "", "python_version": python, "platform_machine": "x86_64"}
        if (not line.marker or line.marker.evaluate(machine)) and line.name != "tensorflow":
            assert line.specifier.contains(found[canonicalize_name(line.name)]), line
    assert ("tensorflow-addons" in found) == (python in ("3.10", "3.11"))


def test_the_list_and_the_package_fit_the_versions_in_colab():
    constraints = ROOT / "experiments" / "requirements" / "colab_constraints.txt"
    lines = [Requirement(line) for line in constraints.read_text().splitlines() if not line.startswith("#")]
    colab = {canonicalize_name(line.name): str(line.specifier).removeprefix("==") for line in lines}
    # Where Colab has a package, the list pins the same version, so that installing there replaces nothing.
    assert {name: version for name, version in listed("3.13").items() if name in colab}.items() <= colab.items()
    for line in map(Requirement, importlib.metadata.requires("isic-tf")):
        if canonicalize_name(line.name) in colab:
            assert line.specifier.contains(colab[canonicalize_name(line.name)]), line


def test_without_tensorflow_addons_the_default_works_and_the_others_name_it(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tensorflow_addons"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorflow_addons", None)
    schedule = lr_schedules.make_schedule(make_config(), 10)
    assert optimizers.make_optimizer(make_config(), schedule)
    with pytest.raises(ValueError, match="--optimizer=ranger needs the package tensorflow-addons"):
        optimizers.make_optimizer(make_config(optimizer="ranger"), schedule)


def exported(library, symbol):
    """Returns whether a shared library (ELF, 64 bits) exports a symbol, from its table of dynamic symbols."""
    (begin,) = struct.unpack_from("<Q", library, 40)
    size, count = struct.unpack_from("<HH", library, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", library, begin + size * number) for number in range(count)]
    # Type 11: the dynamic symbols, with the number of the section that holds their names.
    table = next(section for section in sections if section[1] == 11)
    names = sections[table[6]][4]
    for place in range(table[4], table[4] + table[5], 24):
        name, _, _, section = struct.unpack_from("<IBBH", library, place)
        if section and library[names + name : names + name + len(symbol) + 1] == symbol.encode() + b"\0":
            return True
    return False


@index_asked_for
@pytest.mark.parametrize("python", ["3.10", "3.13"])
def test_the_pinned_libtpu_exports_what_tensorflow_calls(python, tmp_path):
    space = {}
    pins = source(read("colab_tpu"), "install").partition("TPU_PINS = (")[2].partition("\n)")[0]
    exec(f"PINS = ({pins})", space)
    lines = [Requirement(line) for line in space["PINS"]]
    pin = next(line for line in lines if line.name == "libtpu" and line.marker.evaluate({"python_version": python}))
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"--python-version={python}"]
    command += ["--only-binary=:all:", f"--dest={tmp_path}", f"{pin.name}{pin.specifier}"]
    subprocess.run(command, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        library = wheel.read("libtpu/libtpu.so")
    assert exported(library, "ConfigureDistributedTpuOp_DoWork")
    assert not exported(library, "NoSuchOp_DoWork")


def test_symbols_are_read_as_the_linker_reads_them():
    # The interpreter's own extension modules export one function, named after the module.
    spec = importlib.util.find_spec("numpy._core._multiarray_umath")
    library = pathlib.Path(spec.origin).read_bytes()
    assert exported(library, "PyInit__multiarray_umath")
    # Used here, but defined elsewhere.
    assert b"\0PyErr_SetString\0" in library
    assert not exported(library, "PyErr_SetString")


class Environment:
    """A fresh virtual environment, which runs commands."""

    def __init__(self, directory):
        self.directory = directory
        self.python = str(directory / "venv" / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", str(directory / "venv")], check=True)

    def run(self, *arguments, **variables):
        environment = {name: value for name, value in ENVIRONMENT.items() if name not in ("PYTHONPATH", "TPU_NAME")}
        # Without a TPU, its library would query the cloud's metadata server for minutes.
        environment |= {"TPU_SKIP_MDS_QUERY": "1", **variables}
        options = {"env": environment, "cwd": self.directory, "capture_output": True, "text": True, "check": False}
        done = subprocess.run([self.python, *arguments], **options)
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def list_tensorflows(self):
        lines = map(Requirement, self.run("-m", "pip", "list", "--format=freeze").splitlines())
        found = {canonicalize_name(line.name): str(line.specifier) for line in lines}
        return {name: found[name] for name in ("tensorflow", "tensorflow-cpu", "tensorflow-tpu") if name in found}

    def train(self, record_set):
        flags = [f"--data_dir={record_set}", "--workdir=run", "--image_size=32", "--weights=none", "--strategy=default"]
        # A dry run takes two training steps.
        out = self.run("-m", "isic_tf.train", *flags, "--global_batch_size=8", "--warmup_epochs=0", "--dry_run")
        assert "Nothing was written" in out


on_a_tpus_processor = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="tensorflow-tpu has wheels for x86_64 only"
)


@index_asked_for
@on_a_tpus_processor
def test_a_fresh_environment_with_tensorflow_tpu_trains(record_set, tmp_path):
    fresh = Environment(tmp_path)
    # Built from a clean copy, in a directory that is writable.
    copy = tmp_path / "isic-tf"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    fresh.run("-m", "pip", "install", "--quiet", "tensorflow-tpu==2.20.0", f"libtpu=={LIBTPU}")
    fresh.run("-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(LIST))
    fresh.run("-m", "pip", "install", "--quiet", "--no-deps", str(copy))
    assert fresh.list_tensorflows() == {"tensorflow-tpu": "==2.20.0"}
    fresh.train(record_set)


@index_asked_for
@on_a_tpus_processor
def test_the_install_cell_makes_an_environment_that_trains(record_set, tmp_path):
    fresh = Environment(tmp_path)
    # As on Kaggle, a TensorFlow that does not see TPUs is installed.
    fresh.run("-m", "pip", "install", "--quiet", "packaging")
    fresh.run("-m", "pip", "install", "--quiet", "--no-deps", "tensorflow-cpu==2.20.0")
    space = f"SCRATCH, REPOSITORY, DATA = {str(tmp_path)!r}, {str(ROOT)!r}, ''"
    cell = f"{space}\n{source(read('kaggle_tpu'), 'install')}"
    assert fresh.run("-c", cell, TPU_NAME="local").startswith("pip uninstall --yes tensorflow-cpu\n")
    assert fresh.list_tensorflows() == {"tensorflow-tpu": "==2.20.0"}
    # Run again, with and without a TPU, it installs nothing.
    assert fresh.run("-c", cell, TPU_NAME="local") == fresh.run("-c", cell) == "installed\n"
    fresh.run("-m", "pip", "install", "--quiet", "pytest", "pytest-xdist")
    # This build of TensorFlow lists the kernels for TPUs.
    path = f"{ROOT}/tests/end_to_end/test_tpu_readiness.py"
    test = "test_every_listed_operation_has_a_kernel_for_tpus"
    assert "1 passed" in fresh.run("-m", "pytest", "-p", "no:cacheprovider", path, "-k", test)
    fresh.train(record_set)

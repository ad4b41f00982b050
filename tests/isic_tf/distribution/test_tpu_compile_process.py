import importlib.metadata
import json
import subprocess
import sys
import time
import types

import psutil
import pytest
from harness import ENVIRONMENT

from isic_tf.distribution import tpu_compile_process


class Ir:
    """Stands in for the module of MLIR."""

    WalkResult = types.SimpleNamespace(ADVANCE="advance")


class Value:
    def __init__(self):
        self.replaced_by = None

    def replace_all_uses_with(self, other):
        self.replaced_by = other


class Node:
    def __init__(self, name):
        self.name, self.operands, self.results, self.is_erased = name, [Value()], [Value()], False

    def erase(self):
        self.is_erased = True


class Module:
    def __init__(self, *names):
        self.operation = self
        self.nodes = [Node(name) for name in names]

    def walk(self, visit):
        assert [visit(node) for node in self.nodes] == ["advance"] * len(self.nodes)


def install(monkeypatch, open_topology, versions=True):
    """Makes a JAX that opens topologies by a function."""
    names = ("hlo_to_stablehlo", "CompileOptions", "DeviceAssignment", "DeviceList")
    jaxlib = types.ModuleType("jaxlib")
    jaxlib._jax = types.SimpleNamespace(mlir=types.SimpleNamespace(), **dict.fromkeys(names, 1))
    jaxlib._jax.mlir.hlo_to_stablehlo = 1
    experimental = types.ModuleType("jax.experimental")
    experimental.topologies = types.SimpleNamespace(get_topology_desc=open_topology)
    if not versions:
        del experimental.topologies.get_topology_desc
    found = {"jax": types.ModuleType("jax"), "jax.experimental": experimental, "jaxlib": jaxlib}
    for name, module in found.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")


def ask(topology, program=b""):
    return tpu_compile_process._compile({"topology": topology, "replicas": 1}, program)


def test_a_topology_is_opened_as_tensorflow_sees_it(monkeypatch):
    calls = []

    def open_topology(**options):
        calls.append(options)
        return types.SimpleNamespace(devices=["core"] * 4)

    install(monkeypatch, open_topology)
    for name in ("v4:2x2x1", "v5e:1x1", "v3:2x2"):
        assert ask(name) == ({"versions": {"jax": "1.0", "jaxlib": "1.0", "libtpu": "1.0"}, "devices": 4}, b"")
    options = [{**call, "platform": None, "topology_name": None} for call in calls]
    nothing = {"platform": None, "topology_name": None}
    assert options == [
        {**nothing, "chip_config_name": "megacore"},
        {**nothing, "chips_per_host_bounds": [1, 1, 1]},
        nothing,
    ]


def test_an_unknown_topology_lists_those_that_the_compiler_knows(monkeypatch):
    def open_topology(topology_name, **_):
        if topology_name not in ("v3:2x2", "v5e:1x1"):
            raise ValueError(f"no {topology_name}")
        return types.SimpleNamespace(devices=["core"])

    install(monkeypatch, open_topology)
    found, _ = ask("v9:1x1")
    assert (found["problem"], found["reason"]) == ("topology", "no v9:1x1; it knows for instance v3:2x2, v5e:1x1")


def test_a_compiler_that_opens_no_topology_is_of_the_wrong_version(monkeypatch):
    def open_topology(**_):
        raise RuntimeError("no such function")

    install(monkeypatch, open_topology)
    assert ask("v3:2x2")[0]["problem"] == "versions"
    install(monkeypatch, open_topology, versions=False)
    found, _ = ask("v3:2x2")
    assert found["problem"] == "versions"
    assert "get_topology_desc" in found["reason"]


def test_missing_packages_are_named(monkeypatch):
    def find_version(name):
        if name == "libtpu":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr("importlib.metadata.version", find_version)
    assert ask("v3:2x2", b"program") == ({"versions": {}, "problem": "missing", "reason": "no package libtpu"}, b"")


def test_a_jax_that_cannot_be_imported_is_of_the_wrong_version(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0")
    # As where jaxlib is older than JAX wants it.
    monkeypatch.setitem(sys.modules, "jax", None)
    found, _ = ask("v3:2x2")
    assert found["problem"] == "versions"
    assert found["versions"] == {"jax": "1.0", "jaxlib": "1.0", "libtpu": "1.0"}


def test_copies_are_dropped_and_what_they_copy_is_used():
    module = Module("stablehlo.add", "mhlo.copy", "stablehlo.reshape")
    tpu_compile_process._drop_copies(Ir, module)
    assert [node.is_erased for node in module.nodes] == [False, True, False]
    assert module.nodes[1].results[0].replaced_by is module.nodes[1].operands[0]


@pytest.mark.parametrize("costs", [{"bytes accessed": 5.0, "flops": 6.0}, [{"bytes accessed": 5.0, "flops": 6.0}]])
def test_figures_are_read_from_old_and_new_versions(costs):
    memory = types.SimpleNamespace(
        argument_size_in_bytes=1,
        output_size_in_bytes=2,
        alias_size_in_bytes=3,
        temp_size_in_bytes=4,
        generated_code_size_in_bytes=7,
    )
    executable = types.SimpleNamespace(get_compiled_memory_stats=lambda: memory, cost_analysis=lambda: costs)
    assert list(tpu_compile_process._read_figures(executable).values()) == [1, 2, 3, 4, 7, 5.0, 6.0]


def test_the_process_answers_on_its_own_output_and_loads_no_tensorflow():
    code = (
        "import sys; from isic_tf.distribution import tpu_compile_process as process; sys.modules['jax'] = None; "
        "process.serve(); print('tensorflow' in sys.modules)"
    )
    request = b'{"topology": "v5e:1x1", "replicas": 1}\nprogram'
    result = subprocess.run(
        [sys.executable, "-c", code], input=request, env=ENVIRONMENT, capture_output=True, check=True
    )
    head, _, text = result.stdout.partition(b"\n")
    assert (json.loads(head)["problem"], text) == ("missing", b"")
    # What is printed besides goes to the log.
    assert result.stderr.decode().split()[-1] == "False"


def test_the_process_ends_when_its_parent_was_killed():
    child = (
        "import os, time; from isic_tf.distribution import tpu_compile_process as process; "
        "process._end_with_parent(os.getppid()); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = (
        "import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], "
        "stdout=subprocess.PIPE); print(child.stdout.readline().decode(), flush=True); os._exit(0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", parent, child], env=ENVIRONMENT, capture_output=True, check=True, text=True
    )
    number = int(result.stdout)
    ended = time.monotonic() + 10
    while time.monotonic() < ended and psutil.pid_exists(number) and psutil.Process(number).status() != "zombie":
        time.sleep(0.05)
    assert not psutil.pid_exists(number) or psutil.Process(number).status() == "zombie"

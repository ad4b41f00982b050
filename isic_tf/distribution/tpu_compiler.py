"""Compiles programs with the TPU's own compiler, on a machine without a TPU.

The package libtpu contains the compiler, and JAX opens it for a topology that need not be there. Both come with the
extra `tpu-compile`. The compiler runs in a process of its own, see `tpu_compile_process`.
"""

import dataclasses
import functools
import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

from isic_tf.distribution import tpu_program
from tfrecord_tools import errors

# The versions of the extra `tpu-compile` in setup.py.
VERSIONS = {"jax": "0.10.2", "jaxlib": "0.10.2", "libtpu": "0.0.52"}
INSTALL = "pip install '.[tpu-compile]' in a clone of isic-tf"
_PROGRAM = "from isic_tf.distribution import tpu_compile_process; tpu_compile_process.serve()"
# libtpu ends the process for some names of other forms.
_NAME = re.compile(r"v\d{1,2}[a-z]*:[1-9]\d{0,3}(x[1-9]\d{0,3}){1,2}", re.ASCII)
_MAX_SHOWN = 64
# A serialized module is a message of protobuf, which cannot be larger.
_MAX_PROGRAM_BYTES = 2**31 - 1
_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
_AMOUNT = r"([\d.]+)([KMGT]?)"
# What libtpu says of memory, that of 2026 and older ones.
_NEEDS = (
    re.compile(rf"\({_AMOUNT}\) exceeds available HBM \({_AMOUNT}\)"),
    re.compile(rf"Used {_AMOUNT} of {_AMOUNT} hbm"),
)
# libtpu asks no server which TPU this is, does not lock TPUs, and writes no log files.
_ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "JAX_PLATFORMS": "cpu",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_LOG_DIR": "disabled",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompiledProgram:
    """What the TPU's compiler makes of a program, or why it refuses it.

    Args:
        topology: Name of the TPU that it is compiled for.
        devices: Number of its cores, as TensorFlow sees them.
        versions: Versions of the packages of the compiler.
        error: Why the compiler refuses the program; "" if it takes it. All figures are 0 then.
        is_out_of_memory: Whether it refuses the program because a core has too little memory.
        argument_bytes: Bytes of the arguments: variables and the batch.
        output_bytes: Bytes of the outputs.
        aliased_bytes: Bytes of the outputs that take the place of arguments: updated variables.
        temporary_bytes: Bytes of everything between arguments and outputs.
        code_bytes: Bytes of the code.
        bytes_accessed: Bytes read and written in a run of the program. What is in a loop counts once.
        flops: Floating-point operations in a run of the program. What is in a loop counts once.
        text: The optimized program.
    """

    topology: str
    devices: int
    versions: dict[str, str]
    error: str = ""
    is_out_of_memory: bool = False
    argument_bytes: int = 0
    output_bytes: int = 0
    aliased_bytes: int = 0
    temporary_bytes: int = 0
    code_bytes: int = 0
    bytes_accessed: float = 0.0
    flops: float = 0.0
    text: str = dataclasses.field(default="", repr=False)

    @property
    def is_accepted(self) -> bool:
        """Whether the compiler takes the program."""
        return not self.error

    @property
    def memory_bytes(self) -> int:
        """Bytes of a core's memory that the program needs."""
        kept = self.argument_bytes + self.output_bytes - self.aliased_bytes
        return kept + self.temporary_bytes + self.code_bytes

    @property
    def need(self) -> tuple[float, float] | None:
        """Bytes that a program needs that runs out of memory, and bytes that a core has; None if it does not say."""
        for pattern in _NEEDS:
            match = pattern.search(self.error)
            if match:
                return float(match[1]) * _UNITS[match[2]], float(match[3]) * _UNITS[match[4]]
        return None

    def describe_refusal(self) -> str:
        """Describes why the compiler refuses the program, with the numbers."""
        need = self.need
        if not (self.is_out_of_memory and need):
            return self.error
        return f"out of memory: it needs {need[0] / 1e9:.1f} GB, a core has {need[1] / 1e9:.1f} GB for programs"

    @functools.cached_property
    def operations(self) -> list[tpu_program.Operation]:
        """The operations with an estimate of the compiler, the most expensive first."""
        return tpu_program.list_operations(self.text)

    @property
    def cycles(self) -> int:
        """Estimated cycles of a run of the program, of the operations that the compiler has an estimate for."""
        return sum(operation.cycles for operation in self.operations)

    def describe_versions(self) -> str:
        """Formats the versions of the compiler."""
        return ", ".join(f"{name} {version}" for name, version in self.versions.items())


def compile_program(program: bytes, topology: str, replicas: int = 1) -> CompiledProgram:
    """Compiles a program for a TPU, in a process that ends with this call, also where it is interrupted.

    Args:
        program: Serialized HLO module, as `tf.function(...).experimental_get_compiler_ir(*arguments)` gives it for the
            stage `hlo_serialized`.
        topology: Name of the TPU, such as `v5e:1x1` (chips) or `v3:2x2`.
        replicas: Number of cores that run the program together; 0 for all of the topology.

    Returns:
        `CompiledProgram`; a program that the compiler refuses is not an error.

    Raises:
        ConfigError: The extra is missing or its packages do not work together, or the topology is not known.
        IsicError: The program is too large to be handed over.
    """
    if not program:
        raise errors.IsicError("expected a program for the compiler, got none; export one with jit_compile=True")
    if len(program) > _MAX_PROGRAM_BYTES:
        raise errors.IsicError(
            f"expected a program of at most {_MAX_PROGRAM_BYTES:,} bytes for the compiler, got {len(program):,}; "
            "choose a smaller network"
        )
    return _compile(program, topology, replicas)


def count_cores(topology: str) -> int:
    """Counts the cores of a TPU, as TensorFlow sees them.

    Args:
        topology: Name of the TPU, such as `v5e:1x1`.

    Returns:
        Number of cores: 8 for `v3:2x2`, since a chip of that generation has two.

    Raises:
        ConfigError: See `compile_program`.
        IsicError: The process of the compiler ended without an answer.
    """
    found = _compile(b"", topology, 1)
    if not found.is_accepted:
        raise errors.IsicError(
            f"expected the number of cores of {topology}, got: {found.error}; check the name, or install the compiler "
            f"again: {INSTALL}"
        )
    return found.devices


def _compile(program: bytes, topology: str, replicas: int) -> CompiledProgram:
    """Lets the compiler open a topology and compile a program, if there is one."""
    if not _NAME.fullmatch(topology):
        shown = topology if len(topology) <= _MAX_SHOWN else f"{topology[:_MAX_SHOWN]}..."
        raise errors.ConfigError(
            f"expected --compile_for to name a TPU by generation and chips, such as v5e:1x1 for Colab's v5e-1, v5e:2x4 "
            f"for Kaggle's v5e-8 or v3:2x2 for a v3-8, got {shown}; separate several with commas"
        )
    request = {"topology": topology, "replicas": replicas}
    answer, log, code = _ask(json.dumps(request).encode() + b"\n" + program)
    head, _, text = answer.partition(b"\n")
    if not head:
        return CompiledProgram(topology=topology, devices=0, versions={}, error=_describe_end(log, code))
    return _read_answer(topology, json.loads(head), text.decode())


def _ask(content: bytes) -> tuple[bytes, bytes, int]:
    """Runs the process of the compiler; returns what it writes to either output, and its exit code."""
    # Variables of this machine's own TPU would be taken for the topology's.
    own = {name: value for name, value in os.environ.items() if not name.startswith("TPU_")}
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    with subprocess.Popen(  # noqa: S603  # The program is a part of this package.
        [sys.executable, "-c", _PROGRAM], stdin=pipe, stdout=pipe, stderr=pipe, env={**own, **_ENVIRONMENT, **paths}
    ) as process:
        try:
            answer, log = process.communicate(content)
        finally:
            process.kill()
            # After Ctrl-C, the end of the block does not wait for it.
            process.wait()
    return answer, log, process.returncode


def _describe_end(log: bytes, code: int) -> str:
    """Describes why the process ended without an answer."""
    if code == -signal.SIGKILL:
        return "the compiler was ended from outside (signal 9); a machine with too little memory does that"
    if code < 0:
        return f"the compiler broke off with signal {-code}"
    lines = [line.strip() for line in log.decode(errors="replace").splitlines() if line.strip()]
    return f"the compiler ended without an answer: {lines[-1] if lines else 'no message'}"


def _read_answer(topology: str, found: dict[str, Any], text: str) -> CompiledProgram:
    problem = found.pop("problem", "")
    reason = found.pop("reason", "")
    if problem in ("missing", "versions", "topology"):
        raise errors.ConfigError(_explain(problem, reason, topology, found["versions"]))
    found["error"] = " ".join(reason.split())
    return CompiledProgram(topology=topology, is_out_of_memory=problem == "memory", text=text, **found)


def _explain(problem: str, reason: str, topology: str, versions: dict[str, str]) -> str:
    """Returns the message of an error: what was expected, what was found, and what to do."""
    reason = " ".join(reason.split())
    own = ", ".join(f"{name} {version}" for name, version in VERSIONS.items())
    if problem == "missing":
        return (
            f"expected the packages of the TPU's compiler for --compile_for, got: {reason}; run {INSTALL} (Python 3.11 "
            "or newer, Linux on x86-64)"
        )
    if problem == "versions":
        installed = ", ".join(f"{name} {version}" for name, version in versions.items())
        return (
            f"expected a libtpu that this JAX can open without a TPU, got {installed}: {reason}; {own} work together: "
            f"run {INSTALL}"
        )
    return f"expected --compile_for to name a TPU that libtpu knows, got {topology}: {reason}"

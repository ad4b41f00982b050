"""The process that `tpu_compiler` starts: compiles one program with the compiler of libtpu, which needs no TPU.

It imports JAX and neither TensorFlow nor anything of this package, so that it starts fast, and so that libtpu, which
ends its process where something is amiss, ends this one only.
"""

import io
import json
import os
import sys
import threading
import time
from typing import Any

# Topologies that are tried to find out which generations a libtpu knows.
_EXAMPLES = ("v2:2x2", "v3:2x2", "v4:2x2x1", "v5e:1x1", "v5e:2x2", "v5e:2x4", "v5p:2x2x1", "v6e:1x1", "v6e:2x4")
# The optimized program of the largest networks takes some 100 MB of text.
_MAX_TEXT_BYTES = 2**30
_SECONDS_BETWEEN_LOOKS = 0.5


class _ProblemError(Exception):
    """Ends the compilation with a kind of problem: `missing`, `versions`, `topology`, `memory` or `program`."""

    def __init__(self, kind: str, reason: object):
        super().__init__(str(reason))
        self.kind = kind


def serve() -> None:
    """Reads a request and a program from the standard input, and writes an answer to the standard output.

    The request is a line of JSON (`topology`, `replicas`), which the bytes of a serialized HLO module follow. The
    answer is a line of JSON, which the text of the optimized program follows. Without a program, only the topology is
    opened.
    """
    # Libraries print to the standard output as well.
    with os.fdopen(os.dup(1), "wb") as answer:
        os.dup2(2, 1)
        _end_with_parent(os.getppid())
        request = json.loads(sys.stdin.buffer.readline())
        found, text = _compile(request, sys.stdin.buffer.read())
        answer.write(json.dumps(found).encode() + b"\n" + text)


def _end_with_parent(parent: int) -> None:
    """Ends this process when its parent was killed; a compilation cannot be interrupted otherwise."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _compile(request: dict[str, Any], program: bytes) -> tuple[dict[str, Any], bytes]:
    found: dict[str, Any] = {"versions": {}}
    try:
        found["versions"] = _find_versions()
        _import_jax()
        devices = _open_topology(request["topology"])
        found["devices"] = len(devices)
        if not program:
            return found, b""
        executable = _compile_for(devices, program, request["replicas"] or len(devices))
        text = executable.hlo_modules()[0].to_string().encode()
        if len(text) > _MAX_TEXT_BYTES:
            raise _ProblemError("program", f"the optimized program has {len(text):,} bytes of text")
        return found | _read_figures(executable), text
    except _ProblemError as problem:
        return found | {"problem": problem.kind, "reason": str(problem)}, b""


def _find_versions() -> dict[str, str]:
    """Returns the versions of the packages."""
    import importlib.metadata

    found = {}
    for name in ("jax", "jaxlib", "libtpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise _ProblemError("missing", f"no package {name}") from error
    return found


def _import_jax() -> None:
    """Imports JAX, which refuses a jaxlib of another version."""
    try:
        import jax  # noqa: F401
    except Exception as error:
        raise _ProblemError("versions", error) from error


def _open_topology(name: str) -> list[Any]:
    """Returns the devices of a topology."""
    try:
        from jax.experimental import topologies
        from jaxlib import _jax

        _ = _jax.mlir.hlo_to_stablehlo, _jax.CompileOptions, _jax.DeviceAssignment, _jax.DeviceList
        opened = topologies.get_topology_desc
    except (ImportError, AttributeError) as error:
        raise _ProblemError("versions", error) from error
    try:
        return _open(opened, name)
    except Exception as error:
        known = [example for example in _EXAMPLES if _is_known(opened, example)]
        if known:
            raise _ProblemError("topology", f"{error}; it knows for instance {', '.join(known)}") from error
        raise _ProblemError("versions", error) from error


def _open(opened: Any, name: str) -> list[Any]:
    options: dict[str, Any] = {}
    # TensorFlow sees the two cores of a v4 chip as one, as of later chips.
    if name.startswith("v4:"):
        options["chip_config_name"] = "megacore"
    # Older versions take every host to have 2 x 2 chips.
    if set(name.partition(":")[2].split("x")) == {"1"}:
        options["chips_per_host_bounds"] = [1, 1, 1]
    return list(opened(platform="tpu", topology_name=name, **options).devices)


def _is_known(opened: Any, name: str) -> bool:
    try:
        return bool(_open(opened, name))
    except Exception:
        return False


def _compile_for(devices: list[Any], program: bytes, replicas: int) -> Any:
    """Compiles a serialized HLO module for the first devices of a topology; returns the executable."""
    import numpy as np
    from jax._src.interpreters import mlir
    from jax._src.lib.mlir import ir
    from jaxlib import _jax

    options = _jax.CompileOptions()
    options.num_replicas = replicas
    options.num_partitions = 1
    numbers = [[device.id] for device in devices[:replicas]]
    options.device_assignment = _jax.DeviceAssignment.create(np.array(numbers, np.int32))
    try:
        with mlir.make_ir_context(), ir.Location.unknown():
            # With locations and aliased arguments, which the text of a module would lose.
            module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(program))
            _drop_copies(ir, module)
            return _call_compiler(module, _jax.DeviceList(tuple(devices[:replicas])), options, devices[0].client)
    except TypeError as error:
        raise _ProblemError("versions", error) from error
    except Exception as error:
        kind = "memory" if "RESOURCE_EXHAUSTED" in str(error) else "program"
        raise _ProblemError(kind, error) from error


def _call_compiler(module: Any, devices: Any, options: Any, client: Any) -> Any:
    try:
        return client.compile(module, devices, options)
    except TypeError:
        # JAX 0.7 takes the bytes of a module.
        content = io.BytesIO()
        module.operation.write_bytecode(content)
        return client.compile(content.getvalue(), devices, options)


def _drop_copies(ir: Any, module: Any) -> None:
    """Removes the copies that TensorFlow puts before every returned variable.

    They have no counterpart in StableHLO. The compiler removes those that are not needed from a program of TensorFlow's
    own, and adds those that are.
    """
    copies = []

    def collect(operation: Any) -> Any:
        if operation.name == "mhlo.copy":
            copies.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    for operation in copies:
        operation.results[0].replace_all_uses_with(operation.operands[0])
        operation.erase()


def _read_figures(executable: Any) -> dict[str, float]:
    """Returns what the compiler says of memory, bytes and operations of a program."""
    memory = executable.get_compiled_memory_stats()
    costs = executable.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    return {
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "aliased_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "bytes_accessed": costs.get("bytes accessed", 0.0),
        "flops": costs.get("flops", 0.0),
    }

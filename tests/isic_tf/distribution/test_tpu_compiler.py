import ast
import json
import os
import signal
import threading
import time

import psutil
import pytest
from harness import ROOT

from isic_tf.distribution import tpu_compiler
from tfrecord_tools import errors

VERSIONS = {"jax": "1.0", "jaxlib": "1.1", "libtpu": "0.9"}
FIGURES = {
    "argument_bytes": 1000,
    "output_bytes": 700,
    "aliased_bytes": 600,
    "temporary_bytes": 50,
    "code_bytes": 7,
    "bytes_accessed": 8e9,
    "flops": 3e9,
}
OPERATION = '  %add.1 = f32[] add(%a, %b), backend_config={"estimated_cycles":"12"}\n'
NOTE = "RESOURCE_EXHAUSTED: E1000: CompileTimeHbmOom: Ran out of memory on HBM, the total memory required"


def answer(monkeypatch, found, text="", log=b"", code=0):
    head = json.dumps(found).encode() + b"\n" if found else b""
    asked = []

    def ask(content):
        asked.append(content)
        return head + text.encode(), log, code

    monkeypatch.setattr(tpu_compiler, "_ask", ask)
    return asked


def test_an_accepted_program_has_the_figures_of_the_compiler(monkeypatch):
    asked = answer(monkeypatch, {"versions": VERSIONS, "devices": 8, **FIGURES}, OPERATION)
    found = tpu_compiler.compile_program(b"program\n", "v3:2x2", 8)
    assert asked == [b'{"topology": "v3:2x2", "replicas": 8}\nprogram\n']
    assert found.is_accepted
    assert found.devices == 8
    # Outputs that take the place of arguments count once.
    assert found.memory_bytes == 1000 + 700 - 600 + 50 + 7
    assert found.cycles == 12
    assert found.bytes_accessed == 8e9
    assert found.need is None
    assert found.describe_versions() == "jax 1.0, jaxlib 1.1, libtpu 0.9"


@pytest.mark.parametrize(
    ("reason", "need"),
    [
        (f"{NOTE} for HLO temporaries (51.00G)\n exceeds available HBM (15.75G). HLO module: a", (51.0, 15.75)),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm.", (20.5, 15.75)),
    ],
)
def test_a_program_that_runs_out_of_memory_is_reported_with_the_numbers(monkeypatch, reason, need):
    answer(monkeypatch, {"versions": VERSIONS, "devices": 1, "problem": "memory", "reason": reason})
    found = tpu_compiler.compile_program(b"program", "v5e:1x1")
    assert not found.is_accepted
    assert found.is_out_of_memory
    assert found.need == (need[0] * 2**30, need[1] * 2**30)
    needed, available = (number * 1.073741824 for number in need)
    assert found.describe_refusal() == (
        f"out of memory: it needs {needed:.1f} GB, a core has {available:.1f} GB for programs"
    )


def test_a_program_that_is_refused_is_reported_in_one_line(monkeypatch):
    answer(monkeypatch, {"versions": VERSIONS, "devices": 1, "problem": "program", "reason": "UNIMPLEMENTED:\n f64"})
    found = tpu_compiler.compile_program(b"program", "v5e:1x1")
    assert (found.is_accepted, found.is_out_of_memory) == (False, False)
    assert found.describe_refusal() == "UNIMPLEMENTED: f64"


@pytest.mark.parametrize(
    ("problem", "reason", "expected"),
    [
        (
            "missing",
            "No module named 'jax'",
            r"got: No module named 'jax'; run pip install '\.\[tpu-compile\]' in a clone",
        ),
        (
            "versions",
            "no topologies",
            r"got jax 1\.0, jaxlib 1\.1, libtpu 0\.9: no topologies; jax 0\.10\.2, jaxlib 0\.10\.2, libtpu 0\.0\.52 "
            r"work together",
        ),
        ("topology", "no v9; it knows for instance v3:2x2", "got v9:1x1: no v9; it knows for instance v3:2x2"),
    ],
)
def test_what_a_user_can_mend_is_an_error_with_the_remedy(monkeypatch, problem, reason, expected):
    answer(monkeypatch, {"versions": VERSIONS, "problem": problem, "reason": reason})
    with pytest.raises(errors.ConfigError, match=expected):
        tpu_compiler.count_cores("v9:1x1")


def test_cores_are_counted_without_a_program(monkeypatch):
    asked = answer(monkeypatch, {"versions": VERSIONS, "devices": 4})
    assert tpu_compiler.count_cores("v5e:2x2") == 4
    assert asked == [b'{"topology": "v5e:2x2", "replicas": 1}\n']


@pytest.mark.parametrize(
    ("log", "code", "expected"),
    [
        (b"one\nF0000 check failed\n\n", 1, "ended without an answer: F0000 check failed"),
        (b"", 1, "ended without an answer: no message"),
        (b"noise", -9, "ended from outside (signal 9); a machine with too little memory does that"),
        (b"noise", -8, "broke off with signal 8"),
    ],
)
def test_a_compiler_that_ends_without_an_answer_refuses_the_program(monkeypatch, log, code, expected):
    answer(monkeypatch, None, log=log, code=code)
    assert expected in tpu_compiler.compile_program(b"program", "v5e:1x1").error
    with pytest.raises(errors.IsicError, match="expected the number of cores of v5e:1x1, got: the compiler"):
        tpu_compiler.count_cores("v5e:1x1")


def test_names_and_programs_without_measure_are_refused(monkeypatch):
    monkeypatch.setattr(tpu_compiler, "_MAX_PROGRAM_BYTES", 3)
    with pytest.raises(errors.IsicError, match="at most 3 bytes for the compiler, got 4"):
        tpu_compiler.compile_program(b"long", "v5e:1x1")
    with pytest.raises(errors.IsicError, match="expected a program for the compiler, got none"):
        tpu_compiler.compile_program(b"", "v5e:1x1")
    with pytest.raises(errors.ConfigError, match=r"got v5e:1x1:.*\.\.\.; separate several with commas"):
        tpu_compiler.count_cores("v5e:1x1:" * 9)


@pytest.mark.parametrize("name", ["v5e-1", "v5litepod-1", "V3:2x2", "v4=2x2x1", "v3-8", "v5e:1x0", "v5e", "v5e:1", ""])
def test_a_name_of_another_form_is_refused_before_the_compiler_starts(monkeypatch, name):
    monkeypatch.setattr(tpu_compiler, "_ask", None)
    with pytest.raises(errors.ConfigError, match=r"such as v5e:1x1 for Colab's v5e-1.* got .*; separate several"):
        tpu_compiler.count_cores(name)


def test_the_variables_of_this_machine_s_own_tpu_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("TPU_NAME", "own")
    monkeypatch.setenv("TPU_SKIP_MDS_QUERY", "0")
    monkeypatch.setattr(
        tpu_compiler, "_PROGRAM", "import json, os, sys; sys.stdin.read(); print(json.dumps({**os.environ}))"
    )
    content, _, code = tpu_compiler._ask(b"{}\n")
    environment = json.loads(content)
    assert code == 0
    assert "TPU_NAME" not in environment
    assert environment["TPU_SKIP_MDS_QUERY"] == "1"
    assert environment["TPU_LOG_DIR"] == "disabled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_the_compiler_and_leaves_no_process(monkeypatch, tmp_path, number):
    note = tmp_path / "process"
    monkeypatch.setattr(
        tpu_compiler,
        "_PROGRAM",
        f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    )

    def interrupt():
        while not (note.exists() and note.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    # As `preemption.exiting_cleanly` ends the dry run.
    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    try:
        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            tpu_compiler.compile_program(b"program", "v5e:1x1")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not psutil.pid_exists(int(note.read_text()))


def test_the_extra_installs_the_versions_that_errors_name():
    assignments = {
        target.id: node.value
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    pairs = assignments["TPU_COMPILE"].generators[0].iter
    assert dict(ast.literal_eval(pairs)) == tpu_compiler.VERSIONS

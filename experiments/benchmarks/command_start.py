"""What the commands of `isic_tf` take before their work: CPU seconds and memory of help, of wrong flags and of tables.

With `--old=CHECKOUT`, another checkout of the repository is measured in turns with this one; with `--run=RUN`, also
one photograph judged by a trained run.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = sorted(path.stem for path in (ROOT / "isic_tf").glob("*.py") if "CONFIG = " in path.read_text())
AIM = 1.0  # CPU seconds
REPEATS = 3
# Ends that come before any work; all of them with the exit code 1.
EARLY_ENDS = {
    **{f"{name} --helpshort": (name, "--helpshort") for name in COMMANDS},
    **{f"{name} --no_such_flag=1": (name, "--no_such_flag=1") for name in COMMANDS},
    "train, value out of range": ("train", "--data_dir=none", "--workdir=none", "--image_size=1"),
    "train, options that contradict": (
        "train",
        "--data_dir=none",
        "--workdir=none",
        "--loss=auc",
        "--malignant_weight=2",
    ),
    "train, no record set": ("train", "--data_dir=none", "--workdir=none"),
    "predict, options that contradict": ("predict", "--workdir=none", "--records=a", "--images=b", "--output=c.csv"),
    "predict, no run": ("predict", "--workdir=none", "--records=a", "--output=c.csv"),
    "explain, no run": ("explain", "--workdir=none", "--records=a", "--output=c.png"),
    "export, no run": ("export", "--workdir=none", "--output=new"),
    "context, no table": ("context", "--oof=none.csv", "--metadata=none.csv", "--output=c.csv"),
    "show, no shard": ("show", "--records=none*", "--output=c.png"),
    "evaluate, no table": ("evaluate", "--predictions=none.csv", "--labels=none.csv"),
}


def measure(checkout: pathlib.Path, arguments: tuple[str, ...], directory: str, code: int) -> tuple[float, float]:
    """Runs a command of a checkout; returns its CPU seconds and its greatest memory in MB."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    program = [sys.executable, "-m", f"isic_tf.{arguments[0]}", *arguments[1:]]
    process = subprocess.Popen(  # noqa: S603
        program, env=environment, cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        sys.exit(f"expected the exit code {code} of {' '.join(program)}, got {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(label: str, arguments: tuple[str, ...], directory: str, code: int, old: pathlib.Path | None) -> float:
    """Measures a command in turns, prints the medians, and returns the CPU seconds of this checkout."""
    checkouts = [ROOT, *([old] if old else [])]
    found = [[measure(one, arguments, directory, code) for one in checkouts] for _ in range(REPEATS)]
    medians = [[statistics.median(column) for column in zip(*turns, strict=True)] for turns in zip(*found, strict=True)]
    texts = [f"{seconds:.2f} s {memory:.0f} MB" for seconds, memory in medians]
    print(f"{label}: {texts[0]}" + (f" (before: {texts[1]})" if old else ""), flush=True)
    return medians[0][0]


def find_photograph() -> str:
    import common

    return str(common.find_real("isic2020/jpeg512/train/*.jpg")[0])


def list_work(directory: str) -> dict[str, tuple[str, ...]]:
    """Lists commands that work on real predictions, of 33,126 images."""
    # Memory of this process counts in that of the commands: it is imported when those that need little are measured.
    import common

    predictions = common.find_real("predictions/oof/model_b.csv")[0]
    labels = f"--labels={common.find_real('isic2020/train.csv')[0]}"
    pathlib.Path(directory, "flags.txt").write_text("--backbone=efficientnet-b4\n--image_size=384\n")
    return {
        "evaluate, 33,126 images": ("evaluate", f"--predictions={predictions}", labels),
        "calibrate, 33,126 images": ("calibrate", "--workdir=.", f"--oof={predictions}", labels),
    }


def find_path(flag: str) -> pathlib.Path | None:
    """Returns the path that a flag gives; None where it is not given."""
    return next((pathlib.Path(text.removeprefix(flag)) for text in sys.argv[1:] if text.startswith(flag)), None)


def main() -> None:
    old, run = find_path("--old="), find_path("--run=")
    with tempfile.TemporaryDirectory() as directory:
        seconds = {label: compare(label, end, directory, 1, old) for label, end in EARLY_ENDS.items()}
        for label, work in list_work(directory).items():
            compare(label, work, directory, 0, old)
        if run:
            work = ("diagnose", f"--workdir={run}", find_photograph())
            os.environ["KERAS_HOME"] = directory
            first, _ = measure(ROOT, work, directory, 0)
            print(f"diagnose, one photograph, first start: {first:.2f} s")
            compare("diagnose, one photograph, graph kept", work, directory, 0, old)
    slowest = max(seconds, key=lambda label: seconds[label])
    print(f"slowest end before the work: {slowest}, {seconds[slowest]:.2f} CPU seconds (aim {AIM})")


if __name__ == "__main__":
    main()

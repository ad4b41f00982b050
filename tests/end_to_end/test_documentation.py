"""Every command of the README runs as it is written there, in its order and in one folder, with a small network."""

import inspect
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from harness import ENVIRONMENT, ROOT, build_set, free_ports, tiny_trunk

from tfrecord_tools.io import csv_tables
from tfrecord_tools.synthetic import dataset

README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = [path for name in ("isic_tf", "tfrecord_tools") for path in (ROOT / name).rglob("*.py")]
SOURCES = "".join(path.read_text() for path in MODULES)
TPU_PINS = ("tensorflow-tpu==2.20.0", "libtpu==0.0.21.1")

# Loads TensorFlow once, without starting it, and runs each command as `python -m` does in a process forked from there.
# Commands in one line of its input run at once.
_SERVER = (
    """
import json, os, runpy, sys, traceback
import isic_tf
import cv2, matplotlib.figure, pandas, pydicom, sklearn.ensemble, sklearn.linear_model
import tensorflow as tf
from isic_tf.models import backbones

"""
    + inspect.getsource(tiny_trunk)
    + """
tf.keras.Model
backbones.build_backbone = tiny_trunk

def run(module, flags, environment, log):
    output = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1), os.dup2(output, 2)
    os.environ.update(environment)
    sys.argv = [module, *flags]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        return error.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

for line in sys.stdin:
    children = []
    for job in json.loads(line):
        children.append(os.fork())
        if not children[-1]:
            code = run(*job)
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)
"""
)

# Put after the flags of a command, of which the later counts: less work, the same way.
_LESS = {
    "isic_tf.train": ["--epochs=1", "--warmup_epochs=0", "--tensorboard=false"],
    "isic_tf.context": ["--permutations=2"],
}


def blocks():
    """The shell blocks, as lists of commands; each with the heading above it."""
    found = []
    for heading, text in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL):
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            lines = [line for line in block.splitlines() if line and not line.startswith("#")]
            found.append((heading, [shlex.split(line, comments=True) for line in lines]))
    return found


class Shell:
    """Runs commands in a folder; keeps what they export."""

    def __init__(self, folder):
        self.folder, self.variables, self.count = folder, {}, 0
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": folder}
        self.server = subprocess.Popen([sys.executable, "-c", _SERVER], env=ENVIRONMENT, **options)

    def run(self, *commands, expected=0):
        """Runs commands at once, each a list of words; gives the output of the last."""
        jobs = []
        for words in commands:
            place = words.index("python")
            assert words[place + 1] == "-m"
            module, flags = words[place + 2], words[place + 3 :]
            given = dict(word.split("=", 1) for word in words[:place])
            self.count += 1
            jobs.append((module, flags + _LESS.get(module, []), given, f"{self.folder}/log{self.count}.txt"))
        self.server.stdin.write(json.dumps(jobs) + "\n")
        self.server.stdin.flush()
        codes = json.loads(self.server.stdout.readline())
        for job, code in zip(jobs, codes, strict=True):
            assert code == expected, (
                f"{shlex.join(['python', '-m', job[0], *job[1]])}\n{pathlib.Path(job[3]).read_text()[-3000:]}"
            )
        return pathlib.Path(jobs[-1][3]).read_text()

    def close(self):
        self.server.stdin.close()
        self.server.wait()


@pytest.fixture
def shell(tmp_path):
    found = Shell(tmp_path)
    yield found
    found.close()


def copy_without_index(source, folder):
    """Copies shards alone, as others publish them."""
    folder.mkdir(parents=True)
    for path in source.glob("*.tfrec"):
        shutil.copy(path, folder)


def prepare(folder):
    """Makes what the README takes for granted: tables, images, others' records, lists, further sets."""
    dataset.make_dataset(dataset.SynthConfig(output=str(folder), num_patients=12, malignant_rate=0.4, seed=5))
    for path in (folder / "dicom" / "test").iterdir():
        path.rename(folder / "dicom" / path.name)
    (folder / "experiments").symlink_to(ROOT / "experiments")
    (folder / "setup.py").symlink_to(ROOT / "setup.py")
    for split in ("train", "test"):
        for side in (384, 512):
            build_set(folder / f"{split}.csv", folder / "jpeg", folder / "records" / str(side), split, image_size=side)
    table = csv_tables.read_table(str(folder / "train.csv"), ("image_name",))
    number = table["patient_id"].factorize()[0]
    for name, rows in (
        ("2020", table[number < 5]),
        ("2019", table[(number >= 5) & (number < 10)]),
        ("ham", table[number >= 10]),
    ):
        rows.to_csv(folder / f"{name}.csv", index=False)
        build_set(folder / f"{name}.csv", folder / "jpeg", folder / "records" / name, image_size=64)
    table.assign(tfrecord=number % 15).to_csv(folder / "train_cdeotte.csv", index=False)
    (folder / "pairs.csv").write_text("image_name_1,image_name_2\nelsewhere,nowhere\n")
    copy_without_index(folder / "records" / "384", folder / "kaggle")
    copy_without_index(folder / "records" / "384", folder / "input" / "datasets" / "cdeotte" / "melanoma-384x384")
    official = folder / "input" / "competitions" / "siim-isic-melanoma-classification"
    official.mkdir(parents=True)
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        shutil.copy(folder / name, official)


def label(folder):
    """Fills in what a clinic knows."""
    table = pd.read_csv(folder / "clinic.csv")
    table.assign(target=table.index % 3 == 0).astype({"target": int}).to_csv(folder / "labelled.csv", index=False)


def copy_run(folder):
    """Two runs more, to be blended."""
    for name in ("b4", "b6"):
        (folder / "runs" / name).mkdir()
        shutil.copy(folder / "runs" / "b0" / "oof.csv", folder / "runs" / name)
        shutil.copy(folder / "submission.csv", folder / f"{name}.csv")


def copy_scores(folder):
    shutil.copy(folder / "predictions.csv", folder / "test_scores.csv")


# What a reader has before a command of the README, by a flag of it.
_BEFORE = {"--labels=labelled.csv": label, "--oof=runs/b4/oof.csv,runs/b6/oof.csv": copy_run}
_BEFORE["--predictions=test_scores.csv"] = copy_scores


def follow(shell, commands, places):
    """Does what the README says, with the README's places replaced."""
    for words in commands:
        for there, here in places.items():
            words = [word.replace(there, here) for word in words]
        for name, value in shell.variables.items():
            words = [word.replace(f"${name}", value) for word in words]
        for word in words:
            _BEFORE.get(word, lambda folder: None)(shell.folder)
        if words[0] == "export":
            shell.variables |= dict(word.split("=", 1) for word in words[1:])
        elif words[0] == "pip":
            # What is tested is installed already; that it can be is for the tests of the installation.
            assert words[1] == "install"
            assert set(words[2:]) <= {
                ".",
                ".[beam]",
                "--no-deps",
                "-r",
                "experiments/requirements/tpu_requirements.txt",
                *TPU_PINS,
            }
        elif words[0].startswith("TF_CONFIG="):
            shell.run(words, [words[0].replace('"index": 0', '"index": 1'), *words[1:]])
        else:
            shell.run(words)


GROUPS = (
    ("From your images to a submission", "Your own DICOM folder", "Predicted, judged, blended, exported",
     "A lesion beside the patient's other lesions"),
    ("Kaggle in five minutes", "What is trained on, and how it is varied", "Record sets, yours and others'",
     "Many GPUs or machines", "Bigger than one machine", "How it is trained"),
)  # fmt: skip


@pytest.mark.parametrize("headings", GROUPS, ids=("one run", "the rest"))
def test_every_command_of_the_readme_runs(headings, shell, tmp_path):
    prepare(tmp_path)
    hosts = {f"host{number}:12345": f"127.0.0.1:{port}" for number, port in enumerate(free_ports(2))}
    cloud = {"DataflowRunner": "DirectRunner", "gs://bucket": str(tmp_path), "--tpu=local": "--strategy=auto"}
    places = {"/tmp/": f"{tmp_path}/", "/kaggle/input": f"{tmp_path}/input", **hosts, **cloud}
    for heading, commands in blocks():
        if heading in headings and "ISIC_REAL_DATA" not in str(commands):
            follow(shell, commands, places)


@pytest.mark.realdata
def test_its_commands_on_real_images_run(shell, tmp_path, real_data):
    (commands,) = [commands for _, commands in blocks() if "ISIC_REAL_DATA" in str(commands)]
    follow(shell, commands, {"../shared/realdata": str(real_data)})
    names = [pd.read_csv(tmp_path / name)["image_name"] for name in ("run/oof.csv", "predictions.csv")]
    assert [len(set(found)) for found in names] == [384, 384]


def test_the_demo_runs(shell, tmp_path):
    lines = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    commands = [shlex.split(line) for line in lines if "-m isic_tf." in line or "-m tfrecord_tools." in line]
    assert len(commands) == 6
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    few = {".venv/bin/python": "python", "--num_patients=80": "--num_patients=12"}
    follow(shell, commands, few)
    assert len(pd.read_csv(tmp_path / "demo" / "submission.csv")) > 0


def test_every_command_is_listed_and_explains_its_flags(shell):
    listed = re.findall(r"^\| `((?:isic_tf|tfrecord_tools)\.\w+)` \|", README, re.MULTILINE)
    commands = {
        f"{path.parent.name}.{path.stem}" for path in MODULES if 'if __name__ == "__main__"' in path.read_text()
    }
    assert set(listed) == commands
    for module in listed:
        # absl ends its help with code 1.
        text = shell.run(["python", "-m", module, "--helpshort"], expected=1)
        assert f"python -m {module}" in text
        assert len(re.findall(r"^  --(?:\[no\])?(\w+):", text, re.MULTILINE)) >= 2


def test_no_command_is_left_out():
    assert {heading for heading, _ in blocks()} == {heading for group in GROUPS for heading in group}
    # What is indented is make's, and make knows it.
    targets = re.findall(r"^    make (\w+)", README, re.MULTILINE)
    assert targets == ["demo", "test"]
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)
    assert len(re.findall("^```", README, re.MULTILINE)) == 2 * (len(blocks()) + 1)


# Of absl, pip, TensorBoard, Beam and its runners.
_OTHERS = {"no", "helpshort", "flagfile", "verbosity", "logdir", "project", "region", "temp_location", "setup_file"}


def test_every_flag_that_the_readme_names_exists():
    defined = set(re.findall(r"flags\.DEFINE_\w+\(\s*\"(\w+)\"", SOURCES))
    named = set(re.findall(r"(?<!-)--(\w+)", README)) - _OTHERS
    assert len(named) > 80
    assert not [name for name in named if not {name, name.removeprefix("no")} & defined]


def test_the_troubles_are_said_in_the_words_of_the_errors():
    # Texts that go over two lines of code.
    sources = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    table = README.partition("## Troubleshooting")[2]
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE)[1:]
    assert len(rows) >= 15
    quoted = [part.strip() for row in rows for text in re.findall(r'"(.+?)"', row[0]) for part in text.split("...")]
    assert len(quoted) >= 8
    for part in quoted:
        assert part in sources, part

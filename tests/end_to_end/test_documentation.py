"""Every command of the README and of docs/ runs as written, in order and in one directory, with a small network."""

import ast
import importlib
import inspect
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import textwrap

import pandas as pd
import pytest
from absl import flags
from harness import ENVIRONMENT, ROOT, build_set, free_ports, tiny_trunk

from tfrecord_tools import cli
from tfrecord_tools.io import csv_tables
from tfrecord_tools.synthetic import dataset

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in PAGES}
EVERYTHING = "\n".join(TEXTS.values())
MODULES = [path for name in ("isic_tf", "tfrecord_tools") for path in (ROOT / name).rglob("*.py")]
SOURCES = "".join(path.read_text() for path in MODULES)
COMMANDS = {f"{path.parent.name}.{path.stem}" for path in MODULES if 'if __name__ == "__main__"' in path.read_text()}
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
# Nothing is downloaded for it.
backbones.find_sources = lambda *_: None

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
    "isic_tf.train": ["--epochs=1", "--image_size=64", "--warmup_epochs=0", "--tensorboard=false"],
    "isic_tf.context": ["--permutations=2"],
    # Compiled in a tenth of the time of the strongest.
    "isic_tf.show": ["--augment_policy=geometric"],
}


def blocks(page):
    """The shell blocks of a page that are for running, as lists of commands."""
    found = []
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", TEXTS[page], re.MULTILINE | re.DOTALL):
        lines = [line.strip() for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
        found.append([shlex.split(line, comments=True) for line in lines])
    return found


# Blocks for reading, by their first line, and why they are not run.
_CONSOLE = {
    "$ pip install . 'tensorflow[and-cuda]'": "downloads CUDA and lists GPUs",
    "$ pip install . 'tf-keras==2.20.*'    # for TensorFlow 2.20": "installs another version of TensorFlow's Keras",
    "$ python experiments/pretraining_tables.py REAL_DATA pairs.csv OUTPUT": "needs thousands of real images",
    "--data_dir=i2017 --extra_data_dir=ham --duplicates=pairs.csv --patients_are=different --fold=0 --image_size=160 "
    "--weights=imagenet --epochs=5 --global_batch_size=32 --learning_rate=5e-4 --keep_weights=last": "flags of a "
    "run on these images",
    "$ python -m isic_tf.train --flagfile=experiments/configs/lite0_224.flags --data_dir=records/224 "
    "--workdir=runs/lite0_224 --fold=all --seed=0": "needs real images, and an hour",
    "$ python -m isic_tf.train --data_dir=records/384 --workdir=runs/tpu "
    "--flagfile=experiments/configs/tpu_v5e_b4_384.flags --dry_run --compile_for=v5e:1x1": "compiles for minutes",
    "$ tensorboard --logdir=runs": "serves pages until it is stopped",
    "$ python experiments/examples/serve_client.py exported lesion1.jpg lesion2.jpg": "run by test_export_run.py",
    "$ python experiments/examples/lite_client.py exported_lite/model_float32.tflite 384 95 lesion1.jpg lesion2.jpg": (
        "run by test_export_run.py"
    ),
    "$ mkdir -p models/lesion && cp -r exported models/lesion/1": "its client is run by test_tensorflow_serving.py",
    "$ .venv/bin/python -m pytest tests/isic_tf/training/test_losses.py": "runs tests",
    "$ pip install '.[onnx]'": "installs packages",
    "$ python -m isic_tf.evaluate --predictions=runs/lite0/oof.csv --labels=train.csv "
    "--records='records/384/train*.tfrec' --output=runs/lite0/evaluation.json": "read by test_card_figures.py",
    "$ python -m isic_tf.diagnose --workdir=runs/lite0 photo.jpg --prevalence=0.0176 --report=photo.html": "run by "
    "test_diagnose_images.py",
    "$ python -m isic_tf.diagnose --workdir=runs/lite0 photo.jpg --show_neighbors --records='records/384/train*.tfrec' "
    "--report=photo.html": "run by test_diagnose_images.py",
    "$ pip install '.[serve]'": "installs packages",
    "$ python -m isic_tf.serve --workdir=runs/lite0": "run by test_worker.py",
    "$ curl -F images=@a.jpg -F images=@b.dcm 'http://127.0.0.1:8000/judge?prevalence=0.0176'": "asks a server",
    "$ curl -F images=@a.jpg -F images=@b.jpg -F age_approx=55 -F sex=female -F anatom_site_general_challenge=torso "
    "-F anatom_site_general_challenge= http://127.0.0.1:8000/judge": "asks a server",
    "$ python -m tfrecord_tools.tables --tables=ISIC_2019_Training_GroundTruth.csv,ISIC_2019_Training_Metadata.csv "
    "--images=jpeg --output=train.csv": "run by test_table_files.py",
    "$ python -m tfrecord_tools.tables --tables=clinic.csv --format=clinic.yaml --keep=diameter_mm "
    "--output=clinic_train.csv": "run by test_table_files.py",
    "$ python -m isic_tf.submission --format=milk10k --predictions=milk.csv --table=MILK10k_Test_Metadata.csv "
    "--output=milk10k.csv": "run by test_challenge_submissions.py",
    "$ python -m isic_tf.weights --check=efficientnet-b0_noisy-student_notop.h5": "needs a file that is downloaded",
    "$ python -m isic_tf.weights --convert=tf_efficientnet_b0.ns_jft_in1k.safetensors --output=b0.h5": "run by "
    "test_convert_weights.py",
    "$ sh findings/dicom2jpg_stretches_colors.sh": "installs another tool",
}
# Listings of directories.
_TEXT = {"records/384/", "runs/lite0/"}


def test_every_block_is_run_parsed_or_known_to_be_for_reading():
    found = re.findall(r"^ *```(.*)\n((?:.*\n)*?) *```$", EVERYTHING, re.MULTILINE)
    assert len(found) == len(re.findall(r"^ *```", EVERYTHING, re.MULTILINE)) / 2
    assert {language for language, _ in found} == {"sh", "python", "json", "yaml", "console", "text"}
    first_lines = {
        name: [text.split("\n")[0].strip() for language, text in found if language == name]
        for name in ("console", "text")
    }
    assert sorted(first_lines["console"]) == sorted(_CONSOLE)
    assert sorted(first_lines["text"]) == sorted(_TEXT)


def makes_folds(module, flags):
    """Whether a command makes as many folds as are the default."""
    if module not in ("tfrecord_tools.build", "tfrecord_tools.folds"):
        return False
    names = {flag.removeprefix("--").split("=")[0] for flag in flags}
    return not names & {"num_folds", "folds", "preset", "audit", "csv_from_dicom"} and "--split=test" not in flags


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
            less = ["--num_folds=2"] if makes_folds(module, flags) else list(_LESS.get(module, []))
            own = any(flag.startswith("--augment_policy") for flag in flags) or "--freeze_epochs=all" in flags
            if module == "isic_tf.train" and not own:
                less.append("--augment_policy=none")
            jobs.append((module, flags + less, given, f"{self.folder}/log{self.count}.txt"))
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


def write_downloads(folder):
    """Writes test images under other names, with tables as ISIC 2019 and the ISIC Archive publish them."""
    files = sorted((folder / "jpeg" / "test").iterdir())
    classes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    names = {"ISIC_2019_Training_Input": [], "archive": []}
    for place, file in enumerate(files):
        directory = "archive" if place % 3 == 0 else "ISIC_2019_Training_Input"
        name = f"ISIC_{7000000 + place}" + ("_downsampled" if place % 3 == 1 else "")
        (folder / directory).mkdir(exist_ok=True)
        shutil.copy(file, folder / directory / f"{name}.jpg")
        names[directory].append(name)
    images = names["ISIC_2019_Training_Input"]
    # Melanoma, nevus and actinic keratosis in turn; every lesion has two images, the last ones are not known.
    labels = [[float(name == ("MEL", "NV", "AK")[place // 2 % 3]) for name in classes] for place in range(len(images))]
    truth = pd.DataFrame(labels, columns=classes)
    truth.insert(0, "image", images)
    truth.to_csv(folder / "ISIC_2019_Training_GroundTruth.csv", index=False)
    lesions = [f"BCN_{place // 2:07d}" if place < len(images) - 4 else "" for place in range(len(images))]
    metadata = {"image": images, "age_approx": 55.0, "anatom_site_general": "anterior torso", "lesion_id": lesions}
    pd.DataFrame({**metadata, "sex": "female"}).to_csv(folder / "ISIC_2019_Training_Metadata.csv", index=False)
    archive = pd.DataFrame({"isic_id": names["archive"], "attribution": "Made up", "copyright_license": "CC-0"})
    is_melanoma = archive.index % 2 == 0
    archive.assign(
        age_approx=70,
        anatom_site_general="upper extremity",
        diagnosis_1=["Malignant" if found else "Benign" for found in is_melanoma],
        diagnosis_2=["Malignant melanocytic proliferations (Melanoma)" if found else "" for found in is_melanoma],
        diagnosis_3=["Melanoma Invasive" if found else "Nevus" for found in is_melanoma],
        image_type="dermoscopic",
        lesion_id=[f"IL_{place:07d}" for place in archive.index],
        sex="male",
    ).to_csv(folder / "archive" / "metadata.csv", index=False)


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
    write_downloads(folder)
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
    table.assign(target=table.index % 3 == 0).astype({"target": int}).to_csv(folder / "labeled.csv", index=False)


def copy_run(folder):
    """Two runs more, to be blended."""
    for name in ("b4", "b6"):
        (folder / "runs" / name).mkdir()
        shutil.copy(folder / "runs" / "lite0" / "oof.csv", folder / "runs" / name)
        shutil.copy(folder / "submission.csv", folder / f"{name}.csv")


def copy_scores(folder):
    shutil.copy(folder / "predictions.csv", folder / "test_scores.csv")


# What a reader has before a command of the README, by a flag of it.
_BEFORE = {"--labels=labeled.csv": label, "--oof=runs/b4/oof.csv,runs/b6/oof.csv": copy_run}
_BEFORE["--predictions=test_scores.csv"] = copy_scores


def follow(shell, commands, places):
    """Runs commands as written, with places replaced."""
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


# Pages whose commands run one after another in one directory.
GROUPS = {
    "one run": (
        "README.md", "docs/tutorials/own_dicom.md", "docs/guides/inference_tta.md",
        "docs/guides/calibration_ensembling.md", "docs/tutorials/patient_context.md",
        "docs/guides/evaluation_report.md", "docs/guides/explain.md", "docs/guides/export.md",
    ),
    "the rest": (
        "docs/installation.md", "docs/quickstart.md", "docs/tutorials/kaggle.md", "docs/tutorials/external_data.md",
        "docs/guides/record_sets.md", "docs/guides/folds_and_leakage.md", "docs/guides/augmentation.md",
        "docs/guides/training.md", "docs/guides/weights.md", "docs/guides/distributed.md",
        "docs/guides/beam.md",
    ),
}  # fmt: skip


@pytest.mark.parametrize("pages", GROUPS.values(), ids=GROUPS)
def test_every_command_of_the_documentation_runs(pages, shell, tmp_path):
    prepare(tmp_path)
    hosts = {f"host{number}:12345": f"127.0.0.1:{port}" for number, port in enumerate(free_ports(2))}
    cloud = {"DataflowRunner": "DirectRunner", "gs://bucket": str(tmp_path), "--tpu=local": "--strategy=auto"}
    places = {"/tmp/": f"{tmp_path}/", "/kaggle/input": f"{tmp_path}/input", **hosts, **cloud}
    places |= {"--num_patients=70": "--num_patients=12", "--num_folds=5": "--num_folds=2"}
    done = []
    for page in pages:
        for commands in blocks(page):
            if "ISIC_REAL_DATA" in str(commands):
                continue
            # What another page has had run in this directory is there.
            follow(shell, [words for words in commands if words not in done], places)
            done += commands


@pytest.mark.realdata
def test_its_commands_on_real_images_run(shell, tmp_path, real_data):
    (commands,) = [commands for page in TEXTS for commands in blocks(page) if "ISIC_REAL_DATA" in str(commands)]
    follow(shell, commands, {"ISIC_REAL_DATA=realdata": f"ISIC_REAL_DATA={real_data}"})
    names = [pd.read_csv(tmp_path / name)["image_name"] for name in ("run/oof.csv", "predictions.csv")]
    assert [len(set(found)) for found in names] == [384, 384]


def test_the_demo_runs(shell, tmp_path):
    lines = subprocess.run(
        ["make", "--dry-run", "demo"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    commands = [shlex.split(line) for line in lines if "-m isic_tf." in line or "-m tfrecord_tools." in line]
    assert len(commands) == 7
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    few = {".venv/bin/python": "python", "--num_patients=70": "--num_patients=12"}
    follow(shell, commands, few)
    assert len(pd.read_csv(tmp_path / "demo" / "submission.csv")) > 0


def test_every_command_is_listed_and_explains_its_flags(shell):
    listed = re.findall(r"^\| `((?:isic_tf|tfrecord_tools)\.\w+)` \|", TEXTS["README.md"], re.MULTILINE)
    assert set(listed) == COMMANDS
    for module in listed:
        # absl ends its help with code 1.
        text = shell.run(["python", "-m", module, "--helpshort"], expected=1)
        assert f"python -m {module}" in text
        assert len(re.findall(r"^  --(?:\[no\])?(\w+):", text, re.MULTILINE)) >= 2


def test_no_command_is_left_out():
    assert {page for page in TEXTS if blocks(page)} == {page for pages in GROUPS.values() for page in pages}
    # What is indented is make's, and make knows it.
    targets = set(re.findall(r"^    make (\w+)", EVERYTHING, re.MULTILINE))
    assert {"demo", "test"} <= targets
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=True)


def test_the_readme_is_read_in_two_minutes():
    assert TEXTS["README.md"].count("\n") <= 160


def test_every_link_of_the_readme_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", TEXTS["README.md"]) + re.findall(r'src="([^"]+)"', TEXTS["README.md"])
    assert len(links) > 20
    assert not [link for link in links if not (ROOT / link).exists()]


# Of absl, pip, TensorBoard, pytest, Beam and its runners.
_OTHERS = {"no", "help", "helpshort", "flagfile", "verbosity", "logdir", "project", "region", "temp_location"}
_OTHERS |= {"setup_file", "strict", "runner", "upgrade", "constraint", "quiet", "editable", "numprocesses"}


def defined_flags():
    """The flags of all commands, old names included."""
    found = set()
    for name in COMMANDS:
        values = flags.FlagValues()
        cli.define_flags(importlib.import_module(name).CONFIG, values, name)
        found |= set(values)
    return found


def test_every_flag_that_the_documentation_names_exists():
    defined = defined_flags()
    # The changelog names old spellings too, which still work.
    named = set(re.findall(r"(?<!-)--(?!no-deps|dry-run)([a-z]\w*)", EVERYTHING)) - _OTHERS
    assert len(named) > 80
    assert not [name for name in named if not {name, name.removeprefix("no")} & defined]


def test_every_module_that_the_documentation_names_exists():
    names = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in MODULES}
    named = set(re.findall(r"(?<!tests/)\b((?:isic_tf|tfrecord_tools)/[\w/]+\.py)\b", EVERYTHING))
    assert not [name for name in named if name.removesuffix(".py").replace("/", ".") not in names]


def test_the_troubles_are_said_in_the_words_of_the_errors():
    # Texts that go over two lines of code.
    sources = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    rows = re.findall(r"^\| (.+?) \| (.+) \|$", TEXTS["docs/troubleshooting.md"], re.MULTILINE)[1:]
    assert len(rows) >= 22
    quoted = [part.strip() for row in rows for text in re.findall(r'"(.+?)"', row[0]) for part in text.split("...")]
    assert len(quoted) >= 8
    for part in quoted:
        assert part in sources, part


@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if "```python" in text])
def test_every_python_snippet_names_what_exists(page):
    for snippet in re.findall(r"^ *```python\n(.*?)^ *```", TEXTS[page], re.MULTILINE | re.DOTALL):
        tree = ast.parse(textwrap.dedent(snippet))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("isic_tf", "tfrecord_tools"):
                module = importlib.import_module(node.module)
                assert not [alias.name for alias in node.names if not hasattr(module, alias.name)]
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("isic_tf", "tfrecord_tools"):
                assert hasattr(importlib.import_module(ast.unparse(node.value)), node.attr), node.attr


def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", f"--site-dir={tmp_path / 'site'}"]
    environment = {**ENVIRONMENT, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    reference = (tmp_path / "site" / "reference" / "cli.html").read_text()
    for name in COMMANDS:
        assert name in reference
    assert "gradient_accumulation_steps" in reference
    # Nothing is fetched from other hosts.
    for page in (tmp_path / "site").rglob("*.html"):
        assert not re.findall(r'<(?:script|link)[^>]+(?:src|href)="https?://', page.read_text()), page

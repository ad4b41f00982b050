"""Files of every kind, damaged in hundreds of ways: each is read right, or refused by an error of the project."""

import json
import random
import warnings

import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import embedding_archive, prediction_files, prediction_sidecar, run_directory, seen_images
from isic_tf.augmentation import policies
from isic_tf.data import preprocessing_config
from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.patient_context import gradient_boosting, second_stage, set_model, set_model_files
from isic_tf.postprocessing import calibration, calibration_file
from tfrecord_tools import errors
from tfrecord_tools.io import duplicate_pairs, manifest, record_index
from tfrecord_tools.splits import fold_files

EXAMPLES = 500
NAMES = ["ISIC_0000001", "ISIC_0000002"]
PLATT = {"method": "platt", "images": 8, "prevalence": 0.25, "slope": 1.5, "intercept": -0.5}
ISOTONIC = {"method": "isotonic", "images": 8, "prevalence": 0.25, "scores": [0.1, 0.9], "probabilities": [0.2, 0.8]}
FACTS = {"used_at": 0.1, "fitted_to": None, "run_oof_sha256": None, "nested": {}}
BOOST = gradient_boosting.Boost(
    column=np.array([0, 0, 0]),
    threshold=np.array([0.5, 0.0, 0.0]),
    left=np.array([1, 1, 2]),
    right=np.array([2, 1, 2]),
    value=np.array([0.0, -1.0, 1.0]),
    roots=np.array([0]),
    coefficients=np.array([0.5, 0.25]),
    intercept=np.array(0.125),
)
STAGE = second_stage.Stage("boost", 1, False, True, ["logit", "rank"], PLATT, BOOST)


def write_text(name, text):
    def write(directory):
        (directory / name).write_text(text)
        return directory / name

    return write


def write_calibration(content):
    return write_text(calibration_file.CALIBRATION_FILE, json.dumps({**content, **FACTS}))


def write_boost(directory):
    second_stage.save_stage(STAGE, str(directory), {"auc": 0.9})
    return directory / "boost.npz"


def write_stage(directory):
    write_boost(directory)
    return directory / "context.json"


def write_set_model(name):
    def write(directory):
        network = {"dim": 4, "units": 8, "heads": 2, "blocks": 1, "dropout": 0.2}
        weights = [np.zeros(weight.shape, np.float32) for weight in build_set_transformer(**network).weights]
        inputs = {"mean": np.zeros(3), "scale": np.ones(3), "missing": np.zeros(3, bool)}
        numbers = {"slope": 1.0, "intercept": 0.0, "share": 0.5}
        model = set_model.SetModel(**inputs, **numbers, network=network, members=[weights])
        set_model_files.save(model, str(directory))
        return directory / name

    return write


def write_embeddings(directory):
    path = directory / "embeddings.npz"
    np.savez(path, image_name=np.array(NAMES), embeddings=np.zeros((2, 1, 3), np.float32))
    return path


def write_record_set(name):
    def write(directory):
        (directory / "train00-2.tfrec").touch()
        rows = pd.DataFrame({"shard": "train00-2.tfrec", "position": [0, 1], "image_name": NAMES, "patient_id": "IP_1"})
        manifest.write_index(str(directory), "train", rows.assign(target=[0, 1], fold=[0, 0]))
        shard = {"name": "train00-2.tfrec", "records": 2, "bytes": 99, "sha256": "0f"}
        manifest.write_manifest(str(directory), "train", [shard], image_size=64, resize="crop", trim_border=True)
        return directory / name

    return write


def use_stage(path):
    stage = second_stage.load_stage(path.parent)
    assert np.isfinite(calibration.apply_calibration(stage.lone_calibration or PLATT, [0.1, 0.9])).all()


def use_boost(path):
    model = gradient_boosting.load(str(path))
    if len(model.coefficients) == 2:
        assert np.isfinite(gradient_boosting.apply(model, np.zeros((2, 2)))).all()


def use_calibration(path):
    found = calibration_file.read_calibration(path.parent)
    calibrated = calibration.apply_calibration(found, np.linspace(0, 1, 11))
    assert (np.diff(calibrated) >= 0).all()


def use_policy(path):
    for strength in (0.5, 2.0):
        policies.check_policy(policies.read_policy(str(path), strength), str(path))


def use_index(path):
    assert set(record_index.read_index(str(path.parent), "train")["image_name"])


KINDS = {
    "boosted trees": (write_boost, use_boost),
    "patient-context model": (write_stage, use_stage),
    "set model": (write_set_model("set.json"), lambda path: set_model_files.load(str(path.parent))),
    "weights of a set model": (write_set_model("set.npz"), lambda path: set_model_files.load(str(path.parent))),
    "embeddings": (write_embeddings, lambda path: embedding_archive.read_embeddings(str(path), NAMES)),
    "platt calibration": (write_calibration(PLATT), use_calibration),
    "isotonic calibration": (write_calibration(ISOTONIC), use_calibration),
    "policy": (
        write_text(
            "policy.json",
            json.dumps(
                {
                    "fill": "reflect",
                    "pick": [1, ["zoom", "brightness"]],
                    "zoom": {"uniform": [0.9, 1.1]},
                    "brightness": {"normal": [0.0, 0.1]},
                    "flip_x": {"p": 0.5, "together": "flips"},
                    "dropout": {"uniform": [0.1, 0.2], "count": 3},
                }
            ),
        ),
        use_policy,
    ),
    "manifest": (
        write_record_set("train.manifest.json"),
        lambda path: manifest.read_manifest(str(path.parent), "train"),
    ),
    "preprocessing": (
        write_record_set("train.manifest.json"),
        lambda path: preprocessing_config.read_preprocessing(str(path.parent)),
    ),
    "index": (write_record_set("train.index.csv"), use_index),
    "predictions": (
        write_text("oof.csv", "image_name,prediction,fold\nISIC_0000001,0.25,0\nISIC_0000002,0.5,1\n"),
        lambda path: prediction_files.read_prediction_file(str(path), keep=["fold"]),
    ),
    "sidecar": (
        write_text("oof.csv.json", json.dumps({"patient_context": False, "made_by": "isic_tf.predict"})),
        lambda path: prediction_sidecar.used_patient_context([str(path.with_suffix(""))]),
    ),
    "folds": (
        write_text("folds.csv", "image_name,fold\nISIC_0000001,0\nISIC_0000002,1\n"),
        lambda path: fold_files.read_folds(str(path), pd.Series(NAMES)),
    ),
    "duplicates": (
        write_text("pairs.csv", "image_name_1,image_name_2\nISIC_0000001,ISIC_0000002\n"),
        lambda path: duplicate_pairs.read_pairs(str(path)),
    ),
    "training images": (
        write_text("seen_images.csv", "image_name,patient_id\nISIC_0000001,IP_1\nISIC_0000002,\n"),
        lambda path: seen_images.read_seen_images(str(path.parent)),
    ),
    "flags": (
        write_text(
            "flags.txt",
            "# quality=90\n# record_size=64\n# resize=crop\n--backbone=efficientnet-b0\n--image_size=64\n--fold=0\n",
        ),
        lambda path: preprocessing_config.find_preprocessing(run_directory.read_network(str(path.parent))),
    ),
    "metrics": (write_text("metrics.json", '{"auc": 0.9}'), lambda path: run_directory.read_metrics(str(path.parent))),
    "history": (
        write_text("history.csv", "epoch,loss,auc\n1,0.5,0.8\n2,0.4,0.9\n"),
        lambda path: run_directory.read_history(str(path.parent)),
    ),
}

# Values of another type, sign or size than any that a file should hold.
WRONG_VALUES = [
    *(None, True, False, 0, 1, -1, 2**31, -(2**63), 2**70, 0.5, -0.0, 1e-300, 1e300, float("nan"), float("inf")),
    *("", "a", "../a", "\n--fold=1", "\u200b", "9" * 400, [], {}, [[]], [1, 2], ["a"], {"a": 1}, [None, {}]),
]
# Pieces that make headers, tables and numbers ambiguous.
WRONG_BYTES = [
    b"",
    b"\0",
    b"\xff",
    b"\xff\xfe",
    b"\n",
    b"\r",
    b",",
    b'"',
    b"-",
    b"9" * 8,
    b"nan",
    b"[" * 8,
    b"\x7f" * 8,
]


def list_places(value, place=()):
    """All places in a JSON value, as keys and positions from the top."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place] + [found for key, entry in inner for found in list_places(entry, (*place, key))]


def replace(value, place, new):
    """The value with another one at a place, or without that place where the new one is `...`."""
    if not place:
        return None if new is ... else new
    key, *rest = place
    copy = value.copy()
    if new is ... and not rest:
        del copy[key]
    else:
        copy[key] = replace(value[key], rest, new)
    return copy


def damage(source, content):
    """A damaged version of a file's bytes."""
    if content[:1] == b"{" and source.random() < 0.5:
        value = json.loads(content)
        for _ in range(source.randint(1, 2)):
            value = replace(value, source.choice(list_places(value)), source.choice([..., *WRONG_VALUES]))
        return json.dumps(value).encode()
    damaged = bytearray(content)
    for _ in range(source.randint(1, 4)):
        start = source.randint(0, len(damaged))
        stop = start + source.choice([0, 0, 1, 1, 2, 8, 64])
        damaged[start:stop] = source.choice([*WRONG_BYTES, source.randbytes(1), source.randbytes(8)])
    return bytes(damaged if source.random() < 0.8 else damaged[: source.randint(0, len(damaged))])


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_by_an_error_of_the_project(kind, tmp_path_factory):
    write, use = KINDS[kind]
    path = write(tmp_path_factory.mktemp("damaged"))
    content = path.read_bytes()
    use(path)
    num_refused = 0
    for number in range(EXAMPLES):
        path.write_bytes(damage(random.Random(f"{kind} {number}"), content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                use(path)
            except errors.IsicError as error:
                num_refused += 1
                message = str(error)
                # One line that names the file, and not its content.
                if len(message) >= 1000 or str(path.parent) not in message:
                    raise AssertionError(f"example {number} of {kind}: {message}") from error
            except Exception as error:
                raise AssertionError(f"example {number} of {kind} raised {error!r}") from error
    assert num_refused > EXAMPLES / 10

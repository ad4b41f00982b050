import hashlib
import io
import json

import numpy as np
import pytest

from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.patient_context import config, second_stage, set_model, set_model_files
from tfrecord_tools.io import filesystem


@pytest.fixture(scope="module")
def quick():
    """Two networks with random weights, on three inputs, the second of which may be unknown."""
    rng = np.random.default_rng(0)
    network = {"dim": 5, "units": 8, "heads": 2, "blocks": 1, "dropout": 0.2}
    shapes = [weight.shape for weight in build_set_transformer(**network).weights]
    members = [[rng.normal(size=shape).astype("float32") for shape in shapes] for _ in range(2)]
    return set_model.SetModel(
        mean=np.array([0.0, 0.5, -1.0]),
        scale=np.array([1.0, 2.0, 0.25]),
        missing=np.array([False, True, False]),
        slope=0.7,
        intercept=-0.1,
        share=0.6,
        network=network,
        members=members,
    )


@pytest.fixture
def lesions():
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(20, 3))
    inputs[::3, 1] = np.nan
    return inputs, rng.normal(size=20), np.arange(20) // 5


def test_a_saved_model_gives_the_same_to_the_bit(quick, lesions, tmp_path):
    set_model_files.save(quick, str(tmp_path / "new"))
    loaded = set_model_files.load(str(tmp_path / "new"))
    assert np.array_equal(set_model.apply(loaded, *lesions), set_model.apply(quick, *lesions))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["set.json", "set.npz"]


def test_the_files_of_a_model_are_those_that_no_output_may_replace(quick, tmp_path):
    stage = second_stage.Stage("set", 1, False, True, ["logit", "rank", "ratio"], None, quick)
    second_stage.save_stage(stage, str(tmp_path), {})
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files | {config.BOOST_FILE} == set(config.MODEL_FILES)


def rewrite(folder, facts=None, **arrays):
    """Changes facts and arrays of a saved model; the digest is that of the new arrays."""
    with np.load(folder / "set.npz") as old:
        content = io.BytesIO()
        np.savez(content, **{**old, **arrays})
    (folder / "set.npz").write_bytes(content.getvalue())
    old = json.loads((folder / "set.json").read_text())
    old |= {"sha256": hashlib.sha256(content.getvalue()).hexdigest(), **(facts or {})}
    (folder / "set.json").write_text(json.dumps(old))


def network(**changes):
    return {"network": {"dim": 5, "units": 8, "heads": 2, "blocks": 1, "dropout": 0.2, **changes}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "set.json").unlink(), "set.json does not exist"),
        (lambda folder: (folder / "set.npz").unlink(), "set.npz does not exist"),
        (lambda folder: (folder / "set.json").write_bytes(b"\xff\x00"), ""),
        (lambda folder: (folder / "set.json").write_text("[" * 100_000), ""),
        (lambda folder: (folder / "set.json").write_text("[]"), ""),
        (lambda folder: (folder / "set.npz").write_bytes(b"half"), "set.npz is not the file that set.json was written"),
        (lambda folder: rewrite(folder, {"version": 2}), ""),
        (lambda folder: rewrite(folder, mean=np.array([None] * 3)), "holds Python objects"),
        (lambda folder: rewrite(folder, mean=np.zeros(4)), "the inputs do not fit the network"),
        (lambda folder: rewrite(folder, missing=np.zeros(3)), "the inputs do not fit the network"),
        (lambda folder: rewrite(folder, member0_0=np.zeros(4)), "the weights do not fit the network"),
        (lambda folder: rewrite(folder, scale=np.full(3, np.nan)), "a weight is NaN or infinite"),
        (lambda folder: rewrite(folder, {"share": "1"}), "expected a finite number as share"),
        (lambda folder: rewrite(folder, {"members": 3}), "member2_0"),
        (lambda folder: rewrite(folder, {"members": 10**9}), "expected members from 1 to 64, got 1000000000"),
        (lambda folder: rewrite(folder, network(units=10**9)), "expected units from 1 to 1024, got 1000000000"),
        (lambda folder: rewrite(folder, network(blocks=True)), "expected blocks from 1 to 16, got True"),
        (lambda folder: rewrite(folder, network(colour="red")), "unexpected keyword argument 'colour'"),
    ],
)
def test_damaged_and_foreign_files_are_refused(quick, tmp_path, damage, message):
    set_model_files.save(quick, str(tmp_path))
    damage(tmp_path)
    with pytest.raises(ValueError, match=f"is not a valid set model .*{message}"):
        set_model_files.load(str(tmp_path))


@pytest.mark.parametrize(
    ("limit", "message"), [(10, "set.json has more than 10"), (9000, "set.npz has more than 9000")]
)
def test_files_of_any_size_are_not_read(quick, tmp_path, monkeypatch, limit, message):
    set_model_files.save(quick, str(tmp_path))
    monkeypatch.setattr(set_model_files, "_MAX_BYTES", limit)
    with pytest.raises(ValueError, match=message):
        set_model_files.load(str(tmp_path))


def test_nothing_is_left_of_a_file_that_was_not_written(quick, tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        set_model_files.save(quick, str(tmp_path))
    assert not list(tmp_path.iterdir())

import json

import pytest

from isic_tf.artifacts import kept_weights
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write

# SHA-256 of the texts, from `printf one | sha256sum`.
ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
TWO = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


@pytest.fixture
def kept(tmp_path):
    """Weights of the first epoch in the directory of a fold, and a file of new ones elsewhere."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    path = str(tmp_path / "fold0" / "best.weights.h5")
    kept_weights.replace_weights(path, str(tmp_path / "one"), epoch=1)
    return path


def test_weights_are_kept_with_their_digest_and_epoch(kept, tmp_path):
    assert kept_weights.read_digests(kept) == {ONE: 1}
    assert kept_weights.check_digest(kept) == 1
    kept_weights.replace_weights(kept, str(tmp_path / "two"), epoch=4)
    assert kept_weights.read_digests(kept) == {TWO: 4}
    assert kept_weights.check_digest(kept) == kept_weights.check_digest(kept, str(tmp_path / "two")) == 4
    assert sorted(path.name for path in (tmp_path / "fold0").iterdir()) == ["best.weights.h5", "best.weights.h5.json"]


def test_changed_weights_are_refused(kept, tmp_path):
    (tmp_path / "fold0" / "best.weights.h5").write_text("onf")
    message = rf"best.weights.h5 is damaged: expected the SHA-256 {ONE} of .*h5.json, got [0-9a-f]+; restore it"
    with pytest.raises(errors.CorruptRecordError, match=message):
        kept_weights.check_digest(kept)


def test_weights_of_another_fold_are_refused(kept, tmp_path):
    for folder in ("fold1", "weights"):
        (tmp_path / folder).mkdir()
        for path in (tmp_path / "fold0").iterdir():
            (tmp_path / folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        errors.CorruptRecordError, match="expected the weights of fold1 in .*, got those of fold0, which"
    ):
        kept_weights.check_digest(str(tmp_path / "fold1" / "best.weights.h5"))
    # Whoever copies weights out of a run may use them.
    assert kept_weights.check_digest(str(tmp_path / "weights" / "best.weights.h5")) == 1


@pytest.mark.parametrize("stop", [1, 2, 3])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_kill_between_two_writes_leaves_weights_that_fit_their_digest(kept, tmp_path, monkeypatch, stop, recorded):
    if not recorded:
        # As release 0.1 left them.
        (tmp_path / "fold0" / "best.weights.h5.json").unlink()
    original, calls = atomic_write.filesystem.replace, []

    def replace(path, target):
        calls.append(target)
        if len(calls) == stop:
            raise KeyboardInterrupt
        original(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(atomic_write.filesystem, "replace", replace)
        kept_weights.replace_weights(kept, str(tmp_path / "two"), epoch=2)
    content = (tmp_path / "fold0" / "best.weights.h5").read_text()
    assert content == ("two" if stop == 3 else "one")
    assert kept_weights.check_digest(kept) == (2 if stop == 3 else int(recorded))
    # The next epoch that is kept ends the transition.
    kept_weights.replace_weights(kept, str(tmp_path / "one"), epoch=3)
    assert kept_weights.read_digests(kept) == {ONE: 3}


def test_weights_without_a_record_are_read_without_a_word(tmp_path, capsys):
    (tmp_path / "best.weights.h5").write_text("anything")
    assert kept_weights.read_digests(str(tmp_path / "best.weights.h5")) == {}
    assert kept_weights.check_digest(str(tmp_path / "best.weights.h5")) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", json.dumps({"epoch_of_sha256": {ONE: "x"}}).encode()])
def test_a_damaged_record_is_refused(kept, tmp_path, content):
    (tmp_path / "fold0" / "best.weights.h5.json").write_bytes(content)
    with pytest.raises(errors.CorruptRecordError, match=r"in .*weights.h5.json, which is damaged .*; restore it from"):
        kept_weights.check_digest(kept)

import copy
import io
import struct
import zipfile

import numpy as np
import pytest
import torch_bytes

from isic_tf.models.pretrained import torch_files
from tfrecord_tools import errors

ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


def read(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return torch_files.read_state_dict(str(path))


@pytest.mark.parametrize("make", [torch_bytes.old_file, torch_bytes.zip_file])
def test_both_formats_give_names_and_values(tmp_path, make):
    counts = np.array([7], np.int64)
    parts = [
        torch_bytes.tensor("conv.weight", ARRAY, "0"),
        torch_bytes.tensor("bn.num_batches_tracked", counts, "1", kind="LongStorage"),
    ]
    found = read(tmp_path, make(parts, {"0": ARRAY, "1": counts}))
    assert list(found) == ["conv.weight", "bn.num_batches_tracked"]
    np.testing.assert_array_equal(found["conv.weight"], ARRAY)
    assert found["bn.num_batches_tracked"].dtype == np.int64
    assert found["bn.num_batches_tracked"].tolist() == [7]


def test_strides_and_offsets_are_followed(tmp_path):
    # Two tensors in one storage: a transposed one, and its second row alone.
    storage = np.arange(6, dtype=np.float32)
    parts = [
        torch_bytes.tensor("transposed", np.zeros((3, 2), np.float32), "0", strides=(1, 3)),
        torch_bytes.tensor("row", np.zeros(3, np.float32), "0", offset=3, size=6),
    ]
    found = read(tmp_path, torch_bytes.old_file(parts, {"0": storage}))
    assert found["transposed"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["row"].tolist() == [3, 4, 5]


@pytest.mark.parametrize(
    ("kind", "stored"),
    [("HalfStorage", np.float16([0.5, -2])), ("DoubleStorage", np.float64([0.5, -2])), ("BFloat16Storage", None)],
)
def test_other_precisions_are_read(tmp_path, kind, stored):
    # The upper halves of the float32 0.5 and -2.
    stored = np.array([0x3F00, 0xC000], np.uint16) if stored is None else stored
    found = read(tmp_path, torch_bytes.old_file([torch_bytes.tensor("a", stored, "0", kind=kind)], {"0": stored}))
    assert found["a"].astype(np.float32).tolist() == [0.5, -2]


def test_weights_in_a_training_checkpoint_are_found(tmp_path):
    inner = torch_bytes.pickled([torch_bytes.tensor("a", ARRAY, "0")])[2:-1]
    parts = [torch_bytes.text("epoch") + b"K\x03", torch_bytes.text("state_dict") + inner]
    found = read(tmp_path, torch_bytes.zip_file(parts, {"0": ARRAY}))
    np.testing.assert_array_equal(found["a"], ARRAY)


CALL = torch_bytes.text("a") + b"cbuiltins\nprint\n(" + torch_bytes.text("executed") + b"tR"
BLOCK = np.zeros((64, 64), np.float32)
GOOD = torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0")], {"0": ARRAY})


@pytest.mark.parametrize("make", [torch_bytes.old_file, torch_bytes.zip_file])
def test_a_file_that_would_call_a_function_is_refused_and_nothing_executed(tmp_path, make, capsys):
    with pytest.raises(errors.CorruptRecordError, match=r"weights.pth, but it refers to 'builtins.print'.*nothing"):
        read(tmp_path, make([CALL], {}))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "does not begin as one"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "does not begin as one"),
        (GOOD[:30], "is truncated"),
        (GOOD[:200], "is truncated"),
        (GOOD[:-1], "is truncated: 'a' has 23 bytes of 24"),
        (GOOD[:-32] + struct.pack("<q", 5) + bytes(20), "is truncated or damaged: storage '0' has"),
        (torch_bytes.old_file([torch_bytes.text("a") + b"K\x03"], {}), "holds something else under 'a'"),
        (torch_bytes.old_file([], {}), "holds none"),
        (torch_bytes.MAGIC + torch_bytes.VERSION + torch_bytes.SYSTEM + b"\x80\x02K\x01.\x80\x02].", "holds no dict"),
        (torch_bytes.MAGIC + torch_bytes.VERSION + torch_bytes.SYSTEM + b"\x80\x02}.\x80\x02K\x01.", "lacks its list"),
        (torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0")], {"0": ARRAY, "1": ARRAY}), "lists a storage that"),
        (torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0", offset=1)], {"0": ARRAY}), "outside its storage"),
        (
            torch_bytes.old_file(
                [torch_bytes.tensor("a", np.broadcast_to(np.float32(0), (4, 4)), "0", strides=(0, 0), size=6)],
                {"0": ARRAY},
            ),
            "outside its storage",
        ),
        (torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0", strides=(3,))], {"0": ARRAY}), "as many strides"),
        (torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0", strides=(-3, 1))], {"0": ARRAY}), "expected a size"),
        (torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0", kind="OtherStorage")], {"0": ARRAY}), "refers to"),
        (torch_bytes.old_file([torch_bytes.text("a") + b"(i__main__\nA\n"], {}), "has the instruction INST"),
        (
            torch_bytes.old_file([torch_bytes.text("a") + b"ctorch\nFloatStorage\n(K\x01tR"], {}),
            "calls 'torch.FloatStorage'",
        ),
        (torch_bytes.old_file([torch_bytes.text("a") + b"K\x01K\x02s"], {}), "expected a dict, got a"),
        (torch_bytes.zip_file([torch_bytes.tensor("a", ARRAY, "0")], {}), "is truncated or damaged"),
        (torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0")], {}), "is truncated: 'a' has 0 bytes of 24"),
        (
            torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0", size=2**64 - 1)], {"0": ARRAY}),
            "expected a size of 0 to 2^63",
        ),
        (
            torch_bytes.old_file([torch_bytes.tensor("a", ARRAY, "0", shape=(0, 2**63))], {"0": ARRAY}),
            "expected a size of 0 to 2^63",
        ),
        (
            torch_bytes.old_file(
                [torch_bytes.tensor("a", ARRAY, "0", shape=(6, 1), strides=(1, 2**63 - 1))], {"0": ARRAY}
            ),
            "'a' has the shape (6, 1)",
        ),
        (
            torch_bytes.old_file([torch_bytes.tensor(f"a{number}", BLOCK, "0") for number in range(400)], {"0": BLOCK}),
            "and tensors of 6553600",
        ),
        (
            torch_bytes.old_file(
                [torch_bytes.tensor("a", ARRAY, "0", shape=(2**62,) * 8, strides=(0,) * 8)], {"0": ARRAY}
            ),
            "bytes, and tensors of",
        ),
        (torch_bytes.old_file([torch_bytes.tensor("a\nb", ARRAY, "0\n")], {"0\n": ARRAY[:1]}), r"storage '0\n' has 3"),
        (torch_bytes.zip_file([], {}, root="a/b"), "is a zip file without data.pkl"),
        (torch_bytes.zip_file([], {}, compression=zipfile.ZIP_DEFLATED), "is a compressed zip file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_damaged_and_foreign_files_are_answered_in_one_line(tmp_path, content, expected):
    with pytest.raises(errors.CorruptRecordError, match="expected a PyTorch file of tensors at") as caught:
        read(tmp_path, content)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_storages_of_a_zip_file_that_overlap_are_refused_unread(tmp_path):
    count = 40
    storages = {str(number): BLOCK for number in range(count)}
    parts = [torch_bytes.tensor(f"a{key}", BLOCK, key) for key in storages]
    content = bytearray(torch_bytes.zip_file(parts, dict(list(storages.items())[:1])))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickled = archive.read("archive/data.pkl")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", BLOCK.tobytes())
        place = archive.getinfo("archive/data/0")
        for key in list(storages)[1:]:
            entry = copy.copy(place)
            entry.filename = f"archive/data/{key}"
            archive.filelist.append(entry)
            archive.NameToInfo[entry.filename] = entry
    with pytest.raises(errors.CorruptRecordError, match="its storages are larger than the file"):
        read(tmp_path, file.getvalue())


def test_limits_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(torch_files, "_MAX_BYTES", 5)
    with pytest.raises(errors.CorruptRecordError, match="is larger than the limit"):
        read(tmp_path, GOOD)


def test_a_zip_file_of_a_big_endian_machine_is_refused(tmp_path):
    path = tmp_path / "big.pth"
    path.write_bytes(torch_bytes.zip_file([torch_bytes.tensor("a", ARRAY, "0")], {"0": ARRAY}))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    with pytest.raises(errors.CorruptRecordError, match="big-endian"):
        torch_files.read_state_dict(str(path))


def test_files_of_the_old_format_are_recognized_by_their_head():
    assert torch_files.is_torch_file(GOOD[:14])
    assert not torch_files.is_torch_file(b"PK\x03\x04" + struct.pack("<10x"))


def test_pytorchs_own_files_are_read(tmp_path):
    torch = pytest.importorskip("torch")
    weight = torch.arange(12.0).reshape(3, 4)
    state = {"a": weight.T, "b": torch.nn.Parameter(weight[1:]), "c": weight.to(torch.bfloat16)}
    for name, is_zip in (("old.pth", False), ("zip.pth", True)):
        torch.save(state, tmp_path / name, _use_new_zipfile_serialization=is_zip)
        found = torch_files.read_state_dict(str(tmp_path / name))
        assert list(found) == ["a", "b", "c"]
        for key, value in state.items():
            np.testing.assert_array_equal(found[key].astype(np.float32), value.detach().float().numpy())

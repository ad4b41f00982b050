import io

import pytest
import torch_bytes

from isic_tf.models.pretrained import torch_pickles


def read(*parts):
    return torch_pickles.read_pickle(io.BytesIO(b"\x80\x02" + b"".join(parts) + b"."))


def test_a_pickle_gives_its_value_and_its_storages_and_leaves_the_file_after_it():
    storage = torch_bytes.storage("0", 6)
    file = io.BytesIO(b"\x80\x02" + storage + b".rest")
    found = torch_pickles.read_pickle(file)
    assert found.value == found.storages["0"]
    assert (found.value.size, found.value.bytes) == (6, 24)
    assert file.read() == b"rest"


def test_nested_values_take_no_longer_than_their_instructions():
    # A tuple of itself twice, 59 levels deep: walking, hashing or printing it would take 2^59 steps.
    deep = b"K\x01" + b"q\x01h\x01\x86" * 59
    assert len(read(deep).value) == 2
    for part in (
        b"}" + deep + b"K\x01s",
        torch_bytes.storage("0", 6)[: -len(b"J\x06\0\0\0NtQ")] + deep + b"NtQ",
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + torch_bytes.storage("0", 6) + deep + b"))tR",
    ):
        with pytest.raises(torch_pickles.FormatError, match="got a tuple"):
            read(part)


def test_a_list_that_holds_itself_is_one_value():
    found = read(b"]q\x01h\x01a").value
    assert found[0] is found


def test_two_storages_of_one_key_are_refused():
    both = torch_bytes.storage("0", 6) + torch_bytes.storage("0", 7)
    with pytest.raises(torch_pickles.FormatError, match="two storages '0'"):
        read(b"(" + both + b"t")


def test_the_number_of_instructions_is_limited(monkeypatch):
    monkeypatch.setattr(torch_pickles, "_MAX_INSTRUCTIONS", 5)
    with pytest.raises(torch_pickles.FormatError, match="has too many instructions"):
        read(b"]" * 7)


@pytest.mark.parametrize("content", [b"t", b"s", b"h\x01", b"Q", b"\x85", b"a", b""])
def test_instructions_without_their_values_are_damage(content):
    with pytest.raises(torch_pickles.FormatError, match="is truncated"):
        read(content)

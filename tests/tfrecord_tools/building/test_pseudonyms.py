import os

import pytest

from tfrecord_tools import errors
from tfrecord_tools.building import pseudonyms

# Not a secret: of this test alone.
KEY = "0123456789abcdef" * 4
EXPECTED = "cd02213c0e0e2f35b12d"
HOW = 'make one with: python -c "import secrets; print(secrets.token_hex(32))" > '


def write(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_a_key_is_read_without_the_blanks_around_it(tmp_path, capsys):
    path = write(tmp_path / "key", f"{KEY}\r\n".encode())
    assert pseudonyms.read_key(path) == KEY.encode()
    assert capsys.readouterr().out == ""
    path = write(tmp_path / "open", KEY.encode(), 0o644)
    assert pseudonyms.read_key(path) == KEY.encode()
    assert f"note: other users can read the key in {path}; protect it with: chmod 600" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"secret\n", "has 6 bytes, 5 of them different, expected at least 32 random ones; "),
        (b"", "has 0 bytes, 0 of them different, expected at least 32 random ones; "),
        (b"ab" * 40, "has 80 bytes, 2 of them different, expected at least 32 random ones; "),
        (bytes(range(64)) * 20000, "has 1280000 bytes, expected a key of at most 1048576; "),
    ],
)
def test_a_key_that_is_too_short_or_too_long_is_refused_with_how_to_make_one(tmp_path, content, message):
    path = write(tmp_path / "key", content)
    with pytest.raises(errors.ConfigError) as caught:
        pseudonyms.read_key(path)
    assert message + HOW in str(caught.value)
    assert "secret\n" not in str(caught.value)


def test_a_missing_key_is_refused_with_how_to_make_it(tmp_path):
    with pytest.raises(errors.ConfigError) as caught:
        pseudonyms.read_key(f"{tmp_path}/key")
    assert str(caught.value) == (
        f"--pseudonyms: {tmp_path}/key not found, expected a file with a secret key; {HOW}{tmp_path}/key"
    )
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.ConfigError, match="pipe not found, expected a file with a secret key"):
        pseudonyms.read_key(f"{tmp_path}/pipe")


def test_a_code_is_the_keyed_hash_of_the_canonical_identifier():
    # printf 'patient\0ip_7' | openssl dgst -sha256 -hmac "$KEY"
    assert pseudonyms.make_code(KEY.encode(), "patient", "IP_7") == "P" + EXPECTED
    assert pseudonyms.make_code(KEY.encode(), "patient", " ip_7 ") == "P" + EXPECTED
    others = {
        pseudonyms.make_code(KEY.encode(), "lesion", "IP_7")[1:],
        pseudonyms.make_code(KEY.encode(), "patient", "IP_8")[1:],
        pseudonyms.make_code(KEY.encode()[1:], "patient", "IP_7")[1:],
    }
    assert len(others) == 3
    assert EXPECTED not in others
    assert pseudonyms.make_code(KEY.encode(), "patient", "unknown") == ""

"""Replaces patients and lesions by codes that only the owner of a key can compute again."""

import hashlib
import hmac
import logging
import os
import stat

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, identity

_LOG = logging.getLogger(__name__)

_LEAST_BYTES = 32
# A key of fewer different bytes was typed, not made.
_LEAST_DIFFERENT = 8
_MOST_BYTES = 1 << 20
_DIGITS = 20
_HOW_TO_MAKE = 'make one with: python -c "import secrets; print(secrets.token_hex(32))" > '


def read_key(path: str) -> bytes:
    """Reads the key of a file.

    Args:
        path: Local path of the file; blanks and line ends around the key do not count.

    Returns:
        Bytes of the key, which must not be written or printed.

    Raises:
        ConfigError: The file does not exist, or what it holds is too short or too long for a key.

    Examples:
        >>> read_key("no/such.key")
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: --pseudonyms: no/such.key not found, expected a file with a secret key; ...
    """
    if not filesystem.is_regular(path):
        raise errors.ConfigError(
            f"--pseudonyms: {path} not found, expected a file with a secret key; {_HOW_TO_MAKE}{path}"
        )
    if filesystem.size(path) > _MOST_BYTES:
        raise errors.ConfigError(
            f"--pseudonyms: {path} has {filesystem.size(path)} bytes, expected a key of at most {_MOST_BYTES}; "
            f"{_HOW_TO_MAKE}NEW_FILE"
        )
    key = filesystem.read(path).strip()
    if len(key) < _LEAST_BYTES or len(set(key)) < _LEAST_DIFFERENT:
        raise errors.ConfigError(
            f"--pseudonyms: the key in {path} has {len(key)} bytes, {len(set(key))} of them different, expected at "
            f"least {_LEAST_BYTES} random ones; {_HOW_TO_MAKE}NEW_FILE"
        )
    if not filesystem.is_remote(path) and os.stat(path).st_mode & (stat.S_IRGRP | stat.S_IROTH):
        _LOG.warning(f"note: other users can read the key in {path}; protect it with: chmod 600 {path}")
    return key


def make_code(key: bytes, kind: str, identifier: str) -> str:
    """Returns the code of a patient or a lesion: a keyed hash (HMAC-SHA256) of the identifier in its canonical form.

    Args:
        key: See `read_key`.
        kind: `patient` or `lesion`, so that equal identifiers of both have different codes.
        identifier: Text as in a file.

    Returns:
        `P` or `L` and 20 hexadecimal digits, the same for all spellings of an identifier; "" for an unknown one.

    Examples:
        >>> key = b"only for this example, never used"
        >>> make_code(key, "patient", " 007") == make_code(key, "patient", "7")
        True
    """
    known = identity.person_key(identifier)
    if not known:
        return ""
    digest = hmac.new(key, f"{kind}\0{known}".encode(), hashlib.sha256).hexdigest()
    return f"{kind[0].upper()}{digest[:_DIGITS]}"

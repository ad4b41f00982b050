"""Configurations whose fields are options: frozen dataclasses that check and convert their values."""

import dataclasses
import difflib
import functools
import importlib.util
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tfrecord_tools import errors, option_paths

# Larger whole numbers do not fit into a tensor.
_MAX_INT = 2**63 - 1
ConfigT = typing.TypeVar("ConfigT", bound="Config")


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: Sequence[str] | None = None,
    lower: float | None = None,
    upper: float | None = None,
    derive: Callable[[Any], Any] | None = None,
    path: str | None = None,
    files: Sequence[str] = (),
) -> Any:
    """Declares a field of a `Config`, and so a flag of its command.

    Args:
        default: The value where none is given; a field without one must be given.
        help: One or two sentences; the flag's help, and the field's documentation.
        choices: The texts that are allowed; None for any.
        lower: The smallest number allowed; None for any.
        upper: The largest number allowed; None for any.
        derive: Gives the value from the configuration where none is given; the default is None then.
        path: For a path, or a list of paths: `read` for inputs, `write` for a file to write, which must be no input, or
            `directory` for a directory to write, which may hold inputs. `~/` is expanded. None for other texts.
        files: With a directory: files in it, or glob patterns of them, that no output may replace.

    Returns:
        `dataclasses.field`.

    Raises:
        ValueError: `path` is none of these.

    Examples:
        >>> option(384, help="Side of the square images, in pixels.", lower=8).metadata["lower"]
        8
    """
    if path not in (None, *option_paths.ROLES):
        raise ValueError(f"expected path to be one of {', '.join(option_paths.ROLES)}, got {path!r}")
    metadata: dict[str, Any] = {
        "help": help,
        "choices": tuple(choices) if choices else None,
        "lower": lower,
        "upper": upper,
        "derive": derive,
        "path": path,
        "files": tuple(files),
    }
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Options of a command or function. Fields are declared by `option`, and checked when one is created.

    Examples:
        >>> @dataclasses.dataclass(frozen=True, kw_only=True)
        ... class ResizeConfig(Config):
        ...     image_size: int = option(384, help="Side of the square images, in pixels.", lower=8)
        >>> ResizeConfig(image_size=512)
        ResizeConfig(image_size=512)
        >>> ResizeConfig(image_size=4)
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: expected image_size of at least 8, got 4
    """

    # Flags of an earlier release: old name -> new name. They work, with a notice.
    RENAMED: typing.ClassVar[dict[str, str]] = {}
    # The option, a list, that the words of a command line without `--` are values of; "" where there is none.
    POSITIONAL: typing.ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Checks and converts the values.

        Raises:
            ConfigError: A value has the wrong type, is out of range, or is not one of the choices; or a file to write
                is also one to read.
        """
        fields = dataclasses.fields(self)
        derived = [field for field in fields if field.metadata["derive"] and getattr(self, field.name) is None]
        for field in (field for field in fields if field not in derived):
            self._set(field, getattr(self, field.name))
        for field in derived:
            self._set(field, field.metadata["derive"](self))
        paths = [field for field in fields if field.metadata["path"]]
        option_paths.refuse_overwritten_inputs(
            [(flag_name(field.name), field.metadata, getattr(self, field.name)) for field in paths]
        )

    def check_inputs(self) -> None:
        """Checks that the files exist which a command reads; it is called before the command's module is imported.

        A function that is given the configuration does not rely on it.

        Raises:
            IsicError: A file or a directory is missing.
        """

    def _set(self, field: dataclasses.Field[Any], value: Any) -> None:
        object.__setattr__(self, field.name, _convert(field, *find_kind(type(self), field), value))

    @classmethod
    def from_text(cls: type["ConfigT"], values: Mapping[str, str]) -> "ConfigT":
        """Creates a configuration from texts, such as the flags of a run directory.

        Args:
            values: Dict from name to text; old names of renamed options are read too. Names that are not options are
                ignored; absent options take their default.

        Returns:
            Configuration of this class.

        Raises:
            ConfigError: A text is not a value of its option, or an option without a default is absent.
        """
        renamed = {cls.RENAMED.get(name, name): text for name, text in values.items()}
        known = {}
        for field in dataclasses.fields(cls):
            if field.name in renamed:
                known[field.name] = _parse(field, find_kind(cls, field)[0], renamed[field.name])
            elif field.default is dataclasses.MISSING:
                raise errors.ConfigError(f"expected a value for {field.name}, got none; add it")
        return cls(**known)


def flag_name(name: str) -> str:
    """Returns the flag of an option: its name, without the underscore at the end of a word that Python reserves.

    Args:
        name: Name of the field.

    Returns:
        Name of the flag.

    Examples:
        >>> flag_name("class_"), flag_name("image_size")
        ('class', 'image_size')
    """
    return name.removesuffix("_")


@functools.cache
def _find_types(config_class: Any) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


def find_kind(config_class: Any, field: dataclasses.Field[Any]) -> tuple[Any, bool]:
    """Returns the type of a field's values, and whether None is allowed."""
    hint = _find_types(config_class)[field.name]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
        return hint, True
    return hint, False


def is_list(kind: Any) -> bool:
    """Returns whether a type of values, see `find_kind`, is a list of texts."""
    return typing.get_origin(kind) is tuple


def _describe_kind(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return "a list of texts" if is_list(kind) else names[kind]


def _convert(field: dataclasses.Field[Any], kind: Any, optional: bool, value: Any) -> Any:
    """Converts a value to the type of its field, and checks it."""
    if value is None and optional:
        return None
    if field.metadata["path"]:
        value = _expand(value)
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if is_list(kind) and isinstance(value, str):
        value = tuple(option_paths.split_paths(value))
    elif is_list(kind) and isinstance(value, (list, tuple)):
        value = tuple(os.fspath(part) for part in value)
    elif kind is str and isinstance(value, os.PathLike):
        value = os.fspath(value)
    elif kind is str and isinstance(value, numbers.Integral) and is_number:
        # As fold=0, whose flag is text.
        value = str(int(value))
    elif kind is int and isinstance(value, numbers.Integral) and is_number:
        value = int(value)
    elif kind is float and is_number:
        value = float(value)
    if not isinstance(value, tuple if is_list(kind) else kind) or (kind is int and isinstance(value, bool)):
        raise errors.ConfigError(f"expected {field.name} to be {_describe_kind(kind)}, got {value!r}")
    _check_limits(field, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise errors.ConfigError(f"expected {field.name} to be a finite number, got {value}")
    return value


def _expand(value: Any) -> Any:
    """Expands the home directory in a path, a text of several, or a list of paths."""
    if isinstance(value, (str, os.PathLike)):
        return option_paths.expand_home(os.fspath(value))
    return [_expand(part) for part in value] if isinstance(value, (list, tuple)) else value


def _check_limits(field: dataclasses.Field[Any], value: Any) -> None:
    """Checks that a value is one of the choices of its field, and within its range."""
    limits = field.metadata
    upper = _MAX_INT if limits["upper"] is None and isinstance(value, int) else limits["upper"]
    if limits["choices"] and value not in limits["choices"]:
        close = difflib.get_close_matches(str(value), limits["choices"], 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        expected = ", ".join(limits["choices"])
        raise errors.ConfigError(f"expected {field.name} to be one of {expected}, got {value!r}{meant}")
    if limits["lower"] is not None and not value >= limits["lower"]:
        raise errors.ConfigError(f"expected {field.name} of at least {limits['lower']}, got {value}")
    if upper is not None and not value <= upper:
        raise errors.ConfigError(f"expected {field.name} of at most {upper}, got {value}")


def _parse(field: dataclasses.Field[Any], kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise errors.ConfigError(f"expected {field.name} to be true or false, got {text!r}")
        return text.lower() in ("true", "1")
    try:
        return text if kind is str or is_list(kind) else kind(text)
    except ValueError as error:
        raise errors.ConfigError(f"expected {field.name} to be {_describe_kind(kind)}, got {text!r}") from error


def require_packages(user: str, names: Sequence[str], requirements: str) -> None:
    """Checks that the packages of an extra are installed, without importing them.

    Args:
        user: What needs them, such as a flag.
        names: Names under which they are imported.
        requirements: Arguments of pip that install them.

    Raises:
        ConfigError: One is not installed.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        text = f"{user} needs {', '.join(missing)}, not installed here; install what is missing: pip install"
        raise errors.ConfigError(f"{text} {requirements}")

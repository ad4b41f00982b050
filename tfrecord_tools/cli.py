"""Commands: configurations whose fields are flags, log lines on standard output, errors in one line, exit codes."""

import dataclasses
import difflib
import logging
import numbers
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from tfrecord_tools import errors

_LOGGERS = ("isic_tf", "tfrecord_tools")
ConfigT = typing.TypeVar("ConfigT", bound="Config")


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str,
    choices: Sequence[str] | None = None,
    lower: float | None = None,
    upper: float | None = None,
) -> Any:
    """Declares a field of a `Config`, and so a flag of its command.

    Args:
        default: The value where none is given; a field without one must be given.
        help: One or two sentences; the flag's help, and the field's documentation.
        choices: The texts that are allowed; None for any.
        lower: The smallest number allowed; None for any.
        upper: The largest number allowed; None for any.

    Returns:
        `dataclasses.field`.

    Examples:
        >>> option(384, help="Side of the square images, in pixels.", lower=8).metadata["lower"]
        8
    """
    metadata = {"help": help, "choices": tuple(choices) if choices else None, "lower": lower, "upper": upper}
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

    def __post_init__(self) -> None:
        """Checks and converts the values.

        Raises:
            ConfigError: A value has the wrong type, is out of range, or is not one of the choices.
        """
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _convert(field, *_kind(type(self), field), getattr(self, field.name)))

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
                known[field.name] = _parse(field, _kind(cls, field)[0], renamed[field.name])
            elif field.default is dataclasses.MISSING:
                raise errors.ConfigError(f"expected a value for {field.name}, got none; add it")
        return cls(**known)


def _kind(config_class: type[Config], field: dataclasses.Field[Any]) -> tuple[Any, bool]:
    """Returns the type of a field's values, and whether None is allowed."""
    hint = typing.get_type_hints(config_class)[field.name]
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
        return hint, True
    return hint, False


def _is_list(kind: Any) -> bool:
    return typing.get_origin(kind) is tuple


def _describe_kind(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return "a list of texts" if _is_list(kind) else names[kind]


def _convert(field: dataclasses.Field[Any], kind: Any, optional: bool, value: Any) -> Any:
    """Converts a value to the type of its field, and checks it."""
    if value is None and optional:
        return None
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if _is_list(kind) and isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",")) if value else ()
    elif _is_list(kind) and isinstance(value, (list, tuple)):
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
    if not isinstance(value, tuple if _is_list(kind) else kind) or (kind is int and isinstance(value, bool)):
        raise errors.ConfigError(f"expected {field.name} to be {_describe_kind(kind)}, got {value!r}")
    limits = field.metadata
    if limits["choices"] and value not in limits["choices"]:
        close = difflib.get_close_matches(str(value), limits["choices"], 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        expected = ", ".join(limits["choices"])
        raise errors.ConfigError(f"expected {field.name} to be one of {expected}, got {value!r}{meant}")
    if limits["lower"] is not None and not value >= limits["lower"]:
        raise errors.ConfigError(f"expected {field.name} of at least {limits['lower']}, got {value}")
    if limits["upper"] is not None and not value <= limits["upper"]:
        raise errors.ConfigError(f"expected {field.name} of at most {limits['upper']}, got {value}")
    return value


def _parse(field: dataclasses.Field[Any], kind: Any, text: str) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise errors.ConfigError(f"expected {field.name} to be true or false, got {text!r}")
        return text.lower() in ("true", "1")
    try:
        return text if kind is str or _is_list(kind) else kind(text)
    except ValueError as error:
        raise errors.ConfigError(f"expected {field.name} to be {_describe_kind(kind)}, got {text!r}") from error


def define_flags(
    config_class: type[Config], flag_values: flags.FlagValues = flags.FLAGS, module_name: str | None = None
) -> None:
    """Defines a flag for each field of a configuration.

    Args:
        config_class: Subclass of `Config`.
        flag_values: `absl.flags.FlagValues` to define them in.
        module_name: The module that lists them in its help; the main program if None.
    """
    common: dict[str, Any] = {"flag_values": flag_values, "module_name": module_name or sys.argv[0]}
    for field in dataclasses.fields(config_class):
        kind, _ = _kind(config_class, field)
        limits = field.metadata
        default = None if field.default is dataclasses.MISSING else field.default
        arguments = (field.name, default, limits["help"])
        if _is_list(kind):
            flags.DEFINE_list(field.name, default and list(default), limits["help"], **common)
        elif limits["choices"]:
            flags.DEFINE_enum(field.name, default, list(limits["choices"]), limits["help"], **common)
        elif kind is bool:
            flags.DEFINE_bool(*arguments, **common)
        elif kind is int:
            flags.DEFINE_integer(*arguments, limits["lower"], limits["upper"], **common)
        elif kind is float:
            flags.DEFINE_float(*arguments, limits["lower"], limits["upper"], **common)
        else:
            flags.DEFINE_string(*arguments, **common)
        if field.default is dataclasses.MISSING:
            flags.mark_flag_as_required(field.name, flag_values)
    for old, new in config_class.RENAMED.items():
        flags.DEFINE_alias(old, new, flag_values, module_name="renamed")


def run(command: Callable[[Any], Any], config_class: type[Config], doc: str | None = None) -> None:
    """Runs a command: defines its flags, parses them, calls it with its configuration; never returns.

    Exits with 0, with 1 after an error (one line; the traceback too under `--verbosity=1`) or with 130 after Ctrl-C.
    Flags are defined only in the process that runs the command, so that modules with flags of one name can be
    imported together.

    Args:
        command: Function of one `config_class`.
        config_class: Subclass of `Config`.
        doc: What `--help` prints before the flags; the main program's docstring if None.
    """

    def main(argv: Sequence[str]) -> None:
        if argv[1:]:
            raise app.UsageError(f"expected only options of the form --name=value, got {' '.join(argv[1:])!r}")
        if not flags.FLAGS["verbosity"].present:
            # TensorFlow's own remarks are not the user's business; its warnings are.
            absl_logging.set_verbosity(absl_logging.WARNING)
        show_log()
        for old, new in config_class.RENAMED.items():
            if flags.FLAGS[old].present:
                print(
                    f"note: --{old} is now --{new}; the old name will be removed in the next release", file=sys.stderr
                )
        try:
            values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(config_class)}
            command(config_class(**values))
        except KeyboardInterrupt:
            print(
                "\nInterrupted; all files written so far are complete. Run the same command to resume.", file=sys.stderr
            )
            sys.exit(130)
        except Exception as error:
            if absl_logging.get_verbosity() >= absl_logging.DEBUG:
                raise
            print(_describe(error), file=sys.stderr)
            sys.exit(1)

    if doc:
        sys.modules["__main__"].__doc__ = doc
    define_flags(config_class)
    app.run(main)


class _StandardOutput(logging.StreamHandler):  # type: ignore[type-arg]  # No arguments before Python 3.11.
    """Writes to what standard output is at the time, which notebooks and tests replace."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)


def show_log(level: int = logging.INFO) -> None:
    """Prints the log lines of both packages to standard output, as the commands do; for notebooks and scripts too.

    Args:
        level: The lowest level that is printed.
    """
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        # absl's own handler would print them once more.
        logger.propagate = False
        if not any(isinstance(handler, _StandardOutput) for handler in logger.handlers):
            logger.addHandler(_StandardOutput())


def _describe(error: Exception) -> str:
    if isinstance(error, (ValueError, OSError)):
        return f"ERROR: {' '.join(str(error).split())}"
    # TensorFlow's own errors open with a line that says nothing.
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "execution error" not in line]
    return f"ERROR: {type(error).__name__}: {(lines or ['no message'])[0]} (--verbosity=1 shows where)"

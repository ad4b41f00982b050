"""Commands: configurations whose fields are flags, log lines on standard output, errors in one line, exit codes."""

import contextlib
import dataclasses
import difflib
import functools
import logging
import math
import numbers
import os
import signal
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from tfrecord_tools import errors, flag_files
from tfrecord_tools.io import filesystem

_LOGGERS = ("isic_tf", "tfrecord_tools")
# Exit code of a process that SIGTERM ended, as of a shell.
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM
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
) -> Any:
    """Declares a field of a `Config`, and so a flag of its command.

    Args:
        default: The value where none is given; a field without one must be given.
        help: One or two sentences; the flag's help, and the field's documentation.
        choices: The texts that are allowed; None for any.
        lower: The smallest number allowed; None for any.
        upper: The largest number allowed; None for any.
        derive: Gives the value from the configuration where none is given; the default is None then.

    Returns:
        `dataclasses.field`.

    Examples:
        >>> option(384, help="Side of the square images, in pixels.", lower=8).metadata["lower"]
        8
    """
    metadata: dict[str, Any] = {
        "help": help,
        "choices": tuple(choices) if choices else None,
        "lower": lower,
        "upper": upper,
        "derive": derive,
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

    def __post_init__(self) -> None:
        """Checks and converts the values.

        Raises:
            ConfigError: A value has the wrong type, is out of range, or is not one of the choices.
        """
        fields = dataclasses.fields(self)
        derived = [field for field in fields if field.metadata["derive"] and getattr(self, field.name) is None]
        for field in (field for field in fields if field not in derived):
            self._set(field, getattr(self, field.name))
        for field in derived:
            self._set(field, field.metadata["derive"](self))

    def _set(self, field: dataclasses.Field[Any], value: Any) -> None:
        object.__setattr__(self, field.name, _convert(field, *_kind(type(self), field), value))

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


@functools.cache
def _find_types(config_class: Any) -> dict[str, Any]:
    return typing.get_type_hints(config_class)


def _kind(config_class: Any, field: dataclasses.Field[Any]) -> tuple[Any, bool]:
    """Returns the type of a field's values, and whether None is allowed."""
    hint = _find_types(config_class)[field.name]
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
        value = tuple(_split_paths(value))
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
    _check_limits(field, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise errors.ConfigError(f"expected {field.name} to be a finite number, got {value}")
    return value


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


class _ListParser(flags.ListParser):
    """Parses a list as absl does, but keeps a path with a comma whole where it exists."""

    def parse(self, argument: str | list[str]) -> list[str]:
        if isinstance(argument, str) and '"' not in argument:
            return _split_paths(argument)
        return super().parse(argument)


def _split_paths(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")] if text else []
    # A blank part, which is an error of the user's, stays.
    return parts if "" in parts else filesystem.rejoin(text.split(","), filesystem.exists)


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
            serializer = flags.CsvListSerializer(",")
            flags.DEFINE(
                _ListParser(), field.name, default and list(default), limits["help"], serializer=serializer, **common
            )
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

    Exits with 0, with 1 after an error (one line; the traceback too under `--verbosity=1`), with 130 after Ctrl-C or
    with 143 after SIGTERM; `train`, which saves first, with 0.
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
        values = {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(config_class)}
        code = execute(lambda: command(config_class(**values)))
        if code:
            sys.exit(code)

    if doc:
        sys.modules["__main__"].__doc__ = doc
    define_flags(config_class)
    app.run(main, flags_parser=_parse_command_line)


def execute(command: Callable[[], Any]) -> int:
    """Calls a function as commands do: what goes wrong is one line on standard error, and an exit code.

    Args:
        command: Function without arguments; its result is not used.

    Returns:
        0; 1 after an error, 130 after Ctrl-C.

    Raises:
        SystemExit: The process received SIGTERM, with the code 143.
        Exception: An error of the function, under `--verbosity=1`.

    Examples:
        >>> execute(lambda: None)
        0
    """
    # As after Ctrl-C, locks are released and temporary files removed.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    try:
        command()
        return 0
    except KeyboardInterrupt:
        print("\nInterrupted; all files written so far are complete. Run the same command to resume.", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if absl_logging.get_verbosity() >= absl_logging.DEBUG:
            raise
        print(_describe(error), file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, before)


def _parse_command_line(arguments: list[str]) -> Any:
    """Parses the flags of a command line, whose flag files are checked before."""
    try:
        flag_files.check_flag_files(arguments[1:])
    except errors.ConfigError as error:
        print(_describe(error), file=sys.stderr)
        sys.exit(1)
    return app.parse_flags_with_usage(arguments)


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Hides what libraries write to standard error while they are imported, unless an import fails.

    TensorFlow 2.21 writes two lines there whatever its log level, which would stand before every error of a command.

    Raises:
        SystemExit: Ctrl-C was pressed, with the code 130.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as captured:
        original = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            yield
        except KeyboardInterrupt:
            os.dup2(original, 2)
            sys.exit(_INTERRUPTED)
        except BaseException:
            os.dup2(original, 2)
            captured.seek(0)
            sys.stderr.write(captured.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


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

"""Commands: the flags of their configurations, log lines on standard output, errors in one line, exit codes."""

import atexit
import contextlib
import dataclasses
import gc
import importlib
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import app, flags
from absl import logging as absl_logging

from tfrecord_tools import configuration, errors, flag_files, option_paths
from tfrecord_tools.configuration import Config, ConfigT, option

__all__ = ["Config", "ConfigT", "call", "define_flags", "execute", "option", "quiet_imports", "run", "show_log"]

_LOGGERS = ("isic_tf", "tfrecord_tools")
# Exit code of a process that SIGTERM ended, as of a shell.
_INTERRUPTED = 128 + signal.SIGINT
_TERMINATED = 128 + signal.SIGTERM


class _ListParser(flags.ListParser):
    """Parses a list as absl does, but keeps a path with a comma whole where it exists."""

    def parse(self, argument: str | list[str]) -> list[str]:
        if isinstance(argument, str) and '"' not in argument:
            return option_paths.split_paths(option_paths.expand_home(argument))
        return super().parse(argument)


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
        kind, _ = configuration.find_kind(config_class, field)
        limits = field.metadata
        default = None if field.default is dataclasses.MISSING else field.default
        name = configuration.flag_name(field.name)
        arguments = (name, default, limits["help"])
        if configuration.is_list(kind):
            serializer = flags.CsvListSerializer(",")
            flags.DEFINE(
                _ListParser(), name, default and list(default), limits["help"], serializer=serializer, **common
            )
        elif limits["choices"]:
            flags.DEFINE_enum(name, default, list(limits["choices"]), limits["help"], **common)
        elif kind is bool:
            flags.DEFINE_bool(*arguments, **common)
        elif kind is int:
            flags.DEFINE_integer(*arguments, limits["lower"], limits["upper"], **common)
        elif kind is float:
            flags.DEFINE_float(*arguments, limits["lower"], limits["upper"], **common)
        else:
            flags.DEFINE_string(*arguments, **common)
        if field.default is dataclasses.MISSING and field.name != config_class.POSITIONAL:
            flags.mark_flag_as_required(name, flag_values)
    for old, new in config_class.RENAMED.items():
        flags.DEFINE_alias(old, new, flag_values, module_name="renamed")


def run(command: Callable[[Any], Any] | str, config_class: type[Config], doc: str | None = None) -> None:
    """Runs a command: defines its flags, parses them, calls it with its configuration; never returns.

    Exits with 0, with 1 after an error (one line; the traceback too under `--verbosity=1`), with 130 after Ctrl-C or
    with 143 after SIGTERM; `train`, which saves first, with 0.
    Flags are defined only in the process that runs the command, so that modules with flags of one name can be
    imported together.

    Args:
        command: Function of one `config_class`; or its address, `package.module:function`, whose module is imported
            when the flags are right and the files that `Config.check_inputs` names are there.
        config_class: Subclass of `Config`.
        doc: What `--help` prints before the flags; the main program's docstring if None.
    """

    def main(argv: Sequence[str]) -> None:
        if argv[1:] and not config_class.POSITIONAL:
            got = " ".join(argv[1:])
            print(f"ERROR: expected only options of the form --name=value, got {got!r}; see --help", file=sys.stderr)
            sys.exit(1)
        if not flags.FLAGS["verbosity"].present:
            # TensorFlow's own remarks are not the user's business; its warnings are.
            absl_logging.set_verbosity(absl_logging.WARNING)
        show_log()
        for old, new in config_class.RENAMED.items():
            if flags.FLAGS[old].present:
                print(
                    f"note: --{old} is now --{new}; the old name will be removed in the next release", file=sys.stderr
                )
        fields = dataclasses.fields(config_class)
        values = {field.name: flags.FLAGS[configuration.flag_name(field.name)].value for field in fields}
        if config_class.POSITIONAL:
            values[config_class.POSITIONAL] = [*(values[config_class.POSITIONAL] or []), *argv[1:]]
        # At its end Python would search all objects for garbage, for a second where TensorFlow is imported.
        atexit.register(gc.freeze)
        code = execute(lambda: call(command, config_class(**values)))
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


def call(command: Callable[[Any], Any] | str, config: Config) -> Any:
    """Checks what a configuration names, then calls the function of a command with it; see `run`."""
    try:
        with quiet_imports():
            # Files in a bucket are read by TensorFlow.
            config.check_inputs()
            function = _find_function(command) if isinstance(command, str) else command
    except KeyboardInterrupt:
        # Nothing was begun that could be resumed.
        sys.exit(_INTERRUPTED)
    return function(config)


def _find_function(address: str) -> Callable[[Any], Any]:
    module, _, name = address.partition(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return found


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
    No garbage is collected: imports leave none, and the search is a sixth of the time of TensorFlow's. What was
    imported then counts as old, which is searched seldom.
    """
    sys.stderr.flush()
    was_enabled = gc.isenabled()
    with tempfile.TemporaryFile() as captured:
        original = os.dup(2)
        os.dup2(captured.fileno(), 2)
        gc.disable()
        try:
            yield
        except (errors.IsicError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            os.dup2(original, 2)
            captured.seek(0)
            sys.stderr.write(captured.read().decode("utf-8", "replace"))
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
            if not gc.get_freeze_count():
                gc.freeze()
                # What was frozen becomes the oldest generation.
                gc.unfreeze()
            if was_enabled:
                gc.enable()


class _StandardOutput(logging.StreamHandler):  # type: ignore[type-arg]  # No arguments before Python 3.11.
    """Writes to what standard output is at the time, which notebooks and tests replace."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stdout
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # The name is that of `logging`.
        """Drops further lines where nobody reads them, as in `| head`; the work goes on."""
        if isinstance(sys.exc_info()[1], BrokenPipeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        else:
            super().handleError(record)


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

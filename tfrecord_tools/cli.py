"""Runs a command: parses flags, reports errors in one line, sets the exit code."""

import sys

from absl import app, flags, logging


def run(command, define_flags):
    """Defines a command's flags, parses them and calls it with one keyword argument a flag; never returns.

    Exits with 0, with 1 after an error (one line; the traceback too under `--verbosity=1`) or with 130 after Ctrl-C.

    Args:
        command: Function whose keyword arguments are named like the flags.
        define_flags: Function of no arguments that defines them. Flags are defined only in the process that runs the
            command, so that modules with flags of one name can be imported together.
    """

    def main(argv):
        if argv[1:]:
            raise app.UsageError(f"expected only options of the form --name=value, got {' '.join(argv[1:])!r}")
        if not flags.FLAGS["verbosity"].present:
            # TensorFlow's own remarks are not the user's business; its warnings are.
            logging.set_verbosity(logging.WARNING)
        values = {flag.name: flag.value for flag in flags.FLAGS.get_key_flags_for_module(argv[0])}
        try:
            command(**values)
        except KeyboardInterrupt:
            print("\nInterrupted; every file in place is whole. Give the same command to go on.", file=sys.stderr)
            sys.exit(130)
        except Exception as error:
            if logging.get_verbosity() >= logging.DEBUG:
                raise
            print(_describe(error), file=sys.stderr)
            sys.exit(1)

    define_flags()
    app.run(main)


def _describe(error):
    if isinstance(error, (ValueError, OSError)):
        return f"ERROR: {' '.join(str(error).split())}"
    # TensorFlow's own errors open with a line that says nothing.
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and "execution error" not in line]
    return f"ERROR: {type(error).__name__}: {(lines or ['no message'])[0]} (--verbosity=1 shows where)"

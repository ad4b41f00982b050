import pytest

from tfrecord_tools import errors, flag_files


def check(tmp_path, text):
    path = tmp_path / "flags.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    flag_files.check_flag_files([f"--flagfile={path}"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# A comment --fold=0 --seed=1\n\n// another\n--fold=0\n  --workdir=runs/b 0  \r\n",
        "--data_dir=sets/a,b#1\n--mix=ham=0.5\n-seed=1\n--tensorboard\n--notensorboard\n",
        '--weights=https://host/a.h5\n--note=it\'s "so"\n',
    ],
)
def test_a_flag_a_line_and_comments_on_their_own_are_accepted(tmp_path, text):
    check(tmp_path, text)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("--fold=0 --workdir=runs/b0", "several flags: .*; put each on a line of its own"),
        ("--workdir=runs/b0 -seed=1", "several flags"),
        ("\ufeff--seed=1", "a byte order mark: .*; save the file as UTF-8 without one"),
        ("--tensorboard --deterministic", "several flags"),
        ("--workdir=runs/b0 # my run", "a comment after the flag: .*; put it on a line of its own"),
        ("--workdir=runs/b0\t// my run", "a comment after the flag"),
        ('--workdir="runs/b0"', "quotes, which would be part of the value: .*; leave them out"),
        ("--workdir='runs/b0'", "quotes"),
        ("--workdir runs/b0", "a space after the name: .*; use ="),
        ("workdir=runs/b0", "no flag: .*; begin it with --"),
    ],
)
def test_a_line_that_is_not_one_flag_is_refused_with_file_and_line(tmp_path, line, problem):
    with pytest.raises(errors.ConfigError, match=rf"in line 3 of .*flags.txt, got {problem}"):
        check(tmp_path, f"# Mine\n--seed=1\n{line}\n")


def test_flag_files_named_by_flag_files_are_checked_once(tmp_path):
    (tmp_path / "outer.txt").write_text(f"--flagfile={tmp_path}/inner.txt\n--flagfile={tmp_path}/outer.txt\n")
    (tmp_path / "inner.txt").write_text("--seed=1 --fold=0\n")
    for arguments in ([f"--flagfile={tmp_path}/outer.txt"], ["--flagfile", f"{tmp_path}/outer.txt"]):
        with pytest.raises(errors.ConfigError, match=r"in line 1 of .*inner.txt, got several flags"):
            flag_files.check_flag_files(["--x=1", *arguments])
    flag_files.check_flag_files(["--x=1", "--flagfile"])


def test_a_flag_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"flag file at .*none.txt, which cannot be read \(No such file"):
        flag_files.check_flag_files([f"--flagfile={tmp_path}/none.txt"])
    with pytest.raises(
        errors.ConfigError, match=r"expected UTF-8 text in the flag file .*flags.txt, got .* position 7"
    ):
        check(tmp_path, b"--note=\xff\n")

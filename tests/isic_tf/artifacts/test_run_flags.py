import pytest

from isic_tf.artifacts import run_flags
from tfrecord_tools import errors

FLAGS = {"seed": 3, "mix": "", "tpu": None, "weights": "a=b c"}
TEXT = "# names=mix,resize,seed,weights\n# resize=crop\n--mix=\n--seed=3\n--weights=a=b c\n"


def parse(text):
    return run_flags.parse_flags("run/flags.txt", text if isinstance(text, bytes) else text.encode())


def test_flags_are_written_and_read_back():
    assert run_flags.format_flags(FLAGS, {"resize": "crop"}) == TEXT
    assert parse(TEXT) == {"resize": "crop", "mix": "", "seed": "3", "weights": "a=b c"}


def test_flags_of_release_0_1_and_comments_are_read():
    assert parse("# my first run\n\n#note\n# resize=crop\n--keep=last\n") == {"resize": "crop", "keep_weights": "last"}


@pytest.mark.parametrize("separator", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028"])
@pytest.mark.parametrize("where", ["flags", "facts"])
def test_a_value_of_several_lines_is_refused(separator, where):
    given = {"flags": {}, "facts": {}, where: {"resize": f"crop{separator}--init_from=other"}}
    with pytest.raises(errors.ConfigError, match="expected one line of text for resize, got 'crop"):
        run_flags.format_flags(**given)
    given[where] = {"resize": f"crop{separator}"}
    with pytest.raises(errors.ConfigError, match="expected one line of text for resize"):
        run_flags.format_flags(**given)


@pytest.mark.parametrize("lost", ["mix", "resize", "seed", "weights"])
def test_a_lost_line_is_named(lost):
    kept = [line for line in TEXT.splitlines() if lost not in line or line.startswith("# names")]
    with pytest.raises(errors.CorruptRecordError, match=f"run/flags.txt is damaged: it lacks the line of '{lost}'; re"):
        parse("\n".join(kept))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--seed=1\n\x00\x01garbage\n", "expected --name=value in line 2, got '\\\\x00\\\\x01garbage'; restore it"),
        ("--seed=1\nseed=2\n", "expected --name=value in line 2, got 'seed=2'"),
        ("--seed=1\n--seed\n", "expected --name=value in line 2, got '--seed'"),
        ("--seed=1\n\n--seed=2\n", "expected one line seed=, got another in line 3; restore it"),
        ("--keep=last\n--keep_weights=last\n", "expected one line keep_weights=, got another in line 2"),
        ("# quality=90\n# record_size=64x\n", "expected record_size= and a whole number from 1 to 32768, got 64x; re"),
        ("# record_size=64\n# quality=101\n", "expected quality= and a whole number from 1 to 100, got 101; restore"),
        ("# quality=90\n# record_size=0\n", "expected record_size= and a whole number from 1 to 32768, got 0; resto"),
        ("# record_size=64\n", "expected quality= and a whole number from 1 to 100, got no such line; restore it"),
        (b"--seed=1\n--mix=\n\xff\xfe", "expected UTF-8 text, got other bytes in line 3; restore it from a copy"),
    ],
)
def test_garbage_is_named_with_file_and_line(text, message):
    with pytest.raises(errors.CorruptRecordError, match=f"run/flags.txt is damaged: {message}"):
        parse(text)


def find(old, new, free=()):
    return run_flags.find_differences("run/flags.txt", old, new, free, {"new": 0.5})


def test_flags_are_compared_but_for_free_ones_and_new_defaults():
    assert find({"a": "1", "b": "2"}, {"a": "1", "b": "3"}) == (["b"], [])
    assert find({"a": "1", "b": "2"}, {"a": "1", "b": "3"}, ["b"]) == ([], [])
    assert find({"a": "1"}, {"a": "1", "new": "0.5"}) == ([], ["new"])
    assert find({"a": "1", "old": "x"}, {"a": "1"}) == (["old"], [])
    with pytest.raises(errors.CorruptRecordError, match="it lacks the line of 'new'; restore it from a copy, or add"):
        find({"a": "1"}, {"a": "1", "new": "0.7"})


def test_more_epochs_are_refused_with_a_way_to_go_on():
    old = {"epochs": "3", "schedule": "cosine"}
    text = run_flags.describe_differences("runs/b0", old, {**old, "epochs": "5"}, ["epochs"])
    assert text.startswith(
        "runs/b0 holds a run of another configuration (epochs was 3, is 5); choose another --workdir"
    )
    assert "with --init_from=runs/b0 to go on from the weights" in text
    assert "init_from" not in run_flags.describe_differences("runs/b0", {"a": "1"}, {"a": "2"}, ["a"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/jane/sets/ham/", "ham"),
        ("rel/ham,/home/jane/isic", "rel/ham,isic"),
        ("gs://bucket/sets/ham", "ham"),
        ("~/ham", "ham"),
        ("../jane/ham", "ham"),
        ("C:\\Users\\jane\\ham", "ham"),
        ("\\\\host\\jane\\ham", "ham"),
        ("runs/b0", "runs/b0"),
        ("ham=0.5,isic=2", "ham=0.5,isic=2"),
        ("<b>a</b>", "<b>a</b>"),
        ("", ""),
        (64, 64),
    ],
)
def test_directories_of_a_machine_are_hidden(value, shown):
    assert run_flags.hide_directories({"name": value}) == {"name": shown}

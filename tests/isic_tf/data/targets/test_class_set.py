import pytest

from isic_tf.data.targets import class_set
from isic_tf.data.targets.class_set import ClassSet


@pytest.mark.parametrize(
    ("target", "classes", "positive", "expected"),
    [
        ("binary", "", "", ClassSet()),
        ("column:dx", "NV, MEL,BCC", "bcc,MEL", ClassSet(("NV", "MEL", "BCC"), ("MEL", "BCC"))),
        # By their names: melanoma, or 1 of 0 and 1.
        ("column:dx", "nevus,Melanoma", "", ClassSet(("nevus", "Melanoma"), ("Melanoma",))),
        ("column:ulcerated", "0.0,1.0", "", ClassSet(("0.0", "1.0"), ("1.0",))),
        # Of one label there is no choice.
        ("columns:A", "", "", ClassSet(("A",), ("A",), multi_label=True)),
        ("columns:A,B", "", "A,B", ClassSet(("A", "B"), ("A", "B"), multi_label=True)),
        # As a run records it.
        ("columns:A,B", "A,B", "B", ClassSet(("A", "B"), ("B",), multi_label=True)),
    ],
)
def test_options_make_classes(target, classes, positive, expected):
    assert class_set.make_class_set(target, classes, positive) == expected


@pytest.mark.parametrize(
    ("target", "classes", "positive", "message"),
    [
        ("stage", "", "", "binary, diagnosis, column:NAME or columns:A,B .columns of --table., got 'stage'"),
        ("column:", "", "", "got 'column:'"),
        ("column:A,B", "", "", "expected one column in --target=column:NAME, got 'A,B'; use --target=columns:A,B for"),
        ("columns:A,,B", "", "", "got 'columns:A,,B'"),
        ("columns:A,a", "", "", "whatever the case of letters, got A, a"),
        ("diagnosis", "A,B", "", "expected --classes only with --target=column:NAME, got --target=diagnosis; omit it"),
        ("binary", "", "MEL", "expected --positive_classes only with classes"),
        ("column:dx", "", "", "which no table was read for; give --classes=A,B,C"),
        ("column:dx", "A", "", "expected two classes or more for --target=column:dx, got only A"),
        ("column:dx", "A,B", "", "some of A, B, got none, and no name says melanoma; give --positive_classes=A,B"),
        ("column:dx", "A,B", "A,B", "some of A, B, got all of them"),
        ("column:dx", "A,B", "C", "some of the classes A, B, got C; correct them"),
        ("columns:A,B", "B,A", "A", "expected no --classes with --target=columns:A,B, whose classes are the columns"),
    ],
)
def test_options_that_make_no_classes_are_refused(target, classes, positive, message):
    with pytest.raises(ValueError, match=message):
        class_set.make_class_set(target, classes, positive)


def test_a_set_of_classes_is_described():
    classes = ClassSet(("NV", "MEL", "BCC"), ("MEL", "BCC"))
    assert (classes.num_outputs, classes.places, classes.is_softmax) == (3, (1, 2), True)
    assert (class_set.BINARY.num_outputs, class_set.BINARY.places, class_set.BINARY.is_softmax) == (1, (0,), False)
    assert class_set.BINARY.facts("binary") == {}
    facts = {"classes": ("NV", "MEL", "BCC"), "positive_classes": ("MEL", "BCC"), "multi_label": False}
    assert classes.facts() == facts
    assert classes.facts("column:dx") == {**facts, "target": "column:dx"}
    assert classes.choose("bcc").places == (2,)
    with pytest.raises(ValueError, match="one of the classes of the run .NV, MEL, BCC., got 'SCC'; name another"):
        classes.choose("SCC")

import pytest

from isic_tf.evaluation.number_format import HTML, TEXT


@pytest.mark.parametrize(
    ("formatted", "expected"),
    [
        (HTML.number(-0.12345), "\N{MINUS SIGN}0.123"),
        (HTML.number(0.5, 1), "0.5"),
        (HTML.number(None), "\N{EN DASH}"),
        (HTML.significant(0.00012345), "0.000123"),
        (HTML.significant(None), "\N{EN DASH}"),
        (HTML.threshold(1.2345678e-5), "1.23456e\N{MINUS SIGN}05"),
        (HTML.threshold(None), "\N{EN DASH}"),
        (HTML.percent(0.9876), "98.8\N{NO-BREAK SPACE}%"),
        (HTML.percent(None), "\N{EN DASH}"),
        (HTML.count(32691), "32,691"),
        (HTML.interval(0.1, 0.25, 2), "0.10 to 0.25"),
        (HTML.interval(-0.1, 0.25), "\N{MINUS SIGN}0.100 to 0.250"),
        (HTML.interval(None, None), ""),
    ],
)
def test_numbers_of_a_page(formatted, expected):
    assert formatted == expected


@pytest.mark.parametrize(
    ("formatted", "expected"),
    [
        (TEXT.number(-0.12345), "-0.1235"),
        (TEXT.number(None), "-"),
        (TEXT.significant(0.0312, 2), "0.031"),
        (TEXT.significant(None, 2), "-"),
        (TEXT.threshold(1.2345678e-5), "1.23456e-05"),
        (TEXT.threshold(None), "-"),
        (TEXT.percent(0.715, 0), "72 %"),
        (TEXT.percent(None, 0), "-"),
        (TEXT.interval(-0.1, 0.25), "[-0.1000, 0.2500]"),
        (TEXT.interval(None, None), "-"),
    ],
)
def test_numbers_of_plain_text(formatted, expected):
    assert formatted == expected

import jinja2
import pytest

from isic_tf.evaluation import report_template


@pytest.fixture
def render(monkeypatch):
    """A function that fills the text of a template with values."""

    def fill(text, **values):
        loader = jinja2.DictLoader({"page.html.j2": text})
        monkeypatch.setattr(report_template.jinja2, "PackageLoader", lambda package: loader)
        return report_template.render("page.html.j2", values)

    return fill


def test_every_value_is_escaped(render):
    found = render('<p title="{{ value }}">{{ value }}</p>', value='"><script>')
    assert found == '<p title="&#34;&gt;&lt;script&gt;">&#34;&gt;&lt;script&gt;</p>'


def test_a_value_that_is_missing_is_an_error(render):
    with pytest.raises(jinja2.UndefinedError, match="'auc' is undefined"):
        render("{{ auc }}", AUC=1.0)
    with pytest.raises(jinja2.UndefinedError, match="no attribute 'high'"):
        render("{{ summary.high }}", summary={"low": 0.1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ value | number }}", "0.123"),
        ("{{ (-value) | number(1) }}", "\N{MINUS SIGN}0.1"),
        ("{{ (value / 100) | significant }}", "0.00123"),
        ("{{ value | percent }}", "12.3\N{NO-BREAK SPACE}%"),
        ("{{ 12345 | grouped }}", "12,345"),
        ("{{ none | number }}, {{ none | percent }}, {{ none | threshold }}", "\N{EN DASH}, \N{EN DASH}, \N{EN DASH}"),
        ("{{ interval(0.1, value) }}", "0.100 to 0.123"),
        ("{{ interval(none, none) }}", ""),
    ],
)
def test_numbers_are_written_as_in_the_report(render, text, expected):
    assert render(text, value=0.1234) == expected


def test_lines_of_statements_leave_no_blank_lines(render):
    text = "<ul>\n  {% for value in values %}\n  <li>{{ value }}</li>\n  {% endfor %}\n</ul>"
    assert render(text, values=[1, 2]) == "<ul>\n  <li>1</li>\n  <li>2</li>\n</ul>"


def test_an_unknown_template_is_an_error():
    with pytest.raises(jinja2.TemplateNotFound, match="none.html.j2"):
        report_template.render("none.html.j2", {})

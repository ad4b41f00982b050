"""Fills the templates of reports; every value of the data is escaped."""

from collections.abc import Mapping
from typing import Any

import jinja2

from isic_tf.evaluation import number_format, svg_plots


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fills a template.

    Args:
        template: File name in `templates/`.
        context: Values by name; a name that the template uses and the context lacks is an error.

    Returns:
        HTML in which every value is escaped.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("isic_tf.evaluation"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    numbers = number_format.HTML
    environment.filters.update(
        number=numbers.number,
        significant=numbers.significant,
        threshold=numbers.threshold,
        percent=numbers.percent,
        grouped=numbers.count,
    )
    environment.globals.update(interval=numbers.interval, span=svg_plots.span, frame=svg_plots)
    return environment.get_template(template).render(context)

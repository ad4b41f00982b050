"""Fills the templates of reports; every value of the data is escaped."""

from collections.abc import Mapping
from typing import Any

import jinja2

from isic_tf.evaluation import number_format, svg_plots
from isic_tf.metrics import cluster_bootstrap


def render(template: str, context: Mapping[str, Any]) -> str:
    """Fills a template.

    Args:
        template: File name in `templates/`.
        context: Values by name; a name that the template uses and the context lacks is an error.

    Returns:
        HTML in which every value is escaped.
    """
    environment = make_environment("isic_tf.evaluation")
    numbers = number_format.HTML
    environment.filters.update(
        number=numbers.number,
        significant=numbers.significant,
        threshold=numbers.threshold,
        percent=numbers.percent,
        grouped=numbers.count,
    )
    environment.globals.update(
        interval=numbers.interval, span=svg_plots.span, frame=svg_plots, min_patients=cluster_bootstrap.MIN_PATIENTS
    )
    return environment.get_template(template).render(context)


def make_environment(package: str, **options: Any) -> jinja2.Environment:
    """Makes the environment of a package's templates, in which an undefined name is an error.

    Args:
        package: Package with a directory `templates/`.
        options: Further arguments of `jinja2.Environment`.

    Returns:
        `jinja2.Environment`.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        **options,
    )

"""Formats numbers, intervals and thresholds, for plain text and for HTML."""

import dataclasses

from isic_tf.metrics import operating_points


@dataclasses.dataclass(frozen=True)
class NumberFormat:
    """Format of the numbers in one kind of document."""

    digits: int  # decimals of a number, unless given
    missing: str  # in place of a number that does not exist
    minus: str
    space: str  # before a percent sign
    interval_pattern: str  # of `low` and `high`
    missing_interval: str

    def number(self, value: float | None, digits: int | None = None) -> str:
        """Formats a number with a fixed number of decimals."""
        return self._write(value, f".{self.digits if digits is None else digits}f")

    def significant(self, value: float | None, digits: int = 3) -> str:
        """Formats a number, such as a small probability, with a number of significant digits."""
        return self._write(value, f".{digits}g")

    def threshold(self, value: float | None) -> str:
        """Formats a threshold so that it can be used as printed; see `operating_points.spell`."""
        return self.missing if value is None else self._signed(operating_points.spell(value))

    def percent(self, value: float | None, digits: int = 1) -> str:
        """Formats a fraction, from 0 to 1, as percent."""
        return self.missing if value is None else f"{100 * value:.{digits}f}{self.space}%"

    def count(self, value: int) -> str:
        """Formats a count with commas between thousands."""
        return f"{value:,}"

    def interval(self, low: float | None, high: float | None, digits: int | None = None) -> str:
        """Formats an interval; both ends are None where there is none."""
        if low is None:
            return self.missing_interval
        return self.interval_pattern.format(low=self.number(low, digits), high=self.number(high, digits))

    def _write(self, value: float | None, pattern: str) -> str:
        return self.missing if value is None else self._signed(format(value, pattern))

    def _signed(self, text: str) -> str:
        return text.replace("-", self.minus)


TEXT = NumberFormat(
    digits=4,
    missing="-",
    minus="-",
    space=" ",
    interval_pattern="[{low}, {high}]",
    missing_interval="-",
)
HTML = NumberFormat(
    digits=3,
    missing="\N{EN DASH}",
    minus="\N{MINUS SIGN}",
    space="\N{NO-BREAK SPACE}",
    interval_pattern="{low} to {high}",
    missing_interval="",
)

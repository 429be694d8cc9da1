"""What counts as bad: a value on the bad side of a line drawn before the search begins.

Invariant: pure; `is_bad` is a function of the value alone, so probes can be made in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

from aq.formats.errors import No, UsageError


@dataclass(frozen=True, slots=True)
class Rule:
    """How the user wants bad to be understood; all None and False: by the endpoints."""

    worse_by: float | None = None
    above: float | None = None
    below: float | None = None
    either: bool = False

    def __post_init__(self) -> None:
        given = [self.worse_by is not None, self.above is not None, self.below is not None, self.either]
        if sum(given) > 1:
            raise UsageError("--worse-by, --above, --below and --either exclude one another")
        if self.worse_by is not None and self.worse_by <= 0:
            raise UsageError("--worse-by takes a positive number")

    def fixed(self) -> bool:
        """Whether bad is given by a number rather than by the endpoints."""
        return self.above is not None or self.below is not None


@dataclass(frozen=True, slots=True)
class Judge:
    """Bad is a value above (or below) `line`; a NaN (None) is bad where `nan_is_bad`."""

    line: float
    bad_above: bool
    inclusive: bool = False
    nan_is_bad: bool = False

    def is_bad(self, value: float | None) -> bool:
        """Whether the value lies on the bad side."""
        if value is None:
            return self.nan_is_bad
        if self.inclusive and value == self.line:
            return True
        return value > self.line if self.bad_above else value < self.line


def fixed_judge(rule: Rule) -> Judge:
    """The judge that `above` or `below` asks for."""
    if rule.above is not None:
        return Judge(rule.above, bad_above=True)
    assert rule.below is not None
    return Judge(rule.below, bad_above=False)


def by_endpoints(rule: Rule, good: float | None, bad: float | None) -> Judge:
    """The judge for a range whose ends have these values. Raises No where they cannot be told apart."""
    if rule.fixed():
        return _checked(fixed_judge(rule), good, bad)
    if good is None:
        raise No("the good end has no value (NaN): nothing to compare with", hint="aq metrics")
    if bad is None:
        return Judge(float("inf"), bad_above=True, nan_is_bad=True)
    if good == bad:
        raise No(f"both ends have the same value, {good:g}: there is no change to find", hint="aq metrics")
    if rule.worse_by is not None:
        if abs(bad - good) < rule.worse_by:
            raise No(f"the ends differ by {abs(bad - good):g} only, less than {rule.worse_by:g}")
        line = good + rule.worse_by if bad > good else good - rule.worse_by
        return Judge(line, bad_above=bad > good, inclusive=True)
    return Judge((good + bad) / 2, bad_above=bad > good)


def _checked(judge: Judge, good: float | None, bad: float | None) -> Judge:
    if judge.is_bad(good):
        raise No(f"the good end is bad already: {_show(good)}", hint="aq metrics")
    if not judge.is_bad(bad):
        raise No(f"the bad end is not bad: {_show(bad)}", hint="aq metrics")
    return judge


def _show(value: float | None) -> str:
    return "NaN" if value is None else f"{value:g}"

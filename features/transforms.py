"""The formula language of the catalogue: causal transforms over the rows of one vintage.

A formula is a pipeline such as ``each: growth(1) | corr(60) | z(750, 250)`` over aligned inputs, a matrix with one
column per input and one row per period. Every stage is causal: row i of the result depends on rows up to i only, which
is what lets one evaluation serve all decision dates of an unrevised history. Units of a window are rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DefinitionError

_STAGE = re.compile(r"^(each:\s*)?([a-z_]+)(?:\(([^()]*)\))?$")
_BLOCK = 1 << 16
_ROUNDING = 1e-12
"""A window whose range is this small beside its values holds one number and the rounding of sums."""


def _shifted(x: FloatArray, n: int) -> FloatArray:
    out = np.full_like(x, np.nan)
    if n < len(x):
        out[n:] = x[: len(x) - n]
    return out


def _windows(x: FloatArray, n: int) -> FloatArray:
    """Return trailing windows, shape (len, n), the first n - 1 rows missing."""
    if len(x) == 0:
        return np.empty((0, n))
    padded = np.concatenate([np.full(n - 1, np.nan), x])
    return sliding_window_view(padded, n)


def _blocks(m: int, n: int) -> Iterator[slice]:
    """Cut m windows of n rows into blocks that a processor's cache holds."""
    size = max(_BLOCK // n, 1)
    return (slice(start, start + size) for start in range(0, m, size))


def _flat(windows: FloatArray) -> BoolArray:
    """Whether a window (last axis) does not move, missing rows left out: then it has no scale."""
    high, low = np.fmax.reduce(windows, axis=-1), np.fmin.reduce(windows, axis=-1)
    return np.asarray(high - low <= _ROUNDING * np.maximum(np.abs(high), np.abs(low)))


def log(x: FloatArray) -> FloatArray:
    """Natural logarithm; missing where x <= 0."""
    return np.log(np.where(x > 0, x, np.nan))


def change(x: FloatArray, n: float) -> FloatArray:
    """Return x_t - x_{t-n}."""
    return x - _shifted(x, int(n))


def growth(x: FloatArray, n: float) -> FloatArray:
    """Return ln x_t - ln x_{t-n}."""
    return change(log(x), n)


def lag(x: FloatArray, n: float) -> FloatArray:
    """Return x_{t-n}."""
    return _shifted(x, int(n))


def neg(x: FloatArray) -> FloatArray:
    """Return -x."""
    return -x


def mean(x: FloatArray, n: float) -> FloatArray:
    """Mean of the last n rows."""
    return np.asarray(_windows(x, int(n)).mean(axis=1))


def total(x: FloatArray, n: float) -> FloatArray:
    """Sum of the last n rows."""
    return np.asarray(_windows(x, int(n)).sum(axis=1))


def std(x: FloatArray, n: float) -> FloatArray:
    """Sample standard deviation of the last n rows."""
    windows = _windows(x, int(n))
    spread: FloatArray = windows.std(axis=1, ddof=1)
    spread[_flat(windows) & np.isfinite(spread)] = 0.0
    return spread


def gap(x: FloatArray, n: float) -> FloatArray:
    """Return x minus the mean of its last n rows."""
    return x - mean(x, n)


def drawdown(x: FloatArray, n: float) -> FloatArray:
    """Return x minus its maximum over the last n rows."""
    return np.asarray(x - _windows(x, int(n)).max(axis=1))


def clip(x: FloatArray, low: float, high: float) -> FloatArray:
    """Limit x to [low, high]."""
    return np.clip(x, low, high)


def _partial(x: FloatArray, n: int, least: int, rows: IntArray) -> FloatArray:
    """Trailing windows of some rows in which leading missing rows are allowed as long as `least` rows are present."""
    windows = _windows(x, n)[rows]
    enough = np.isfinite(windows).sum(axis=1) >= least
    windows[~(enough & np.isfinite(x[rows]))] = np.nan
    return windows


def z(x: FloatArray, n: float, least: float, rows: IntArray) -> FloatArray:
    """Return (x - mean) / standard deviation over the last n rows, from `least` on; missing where x stood still."""
    out = np.full(len(rows), np.nan)
    for part in _blocks(len(rows), int(n)):
        windows = _partial(x, int(n), int(least), rows[part])
        missing = np.isnan(windows)
        usable = ~missing.all(axis=1) & ~_flat(windows)
        windows, missing = windows[usable], missing[usable]
        count = int(n) - missing.sum(axis=1)
        np.copyto(windows, 0.0, where=missing)
        centre = windows.sum(axis=1) / count
        windows -= centre[:, None]
        np.copyto(windows, 0.0, where=missing)
        spread = np.sqrt(np.square(windows, out=windows).sum(axis=1) / (count - 1))
        out[part][usable] = (x[rows[part]][usable] - centre) / spread
    return out


def rank(x: FloatArray, n: float, least: float, rows: IntArray) -> FloatArray:
    """Share of the last n rows that lie below x, ties counted half; in [0, 1]."""
    windows, own = _partial(x, int(n), int(least), rows), x[rows, None]
    below = (windows < own).sum(axis=1) + 0.5 * (windows == own).sum(axis=1)
    counts = np.isfinite(windows).sum(axis=1)
    return np.where(counts > 0, below / np.maximum(counts, 1), np.nan)


def ema(x: FloatArray, halflife: float) -> FloatArray:
    """Exponential mean with the given halflife in rows, weights normalised (adjusted)."""
    decay = 0.5 ** (1.0 / halflife)
    out = np.full(len(x), np.nan)
    numerator = weight = 0.0
    for row in np.flatnonzero(np.isfinite(x)):
        numerator = numerator * decay + x[row]
        weight = weight * decay + 1.0
        out[row] = numerator / weight
    return out


def autocorr(x: FloatArray, n: float) -> FloatArray:
    """First-order autocorrelation over the last n rows."""
    return corr(np.column_stack([x, _shifted(x, 1)]), n, np.arange(len(x)))


def diff(x: FloatArray) -> FloatArray:
    """Return a - b."""
    return x[:, 0] - x[:, 1]


def ratio(x: FloatArray) -> FloatArray:
    """Return a / b; missing where b is 0."""
    return x[:, 0] / np.where(x[:, 1] != 0, x[:, 1], np.nan)


def log_ratio(x: FloatArray) -> FloatArray:
    """Return ln a - ln b."""
    return log(x[:, 0]) - log(x[:, 1])


def share(x: FloatArray) -> FloatArray:
    """Return a / (a + b)."""
    whole = x[:, 0] + x[:, 1]
    return x[:, 0] / np.where(whole != 0, whole, np.nan)


def sum_(x: FloatArray) -> FloatArray:
    """Sum of the inputs."""
    return np.asarray(x.sum(axis=1))


def average(x: FloatArray) -> FloatArray:
    """Mean of the inputs."""
    return np.asarray(x.mean(axis=1))


def corr(x: FloatArray, n: float, rows: IntArray) -> FloatArray:
    """Correlation of the first two inputs over the last n rows."""
    return mean_corr(x[:, :2], n, rows)


def mean_corr(x: FloatArray, n: float, rows: IntArray) -> FloatArray:
    """Average pairwise correlation of the inputs over the last n rows."""
    n = int(n)
    k = x.shape[1]
    windows = np.stack([_windows(x[:, column], n)[rows] for column in range(k)], axis=1)
    scaled = windows - windows.mean(axis=2, keepdims=True)
    norm = np.sqrt((scaled**2).sum(axis=2, keepdims=True))
    scaled = scaled / np.where(_flat(windows)[:, :, None], np.nan, norm)
    # The sum of all pairwise correlations is the squared length of the sum of the unit vectors, less k.
    return np.asarray(((scaled.sum(axis=1) ** 2).sum(axis=1) - k) / (k * (k - 1)))


def residual(x: FloatArray, n: float, least: float, rows: IntArray) -> FloatArray:
    """Last residual of the regression of the first input on a constant and the second over the last n rows."""
    n, least = int(n), int(least)
    y, u = x[:, 0], x[:, 1]
    both = np.isfinite(y) & np.isfinite(u)
    y_windows = _partial(np.where(both, y, np.nan), n, least, rows)
    u_windows = _partial(np.where(both, u, np.nan), n, least, rows)
    usable = np.isfinite(y_windows).any(axis=1) & ~_flat(u_windows)
    out = np.full(len(rows), np.nan)
    y_used, u_used = y_windows[usable], u_windows[usable]
    y_mean, u_mean = np.nanmean(y_used, axis=1), np.nanmean(u_used, axis=1)
    du = u_used - u_mean[:, None]
    variance = np.nansum(du**2, axis=1)
    slope = np.nansum(du * (y_used - y_mean[:, None]), axis=1) / variance
    chosen = rows[usable]
    out[usable] = y[chosen] - y_mean - slope * (u[chosen] - u_mean)
    return out


Argument = Literal["lag", "rows", "sample", "least", "halflife", "low", "high"]
"""What an argument means: a lag or window of at least one row, a window of at least two, the fewest rows of the window
before it that must be present, a halflife in rows, a bound."""

_JOIN: dict[str, tuple[Callable[..., FloatArray], tuple[Argument, ...]]] = {
    "diff": (diff, ()),
    "ratio": (ratio, ()),
    "log_ratio": (log_ratio, ()),
    "share": (share, ()),
    "sum": (sum_, ()),
    "average": (average, ()),
    "corr": (corr, ("sample",)),
    "mean_corr": (mean_corr, ("sample",)),
    "residual": (residual, ("sample", "least")),
}
_BY_ROW = ("z", "rank", "corr", "mean_corr", "residual")
"""Stages that look at a window for each row and are told which rows: most inputs are daily, decisions weekly."""
_ANY_NUMBER = ("sum", "average", "mean_corr")
"""Stages that join two inputs or more; the others join exactly two."""
_UNARY: dict[str, tuple[Callable[..., FloatArray], tuple[Argument, ...]]] = {
    "log": (log, ()),
    "neg": (neg, ()),
    "change": (change, ("lag",)),
    "growth": (growth, ("lag",)),
    "lag": (lag, ("lag",)),
    "mean": (mean, ("rows",)),
    "total": (total, ("rows",)),
    "std": (std, ("sample",)),
    "gap": (gap, ("rows",)),
    "drawdown": (drawdown, ("rows",)),
    "autocorr": (autocorr, ("sample",)),
    "ema": (ema, ("halflife",)),
    "clip": (clip, ("low", "high")),
    "z": (z, ("sample", "least")),
    "rank": (rank, ("sample", "least")),
}


@dataclass(frozen=True)
class Stage:
    """One step of a formula."""

    name: str
    arguments: tuple[float, ...]
    each: bool


@lru_cache(maxsize=1024)
def parse_formula(formula: str, inputs: int) -> tuple[Stage, ...]:
    """Parse and check a formula for a number of inputs.

    Raises
    ------
    DefinitionError
        If a stage is unknown, has the wrong number of inputs or arguments, an argument makes no sense (a lag below one
        row would read the future), or the formula does not end in one column.
    """
    stages = []
    width = inputs
    for text in formula.split("|"):
        match = _STAGE.match(text.strip())
        if match is None:
            raise DefinitionError(f"formula {formula!r}: cannot read the stage {text.strip()!r}")
        each, name, raw = bool(match[1]), match[2], match[3]
        try:
            arguments = tuple(float(part) for part in raw.split(",")) if raw else ()
        except ValueError as error:
            raise DefinitionError(f"formula {formula!r}: arguments of {name} must be numbers; got {raw!r}") from error
        table = _JOIN if width > 1 and not each else _UNARY
        if name not in table:
            kind = "joins several inputs" if table is _JOIN else "takes one input"
            raise DefinitionError(f"formula {formula!r}: {name!r} is no stage that {kind}; known: {', '.join(table)}")
        kinds = table[name][1]
        if len(arguments) != len(kinds):
            raise DefinitionError(f"formula {formula!r}: {name} takes {len(kinds)} argument(s); got {len(arguments)}")
        if table is _JOIN and name not in _ANY_NUMBER and width != 2:
            raise DefinitionError(f"formula {formula!r}: {name} joins two inputs; got {width}")
        for position, kind in enumerate(kinds):
            wrong = _complaint(kind, arguments, position)
            if wrong:
                raise DefinitionError(f"formula {formula!r}: argument {position + 1} of {name} must be {wrong}")
        width = width if each else 1
        stages.append(Stage(name, arguments, each))
    if width != 1:
        raise DefinitionError(f"formula {formula!r}: {inputs} inputs are never joined")
    return tuple(stages)


def _complaint(kind: Argument, arguments: tuple[float, ...], position: int) -> str | None:
    """Return what an argument should have been, or None if it is right."""
    value, before = arguments[position], arguments[position - 1] if position else 0.0
    if kind in ("lag", "rows", "sample", "least"):
        fewest = 1 if kind in ("lag", "rows") else 2
        if not (value.is_integer() and value >= fewest):
            return f"a whole number of at least {fewest} row(s); got {value:g}"
        if kind == "least" and value > before:
            return f"at most the window of {before:g} rows; got {value:g}"
    elif kind == "halflife":
        if not (math.isfinite(value) and value > 0):
            return f"a positive number of rows; got {value:g}"
    elif not math.isfinite(value) or (kind == "high" and value <= before):
        return f"a finite bound above {before:g}; got {value:g}" if kind == "high" else f"a finite bound; got {value:g}"
    return None


def evaluate(stages: tuple[Stage, ...], x: FloatArray, rows: IntArray | None = None) -> FloatArray:
    """Apply a formula to aligned inputs.

    Parameters
    ----------
    stages : tuple of Stage
    x : array, shape (n, k)
        One column per input, rows ascending in time.
    rows : array of int, shape (m,), optional
        Rows of the result that are wanted; all by default.

    Returns
    -------
    array, shape (m,)
        Missing until a window is full. Information set: row i uses rows up to i.
    """
    every = np.arange(len(x))
    wanted = every if rows is None else rows
    for place, stage in enumerate(stages):
        last = place == len(stages) - 1
        by_row = stage.name in _BY_ROW
        arguments: tuple[Any, ...] = (*stage.arguments, wanted if last else every) if by_row else stage.arguments
        if stage.each or x.shape[1] == 1:
            function = _UNARY[stage.name][0]
            x = np.column_stack([function(x[:, column], *arguments) for column in range(x.shape[1])])
        else:
            x = _JOIN[stage.name][0](x, *arguments)[:, None]
        if last and not by_row:
            x = x[wanted]
    return x[:, 0]

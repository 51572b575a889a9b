"""The forecast object: one week's call on every pair of a market, ready for JSON, the terminal and the note."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np

from features.contracts import Event, Style, Validity
from models.validity import Reason

AbsentKind = Literal["not_in_data", "ended", "stale", "too_short"]


@dataclass(frozen=True)
class Driver:
    """What one feature adds to one probability.

    `percentile` places the value in its own past (0 to 1); `log_odds` is the contribution, `points` the same in
    probability points; `known_at` (UTC) is when the newest input became known; `vintage` says whether past values are
    real vintages.
    """

    feature: str
    family: str
    why: str
    unit: str
    value: float | None
    percentile: float | None
    known_at: datetime | None
    vintage: str
    log_odds: float
    points: float


@dataclass(frozen=True)
class HeadForecast:
    """One event's probability with its base rate, 80% band and drivers.

    `base_log_odds` plus all drivers' `log_odds` equals `log_odds`; `families` sums the drivers by family. The pseudo
    families ``intercept``, ``calibration`` and ``coherence`` hold what no feature explains.
    """

    event: Event
    probability: float | None
    base: float
    lo: float | None
    hi: float | None
    base_log_odds: float
    log_odds: float | None
    drivers: tuple[Driver, ...]
    families: dict[str, float]


@dataclass(frozen=True)
class TailDetail:
    """How a tail came about: the same numbers before the level correction and before the tilt.

    `level_lower` and `level_upper` are the levels at which the 5% tail is read after the correction; `uncorrected`
    reads the tilted paths at 5% and 2.5%, `untilted` the equally weighted ones; `residual` is what the tilt left of
    each event's probability, `effective_size` the effective number of paths of the whole set.
    """

    level_lower: float
    level_upper: float
    uncorrected: dict[str, float]
    untilted: dict[str, float]
    residual: dict[Event, float | None]
    effective_size: float


@dataclass(frozen=True)
class PairForecast:
    """The forecast of one pair at one horizon; `tail` holds VaR and ES as log returns of small minus large."""

    pair: str
    large: str
    small: str
    horizon_weeks: int
    decision_date: date
    entry_date: date
    exit_date: date
    style_in_force: Style
    style_since: date
    sigma: float
    heads: dict[Event, HeadForecast]
    tail: dict[str, float] | None
    tail_detail: TailDetail | None
    validity: Validity
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class StyleHistory:
    """Relative strength of a pair on decision closes, with the causal style of each week.

    `line` is exp(x - x_first): small over large, 1 at the start. `adverse_moves` counts past episodes of a move of at
    least one sigma against the style in force within four weeks (weeks that overlap count once), `followed_by_flip` how
    many of them saw the state flip within thirteen weeks.
    """

    pair: str
    dates: tuple[date, ...]
    line: tuple[float, ...]
    style: tuple[Style, ...]
    adverse_moves: int
    followed_by_flip: int


@dataclass(frozen=True)
class Fan:
    """Where small minus large may go from entry on: quantiles of the log return after each session.

    `tilted` has one row a session, beginning with the entry itself, at 5, 25, 50, 75 and 95%, off the weighted paths;
    `untilted` has 5 and 95% off the equally weighted ones.
    """

    pair: str
    sessions: tuple[date, ...]
    tilted: tuple[tuple[float, ...], ...]
    untilted: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LeverageRow:
    """A levered neutral book at one leverage and horizon; losses are negative fractions of its equity at entry.

    `level` is the corrected level that stands for 5%, `raw_` marks what is read at 5% and 2.5% themselves.
    """

    leverage: float
    horizon_weeks: int
    level: float
    var_95: float
    es_95: float
    var_975: float
    es_975: float
    raw_var_95: float
    raw_es_95: float
    raw_var_975: float
    raw_es_975: float
    p_margin_call: float
    share_force_sold: float
    p_wipe_out: float


@dataclass(frozen=True)
class LeverageView:
    """A neutral book long one segment and short futures on another, on margin, off the same weighted paths.

    `discount` is the yearly cost of the short futures, a fraction (None: not known, counted as nothing); `p_loss` is
    the probability that the book at `told_leverage` loses more than `told_loss` of its equity within `told_weeks`.
    """

    long: str
    hedge: str
    long_name: tuple[str, str]
    hedge_name: tuple[str, str]
    financing: float
    discount: float | None
    maintenance: float
    rows: tuple[LeverageRow, ...]
    told_leverage: float
    told_weeks: int
    told_loss: float
    p_loss: float


@dataclass(frozen=True)
class AbsentInput:
    """One reason why a feature has no value.

    Of `series` nothing is known (``not_in_data``), it died on `day` (``ended``), or its newest value, of `day`, is too
    old (``stale``); ``too_short`` blames no single series: the history is too short or the inputs share no date.
    """

    kind: AbsentKind
    series: str | None = None
    day: date | None = None


@dataclass(frozen=True)
class NextRelease:
    """A publication expected before the next decisions; the date comes from the series' rule, never from later rows."""

    series: str
    family: str
    period: date
    expected: date
    estimated: bool


@dataclass(frozen=True)
class Forecast:
    """One market, one decision day, all pairs and horizons; `absent` says of each missing feature why."""

    market: str
    title: str
    title_zh: str
    simulated: bool
    decision_date: date
    decision_at: datetime
    headline: str
    pair_names: dict[str, tuple[str, str]]
    pairs: tuple[PairForecast, ...]
    history: StyleHistory
    fan: Fan | None
    leverage: LeverageView | None
    absent: dict[str, tuple[AbsentInput, ...]]
    next_releases: tuple[NextRelease, ...]
    bundle_cut: date
    snapshot_id: str
    config_hash: str
    code_version: str

    def pair(self, name: str, horizon_weeks: int) -> PairForecast:
        """Return the forecast of one pair and horizon."""
        return next(row for row in self.pairs if row.pair == name and row.horizon_weeks == horizon_weeks)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types; dates as ISO text, times with their zone."""
        plain = _plain(asdict(self))
        assert isinstance(plain, dict)  # noqa: S101
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value

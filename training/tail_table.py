"""One table of tail scores: every model, pair, horizon, level and side, with its backtests, losses and timing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import pandas as pd

from features.contracts import TAIL_COLUMNS, Dataset, FloatArray
from features.errors import DataContractError
from models.curve import GRID, QUANTILE_COLUMNS
from training.score_tables import POOLED
from training.tail_backtests import TailPanel, backtests, powers
from training.tail_rivals import YARDSTICK
from training.tail_scores import crps, fz0, loss_difference, pinball, quantile_weights
from training.tail_timing import BAD_MONTH, PAST_WEEKS, auc, auc_null, causal_alerts, overshoot, spells

Side = Literal["lower", "upper"]
LEVELS: dict[float, str] = {0.05: "95", 0.025: "975"}
SIDES: tuple[Side, ...] = ("lower", "upper")
TIMING_WEEKS = 4
_INDEX = ["pair", "decision_date", "horizon_weeks"]
_Panels = dict[str, FloatArray]


def tail_table(
    dataset: Dataset,
    tails: Mapping[str, pd.DataFrame],
    *,
    since: np.datetime64 | None = None,
    until: np.datetime64 | None = None,
    yardstick: str = YARDSTICK,
    instrument: pd.Series | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> pd.DataFrame:
    """Score tail forecasts.

    Parameters
    ----------
    dataset : Dataset
        Of which outcomes, decision times and weeks are read.
    tails : mapping of str to pandas.DataFrame, indexed by (pair, decision_date, horizon_weeks)
        For each model `TAIL_COLUMNS`, in log returns.
    since, until : datetime64, optional
        First and last decision that is scored. Alerts and the worst loss so far also see the decisions before `since`.
    yardstick : str
        The model whose FZ0 loss the others are compared with, on the rows that both forecast.
    instrument : pandas.Series, indexed by (pair, decision_date), optional
        Known at the decision; enters the dynamic quantile test of pairs that have it in every scored week.
    progress : callable
        Told (stage, done, total).

    Returns
    -------
    pandas.DataFrame
        `model, pair` ("pooled" for all), `horizon_weeks, level, side`; `n` rows with forecast and outcome, `n_missing`
        with an outcome only, `breaches, breach_rate`; for each test `p_<test>`, for four weeks also
        `p_<test>_phases`, and `power_<test>`; mean losses `pinball, fz0`, and `fz0_difference` (mean loss less the
        yardstick's) with its 90% interval `fz0_low, fz0_high`. On the rows of four weeks, 5%, lower side also the
        timing: `n_bad` weeks with a spread below -5% and `bad_spells` of them, `auc` with the 90% range
        `auc_low, auc_high` of a score that knows nothing, `alert_share` of weeks, `alerts_a_year` (spells),
        `n_bad_alertable` bad weeks with 104 forecasts before them and the share `caught` of these, and `overshoot`. On
        the rows of 5%, lower side, of models with `QUANTILE_COLUMNS`: `crps` and, below minus one sigma sqrt(h) as
        known at the decision, `crps_tail`, each with `_difference, _low, _high` as for FZ0.
        What does not exist is missing.

    Raises
    ------
    DataContractError
        If a frame lacks a column, repeats a key, or the yardstick is not among the models.

    Information set: matured outcomes; of alerts and of the worst loss so far, what was known at each decision.
    """
    if yardstick not in tails:
        raise DataContractError(f"`yardstick` must be one of {', '.join(tails)}; got {yardstick!r}")
    for name, frame in tails.items():
        _check(name, frame)
    rows: list[dict[str, object]] = []
    cells = list(_cells(dataset, tails[yardstick]))
    for done, (pair, pairs, horizon) in enumerate(cells, start=1):
        weeks = _weeks(dataset, tails, pairs, horizon, until)
        scored = weeks if since is None else weeks[weeks.to_numpy("datetime64[us]") >= since]
        correlation = _correlation(dataset, pairs, until)
        y = _panel(dataset.outcomes["spread_realised"], pairs, weeks, horizon)
        extra = None if instrument is None else _instrument(instrument, pairs, scored)
        tail_columns = {name: _panels(frame, pairs, weeks, horizon) for name, frame in tails.items()}
        quantiles = {name: _quantiles(frame, pairs, scored, horizon) for name, frame in tails.items()}
        sigma = dataset.rows["sigma"].unstack("pair").reindex(index=scored, columns=pairs)  # noqa: PD010
        edge = -sigma.to_numpy(np.float64) * np.sqrt(horizon)
        late = len(weeks) - len(scored)
        for model, columns in tail_columns.items():
            for level, text in LEVELS.items():
                for side in SIDES:
                    turn, end = (1.0, text) if side == "lower" else (-1.0, f"{text}_up")
                    panel, base = (
                        TailPanel(
                            turn * y[late:], turn * some[f"var_{end}"][late:], turn * some[f"es_{end}"][late:], level,
                            horizon, correlation, extra,
                        )
                        for some in (columns, tail_columns[yardstick])
                    )  # fmt: skip
                    key = {"model": model, "pair": pair, "horizon_weeks": horizon, "level": level, "side": side}
                    row = {**key, **_losses(panel, base, scored), **_tests(panel)}
                    if (level, side) == (0.05, "lower"):
                        row |= _distribution(quantiles[model], quantiles[yardstick], y[late:], edge, scored)
                    if (horizon, level, side) == (TIMING_WEEKS, 0.05, "lower"):
                        row |= _timing(dataset, columns["es_95"], y, pairs, weeks, late)
                    rows.append(row)
        progress("tail table", done, len(cells))
    table = pd.DataFrame(rows)
    order = pd.Categorical(table["model"], list(tails))
    return table.iloc[np.argsort(order.codes, kind="stable")].reset_index(drop=True)


def _cells(dataset: Dataset, frame: pd.DataFrame) -> Iterator[tuple[str, list[str], int]]:
    """Yield the name, pairs and horizon of every group that is scored."""
    known = set(frame.index.get_level_values("pair"))
    pairs = [info.name for info in dataset.pairs if info.name in known]
    for horizon in sorted(set(frame.index.get_level_values("horizon_weeks"))):
        if len(pairs) > 1:
            yield POOLED, pairs, int(horizon)
        for pair in pairs:
            yield pair, [pair], int(horizon)


def _weeks(
    dataset: Dataset, tails: Mapping[str, pd.DataFrame], pairs: list[str], horizon: int, until: np.datetime64 | None
) -> pd.DatetimeIndex:
    """Return the decisions from the first forecast of any of the pairs to the last, without gaps."""
    first, last = [], []
    for frame in tails.values():
        mine = frame.index.get_level_values("pair").isin(pairs)
        mine &= frame.index.get_level_values("horizon_weeks") == horizon
        if mine.any():
            dates = frame.index.get_level_values("decision_date")[mine]
            first.append(dates.min())
            last.append(dates.max())
    end = max(last) if until is None else min(max(last), pd.Timestamp(until))
    clock = pd.DatetimeIndex(dataset.clock.index)
    return pd.DatetimeIndex(clock[(clock >= min(first)) & (clock <= end)])


def _panel(values: pd.Series, pairs: list[str], weeks: pd.DatetimeIndex, horizon: int) -> FloatArray:
    """Return one column of a long frame as weeks by pairs."""
    some = values.xs(horizon, level="horizon_weeks").unstack("pair")  # noqa: PD010
    panel: FloatArray = some.reindex(index=weeks, columns=pairs).to_numpy(np.float64)
    return panel


def _panels(frame: pd.DataFrame, pairs: list[str], weeks: pd.DatetimeIndex, horizon: int) -> _Panels:
    return {name: _panel(frame[name], pairs, weeks, horizon) for name in TAIL_COLUMNS}


def _quantiles(frame: pd.DataFrame, pairs: list[str], weeks: pd.DatetimeIndex, horizon: int) -> FloatArray | None:
    """Return the quantiles of a model as weeks by pairs by levels; None where it gives none."""
    if not set(QUANTILE_COLUMNS) <= set(frame.columns):
        return None
    keys = pd.MultiIndex.from_product([weeks, pairs], names=["decision_date", "pair"])
    mine = frame[list(QUANTILE_COLUMNS)].xs(horizon, level="horizon_weeks").swaplevel().reindex(keys)
    found: FloatArray = mine.to_numpy(np.float64).reshape(len(weeks), len(pairs), -1)
    return found


def _instrument(values: pd.Series, pairs: list[str], weeks: pd.DatetimeIndex) -> FloatArray | None:
    panel = values.unstack("pair").reindex(index=weeks, columns=pairs).to_numpy(np.float64)  # noqa: PD010
    return panel if np.isfinite(panel).all() else None


def _correlation(dataset: Dataset, pairs: list[str], until: np.datetime64 | None) -> FloatArray:
    """Return the correlation of weekly outcomes over all common weeks, rounded, made positive."""
    if len(pairs) == 1:
        return np.eye(1)
    weekly = dataset.outcomes["spread_realised"].xs(1, level="horizon_weeks").unstack("pair")  # noqa: PD010
    weekly = weekly[pairs] if until is None else weekly.loc[weekly.index <= pd.Timestamp(until), pairs]
    matrix = weekly.corr().fillna(0.0).to_numpy(np.float64).copy()
    value, vector = np.linalg.eigh(matrix)
    matrix = (vector * np.maximum(value, 1e-3)) @ vector.T
    scale = np.sqrt(np.diag(matrix))
    matrix = np.round(matrix / np.outer(scale, scale), 6)
    np.fill_diagonal(matrix, 1.0)
    symmetric: FloatArray = (matrix + matrix.T) / 2
    return symmetric


def _losses(panel: TailPanel, base: TailPanel, weeks: pd.DatetimeIndex) -> dict[str, object]:
    """Return counts and mean losses."""
    matured = np.isfinite(panel.y)
    known = matured & np.isfinite(panel.es)
    n, hits = int(known.sum()), int((known & (panel.y < panel.var)).sum())
    loss, loss_base = (fz0(some.var, some.es, some.y, some.level) for some in (panel, base))
    dates = np.repeat(weeks.to_numpy("datetime64[us]"), panel.y.shape[1])
    difference = loss_difference(loss.ravel(), loss_base.ravel(), dates)
    quantile = pinball(panel.var, panel.y, panel.level)
    return {
        "n": n,
        "n_missing": int((matured & ~known).sum()),
        "breaches": hits,
        "breach_rate": hits / n if n else float("nan"),
        "pinball": float(quantile[known].mean()) if n else float("nan"),
        "fz0": float(loss[known].mean()) if n else float("nan"),
        "fz0_difference": difference.mean,
        "fz0_low": difference.low,
        "fz0_high": difference.high,
    }


def _distribution(
    mine: FloatArray | None, base: FloatArray | None, y: FloatArray, edge: FloatArray, weeks: pd.DatetimeIndex
) -> dict[str, object]:
    """Return the mean CRPS, the same of the lower tail, and how they differ from the yardstick's."""
    if mine is None or base is None:
        return {}
    weights = quantile_weights(GRID)
    dates = np.repeat(weeks.to_numpy("datetime64[us]"), y.shape[1])
    found: dict[str, object] = {}
    for name, threshold in (("crps", np.full_like(y, np.inf)), ("crps_tail", edge)):
        loss, loss_base = (crps(some, weights, y, threshold) for some in (mine, base))
        difference = loss_difference(loss.ravel(), loss_base.ravel(), dates)
        known = np.isfinite(loss)
        found |= {
            name: float(loss[known].mean()) if known.any() else float("nan"),
            f"{name}_difference": difference.mean,
            f"{name}_low": difference.low,
            f"{name}_high": difference.high,
        }
    return found


def _tests(panel: TailPanel) -> dict[str, object]:
    found = {f"p_{name}": test.p_value for name, test in backtests(panel).items()}
    return {**found, **{f"power_{name}": value for name, value in powers(panel).items()}}


def _timing(
    dataset: Dataset, es: FloatArray, y: FloatArray, pairs: list[str], weeks: pd.DatetimeIndex, late: int
) -> dict[str, object]:
    """Return what `tail_timing` says of the lower tail at four weeks; the first `late` weeks only serve as past."""
    known = np.isfinite(y) & np.isfinite(es)
    bad = np.where(known, np.asarray(y < BAD_MONTH, dtype=np.float64), np.nan)[late:]
    alerts = causal_alerts(es)[late:]
    low, high = auc_null(-es[late:], bad)
    alerted, ready = alerts == 1, np.isfinite(alerts)
    happened = (bad == 1) & ready
    years = ready.sum() / 52
    return {
        "n_bad": int((bad == 1).sum()),
        "bad_spells": spells(bad == 1),
        "auc": auc(-es[late:], bad),
        "auc_low": low,
        "auc_high": high,
        "alert_share": float(alerted.sum() / ready.sum()) if ready.any() else float("nan"),
        "alerts_a_year": float(spells(alerted) / years) if ready.any() else float("nan"),
        "n_bad_alertable": int(happened.sum()),
        "caught": float((happened & alerted).sum() / happened.sum()) if happened.any() else float("nan"),
        "overshoot": overshoot(es[late:], _worst_so_far(dataset, pairs, weeks)[late:]),
    }


def _worst_so_far(dataset: Dataset, pairs: list[str], weeks: pd.DatetimeIndex) -> FloatArray:
    """Return the lowest spread of each pair that had matured at each decision; missing before 104 of them.

    Information set: outcomes with matured_at <= the decision.
    """
    decision_at = dataset.clock["decision_at"].reindex(weeks).to_numpy("datetime64[us]")
    worst = np.full((len(weeks), len(pairs)), np.nan)
    outcomes = dataset.outcomes[dataset.outcomes["spread_realised"].notna()]
    weeks_ahead = outcomes.index.get_level_values("horizon_weeks").to_numpy(np.int64)
    names = outcomes.index.get_level_values("pair")
    for column, pair in enumerate(pairs):
        mine = outcomes[(names == pair) & (weeks_ahead == TIMING_WEEKS)]
        matured_at = mine["matured_at"].to_numpy("datetime64[us]")
        order = np.argsort(matured_at)
        lowest = np.minimum.accumulate(mine["spread_realised"].to_numpy(np.float64)[order])
        count = np.searchsorted(matured_at[order], decision_at, side="right")
        ready = count >= PAST_WEEKS
        worst[ready, column] = lowest[count[ready] - 1]
    return worst


def _check(name: str, frame: pd.DataFrame) -> None:
    if list(frame.index.names) != _INDEX:
        raise DataContractError(f"{name}: a tail frame must be indexed by {_INDEX}; got {list(frame.index.names)}")
    if missing := [column for column in TAIL_COLUMNS if column not in frame.columns]:
        raise DataContractError(f"{name}: the tail frame lacks {', '.join(missing)}")
    if (twice := frame.index.duplicated(keep=False)).any():
        raise DataContractError(f"{name}: {int(twice.sum())} rows share their key with another", frame[twice])

"""The comparison set walk-forward: rows, reasons, information set with a planted leak, independence of jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.contracts import TAIL_COLUMNS, Dataset, FloatArray, TimeArray
from features.errors import DataContractError
from models.curve import QUANTILE_COLUMNS
from tests.training import tail_toy as toy
from training import tail_models
from training.tail_models import MODELS, SCALE, tail_frames
from training.tail_rivals import RIVALS, Rival, Week, ewma_normal, fit_nothing
from training.tail_yardstick import TailRow, TailSettings


@pytest.fixture(scope="module")
def data() -> Dataset:
    return toy.dataset()


@pytest.fixture(scope="module")
def found(data: Dataset) -> dict[str, pd.DataFrame]:
    return tail_frames(data, toy.plan(), settings=toy.SETTINGS, jobs=1)


def dates(frame: pd.DataFrame) -> TimeArray:
    return frame.index.get_level_values("decision_date").to_numpy("datetime64[us]")


def test_every_model_forecasts_the_same_rows(found: dict[str, pd.DataFrame]) -> None:
    assert tuple(found) == MODELS
    first = next(iter(found.values()))
    assert len(first) == 2 * 2 * (toy.WEEKS - 120)
    for frame in found.values():
        pd.testing.assert_index_equal(frame.index, first.index)
        assert list(frame.columns) == [*TAIL_COLUMNS, *QUANTILE_COLUMNS, "reason"]
        assert (frame["reason"] == "").all()
        assert ((frame["es_95"] < frame["var_95"]) & (frame["var_95"] < 0)).all()
        assert ((frame["es_95_up"] > frame["var_95_up"]) & (frame["var_95_up"] > 0)).all()


def test_they_differ(found: dict[str, pd.DataFrame]) -> None:
    values = [frame["es_95"].to_numpy() for frame in found.values()]
    for number, one in enumerate(values):
        assert all(not np.allclose(one, other) for other in values[:number])


def test_breach_rates_are_near_the_level(data: Dataset, found: dict[str, pd.DataFrame]) -> None:
    y = data.outcomes["spread_realised"]
    for name, frame in found.items():
        at = frame.join(y).dropna(subset=["spread_realised"]).xs(1, level="horizon_weeks")
        assert 0.005 < (at["spread_realised"] < at["var_95"]).mean() < 0.13, name


def test_short_history_is_missing_and_says_so(data: Dataset) -> None:
    frames = tail_frames(
        data,
        toy.plan(),
        settings=TailSettings(paths=200, min_days=650, window_days=700),
        models=("historical", "garch_t"),
        jobs=1,
    )
    for frame in frames.values():
        early = dates(frame) < toy.DECISIONS[146]  # the first cut with 651 closes is the second
        assert frame.loc[early, list(TAIL_COLUMNS)].isna().all(axis=None)
        assert (frame.loc[early, "reason"] == "no tail: 605 closes known, 651 needed").all()
        assert frame.loc[~early, list(TAIL_COLUMNS)].notna().all(axis=None)
    few = replace(toy.plan(), first_decision=toy.DECISIONS[60])
    scale = tail_frames(data, few, models=(SCALE,), until=toy.DECISIONS[85], jobs=1)[SCALE]
    assert set(scale.xs(1, level="horizon_weeks")["reason"]) == {"no tail: 59 matured dates, 104 needed"}


def test_horizons_gap_and_holidays(data: Dataset) -> None:
    seen: list[Week] = []

    def spy(fitted: TailSettings, week: Week) -> dict[int, TailRow]:
        seen.append(week)
        return ewma_normal(fitted, week)

    sessions = data.sessions[~np.isin(data.sessions, toy.DECISIONS[130] + 7 * toy.DAY * np.arange(1) + 4 * toy.DAY)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RIVALS, "historical", Rival(fit_nothing, spy))
        tail_frames(
            replace(data, sessions=sessions),
            toy.plan(),
            settings=toy.SETTINGS,
            models=("historical",),
            until=toy.DECISIONS[131],
            jobs=1,
        )
    mine = seen[:12]
    assert [week.gap for week in mine] == [1] * 12
    assert [week.steps for week in mine[:6]] == [{1: 5, 4: 20}] * 6
    # Tuesday after decision 130 is closed
    assert [week.steps for week in mine[6:]] == [{1: 5, 4: 20}, *[{1: 5, 4: 19}] * 3, {1: 4, 4: 19}, {1: 5, 4: 20}]
    assert all(week.dates[-1] == day for week, day in zip(mine, toy.DECISIONS[120:132], strict=True))


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return bool(
        np.array_equal(one[list(TAIL_COLUMNS)].to_numpy(), other[list(TAIL_COLUMNS)].to_numpy(), equal_nan=True)
    )


def honest(*models: str) -> Callable[[Dataset, np.datetime64], dict[str, pd.DataFrame]]:
    return lambda market, day: tail_frames(market, toy.plan(), settings=toy.SETTINGS, models=models, until=day, jobs=1)


def caught(run: Callable[[Dataset, np.datetime64], dict[str, pd.DataFrame]], data: Dataset, cuts: range) -> list[int]:
    """Weeks at which forecasts up to then change when the market changes after them, for any model of `run`."""
    moved = []
    whole = run(data, toy.DECISIONS[-1])
    for k in cuts:
        day = toy.DECISIONS[k]
        other = run(toy.disturbed(data, day + toy.CLOSE, seed=k), day)
        if any(not same(frame[dates(frame) <= day], other[name]) for name, frame in whole.items()):
            moved.append(k)
    return moved


def test_later_data_change_nothing() -> None:
    one = toy.dataset(pairs=("a-b",))
    assert caught(honest("historical", "ewma_normal"), one, range(121, 152)) == []
    assert caught(honest(SCALE), one, range(121, 170, 8)) == []
    assert caught(honest("fhs_gjr", "garch_t", "fhs_evt"), one, range(130, 160, 20)) == []


@pytest.mark.slow
def test_later_data_change_nothing_for_any_model() -> None:
    assert caught(honest(*MODELS), toy.dataset(pairs=("a-b",)), range(121, 152)) == []


def test_a_refit_on_later_data_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    one = toy.dataset(pairs=("a-b",))

    def run(market: Dataset, day: np.datetime64) -> dict[str, pd.DataFrame]:
        whole: FloatArray = market.lines["a-b"].value[:, 0]

        def fit(known: TimeArray, x: FloatArray, settings: TailSettings) -> tuple[TailSettings, float]:
            return settings, float(np.diff(whole).std() / np.diff(x).std())

        def forecast(fitted: tuple[TailSettings, float], week: Week) -> dict[int, TailRow]:
            rows = ewma_normal(fitted[0], week)
            return {
                h: replace(
                    row, **{name: fitted[1] * value for name, value in vars(row).items() if name in TAIL_COLUMNS}
                )
                for h, row in rows.items()
            }

        monkeypatch.setitem(RIVALS, "historical", Rival(fit, forecast))
        return tail_frames(market, toy.plan(), settings=toy.SETTINGS, models=("historical",), until=day, jobs=1)

    cuts = range(121, 171, 5)
    assert caught(run, one, cuts) == list(cuts)


def test_outcomes_not_matured_at_the_cut_would_be_caught(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    # a leaking twin: the scale model trained at the end of the block that it forecasts
    proper = tail_models.scale_tails

    def leaking(market: Dataset, rows: pd.MultiIndex, cut: np.datetime64, settings: object) -> pd.DataFrame:
        return proper(market, rows, toy.DECISIONS[-6], settings)  # type: ignore[arg-type]

    monkeypatch.setattr(tail_models, "scale_tails", leaking)

    def run(market: Dataset, day: np.datetime64) -> dict[str, pd.DataFrame]:
        return tail_frames(market, toy.plan(), settings=toy.SETTINGS, models=(SCALE,), until=day, jobs=1)

    cuts = range(121, 170, 8)
    assert caught(run, data, cuts) == list(cuts)


@pytest.mark.slow
def test_jobs_and_choice_of_models_change_nothing(data: Dataset, found: dict[str, pd.DataFrame]) -> None:
    told: list[tuple[str, int, int]] = []
    again = tail_frames(
        data,
        toy.plan(),
        settings=toy.SETTINGS,
        models=("ewma_normal", SCALE),
        jobs=2,
        progress=lambda *message: told.append(message),
    )
    for name, frame in again.items():
        pd.testing.assert_frame_equal(frame, found[name])
    assert told[-1] == ("tail models", 9, 9)  # three cuts of two pairs; three of the scale model


def test_bad_calls(data: Dataset) -> None:
    with pytest.raises(DataContractError, match="`models` must be of"):
        tail_frames(data, toy.plan(), settings=toy.SETTINGS, models=("arima",))
    with pytest.raises(DataContractError, match="no row to forecast"):
        tail_frames(data, toy.plan(), settings=toy.SETTINGS, until=toy.DECISIONS[3])

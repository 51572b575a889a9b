"""Other definitions of the labels: the base is the published one, by hand, by loop, and never before its maturity."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from features.contracts import HORIZONS, Dataset, History, TimeArray
from features.dataset import build_dataset
from features.errors import DataContractError
from tests import small
from tests.features.naive import history_as_of
from tests.features.toy import last_decision, toy_market, toy_observations
from training.label_sets import (
    LABEL_SETS,
    LabelSet,
    Weeks,
    dataset_weeks,
    label_frame,
    label_outcomes,
    sigma_at,
    with_labels,
)

EVENTS = ["y_switch", "y_large", "y_crash"]
BY_NAME = {labels.name: labels for labels in LABEL_SETS}
DAY = np.timedelta64(1, "D")
CLOCK = np.timedelta64(7 * 60 + 30, "m")


@lru_cache(maxsize=1)
def toy() -> Dataset:
    """Late, missing and corrected closes."""
    return build_dataset(toy_observations(3), toy_market(), last_decision())


def fridays(n: int) -> TimeArray:
    return np.datetime64("2020-01-03", "us") + 7 * DAY * np.arange(n)


def weeks(n: int) -> Weeks:
    decisions = fridays(n)
    return Weeks(decisions, decisions + CLOCK, decisions + 3 * DAY, decisions + 3 * DAY + CLOCK)


def resolve(labels: LabelSet, x: list[float], style: list[int], sigma: float = 0.02) -> pd.DataFrame:
    """A line whose close at entry i is x[i]."""
    calendar = weeks(len(x) + 10)
    rows = pd.DataFrame(
        {"style": style, "sigma": sigma}, index=pd.DatetimeIndex(calendar.decisions[: len(style)], name="decision_date")
    )
    entries = calendar.entries[: len(x)]
    return label_frame(rows, History.of(entries, entries + CLOCK, np.array(x)), calendar, labels)


def test_base_is_the_published_definition() -> None:
    for dataset in (toy(), small.dataset()):
        pd.testing.assert_frame_equal(label_outcomes(dataset, BY_NAME["base"]), dataset.outcomes)


def test_five_definitions_with_their_own_names() -> None:
    assert len(BY_NAME) == len(LABEL_SETS) == 8
    # Multiple of sigma, end of horizon, raw move, memory of sigma, flip: five kinds beside the base.
    kinds = {(s.switch_sigma != 1, s.read != "path", s.raw is None, s.halflife != 26, s.flip_weeks is None)
             for s in LABEL_SETS}  # fmt: skip
    assert len(kinds) == 6
    for labels in LABEL_SETS:
        changed = label_outcomes(small.dataset(), labels)
        assert changed.index.equals(small.dataset().outcomes.index)
        assert list(changed.columns) == list(small.dataset().outcomes.columns)
        if labels.name != "base":
            assert not changed[EVENTS].equals(small.dataset().outcomes[EVENTS])


@pytest.mark.parametrize(
    ("name", "style", "path", "week", "month"),
    [
        # sigma 2%: bars of one week 1.5, 2.0 (switch, crash) and of four weeks 3.0, 4.0 per cent
        ("nearer", 1, [-0.016, -0.045, 0.0, 0.01], [1, 1, 0], [1, 0, 1]),
        # 2.5, 3.0 and 5.0, 6.0
        ("farther", 1, [-0.026, -0.055, 0.0, -0.01], [1, 1, 0], [1, 1, 0]),
        # where it ends: 2.0, 2.5 and 4.0, 5.0; on the way it was lower
        ("end", 1, [-0.021, -0.08, -0.06, -0.045], [1, 1, 0], [1, 1, 0]),
        ("end", -1, [0.05, 0.08, 0.06, 0.03], [1, 0, 0], [0, 0, 0]),
        # 3 and 5 per cent for both
        ("raw", 1, [-0.031, -0.049, 0.0, 0.0], [1, 1, 1], [0, 0, 0]),
        ("raw", -1, [0.029, 0.051, 0.0, 0.01], [0, 0, 0], [1, 0, 0]),
    ],
)
def test_by_hand(name: str, style: int, path: list[float], week: list[int], month: list[int]) -> None:
    frame = resolve(BY_NAME[name], [0.0, *path], [style])
    assert frame.loc[(slice(None), 1), EVENTS].to_numpy().tolist() == [week]
    assert frame.loc[(slice(None), 4), EVENTS].to_numpy().tolist() == [month]
    assert frame["matured_at"].tolist() == [pd.Timestamp(weeks(5).entry_at[1]), pd.Timestamp(weeks(5).entry_at[4])]


def test_flip_by_hand() -> None:
    """Small leads for six decisions, then large: within four weeks from the third decision on, within 13 from all."""
    style = [1] * 6 + [-1] * 14
    frame = resolve(BY_NAME["flip"], [0.0] * 20, style)
    week, month = (frame.xs(horizon, level="horizon_weeks") for horizon in HORIZONS)
    assert week["y_switch"].iloc[:7].tolist() == [0, 0, 1, 1, 1, 1, 0]
    assert month["y_switch"].iloc[:7].tolist() == [1, 1, 1, 1, 1, 1, 0]
    calendar = weeks(30)
    # The decision four and thirteen weeks later; the entry after it does not matter.
    assert week["matured_at"].iloc[0] == pd.Timestamp(calendar.decision_at[4])
    assert month["matured_at"].iloc[0] == pd.Timestamp(calendar.decision_at[13])


def test_flip_waits_for_the_later_of_two_maturities() -> None:
    quick = LabelSet("quick", "one week", flip_weeks=(1, 4))
    frame = resolve(quick, [0.0] * 20, [1] * 20)
    calendar = weeks(30)
    # A flip within one week is known on Friday, the direction only at Monday's close.
    assert frame["matured_at"].iloc[0] == pd.Timestamp(calendar.entry_at[1])
    assert frame["matured_at"].iloc[1] == pd.Timestamp(calendar.entry_at[4])


def test_every_definition_equals_a_loop_on_corrected_closes() -> None:
    dataset = toy()
    calendar = dataset_weeks(dataset)
    rng = np.random.default_rng(0)
    for labels in LABEL_SETS[:5]:
        found = label_outcomes(dataset, labels)
        for at in rng.choice(len(found), 60, replace=False):
            pair, decision, horizon = found.index[at]
            row = found.iloc[at]
            if pd.isna(row["matured_at"]):
                assert row[EVENTS].isna().all()
                continue
            first = int(np.searchsorted(calendar.decisions, decision.to_datetime64()))
            seen = history_as_of(dataset.lines[pair], row["matured_at"].to_datetime64().astype("datetime64[us]"))
            points = [seen.get(day) for day in calendar.entries[first : first + horizon + 1]]
            if any(point is None for point in points):
                assert row[EVENTS].isna().all()
                continue
            path = [float(point[0] - points[0][0]) for point in points[1:]]  # type: ignore[index]
            if labels.read == "end":
                path = path[-1:]
            state = dataset.rows.loc[(pair, decision)]
            bars = [
                multiple * state["sigma"] * np.sqrt(horizon) for multiple in (labels.switch_sigma, labels.crash_sigma)
            ]
            if labels.raw is not None:
                bars = [labels.raw[HORIZONS.index(horizon)]] * 2
            against = -min(path) if state["style"] == 1 else max(path)
            assert row[EVENTS].tolist() == [against > bars[0], path[-1] < 0, -min(path) > bars[1]]


def leaks(full: pd.DataFrame, dataset: Dataset, labels: LabelSet) -> int:
    """Count labels of a pair that were different, or had no business to be there, at one of thirty cuts and more."""
    pair = "large-small"
    rows, line, calendar = dataset.rows.loc[pair], dataset.lines[pair], dataset_weeks(dataset)
    cuts = calendar.decision_at[40 : len(calendar.decisions) : 3]
    assert len(cuts) >= 30
    wrong = 0
    for cut in cuts:
        known, decided = line.known_at <= cut, int(np.searchsorted(calendar.decision_at, cut, side="right"))
        shorter = calendar._replace(decisions=calendar.decisions[:decided], decision_at=calendar.decision_at[:decided])
        past = History(line.period[known], line.known_at[known], line.value[known])
        found = label_frame(rows[rows["decision_at"] <= cut], past, shorter, labels)
        then = full.loc[pair].loc[found.index]
        matured = (then["matured_at"] <= cut).to_numpy()
        wrong += int((then[matured][EVENTS].fillna(-1) != found[matured][EVENTS].fillna(-1)).to_numpy().sum())
        wrong += int(found[~matured][EVENTS].notna().to_numpy().sum())
    return wrong


@pytest.mark.parametrize("name", ["base", "nearer", "end", "raw", "slow_sigma", "flip"])
def test_no_label_knows_what_came_after_its_maturity(name: str) -> None:
    assert leaks(label_outcomes(toy(), BY_NAME[name]), toy(), BY_NAME[name]) == 0


def test_a_leak_would_be_caught() -> None:
    """Positive controls: a sigma that knows the next week, and a flip that matures as soon as it happens."""
    dataset, base = toy(), BY_NAME["base"]
    ahead = dataset.rows.groupby(level="pair")["sigma"].shift(-1).fillna(dataset.rows["sigma"]) * 0.5
    leaking = label_outcomes(replace(dataset, rows=dataset.rows.assign(sigma=ahead)), base)
    assert leaks(leaking, dataset, base) > 0
    flip = BY_NAME["flip"]
    early = label_outcomes(dataset, flip)
    early["matured_at"] = dataset.outcomes["matured_at"]
    assert leaks(early, dataset, flip) > 0


@pytest.mark.parametrize("halflife", [13.0, 52.0])
def test_sigma_with_another_memory_is_causal_and_by_loop(halflife: float) -> None:
    dataset = toy()
    calendar = dataset_weeks(dataset)
    line = dataset.lines["large-small"]
    found = sigma_at(line, calendar, halflife)
    np.testing.assert_allclose(
        sigma_at(line, calendar, 26)[np.searchsorted(calendar.decisions, dataset.rows.loc["large-small"].index)],
        dataset.rows.loc["large-small", "sigma"],
    )
    for at in range(60, len(calendar.decisions), 5):
        seen = history_as_of(line, calendar.decision_at[at])
        if calendar.decisions[at] not in seen:
            assert np.isnan(found[at])
            continue
        x = [float(seen[day][0]) for day in calendar.decisions[: at + 1] if day in seen]
        change = np.diff(x)
        weight = 0.5 ** (np.arange(len(change))[::-1] / halflife)
        assert found[at] == pytest.approx(np.sqrt(weight @ change**2 / weight.sum()))


def test_a_dataset_with_other_labels_differs_in_them_only() -> None:
    dataset = small.dataset()
    changed = with_labels(dataset, BY_NAME["raw"])
    assert changed.rows is dataset.rows
    assert changed.values is dataset.values
    assert changed.outcomes["spread_realised"].equals(dataset.outcomes["spread_realised"])
    assert changed.outcomes["y_large"].equals(dataset.outcomes["y_large"])


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"switch_sigma": 1.5}, "crash_sigma"),
        ({"switch_sigma": 0.0}, "switch_sigma"),
        ({"read": "middle"}, "path or end"),
        ({"halflife": 0.0}, "halflife"),
        ({"raw": (0.03, -0.05)}, "`raw`"),
        ({"flip_weeks": (4,)}, "`flip_weeks`"),
    ],
)
def test_refuses(bad: dict[str, object], match: str) -> None:
    with pytest.raises(DataContractError, match=match):
        LabelSet("bad", "a test", **bad)  # type: ignore[arg-type]


def test_rows_must_lie_on_decisions() -> None:
    calendar = weeks(8)
    rows = pd.DataFrame({"style": [1], "sigma": [0.02]}, index=pd.DatetimeIndex(calendar.decisions[:1] + DAY))
    line = History.of(calendar.entries, calendar.entries + CLOCK, np.zeros(8))
    with pytest.raises(DataContractError, match="decisions of the calendar"):
        label_frame(rows, line, calendar, BY_NAME["base"])

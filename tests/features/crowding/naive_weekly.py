"""The same measures the straightforward way: a long frame, groupby and apply, one window after the other."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import TimeArray
from features.crowding.settings import CrowdSettings
from features.crowding.weekly import MEASURES
from features.stock_panel import StockPanel


def long_frame(panel: StockPanel) -> pd.DataFrame:
    """Return one row for each stock and day on which it traded."""
    day, code = np.nonzero(panel.traded)
    frame = pd.DataFrame({"date": panel.dates[day], "code": panel.codes[code], "row": day})
    for name in ("ret", "cap", "st"):
        frame[name] = getattr(panel, name)[day, code]
    frame["amount"] = np.nan if panel.amount is None else panel.amount[day, code]
    return frame.astype({"ret": "float64", "cap": "float64"})


def residual(y: pd.Series, controls: pd.DataFrame) -> pd.Series:
    y = y.dropna()
    design = np.column_stack([np.ones(len(y)), controls.loc[y.index]])
    return y - design @ np.linalg.lstsq(design, y.to_numpy(), rcond=None)[0]


def naive_measures(panel: StockPanel, decisions: TimeArray, settings: CrowdSettings, skip: int = 0) -> pd.DataFrame:
    """Return what `crowd_measures` returns, without the first weeks where so many are to be skipped."""
    frame = long_frame(panel)
    before = frame.groupby("code")["row"].shift()
    frame["counted"] = frame["ret"].where(before == frame["row"] - 1)
    recent = frame.assign(one=1.0).pivot_table(index="row", columns="code", values="one").fillna(0.0)
    seasoned = (
        recent.rolling(settings.seasoning)
        .sum()
        .melt(ignore_index=False)
        .set_index("code", append=True)["value"]
        .rename("recent")
    )
    frame = frame.join(seasoned, on=["row", "code"])
    eligible = frame[(~frame["st"]) & (frame["cap"] > 0) & (2 * frame["recent"] >= settings.seasoning)].copy()
    eligible["decile"] = eligible.groupby("row")["cap"].transform(
        lambda cap: np.floor((cap.rank(method="max") - 1) * 10 / len(cap))
    )
    every = range(len(panel.dates))
    members = {row: group.set_index("code")["decile"].astype(int) for row, group in eligible.groupby("row")}
    wide, amount = (
        frame.pivot_table(index="row", columns="code", values=name).reindex(index=every, columns=panel.codes)
        for name in ("counted", "amount")
    )
    daily = pd.DataFrame(
        {row: wide.loc[row].groupby(members[row - 1]).mean() for row in wide.index if row - 1 in members}
    ).T.reindex(wide.index)
    gap = np.log1p(daily[0]) - np.log1p(daily[[4, 5]].mean(axis=1)) if len(daily.columns) else daily
    ends = [int(row) for row in np.flatnonzero(np.isin(panel.dates, decisions))]
    rows = {}
    for place, end in list(enumerate(ends))[skip:]:
        out = dict.fromkeys(MEASURES, np.nan)
        rows[panel.dates[end]] = out
        if end - settings.window in members:
            out.update(_alike(wide.loc[end - settings.window + 1 : end], members[end - settings.window], settings))
            part = gap.loc[end - settings.window + 1 : end]
            out["serial_correlation"], out["momentum_gap"] = part.autocorr(1), part.sum()
        if end - settings.short_window in members:
            group = members[end - settings.short_window]
            part = wide.loc[end - settings.short_window + 1 : end, group.index]
            spread = part.T.groupby(group).apply(lambda own: own.std().mean())
            out["dispersion"], out["dispersion_excess"] = spread[0], np.log(spread[0] / spread.drop(0).mean())
            small = group.index[group == 0]
            total = amount.loc[end - settings.short_window + 1 : end, small].sum(axis=1).mean()
            out["turnover"] = total if total > 0 else np.nan
        if place >= settings.weeks and ends[place - settings.weeks] in members:
            week = pd.Series(np.searchsorted(ends, wide.index), index=wide.index)
            part = wide[(week > place - settings.weeks) & (week <= place)]
            weekly = (1 + part).groupby(week).apply(lambda days: days.prod(skipna=False)) - 1
            out["comomentum"] = _comomentum(weekly, members[ends[place - settings.weeks]], settings)
    index = pd.DatetimeIndex(list(rows), name="decision_date")
    return pd.DataFrame(list(rows.values()), columns=list(MEASURES), index=index, dtype=np.float64)


def _alike(part: pd.DataFrame, group: pd.Series, settings: CrowdSettings) -> dict[str, float]:
    part = part[group.index]
    market = part.mean(axis=1).to_frame()
    part = part.loc[:, part.notna().sum() >= settings.coverage * len(part)]
    left = part.apply(residual, controls=market).reindex(part.index).fillna(0.0)
    scaled = left / np.sqrt((left**2).sum())

    def correlation(own: pd.DataFrame) -> float:
        matrix = (own @ own.T).to_numpy()
        return float(matrix[np.triu_indices(len(matrix), 1)].mean())

    def absorbed(own: pd.DataFrame) -> float:
        values = np.linalg.eigvalsh((own @ own.T).to_numpy())[::-1]
        return float(values[: max(1, round(settings.absorbed * min(own.shape)))].sum() / len(own))

    groups = scaled.T.groupby(group)
    alike, share = groups.apply(correlation), groups.apply(absorbed)
    return {
        "residual_correlation": alike[0],
        "residual_correlation_excess": alike[0] - alike.drop(0).mean(),
        "absorption": share[0],
        "absorption_excess": share[0] - share.drop(0).mean(),
    }


def _comomentum(weekly: pd.DataFrame, group: pd.Series, settings: CrowdSettings) -> float:
    weekly = weekly[group.index]
    lower, upper = (weekly.loc[:, group.between(low, high)].mean(axis=1) for low, high in ((1, 4), (5, 9)))
    controls = pd.DataFrame({"market": weekly.mean(axis=1), "size": lower - upper})
    own = weekly.loc[:, group == 0]
    own = own.loc[:, own.notna().sum() >= settings.coverage * len(own)]
    left = own.apply(residual, controls=controls).reindex(own.index).fillna(0.0)
    partial = []
    for stock in left:
        rest = left.drop(columns=stock).sum(axis=1)
        partial.append((left[stock] @ rest) / np.sqrt((rest @ rest) * (left[stock] @ left[stock])))
    return float(np.mean(partial))

"""Figures of the article that need single stocks: tiers rebalanced in two ways, overlaps, market values, a fund."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.stock_index import Rebalance
from models.correlation import correlation
from models.style_regression import joint_regression
from serving.article_data import ArticleData, gains
from serving.article_units import Figure
from serving.claim_spec import FundCorrelation, FundExposure, Overlap, RebalanceGap, ValueGap
from serving.report.figures import fixed, percent


def rebalance_gap(spec: RebalanceGap, data: ArticleData) -> Figure:
    """Return how much a tier earns by being rebalanced often."""
    found = {}
    for rebalance in (spec.often, spec.seldom):
        level = _levels(data, spec.rule, rebalance).to_frame("level")
        found[rebalance] = float(gains(level, data.start(spec.since), level.index[-1])["level"])
    told = ", ".join(f"{name} {percent(value, signed=True)}" for name, value in found.items())
    return Figure(found[spec.often] - found[spec.seldom], told)


def overlap(spec: Overlap, data: ArticleData) -> Figure:
    """Return the share of a small tier of the day that a larger one has held since its last review."""
    members = data.index(spec.large, spec.review).members
    reviewed = members["date"].max()
    held = set(members.loc[members["date"] == reviewed, "code"])
    small = data.members(spec.small)
    both = sum(code in held for code in small)
    return Figure(both / len(small), f"{both} of {len(small)}, review in force since {reviewed:%Y-%m-%d}")


def value_gap(spec: ValueGap, data: ArticleData) -> Figure:
    """Return the gap in mean market value of one pair of tiers over that of another."""
    last = data.panel()
    caps = pd.Series(last.cap[-1].astype(np.float64), index=last.codes)
    mean = {rule: float(caps[data.members(rule)].mean()) for rule in (*spec.pair, *spec.against)}
    gap = [
        mean[large] / mean[small] if spec.gap == "multiple" else mean[large] - mean[small]
        for large, small in (spec.pair, spec.against)
    ]
    told = ", ".join(f"{rule} {fixed(value / 1e9, 2)}bn" for rule, value in mean.items())
    return Figure(gap[0] / gap[1], f"mean market value in CNY: {told}")


def fund_correlation(spec: FundCorrelation, data: ArticleData, level: float) -> Figure:
    """Return the plain correlation of a fund of a tier with a series."""
    fund = _levels(data, spec.fund, spec.rebalance)
    moves = pd.DataFrame({"fund": fund, "other": data.series(spec.other)}).dropna().transform(np.log).diff().dropna()
    moves = moves[moves.index > data.start(spec.since)]
    found = correlation(moves["fund"].to_numpy(np.float64), moves["other"].to_numpy(np.float64), level)
    return Figure(found.value, f"{len(moves)} days", found.low, found.high)


def fund_exposure(spec: FundExposure, data: ArticleData, level: float) -> Figure:
    """Return the exposure of a fund of a tier to the smallest segment beyond the others."""
    ladder = data.ladder()
    levels = data.closes(ladder).assign(fund=_levels(data, spec.fund, spec.rebalance)).dropna()
    moves = (levels / levels.shift(1) - 1.0).dropna()
    moves = moves[moves.index > data.start(spec.since)]
    fit = joint_regression(moves["fund"].to_numpy(np.float64), moves[ladder].to_numpy(np.float64), level)
    found = fit.exposure[-1]
    detail = f"{len(moves)} days, R2 {fixed(fit.r_squared, 3)}"
    return Figure(found.value, detail, found.low, found.high)


def _levels(data: ArticleData, rule: str, rebalance: Rebalance) -> pd.Series:
    frame = data.index(rule, rebalance).frame
    return pd.Series(frame["level"].to_numpy(np.float64), index=pd.DatetimeIndex(frame["date"]))

"""Figures of a study: reliability, skill by year, what moves a head. Matplotlib without a screen or a global state.

Importing this module loads neither matplotlib nor shap; the functions do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from features.contracts import EVENTS, BoolArray, Event, FloatArray
from features.errors import DataContractError
from training.score_tables import POOLED, matured_sample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 8
"""Equal-count bins; more would only show noise."""
EVENT_TITLES: dict[Event, str] = {
    "switch": "adverse move of one sigma",
    "large": "large beats small",
    "crash": "small-cap crash",
}
BLUE, ORANGE, GREY = "#1f4e79", "#c55a11", "#8a8a8a"


class Contributions(NamedTuple):
    """Native contributions of one head: feature names, their values and contributions in log-odds, shape (n, k)."""

    names: tuple[str, ...]
    values: FloatArray
    contributions: FloatArray


def wilson_interval(rate: FloatArray, n: FloatArray, level: float = 0.9) -> tuple[FloatArray, FloatArray]:
    """Return the Wilson score interval of a share seen in `n` independent trials (Wilson 1927).

    Parameters
    ----------
    rate, n : array, shape (k,)
        Shares and how many independent trials each rests on (need not be whole).
    level : float
        Coverage, a fraction.

    Examples
    --------
    >>> low, high = wilson_interval(np.array([0.5]), np.array([10.0]), 0.95)
    >>> low.round(3), high.round(3)
    (array([0.237]), array([0.763]))
    """
    z = float(norm.ppf((1 + level) / 2))
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return centre - half, centre + half


def reliability_bins(forecasts: pd.DataFrame, event: Event, horizon_weeks: int, bins: int = BINS) -> pd.DataFrame:
    """Bin matured forecasts of all pairs by probability.

    Returns
    -------
    pandas.DataFrame, one row per bin that holds a forecast
        `p` (mean probability), `observed` (share that happened), `n` rows, `n_independent` (distinct dates over the
        horizon: overlapping weeks and pairs of one date are no second witness), `low, high` (90% Wilson interval on
        those). Information set: matured outcomes.
    """
    sample = matured_sample(forecasts[forecasts["horizon_weeks"] == horizon_weeks], event)
    frame = pd.DataFrame({"p": sample.p, "y": sample.y, "date": sample.dates})
    frame["bin"] = (frame["p"].rank(method="average") - 1) * bins // max(len(frame), 1)
    grouped = frame.groupby("bin")
    table = pd.DataFrame({"p": grouped["p"].mean(), "observed": grouped["y"].mean(), "n": grouped.size()})
    table["n_independent"] = np.maximum(grouped["date"].nunique() / horizon_weeks, 1.0)
    low, high = wilson_interval(table["observed"].to_numpy(np.float64), table["n_independent"].to_numpy(np.float64))
    return table.assign(low=low, high=high).reset_index(drop=True)


def reliability_figure(forecasts: pd.DataFrame, scores: pd.DataFrame, horizon_weeks: int, simulated: bool) -> Figure:
    """Draw one reliability diagram per event, all pairs pooled, with slope, skill and noise floor in words.

    Parameters
    ----------
    forecasts : pandas.DataFrame
        Rows of the walk-forward.
    scores : pandas.DataFrame
        Their `score_table`.
    horizon_weeks : int
    simulated : bool
        Puts SIMULATED on the figure.

    Raises
    ------
    DataContractError
        If the scores are those of other rows: a picture must not show years that the table may not.
    """
    figure, axes = panel_figure(len(EVENTS), 4.4, f"Reliability, {weeks_text(horizon_weeks)}, all pairs", simulated)
    for axis, event in zip(axes, EVENTS, strict=True):
        axis.set_title(EVENT_TITLES[event], fontsize=10)
        axis.set_xlabel("forecast probability")
        table = reliability_bins(forecasts, event, horizon_weeks)
        chosen = scores[
            (scores["event"] == event) & (scores["horizon_weeks"] == horizon_weeks) & (scores["pair"] == POOLED)
        ]
        scored = int(chosen["n"].sum())
        if scored != int(table["n"].sum()):
            raise DataContractError(
                f"the scores of {event!r} rest on {scored} rows, the forecasts on {table['n'].sum()}"
            )
        if scored == 0:
            axis.text(0.5, 0.5, "no matured forecast", ha="center", transform=axis.transAxes, color=GREY)
            continue
        score = chosen.iloc[0]
        edge = float(min(1.0, 1.1 * max(table["high"].max(), table["p"].max())))
        axis.plot([0, edge], [0, edge], color=GREY, linewidth=1)
        axis.axhline(float(score["base_rate"]), color=GREY, linewidth=1, linestyle=":")
        axis.vlines(table["p"], table["low"], table["high"], color=BLUE, linewidth=1.2)
        axis.plot(table["p"], table["observed"], "o", color=BLUE, markersize=5)
        axis.set_xlim(0, edge)
        axis.set_ylim(0, 1.15 * edge)
        text = (
            f"slope {score['slope']:.2f} ± {score['slope_error']:.2f}; off base {score['slope_vs_base']:.2f} ± "
            f"{score['slope_vs_base_error']:.2f}\nskill {score['skill_log_loss']:+.1%} "
            f"[{score['skill_low']:+.1%}, {score['skill_high']:+.1%}]; noise ±{score['noise_floor']:.1%}"
        )
        axis.text(0.02, 0.98, text, ha="left", va="top", fontsize=7.5, transform=axis.transAxes)
    axes[0].set_ylabel("observed share")
    note = (
        "Bars: 90% Wilson intervals on distinct dates over the horizon. Dotted: base rate. Slope ± standard error by "
        "blocks of dates.\nSkill: log loss against climatology, 90% interval; noise: its standard deviation for a "
        "calibrated forecast as sharp as this one."
    )
    figure.supxlabel(note, fontsize=7, color=GREY)
    return figure


def yearly_figure(yearly: pd.DataFrame, horizon_weeks: int, simulated: bool) -> Figure:
    """Draw the log-loss skill of every calendar year, one panel per event, all pairs pooled, from a `yearly_table`."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = panel_figure(
        len(EVENTS), 3.4, f"Log-loss skill by year, {weeks_text(horizon_weeks)}, all pairs", simulated
    )
    for axis, event in zip(axes, EVENTS, strict=True):
        rows = yearly[
            (yearly["event"] == event) & (yearly["horizon_weeks"] == horizon_weeks) & (yearly["pair"] == POOLED)
        ]
        skill = 100 * rows["skill_log_loss"].to_numpy(np.float64)
        colours = [BLUE if value >= 0 else ORANGE for value in skill]
        axis.bar(rows["year"].to_numpy(np.int64), skill, color=colours, width=0.7)
        axis.axhline(0, color=GREY, linewidth=1)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        positive = int((skill > 0).sum())
        axis.set_title(f"{EVENT_TITLES[event]}: {positive} of {len(skill)} years above zero", fontsize=10)
    axes[0].set_ylabel("skill against climatology, %")
    return figure


def contribution_figure(event: Event, contributions: Contributions, simulated: bool, *, shown: int = 15) -> Figure:
    """Draw shap's summary plot of native tree contributions.

    Parameters
    ----------
    event : Event
    contributions : Contributions
        Feature names, values and contributions in log-odds, rows in the same order. A feature without any value on
        these rows is left out.
    simulated : bool
        Puts SIMULATED on the figure.
    shown : int
        How many features, the largest mean absolute contribution first.

    Raises
    ------
    DataContractError
        If the shapes differ or nothing is left to draw.
    """
    names, values, amounts = contributions
    if values.shape != amounts.shape or amounts.shape[1:] != (len(names),):
        raise DataContractError(
            f"values and contributions must have one column for each of {len(names)} names; "
            f"got {values.shape} and {amounts.shape}"
        )
    live: BoolArray = np.count_nonzero(np.isfinite(values), axis=0) > 0
    if not live.any():
        raise DataContractError(f"no feature of the head {event!r} has a value on the {len(values)} rows to explain")
    names = tuple(name for name, shows in zip(names, live, strict=True) if shows)
    values, amounts = values[:, live], amounts[:, live]
    import matplotlib as mpl

    mpl.use("Agg")
    import shap
    from matplotlib import pyplot as plt

    plt.figure()
    # Jitter and the choice of colours draw random numbers: seeded, so that the same study is the same figure.
    size = (8.0, 0.3 * min(shown, len(names)) + 1.8)
    rng = np.random.default_rng(0)
    shap.summary_plot(amounts, values, names, max_display=shown, show=False, plot_size=size, rng=rng)
    figure = plt.gcf()
    figure.axes[0].set_xlabel("contribution to the log-odds")
    figure.suptitle(marked_title(f"Contributions: {EVENT_TITLES[event]}", simulated), fontsize=11)
    figure.tight_layout()
    # Off pyplot's list: the figure belongs to the caller.
    plt.close(figure)
    return figure


def panel_figure(panels: int, height: float, title: str, simulated: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure off pyplot's list with panels side by side, its title marked SIMULATED where it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * panels, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(marked_title(title, simulated), fontsize=11)
    return figure, [figure.add_subplot(1, panels, number + 1) for number in range(panels)]


def marked_title(title: str, simulated: bool) -> str:
    """Return a title that says SIMULATED where the data are."""
    return f"SIMULATED: {title}" if simulated else title


def weeks_text(horizon: int) -> str:
    """Return a horizon in words."""
    return f"{horizon} week" if horizon == 1 else f"{horizon} weeks"

"""Outcomes as chance would have them: drawn from given probabilities, overlapping weeks and co-moving pairs included.

A figure of skill or calibration computed on such draws, with the forecasts kept, is its null distribution. Drawing rows
one by one would make it far too narrow: outcomes of four weeks made weekly share three of them, and pairs of a market
move together.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from features.contracts import BoolArray, FloatArray
from features.errors import DataContractError
from training.scores import Sample, pair_correlation
from training.tail_null import null_pits

DRAWS = 499
SEED = 20120106


def draw_outcomes(
    sample: Sample, probability: FloatArray, horizon_weeks: int, *, draws: int = DRAWS, seed: int = SEED
) -> BoolArray:
    """Draw outcomes of a sample's rows under given probabilities.

    Latent weekly innovations are normal and independent over weeks, summed over the horizon, and correlate across pairs
    so that the drawn outcomes do as the observed ones (`training.scores.pair_correlation`). An outcome happens where
    the latent transform lies below its probability, so each row keeps its own. Consecutive decision dates count as
    consecutive weeks.

    Parameters
    ----------
    sample : Sample
        Whose dates, pairs and, for the correlation, base rates and outcomes are read.
    probability : array, shape (n,)
        Fractions.
    horizon_weeks : int
    draws, seed : int

    Returns
    -------
    array of bool, shape (draws, n)

    Raises
    ------
    DataContractError
        If there is not one probability for each row, inside [0, 1].

    Information set: matured outcomes, through their correlation across pairs only.
    """
    p = np.asarray(probability, dtype=np.float64)
    if p.shape != sample.y.shape or not ((p >= 0) & (p <= 1)).all():
        raise DataContractError(f"`probability` must hold {len(sample.y)} fractions; got shape {p.shape}")
    if len(p) == 0:
        return np.zeros((draws, 0), dtype=np.bool_)
    unique, date = np.unique(sample.dates, return_inverse=True)
    codes, column = np.unique(sample.pair, return_inverse=True)
    matrix = np.full((len(codes), len(codes)), latent_correlation(pair_correlation(sample), float(np.mean(p))))
    np.fill_diagonal(matrix, 1.0)
    pits = null_pits(len(unique), horizon_weeks, matrix, draws=draws, seed=seed)
    happened: BoolArray = pits[:, date, column] < p
    return happened


def latent_correlation(correlation: float, rate: float) -> float:
    """Return the correlation of two normals whose events of probability `rate` correlate as given.

    The tetrachoric correlation for equal thresholds c: P(both) = rate^2 + the integral over the angle t from 0 to
    arcsin r of exp(-c^2 / (1 + sin t)) / (2 pi) (Plackett 1954).

    Parameters
    ----------
    correlation : float
        Of the two indicators, in [0, 1].
    rate : float
        Inside (0, 1).

    Examples
    --------
    >>> round(latent_correlation(1 / 3, 0.5), 4)  # sin(pi / 6)
    0.5
    """
    if correlation <= 0 or not 0 < rate < 1:
        return 0.0
    angle = np.linspace(0, np.pi / 2, 2001)
    density = np.exp(-(float(ndtri(rate)) ** 2) / (1 + np.sin(angle))) / (2 * np.pi)
    both = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(angle))])
    return float(np.sin(np.interp(correlation * rate * (1 - rate), both, angle)))

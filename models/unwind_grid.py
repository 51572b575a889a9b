"""What unwinds of many sizes, leverages and shocks come to: one row each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from models.unwind import simulate_unwind
from models.unwind_settings import UnwindSettings


def unwind_grid(
    sizes: Sequence[float], leverages: Sequence[float], shocks: Sequence[float], settings: UnwindSettings
) -> pd.DataFrame:
    """Tabulate the unwind of every crowd size, at every leverage, after every shock.

    Parameters
    ----------
    sizes : sequence of float
        Long notional of the crowd, the money of the settings' turnover.
    leverages : sequence of float
        Long notional over equity at entry.
    shocks : sequence of float
        Simple return of the tier against its hedge, in (-1, 0].
    settings : UnwindSettings

    Returns
    -------
    pandas.DataFrame
        Sorted as the arguments nest, with `size`, `leverage`, `shock`; `turnover_days`, size over daily turnover of the
        tier; `tier_return`, from entry to the end of forced sales, and `own_return`, the part of it that the crowd
        itself made; `squeeze`, rise of the futures, and `convergence`, the part of it that closes their discount;
        `share_liquidated`; `equity_low` and `equity_end`, equity over that at entry at its lowest and after the
        rebound; `days` of forced trading; `called`; `rebound` of the tier, missing where sales have no end; and
        `converged`. All returns and shares are fractions.

    Raises
    ------
    DataContractError
        As `simulate_unwind`.
    """
    size, leverage, shock = (part.ravel() for part in np.meshgrid(sizes, leverages, shocks, indexing="ij"))
    run = simulate_unwind(size, leverage, shock, settings)
    return pd.DataFrame({
        "size": run.size,
        "leverage": run.leverage,
        "shock": run.shock,
        "turnover_days": run.size / settings.tier.adv,
        "tier_return": run.fall,
        "own_return": (1.0 + run.fall) / (1.0 + run.shock) - 1.0,
        "squeeze": run.squeeze,
        "convergence": run.convergence,
        "share_liquidated": run.share_liquidated,
        "equity_low": run.equity.min(axis=0),
        "equity_end": run.equity[-1],
        "days": run.ended_on,
        "called": run.called,
        "rebound": run.rebound,
        "converged": run.converged,
    })  # fmt: skip

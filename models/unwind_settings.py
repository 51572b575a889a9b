"""What an unwind is governed by: rules of the books, depth of both legs, limits of a day, and its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from features.errors import DefinitionError
from models.impact import MarketDepth
from models.swap_terms import Delever


@dataclass(frozen=True)
class UnwindSettings:
    """Settings of `simulate_unwind`; `DefinitionError` if they contradict each other.

    Parameters
    ----------
    tier, hedge : MarketDepth
        Of what the crowd holds, and of the index futures it has sold. Facts of the market, so without defaults.
    delever : Delever, optional
        Once equity over long notional is below `below`, books sell until their leverage is restored. Default: 0.20, the
        trigger of the example in METHODS section 6. None switches the threshold off: every loss is answered by a sale
        that restores the leverage at entry.
    maintenance : float, optional
        Equity over long notional under which a book is called and closed whole; brokers ask 0.10 to 0.12 (METHODS
        section 6), as in `SwapTerms`. None switches it off.
    limit : float, optional
        Largest move of a leg in a day, fraction: 0.10 by the rules of the main board and of index futures. At the limit
        nothing trades, and what could not be sold waits. None: no limit.
    participation : float
        Largest share of a leg's average daily turnover that the crowd trades in a day. *Assumed*: one half; panic
        lifts turnover, but the law of impact is not measured where one seller is the whole market.
    discount : float
        Annualised discount of the futures at the start, fraction; 0 is par. A fact of the day.
    contract_years : float
        Time to expiry of the contracts sold, years. *Assumed*: a quarter, the next quarterly contract.
    smallest : float
        A forced sale below this share of the crowd's notional at entry is not made. *Assumed*: a ten-thousandth.
    max_days : int
        Where forced sales have not ended by then, the unwind says that it did not converge. *Assumed*: 60 sessions.
    rebound_days : int
        Sessions over which the temporary part of the pressure is undone, in equal log steps, once sales have ended.
        *Assumed*: a week.
    """

    tier: MarketDepth
    hedge: MarketDepth
    delever: Delever | None = field(default_factory=lambda: Delever(below=0.20))
    maintenance: float | None = 0.12
    limit: float | None = 0.10
    participation: float = 0.5
    discount: float = 0.0
    contract_years: float = 0.25
    smallest: float = 1e-4
    max_days: int = 60
    rebound_days: int = 5

    def __post_init__(self) -> None:
        call = self.maintenance
        for name, value, holds, rule in (
            ("maintenance", call, call is None or 0 < call < 1, "a fraction between 0 and 1, or None"),
            ("limit", self.limit, self.limit is None or 0 < self.limit < 1, "a fraction between 0 and 1, or None"),
            ("participation", self.participation, 0 < self.participation < math.inf, "above 0"),
            ("discount", self.discount, -1 < self.discount < 1, "a fraction between -1 and 1"),
            ("contract_years", self.contract_years, 0 <= self.contract_years <= 2, "in [0, 2] years"),
            ("smallest", self.smallest, 0 < self.smallest < 1, "a fraction between 0 and 1"),
            ("max_days", self.max_days, self.max_days >= 1, "at least 1 session"),
            ("rebound_days", self.rebound_days, self.rebound_days >= 1, "at least 1 session"),
        ):
            if not holds:
                raise DefinitionError(f"`{name}` must be {rule}; got {value:g}")
        if self.delever is not None and call is not None and self.delever.below <= call:
            raise DefinitionError(
                f"`delever.below` must be above `maintenance` = {call:g}, or the call comes first; "
                f"got {self.delever.below:g}"
            )

    @property
    def outstanding(self) -> float:
        """Rise of the futures that brings them to the index, fraction; 0 where they stand at it or above."""
        return max(1.0 / (1.0 - self.discount * self.contract_years) - 1.0, 0.0)

    @property
    def highest_leverage(self) -> float:
        """Leverage from which on a book would sell or be called on the day it starts; infinite without thresholds."""
        bounds = [math.inf]
        if self.maintenance is not None:
            bounds.append(1 / self.maintenance)
        if self.delever is not None:
            bounds.append(1 / self.delever.below)
        return min(bounds)

"""The unwind of a crowd: a shock, forced sales that move the price, and the sales which that forces, day by day.

A crowd of books holds a tier of stocks on leverage L and has sold as much of index futures against it. All books are
alike, so they are one book of notional 1; money is a fraction of the crowd's notional at entry. A session:

1. What is left of the shock comes, as far as the limit of a day lets it. Futures do not take part.
2. Equity E and long notional A are read at these prices. E under `maintenance` * A is a call: the whole book must be
   closed. E under the trigger of `delever` (or, without one, any loss) orders the sale that restores the leverage,
   Q = A - L E (METHODS section 6). Both orders stand until done; a sale is sized anew each day.
3. As much is sold as the limit and the daily share of turnover allow; the rest waits. The tier's log price stands at
   shock - `y` * `sigma` * sqrt(sold so far / `adv`): all sales are slices of one order (see `MarketDepth`).
4. Futures are bought back until the short matches the long that is left, at the prices of step 2. The purchase lifts
   them by the same law: a squeeze, which first closes what discount there is and then lifts them above the index.

Moved prices cost the books equity, which may force the next sale. The crowd converged when no order is left; the share
of the pressure that is not permanent is then undone, and nobody buys back: four times down, two times up.

What is sold is paid by its own path of prices, so proceeds depend on how much was sold in all and not on how it was
sliced. Equity then falls with every share sold, whence the end of the unwind is monotone: a larger crowd, a larger
shock or, with the thresholds off, more leverage never leaves a larger share of the crowd standing. (With thresholds, a
sequence of shocks can spare the book of more leverage that sold in time, see `levered_book`; one shock alone did so in
none of 15,000 random draws.) Costs of holding are left out: a tenth of a percent over such days.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.contracts import BoolArray, FloatArray, IntArray
from features.errors import DataContractError
from models.impact import mean_price
from models.unwind_settings import UnwindSettings


@dataclass(frozen=True, eq=False)
class Unwind:
    """Unwinds of n crowds side by side; row 0 of each path is the day before the shock.

    Parameters
    ----------
    settings : UnwindSettings
    size, leverage, shock : array, shape (n,)
        Notional in money, long notional over equity, and the shock to the tier, simple return.
    tier, futures : array, shape (days + 1, n)
        Prices at each close, 1 at the start.
    held, short : array, shape (days + 1, n)
        Units of each leg left, fractions of those at entry.
    cash : array, shape (days + 1, n)
        Money at each close, a fraction of the notional at entry; what the short brought is in it.
    ended_on : array of int, shape (n,)
        Last session in which the crowd had to trade, or the last that was looked at.
    called : array of bool, shape (n,)
        Whether the books were called.
    converged : array of bool, shape (n,)
        Whether forced sales had ended within `settings.max_days`; if not, there is no rebound.
    """

    settings: UnwindSettings
    size: FloatArray
    leverage: FloatArray
    shock: FloatArray
    tier: FloatArray
    futures: FloatArray
    held: FloatArray
    short: FloatArray
    cash: FloatArray
    ended_on: IntArray
    called: BoolArray
    converged: BoolArray

    @property
    def equity(self) -> FloatArray:
        """Equity over equity at entry at each close, shape (days + 1, n); negative where the crowd owes money."""
        value: FloatArray = (self.cash + self.held * self.tier - self.short * self.futures) * self.leverage
        return value

    @property
    def sold(self) -> FloatArray:
        """Sold in each session at the prices of the entry, money, shape (days, n)."""
        sold: FloatArray = -np.diff(self.held, axis=0) * self.size
        return sold

    @property
    def share_liquidated(self) -> FloatArray:
        """Share of the crowd's units sold in the end, shape (n,)."""
        share: FloatArray = 1.0 - self.held[-1]
        return share

    @property
    def fall(self) -> FloatArray:
        """Simple return of the tier from entry to the end of forced sales, shape (n,); negative."""
        return self._at_end(self.tier) - 1.0

    @property
    def squeeze(self) -> FloatArray:
        """Rise of the futures over the same days, fraction, shape (n,)."""
        return self._at_end(self.futures) - 1.0

    @property
    def convergence(self) -> FloatArray:
        """Part of the squeeze that closes the discount to the index, fraction, shape (n,)."""
        return np.minimum(self.squeeze, self.settings.outstanding)

    @property
    def rebound(self) -> FloatArray:
        """Simple return of the tier after the end of forced sales, shape (n,); missing where they have no end."""
        return np.where(self.converged, self.tier[-1] / self._at_end(self.tier) - 1.0, np.nan)

    def _at_end(self, path: FloatArray) -> FloatArray:
        last: FloatArray = path[self.ended_on, np.arange(len(self.size))]
        return last


def simulate_unwind(
    size: npt.ArrayLike, leverage: npt.ArrayLike, shock: npt.ArrayLike, settings: UnwindSettings
) -> Unwind:
    """Let crowds unwind after a shock.

    Parameters
    ----------
    size : float or array
        Long notional of the crowd, the money of the settings' turnover; 0 for a crowd that moves no price.
    leverage : float or array
        Long notional over equity at entry.
    shock : float or array
        Simple return of the tier against its hedge that starts it, in (-1, 0]. The three broadcast to shape (n,).
    settings : UnwindSettings

    Returns
    -------
    Unwind

    Raises
    ------
    DataContractError
        If a value is out of range, or the settings would force a sale on the day of entry.
    """
    crowd = _Crowd(*_checked(size, leverage, shock, settings), settings)
    closes = [crowd.close()]
    for day in range(1, settings.max_days + 1):
        crowd.session(day)
        closes.append(crowd.close())
        if crowd.done.all():
            break
    # What follows the end of all sales: the state stands still while the temporary part of the pressure is undone.
    closes += [closes[-1]] * settings.rebound_days
    fallen, pressure, lift, held, short, cash = (np.array(part) for part in zip(*closes, strict=True))
    last = np.where(crowd.done, crowd.traded_on, len(closes) - 1 - settings.rebound_days)
    since = np.arange(len(closes))[:, None] - last
    undone = np.clip(since / settings.rebound_days, 0.0, 1.0) * crowd.done
    return Unwind(
        settings=settings,
        size=crowd.size,
        leverage=crowd.leverage,
        shock=crowd.shock,
        tier=np.exp(fallen - pressure * (1 - (1 - settings.tier.permanent) * undone)),
        futures=np.exp(lift * (1 - (1 - settings.hedge.permanent) * undone)),
        held=held,
        short=short,
        cash=cash,
        ended_on=last,
        called=crowd.closing,
        converged=crowd.done,
    )


def _checked(
    size: npt.ArrayLike, leverage: npt.ArrayLike, shock: npt.ArrayLike, settings: UnwindSettings
) -> tuple[FloatArray, FloatArray, FloatArray]:
    sizes, leverages, shocks = (
        np.array(part, dtype=np.float64).ravel() for part in np.broadcast_arrays(size, leverage, shock)
    )
    highest = settings.highest_leverage
    for name, values, holds, rule in (
        ("size", sizes, (sizes >= 0) & np.isfinite(sizes), "0 or more, money"),
        ("shock", shocks, (shocks > -1) & (shocks <= 0), "a simple return in (-1, 0]"),
        ("leverage", leverages, (leverages > 0) & np.isfinite(leverages), "above 0"),
        ("leverage", leverages, leverages <= highest, f"at most {highest:g}, or books would sell on the day of entry"),
    ):
        if not holds.all():
            raise DataContractError(f"`{name}` must be {rule}; got {values[~holds][0]:g}")
    return sizes, leverages, shocks


class _Crowd:
    """State of all crowds at a close, in fractions of the notional at entry."""

    def __init__(self, size: FloatArray, leverage: FloatArray, shock: FloatArray, settings: UnwindSettings) -> None:
        self.size, self.leverage, self.shock, self.settings = size, leverage, shock, settings
        n = len(size)
        self.fallen, self.sold, self.bought = np.zeros(n), np.zeros(n), np.zeros(n)
        self.selling, self.closing, self.done = (np.zeros(n, dtype=np.bool_) for _ in range(3))
        self.traded_on = np.zeros(n, dtype=np.int64)
        # Log move of each leg once a whole notional has been traded, and the share of it that a day lets trade.
        self.whole_fall, self.whole_rise = settings.tier.full_move(size), settings.hedge.full_move(size)
        self.daily = [
            np.where(size > 0, np.minimum(settings.participation * leg.adv, size) / np.where(size > 0, size, 1.0), 1.0)
            for leg in (settings.tier, settings.hedge)
        ]

    def close(self) -> tuple[FloatArray, ...]:
        """Return log shock so far, log pressure on the tier, log lift of the futures, units held and short, cash."""
        pressure, lift = self._pressure(), self._lift()
        # The sale starts only once the shock has come whole: until then the tier is at its limit.
        proceeds = self.sold * np.exp(self.fallen) * mean_price(pressure)
        cash = 1 / self.leverage + proceeds - self.bought * mean_price(-lift)
        return self.fallen.copy(), pressure, lift, 1.0 - self.sold, 1.0 - self.bought, cash

    def session(self, day: int) -> None:
        """Lead every crowd through one session."""
        settings = self.settings
        lowest, highest = (-np.inf, np.inf) if settings.limit is None else np.log1p([-settings.limit, settings.limit])
        move = np.maximum(np.log1p(self.shock) - self.fallen, lowest)
        self.fallen = self.fallen + move
        _, pressure, lift, held, short, cash = self.close()
        price, future = np.exp(self.fallen - pressure), np.exp(lift)
        equity = cash + held * price - short * future

        wanted = self._order(equity, held * price, held)
        sold = np.minimum(wanted, self.daily[0])
        sold = np.minimum(sold, _room(self.sold, self.whole_fall, move - lowest))
        matched = (held - sold) * price / future
        bought = np.maximum(short - matched, 0.0)
        owed = (bought > settings.smallest) | ((bought > 0) & (held - sold == 0))
        bought = np.minimum(np.where(owed, bought, 0.0), self.daily[1])
        bought = np.minimum(bought, _room(self.bought, self.whole_rise, np.full_like(move, highest)))

        self.sold = np.where(sold == held, 1.0, self.sold + sold)
        self.bought = np.where(bought == short, 1.0, self.bought + bought)
        whole = self.fallen <= np.log1p(self.shock)
        busy = (wanted > 0) | owed | ~whole
        self.traded_on[busy] = day
        self.done = ~busy

    def _order(self, equity: FloatArray, notional: FloatArray, held: FloatArray) -> FloatArray:
        """Return the units that must be sold, after noting calls and triggers."""
        settings = self.settings
        if settings.maintenance is not None:
            self.closing |= (held > 0) & (equity < settings.maintenance * notional)
        target = self.leverage
        if settings.delever is None:
            self.selling[:] = True
        else:
            self.selling |= (held > 0) & (equity < settings.delever.below * notional)
            target = self.leverage if settings.delever.to is None else np.full_like(held, settings.delever.to)
        excess = np.divide(notional - target * equity, notional, out=np.zeros_like(held), where=notional > 0)
        restore = held * np.clip(excess, 0.0, 1.0) * self.selling
        wanted = np.where(restore > settings.smallest, restore, 0.0)
        order: FloatArray = np.where(self.closing, held, wanted)
        return order

    def _pressure(self) -> FloatArray:
        pressure: FloatArray = self.whole_fall * np.sqrt(self.sold)
        return pressure

    def _lift(self) -> FloatArray:
        lift: FloatArray = self.whole_rise * np.sqrt(self.bought)
        return lift


def _room(traded: FloatArray, whole: FloatArray, room: FloatArray) -> FloatArray:
    """Return the share that can be traded before the log move left for the day is used up: the law turned round."""
    bound = whole > room
    ratio = np.divide(room, whole, out=np.ones_like(whole), where=bound)
    share = np.where(bound, (np.sqrt(traded) + ratio) ** 2 - traded, 1.0)
    # A leg that stands at its limit does not trade.
    return np.where(room > 0, share, 0.0)

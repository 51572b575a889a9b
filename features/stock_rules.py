"""How a market's exchange limits what a stock can do in a day, and where its file of stocks lies."""

from __future__ import annotations

from datetime import date

from pydantic import Field, model_validator

from features.series import Frozen


class PriceLimit(Frozen):
    """The daily price limit of one board from a date on.

    A return beyond `limit` of the last close (a fraction; `st_limit` for a stock under special treatment) cannot trade;
    the first `free_rows` sessions after the listing have none. `codes` are the prefixes of the board; none means all.
    """

    codes: tuple[str, ...] = ()
    since: date | None = None
    limit: float = Field(gt=0, lt=1)
    st_limit: float | None = Field(default=None, gt=0, lt=1)
    free_rows: int = Field(default=0, ge=0)


class StockRules(Frozen):
    """What a market definition says of single stocks.

    Of `limits` the last entry that names a stock's board and has begun is in force. A return may pass its limit by
    `slack`: sources adjust for splits but not always for cash dividends, and these lower the price on the day. Beyond
    `impossible` it is wrong in any case, unless the stock is new or was suspended. `seasoning` is how many sessions a
    stock must have traded before an index may take it; `references` are series of the market that a tier index can be
    compared with. `survivors_only` says that the source leaves out what has been delisted since.
    """

    file: str | None = None
    limits: tuple[PriceLimit, ...] = ()
    tick: float = Field(default=0.01, gt=0)
    slack: float = Field(default=0.006, ge=0)
    impossible: float = Field(default=0.45, gt=0)
    new_rows: int = Field(default=5, ge=1)
    seasoning: int = Field(default=30, ge=1)
    survivors_only: bool = True
    references: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _limits_are_possible(self) -> StockRules:
        if any(entry.limit > self.impossible for entry in self.limits):
            raise ValueError(f"`impossible` {self.impossible:g} must not lie below a price limit")
        return self

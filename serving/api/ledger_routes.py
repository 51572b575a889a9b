"""The ledger, page by page: every recorded forecast and its outcome."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import pandas as pd
from fastapi import APIRouter, Depends, Query

from serving.api.answers import LedgerEntry, LedgerPage
from serving.api.notice import notice_of
from serving.api.parameters import LedgerQuery, Market
from serving.api.problems import ApiProblem
from serving.api.service import Service, service_of
from serving.ledger_read import recorded_forecasts
from serving.ledger_view import ledger_json

router = APIRouter(prefix="/v1")


@router.get("/ledger/{market}", operation_id="ledger", summary="Recorded forecasts and their outcomes")
async def ledger(
    service: Annotated[Service, Depends(service_of)], market: Market, query: Annotated[LedgerQuery, Query()]
) -> LedgerPage:
    """Return a page of the ledger in the order of recording; none while the ledger does not verify."""
    return await service.workers.run(partial(_page, service, market, query))


def _page(service: Service, market: str, query: LedgerQuery) -> LedgerPage:
    book = service.ledger
    if book.database.path is not None and not book.database.path.is_file():
        raise ApiProblem(404, "there is no ledger yet", "`capshift forecast` begins one")
    service.ledger_guard.require()
    # One more than is shown says whether there is another page.
    rows = recorded_forecasts(book, market, after=query.after, limit=query.limit + 1)
    # A page beyond the end is simulated as the others are.
    any_rows = rows if not rows.empty or query.after is None else recorded_forecasts(book, market, limit=1)
    if any_rows.empty:
        raise ApiProblem(404, f"no forecast of market {market!r} is recorded", "/v1/markets lists the markets")
    shown = rows.head(query.limit)
    listed = ledger_json(market, shown, pd.DataFrame())
    return LedgerPage(
        market=market,
        simulated=bool(any_rows["simulated"].any()),
        notice=notice_of(bool(any_rows["simulated"].any())),
        entries=[LedgerEntry.model_validate(entry) for entry in listed["calls"]],
        next=int(shown["sequence"].iloc[-1]) if len(rows) > len(shown) else None,
    )

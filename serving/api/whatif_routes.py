"""What-if: move inputs of a published forecast and see the probabilities. Nothing is written."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from features.errors import BundleError, DataContractError
from serving.api.answers import WhatIfAnswer, WhatIfRequest
from serving.api.notice import notice_of
from serving.api.parameters import Market, WhatIfQuery
from serving.api.problems import ApiProblem
from serving.api.service import Service, service_of
from serving.record import Forecast
from serving.whatif import WhatIf, pair_names, what_if

router = APIRouter(prefix="/v1")


@router.post("/whatif/{market}", operation_id="whatif", summary="Move inputs, see the probabilities")
async def whatif(
    service: Annotated[Service, Depends(service_of)],
    market: Market,
    request: WhatIfRequest,
    query: Annotated[WhatIfQuery, Query()],
) -> WhatIfAnswer:
    """Ask the bundle of a forecast what it would have said; flags inputs that lie beyond what it was trained on."""
    return await service.workers.run(partial(_answer, service, market, request, query))


def _answer(service: Service, market: str, request: WhatIfRequest, query: WhatIfQuery) -> WhatIfAnswer:
    stored = service.forecasts.read(market, query.as_of).forecast
    if request.pair not in pair_names(stored):
        raise ApiProblem(404, f"the forecast has no pair {request.pair!r}", f"it has {', '.join(pair_names(stored))}")
    return WhatIfAnswer(
        market=stored.market,
        simulated=stored.simulated,
        notice=notice_of(stored.simulated),
        decision_date=stored.decision_date,
        bundle_cut=stored.bundle_cut,
        what_if=_ask(service, stored, request),
    )


def _ask(service: Service, stored: Forecast, request: WhatIfRequest) -> WhatIf:
    """Ask the bundle that repeats the forecast; of several of the same cut only one does."""
    failed: BundleError | None = None
    for folder in service.bundles.folders(stored):
        try:
            return what_if(stored, service.bundles.load(folder), request.pair, request.changes)
        except DataContractError as error:
            # Of the bundle's features; pair and numbers were checked before.
            raise ApiProblem(422, str(error), "/v1/drivers names the features") from error
        except BundleError as error:
            failed = error
    raise failed or BundleError(f"no bundle of the forecast of {stored.decision_date}; run `capshift train`")

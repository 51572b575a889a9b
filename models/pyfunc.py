"""The registered model: a bundle as an MLflow pyfunc, without MLflow.

MLflow calls `_load_pyfunc` with the folder of the bundle, `predict` with a table by the row contract. The code it needs
is shipped with the model (`models.shipping`), so that a machine without capshift scores the same numbers.

``CAPSHIFT_SCORING=reference`` in the environment lets LightGBM itself score.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd

from features.errors import DataContractError
from models.bundle import Bundle
from models.row_scores import DRIVER_COLUMNS, Method, RowScorer, all_columns, scores_frame

REJECTED = "rejected"
"""Column that says why a row breaks the contract; empty where it does not."""
METHOD_VARIABLE = "CAPSHIFT_SCORING"


class RowModel:
    """Scores tables by the row contract.

    Parameters
    ----------
    scorer : RowScorer
    """

    def __init__(self, scorer: RowScorer) -> None:
        self.scorer = scorer

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Score rows.

        Parameters
        ----------
        model_input : pandas.DataFrame
            Columns as in `models.row_contract`.
        params : dict, optional
            Not used; MLflow passes it.

        Returns
        -------
        pandas.DataFrame
            One row per row, same index, columns `output_columns`. A row that breaks the contract has its reason in
            `rejected` and nothing else; texts that are not there are empty.

        Raises
        ------
        DataContractError
            If the table lacks a column.

        Information set: the rows themselves; of the bundle, what matured before its cut.
        """
        rows, reasons = self.scorer.contract.read(model_input)
        good = reasons == ""
        scores = self.scorer.score(rows)
        if good.all():
            return scores_frame(scores, model_input.index, **{REJECTED: reasons})
        scored = scores_frame(scores, **{REJECTED: reasons[good]}).reindex(np.where(good, np.cumsum(good) - 1, -1))
        for column in ("validity", "reasons", *DRIVER_COLUMNS):
            scored[column] = scored[column].fillna("")
        scored[REJECTED] = reasons
        scored.index = model_input.index
        return scored


def output_columns() -> tuple[str, ...]:
    """Name the columns of a prediction."""
    return all_columns((REJECTED,))


def _load_pyfunc(path: str) -> RowModel:
    """Load a model; MLflow calls this.

    Raises
    ------
    BundleError
        If the bundle is damaged.
    DataContractError
        If the environment names an unknown method.
    """
    method = os.environ.get(METHOD_VARIABLE, "auto")
    if method not in get_args(Method):
        raise DataContractError(f"`{METHOD_VARIABLE}` must be one of {', '.join(get_args(Method))}; got {method!r}")
    return RowModel(RowScorer(Bundle.load(Path(path)), cast(Method, method)))

"""How far the inputs of a day lie outside what the bundle was trained on, feature by feature."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.checks import Finding
from features.contracts import Dataset
from models.bundle import Bundle


def support_findings(bundle: Bundle, dataset: Dataset, rows: pd.MultiIndex) -> list[Finding]:
    """Return a finding for every live feature outside the training range of a bundle.

    The distance is given in widths of the range between the least and the greatest value seen in training. Values
    outside the middle 98% but within that range are notes, values beyond it warnings. A feature that is the same for
    all pairs is named once.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
    rows : pandas.MultiIndex of (pair, decision_date)
        Of one decision day.

    Information set: what was known at the decision; of the bundle, what matured before its cut.
    """
    support, findings = bundle.support, []
    for info in bundle.features:
        if info.name not in support.low:
            continue
        low, high = support.low[info.name], support.high[info.name]
        least, most = support.least[info.name], support.most[info.name]
        said: set[float] = set()
        for (pair, day), value in zip(rows, dataset.values.loc[rows, info.name].to_numpy(np.float64), strict=True):
            if np.isnan(value) or low <= value <= high or (info.scope == "market" and value in said):
                continue
            said.add(float(value))
            beyond = max(least - value, value - most, 0.0)
            width = most - least
            far = f"{beyond / width:.2f} widths beyond" if width > 0 else "not"
            where = f" of {pair}" if info.scope == "pair" else ""
            findings.append(
                Finding(
                    info.name, "support", "warning" if beyond > 0 else "info", day, float(value), False,
                    f"{value:.4g}{where} lies {far} the training range [{least:.4g}, {most:.4g}]" if beyond > 0
                    else f"{value:.4g}{where} lies in the outer 2% of training, outside [{low:.4g}, {high:.4g}]",
                )
            )  # fmt: skip
    return findings

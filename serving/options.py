"""Options that several commands share; each reads its flag, then its CAPSHIFT_* variable, then capshift.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serving.steps import Language

DEFAULT_ARTIFACTS = Path("artifacts")

Market = Annotated[str, typer.Option(envvar="CAPSHIFT_MARKET", help="Built-in market or path of a definition (.toml).")]
Source = Annotated[
    Path | None,
    typer.Option(envvar="CAPSHIFT_SOURCE", help="Data root; a simulated market needs none.", show_default=False),
]
Stocks = Annotated[
    Path | None,
    typer.Option(
        envvar="CAPSHIFT_STOCKS",
        help="Parquet of single stocks: date, code, close, total_shares_10k, ret, is_st[, amount]; by default the "
        "definition's file below SOURCE.",
        show_default=False,
    ),
]
Artifacts = Annotated[Path, typer.Option(envvar="CAPSHIFT_ARTIFACTS", help="Folder of store, bundles and products.")]
AsOf = Annotated[
    str | None, typer.Option(envvar="CAPSHIFT_AS_OF", help="Decision day YYYY-MM-DD; the newest by default.")
]
Jobs = Annotated[int, typer.Option(envvar="CAPSHIFT_JOBS", min=1, help="Processes for training, threads for scoring.")]
Seed = Annotated[int, typer.Option(envvar="CAPSHIFT_SEED", min=0, help="Seed of a simulated market.")]
Lang = Annotated[Language, typer.Option(envvar="CAPSHIFT_LANG", help="Language of the note.")]
Pair = Annotated[str | None, typer.Option(envvar="CAPSHIFT_PAIR", help="Pair that leads the note.")]
FrozenFile = Annotated[
    Path | None,
    typer.Option("--frozen", help="The frozen configurations; configs/frozen.toml of the checkout by default."),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow; by default a SQLite file in the artefacts folder."),
]
LedgerPlace = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="CAPSHIFT_LEDGER",
        help="SQLite file, or postgresql://USER@HOST/DATABASE; ARTIFACTS/ledger.db by default.",
        show_default=False,
    ),
]
RecordIn = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        envvar="CAPSHIFT_LEDGER",
        help="Ledger to record forecasts in; by default they are not recorded.",
        show_default=False,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse bad points instead of putting them in quarantine.")]
Vintages = Annotated[bool, typer.Option("--vintages", help="Also read the definition's files of old vintages.")]

"""The command `capshift risk`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from features.errors import DataContractError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, AsOf, Market
from serving.steps import market_spec, parse_day, progress_bars


def risk(
    book: Annotated[Path, typer.Option(help="Table of books: parquet, or CSV with the suffix .csv.")],
    out: Annotated[Path, typer.Option(help="Product, parquet.")],
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    stress: Annotated[
        str | None, typer.Option(help="Stress of serving/stresses.toml, or a file (.toml) with `what` and `shocks`.")
    ] = None,
    horizon: Annotated[int | None, typer.Option(help="Weeks, 1 or 4; both by default.", show_default=False)] = None,
    margin: Annotated[
        bool, typer.Option("--margin", help="Also margin calls and forced sales, day by day: a millisecond a book.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads; the numbers do not depend on them.")] = 2,
    chunk_rows: Annotated[int, typer.Option(min=1, help="Books in memory, and in a part that a resumed job keeps.")] = (
        20_000
    ),
) -> None:
    """Price the tail of every book of a table on the scenario set of one decision day.

    Reads BOOK and ARTIFACTS/MARKET/scenarios; writes OUT, one row a book and horizon, all at once when all is done. A
    job that was killed goes on where it stopped when the same command runs again.

    VaR and expected shortfall are read at the corrected level of the worst pair a book holds (column level stands for
    5%); columns raw_... are read at 5% and 2.5% themselves.

    Columns of BOOK: book_id, as_of, gross_leverage (long notional / equity), financing_rate and basis (yearly
    fractions), long_SEGMENT (sum 1), hedge_SEGMENT (positive; sum 1, or 0 for a long-only book, or the value of a
    column hedge_ratio). A segment without a column is held by no book.

    Every row is checked before any is scored. One bad row refuses the whole table (exit code 2) with the first bad rows
    listed: a weight that is missing or does not sum as declared, a repeated book_id, another as_of, a held segment that
    the stress does not shock.
    """
    from dataclasses import replace

    from features.contracts import HORIZONS
    from models.books import BookSettings
    from serving.output import scenario_path
    from serving.risk import RiskJob, run_risk, sessions_per_year
    from serving.stress_table import load_stress

    spec = market_spec(market)
    if horizon is not None and horizon not in HORIZONS:
        raise DataContractError(f"`horizon` must be one of {', '.join(map(str, HORIZONS))} weeks; got {horizon}")
    folder = scenario_path(artifacts, spec.name, "x").parent
    known = sorted(path.stem for path in folder.glob("*.npz"))
    text = str(parse_day(as_of).astype("datetime64[D]")) if as_of is not None else known[-1] if known else "any day"
    if text not in known:
        have = f"stored: {', '.join(known[-5:])}" if known else "none is stored"
        raise DataContractError(
            f"{folder}: no scenario set of {text} ({have}); run `capshift forecast --market {market}` for that day"
        )
    day = parse_day(text)
    job = RiskJob(
        market=spec.name,
        simulated=spec.simulated,
        day=day,
        books=book,
        scenarios=scenario_path(artifacts, spec.name, text),
        out=out,
        horizons=HORIZONS if horizon is None else (horizon,),
        stress=None if stress is None else load_stress(stress, spec.name),
        margin=margin,
        chunk_rows=chunk_rows,
        settings=replace(BookSettings(), sessions_per_year=sessions_per_year(spec, day), threads=threads),
    )
    with progress_bars() as progress:
        done = run_risk(job, progress)
    label = "SIMULATED " if spec.simulated else ""
    kept = f", {done.resumed} of {done.chunks} parts kept from an interrupted job" if done.resumed else ""
    typer.echo(f"{label}{spec.name} {text}: {done.books} book(s) in {out}{kept}")

"""`capshift index`: tier indices out of a file of stocks; heavy imports wait until a command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from features.errors import DataContractError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, Market, Source, Stocks, Strict
from serving.steps import market_spec, open_store, parse_day, progress_bars
from serving.stock_step import named_stocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from features.market import MarketSpec
    from features.stock_index import StockIndex
    from serving.index_report import Likeness

index = typer.Typer(name="index", help="Indices of size tiers out of a file of stocks.", rich_markup_mode=None)


@index.callback()
def _group() -> None:
    """Keep `build` a command of its own though it is the only one."""


@index.command()
def build(
    out: Annotated[Path, typer.Option(help="Index day by day: .parquet or .csv.")],
    rule: Annotated[
        str, typer.Option(help="Ranks by total market value: smallest:N, largest:N or band:FIRST-LAST (1 is largest).")
    ] = "smallest:400",
    rebalance: Annotated[str, typer.Option(help="daily, monthly, quarterly, half-yearly or yearly.")] = "monthly",
    weight: Annotated[str, typer.Option(help="equal or cap.")] = "equal",
    cost: Annotated[float, typer.Option(help="Cost per side, a fraction: 0.001 is 10 bp.")] = 0.0,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Whether stocks at the limit or in a halt cannot be traded.")
    ] = True,
    market: Market = "sample",
    stocks: Stocks = None,
    source: Source = None,
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    since: Annotated[str | None, typer.Option("--from", help="First day YYYY-MM-DD.", show_default=False)] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last day YYYY-MM-DD.", show_default=False)] = None,
    members: Annotated[
        Path | None,
        typer.Option(help="Also write code and weight after each rebalance: .parquet or .csv.", show_default=False),
    ] = None,
    strict: Strict = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Build an index of a size tier: members chosen at the previous close, costs and untradable stocks included.

    Reads STOCKS, and ARTIFACTS/store.duckdb for the series to compare with; writes OUT and MEMBERS.

    Impossible cells go into quarantine and are told on standard error; an index that cannot do without them is refused
    with the rows (exit code 2). The shipped file of A-shares holds survivors only.
    """
    from features.stock_checks import check_stocks
    from features.stock_index import IndexRule, build_index
    from features.stock_panel import read_stocks
    from features.stock_selection import Selection
    from serving.index_report import IndexReport, refuse_quarantine, render_index

    # Typer hands over plain text; the rule checks it.
    how = IndexRule(Selection.parse(rule), rebalance, weight, cost, limits)  # type: ignore[arg-type]
    for path in (out, members):
        if path is not None and (path.suffix not in (".parquet", ".csv") or path.is_dir()):
            raise DataContractError(f"{path}: must be a file that ends in .parquet or .csv")
    spec = market_spec(market)
    if spec.stocks is None:
        raise DataContractError(
            f"market {spec.name!r} says nothing of single stocks; add a table `stocks` to its definition, or name "
            "another `--market`"
        )
    first, last = (
        None if text is None else parse_day(text, name) for text, name in ((since, "from"), (until, "until"))
    )
    path = named_stocks(spec, stocks, source)
    if path is None:
        raise DataContractError(
            "`--stocks` must name the parquet file of stocks, or `--source` a data root that holds it"
        )
    with progress_bars() as progress:
        progress("stocks", 0, 3)
        panel = read_stocks(path, first, last)
        progress("stocks", 1, 3)
        panel = check_stocks(panel, spec.stocks, spec.schedule.calendar)
        progress("stocks", 2, 3)
        if strict:
            refuse_quarantine(panel.findings)
        result = build_index(panel, spec.stocks, how, members=members is not None)
        progress("stocks", 3, 3)
    _warn(panel.findings)
    first_day = result.frame["date"].iloc[0]
    if first_day > panel.dates[0]:
        typer.echo(f"warning: the index starts on {first_day:%Y-%m-%d}: before, too few stocks for {rule}", err=True)
    _write(out, result.frame)
    if members is not None:
        _write(members, result.members)
    checks = {str(name): int(count) for name, count in panel.findings["check"].value_counts(sort=False).items()}
    survivors = spec.stocks.survivors_only or "survivors_only" in checks
    report = IndexReport(
        spec.name, result, survivors, _references(spec, artifacts, result, spec.stocks.references), checks
    )
    if as_json:
        typer.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=1, allow_nan=False))
        return
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(render_index(report))
    typer.echo(f"{len(result.frame)} days in {out}")


def _references(spec: MarketSpec, artifacts: Path, result: StockIndex, names: Sequence[str]) -> tuple[Likeness, ...]:
    """Return the comparison with the definition's reference series; without a store there is none."""
    from serving.index_report import likeness
    from serving.output import store_path

    if not names or not store_path(artifacts).is_file():
        return ()
    return likeness(result, open_store(artifacts).observations(spec.name), names)


def _warn(findings: pd.DataFrame) -> None:
    """Say on standard error what each check found, with its first cell."""
    for check, rows in findings.groupby("check", sort=False):
        row = rows.iloc[0]
        if row["severity"] == "info":
            continue
        bad = int(rows["quarantined"].astype(bool).sum())
        mark = f"{bad} in quarantine" if bad else "kept"
        typer.echo(
            f"warning: {check}: {len(rows)} finding(s), {mark}; first {row['series']} {row['period']:%Y-%m-%d}: "
            f"{row['message']}"
            if row["series"]
            else f"warning: {check}: {row['message']}",
            err=True,
        )


def _write(path: Path, frame: pd.DataFrame) -> None:
    from serving.output import write_atomic, write_parquet

    if path.suffix == ".parquet":
        write_parquet(path, frame)
    else:
        write_atomic(path, lambda work: frame.to_csv(work, index=False, date_format="%Y-%m-%d"))

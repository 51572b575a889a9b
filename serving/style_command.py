"""The commands `style` and `eligible`. Heavy imports wait until a command runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from features.errors import DataContractError
from serving.options import DEFAULT_ARTIFACTS, Artifacts, AsOf, Market
from serving.steps import market_spec, stored_decision

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Out = Annotated[Path | None, typer.Option(help="Also write the JSON to this file.", show_default=False)]


class ManyValues(TyperCommand):
    """A command whose repeatable options take several values: ``--hedge a b`` is ``--hedge a --hedge b``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before each further value, then parse as usual.

        Raises
        ------
        DataContractError
            If such an option is followed by no value: the next option's name must not be taken for one.
        """
        repeatable = {flag for option in self.params if getattr(option, "multiple", False) for flag in option.opts}
        spread: list[str] = []
        flag, filled = "", False
        for word in [*args, "--"]:
            if word.startswith("-"):
                if flag in repeatable and not filled:
                    raise DataContractError(f"`{flag}` must be followed by one or several names; got none")
                flag, equals, _ = word.partition("=")
                filled = bool(equals)
            elif flag in repeatable and filled:
                spread.append(flag)
            else:
                filled = True
            spread.append(word)
        return list(super().parse_args(ctx, spread[:-1]))


def style(
    returns: Annotated[Path, typer.Option(help="The fund: CSV or parquet, `date,return` (fraction) or `date,nav`.")],
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    window: Annotated[int, typer.Option(help="Days of the window, 60 or more.")] = 120,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Say whether a fund's return is micro-cap or only small-cap.

    Reads RETURNS and ARTIFACTS/store.duckdb; writes OUT, where one is named.
    """
    from models.style_analysis import StyleSettings
    from serving.fund_returns import read_fund_returns
    from serving.style import style_report
    from serving.style_tables import render_style

    settings = StyleSettings(window=window)
    spec = market_spec(market)
    fund = read_fund_returns(returns, spec.schedule.calendar)
    report = style_report(spec, *stored_decision(spec, artifacts, as_of), fund, settings)
    _deliver(report.to_json(), lambda: render_style(report), as_json, out)


def eligible(
    long: Annotated[str, typer.Option(help="Segment of the long leg; an unambiguous prefix will do.")],
    hedge: Annotated[
        list[str], typer.Option(metavar="NAME...", help="Segment(s) of the hedge: one flag, one or several names.")
    ],
    market: Market = "sample",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    as_of: AsOf = None,
    window: Annotated[int, typer.Option(help="Sessions of the past year.")] = 252,
    as_json: AsJson = False,
    out: Out = None,
) -> None:
    """Say whether long and short leg correlate enough for levered swaps: at least 0.80 over the past year.

    Reads ARTIFACTS/store.duckdb; writes OUT, where one is named.
    """
    from models.eligibility import EligibilityRule
    from serving.eligible import eligible_report
    from serving.segments import find_segment
    from serving.style_tables import render_eligible

    rule = EligibilityRule(window=window)
    spec = market_spec(market)
    legs = find_segment(spec, long, "--long"), [find_segment(spec, name, "--hedge") for name in hedge]
    report = eligible_report(spec, *stored_decision(spec, artifacts, as_of), *legs, rule)
    _deliver(report.to_json(), lambda: render_eligible(report), as_json, out)


def _deliver(content: dict[str, Any], render: Callable[[], RenderableType], as_json: bool, out: Path | None) -> None:
    """Write the file that was asked for, then print."""
    from rich.console import Console

    from serving.output import write_text

    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    if out is not None:
        if out.is_dir():
            raise DataContractError(f"`--out` must be a file; {out} is a folder")
        write_text(out, text + "\n")
    if as_json:
        typer.echo(text)
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(render())

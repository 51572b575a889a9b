"""The evidence as one markdown page: verdicts first, then every table that they rest on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from training.evidence import Evidence
from training.evidence_sections import SECTIONS, table


@dataclass(frozen=True)
class Provenance:
    """What the page says of itself: market, commands, data and code behind it.

    Parameters
    ----------
    market : str
    simulated : bool
    command : str
        The command that regenerates the page.
    span : str
        Decisions scored, in words.
    snapshot_id, config_hash, git_commit : str
    looks : tuple of str
        Last decisions of earlier evaluations beyond the design years, as logged.
    """

    market: str
    simulated: bool
    command: str
    span: str
    snapshot_id: str
    config_hash: str
    git_commit: str
    looks: tuple[str, ...] = ()


def evidence_markdown(evidence: Evidence, source: Provenance) -> str:
    """Render every table; figures in percent are fractions of the base rate's loss, intervals cover 90%."""
    parts = [_head(evidence, source), "## Verdicts\n", _verdicts(evidence)]
    if evidence.suspicions:
        parts += ["Too good to be believed without a search for the leak:\n", _list(evidence.suspicions)]
    for title, about, render in SECTIONS:
        parts += [f"## {title}\n", f"{about}\n", render(evidence)]
    return "\n".join(parts)


def _head(evidence: Evidence, source: Provenance) -> str:
    label = "SIMULATED. " if source.simulated else ""
    heads = evidence.run.heads
    looks = ", ".join(source.looks) if source.looks else "none"
    lines = [
        f"# {label}Evidence for the heads of market {source.market}\n",
        f"Regenerate: `{source.command}`.\n",
        f"- Decisions: {source.span}; {heads['decision_date'].nunique()} weeks, {heads['pair'].nunique()} pair(s), "
        f"{len(evidence.run.folds)} refits. Executable timing: entry at the close of the session after the decision.",
        f"- Data `{source.snapshot_id}`, configuration `{source.config_hash}`, code `{source.git_commit[:12]}`.",
        f"- Configurations tried before: {evidence.trials} (`configs/trials.toml`).",
        f"- Earlier evaluations beyond the design years: {looks}.\n",
    ]
    return "\n".join(lines)


def _verdicts(evidence: Evidence) -> str:
    words = {True: "reached", False: "**missed**"}
    rows = [
        [row["head"], row["claim"], row["figure"], words.get(row["reached"], "-")]
        for row in evidence.verdicts.to_dict("records")
    ]
    reached = evidence.verdicts["reached"].map(lambda value: value is True).sum()
    return f"{reached} of {len(rows)} reached.\n\n" + table(["head", "claim", "figure", ""], rows)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) + "\n"

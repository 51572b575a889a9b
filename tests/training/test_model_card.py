"""The model card: every number is the study's, bad ones too, and nothing is claimed that was not measured."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.training.study_toy import study
from training.model_card import model_card
from training.score_tables import POOLED
from training.study import Study


@pytest.fixture
def made(tmp_path: Path) -> Study:
    return replace(study(tmp_path, simulated=False), contributions={})


def test_it_says_what_on_which_data_against_which_champion(made: Study) -> None:
    card = model_card(made, champion="version 3, cut 2022-12-30", studies=4, configurations=3)
    for words in (
        "# sample, cut 2023-06-30", "snapshot `5eed`", "pairs: a-b, a-c", "2012-10-05 to 2013-11-22",
        "configuration `c0ffee`, code `0123abc`", "champion at the time: version 3, cut 2022-12-30",
        "3 configuration(s) tried, this one included; 4 earlier study(ies)", "## Intended use", "## Limits",
    ):  # fmt: skip
        assert words in card
    assert "SIMULATED" not in card
    assert "champion at the time: none" in model_card(made)


def test_every_skill_is_there_the_negative_ones_too(made: Study) -> None:
    card = model_card(made)
    assert (made.scores["skill_log_loss"] < 0).any()
    for row in made.scores.to_dict("records"):
        line = f"| {row['event']} | {row['horizon_weeks']} | {row['pair']} | {row['n']} |"
        assert line in card
        assert f"| {100 * row['skill_log_loss']:+.1f} |" in card[card.index(line) :].splitlines()[0]


def test_words_follow_the_intervals(made: Study) -> None:
    scores = made.scores.assign(skill_low=-0.01, skill_high=0.01)
    crash = (scores["event"] == "crash") & (scores["pair"] == POOLED)
    switch = (scores["event"] == "switch") & (scores["pair"] == POOLED)
    scores.loc[switch, ["skill_low", "skill_high"]] = (0.01, 0.02)
    scores.loc[crash, ["skill_low", "skill_high"]] = (-0.02, -0.01)
    card = model_card(replace(made, scores=scores))
    assert "above zero: switch 1w, switch 4w; not told from zero: large 1w, large 4w; below zero: crash 1w" in card


def test_baselines_where_they_were_run(made: Study) -> None:
    assert "Other baselines were not run" in model_card(made)
    table = pd.concat([
        made.scores.assign(model="heads"),
        made.scores.assign(model="momentum", skill_log_loss=np.where(made.scores["event"] == "large", 0.5, np.nan)),
    ])  # fmt: skip
    card = model_card(replace(made, baselines=table))
    assert "| momentum |  | +50.0 |  |  | +50.0 |  |" in card
    assert "| heads |" in card


def test_what_it_may_not_claim(made: Study) -> None:
    card = model_card(replace(made, simulated=True, scored_until=date(2013, 6, 28)))
    assert card.startswith("# SIMULATED: sample")
    assert "nothing here says anything about a real market" in card
    assert "decisions after 2013-06-28 are forecast but not scored here" in card


def test_a_study_that_is_not_scored_yet(made: Study) -> None:
    empty = replace(made, yearly=made.yearly.iloc[:0], scores=made.scores.iloc[:0])
    assert "No year is scored yet" in model_card(empty)

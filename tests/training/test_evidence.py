"""The evidence of a small SIMULATED market: whole, resumed, judged, and counted."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import training.evidence_run as evidence_run_module
import training.heads_walk as heads_walk_module
from features.errors import DefinitionError
from tests import small
from training.evidence import compare_models, gather, rotation_table
from training.evidence_markdown import Provenance, evidence_markdown
from training.evidence_run import HEADS, EvidenceRun, evidence_run
from training.heads_walk import Start, heads_walk
from training.parts import Parts, part_key
from training.score_tables import score_table
from training.trials import Trial, configurations, logged_trials
from training.verdicts import Target, load_targets, suspicions, verdict_table

UNTIL = np.datetime64("2010-06-25", "us")
FEW = ("climatology", "persistence", "momentum", "ridge_logit", "scenario_set")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def run(artifacts: Path) -> EvidenceRun:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence_run_module, "NAMES", FEW)
        return evidence_run(small.dataset(), small.plan(), artifacts, until=UNTIL, jobs=1)


def toy_models(seed: int = 0, weeks: int = 160) -> dict[str, pd.DataFrame]:
    """Forecasts of three models: one that knows, one that does not, one that knows the wrong way round."""
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2012-01-06", periods=weeks, freq="7D")
    keys = pd.MultiIndex.from_product([["a", "b"], dates, [1, 4]], names=["pair", "decision_date", "horizon_weeks"])
    frame = keys.to_frame(index=False)
    # Both horizons of a date know the same.
    known = np.repeat(rng.normal(size=len(frame) // 2), 2)
    truth = 1 / (1 + np.exp(-1.2 * known))
    frame["spread_realised"] = 0.02 * rng.normal(size=len(frame)) - 0.03 * (truth - 0.5)
    models = {}
    for event in ("switch", "large", "crash"):
        frame[f"p_{event}_base"], frame[f"y_{event}"] = 0.5, (rng.random(len(frame)) < truth).astype(float)
    for name, slope in ((HEADS, 1.2), ("ridge_logit", 0.0), ("scenario_set", -1.2)):
        p = 1 / (1 + np.exp(-slope * known))
        models[name] = frame.assign(**{f"p_{event}": p for event in ("switch", "large", "crash")})
    return models


class TestRun:
    def test_all_models_forecast_the_rows_of_the_heads(self, run: EvidenceRun) -> None:
        assert list(run.models) == [HEADS, *FEW]
        keys = ["pair", "decision_date", "horizon_weeks"]
        for frame in run.models.values():
            pd.testing.assert_frame_equal(frame[keys], run.heads[keys])
        assert run.heads["decision_date"].max() == pd.Timestamp(UNTIL)
        rate = run.heads["p_crash_base"].where(run.heads["p_crash"].notna())
        np.testing.assert_allclose(run.models["climatology"]["p_crash"], rate, rtol=1e-12)

    def test_heads_are_those_of_the_walk_forward(self, run: EvidenceRun) -> None:
        keys = ["pair", "decision_date", "horizon_weeks"]
        walked = small.walked().forecasts
        walked = walked[walked["decision_date"] <= pd.Timestamp(UNTIL)].set_index(keys)
        mine = run.heads.set_index(keys)
        for name in ("p_switch", "p_large", "p_crash", "p_crash_lo", "p_switch_base"):
            np.testing.assert_allclose(mine[name], walked[name].reindex(mine.index), atol=1e-12)

    def test_taken_up_again_it_fits_nothing(
        self, run: EvidenceRun, artifacts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def never(*_: object, **__: object) -> None:
            raise AssertionError("finished work is done again")

        monkeypatch.setattr(evidence_run_module, "NAMES", FEW)
        for name in ("prepare", "heads_walk", "explained"):
            monkeypatch.setattr(evidence_run_module, name, never)
        monkeypatch.setattr("training.kept_baselines.baseline_forecasts", never)
        again = evidence_run(small.dataset(), small.plan(), artifacts, until=UNTIL, jobs=1)
        for name, frame in run.models.items():
            pd.testing.assert_frame_equal(again.models[name], frame)
        pd.testing.assert_frame_equal(again.explained.table, run.explained.table)

    @pytest.mark.deep
    def test_interrupted_it_goes_on_from_finished_bundles_to_the_same_numbers(
        self, run: EvidenceRun, artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(evidence_run_module, "NAMES", ())

        def interrupted(stage: str, done: int, total: int) -> None:
            if stage == "heads" and done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evidence_run(small.dataset(), small.plan(), tmp_path, until=UNTIL, jobs=1, progress=interrupted)
        fits: list[np.datetime64] = []
        fit = heads_walk_module.fit_uncalibrated

        def counted(dataset, base, volatility, cut, plan):
            fits.append(cut)
            return fit(dataset, base, volatility, cut, plan)

        monkeypatch.setattr("training.heads_walk.fit_uncalibrated", counted)
        monkeypatch.setattr(evidence_run_module, "prepare", lambda *_, **__: pytest.fail("volatility is fitted again"))
        again = evidence_run(small.dataset(), small.plan(), tmp_path, until=UNTIL, jobs=1)
        assert len(fits) == len(run.folds) - 2
        pd.testing.assert_frame_equal(again.heads, run.heads)

    def test_another_state_of_anything_is_another_key(self) -> None:
        dataset, plan = small.dataset(), small.plan()
        keys = {
            part_key(dataset, plan),
            part_key(dataset, plan, ["2018-12-28"]),
            part_key(dataset, small.plan(code_version="other")),
            part_key(dataset, small.plan(refit_weeks=13)),
            part_key(small.dataset(small.MIDDLE), plan),
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("training.parts.code_hash", lambda roots: "another state of the code")
            keys.add(part_key(dataset, plan))
        assert len(keys) == 6

    def test_a_damaged_part_is_made_anew(self, tmp_path: Path) -> None:
        parts, frame = Parts(tmp_path / "deep"), pd.DataFrame({"a": [1.0, np.nan]})
        pd.testing.assert_frame_equal(parts.frame("one", lambda: frame), frame)
        pd.testing.assert_frame_equal(parts.frame("one", lambda: pytest.fail("it is there")), frame)
        (tmp_path / "deep" / "one.parquet").write_bytes(b"PAR1 cut")
        pd.testing.assert_frame_equal(parts.frame("one", lambda: frame), frame)

    def test_explanations_have_an_order_and_shares(self, run: EvidenceRun) -> None:
        table, families = run.explained.table, run.explained.families
        assert len(table) == 6
        assert table["seeds"].between(-1, 1).all()
        assert (table["seeds_lowest"] <= table["seeds"]).all()
        shares = families.drop(columns=["event", "horizon_weeks", "year"])
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)


class TestTables:
    def test_the_whole_page(self, run: EvidenceRun) -> None:
        evidence = gather(run, {"switch 4w": Target(pooled=-1.0), "crash 4w": Target(pooled=0.9)}, trials=7, draws=39)
        source = Provenance("sample", True, "capshift evaluate heads", "2009 to 2010", "s" * 12, "c" * 16, "g" * 40)
        page = evidence_markdown(evidence, source)
        assert page.startswith("# SIMULATED. ")
        assert "Configurations tried before: 7" in page
        assert "| switch 4w | pooled skill -100.0% or more |" in page
        assert "nan" not in page
        for name in FEW:
            assert f"| {name} |" in page
        assert evidence.trials == 7

    def test_a_model_that_knows_is_told_from_those_that_do_not(self) -> None:
        models = toy_models()
        compared = compare_models(models, draws=99).set_index(["event", "horizon_weeks", "model"])
        for key in (("switch", 1), ("large", 4)):
            assert compared.loc[(*key, HEADS), "mcs_included"]
            assert not compared.loc[(*key, "scenario_set"), "mcs_included"]
            assert compared.loc[(*key, "ridge_logit"), "difference"] < 0
            assert compared.loc[(*key, "ridge_logit"), "dm_p_value"] < 0.01

    def test_more_trials_deflate_the_ratio_of_the_rule(self) -> None:
        models = toy_models(weeks=200)
        few, many = (rotation_table(models, trials)[0].set_index("model") for trials in (0, 200))
        assert few.loc[HEADS, "ratio"] > 0 > few.loc["scenario_set", "ratio"]
        assert few.loc[HEADS, "deflated_sharpe"] > many.loc[HEADS, "deflated_sharpe"]
        assert few["deflated_sharpe"].notna().sum() == 1


class TestVerdicts:
    def judged(self, models: dict[str, pd.DataFrame], targets: dict[str, Target]) -> dict[tuple[str, str], object]:
        heads = [(event, weeks) for event in ("switch", "large", "crash") for weeks in (1, 4)]
        stability = pd.DataFrame(heads, columns=["event", "horizon_weeks"]).assign(seeds=0.8)
        table = verdict_table(score_table(models[HEADS]), compare_models(models, draws=99), stability, targets)
        return {(row["head"], row["claim"]): row["reached"] for row in table.to_dict("records")}

    def test_known_good_and_known_bad(self) -> None:
        target = {"large 4w": Target(pooled=0.05, above_zero=True, every_pair=0.0, pairs={"a": 0.05, "absent": 0.5})}
        models = toy_models()
        good = self.judged(models, target)
        bad = self.judged({**models, HEADS: models["scenario_set"], "scenario_set": models[HEADS]}, target)
        claims = [claim for head, claim in good if head == "large 4w"]
        assert not any("absent" in claim for claim in claims)
        for claim in claims:
            assert good["large 4w", claim] is True, claim
            if "seeds" not in claim:
                assert bad["large 4w", claim] is False, claim

    def test_too_good_is_a_leak_until_proven_otherwise(self) -> None:
        models = toy_models()
        noise = pd.DataFrame(
            {"event": ["large"], "horizon_weeks": [1], "pair": ["a"], "figure": ["auc"], "value": [0.66]}
        )
        found = suspicions(score_table(models[HEADS]), noise)
        assert any("AUC 0.66" in line for line in found)
        assert any("large 4w, pooled: skill" in line for line in found)
        assert suspicions(score_table(models["ridge_logit"]), noise.assign(value=0.6)) == []

    def test_shipped_targets_are_those_of_the_issue(self) -> None:
        targets = load_targets("cn")
        assert targets["switch 1w"].pooled == targets["switch 4w"].pooled == 0.03
        assert targets["crash 4w"] == Target(pooled=0.04, above_zero=True, every_pair=0.0)
        assert targets["large 4w"].pairs == {"csi300-csi1000": 0.02}
        assert load_targets("nowhere") == {}

    def test_a_target_that_does_not_validate(self, tmp_path: Path) -> None:
        path = tmp_path / "targets.toml"
        path.write_text('[cn]\n"switch 1w" = { poled = 0.03 }\n', encoding="utf-8")
        with pytest.raises(DefinitionError, match=r"targets\.toml"):
            load_targets("cn", path)
        assert load_targets("cn", tmp_path / "absent.toml") == {}


class TestTrials:
    def test_the_shipped_list_counts_what_was_run(self) -> None:
        trials = logged_trials()
        assert configurations(trials) >= 78
        assert all(trial.date >= date(2026, 11, 26) and trial.verdict for trial in trials)
        assert not [trial for trial in trials if trial.verdict == "planned" and trial.configurations]

    def test_counting(self, tmp_path: Path) -> None:
        one = Trial(date=date(2026, 1, 1), change="a", window="b", verdict="c")
        assert configurations((one, one.model_copy(update={"configurations": 4}))) == 5
        assert logged_trials(tmp_path / "absent.toml") == ()
        path = tmp_path / "trials.toml"
        path.write_text("[[trial]]\nchange = 1\n", encoding="utf-8")
        with pytest.raises(DefinitionError, match=r"trials\.toml"):
            logged_trials(path)


def test_the_heads_alone_take_bundles_of_a_backtest(tmp_path: Path) -> None:
    """A finished bundle of the same data, catalogue and settings is read, another one is not."""
    start = Start({bundle.cut: bundle.volatility for bundle in small.walked().bundles}, small.walked().base)
    bundles = small.walked().bundles
    for bundle in bundles:
        bundle.save(tmp_path / f"{np.datetime_as_string(bundle.cut, 'D')}-{bundle.snapshot_id}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.heads_walk.fit_uncalibrated", lambda *_: pytest.fail("a bundle is fitted again"))
        forecasts, found = heads_walk(small.dataset(), small.plan(), start, jobs=1, roots=(tmp_path,))
    assert len(found) == len(bundles)
    assert len(forecasts) == len(small.walked().forecasts)

"""Multiruns: one table at the end, whatever failed; the same command completes what is missing."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from fdp_lightning.errors import UserError
from fdp_lightning.sweeps.variants import SweepError, VariantRun, finish_sweep, variant_runs


def jobs_of(*overrides: str, variants: dict[str, list[str]] | None = None) -> list[VariantRun]:
    return variant_runs(OverridesParser.create().parse_overrides(list(overrides)), variants or {})


def test_jobs_are_all_variants_at_all_points() -> None:
    given = ["seed=0,1", "model.optimizer.lr=0.1,0.2", "model.pooling=arp"]
    points = [(f"model.optimizer.lr={lr}", f"seed={seed}") for seed in (0, 1) for lr in (0.1, 0.2)]
    assert [(job.variant, job.point) for job in jobs_of(*given)] == points
    study = jobs_of(*given, variants={"whole": [], "no rank loss": ["model.objective.rank=0"]})
    assert len(study) == len({job.overrides for job in study}) == 8
    assert study[1].variant == "no rank loss model.optimizer.lr=0.1"
    own = ("model.objective.rank=0", "seed=0", "model.optimizer.lr=0.1", "model.pooling=arp")
    assert set(study[1].overrides) == set(own)
    assert {job.variant for job in jobs_of("seed=0,1")} == {"default"}


def returned(error: Exception | None) -> JobReturn:
    job = JobReturn(status=JobStatus.FAILED if error else JobStatus.COMPLETED)
    job.return_value = error
    return job


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([None, UserError("lr must be above 0"), None], UserError),
        ([None, UserError("lr must be above 0"), OSError("disk")], SweepError),
        ([RuntimeError("pool"), RuntimeError("pool"), RuntimeError("pool")], SweepError),
    ],
)
def test_failures_are_named_and_mistakes_stay_such(errors: list[Exception | None], kind: type, tmp_path: Path) -> None:
    jobs = jobs_of("model.optimizer.lr=1,2,3")
    (tmp_path / "variants.csv").write_text("of an earlier sweep")
    with pytest.raises(kind) as caught:
        finish_sweep(tmp_path, jobs, [returned(error) for error in errors])
    assert not list(tmp_path.iterdir())
    failed = [number for number, error in enumerate(errors, 1) if error]
    assert f"{len(failed)} of 3 jobs failed" in str(caught.value)
    assert [f"lr={number}:" in str(caught.value) for number in (1, 2, 3)] == [number in failed for number in (1, 2, 3)]


def test_a_mistake_in_all_jobs_is_said_once(tmp_path: Path) -> None:
    jobs = jobs_of("seed=1,2")
    with pytest.raises(UserError, match=r"^there is no store$"):
        finish_sweep(tmp_path, jobs, [returned(UserError("there is no store"))] * 2)

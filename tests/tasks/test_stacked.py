"""`loso.engine=stacked`: folds trained together end as folds trained one by one."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.fold import run_fold
from fdp_lightning.engine.plan import FoldPlan, plan_fold
from fdp_lightning.engine.stacked.check import check_engine
from fdp_lightning.engine.stacked.pool import stacks_of
from fdp_lightning.engine.stacked.train import KEPT, train_stack
from fdp_lightning.engine.stacked.trial import try_stack
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.predictions import read_predictions
from fdp_lightning.training.resume import keep, newest
from tests.tasks.conftest import run_of, start

pytestmark = pytest.mark.costly

Plans = Callable[..., list[FoldPlan]]

DOUBLE = ["trainer.precision=64-true", "trainer.max_epochs=3", "data.sampling.frames=3", "model.backbone.drop_path=0.3"]


class CutError(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture
def plans(casme2_root: Path, store_folder_path: Path, tmp_path: Path) -> Plans:
    """Plans the folds of three subjects."""

    def make(name: str, *overrides: str) -> list[FoldPlan]:
        data = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
        data += [f"data.store={store_folder_path.parent}", "data.batch_size=4", "loso.checkpoint_seconds=0"]
        config = configuration(*data, *overrides)
        ready = ready_data(config)
        return [plan_fold(config, ready, split, tmp_path / name) for split in ready.folds()]

    return make


def layout(value: Any) -> Any:
    """Keys, shapes and types, without the values."""
    if isinstance(value, Mapping):
        return {key: layout(one) for key, one in value.items()}
    return (value.shape, value.dtype) if isinstance(value, Tensor) else type(value)


def ignore_settings(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of its training, without the folder of the run."""
    return {key: value for key, value in checkpoint["fdp_lightning"].items() if key != "config"}


def assert_same(one: FoldPlan, other: FoldPlan, tolerance: float) -> None:
    """Both folds are finished and hold the same files with the same content."""
    assert one.fingerprint == other.fingerprint and one.is_done and other.is_done
    files = [sorted(str(p.relative_to(plan.folder)) for p in plan.folder.rglob("*")) for plan in (one, other)]
    assert [name for name in files[1] if name != "log.txt"] == files[0]
    assert (one.folder / "log/hparams.yaml").read_bytes() == (other.folder / "log/hparams.yaml").read_bytes()
    tables = ["predictions.csv", "curves.csv", "log/metrics.csv", *(["inner.csv"] if one.fold.inner_rows else [])]
    for name in tables:
        pd.testing.assert_frame_equal(
            pd.read_csv(one.folder / name), pd.read_csv(other.folder / name), rtol=0, atol=max(tolerance, 1e-6)
        )  # Lightning takes the mean of an epoch in float32
    with np.load(one.folder / "outputs.npz") as first, np.load(other.folder / "outputs.npz") as second:
        assert first.files == second.files
        for name in first.files:
            if first[name].dtype.kind == "f":
                np.testing.assert_allclose(first[name], second[name], rtol=0, atol=max(tolerance, 1e-6), err_msg=name)
            else:
                np.testing.assert_array_equal(first[name], second[name])
    first, second = (torch.load(p.folder / "checkpoints/last.ckpt", weights_only=True) for p in (one, other))
    assert layout(first) == layout(second) and ignore_settings(first) == ignore_settings(second)
    assert (first["epoch"], first["global_step"]) == (second["epoch"], second["global_step"])
    for name, value in first["state_dict"].items():
        torch.testing.assert_close(value, second["state_dict"][name], rtol=0, atol=tolerance)
    facts, others = (json.loads((plan.folder / "fold.json").read_text()) for plan in (one, other))
    for measured in ("seconds", "training_seconds", "checksums"):
        assert type(facts.pop(measured)) is type(others.pop(measured))
    assert others.pop("trained_together") >= 1
    assert facts == others


@pytest.mark.parametrize(
    ("overrides", "tolerance"),
    [
        ([*DOUBLE, "model.objective.class_weighting=inverse", "selection.inner_subjects=1"], 1e-9),
        pytest.param(
            [
                *DOUBLE,
                "data.augmentation=null",
                "model.optimizer.steps=8",
                "model.objective.image_scale=min_max",
                "model.optimizer.rules={backbone: {lr: 0.5}}",
            ],
            1e-9,
            marks=pytest.mark.slow,
        ),
        # Lightning's average is in float32 whatever the precision, and rounds the weights in training whenever it
        # changes places with them. Over more than one epoch it is compared in tests/training/test_stack.py.
        pytest.param(
            [
                *DOUBLE,
                "trainer.max_epochs=1",
                "model.optimizer.ema=0.7",
                "data.normalisation=each_set",
                "data.sampling.rule=random_phase",
            ],
            1e-5,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["augmented", "shared", "ema"],
)
def test_folds_of_a_stack_are_what_each_of_them_is_alone(plans: Plans, overrides: list[str], tolerance: float) -> None:
    alone, together = plans("alone", *overrides), plans("together", *overrides)
    for plan in alone:
        run_fold(plan)
    seen: list[tuple[str, int]] = []
    assert train_stack(together, None, lambda fold, done: seen.append((fold, done))) == {}
    epochs = together[0].config["trainer"]["max_epochs"]
    assert seen == [(plan.fold.name, epoch + 1) for epoch in range(epochs) for plan in together]
    for one, other in zip(alone, together, strict=True):
        assert_same(one, other, tolerance)
        assert not other.unfinished.exists()


def test_a_stack_that_was_cut_goes_on_where_it_stopped(plans: Plans) -> None:
    whole, cut = plans("whole", *DOUBLE), plans("cut", *DOUBLE)
    assert train_stack(whole, None, lambda fold, done: None) == {}

    def on_epoch(fold: str, done: int) -> None:
        if (fold, done) == (cut[1].fold.name, 3):
            raise CutError

    with pytest.raises(CutError):
        train_stack(cut, None, on_epoch)
    assert not any(plan.folder.exists() for plan in cut)
    paths = [newest(plan.unfinished / KEPT, plan.fingerprint)[0] for plan in cut]
    assert all(path is not None and "-epoch000002-" in path.name for path in paths)
    assert paths[2] is not None
    paths[2].write_bytes(paths[2].read_bytes()[:-9])  # this fold begins anew, by itself
    seen: list[tuple[str, int]] = []
    assert train_stack(cut, None, lambda fold, done: seen.append((fold, done))) == {}
    names = [plan.fold.name for plan in cut]
    assert seen == [(names[2], 1), (names[2], 2), (names[2], 3), (names[0], 3), (names[1], 3)]
    for one, other in zip(whole, cut, strict=True):
        pd.testing.assert_frame_equal(
            *[read_predictions(plan.folder / "predictions.csv")[0] for plan in (one, other)], rtol=0, atol=1e-9
        )
        curves = [pd.read_csv(plan.folder / "curves.csv") for plan in (one, other)]
        pd.testing.assert_frame_equal(*curves, rtol=0, atol=1e-9)
        logs = [pd.read_csv(plan.folder / "log/metrics.csv") for plan in (one, other)]
        assert len(logs[0]) == 6
        pd.testing.assert_frame_equal(*logs, rtol=0, atol=1e-9)
    resumed = [json.loads((plan.folder / "fold.json").read_text())["resumed_from_epoch"] for plan in cut]
    assert resumed == [2, 2, 0]


@pytest.mark.slow
def test_a_fold_that_diverges_fails_alone(plans: Plans) -> None:
    whole, spoilt = plans("whole", *DOUBLE), plans("spoilt", *DOUBLE)
    assert train_stack(whole, None, lambda fold, done: None) == {}

    def on_epoch(fold: str, done: int) -> None:
        if done == 2:
            raise CutError

    with pytest.raises(CutError):
        train_stack(spoilt, None, on_epoch)
    folder, mark = spoilt[1].unfinished / KEPT, spoilt[1].fingerprint
    path, _ = newest(folder, mark)
    assert path is not None
    state = torch.load(path, weights_only=True)
    state["stack"]["weights"]["model.backbone.stem.0.conv.weight"].fill_(torch.nan)
    torch.save(state, folder / "new.partial")
    keep(folder / "new.partial", f"{mark}-epoch000001")
    failed = train_stack(spoilt, None, lambda fold, done: None)
    name = spoilt[1].fold.name
    assert [*failed] == [name] and not spoilt[1].folder.exists()
    assert (
        failed[name]
        .strip()
        .endswith("DivergedError: the training diverged: train/loss is nan in epoch 2; try a lower model.optimizer.lr")
    )
    for number in (0, 2):
        one, other = (pd.read_csv(plans[number].folder / "curves.csv") for plans in (whole, spoilt))
        pd.testing.assert_frame_equal(one, other, rtol=0, atol=1e-9)
    assert not list((spoilt[1].run / "folds").glob(f".{name}.*"))


def test_folds_are_shared_out_to_stacks_of_equal_batches(plans: Plans) -> None:
    (plan, *_) = plans("any")
    clips = [9, 8, 11, 10, 7, 6, 3, 3, 12]  # in batches of 4: three steps, or two; 3 clips are a smaller batch
    many = [
        dataclasses.replace(plan, fold=dataclasses.replace(plan.fold, name=str(i), train_rows=tuple(range(n))))
        for i, n in enumerate(clips)
    ]

    def names(workers: int, largest: int | None) -> list[list[str]]:
        return [[one.fold.name for one in stack] for stack in stacks_of(many, workers, largest)]

    assert names(1, None) == [["0", "2", "3", "8"], ["1", "4", "5"], ["6", "7"]]
    assert names(1, 3) == [["0", "2"], ["3", "8"], ["1", "4", "5"], ["6", "7"]]
    assert sorted(names(9, None)) == [[str(i)] for i in range(9)]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loso.engine=stapled", "loso.engine is 'stapled'; expected one of processes, stacked"),
        ("loso.stack=0", "loso.stack is 0; expected how many"),
        ("trainer=ddp_cpu", "on one device"),
        ("trainer.precision=16-mixed", "found 16-mixed"),
        ("+trainer.accumulate_grad_batches=2", "does not follow trainer.accumulate_grad_batches=2"),
        ("+trainer.max_time=00:00:01:00", "does not follow trainer.max_time"),
        ("+trainer.limit_train_batches=0.5", "as a number, found 0.5"),
        ("logger=wandb", "logger=wandb opens one run per process"),
    ],
)
def test_what_cannot_be_stacked_is_refused(override: str, message: str) -> None:
    config = configuration("loso.engine=stacked", override)
    with pytest.raises(UserError, match=message) as refused:
        check_engine(config, launched=False)
    assert override.startswith("loso") or "loso.engine=processes" in str(refused.value)
    if not override.startswith("loso"):
        check_engine(configuration(override), launched=False)
    with pytest.raises(UserError, match="torchrun"):
        check_engine(configuration("loso.engine=stacked"), launched=True)
    check_engine(configuration("loso.engine=stacked", "debug=smoke"), launched=False)


class Noisy(nn.Module):
    """A backbone whose noise no stack can draw for its networks."""

    in_channels = 1

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def map_shapes(self, image_size: int) -> dict[int, tuple[int, int]]:
        return {8: (1, image_size // 8)}

    def forward_maps(self, frames: Tensor, finer: Sequence[int]) -> list[Tensor]:
        return [nn.functional.avg_pool2d(self.dropout(frames), 8)]


def test_a_model_that_torch_cannot_map_is_refused() -> None:
    config = configuration("+experiment=synthetic_loso", "model.finer_maps=[]")
    config.model.backbone = {"_target_": f"{__name__}.Noisy"}
    with pytest.raises(UserError, match=r"cannot train this model: .*random operation") as refused:
        try_stack(config)
    assert "loso.engine=processes" in str(refused.value)


@pytest.mark.slow  # two whole commands
def test_a_run_by_stacks_skips_what_is_finished_and_is_pooled(workplace: Path) -> None:
    run = run_of(workplace)
    before = {path.name: (path / "fold.json").stat().st_mtime_ns for path in (run / "folds").iterdir()}
    for name in ("01", "03"):
        (run / "folds" / name).rename(workplace / name)
    pooled = pd.read_csv(run / "predictions.csv")
    done = start(workplace, "loso.engine=stacked", "loso.workers=1")
    assert done.returncode == 0, done.stderr
    assert "2 of 3 folds to run" in done.stderr and "fold 03 done (2/2)" in done.stderr
    assert (run / "folds/02/fold.json").stat().st_mtime_ns == before["02"]
    for name in ("01", "03"):
        facts = json.loads((run / "folds" / name / "fold.json").read_text())
        assert facts["trained_together"] == 2
        assert facts["fingerprint"] == json.loads((workplace / name / "fold.json").read_text())["fingerprint"]
        assert (run / "folds" / name / "log.txt").is_file()
    stacked = pd.read_csv(run / "predictions.csv")
    keys = ["subject", "clip", "selection", "fold"]
    assert stacked[keys].equals(pooled[keys])
    last = stacked["selection"] == "last"
    probabilities = [column for column in pooled if str(column).startswith("prob_")]
    difference = (stacked.loc[last, probabilities] - pooled.loc[last, probabilities]).abs().to_numpy()
    assert 0 < difference.max() < 0.02  # float32: Adam's first steps make much of little
    assert not list((run / "logs").iterdir()) and not (run / "unfinished").exists()

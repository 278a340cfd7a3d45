"""Batches of several folds at once against the batches that each fold gives by itself."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pytest
import torch

from fdp_lightning.data.loading.augment import ClipAugmentation
from fdp_lightning.data.loading.datamodule import FoldDataModule
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.loading.stacked_batches import StackedBatches
from fdp_lightning.data.protocols.splits import Fold

CLASSES = ["disgust", "happiness", "others", "repression", "surprise"]
CPU = torch.device("cpu")
FOLDS = [Fold("01", tuple(range(5, 15)), tuple(range(5))), Fold("03", tuple(range(10)), tuple(range(10, 15)))]
OPTIONS = {
    "as they are": {},
    "augmented": {"augmentation": True},
    "drawn frames": {"sampling": Sampling(frames=4, rule="random_phase")},
    "own scale": {"normalisation": "each_set"},
}


def make_folds(store: Path, clips: pd.DataFrame, options: Mapping[str, object]) -> list[FoldDataModule]:
    clips = clips.assign(target=clips["emotion"])
    folds = []
    for number, fold in enumerate(FOLDS):
        kept = {**options, "augmentation": ClipAugmentation() if options.get("augmentation") else None}
        folds.append(FoldDataModule(store, clips, CLASSES, fold, batch_size=4, seed=number, **kept))
    return folds


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("name", [*OPTIONS])
def test_each_fold_gets_the_batches_it_would_have_alone(
    store_folder_path: Path, casme2_clips: pd.DataFrame, name: str, threads: int
) -> None:
    alone = make_folds(store_folder_path, casme2_clips, OPTIONS[name])
    together = make_folds(store_folder_path, casme2_clips, OPTIONS[name])
    assert all(data.train_set.is_fixed == (name == "as they are") for data in together)
    stacked = StackedBatches(together, [fold.train_rows for fold in FOLDS], CPU, threads)
    assert len(stacked) == 3
    for epoch in (0, 3):
        expected = []
        for data in alone:
            order = list(data.epoch_batches(epoch))
            expected.append([[data.train_set[index] for index in batch] for batch in order])
        for step, batch in enumerate(stacked.epoch(epoch)):
            assert set(batch) == {"frames", "frame_number", "apex", "target"}
            for fold, steps in enumerate(expected):
                for clip, item in enumerate(steps[step]):
                    for entry, values in batch.items():
                        torch.testing.assert_close(
                            values[fold, clip], item[entry], rtol=0, atol=0, equal_nan=True, check_dtype=entry != "apex"
                        )
        assert step == 2
    frames = batch["frames"]
    stacked.keep([1])
    *_, last = stacked.epoch(3)
    assert torch.equal(last["frames"], frames[1:])

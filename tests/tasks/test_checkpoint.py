"""The checkpoint of a fold holds the weights that made its predictions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.store.clip_store import open_store
from fdp_lightning.instantiate import build_model
from tests.tasks.conftest import fold_here

pytestmark = pytest.mark.costly


@pytest.mark.parametrize("ema", ["null", "0.5"])
def test_the_checkpoint_gives_the_predictions(
    ema: str, casme2_root: Path, casme2_clips: pd.DataFrame, store_folder_path: Path, tmp_path: Path
) -> None:
    data = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={casme2_root}"]
    data += [f"data.store={store_folder_path.parent}", "data.batch_size=5", "trainer.max_epochs=2"]
    fold_here(*data, f"run={tmp_path}", "fold=02", f"model.optimizer.ema={ema}", "model.optimizer.lr=0.01")
    saved = torch.load(tmp_path / "folds/02/checkpoints/last.ckpt", weights_only=True)
    config = OmegaConf.create(saved["fdp_lightning"]["config"])
    model = build_model(config, len(saved["fdp_lightning"]["classes"])).eval()
    model.load_state_dict(
        {name.removeprefix("model."): v for name, v in saved["state_dict"].items() if name.startswith("model.")}
    )
    table = pd.read_csv(tmp_path / "folds/02/predictions.csv", dtype={"subject": str})
    table = table[table["selection"] == "last"]
    store = open_store(store_folder_path)
    rows = store.rows(table.merge(casme2_clips[["dataset", "subject", "clip", "onset"]]))
    clips = np.stack([store.read(row, Sampling().positions(store.length(row))) for row in rows])
    for parameter in model.parameters():  # the same arithmetic in the same order: equal bit for bit
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    with torch.no_grad():
        found = model(torch.from_numpy(clips)[:, :, None].float().div_(255)).logits.double().softmax(dim=1).numpy()
    expected = table[[f"prob_{name}" for name in saved["fdp_lightning"]["classes"]]].to_numpy()
    np.testing.assert_array_equal(found, expected)

"""The weights that STSTNet's authors published: in our names, and on the public maps the predictions of their log."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from fdp_lightning.models.flow.ststnet import STSTNet, from_published
from fdp_lightning.models.weights import read_weights
from tests.megc2019_arrays import FOLDER, needs_arrays


def published_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights of the published shapes, under the published names."""
    torch.manual_seed(seed)
    ours = STSTNet().state_dict()
    theirs = {}
    for name, value in ours.items():
        stream = re.fullmatch(r"streams\.(\d)\.(conv|norm)\.(\w+)", name)
        kind = {"conv": "conv", "norm": "bn"}[stream[2]] if stream else "fc"
        theirs[f"{kind}{int(stream[1]) + 1}.{stream[3]}" if stream else name.replace("classify", kind)] = value
    return theirs


def test_a_published_file_loads_strictly(tmp_path: Path) -> None:
    torch.save(published_state(), tmp_path / "006.pth")
    model = STSTNet()
    model.load_state_dict(from_published(read_weights(tmp_path / "006.pth")))
    state = published_state()
    assert torch.equal(model.streams[1].conv.weight, state["conv2.weight"])
    assert torch.equal(model.streams[2].norm.running_var, state["bn3.running_var"])
    assert torch.equal(model.classify.bias, state["fc.bias"])


@pytest.mark.parametrize("name", ["conv4.weight", "conv0.weight", "conv.weight", "head.weight", "bn.weight"])
def test_a_name_of_another_network_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        from_published({**published_state(), name: torch.zeros(1)})


@needs_arrays
def test_the_published_weights_give_the_published_log() -> None:
    arrays, weights = (np.load(FOLDER / f"{name}.npz") for name in ("composite442_ststnet_flow28", "ststnet_weights68"))
    maps = torch.from_numpy(arrays["flow"][..., ::-1].copy()).permute(0, 3, 1, 2).float()  # strain, v, u
    subjects = arrays["subject"]
    predicted = np.full(len(subjects), -1)
    for subject in np.unique(subjects):
        state = {n.split("/")[1]: torch.from_numpy(weights[n]) for n in weights.files if n.startswith(f"{subject}/")}
        model = STSTNet().eval()
        model.load_state_dict(from_published(state))
        with torch.no_grad():
            predicted[subjects == subject] = model(maps[subjects == subject]).argmax(dim=1).numpy()
    log = (FOLDER / "STSTNet_python_logfile.txt").read_text()
    blocks = re.findall(r"Subject: (\w+)\s+Predicted\s*: \[([\d, ]+)\]\s+Ground Truth: \[([\d, ]+)\]", log)
    assert len(blocks) == 68
    # The log does not name the clips of a subject: their targets and predictions are compared as pairs.
    for subject, predictions, targets in blocks:
        there = Counter(zip(map(int, targets.split(",")), map(int, predictions.split(",")), strict=True))
        mine = subjects == subject
        assert Counter(zip(arrays["label"][mine].tolist(), predicted[mine].tolist(), strict=True)) == there, subject
    assert f1_score(arrays["label"], predicted, average="macro") == pytest.approx(0.7209, abs=5e-5)

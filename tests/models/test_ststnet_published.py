"""The published STSTNet weights: converted to our names, they reproduce the published log on the public maps."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional as F

from fdp_lightning.models.flow.ststnet import STSTNet, from_published
from fdp_lightning.models.weights import read_weights
from tests.megc2019_arrays import FOLDER, needs_arrays


class ThreeStreams(nn.Module):
    """The network as drawn in the paper, with the published names: streams of 3, 5 and 8 filters."""

    def __init__(self) -> None:
        super().__init__()
        for stream, filters in enumerate((3, 5, 8), start=1):
            self.add_module(f"conv{stream}", nn.Conv2d(3, filters, 3, padding=2))
            self.add_module(f"bn{stream}", nn.BatchNorm2d(filters))
        self.fc = nn.Linear(400, 3)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        streams = []
        for stream in (1, 2, 3):
            x = F.relu(self.get_submodule(f"conv{stream}")(maps))
            streams.append(F.max_pool2d(self.get_submodule(f"bn{stream}")(x), 3, stride=3, padding=1))
        return self.fc(F.avg_pool2d(torch.cat(streams, dim=1), 2).flatten(1))


def published_network() -> ThreeStreams:
    torch.manual_seed(0)
    network = ThreeStreams()
    for norm in (network.bn1, network.bn2, network.bn3):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.normal_(norm.weight)  # of both signs: with negative ones, maximum and normalisation do not commute
    return network.eval()


def test_a_published_file_gives_the_outputs_of_three_streams(tmp_path: Path) -> None:
    theirs, model, maps = published_network(), STSTNet().eval(), 255 * torch.rand(5, 3, 28, 28)
    torch.save(theirs.state_dict(), tmp_path / "006.pth")
    model.load_state_dict(from_published(read_weights(tmp_path / "006.pth")))
    with torch.no_grad():
        torch.testing.assert_close(model(maps), theirs(maps), rtol=1e-4, atol=1e-3)


def test_a_name_of_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="conv4"):
        from_published({**published_network().state_dict(), "conv4.weight": torch.zeros(1)})


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
    # The log does not name the clips of a subject, so pairs of target and prediction are compared.
    for subject, predictions, targets in blocks:
        there = Counter(zip(map(int, targets.split(",")), map(int, predictions.split(",")), strict=True))
        mine = subjects == subject
        assert Counter(zip(arrays["label"][mine].tolist(), predicted[mine].tolist(), strict=True)) == there, subject
    assert f1_score(arrays["label"], predicted, average="macro") == pytest.approx(0.7209, abs=5e-5)

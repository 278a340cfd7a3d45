"""The dynamic image that needs no model, beside which the constructed one stands in the report."""

import pytest
import torch

from fdp_lightning.config import configuration
from fdp_lightning.instantiate import build_model
from fdp_lightning.models.fdp.objective import Objective
from fdp_lightning.training.module import RecognitionModule
from fdp_lightning.training.optimizer import OptimizerSettings
from tests.models.padding import double_sum


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    frames = torch.rand(3, 8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    return {"frames": frames, "target": torch.tensor([0, 1, 2]), "index": torch.arange(3)}


def predicted(batch: dict[str, torch.Tensor], rms: float = 1.0, **objective: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    module = RecognitionModule(
        build_model(configuration(), 5), Objective(**objective), OptimizerSettings("adam", lr=1e-3)
    )
    module.objective.image_rms.fill_(rms)
    with torch.no_grad():
        return module.eval().predict_step(batch)


def test_it_is_the_weighted_sum_of_the_frames_on_the_scale_of_the_target(batch: dict[str, torch.Tensor]) -> None:
    images = torch.einsum("t,bthw->bhw", torch.from_numpy(double_sum(8)), batch["frames"][:, :, 0].double())
    low, high = images.amin(dim=(1, 2), keepdim=True), images.amax(dim=(1, 2), keepdim=True)
    scaled = {"min_max": (images - low) / (high - low), "signed": (0.5 + images / 16).clamp(0, 1)}
    for scale, expected in scaled.items():
        given = predicted(batch, rms=2.0, image_kind="simple", image_scale=scale)["arp_of_input"]
        assert given.dtype == torch.float32
        torch.testing.assert_close(given.double(), expected, atol=1e-5, rtol=0)


def test_by_default_it_is_the_target_bit_for_bit_and_otherwise_not(batch: dict[str, torch.Tensor]) -> None:
    def is_target(**objective: str) -> bool:
        outputs = predicted(batch, **objective)
        return torch.equal(outputs["arp_of_input"], outputs["true_dynamic_image"])

    assert is_target() and is_target(image_scale="signed")
    for other in ({"image_kind": "simple"}, {"image_kind": "onset_apex", "image_scale": "signed"}):
        assert not is_target(**other), other

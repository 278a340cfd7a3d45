"""What the options of faces, sampling and augmentation do to a run before anything is trained."""

from pathlib import Path

import pytest
import torch
from openpyxl import load_workbook

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import ready_data
from fdp_lightning.engine.preflight import check_options
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import build, build_model
from fdp_lightning.models.recognizer import Clips

pytestmark = pytest.mark.costly

SYNTHETIC = ("data=synthetic", "protocol=synthetic_5c", "model=fdp_tiny")


def test_clips_without_an_apex_are_named_where_the_rule_asks_for_one(
    small_copy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (workbook,) = small_copy.glob("*.xlsx")
    book = load_workbook(workbook)
    column = [cell.value for cell in book.active[1]].index("ApexFrame") + 1
    book.active.cell(3, column).value = "/"
    book.save(workbook)
    arguments = ["data=casme2", "protocol=casme2_5c_249", "protocol.strict=false", f"data.root={small_copy}"]
    arguments += [f"data.store={tmp_path}/stores", "data.faces.method=none", "data.faces.size=16", "data.workers=1"]
    data = ready_data(configuration(*arguments, "data.sampling.rule=around_apex"))
    assert len(data.clips) == 3
    assert "1 clips" in caplog.text and "data.sampling.rule=around_apex" in caplog.text
    caplog.clear()
    ready_data(configuration(*arguments))
    assert "apex" not in caplog.text


def test_colour_makes_a_network_for_colour_that_a_step_can_train() -> None:
    config = configuration(*SYNTHETIC, "data.faces.colour=rgb")
    model, objective = build_model(config, classes=5), build(config.model.objective)
    assert model.backbone.in_channels == 3
    assert build_model(configuration(*SYNTHETIC), classes=5).backbone.in_channels == 1
    frames = torch.rand(2, 8, 3, 64, 64, generator=torch.manual_seed(0))
    clips = Clips(frames, torch.tensor([0, 3]))
    output = model(frames)
    objective(output, clips).total.backward()
    assert output.dynamic_image.shape == objective.true_dynamic_image(clips).shape == (2, 1, 64, 64)
    assert model.backbone.stem[0].conv.weight.grad.abs().sum() > 0
    # The dynamic image is of the mean over colours: of a grey clip in three channels, that of the grey one.
    grey = frames[:, :, :1]
    targets = [objective.true_dynamic_image(Clips(f, clips.target)) for f in (grey, grey.expand_as(frames))]
    torch.testing.assert_close(*targets)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ("[{_target_: albumentations.RandomCrop, height: 16, width: 16}]", "(64, 64, 1) uint8"),
        ("[{_target_: albumentations.ISONoise, p: 1}]", "shape (64, 64, 1)"),
        ("[{_target_: collections.Counter}]", "data.augmentation.transforms holds Counter()"),
    ],
)
def test_a_transform_that_cannot_be_meant_is_refused_before_training(transforms: str, message: str) -> None:
    config = configuration(*SYNTHETIC, f"data.augmentation.transforms={transforms}")
    with pytest.raises(UserError) as caught:
        check_options(config)
    assert message in str(caught.value)

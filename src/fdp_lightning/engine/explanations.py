"""What moved and counted in the held-out clips of a fold, for its report."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.faces.regions import face_regions, shares
from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule
from fdp_lightning.extras import Extra
from fdp_lightning.labels import KEY
from fdp_lightning.models.attribution import HEAT, SHARE, STEPS, heat_maps, of_heat
from fdp_lightning.models.recognizer import Clips
from fdp_lightning.training.module import RecognitionModule

MOST = 8
"""Clips of each class that are explained in a fold: more would take long where half of all clips are held out."""


def explanations(
    module: RecognitionModule,
    data: FoldDataModule,
    probabilities: np.ndarray,
    faces: FaceSettings,
    device: torch.device,
) -> tuple[tuple[Extra, ...], dict[str, np.ndarray]]:
    """Explain the most probable class of held-out clips: the first `MOST` of each class, whatever was predicted.

    `probabilities` are those of all held-out clips, (n, k).

    Returns:
        Declarations, and their arrays, a row per clip, NaN for a clip that is not explained or has no heat: maps,
        float16, (n, h, w), and the share of each region of the face, where faces are aligned by landmarks.
    """
    clips = data.test_set
    assert clips is not None
    order = np.lexsort([data.test_clips[part] for part in reversed(KEY)])
    rows = _chosen(clips.all_clips()["target"].numpy(), order)
    frames, _ = clips.key_frames()
    sides, regions = frames.shape[2:4], face_regions(faces)
    extras = of_heat("for the most probable class", regions or ())
    arrays = {HEAT: np.full((len(clips), *sides), np.nan, np.float16)}
    arrays |= {SHARE + name: np.full(len(clips), np.nan, np.float32) for name in regions or ()}
    best = torch.from_numpy(probabilities.argmax(axis=1))
    at_once = max(1, data.batch_size // STEPS)
    with _ready(module, device):
        for some in np.array_split(rows, -(-len(rows) // at_once)) if len(rows) else ():
            heat = _heat(module, clips, some, best[some], device)
            heat = F.interpolate(heat[:, None], sides, mode="bilinear", align_corners=False)[:, 0]
            for row, of_clip in zip(some, heat.numpy(), strict=True):
                arrays[HEAT][row] = of_clip
                for name, share in (shares(of_clip, regions) or {}).items():
                    arrays[SHARE + name][row] = share
    return extras, arrays


def _heat(
    module: RecognitionModule, clips: ClipDataset, rows: np.ndarray, best: Tensor, device: torch.device
) -> Tensor:
    batch = clips.all_clips(rows)
    kind = next((parameter.dtype for parameter in module.model.parameters()), torch.float32)
    target = batch["target"].to(device)
    which, labels = best.to(device).repeat_interleave(STEPS), module.objective.labels

    def odds(between: Tensor) -> Tensor:
        logits = module.run(Clips(between, target.repeat_interleave(STEPS, dim=0))).logits
        of_class = [labels.log_odds(logits, index) for index in range(logits.shape[1])]
        return torch.stack(of_class, dim=1).gather(1, which[:, None])[:, 0]

    taken, still = (values.to(device, kind) for values in (batch["frames"], clips.stills(rows)))
    return heat_maps(odds, taken, still)


def _chosen(target: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows of the first clips of each class, or of each action unit and of none."""
    shown = target.astype(bool) if target.ndim == 2 else target[:, None] == np.unique(target)
    shown = np.column_stack([shown, ~shown.any(axis=1)])[order]
    return np.sort(order[((shown.cumsum(axis=0) <= MOST) & shown).any(axis=1)])


@contextmanager
def _ready(module: RecognitionModule, device: torch.device) -> Iterator[None]:
    """The module in evaluation on a device, where gradients of operations without a deterministic form may be taken."""
    mode, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    training, place = module.training, module.device
    # No training takes the gradient of its input; that of the last digits of a picture may differ on a GPU.
    torch.use_deterministic_algorithms(mode and device.type == "cpu")
    module.eval().to(device)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        module.train(training).to(place)
        torch.use_deterministic_algorithms(mode, warn_only=warns)

"""Explanations of a fold's held-out clips, for its report: which motion counted, and which other clips are similar."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.faces.regions import face_regions, shares
from fdp_lightning.data.loading.datamodule import ClipDataset, FoldDataModule
from fdp_lightning.engine.plan import FoldPlan
from fdp_lightning.extras import Extra
from fdp_lightning.instantiate import settings
from fdp_lightning.labels import KEY, LabelKind
from fdp_lightning.models.attribution import HEAT, SHARE, STEPS, heat_maps, occlusion_map, of_heat
from fdp_lightning.models.labels import LABELS
from fdp_lightning.models.recognizer import Clips, Representing
from fdp_lightning.training.module import RecognitionModule

MOST = 8  # clips explained per class and fold: more would take long if half of all clips are held out

MOST_OCCLUDED = 2  # the same for a model without gradients, which predicts many altered copies of each clip

_TINY = 1e-12  # probability of a class that a model rules out

ANCHORS = 256  # clips of a protocol, evenly spread, that held-out clips are compared with if they are in training

SIMILARITIES = "similarities"

Made = tuple[tuple[Extra, ...], dict[str, np.ndarray]]
"""Declarations of extras, and their arrays with one row per held-out clip."""


def explanations(
    module: RecognitionModule, data: FoldDataModule, plan: FoldPlan, probabilities: np.ndarray, device: torch.device
) -> Made:
    """Explain the most probable class of held-out clips (`probabilities`, (n, k)); compare them with training clips."""
    kind = next((parameter.dtype for parameter in module.model.parameters()), torch.float32)
    best = torch.from_numpy(probabilities.argmax(axis=1))

    def heat(clips: ClipDataset, rows: np.ndarray) -> Tensor:
        batch = clips.all_clips(rows)
        target = batch["target"].to(device)
        which, labels = best[rows].to(device).repeat_interleave(STEPS), module.objective.labels

        def odds(between: Tensor) -> Tensor:
            logits = module.run(Clips(between, target.repeat_interleave(STEPS, dim=0))).logits
            of_class = [labels.log_odds(logits, index) for index in range(logits.shape[1])]
            return torch.stack(of_class, dim=1).gather(1, which[:, None])[:, 0]

        taken, still = (values.to(device, kind) for values in (batch["frames"], clips.stills(rows)))
        return heat_maps(odds, taken, still)

    with _ready(module, device):
        extras, arrays = _heat_maps(heat, data, plan, MOST, max(1, data.batch_size // STEPS))
        if not isinstance(module.model, Representing):
            return extras, arrays
        network = module.model

        @torch.no_grad()
        def represent(clips: Tensor) -> np.ndarray:
            return network.represent(clips.to(device, kind)).float().cpu().numpy()

        similarities = {SIMILARITIES: _similarities(represent, data, plan)}
        return (*extras, Extra(SIMILARITIES, "vector", network.representation)), arrays | similarities


def explanations_without_gradient(
    predict: Callable[[np.ndarray], np.ndarray],
    features: Callable[[np.ndarray], np.ndarray] | None,
    data: FoldDataModule,
    plan: FoldPlan,
    probabilities: np.ndarray,
) -> Made:
    """Do the same for a classical recogniser, with fewer clips.

    `predict` returns the probabilities of clips, (n, k), and `features` their classified features, (n, d); None: clips
    are not compared.
    """
    best = probabilities.argmax(axis=1)

    def heat(clips: ClipDataset, rows: np.ndarray) -> Tensor:
        maps, inputs = [], clips.all_clips(rows)["frames"]
        for clip, still, label in zip(inputs, clips.stills(rows), best[rows].tolist(), strict=True):

            def odds(copies: Tensor, label: int = label) -> Tensor:
                logits = torch.from_numpy(np.log(np.clip(predict(copies.numpy()), _TINY, None)))
                return LABELS[LabelKind.SINGLE].log_odds(logits, label)

            maps.append(occlusion_map(odds, clip, still))
        return torch.stack(maps)

    extras, arrays = _heat_maps(heat, data, plan, MOST_OCCLUDED, 1)
    if features is None:
        return extras, arrays
    similarities = {SIMILARITIES: _similarities(lambda clips: features(clips.numpy()), data, plan)}
    return (*extras, Extra(SIMILARITIES, "vector", "features")), arrays | similarities


def _heat_maps(
    heat: Callable[[ClipDataset, np.ndarray], Tensor], data: FoldDataModule, plan: FoldPlan, most: int, at_once: int
) -> Made:
    """Return heat maps, float16, (n, h, w), and, for faces aligned by landmarks, the share of each region of the face.

    The first clips of each class are explained, whatever was predicted; NaN for others and for clips without heat.
    """
    clips = data.test_set
    assert clips is not None
    order = np.lexsort([data.test_clips[part] for part in reversed(KEY)])
    rows = _chosen(clips.all_clips()["target"].numpy(), order, most)
    frames, _ = clips.key_frames()
    faces: FaceSettings = settings(FaceSettings, OmegaConf.create(plan.config).data.faces)
    sides, regions = frames.shape[2:4], face_regions(faces)
    arrays = {HEAT: np.full((len(clips), *sides), np.nan, np.float16)}
    arrays |= {SHARE + name: np.full(len(clips), np.nan, np.float32) for name in regions or ()}
    for some in np.array_split(rows, -(-len(rows) // at_once)) if len(rows) else ():
        maps = F.interpolate(heat(clips, some)[:, None], sides, mode="bilinear", align_corners=False)[:, 0]
        for row, of_clip in zip(some, maps.numpy(), strict=True):
            arrays[HEAT][row] = of_clip
            for name, share in (shares(of_clip, regions) or {}).items():
                arrays[SHARE + name][row] = share
    return of_heat("for the most probable class", regions or ()), arrays


def _similarities(represent: Callable[[Tensor], np.ndarray], data: FoldDataModule, plan: FoldPlan) -> np.ndarray:
    """Return cosines between held-out clips and the anchors in training, centred on their mean; float16, NaN elsewhere.

    Networks of different folds represent clips in different coordinates, but the angles between clips are similar:
    Moschella et al., "Relative representations enable zero-shot latent space communication", ICLR 2023.
    """
    from sklearn.metrics.pairwise import cosine_similarity

    assert data.test_set is not None
    anchors = np.unique(np.linspace(0, len(plan.clips) - 1, ANCHORS).round().astype(np.int64))
    _, columns, places = np.intersect1d(anchors, plan.fold.train_rows, return_indices=True)

    found = np.full((len(data.test_set), len(anchors)), np.nan, np.float16)
    if not len(places):
        return found

    def vectors(clips: ClipDataset, rows: np.ndarray) -> np.ndarray:
        parts = np.array_split(rows, -(-len(rows) // data.batch_size))
        return np.concatenate([represent(clips.all_clips(part)["frames"]) for part in parts])

    known, own = vectors(data.train_set, places), vectors(data.test_set, np.arange(len(data.test_set)))
    middle = known.mean(axis=0)
    found[:, columns] = cosine_similarity(own - middle, known - middle)
    return found


def _chosen(target: np.ndarray, order: np.ndarray, most: int) -> np.ndarray:
    """Return the rows of the first clips of each class, or of each action unit and of clips that show none."""
    shown = target.astype(bool) if target.ndim == 2 else target[:, None] == np.unique(target)
    shown = np.column_stack([shown, ~shown.any(axis=1)])[order]
    return np.sort(order[((shown.cumsum(axis=0) <= most) & shown).any(axis=1)])


@contextmanager
def _ready(module: RecognitionModule, device: torch.device) -> Iterator[None]:
    """Put the module in evaluation mode on a device, and allow gradients without a deterministic implementation."""
    mode, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    # Only explanations take gradients of the input, and the last digits of an image may differ on a GPU.
    torch.use_deterministic_algorithms(mode and device.type == "cpu")
    module.eval().to(device)
    try:
        with torch.inference_mode(False):
            yield
    finally:
        torch.use_deterministic_algorithms(mode, warn_only=warns)

"""A model ready to look at footage: `load_model("model").predict("clip.mp4")`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.input_video.source import Footage, as_footage
from fdp_lightning.data.inputs.flow import FlowScale, apex_flow, flow_sequence
from fdp_lightning.data.inputs.stage import InputSettings, ScaledMaps
from fdp_lightning.data.loading.batches import as_values
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.multi_label import above_threshold
from fdp_lightning.extras import of_clip
from fdp_lightning.inference.clip import Preparation, ReadClip, first_look, read_clip
from fdp_lightning.inference.packaging.building import build_network, build_objective, registry_with
from fdp_lightning.inference.packaging.schema import check_facts
from fdp_lightning.inference.packaging.sources import read_source
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan, ScanSettings, scan
from fdp_lightning.models.recognizer import Clips, with_logits
from fdp_lightning.processes import one_thread
from fdp_lightning.training.compute import Compute

Source = Path | str | BinaryIO | Footage


class Model:
    """A trained network with all it takes to be shown footage.

    Args:
        facts: of its model.json, see README.md here.
        state: the network's tensors.
        source: its name in messages.
        device: of the network and of the face detector, 'cpu' or 'cuda'.
        own: networks and objectives that facts may name besides those of this package.

    Attributes:
        facts: as given.
        classes: names, in the order of the probabilities.
        preparation: how footage becomes frames.
        network: that predicts.
        objective: that makes probabilities and extras of what the network gives.

    Raises:
        UserError: facts and weights are not those of a model that this version can build.
    """

    def __init__(
        self, facts: Mapping[str, Any], state: Mapping[str, Tensor], source: str, device: str = "cpu",
        own: Sequence[type] = (),
    ) -> None:  # fmt: skip
        self.facts, self.classes = facts, list(facts["classes"])
        self._device = device
        check_facts(facts, source)
        try:
            alignment = dict(facts["alignment"])
            template = np.array(alignment.pop("template"), np.float64)
            faces = FaceSettings(**{**alignment, "batch": 1, "device": device})
            self.preparation = Preparation(faces, template, Sampling(**facts["sampling"]))
            registry = registry_with(own)
            self.network = build_network(facts, state, source, registry)
            self.objective = build_objective(facts, source, registry)
            self._taken = _Maps(facts["taken"]) if facts.get("taken") else None
        except UserError:
            raise
        except Exception as error:  # whatever a network raises of options that do not go together
            reason = str(error).split("\n")[0]
            raise UserError(f"{source} is no model that this version of fdp_lightning can build: {reason}") from error
        self.network.to(device).eval()
        self.objective.to(device)
        # Nothing beyond rounding depends on it; compiling pays for thousands of clips alone.
        Compute(freed_memory="default").prepare(self.network)

    def predict(self, source: Source, name: str = "", fps: float | None = None) -> Prediction:
        """What the model says of a clip, taken as one expression from onset to offset.

        Args:
            source: a video file, a folder of frames, an opened file, or footage.
            name: of the clip; '': that of the file or folder.
            fps: frames per second of a folder of frames, or in place of those a video says.

        Raises:
            UserError: it cannot be read, shows no face, or has too few frames.
        """
        return self.of_clip(read_clip(footage := as_footage(source, name, fps), self.preparation), footage.name)

    def scan(
        self, source: Source, name: str = "", fps: float | None = None, windows: ScanSettings | None = None
    ) -> Scan:
        """What the model says of each window of a long video. It is no spotting: every window gets a class.

        Args:
            source: as of `predict`.
            name: likewise.
            fps: likewise; needed for a folder of frames.
            windows: their length and step.

        Raises:
            UserError: it cannot be read, has no time, is shorter than a window, or shows no face in any.
        """
        return scan(as_footage(source, name, fps), self, windows or ScanSettings())

    def look(
        self, source: Source, name: str = "", fps: float | None = None, windows: ScanSettings | None = None
    ) -> Prediction | Scan:
        """`predict` of footage that is short enough to be one clip, else `scan`; the arguments are those of `scan`."""
        footage, windows = as_footage(source, name, fps), windows or ScanSettings()
        look = first_look(footage, self.preparation, until=lambda frame: (frame.seconds or 0) > windows.longest_clip)
        if not look.ended:
            return scan(footage, self, windows)
        return self.of_clip(read_clip(footage, self.preparation, look), footage.name)

    def of_clip(self, clip: ReadClip, name: str) -> Prediction:
        """What the model says of a clip that has been read."""
        return next(self.of_clips([clip], [name]))

    @torch.no_grad()
    def of_clips(self, clips: Sequence[ReadClip], names: Sequence[str]) -> Iterator[Prediction]:
        """What the model says of clips that have been read, in one batch."""
        start = time.perf_counter()
        frames = as_values(np.stack([clip.frames for clip in clips])).to(self._device)
        target = torch.zeros(len(clips), dtype=torch.long, device=self._device)
        with one_thread():
            taken = frames if self._taken is None else self._taken(clips).to(self._device)
            output = with_logits(self.network(taken))
            probabilities = self.objective.labels.probabilities(output.logits).cpu().numpy()
            motion = (frames - frames[:, :1]).abs().mean(dim=(2, 3, 4)).amax(dim=1).cpu().numpy()
            recorded = self.objective.record(output, Clips(taken, target))
            extras = {name: values.cpu().numpy() for name, values in recorded.items()}
        seconds = (time.perf_counter() - start) / len(clips)
        for i, (clip, name) in enumerate(zip(clips, names, strict=True)):
            shown = list(of_clip(self.objective.extras, {key: values[i] for key, values in extras.items()}))
            yield Prediction(
                name=name,
                label=self._label(probabilities[i]),
                probabilities=dict(zip(self.classes, probabilities[i].tolist(), strict=True)),
                motion=float(motion[i]),
                **{field.name: getattr(clip, field.name) for field in fields(clip) if field.name != "timing"},
                timing={**clip.timing, "network": seconds},
                extras={extra.name: values for extra, values in shown},
                declared=tuple(extra for extra, _ in shown),
            )

    def _label(self, probabilities: np.ndarray) -> str:
        if self.facts["multi_label"]:
            return above_threshold(probabilities[None], self.classes)[0]
        return self.classes[int(probabilities.argmax())]


class _Maps:
    """From the frames of clips to the maps that a network takes.

    Args:
        taken: of model.json.
    """

    def __init__(self, taken: Mapping[str, Any]) -> None:
        options = dict(taken)
        divisors = tuple(options.pop("divisors"))
        self._settings = InputSettings(**options)
        self._scale = FlowScale(self._settings.scale, self._settings.flow.channels, divisors)

    def __call__(self, clips: Sequence[ReadClip]) -> Tensor:
        """The input of a batch; the apex is the frame farthest from the first."""
        settings = self._settings
        if settings.kind == "apex_flow":
            maps = [apex_flow(clip.frames, None, settings.flow).maps for clip in clips]
        else:
            maps = [flow_sequence(clip.frames, settings.flow) for clip in clips]
        return torch.from_numpy(ScaledMaps(np.stack(maps), self._scale, settings).read(slice(None)))


def load_model(path: Path | str = "synthetic", device: str = "cpu", own: Sequence[type] = ()) -> Model:
    """A trained model, read without executing anything that is in its file.

    Args:
        path: a model folder (of `task=fit` or `task=export`), a finished fold or its checkpoint; 'synthetic' is the
            model that comes with this package: it was trained on synthetic faces and knows nothing of real ones.
        device: 'cpu' or 'cuda'.
        own: networks and objectives of your own that the model may be of: `load_model(fold, own=[my.Net])`.

    Raises:
        UserError: there is none, or it is damaged, edited, or of another version.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device '{device}': PyTorch sees no GPU here; 'cpu' needs none")
    facts, state = read_source(path)
    return Model(facts, state, str(path), device, own)

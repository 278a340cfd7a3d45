"""A model that predicts videos: `load_model("model").predict("clip.mp4")`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from fdp_lightning.data.faces.prepare_clip import DETECTED, FaceSettings
from fdp_lightning.data.input_video.source import InputVideo, as_input_video
from fdp_lightning.data.inputs.flow import FlowScale, InputSettings, apex_flow, flow_sequence
from fdp_lightning.data.inputs.stage import ScaledMaps
from fdp_lightning.data.loading.batches import as_values
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.errors import UserError, first_line
from fdp_lightning.evaluation.predictions import above_threshold
from fdp_lightning.extras import of_clip
from fdp_lightning.inference.clip import FirstLook, Preparation, ReadClip, first_look, read_clip
from fdp_lightning.inference.explanation import explained
from fdp_lightning.inference.packaging.building import build_network, build_objective, registry_with
from fdp_lightning.inference.packaging.schema import check_facts
from fdp_lightning.inference.packaging.sources import read_source
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan, ScanSettings, scan
from fdp_lightning.models.recognizer import Clips, with_logits
from fdp_lightning.processes import one_thread
from fdp_lightning.training.compute import Compute

Source = Path | str | BinaryIO | InputVideo


class Model:
    """A trained network with everything needed to predict videos.

    UserError if facts and weights are not those of a model that this version can build.

    Args:
        facts: content of model.json, see README.md here.
        state: tensors of the network.
        source: name of the model in messages.
        device: device of the network and of the face detector, 'cpu' or 'cuda'.
        own: networks and objectives outside this package that facts may name.

    Attributes:
        classes: class names, in the order of the probabilities.
        preparation: steps from a video to the network's frames.
        network: network that predicts.
        objective: objective that turns the network's output into probabilities and extras.
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
            finder = device if alignment["method"] in DETECTED else "cpu"
            faces = FaceSettings(**{**alignment, "batch": 1, "device": finder})
            self.preparation = Preparation(faces, template, Sampling(**facts["sampling"]))
            registry = registry_with(own)
            self.network = build_network(facts, state, source, registry)
            self.objective = build_objective(facts, source, registry)
            taken = dict(facts.get("taken") or {})
            self._divisors = tuple(taken.pop("divisors", ()))
            self._maps = InputSettings(**taken) if taken else None
        except UserError:
            raise
        except Exception as error:  # a network may raise anything for options that do not fit together
            reason = first_line(error)
            raise UserError(
                f"{source} is not a model that this version of fdp_lightning can build: {reason}"
            ) from error
        self.network.to(device).eval()
        self.objective.to(device)
        # Causes only floating-point differences; compiling would pay off only for thousands of clips.
        Compute(freed_memory="default").prepare(self.network)

    def predict(self, source: Source, name: str = "", fps: float | None = None) -> Prediction:
        """Predict a clip, which is taken to be one expression from onset to offset.

        Args:
            source: video file, folder of frames, file open for reading, or input video.
            name: name of the clip; '': name of the file or folder.
            fps: frames per second of a folder of frames, or replacing those stated by a video.

        Raises:
            UserError: the input cannot be read, shows no face, or has too few frames.
        """
        return self._predict_video(as_input_video(source, name, fps))

    def scan(
        self, source: Source, name: str = "", fps: float | None = None, windows: ScanSettings | None = None
    ) -> Scan:
        """Predict each window of a long video. This is not spotting: every window gets a class.

        The arguments are those of `predict` and the windows; a folder of frames needs `fps`. UserError if the input
        cannot be read, has no times, is shorter than a window, or shows no face in any window.
        """
        return self._scan_video(as_input_video(source, name, fps), windows or ScanSettings())

    def look(
        self, source: Source, name: str = "", fps: float | None = None, windows: ScanSettings | None = None
    ) -> Prediction | Scan:
        """Call `predict` if a video is short enough to be one clip, else `scan`; for the arguments see `scan`."""
        video, windows = as_input_video(source, name, fps), windows or ScanSettings()
        look = first_look(video, self.preparation, windows.longest_clip)
        return self._predict_video(video, look) if look.ended else self._scan_video(video, windows)

    def explained(self, result: Prediction | Scan) -> Prediction | Scan:
        """Return a result with the motion that counted among its extras; in a scan, those of the strongest window."""
        if isinstance(result, Scan):
            return replace(result, strongest=explained(self, result.strongest))
        return explained(self, result)

    def _predict_video(self, video: InputVideo, look: FirstLook | None = None) -> Prediction:
        return next(self.predict_clips([read_clip(video, self.preparation, look)], video.name))

    def _scan_video(self, video: InputVideo, windows: ScanSettings) -> Scan:
        return scan(video, self.preparation, self.predict_clips, windows)

    @torch.no_grad()
    def predict_clips(self, clips: Sequence[ReadClip], name: str) -> Iterator[Prediction]:
        """Predict clips of one video, which have been read, in one batch."""
        start = time.perf_counter()
        frames = as_values(np.stack([clip.frames for clip in clips])).to(self._device)
        target = torch.zeros(len(clips), dtype=torch.long, device=self._device)
        with one_thread():
            network_input = self.network_input(clips)
            output = with_logits(self.network(network_input))
            probabilities = self.objective.labels.probabilities(output.logits).cpu().numpy()
            if not np.isfinite(probabilities).all():
                raise UserError(
                    f"{self.facts['name']} returns probabilities that are not numbers: its training has diverged. "
                    "Train it again, for example with a smaller model.optimizer.lr"
                )
            motion = (frames - frames[:, :1]).abs().mean(dim=(2, 3, 4)).amax(dim=1).cpu().numpy()
            recorded = self.objective.record(output, Clips(network_input, target))
            extras = {name: values.cpu().numpy() for name, values in recorded.items()}
        seconds = (time.perf_counter() - start) / len(clips)
        for i, clip in enumerate(clips):
            shown = list(of_clip(self.objective.extras, {key: values[i] for key, values in extras.items()}))
            yield Prediction(
                name=name,
                label=self._label(probabilities[i]),
                probabilities=dict(zip(self.classes, probabilities[i].tolist(), strict=True)),
                motion=float(motion[i]),
                **{**vars(clip), "timing": {**clip.timing, "network": seconds}},
                extras={extra.name: values for extra, values in shown},
                declared=tuple(extra for extra, _ in shown),
            )

    def network_input(self, clips: Sequence[ReadClip], still: bool = False) -> Tensor:
        """Return the network's input: frames with values in [0, 1], (b, t, c, h, w), or maps of their motion.

        With `still`, return that of the same clips without motion: all frames equal to the first, or maps of no motion.
        """
        if (settings := self._maps) is None:
            frames = as_values(np.stack([clip.frames for clip in clips])).to(self._device)
            return frames[:, :1].expand_as(frames) if still else frames
        if settings.kind == "apex_flow":  # the apex is the frame farthest from the first
            maps = [apex_flow(clip.frames, None, settings).maps for clip in clips]
        else:
            maps = [flow_sequence(clip.frames, settings) for clip in clips]
        scale = FlowScale(settings.scale, settings.channels, self._divisors)
        return torch.from_numpy(ScaledMaps(np.stack(maps), scale, settings, still).read(slice(None))).to(self._device)

    def _label(self, probabilities: np.ndarray) -> str:
        if self.facts["multi_label"]:
            return above_threshold(probabilities[None], self.classes)[0]
        return self.classes[int(probabilities.argmax())]


def load_model(path: Path | str = "synthetic", device: str = "cpu", own: Sequence[type] = ()) -> Model:
    """Read a trained model, without executing anything in its files.

    Args:
        path: model folder (of `task=fit` or `task=export`), finished fold or its checkpoint; 'synthetic' is the
            bundled model, which was trained on synthetic faces and knows nothing of real ones.
        device: 'cpu' or 'cuda'.
        own: your own network and objective classes that the model may use: `load_model(fold, own=[my.Net])`.

    Raises:
        UserError: there is no model, or it is damaged, edited, or of another version.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise UserError(f"device '{device}': PyTorch sees no GPU here; 'cpu' needs none")
    facts, state = read_source(path)
    return Model(facts, state, str(path), device, own)

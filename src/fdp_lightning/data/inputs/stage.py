"""The input stage: from the aligned frames of the store to a recogniser's input, `input=…`.

    frames     the sampled frames, unchanged, (t, c, h, w)
    flow       the optical flow from the first sampled frame to each of them, (t, channels, size, size)
    apex_flow  the flow from the onset to the apex and, if requested, from the apex to the offset of the whole clip; the
               maps of all phases are stacked as channels, (phases · channels, size, size)
    maps       images that are themselves flow maps (data=megc2019_flow), with u, v and strain as red, green and blue;
               the images of a clip are its phases or, as `…_direction`, maps of their directions; resized if
               necessary, (phases · channels, size, size)

Maps are computed once per clip and stored next to the stores, each in a file named after a digest of everything that
determines it: the clip's frames, the positions, the settings and the package that computes it.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fdp_lightning.data.annotations.clips import apex_position
from fdp_lightning.data.faces.frames import blended
from fdp_lightning.data.inputs.flow import (
    IMAGE_CHANNELS,
    IMAGE_PHASES,
    FlowScale,
    InputSettings,
    apex_flow,
    flow_sequence,
    implementation,
    resized,
)
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.store.clip_store import ClipStore, open_index, read_manifest
from fdp_lightning.errors import UserError
from fdp_lightning.files import write_atomic
from fdp_lightning.processes import in_pool

FOLDER = "inputs"  # folder of the maps, next to the stores
_IMAGE_STILL = 0.5  # value of u and v in flow images, 0..1, that means no motion


def input_maps(
    store: ClipStore,
    rows: np.ndarray,
    apexes: np.ndarray,
    sampling: Sampling,
    settings: InputSettings,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> np.ndarray:
    """Return the unscaled maps of clips, float32, (n, t, channels, size, size), computing those not yet stored.

    `rows` are rows of the store's index, (n,), `apexes` annotated apex frame numbers, (n,); for NaN, `find_apex`
    chooses the frame. t counts sampled frames (for `flow`) or phases. `progress` gets (clips done, all clips).

    Raises UserError for `flow` of frames that are redrawn in each epoch, for frames that are too small, and if `maps`
    are to be read from a store of faces.
    """
    if settings.kind == "flow" and sampling.at_random:
        raise UserError(
            f"input=flow is computed once per clip, but data.sampling.rule={sampling.rule} draws new frames in every "
            "epoch; expected a rule with fixed frames"
        )
    if settings.kind == "maps":
        return _read_images(store, rows, settings)
    maker = _Maker(store.folder, sampling, settings, implementation(settings.method))
    tasks = [(int(row), apex_position(store.frame_numbers(row), apex)) for row, apex in zip(rows, apexes, strict=True)]
    missing = [task for task in tasks if not maker.path(*task).is_file()]
    if missing:
        # Not in this process: OpenCV's threads, once started, do not survive the forks for folds and loaders.
        try:
            for done, _ in enumerate(in_pool(maker.keep, missing, workers, at_a_time=4), 1):
                progress(done, len(missing))
        except ValueError as error:
            raise UserError(f"input={settings.kind}: {error}") from error
    return np.stack([maker.maps(*task) for task in tasks])


def _read_images(store: ClipStore, rows: np.ndarray, settings: InputSettings) -> np.ndarray:
    """Return the maps stored as images of clips, values in 0..1."""
    method = read_manifest(store.folder)["settings"]["faces"]["method"]
    if store.frame_shape[2:] != (3,) or method != "none":
        raise UserError(
            "input=maps takes colour images that are flow maps, but these are aligned faces of shape "
            f"{'×'.join(map(str, store.frame_shape))} (data.faces.method={method}); expected data=megc2019_flow, or "
            "input=apex_flow for faces"
        )
    places = [IMAGE_PHASES.index(phase) for phase in settings.phases]
    if max(places) >= (n := min(map(store.length, rows))):
        raise UserError(
            f"input.phases={list(settings.phases)}, but the clips have {n} images each: {', '.join(IMAGE_PHASES[:n])}"
        )
    order = [IMAGE_CHANNELS.index(channel) for channel in settings.channels]
    images = [store.read(row, np.array(places))[..., order].transpose(0, 3, 1, 2) / np.float32(255) for row in rows]
    return np.stack([[resized(image, settings.size) for image in of_clip] for of_clip in images])


@dataclass(frozen=True)
class _Maker:
    """Computation and storage of the maps of clips, as plain data that can be sent to another process."""

    folder: Path
    sampling: Sampling
    settings: InputSettings
    made_by: str

    @cached_property
    def _store(self) -> ClipStore:
        return open_index(self.folder, verify=False)

    def path(self, row: int, apex: int | None) -> Path:
        store, settings = self._store, self.settings
        positions = self.sampling.positions(store.length(row), apex).tolist()
        decides = {
            "frames": str(store.index["checksum"].iloc[row]), "shape": list(store.frame_shape), "kind": settings.kind,
            "made_by": self.made_by, "flow": [settings.method, list(settings.channels), settings.size],
            "of": positions if settings.kind == "flow" else [list(settings.phases), apex],
        }  # fmt: skip
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:32]
        return self.folder.parent / FOLDER / digest[:2] / f"{digest}.npy"

    def maps(self, row: int, apex: int | None) -> np.ndarray:
        """Return the maps of a clip, from its file if there is a valid one."""
        with suppress(OSError, ValueError, EOFError):  # missing or damaged
            return np.asarray(np.load(self.path(row, apex), allow_pickle=False), dtype=np.float32)
        if self.settings.kind == "apex_flow":
            frames = self._store.read(row, np.arange(self._store.length(row)))
            return apex_flow(frames, apex, self.settings).maps
        positions = self.sampling.positions(self._store.length(row), apex)
        return flow_sequence(read_frames(self._store, row, positions)[0], self.settings)

    def keep(self, task: tuple[int, int | None]) -> None:
        stream = BytesIO()
        np.save(stream, self.maps(*task))
        write_atomic(self.path(*task), stream.getvalue())


def read_frames(store: ClipStore, row: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a clip's frames, uint8, (t, h, w) or (t, h, w, 3), and their numbers, (t,), at positions that may be
    fractional (see `blended`).
    """
    numbers = store.frame_numbers(row)
    frames = blended(lambda whole: store.read(row, whole), places)
    return frames, numbers[places] if places.dtype.kind == "i" else np.interp(places, np.arange(len(numbers)), numbers)


class ScaledMaps:
    """Scaled maps of clips, from `input_maps`, as network input; with `still`, without motion but on the same scale."""

    def __init__(self, maps: np.ndarray, scale: FlowScale, settings: InputSettings, still: bool = False) -> None:
        self._scale, self._settings = scale, settings
        self._maps = maps
        scaled = [scale.apply(self._without_motion(of_clip) if still else of_clip, like=of_clip) for of_clip in maps]
        self._values = np.stack(scaled) if len(maps) else maps

    def __len__(self) -> int:
        return len(self._values)

    @cached_property
    def still(self) -> "ScaledMaps":
        """The same clips without motion."""
        return ScaledMaps(self._maps, self._scale, self._settings, still=True)

    def read(self, places: Any, mirrored: np.ndarray | None = None) -> np.ndarray:
        """Return the input of the clips at these places, (b, …), flipped left to right where `mirrored` is True."""
        values = self._values[places]
        if mirrored is not None and mirrored.any():
            pairs = zip(values, mirrored, strict=True)
            still = _IMAGE_STILL if self._settings.kind == "maps" else 0.0
            values = np.stack([self._scale.mirror(maps, still) if flipped else maps for maps, flipped in pairs])
        if self._settings.kind != "flow":
            values = values.reshape(len(values), -1, *values.shape[-2:])
        return np.ascontiguousarray(values * np.float32(self._settings.gain))

    def _without_motion(self, maps: np.ndarray) -> np.ndarray:
        nothing = maps * 0
        if self._settings.kind == "maps":
            nothing[:, [channel in ("u", "v") for channel in self._settings.channels]] = _IMAGE_STILL
        return nothing

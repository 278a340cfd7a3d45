"""Optical flow of aligned clips: maps of u, v, strain and magnitude, from the onset to the apex or to every frame.

u is the displacement to the right and v the displacement downwards, both in pixels of the frames. Derivatives are taken
at the frames' resolution before the maps are resized: the values of a 28×28 map are still in pixels of the frames.

References:
    [1] Kroeger et al., "Fast optical flow using dense inverse search", ECCV 2016 (DIS).
    [2] Farnebäck, "Two-frame motion estimation based on polynomial expansion", SCIA 2003.
    [3] Zach, Pock and Bischof, "A duality based approach for realtime TV-L1 optical flow", DAGM 2007.
    [4] Shreve et al., "Macro- and micro-expression spotting in long videos using spatio-temporal strain", FG 2011.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

import cv2
import numpy as np

from fdp_lightning.console.option_values import require_allowed, require_settings

METHODS = ("dis", "farneback", "tvl1")
CHANNELS = ("u", "v", "strain", "magnitude")
SCALES = ("clip_minmax", "train_std", "none")
PHASES = ("onset_apex", "apex_offset")
DIRECTIONS = tuple(f"{phase}_direction" for phase in PHASES)  # published maps in 16 levels; not computed here
IMAGE_CHANNELS = ("u", "v", "strain")  # channels of a flow image, in RGB order
IMAGE_PHASES = (*PHASES, *DIRECTIONS)  # phases of `maps`, in the order of a clip's images
_SIGNED = {"u", "v"}
_LEAST_SIDE = 16  # smallest side of frames: DIS rejects smaller ones, and other methods' pyramids cannot shrink them


@dataclass(frozen=True)
class InputSettings:
    """Settings of a recogniser's input; all but `kind` apply to flow maps only.

    Attributes:
        kind: 'frames', 'flow', 'apex_flow' or 'maps', see `stage`.
        method: optical flow method: 'dis' [1], 'farneback' [2] or 'tvl1' [3].
        channels: names from `CHANNELS`, for `maps` from `IMAGE_CHANNELS`, in the network's order.
        size: side of the maps, pixels.
        scale: scaling of the maps, see `FlowScale`.
        phases: phases of `apex_flow`, from `PHASES`, or of `maps`, from `IMAGE_PHASES`.
        gain: factor on the scaled values; 255 for networks designed for values of 0..255.
        flip: share of the training clips mirrored in an epoch, with u negated. The augmentation of frames
            (`data.augmentation`) does not apply to maps.
    """

    kind: str = "frames"
    method: str = "dis"
    channels: tuple[str, ...] = ("u", "v", "strain")
    size: int = 28
    scale: str = "clip_minmax"
    phases: tuple[str, ...] = ("onset_apex",)
    gain: float = 1.0
    flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("channels", "phases"):  # configurations hold a list or a single name
            names = getattr(self, name)
            object.__setattr__(self, name, (names,) if isinstance(names, str) else tuple(names))
        require_settings("input", self)
        directions = set(self.phases) & set(DIRECTIONS)
        if self.kind in ("flow", "apex_flow") and directions:
            raise ValueError(f"input.phases is {self.phases}; only {', '.join(PHASES)} can be computed")
        if self.kind == "maps" and not set(self.channels) <= set(IMAGE_CHANNELS):
            raise ValueError(
                f"input.channels is {self.channels}; expected among {', '.join(IMAGE_CHANNELS)}, which images have"
            )
        if self.kind == "maps" and self.flip and directions:
            raise ValueError(f"input.flip is {self.flip}; expected 0, because maps of directions cannot be mirrored")

    @property
    def of_frames(self) -> bool:
        return self.kind == "frames"


class ApexFlow(NamedTuple):
    """Unscaled flow maps of a clip's phases, float32, (phases, channels, size, size), and the position of the apex;
    `found` is True if the apex was not annotated and `find_apex` chose it.
    """

    maps: np.ndarray
    apex: int
    found: bool


def flow(first: np.ndarray, second: np.ndarray, method: str = "dis") -> np.ndarray:
    """Return the optical flow between two frames of one shape, uint8, (h, w) or RGB (h, w, 3), by one of `METHODS`.

    The result is u and v of every pixel of the first frame, in pixels, float32, shape (2, h, w). Raises UserError if
    the method is unknown, ValueError if the frames are unsuitable for optical flow.
    """
    require_allowed({"input.method": method})
    if first.shape != second.shape:
        raise ValueError(f"frames have shapes {first.shape} and {second.shape}; optical flow needs equal shapes")
    before, after = _grey(first), _grey(second)
    if method == "dis":
        uv = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(before, after, None)  # type: ignore[call-overload]
    elif method == "farneback":
        uv = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
    elif hasattr(cv2, "optflow"):  # opencv-contrib is installed; both packages are used with their defaults
        uv = cv2.optflow.DualTVL1OpticalFlow_create().calc(before, after, None)
    else:
        from skimage.registration import optical_flow_tvl1

        down, right = optical_flow_tvl1(before / np.float32(255), after / np.float32(255), dtype=np.float32)
        return np.stack([right, down])
    return np.ascontiguousarray(np.moveaxis(uv, 2, 0))


def implementation(method: str) -> str:
    """Return package and version that compute a method, for fingerprints, because implementations of TV-L1 differ."""
    require_allowed({"input.method": method})
    if method != "tvl1" or hasattr(cv2, "optflow"):
        return f"opencv {cv2.__version__}"
    return f"scikit-image {version('scikit-image')}"


def optical_strain(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the magnitude of the optical strain [4] of u and v, (h, w): sqrt(u_x² + v_y² + (u_y + v_x)² / 2), by
    central differences, one-sided at the border. Translations and small rotations have no strain.
    """
    u_y, u_x = np.gradient(u)
    v_y, v_x = np.gradient(v)
    return np.asarray(np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2))


def flow_maps(first: np.ndarray, second: np.ndarray, settings: InputSettings) -> np.ndarray:
    """Return the unscaled flow maps between two frames, float32, (channels, size, size); raises errors as `flow`."""
    u, v = flow(first, second, settings.method)
    maps = {"u": lambda: u, "v": lambda: v, "strain": lambda: optical_strain(u, v), "magnitude": lambda: np.hypot(u, v)}
    return resized(np.stack([maps[name]() for name in settings.channels]), settings.size)


def resized(maps: np.ndarray, size: int) -> np.ndarray:
    """Resize maps, (channels, h, w), by area averaging if they shrink and bilinearly if they grow."""
    if maps.shape[1:] == (size, size):
        return maps.astype(np.float32)
    kind = cv2.INTER_AREA if size < min(maps.shape[1:]) else cv2.INTER_LINEAR
    return np.stack([cv2.resize(one, (size, size), interpolation=kind) for one in maps]).astype(np.float32)


def find_apex(frames: np.ndarray) -> int:
    """Return the position of the frame in `frames`, uint8, (t, h, w) or (t, h, w, 3), with the largest mean absolute
    difference from the first one, the onset; the earliest in case of a tie.
    """
    _require_frames(frames)
    onset = frames[0].astype(np.int16)
    return int(np.argmax([np.abs(frame - onset).mean() for frame in frames]))


def apex_flow(frames: np.ndarray, apex: int | None, settings: InputSettings) -> ApexFlow:
    """Return the flow from the onset to the apex, from the apex to the offset, or both (`settings.phases`).

    `frames` are those of a clip from onset to offset, uint8, (t, h, w) or (t, h, w, 3). `apex` is a position in them;
    None: `find_apex` chooses it. A phase of a single frame (if the apex is the first or the last) has no motion: its
    maps are zero. Raises ValueError if the apex is outside the clip.
    """
    _require_frames(frames)
    place = find_apex(frames) if apex is None else apex
    if not 0 <= place < len(frames):
        raise ValueError(f"the apex is at {place} in a clip of {len(frames)} frames; expected 0..{len(frames) - 1}")
    ends = {"onset_apex": (0, place), "apex_offset": (place, len(frames) - 1)}
    maps = [_maps_between(frames, *ends[phase], settings) for phase in settings.phases]
    return ApexFlow(np.stack(maps), place, apex is None)


def flow_sequence(frames: np.ndarray, settings: InputSettings) -> np.ndarray:
    """Return the flow from the first frame, the onset, to each of `frames`, uint8, (t, h, w) or (t, h, w, 3): unscaled,
    float32, shape (t, channels, size, size). The first map is zero.
    """
    _require_frames(frames)
    return np.stack([_maps_between(frames, 0, place, settings) for place in range(len(frames))])


@dataclass(frozen=True)
class FlowScale:
    """Scaling of flow maps, and mirroring of scaled maps.

    Kinds:
        clip_minmax: scale each channel of each clip to 0..1 by its extremes over all maps of the clip, as most
            published systems do; the amplitude of the motion is lost. A constant channel becomes 0.5 (u, v) or 0.
        train_std: divide each channel by its root mean square over the training clips. No mean is subtracted, so that
            zero still means no motion.
        none: keep the displacements in pixels of the frames.
    """

    kind: str  # one of `SCALES`
    channels: tuple[str, ...]  # names of the maps' channels
    divisors: tuple[float, ...]  # divisor of each channel; 1 unless `kind` is 'train_std'

    @classmethod
    def fit(cls, settings: InputSettings, training_maps: Sequence[np.ndarray] = ()) -> "FlowScale":
        """Return the scale of a fold, given the unscaled maps, (…, channels, size, size), of each training clip. Only
        'train_std' needs them; it raises ValueError if there are none.
        """
        divisors = np.ones(len(settings.channels))
        if settings.scale == "train_std":
            if not len(training_maps):
                raise ValueError("flow scale 'train_std' needs the maps of at least one training clip")
            squares = [np.square(maps, dtype=np.float64) for maps in training_maps]
            sums = [np.moveaxis(of_clip, -3, 0).reshape(len(divisors), -1).sum(axis=1) for of_clip in squares]
            deviations = np.sqrt(sum(sums) / sum(of_clip.size / len(divisors) for of_clip in squares))
            divisors = np.where(deviations > 0, deviations, 1.0)  # no motion in any clip: nothing to scale
        return cls(settings.scale, settings.channels, tuple(divisors.tolist()))

    def apply(self, maps: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
        """Return the scaled maps, (…, channels, size, size), of all frames or phases of one clip. 'clip_minmax' uses
        the extremes of `like`; None: of the maps themselves.
        """
        like = maps if like is None else like
        if self.kind == "clip_minmax":
            axes = tuple(axis for axis in range(maps.ndim) if axis != maps.ndim - 3)
            low, high = like.min(axis=axes, keepdims=True), like.max(axis=axes, keepdims=True)
            flat = np.array([0.5 if name in _SIGNED else 0.0 for name in self.channels], np.float32)[:, None, None]
            span = np.where(high > low, high - low, 1)
            return np.where(high > low, (maps - low) / span, flat).astype(np.float32)
        return (maps / np.array(self.divisors)[:, None, None]).astype(np.float32)

    def mirror(self, maps: np.ndarray, still: float = 0.0) -> np.ndarray:
        """Return maps from `apply`, (…, channels, h, w), flipped left to right with u negated, as if the clip's frames
        had been flipped. `still` is the unscaled value that means no motion.
        """
        flipped = maps[..., ::-1].copy()
        if "u" in self.channels:
            place = self.channels.index("u")
            middle = 0.5 if self.kind == "clip_minmax" else still / self.divisors[place]
            flipped[..., place, :, :] = 2 * middle - flipped[..., place, :, :]
        return flipped


def _maps_between(frames: np.ndarray, start: int, end: int, settings: InputSettings) -> np.ndarray:
    if start == end:  # Farnebäck's flow from a frame to itself is not zero at the border
        _grey(frames[start])
        return np.zeros((len(settings.channels), settings.size, settings.size), np.float32)
    return flow_maps(frames[start], frames[end], settings)


def _grey(frame: np.ndarray) -> np.ndarray:
    """Return the frame in grey (luma, ITU-R BT.601), contiguous in memory as OpenCV requires."""
    if frame.dtype != np.uint8 or frame.ndim not in (2, 3) or (frame.ndim == 3 and frame.shape[2] != 3):
        raise ValueError(
            f"a frame is {frame.dtype}, shape {frame.shape}; optical flow needs uint8, (h, w) or (h, w, 3)"
        )
    if min(frame.shape[:2]) < _LEAST_SIDE:
        raise ValueError(f"a frame has shape {frame.shape}; optical flow needs sides of at least {_LEAST_SIDE} pixels")
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else np.ascontiguousarray(frame)


def _require_frames(frames: np.ndarray) -> None:
    if frames.ndim not in (3, 4) or not len(frames):
        raise ValueError(f"frames have shape {frames.shape}; expected (t, h, w) or (t, h, w, 3) with t at least 1")

"""The public flow of MEGC 2019 in the layout of its repositories: synthetic maps, and the real ones if present."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from tests.megc2019_arrays import FOLDER, needs_arrays

from fdp_lightning.data.datasets.megc2019_flow import PUBLISHED, MEGC2019FlowMaps
from fdp_lightning.data.faces.prepare_clip import FaceSettings
from fdp_lightning.data.inputs.flow import FlowScale, InputSettings
from fdp_lightning.data.inputs.stage import ScaledMaps, input_maps
from fdp_lightning.data.loading.sampling import Sampling
from fdp_lightning.data.store.build import build_store
from fdp_lightning.data.store.clip_store import ClipStore, open_store
from fdp_lightning.data.store.sources import list_sources, store_folder
from fdp_lightning.errors import UserError

CLIPS = [
    ("sub01", "EP02_01f", 1), ("sub03", "EP01_2", 2), ("sub07", "EP06_02_01", 0), ("s01", "s01_ne_01", 0),
    ("s01", "s01_sur_01", 2), ("006", "006_1_2", 0),
]  # fmt: skip
IN_ORDER = [0, 1, 2, 5, 3, 4]
"""Order of the clip table: by dataset, subject, clip."""


def write(root: Path, clips: list[tuple[str, str, int]], maps: np.ndarray, labels: bool = True) -> Path:
    """Write a repository's layout: RGB images of each clip, shape (clips, images, h, w, 3), and the labels."""
    whole = root / "datasets" / "STSNet_whole_norm_u_v_os"
    whole.mkdir(parents=True)
    for (subject, clip, label), images in zip(clips, maps, strict=True):
        encoded = [cv2.imencode(".png", image[..., ::-1])[1].tobytes() for image in images]
        for suffix, data in zip(("", "_1", "_2", "_3"), encoded, strict=False):
            (whole / f"{subject}_{clip}{suffix} .png").write_bytes(data)
        if labels:
            of_class = root / "datasets" / "three_norm_u_v_os" / subject / "u_test" / str(label)
            of_class.mkdir(parents=True, exist_ok=True)
            (of_class / f"{subject}_{clip} .png").write_bytes(encoded[0])
    return root


def drawn(images: int, side: int = 28) -> np.ndarray:
    return np.random.default_rng(images).integers(0, 256, (len(CLIPS), images, side, side, 3), np.uint8)


@pytest.fixture
def htnet(tmp_path: Path) -> Path:
    return write(tmp_path / "HTNet", CLIPS, drawn(1))


@pytest.fixture
def causalnet(tmp_path: Path) -> Path:
    return write(tmp_path / "CausalNet", CLIPS, drawn(4), labels=False)


def flow(root: Path, labels: Path | None = None, **options: object) -> MEGC2019FlowMaps:
    return MEGC2019FlowMaps(root, labels=labels, **{"expected": None, **options})


def test_clips_have_the_names_of_their_own_datasets(htnet: Path) -> None:
    table = flow(htnet).clips()
    assert table[["dataset", "subject", "clip", "emotion"]].values.tolist() == [
        ["casme2", "01", "EP02_01f", "positive"],
        ["casme2", "03", "EP01_2", "surprise"],
        ["casme2", "07", "EP06_02_01", "negative"],
        ["samm", "006", "006_1_2", "negative"],
        ["smic", "01", "s01_ne_01", "negative"],
        ["smic", "01", "s01_sur_01", "surprise"],
    ]


def test_causalnet_needs_the_labels_of_htnet_and_the_two_are_told_apart(htnet: Path, causalnet: Path) -> None:
    for root, other in ((htnet, "causalnet"), (causalnet, "ststnet")):
        with pytest.raises(UserError, match=other):
            flow(root, htnet, extraction=other).clips()
    with_labels = flow(causalnet, htnet)
    assert (with_labels.extraction, flow(htnet).extraction) == ("causalnet", "ststnet")
    assert (with_labels.clips()["offset"] == 3).all()
    with pytest.raises(UserError, match="labels"):
        flow(causalnet).clips()


def test_the_hash_depends_on_names_labels_and_pixels(htnet: Path, tmp_path: Path) -> None:
    before = flow(htnet).sha256
    maps = drawn(1)
    same = write(tmp_path / "same", CLIPS[::-1], maps[::-1])
    other = write(tmp_path / "other", [*CLIPS[:-1], ("006", "006_1_2", 1)], maps)
    maps[3, 0, 2, 2, 2] ^= 1
    pixel = write(tmp_path / "pixel", CLIPS, maps)
    assert flow(same).sha256 == before
    assert len({before, flow(other).sha256, flow(pixel).sha256}) == 3
    expected = {"ststnet": before}
    assert len(flow(htnet, expected=expected).clips()) == 6
    for root, word in ((pixel, "SHA-256"), (other, "labels")):
        with pytest.raises(UserError, match=word):
            flow(root, expected=expected).clips()
    with pytest.raises(UserError, match="145"):  # only part of the published set
        MEGC2019FlowMaps(htnet).clips()


def _whole(root: Path) -> Path:
    return root / "datasets/STSNet_whole_norm_u_v_os"


def _labels(root: Path, subject: str = "") -> Path:
    return root / "datasets/three_norm_u_v_os" / subject


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda root: _whole(root).rename(root / "elsewhere"), "github.com/wangzhifengharrison/HTNet"),
        (lambda root: (_whole(root) / "s01_s01_ne_01 .png").write_bytes(b"\x89PNG\r\n"), "s01_s01_ne_01"),
        (lambda root: _labels(root).rename(root / "labels"), "three_norm_u_v_os"),
        (lambda root: [shutil.rmtree(subject) for subject in _labels(root).iterdir()], "holds no clip"),
        (lambda root: shutil.copytree(_labels(root, "sub01/u_test/1"), _labels(root, "sub01/u_test/0")), "01/EP02_01f"),
    ],
)  # fmt: skip
def test_a_damaged_clone_is_refused_by_what_is_wrong(htnet: Path, damage: Callable[[Path], object], word: str) -> None:
    damage(htnet)
    with pytest.raises(UserError, match=word):
        flow(htnet).clips()


@needs_arrays
def test_the_published_images_in_both_layouts(tmp_path: Path) -> None:
    ststnet, causal = (
        np.load(FOLDER / f"composite442_{name}.npz") for name in ("ststnet_flow28", "causalnet_flow28x4")
    )
    clips = list(zip(ststnet["subject"].tolist(), ststnet["clip"].tolist(), ststnet["label"].tolist(), strict=True))
    roots = write(tmp_path / "a", clips, ststnet["flow"][:, None]), write(tmp_path / "b", clips, causal["flow"], False)
    flows = MEGC2019FlowMaps(roots[0]), MEGC2019FlowMaps(roots[1], labels=roots[0])
    for dataset, name in zip(flows, PUBLISHED, strict=True):
        assert len(dataset.clips().drop_duplicates(["dataset", "subject"])) == 68
        assert (dataset.extraction, dataset.sha256) == (name, PUBLISHED[name])


def stored(root: Path, labels: Path, stores: Path) -> tuple[ClipStore, pd.DataFrame]:
    dataset = flow(root, labels)
    clips, faces = dataset.clips(), FaceSettings(method="none", size=28, colour="rgb")
    assert clips["folder"].is_unique and not dataset.found_deeper()
    sources = list_sources(clips)
    folder = store_folder(stores, "megc2019_flow", faces, "strict", sources)
    build_store(folder, clips, sources, faces)
    return open_store(folder), clips


def taken(store: ClipStore, clips: pd.DataFrame, settings: InputSettings) -> ScaledMaps:
    maps = input_maps(store, store.rows(clips), np.full(len(clips), np.nan), Sampling(1), settings)
    return ScaledMaps(maps, FlowScale.fit(settings, maps), settings)


@pytest.mark.parametrize(
    "phases", [["onset_apex"], ["apex_offset", "onset_apex"], ["onset_apex", "onset_apex_direction"]], ids=len
)
def test_phases_and_channels_are_in_the_order_of_the_settings(
    htnet: Path, causalnet: Path, phases: list[str], tmp_path: Path
) -> None:
    root = htnet if len(phases) == 1 else causalnet
    store, clips = stored(root, htnet, tmp_path / "stores")
    settings = InputSettings("maps", channels=["strain", "v", "u"], scale="none", phases=phases, gain=255.0)
    values = taken(store, clips, settings).read(slice(None))
    order = ["onset_apex", "apex_offset", "onset_apex_direction", "apex_offset_direction"]
    images = drawn(1 if root == htnet else 4)[IN_ORDER][:, [order.index(phase) for phase in phases]]
    expected = images[..., ::-1].transpose(0, 1, 4, 2, 3).reshape(6, -1, 28, 28)
    np.testing.assert_allclose(values, expected, atol=1e-4)
    if len(phases) == 1:
        with pytest.raises(UserError, match="1 images"):
            taken(store, clips, InputSettings("maps", phases=["apex_offset"]))


def test_images_are_resized_and_mirrored_with_the_opposite_horizontal_flow(htnet: Path, tmp_path: Path) -> None:
    store, clips = stored(htnet, htnet, tmp_path / "stores")
    same, large = (taken(store, clips, InputSettings("maps", scale="none", size=size)) for size in (28, 56))
    values = large.read(slice(None))
    assert values.shape == (6, 3, 56, 56) and values.min() >= 0 and values.max() <= 1
    # Bilinear at twice the side takes 3/4 of a pixel and 1/4 of its neighbour: 1/8, 6/8, 1/8 when averaged over two.
    blocks = values.reshape(6, 3, 28, 2, 28, 2)[:, :, 1:-1, :, 1:-1].mean(axis=(3, 5))
    weights = np.outer([1, 6, 1], [1, 6, 1]) / 64
    own = same.read(slice(None)).reshape(18, 28, 28).transpose(1, 2, 0)
    expected = cv2.filter2D(own, -1, weights)[1:-1, 1:-1].transpose(2, 0, 1).reshape(6, 3, 26, 26)
    np.testing.assert_allclose(blocks, expected, atol=1e-5)
    mirrored, plain = same.read(slice(None), np.ones(6, bool)), same.read(slice(None))
    np.testing.assert_allclose(mirrored[:, 0], 1 - plain[:, 0, :, ::-1])
    np.testing.assert_allclose(mirrored[:, 1:], plain[:, 1:, :, ::-1])


@pytest.mark.parametrize("wrong", [{"phases": ["apex"]}, {"phases": []}, {"channels": ["magnitude"]}])
def test_phases_and_channels_that_do_not_exist_are_refused(wrong: dict[str, list[str]]) -> None:
    with pytest.raises((UserError, ValueError), match=next(iter(wrong))):
        InputSettings("maps", **wrong)

"""From a copy and a protocol to the clip table: clips without a label are taken in as the protocol says."""

from pathlib import Path

import pytest
from openpyxl import load_workbook
from tests.data import replicas
from tests.data.layouts import write_frames

from fdp_lightning.config import configuration
from fdp_lightning.data.annotations.reading import read_clips
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings

SHEET = "CASME2-coding-20140508.xlsx"


@pytest.fixture
def with_247() -> Protocol:
    return settings(Protocol, configuration("protocol=casme2_5c_247").protocol)


def add_row(root: Path, emotion: str | None) -> None:
    book = load_workbook(root / SHEET)
    book.active.append(["24", "EP02_07", None, 91, 100, 120, None, "4", emotion])
    book.save(root / SHEET)


def test_a_clip_that_lies_on_disk_alone_has_the_interval_of_its_files(tmp_path: Path, with_247: Protocol) -> None:
    root = replicas.write_casme2(tmp_path)
    write_frames(root / "CASME2_RAW_selected/sub24/EP02_07", range(61, 80))
    clips = with_247.apply(read_clips(CASME2(root), with_247, "official"))
    row = clips.set_index(["subject", "clip"]).loc[("24", "EP02_07")]
    assert (row["onset"], row["offset"], row["target"], row["fps"]) == (61, 79, "disgust", 200)


def test_a_clip_whose_row_has_no_label_keeps_what_the_row_says(tmp_path: Path, with_247: Protocol) -> None:
    root = replicas.write_casme2(tmp_path)
    add_row(root, None)
    clips = with_247.apply(read_clips(CASME2(root), with_247, "official"))
    row = clips.set_index(["subject", "clip"]).loc[("24", "EP02_07")]
    assert (row["onset"], row["offset"], row["target"]) == (91, 120, "disgust")
    assert "counts it as disgust" in row["remark"]


def test_a_clip_to_include_that_has_a_label_is_refused(tmp_path: Path, with_247: Protocol) -> None:
    root = replicas.write_casme2(tmp_path)
    add_row(root, "happiness")
    with pytest.raises(UserError, match=r"24/EP02_07, which already has a label.*protocol\.include"):
        read_clips(CASME2(root), with_247, "official")

"""No clip is gone without a word: those of no class, and those whose class nobody else has, stand beside the score."""

import json
import logging
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import DictConfig
from openpyxl import load_workbook

from fdp_lightning.config import configuration
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.engine.dataset import ReadyData, expected_clips, ready_data
from fdp_lightning.tasks.check_data import check_data

pytestmark = pytest.mark.costly

WORKBOOK = "CASME2-coding-20190701.xlsx"


def relabelled(root: Path, *emotions: str | None) -> list[str]:
    """Change the emotions of the three clips of the small copy; their names as 'subject/clip'."""
    book = load_workbook(root / WORKBOOK)
    rows = [row for row in book.active.iter_rows(min_row=2) if row[0].value]
    for row, emotion in zip(rows, emotions, strict=True):
        row[8].value = emotion
    book.save(root / WORKBOOK)
    return [f"{int(row[0].value):02d}/{row[1].value}" for row in rows]


def config(root: Path, *more: str) -> DictConfig:
    made_up = ["data=casme2", "data.name=synthetic", "protocol=synthetic_5c", "data.faces.method=none"]
    places = [f"data.root={root}", f"data.store={root.parent / 'stores'}", "data.workers=1"]
    return configuration(*made_up, *places, *more)


def expected(data: ReadyData) -> dict:
    return expected_clips(data, data.folds())


def test_a_misspelt_and_a_blank_label_are_listed_with_the_reason(
    small_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = relabelled(small_copy, "happiness", "happines", None)
    with caplog.at_level(logging.WARNING):
        data = ready_data(config(small_copy))
    left_out = dict(data.left_out.groupby("why")["clip"].agg(list))
    (misspelt,) = [why for why in left_out if "happines" in why]
    (blank,) = [why for why in left_out if "blank" in why]
    assert left_out[misspelt] == [names[1].split("/")[1]]
    assert left_out[blank] == [names[2].split("/")[1]]
    assert "happines" in caplog.text and names[2] in caplog.text
    assert len(data.clips) == 1


def test_check_data_lists_them_too(small_copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = relabelled(small_copy, "happiness", "happines", None)
    output = small_copy / "check.json"
    check_data(config(small_copy, "task=check_data", f"check_data.output={output}"))
    left_out = json.loads(output.read_text())["left_out"]
    assert sorted(clip.split("@")[0].split("/", 1)[1] for clips in left_out.values() for clip in clips) == names[1:]
    assert "happines" in capsys.readouterr().out


def test_subjects_whose_classes_do_not_meet_are_named_where_the_score_stands(
    small_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names = relabelled(small_copy, "happiness", "disgust", "disgust")
    data = ready_data(config(small_copy))
    with caplog.at_level(logging.WARNING):
        caveats = expected(data)["caveats"]
    (caveat,) = [caveat for caveat in caveats if names[0] in caveat]
    assert "happiness" in caveat and names[1] not in caveat
    assert names[0] in caplog.text
    assert len(expected(data)["clips"]) == 3


def test_classes_that_meet_are_not_worth_a_word(small_copy: Path) -> None:
    relabelled(small_copy, "disgust", "disgust", "disgust")
    found = expected(ready_data(config(small_copy)))
    assert (found["caveats"], found["left_out"]) == ([], {})


def test_what_a_published_protocol_leaves_out_on_purpose_is_not_listed() -> None:
    frame = pd.DataFrame({"subject": ["01", "02", "03"], "emotion": ["fear", "happiness", "anger"], "action_units": ""})
    clips = frame.assign(dataset="casme2", clip="c", onset=1, split="")
    options = {"name": "p", "dataset": "casme2", "classes": {"fear": ["fear"], "happiness": ["happiness"]}}
    assert Protocol(**options, expected={"clips": 2}).left_out(clips).empty
    assert Protocol(**options, expected={"clips": 3}).left_out(clips)["subject"].tolist() == ["03"]
    left_out = Protocol(**options, exclude=["01/c"]).left_out(clips)
    assert dict(zip(left_out["subject"], left_out["why"], strict=True))["01"] == "protocol.exclude"
    assert left_out["subject"].tolist() == ["01", "03"]

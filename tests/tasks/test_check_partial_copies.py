"""Copies that are not whole, and labels of another release: what is there is counted, what is missing is named."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.data.checks.problems import refused as stopping
from fdp_lightning.data.datasets.casme2 import CASME2
from fdp_lightning.data.protocols.clip_tables import read_clips
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings
from fdp_lightning.tasks.check_data import check_data
from tests.data import layouts, replicas
from tests.data.layouts import write_frames
from tests.tasks.test_check_data import checked

pytestmark = pytest.mark.costly

SHEET_2014, SHEET_2019 = "CASME2-coding-20140508.xlsx", "CASME2-coding-20190701.xlsx"


def refused(root: Path, *overrides: str) -> tuple[str, dict]:
    output = root / "check.json"
    with pytest.raises(UserError) as caught:
        check_data(configuration("task=check_data", f"data.root={root}", f"check_data.output={output}", *overrides))
    return str(caught.value), json.loads(output.read_text())


def partial(root: Path, n: int = 120) -> list[list]:
    """CASME II's labels of 2014 of the first eight subjects."""
    rows = [row for row in replicas.casme2_rows("2014") if row[0] <= "08"][:n]
    replicas.save(root / SHEET_2014, [replicas.CASME2_HEADER, *rows])
    return rows


@cache
def protocol(name: str) -> Protocol:
    return settings(Protocol, configuration(f"protocol={name}").protocol)


def test_the_workbook_of_2014_alone_gives_the_table_and_the_protocol_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replicas.write_casme2(tmp_path)
    (tmp_path / SHEET_2019).unlink()
    message, result = refused(tmp_path, "data=casme2")
    assert "protocol=casme2_5c_246" in message
    assert SHEET_2019 in message
    assert result["protocols"]["casme2_5c_246"]["n_clips"] == 246
    assert result["protocols"]["casme2_objective"]["n_clips"] == 255
    assert (result["protocol"], result["n_clips"]) == ("casme2_5c_249", 0)
    assert "255 clips checked" in (out := capsys.readouterr().out)
    assert "casme2_7c_2014" in out


@pytest.mark.parametrize("frames", [True, False])
def test_a_clip_to_include_counts_where_it_is_there_and_is_named_where_not(frames: bool, tmp_path: Path) -> None:
    rows = partial(tmp_path)
    subjects = {row[0] for row in rows}
    if frames:
        write_frames(tmp_path / "CASME2_RAW_selected" / f"sub{rows[0][0]}" / rows[0][1], range(31, 101))
    with_247 = protocol("casme2_5c_247")
    clips = read_clips(CASME2(tmp_path), with_247, "official")
    assert (len(clips), set(clips["subject"])) == (len(rows), subjects)
    lines = with_247.differences(with_247.choose(clips), clips)
    assert any("24/EP02_07" in line for line in lines)


def test_a_whole_workbook_with_frames_but_without_the_clip_to_include_counts_246(tmp_path: Path) -> None:
    replicas.write_casme2(tmp_path)
    write_frames(tmp_path / "CASME2_RAW_selected/sub24/EP07_01", range(31, 101))
    with_247 = protocol("casme2_5c_247")
    clips = read_clips(CASME2(tmp_path), with_247, "official")
    assert len(with_247.choose(clips)) == 246
    write_frames(tmp_path / "CASME2_RAW_selected/sub24/EP02_07", range(61, 80))
    clips = read_clips(CASME2(tmp_path), with_247, "official")
    assert len(with_247.apply(clips)) == 247


def test_too_few_clips_are_counted_and_absent_subjects_named_not_those_that_are_there(tmp_path: Path) -> None:
    rows = [row for row in replicas.samm_rows() if row[0] <= "012"]
    replicas.save(tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx", [replicas.SAMM_HEADER, *rows])
    result = checked(tmp_path, "data=samm")
    anger = [f"{row[0]}/{row[1]}" for row in rows if row[9] == "Anger"]
    lines = result["differences"]
    (line,) = [line for line in lines if line.startswith("anger: 57 expected")]
    assert f"{len(anger)} found" in line and str(57 - len(anger)) in line.partition("found")[2]
    assert not any(clip in line for line in lines for clip in anger)
    (absent,) = [line for line in lines if "013" in line and "037" in line]
    assert "012" not in absent and "029" not in absent


def test_clips_without_frames_are_named_and_the_exit_code_is_what_a_run_would_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row for row in partial(tmp_path) if row[-1] in ("happiness", "surprise")]
    replicas.save(tmp_path / SHEET_2014, [replicas.CASME2_HEADER, *rows])
    subjects = sorted({row[0] for row in rows})
    kept = [row for row in rows if row[0] != subjects[0]]
    kept.remove(next(row for row in kept if sum(row[0] == other[0] for other in kept) > 1))
    for row in kept:
        write_frames(tmp_path / "CASME2_RAW_selected" / f"sub{row[0]}" / row[1], range(row[3], row[5] + 1))
    names = {(row[0], row[1]): f"casme2/{row[0]}/{row[1]}@{row[3]}" for row in rows}
    lacking = sorted(set(names.values()) - {names[row[0], row[1]] for row in kept})
    options = ("data=casme2", "protocol=casme2_5c_246", "protocol.strict=false")
    for policy, remedy in (("strict", "data.policy=skip"), ("clip", "data.policy=skip")):
        message, result = refused(tmp_path, *options, f"data.policy={policy}")
        assert sorted(result["without_frames"]) == lacking
        assert f"{len(lacking)} of the {len(rows)} clips" in message
        assert remedy in message and "protocol.strict" not in message and "data.policy=clip" not in message
    out = capsys.readouterr().out
    assert all(name.split("/", 2)[2] in out for name in lacking if f"/{subjects[0]}/" not in name)
    assert f"{subjects[0]} ({sum(row[0] == subjects[0] for row in rows)})" in out
    checked(tmp_path, *options, "data.policy=skip", published=True)


def test_a_policy_accepts_what_a_run_under_it_would() -> None:
    chosen, there = ["casme2/01/a@1", "casme2/01/b@1"], {"casme2/01/b@1"}
    gone, gap = Problem(chosen[0], "missing_folder", ""), Problem(chosen[1], "gap", "")
    twice, everything = Problem(chosen[0], "near_copy", ""), Problem("casme2", "missing_folder", "")
    nameless = Problem("casme2/01/a@<NA>", "bad_interval", "")
    cases: list[tuple[list[Problem], int, int, int]] = [
        ([gap], 1, 0, 1), ([gone], 1, 1, 0), ([gone, gap], 2, 1, 2), ([twice], 1, 1, 1), ([everything], 1, 1, 1),
        ([nameless], 1, 1, 1), ([replace(gone, fatal=False)], 0, 0, 0),
    ]  # fmt: skip
    for problems, *expected in cases:
        found = [stopping(problems, policy, chosen, there) for policy in ("strict", "clip", "skip")]
        assert found == expected, problems


def casme3a_v1(root: Path) -> Path:
    rows = [[*row[:6], "II", "happy"] for row in layouts.CASME3A_ROWS]
    name = "cas(me)3_part_A_ME_label_JpgIndex_v1.xlsx"
    layouts.write_workbook(root / name, label=[layouts.CASME3A_HEADER, *rows])
    for subject, recording in (("spNO.1", "a"), ("spNO.2", "j")):
        write_frames(root / "part_A" / subject / recording / "color", range(1, 20), "{}.jpg")
    return root


def test_labels_of_another_release_are_not_judged_by_the_counts_of_the_published_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = checked(casme3a_v1(tmp_path), "data=casme3a", "protocol.labels=v1", published=True)
    assert (result["n_clips"], result["expected"], result["differences"]) == (3, {}, [])
    assert "protocol.labels" in capsys.readouterr().out
    others = [result["protocols"][name] for name in ("casme3a_4c", "casme3a_3c", "casme3a_objective")]
    assert [(table["n_clips"], table["expected"]) for table in others] == [(3, {})] * 3
    assert protocol("casme3a_7c").published["clips"] == 860
    assert protocol("megc2019").published["clips"] == 442


def test_counts_that_are_accepted_end_with_0_and_recommend_nothing(
    small_copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = ("data=casme2", "data.name=synthetic", "protocol=synthetic_5c", "+protocol.expected.clips=9")
    message, _ = refused(small_copy, *counts)
    assert "protocol.strict=false" in message
    output = small_copy / "check.json"
    check_data(
        configuration(
            "task=check_data",
            f"data.root={small_copy}",
            f"check_data.output={output}",
            *counts,
            "protocol.strict=false",
        )
    )
    assert json.loads(output.read_text())["differences"]

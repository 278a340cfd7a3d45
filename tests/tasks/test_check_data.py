"""`task=check_data` tells whether a copy is as published, which clips each protocol holds, and what is wrong."""

import json
from pathlib import Path

import pytest

from fdp_lightning.config import configuration
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.check_data import check_data
from tests.data import replicas

pytestmark = pytest.mark.costly

MADE_UP = ("data=casme2", "data.name=synthetic", "protocol=synthetic_5c")
"""A copy in CASME II's layout of which nothing is published."""


def checked(root: Path, *overrides: str, published: bool = False) -> dict:
    """check.json of a copy; it is refused unless it is `published`."""
    output = root / "check.json"
    config = configuration("task=check_data", f"data.root={root}", f"check_data.output={output}", *overrides)
    if published:
        check_data(config)
    else:
        with pytest.raises(UserError, match="is not as published"):
            check_data(config)
    return json.loads(output.read_text())


def problems(result: dict, *kinds: str) -> dict[str, str]:
    """Clip → detail."""
    return {p["clip"]: p["detail"] for p in result["problems"] if p["kind"] in kinds}


def named(result: dict, kind: str) -> set[str]:
    """'subject/clip' of a kind of problem."""
    return {clip.split("@")[0].split("/", 1)[1] for clip in problems(result, kind)}


@pytest.fixture(scope="module")
def casme2(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return checked(replicas.write_casme2(tmp_path_factory.mktemp("casme2")), "data=casme2")


@pytest.fixture(scope="module")
def samm(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return checked(replicas.write_samm(tmp_path_factory.mktemp("samm")), "data=samm")


def test_every_protocol_of_casme2_is_counted_from_one_command(casme2: dict) -> None:
    found = {name: (t["n_clips"], t["n_subjects"], t["differences"]) for name, t in casme2["protocols"].items()}
    assert found == {
        "casme2_5c_249": (249, 26, []), "casme2_3c": (150, 24, []), "casme2_3c_156": (156, 25, []),
        "casme2_3c_156_2014": (156, 25, []), "casme2_3c_2014": (147, 24, []), "casme2_5c_246": (246, 26, []),
        "casme2_5c_247": (247, 26, []), "casme2_7c_2014": (255, 26, []), "casme2_7c_2019": (255, 26, []),
        "casme2_megc2019": (145, 24, []), "casme2_objective": (255, 26, []), "casme2_objective_5c": (185, 26, []),
    }  # fmt: skip


def test_protocols_of_equal_totals_are_told_apart_by_their_clips(casme2: dict) -> None:
    of = {name: set(table["clips"]) for name, table in casme2["protocols"].items()}
    changed = {f"casme2/{subject}/{clip}@31" for subject, clip in replicas.CHANGED_IN_2019}
    assert of["casme2_5c_249"] - of["casme2_5c_246"] == changed
    assert of["casme2_5c_247"] - of["casme2_5c_246"] == {"casme2/24/EP02_07@0"}
    assert of["casme2_3c_2014"] - of["casme2_megc2019"] == {"casme2/04/EP12_01f@70", "casme2/05/EP09_05f@41"}


def test_the_known_rows_of_casme2_are_named(casme2: dict) -> None:
    assert named(casme2, "apex_at_onset") == {"05/EP09_05f"}
    assert named(casme2, "apex_at_offset") == {"05/EP16_04f", "12/EP09_06", "20/EP16_01", "25/EP18_04f"}
    known = {"04/EP12_01f", "05/EP09_05f", "16/EP01_08", "07/EP06_01", "12/EP09_02"}
    assert named(casme2, "known_error") == known
    assert named(casme2, "apex_unknown") == {"04/EP12_01f"}


def test_the_known_rows_of_samm_are_named_and_its_protocols_counted(samm: dict) -> None:
    assert named(samm, "apex_outside") == {"028/028_4_1", "032/032_3_1"}
    assert named(samm, "known_error") == {"028/028_4_1", "032/032_3_1"}
    assert "4930" in next(d for c, d in problems(samm, "known_error").items() if "032_3_1" in c)
    assert named(samm, "uncertain_action_units") == {
        "007/007_6_1", "007/007_6_5", "011/011_4_2", "014/014_5_2", "035/035_7_2",
    }  # fmt: skip
    found = {name: (t["n_clips"], t["n_subjects"], t["differences"]) for name, t in samm["protocols"].items()}
    assert found == {
        "samm_5c": (136, 27, []), "samm_3c": (133, 28, []), "samm_8c": (159, 29, []), "samm_objective": (159, 29, []),
        "samm_objective_5c": (68, 21, []),
    }  # fmt: skip


def test_an_older_copy_of_samm_is_named_as_one(tmp_path: Path) -> None:
    result = checked(replicas.write_samm(tmp_path, offset_of_013=5793), "data=samm")
    assert "5739" in problems(result, "known_error")["samm/013/013_1_9@5700"]


def test_a_whole_copy_is_as_published_and_each_damage_to_it_is_named(small_copy: Path) -> None:
    assert checked(small_copy, *MADE_UP, published=True)["problems"] == []
    first, second, third = sorted((small_copy / "CASME2_RAW_selected").glob("sub*/*"))
    pictures = sorted(first.iterdir(), key=lambda path: int(path.stem[3:]))
    pictures[3].unlink()
    pictures[-1].unlink()
    pictures[2].write_bytes(b"")
    (first / "Thumbs.db").write_bytes(b"stray")
    onset = int(pictures[0].stem[3:])
    (first / f"img{onset - 1}.jpg").write_bytes(pictures[0].read_bytes())
    (first / f"img0{onset}.jpg").write_bytes(pictures[0].read_bytes())
    second.rename(second.with_name("elsewhere"))
    (third / sorted(p.name for p in third.iterdir())[1]).write_bytes(b"\xff\xd8 no picture")
    result = checked(small_copy, *MADE_UP)
    kinds = {(p["clip"].split("/")[-1].split("@")[0], p["kind"], p["fatal"]) for p in result["problems"]}
    assert kinds == {
        (first.name, "gap", True), (first.name, "missing_frames", True), (first.name, "unreadable_frame", True),
        (first.name, "extra_frames", False), (first.name, "doubled_frames", True),
        (second.name, "missing_folder", True), ("elsewhere", "unlabelled_folder", False),
        (third.name, "small_file", False),
    }  # fmt: skip
    deep = checked(small_copy, *MADE_UP, "check_data.deep=true")
    assert {p["clip"].split("/")[2].split("@")[0] for p in deep["problems"] if p["kind"] == "unreadable_frame"} == {
        first.name,
        third.name,
    }


def test_the_same_clip_under_two_names_is_found(small_copy: Path) -> None:
    first, second, _ = sorted((small_copy / "CASME2_RAW_selected").glob("sub*/*"))
    for path in second.iterdir():
        path.unlink()
    for path in first.iterdir():
        (second / path.name).write_bytes(path.read_bytes())
    found = checked(small_copy, *MADE_UP)["problems"]
    assert [p["clip"].split("/")[2].split("@")[0] for p in found if p["kind"] == "same_frames"] == [second.name]


def test_protocols_whose_workbook_is_not_there_are_not_counted(tmp_path: Path) -> None:
    root = replicas.write_casme2(tmp_path)
    (root / "CASME2-coding-20190701.xlsx").unlink()
    older = checked(root, "data=casme2", "protocol=casme2_5c_246")["protocols"]
    absent = {name for name, table in older.items() if "not_in_this_copy" in table}
    assert absent == {"casme2_5c_249", "casme2_7c_2019", "casme2_3c", "casme2_3c_156"}
    assert (older["casme2_objective"]["n_clips"], older["casme2_objective"]["differences"]) == (255, [])
    (root / "CASME2-ObjectiveClasses.xlsx").unlink()
    older = checked(root, "data=casme2", "protocol=casme2_5c_246")["protocols"]
    absent |= {"casme2_objective", "casme2_objective_5c"}
    assert {name for name, table in older.items() if "not_in_this_copy" in table} == absent

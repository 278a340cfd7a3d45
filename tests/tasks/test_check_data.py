"""`task=check_data`: every protocol has its published counts, every known wrong row is named, and so is all damage."""

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import open_dataset
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.check_data import check_data
from tests.data import layouts, replicas

MADE_UP = ("data=casme2", "data.name=synthetic", "protocol=synthetic_5c")
"""A copy in CASME II's layout of which nothing is published."""

COUNTS: dict[str, dict[str, tuple[int, int]]] = {
    "casme2": {
        "casme2_5c_249": (249, 26), "casme2_3c": (150, 24), "casme2_3c_156": (156, 25), "casme2_3c_156_2014": (156, 25),
        "casme2_3c_2014": (147, 24), "casme2_5c_246": (246, 26), "casme2_5c_247": (247, 26),
        "casme2_7c_2014": (255, 26), "casme2_7c_2019": (255, 26), "casme2_megc2019": (145, 24),
        "casme2_objective": (255, 26), "casme2_objective_5c": (185, 26),
    },
    "samm": {
        "samm_5c": (136, 27), "samm_3c": (133, 28), "samm_8c": (159, 29), "samm_objective": (159, 29),
        "samm_objective_5c": (68, 21),
    },
    "casme_sq": {"casme_sq_4c": (57, 14), "casme_sq_3c": (38, 9), "casme_sq_all_4c": (357, 22),
                 "casme_sq_all_3c": (275, 21)},
    "casme3a": {"casme3a_7c": (860, 94), "casme3a_4c": (860, 94), "casme3a_3c": (699, 88),
                "casme3a_objective": (860, 94)},
    "mmew": {"mmew_7c": (300, 30), "mmew_6c": (234, 30), "mmew_4c": (263, 30), "mmew_3c": (234, 30)},
    "casme3c": {"casme3c_4c": (165, 30)}, "casme": {"casme": (189, 18)}, "dfme": {"dfme": (2629, 259)},
    "fourdme": {"fourdme_5c": (200, 41)}, "megc2018": {"megc2018": (253, 47)}, "megc2019": {"megc2019": (442, 68)},
}  # fmt: skip
"""Protocol → clips and subjects."""


def looked_at(root: Path, *overrides: str) -> tuple[dict, str]:
    """check.json of a copy, and the words by which it was refused, empty if it was not."""
    output, words = root / "check.json", ""
    try:
        check_data(configuration("task=check_data", f"data.root={root}", f"check_data.output={output}", *overrides))
    except UserError as error:
        words = str(error)
    return json.loads(output.read_text()), words


def checked(root: Path, *overrides: str, published: bool = False) -> dict:
    """check.json of a copy; it is refused unless it is `published`."""
    result, words = looked_at(root, *overrides)
    assert ("is not as published" in words) != published, words
    return result


def details(result: dict, *kinds: str) -> dict[str, str]:
    """Clip → all details of some kinds, one behind the other."""
    found: dict[str, str] = {}
    for problem in (problem for problem in result["problems"] if problem["kind"] in kinds):
        found[problem["clip"]] = found.get(problem["clip"], "") + problem["detail"]
    return found


def named(result: dict, kind: str) -> set[str]:
    """'subject/clip' of a kind of problem."""
    return {clip.split("@")[0].split("/", 1)[1] for clip in details(result, kind)}


def counts(result: dict) -> dict[str, tuple[int, int]]:
    """Protocol → clips and subjects; all are as published."""
    assert not any(table["differences"] for table in result["protocols"].values())
    return {name: (table["n_clips"], table["n_subjects"]) for name, table in result["protocols"].items()}


PARTS = {"megc2018": ("casme2", "samm"), "megc2019": ("casme2", "samm", "smic"),
         "cd6me": ("casme", "casme2", "samm", "fourdme", "mmew", "casme3a")}  # fmt: skip


def write(root: Path, dataset: str) -> Path:
    """A copy with the labels of all clips and no frames."""
    for part in PARTS.get(dataset, ()):
        getattr(replicas, f"write_{part}")(root / part, **({"cropped": False} if part == "smic" else {}))
    return root if dataset in PARTS else getattr(replicas, f"write_{dataset}")(root)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict]:
    """What is found in the copy of a dataset."""
    return cache(lambda dataset: checked(write(tmp_path_factory.mktemp(dataset), dataset), f"data={dataset}"))


@pytest.mark.parametrize("dataset", COUNTS)
def test_every_protocol_is_counted_from_one_command(dataset: str, result: Callable[[str], dict]) -> None:
    found = result(dataset)
    assert counts(found) == COUNTS[dataset]
    classes = {
        "casme_sq": {"negative": 21, "others": 19, "surprise": 9, "positive": 8}, "casme3a": replicas.CASME3A_EMOTIONS,
        "megc2018": {"I": 49, "II": 28, "III": 119, "IV": 34, "V": 23},
        "megc2019": {"negative": 250, "positive": 109, "surprise": 83},
    }  # fmt: skip
    assert found["classes"] == classes.get(dataset, found["classes"])
    if dataset == "casme3a":
        assert found["protocols"]["casme3a_objective"]["classes"] == replicas.CASME3A_OBJECTIVE
    elif dataset == "casme":
        assert sum("/06/EP02_5@" in clip for clip in found["protocols"]["casme"]["clips"]) == 6
    elif dataset == "fourdme":
        assert {problem["kind"] for problem in found["problems"]} == {"missing_folder"}
    elif dataset in ("casme3c", "mmew"):
        odd = ("read_otherwise", "no_action_units") if dataset == "mmew" else ()
        assert not details(found, "bad_interval", "unreadable_action_units", *odd)


def test_protocols_of_equal_totals_are_told_apart_by_their_clips(result: Callable[[str], dict]) -> None:
    of = {name: set(table["clips"]) for name, table in result("casme2")["protocols"].items()}
    changed = {f"casme2/{subject}/{clip}@31" for subject, clip in replicas.CHANGED_IN_2019}
    assert of["casme2_5c_249"] - of["casme2_5c_246"] == changed
    assert of["casme2_5c_247"] - of["casme2_5c_246"] == {"casme2/24/EP02_07@0"}
    assert of["casme2_3c_2014"] - of["casme2_megc2019"] == {"casme2/04/EP12_01f@70", "casme2/05/EP09_05f@41"}


KNOWN: dict[str, dict[str, set[str]]] = {
    "casme2": {
        "apex_at_onset": {"05/EP09_05f"}, "apex_unknown": {"04/EP12_01f"},
        "apex_at_offset": {"05/EP16_04f", "12/EP09_06", "20/EP16_01", "25/EP18_04f"},
        "known_error": {"04/EP12_01f", "05/EP09_05f", "16/EP01_08", "07/EP06_01", "12/EP09_02"},
    },
    "samm": {
        "apex_outside": {"028/028_4_1", "032/032_3_1"}, "known_error": {"028/028_4_1", "032/032_3_1"},
        "uncertain_action_units": {"007/007_6_1", "007/007_6_5", "011/011_4_2", "014/014_5_2", "035/035_7_2"},
    },
}  # fmt: skip


@pytest.mark.parametrize("dataset", KNOWN)
def test_the_known_rows_are_named(dataset: str, result: Callable[[str], dict]) -> None:
    assert {kind: named(result(dataset), kind) for kind in KNOWN[dataset]} == KNOWN[dataset]
    assert KNOWN[dataset]["known_error"] - {"16/EP01_08", "07/EP06_01", "12/EP09_02"} <= named(
        result("megc2019"), "known_error"
    )


def test_the_known_rows_of_casme_sq_are_named_macro_expressions_too(result: Callable[[str], dict]) -> None:
    found = result("casme_sq")
    numbers = {"read_otherwise": replicas.NO_OFFSET, "apex_outside": replicas.APEX_OUTSIDE, "no_action_units": 2}
    assert {kind: len(details(found, kind)) for kind in numbers} == numbers
    assert all("offset 0" in detail for detail in details(found, "read_otherwise").values())
    assert sorted(details(found, "uncertain_action_units").values()) == ["'10or11'", "'14or23'"]
    assert not any(p["fatal"] for p in found["problems"] if p["kind"] in ("apex_outside", "read_otherwise"))


def test_each_wrong_row_of_casme3a_is_named_with_its_right_value(result: Callable[[str], dict]) -> None:
    known = details(result("casme3a"), "known_error")
    assert {clip: detail.split(": ")[0].split("reads ")[-1] for clip, detail in known.items()} == {
        "casme3a/spNO.149/d@112": "160", "casme3a/spNO.216/d@3647": "2647", "casme3a/spNO.40/e@1812": "1845",
        "casme3a/spNO.40/e@2327": "2403", "casme3a/spNO.216/e@0": "1", "casme3a/spNO.214/c@22": "34",
    }  # fmt: skip
    assert "onset 0" in known["casme3a/spNO.216/e@0"] and "apex 0" in known["casme3a/spNO.216/e@0"]
    assert len(details(result("casme3a"), "apex_at_onset")) == 55
    assert "spNO.214/c" in named(result("casme3a"), "odd_length")


def changes(root: Path, dataset: str) -> dict[tuple[str, str], tuple[set[tuple], set[tuple]]]:
    """Rows (subject, clip, onset, apex, offset) that a level of corrections takes away and adds; -1 is unknown."""
    made = {}
    for level in ("none", "official", "corrected"):
        table = open_dataset(configuration(f"data={dataset}", f"data.root={root}")).clips(None, level)
        numbers = table[["onset", "apex", "offset"]].astype("Int64").fillna(-1).astype(int)
        rows = pd.concat([table[["subject", "clip"]], numbers], axis=1)
        made[level] = set(rows.itertuples(index=False, name=None))
    return {(one, two): (made[one] - made[two], made[two] - made[one]) for one, two in pairwise(made)}


def test_corrections_of_casme3a_change_the_six_wrong_rows_alone(tmp_path: Path) -> None:
    found = changes(replicas.write_casme3a(tmp_path), "casme3a")
    assert found["none", "official"] == (set(), set())
    assert found["official", "corrected"] == ({tuple(row[:5]) for row in layouts.CASME3A_WRONG}, {
        ("spNO.149", "d", 112, 160, 170), ("spNO.216", "d", 2647, 2655, 2667), ("spNO.40", "e", 1812, 1830, 1845),
        ("spNO.40", "e", 2327, 2380, 2403), ("spNO.216", "e", 1, 1, 9), ("spNO.214", "c", 22, 28, 34),
    })  # fmt: skip


def test_corrections_of_samm_change_the_known_cells_alone_and_an_older_copy_is_named_as_one(tmp_path: Path) -> None:
    root = replicas.write_samm(tmp_path, offset_of_013=5793)
    assert changes(root, "samm") == {
        ("none", "official"): ({("013", "013_1_9", 5700, 5720, 5793)}, {("013", "013_1_9", 5700, 5720, 5739)}),
        ("official", "corrected"): (
            {("028", "028_4_1", 1071, 1143, 1134), ("032", "032_3_1", 4896, 1930, 4970)},
            {("028", "028_4_1", 1071, -1, 1134), ("032", "032_3_1", 4896, 4930, 4970)},
        ),
    }
    known = details(checked(root, "data=samm"), "known_error")
    assert "5739" in known["samm/013/013_1_9@5700"]
    assert "4930" in next(detail for clip, detail in known.items() if "032_3_1" in clip)


@pytest.mark.parametrize("cropped", [False, True])
def test_smic_is_as_published_and_the_quirks_of_its_crops_are_known(cropped: bool, tmp_path: Path) -> None:
    root, frames = replicas.write_smic(tmp_path, cropped), "cropped" if cropped else "raw"
    result = checked(root, "data=smic", f"data.adapter.frames={frames}", published=True)
    assert counts(result) == {"smic_hs": (164, 16)}
    quirks = {"18/s18_sur_03", "03/s03_po_08", "03/s03_sur_01", "03/s03_sur_05", "03/s03_ne_16"}
    assert named(result, "gap") == (quirks - {"18/s18_sur_03"} if cropped else set())
    if cropped:
        assert quirks <= named(result, "known_error")
        assert "18/s18_sur_03" in named(result, "read_otherwise")


def test_cd6me_says_how_many_clips_of_each_dataset_differ(tmp_path: Path) -> None:
    differences = checked(write(tmp_path, "cd6me"), "data=cd6me")["differences"]
    assert differences == ["clips: 2031 expected, 2030 found", "casme2: 256 clips expected, 255 found"]

"""`task=check_data` on the CASME family: every protocol has its published counts, every known wrong row is named."""

from pathlib import Path

import pandas as pd
import pytest

from fdp_lightning.config import configuration
from fdp_lightning.engine.dataset import open_dataset
from tests.data import layouts, replicas
from tests.tasks.test_check_data import checked, named, problems

pytestmark = pytest.mark.costly


def counts(result: dict) -> dict[str, tuple]:
    """Protocol → clips, subjects, differences."""
    return {name: (t["n_clips"], t["n_subjects"], t["differences"]) for name, t in result["protocols"].items()}


def details(result: dict, kind: str) -> dict[str, str]:
    """Clip → all details of a kind, one behind the other."""
    found: dict[str, str] = {}
    for problem in result["problems"]:
        if problem["kind"] == kind:
            found[problem["clip"]] = found.get(problem["clip"], "") + problem["detail"]
    return found


def cells(root: Path, dataset: str, corrections: str, labels: str | None = None) -> set[tuple]:
    """(subject, clip, onset, apex, offset) of all clips; frame numbers that are unknown are -1."""
    table = open_dataset(configuration(f"data={dataset}", f"data.root={root}")).clips(labels, corrections)
    numbers = table[["onset", "apex", "offset"]].astype("Int64").fillna(-1).astype(int)
    return set(pd.concat([table[["subject", "clip"]], numbers], axis=1).itertuples(index=False, name=None))


@pytest.fixture(scope="module")
def casme_sq(tmp_path_factory: pytest.TempPathFactory) -> dict:
    return checked(replicas.write_casme_sq(tmp_path_factory.mktemp("casme_sq")), "data=casme_sq")


@pytest.fixture(scope="module")
def casme3a_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return replicas.write_casme3a(tmp_path_factory.mktemp("casme3a"))


@pytest.fixture(scope="module")
def casme3a(casme3a_copy: Path) -> dict:
    return checked(casme3a_copy, "data=casme3a")


def test_every_protocol_of_casme_sq_is_as_published(casme_sq: dict) -> None:
    assert counts(casme_sq) == {
        "casme_sq_4c": (57, 14, []),
        "casme_sq_3c": (38, 9, []),
        "casme_sq_all_4c": (357, 22, []),
        "casme_sq_all_3c": (275, 21, []),
    }
    assert casme_sq["classes"] == {"negative": 21, "others": 19, "surprise": 9, "positive": 8}


def test_the_known_rows_of_casme_sq_are_named_though_micro_expressions_alone_were_asked_for(casme_sq: dict) -> None:
    unobserved = details(casme_sq, "read_otherwise")
    assert len(unobserved) == replicas.NO_OFFSET
    assert all("offset 0" in detail for detail in unobserved.values())
    assert len(problems(casme_sq, "apex_outside")) == replicas.APEX_OUTSIDE
    assert sorted(details(casme_sq, "uncertain_action_units").values()) == ["'10or11'", "'14or23'"]
    assert len(problems(casme_sq, "no_action_units")) == 2
    elsewhere = [p for p in casme_sq["problems"] if p["kind"] in ("apex_outside", "read_otherwise")]
    assert not any(p["fatal"] for p in elsewhere)


def test_every_protocol_of_casme3a_is_as_published(casme3a: dict) -> None:
    assert counts(casme3a) == {
        "casme3a_7c": (860, 94, []),
        "casme3a_4c": (860, 94, []),
        "casme3a_3c": (699, 88, []),
        "casme3a_objective": (860, 94, []),
    }
    assert casme3a["classes"] == replicas.CASME3A_EMOTIONS
    classes = casme3a["protocols"]["casme3a_objective"]["classes"]
    assert classes == replicas.CASME3A_OBJECTIVE


def test_each_wrong_row_of_casme3a_is_named_with_its_mended_value(casme3a: dict) -> None:
    known = details(casme3a, "known_error")
    assert {clip: detail.split(": ")[0].split("reads ")[-1] for clip, detail in known.items()} == {
        "casme3a/spNO.149/d@112": "160", "casme3a/spNO.216/d@3647": "2647", "casme3a/spNO.40/e@1812": "1845",
        "casme3a/spNO.40/e@2327": "2403", "casme3a/spNO.216/e@0": "1", "casme3a/spNO.214/c@22": "34",
    }  # fmt: skip
    assert "onset 0" in known["casme3a/spNO.216/e@0"]
    assert "apex 0" in known["casme3a/spNO.216/e@0"]
    assert len(problems(casme3a, "apex_at_onset")) == 55
    assert "spNO.214/c" in named(casme3a, "odd_length")


def test_corrections_of_casme3a_change_the_six_wrong_rows_alone(casme3a_copy: Path) -> None:
    as_written, official, corrected = (
        cells(casme3a_copy, "casme3a", level) for level in ("none", "official", "corrected")
    )
    assert official == as_written
    assert as_written - corrected == {tuple(row[:5]) for row in layouts.CASME3A_WRONG}
    assert corrected - as_written == {
        ("spNO.149", "d", 112, 160, 170), ("spNO.216", "d", 2647, 2655, 2667), ("spNO.40", "e", 1812, 1830, 1845),
        ("spNO.40", "e", 2327, 2380, 2403), ("spNO.216", "e", 1, 1, 9), ("spNO.214", "c", 22, 28, 34),
    }  # fmt: skip
    folders = pd.Series([row[:2] for row in as_written]).value_counts()
    assert (folders > 1).sum() == replicas.SEVERAL_CLIPS
    lengths = [offset - onset + 1 for _, _, onset, _, offset in as_written]
    assert (sum(n > 60 for n in lengths), sum(0 < n < 8 for n in lengths)) == (72, 18)


def test_corrections_of_samm_change_the_known_cells_alone(tmp_path: Path) -> None:
    root = replicas.write_samm(tmp_path, offset_of_013=5793)
    as_written, official, corrected = (cells(root, "samm", level) for level in ("none", "official", "corrected"))
    assert as_written - official == {("013", "013_1_9", 5700, 5720, 5793)}
    assert official - as_written == {("013", "013_1_9", 5700, 5720, 5739)}
    assert official - corrected == {("028", "028_4_1", 1071, 1143, 1134), ("032", "032_3_1", 4896, 1930, 4970)}
    assert corrected - official == {("028", "028_4_1", 1071, -1, 1134), ("032", "032_3_1", 4896, 4930, 4970)}


def test_casme3c_and_casme_are_as_published(tmp_path: Path) -> None:
    part_c = checked(replicas.write_casme3c(tmp_path / "c"), "data=casme3c")
    assert counts(part_c) == {"casme3c_4c": (165, 30, [])}
    assert not problems(part_c, "unreadable_action_units", "bad_interval")
    casme = checked(replicas.write_casme(tmp_path / "casme"), "data=casme")
    assert counts(casme) == {"casme": (189, 18, [])}
    assert sum("/06/EP02_5@" in clip for clip in casme["protocols"]["casme"]["clips"]) == 6

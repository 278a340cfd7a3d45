"""`task=check_data` on DFME, MMEW, 4DME and SMIC-HS: every protocol has its published counts."""

from pathlib import Path

import pytest

from tests.data import replicas
from tests.tasks.test_check_data import checked, named, problems
from tests.tasks.test_check_data_casme import counts

pytestmark = pytest.mark.costly


def test_dfme_is_as_published_in_each_of_its_parts(tmp_path: Path) -> None:
    result = checked(replicas.write_dfme(tmp_path), "data=dfme")
    assert counts(result) == {"dfme": (2629, 259, [])}
    assert len(problems(result, "missing_folder")) in (1, 2629)


def test_every_protocol_of_mmew_is_as_published(tmp_path: Path) -> None:
    result = checked(replicas.write_mmew(tmp_path), "data=mmew")
    assert counts(result) == {
        "mmew_7c": (300, 30, []),
        "mmew_6c": (234, 30, []),
        "mmew_4c": (263, 30, []),
        "mmew_3c": (234, 30, []),
    }
    assert not problems(result, "read_otherwise", "bad_interval", "no_action_units")


def test_4dme_counts_the_clips_of_a_single_emotion(tmp_path: Path) -> None:
    result = checked(replicas.write_fourdme(tmp_path), "data=fourdme")
    assert counts(result) == {"fourdme_5c": (200, 41, [])}
    assert {kind for p in result["problems"] if (kind := p["kind"])} == {"missing_folder"}


@pytest.mark.parametrize("cropped", [False, True])
def test_smic_is_as_published_and_the_quirks_of_its_crops_are_known(cropped: bool, tmp_path: Path) -> None:
    root = replicas.write_smic(tmp_path, cropped)
    frames = "cropped" if cropped else "raw"
    result = checked(root, "data=smic", f"data.adapter.frames={frames}", published=True)
    assert counts(result) == {"smic_hs": (164, 16, [])}
    quirks = {"18/s18_sur_03", "03/s03_po_08", "03/s03_sur_01", "03/s03_sur_05", "03/s03_ne_16"}
    if cropped:
        assert quirks <= named(result, "known_error")
        assert named(result, "gap") == quirks - {"18/s18_sur_03"}
        assert "18/s18_sur_03" in named(result, "read_otherwise")
    else:
        assert not named(result, "gap")


def test_the_composites_are_as_published_and_their_annotations_named(tmp_path: Path) -> None:
    replicas.write_casme2(tmp_path / "casme2")
    replicas.write_samm(tmp_path / "samm")
    of_two = checked(tmp_path, "data=megc2018")
    assert counts(of_two) == {"megc2018": (253, 47, [])}
    assert of_two["classes"] == {"I": 49, "II": 28, "III": 119, "IV": 34, "V": 23}
    replicas.write_smic(tmp_path / "smic", cropped=False)
    of_three = checked(tmp_path, "data=megc2019")
    assert counts(of_three) == {"megc2019": (442, 68, [])}
    assert of_three["classes"] == {"negative": 250, "positive": 109, "surprise": 83}
    assert {"04/EP12_01f", "05/EP09_05f", "028/028_4_1", "032/032_3_1"} <= named(of_three, "known_error")


def test_cd6me_says_how_many_clips_of_each_dataset_differ(tmp_path: Path) -> None:
    replicas.write_casme(tmp_path / "casme")
    replicas.write_casme2(tmp_path / "casme2")
    replicas.write_samm(tmp_path / "samm")
    replicas.write_fourdme(tmp_path / "fourdme")
    replicas.write_mmew(tmp_path / "mmew")
    replicas.write_casme3a(tmp_path / "casme3a")
    differences = checked(tmp_path, "data=cd6me")["differences"]
    assert differences == ["clips: 2031 expected, 2030 found", "casme2: 256 clips expected, 255 found"]

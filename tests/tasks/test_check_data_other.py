"""`task=check_data` on DFME, MMEW, 4DME and SMIC-HS: every protocol has its published counts."""

import pytest

from tests.data import replicas_other
from tests.tasks.test_check_data import checked, named, problems
from tests.tasks.test_check_data_casme import counts


def test_dfme_is_as_published_in_each_of_its_parts(tmp_path):
    result = checked(replicas_other.write_dfme(tmp_path), "data=dfme")
    assert counts(result) == {"dfme": (2629, 259, [])}
    assert len(problems(result, "missing_folder")) in (1, 2629)


def test_every_protocol_of_mmew_is_as_published(tmp_path):
    result = checked(replicas_other.write_mmew(tmp_path), "data=mmew")
    assert counts(result) == {
        "mmew_7c": (300, 30, []),
        "mmew_6c": (234, 30, []),
        "mmew_4c": (263, 30, []),
        "mmew_3c": (234, 30, []),
    }
    assert not problems(result, "read_otherwise", "bad_interval", "no_action_units")


def test_4dme_counts_the_clips_of_a_single_emotion(tmp_path):
    result = checked(replicas_other.write_fourdme(tmp_path), "data=fourdme")
    assert counts(result) == {"fourdme_5c": (200, 41, [])}
    assert {kind for p in result["problems"] if (kind := p["kind"])} == {"missing_folder"}


@pytest.mark.parametrize("cropped", [False, True])
def test_smic_is_as_published_and_the_quirks_of_its_crops_are_known(cropped, tmp_path):
    root = replicas_other.write_smic(tmp_path, cropped)
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

"""Protocols are data: the bundled ones are consistent, and deviating copies are reported."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hydra.utils import get_class

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.data.protocols.protocol import Protocol
from fdp_lightning.errors import UserError
from fdp_lightning.instantiate import settings

pytestmark = pytest.mark.costly

FILES = sorted((CONF_DIR / "protocol").glob("[!_]*.yaml"))


@cache
def load(path: Path) -> Protocol:
    return settings(Protocol, configuration(f"protocol={path.stem}").protocol)


def test_a_dataset_has_a_default_protocol_and_another_can_be_chosen() -> None:
    assert configuration("data=samm").protocol.name == "samm_5c"
    assert configuration("data=casme2", "protocol=casme2_5c_246").protocol.name == "casme2_5c_246"
    assert configuration("+experiment=casme2_loso").protocol.name == "casme2_5c_249"
    for path in (CONF_DIR / "data").glob("[!_]*.yaml"):
        config = configuration(f"data={path.stem}")
        assert config.protocol.dataset == config.data.name, path.stem


def table(**counts: int) -> pd.DataFrame:
    """Return a clip table with the given numbers of clips per emotion, over three subjects."""
    emotions = [name for name, count in counts.items() for _ in range(count)]
    rows = [(f"{i % 3 + 1:02d}", f"EP{i:03d}", emotion) for i, emotion in enumerate(emotions)]
    frame = pd.DataFrame(rows, columns=["subject", "clip", "emotion"])
    return frame.assign(dataset="casme2", onset=1, objective="1", split="", action_units="")


def protocol(**changes) -> Protocol:
    options: dict[str, Any] = {"name": "p", "dataset": "casme2"}
    options |= {"classes": {"negative": ["disgust", "sadness"], "positive": ["happiness"]}}
    options |= {"expected": {"clips": 7, "subjects": 3, "classes": {"negative": 5, "positive": 2}}}
    return Protocol(**{**options, **changes})


WHOLE = {"disgust": 3, "sadness": 2, "happiness": 2, "fear": 4}
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
    "megc2019_flow": {"megc2019_flow": (442, 68), "megc2019_flow_causalnet": (442, 68)}, "smic": {"smic_hs": (164, 16)},
}  # fmt: skip
"""Dataset → protocol → (number of clips, number of subjects)."""


def test_every_published_protocol_has_its_clips_and_subjects() -> None:
    published = [path for path in FILES if not path.stem.startswith(("cd6me", "fourdme_5c", "synthetic"))]
    there = {path.stem: load(path).expected for path in published}
    counts = {name: pair for dataset, pairs in COUNTS.items() for name, pair in pairs.items() if dataset != "fourdme"}
    assert {name: (expected["clips"], expected["subjects"]) for name, expected in there.items()} == counts


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_protocol_file_has_its_own_name_and_counts_that_add_up(path: Path) -> None:
    built = load(path)
    assert built.name == path.stem
    assert len(built.class_names) >= 2
    for counts in [built.expected, *built.expected.get("splits", {}).values()]:
        if classes := counts.get("classes"):
            assert sum(classes.values()) == counts["clips"]
            assert list(classes) == built.class_names
    if built.expected:
        assert built.source
    parts = built.part_protocols()
    if parts and not built.label_kind.is_multi:
        for name in built.class_names:
            assert built.expected["classes"][name] == sum(p.expected["classes"][name] for p in parts.values())
        for name in ("clips", "subjects"):
            assert built.expected[name] == sum(part.expected[name] for part in parts.values())
    adapter = configuration(f"data={built.dataset}", f"protocol={path.stem}").data.adapter
    for name, member in dict(adapter.members if "members" in adapter else {built.dataset: adapter}).items():
        assert built.of(name).labels in (None, *get_class(member._target_).label_versions)


def test_a_complete_copy_passes_and_an_incomplete_one_is_refused_with_its_counts() -> None:
    chosen = protocol().apply(table(**WHOLE))
    assert chosen["target"].value_counts().to_dict() == {"negative": 5, "positive": 2}
    assert "fear" not in set(chosen["emotion"]) and [*chosen.index] == [*range(7)]
    with pytest.raises(UserError) as caught:
        protocol().apply(table(**{**WHOLE, "disgust": 2}))
    for part in ("clips: 7 expected, 6 found", "negative: 5 expected, 4", "/EP0"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="subjects: 3 expected, 2 found"):
        protocol().apply(table(**WHOLE).assign(subject=lambda t: t["subject"].replace("03", "02")))


def test_untested_subjects_must_be_annotated_but_need_no_clip_of_the_protocol() -> None:
    clips = table(**WHOLE)
    clips.loc[clips["emotion"] == "fear", "subject"] = "036"
    assert len(protocol(untested=["036", "02"]).apply(clips)) == 7
    with pytest.raises(UserError, match="annotated: 18"):
        protocol(untested=["18"]).apply(clips)
    assert len(protocol(untested=["18"], strict=False).apply(clips)) == 7


def composite(**changes) -> Protocol:
    negative = {"negative": ["disgust"], "positive": ["happiness"]}
    parts = {
        "casme2": {"name": "a", "classes": negative, "expected": {"clips": 5}},
        "samm": {"name": "b", "classes": {"negative": ["fear", "sadness"], "positive": ["happiness"]}},
    }
    options = {"dataset": "both", "classes": {"negative": [], "positive": []}, "parts": parts}
    return protocol(**{**options, "expected": {"clips": 13, "subjects": 6}, **changes})


def test_a_composite_uses_the_classes_of_each_dataset_and_keeps_subjects_apart() -> None:
    clips = pd.concat([table(**WHOLE), table(**WHOLE).assign(dataset="samm")], ignore_index=True)
    chosen = composite().apply(clips)
    found = chosen.groupby("dataset")["emotion"].unique().map(sorted).to_dict()
    assert found == {"casme2": ["disgust", "happiness"], "samm": ["fear", "happiness", "sadness"]}
    with pytest.raises(UserError, match="casme2: clips: 5 expected, 4 found"):
        composite().apply(clips.iloc[1:])
    for wrong in ({"classes": {"other": ["fear"], "positive": []}}, {"clases": {}}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            composite(parts={"samm": wrong})


def test_a_composite_refuses_options_that_belong_to_its_parts() -> None:
    for option, value in (("labels", "2014"), ("include", {"01/EP001": "fear"}), ("exclude", ["01/EP001"])):
        with pytest.raises(UserError, match=rf"protocol\.parts\.<dataset>\.{option}"):
            composite(**{option: value})


def test_by_action_units_a_clip_has_several_classes_or_none_and_is_kept() -> None:
    clips = table(happiness=6).assign(action_units=["6+L12", "12", "?", "4or7", "4?", ""])
    options = {"column": "action_units", "classes": {"AU6": [6], "AU12": [12], "AU4": [4]}}
    built = protocol(**options, expected={"clips": 6, "classes": {"AU6": 1, "AU12": 2, "AU4": 1}})
    assert built.apply(clips)["target"].tolist() == ["AU6+AU12", "AU12", "", "", "AU4", ""]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"column": "emotions"}, "protocol.column"), ({"split": "random"}, "protocol.split"),
        ({"classes": {"a": ["fear"], "b": ["Fear"]}}, "fear"), ({"classes": {"a": "fear"}}, "protocol.classes"),
        ({"untested": [36]}, "protocol.untested"),  # 036 in YAML without quotes
        ({"column": "action_units", "classes": {"AU6+AU12": [6], "AU4": [4]}}, r"AU6\+AU12"),
        ({"column": "action_units", "classes": {"AU0": [0]}}, "'0'"),
        ({"expected": {"classes": {"negativ": 5}}}, "negativ"),
        ({"expected": {"clip": 7}}, "protocol.expected"), ({"expected": {"clips": "7"}}, "protocol.expected"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_a_protocol_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=named):
        protocol(**changes)


def test_labels_are_shuffled_within_each_subject_and_among_single_clips() -> None:
    random = np.random.default_rng(0)
    subjects = [*np.repeat(["01", "02", "03"], 20), *[f"single{n}" for n in range(12)]]
    clips = pd.DataFrame({"dataset": "d", "subject": subjects, "target": random.choice(list("abc"), len(subjects))})
    options = {"name": "p", "dataset": "d", "classes": {"a": ["a"], "b": ["b"], "c": ["c"]}}
    assert Protocol(**options).shuffle(clips).equals(clips["target"])
    shuffled = Protocol(**options, shuffled=1).shuffle(clips)
    assert shuffled.equals(Protocol(**options, shuffled=1).shuffle(clips))
    assert not shuffled.equals(Protocol(**options, shuffled=2).shuffle(clips))
    kind = clips["subject"].where(clips["subject"].str.len() == 2, "single")
    for name in set(kind):
        before, after = clips["target"][kind == name], shuffled[kind == name]
        assert sorted(before) == sorted(after) and not before.equals(after)

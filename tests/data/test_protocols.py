"""Protocols are data: those that come with the project are consistent, and a copy that differs is named."""

from pathlib import Path

import pandas as pd
import pytest

from fdp_lightning.config import CONF_DIR, configuration
from fdp_lightning.data.casme2 import CASME2
from fdp_lightning.data.protocol import Protocol
from fdp_lightning.data.samm import SAMM
from fdp_lightning.errors import UserError
from fdp_lightning.tasks.build import settings

FILES = sorted((CONF_DIR / "protocol").glob("[!_]*.yaml"))


def load(path: Path) -> Protocol:
    return settings(Protocol, configuration(f"protocol={path.stem}").protocol)


def table(**counts: int) -> pd.DataFrame:
    """A clip table with so many clips of each emotion, over three subjects."""
    emotions = [name for name, count in counts.items() for _ in range(count)]
    rows = [("casme2", f"{i % 3 + 1:02d}", f"EP{i:03d}", 1, emotion) for i, emotion in enumerate(emotions)]
    frame = pd.DataFrame(rows, columns=["dataset", "subject", "clip", "onset", "emotion"])
    return frame.assign(objective="1")


def protocol(**changes) -> Protocol:
    options = {
        "name": "p",
        "dataset": "casme2",
        "classes": {"negative": ["disgust", "sadness"], "positive": ["happiness"]},
        "expected": {"clips": 7, "subjects": 3, "classes": {"negative": 5, "positive": 2}},
    }
    return Protocol(**{**options, **changes})


WHOLE = {"disgust": 3, "sadness": 2, "happiness": 2, "fear": 4}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_protocol_file_builds_under_its_own_name_with_counts_that_add_up(path):
    built = load(path)
    assert built.name == path.stem
    assert len(built.class_names) >= 2
    if built.expected:
        classes = built.expected["classes"]
        assert sum(classes.values()) == built.expected["clips"]
        assert list(classes) == built.class_names
        assert built.source


@pytest.mark.parametrize(
    ("name", "clips", "subjects"), [("casme2_5c_246", 246, 26), ("casme2_5c_249", 249, 26), ("samm_5c", 136, 27)]
)
def test_the_published_counts_are_those_of_the_field(name, clips, subjects):
    expected = load(CONF_DIR / "protocol" / f"{name}.yaml").expected
    assert (expected["clips"], expected["subjects"]) == (clips, subjects)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_protocol_names_labels_its_dataset_has(path):
    built = load(path)
    adapters = {"casme2": CASME2, "synthetic": CASME2, "samm": SAMM, "synthetic_samm": SAMM}
    versions = adapters[built.dataset].label_versions
    assert built.labels is None or built.labels in versions


def test_a_whole_copy_passes_with_its_classes_in_target():
    chosen = protocol().apply(table(**WHOLE))
    assert chosen["target"].value_counts().to_dict() == {"negative": 5, "positive": 2}
    assert "fear" not in set(chosen["emotion"])
    assert list(chosen.index) == list(range(7))


@pytest.mark.parametrize(("short", "line"), [("disgust", "negative: 5 expected, 4"), ("happiness", "positive: 2 exp")])
def test_a_copy_with_one_clip_less_is_refused_with_the_class_the_counts_and_the_way_out(short, line):
    with pytest.raises(UserError) as caught:
        protocol().apply(table(**{**WHOLE, short: WHOLE[short] - 1}))
    message = str(caught.value)
    assert "clips: 7 expected, 6 found" in message
    assert line in message
    assert "/EP0" in message
    assert "protocol.strict=false" in message


def test_a_copy_with_one_clip_more_is_refused_too():
    with pytest.raises(UserError, match="clips: 7 expected, 8 found"):
        protocol().apply(table(**{**WHOLE, "sadness": 3}))


def test_a_subject_less_is_refused_even_when_the_clips_add_up():
    clips = table(**WHOLE).assign(subject=lambda t: t["subject"].replace("03", "02"))
    with pytest.raises(UserError, match="subjects: 3 expected, 2 found"):
        protocol().apply(clips)


def test_subjects_of_two_datasets_that_share_a_name_count_twice():
    clips = table(**WHOLE)
    clips.loc[clips["subject"] == "03", ["dataset", "subject"]] = ["samm", "01"]
    assert len(protocol().apply(clips)) == 7


def test_counts_that_differ_pass_when_not_strict():
    chosen = protocol(strict=False).apply(table(**{**WHOLE, "disgust": 1}))
    assert len(chosen) == 5


def test_labels_are_compared_without_case():
    clips = table(**WHOLE)
    clips["emotion"] = [e.upper() if i % 2 else e.title() for i, e in enumerate(clips["emotion"])]
    chosen = protocol(classes={"negative": ["Disgust", "SADNESS"], "positive": ["happiness"]}).apply(clips)
    assert chosen["target"].value_counts().to_dict() == {"negative": 5, "positive": 2}


def test_objective_classes_may_be_written_as_numbers():
    clips = table(**WHOLE).assign(objective=lambda t: ["1" if e == "disgust" else "2" for e in t["emotion"]])
    chosen = protocol(column="objective", classes={"I": [1], "II": [2]}, expected={}).apply(clips)
    assert chosen["target"].value_counts().to_dict() == {"I": 3, "II": 8}


def test_an_excluded_clip_is_left_out_and_no_other():
    clips = table(**WHOLE)
    chosen = protocol(exclude=["01/EP000"], expected={"clips": 6}).apply(clips)
    assert set(clips["clip"][:7]) - set(chosen["clip"]) == {"EP000"}


def test_a_clip_to_exclude_that_is_not_annotated_is_refused_unless_not_strict():
    with pytest.raises(UserError, match="02/EP000"):
        protocol(exclude=["02/EP000"]).apply(table(**WHOLE))
    assert len(protocol(exclude=["02/EP000"], strict=False).apply(table(**WHOLE))) == 7


def test_a_subject_that_is_not_tested_must_be_annotated_but_needs_no_clip_of_the_protocol():
    clips = table(**WHOLE)
    clips.loc[clips["emotion"] == "fear", "subject"] = "036"
    assert len(protocol(untested=["036", "02"]).apply(clips)) == 7
    with pytest.raises(UserError, match=r"not annotated: 18\.\n  Annotated: 01, 02, 03, 036"):
        protocol(untested=["18"]).apply(clips)
    assert len(protocol(untested=["18"], strict=False).apply(clips)) == 7


def test_labels_of_another_dataset_are_refused_with_what_was_found():
    with pytest.raises(UserError, match=r"(?s)no clip of its classes.*anger.*happiness"):
        protocol(classes={"a": ["contempt"], "b": ["tense"]}, expected={}).apply(table(anger=1, happiness=1))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"column": "emotions"}, "protocol.column"),
        ({"classes": {"a": ["fear"], "b": ["Fear"]}}, "fear"),
        ({"classes": "fear"}, "protocol.classes"),
        ({"classes": {"a": "fear"}}, "protocol.classes"),
        ({"untested": [36]}, "protocol.untested"),  # 036 in YAML without quotes, or nearly
        ({"untested": "036"}, "protocol.untested"),
        ({"untested": None}, "protocol.untested"),
        ({"expected": {"clip": 7}}, "protocol.expected"),
        ({"expected": None}, "protocol.expected"),
        ({"expected": {"classes": {"negativ": 5}}}, "negativ"),
    ],
    ids=[
        "column",
        "label in two classes",
        "classes no mapping",
        "labels no list",
        "subject a number",
        "subjects no list",
        "no subjects",
        "count misspelt",
        "no counts",
        "class misspelt",
    ],
)
def test_a_protocol_that_cannot_be_meant_is_refused_by_key(changes, named):
    with pytest.raises(UserError, match=named):
        protocol(**changes)


def test_an_unknown_protocol_is_refused_on_the_command_line_with_those_there_are(run_cli):
    answer = run_cli("data=casme2", "protocol=casme2_5c_248", "task=prepare")
    assert answer.returncode == 2
    assert "casme2_5c_248" in answer.stderr
    for path in FILES:
        assert path.stem in answer.stderr
    assert "Traceback" not in answer.stderr

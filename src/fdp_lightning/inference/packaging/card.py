"""The model card, README.md of a model folder: description, performance, and limits of use."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.origin import thousands
from fdp_lightning.extras import sections
from fdp_lightning.inference.packaging.building import build_objective, network_class
from fdp_lightning.inference.packaging.scores import TITLES
from fdp_lightning.labels import LabelKind

Facts = Mapping[str, Any]

_SYNTHETIC = (
    "> **A synthetic model.** It was trained on faces that a program draws and moves, to try out the software. "
    "What it answers says nothing about real faces or emotions, and its scores are no result on micro-expressions."
)

_USE = """\
For research on facial micro-expression recognition, and for teaching how such a model works: comparing methods,
reproducing numbers, looking at what a network reacts to.

**Not for judging people.** A face does not show reliably what a person feels; whether emotions can be read off faces
at all is disputed among scientists (Barrett et al., "Emotional Expressions Reconsidered", *Psychological Science in the
Public Interest* 20(1), 2019). The classes are labels that somebody gave to clips, not measured feelings. Do not use the
model to decide or to hint anything about a person: not in hiring or at work, not in education, policing, border
control, courts, insurance or credit, not in medical or psychological diagnosis, not to detect lies, and on nobody who
has not agreed. In the European Union AI systems that infer emotions in workplaces and in education are prohibited but
for medical or safety reasons (Regulation (EU) 2024/1689, Article 5(1)(f)); this is no legal advice."""

_LIMITS = """\
* It was trained on micro-expressions alone and has seen no face at rest: whatever it is shown gets an answer.
* It knows clips from onset to offset, as annotators cut them; it does not find expressions in a long video.
* Its training clips show few people, in few places, by few cameras. How often it is right on other people, cameras or
  light has not been measured, and neither has whether it treats all groups of people alike."""

_ALIGNMENT = {
    "mtcnn": "MTCNN finds the face on {frame}; a similarity transform brings its five landmarks to the template",
    "box": "MTCNN finds the face on {frame}; its box, made square, is cut out",
    "none": "no face detection: the whole image is scaled to a square",
    "official_crops": "none is left to do: the clips are expected as the dataset's own face crops, scaled to a square",
}


def model_card(facts: Facts) -> str:
    """Return the card for the content of model.json, as Markdown after the YAML header that model hubs read."""
    return "\n\n".join(part.rstrip() for part in _parts(facts)) + "\n"


def _parts(facts: Facts) -> Iterator[str]:
    training = facts["training"]
    yield _header(facts)
    yield f"# {facts['name']}"
    if facts["synthetic"]:
        yield _SYNTHETIC
    yield _summary(facts)
    yield f"## What it may be used for\n{_USE}"
    yield f"## Training data\n{_training_data(facts)}"
    yield f"## How good it is\n{evaluation(facts)}"
    yield f"## What it cannot do\n{_LIMITS}"
    yield f"## Input\n{_input(facts)}"
    yield f"## How to use it\n{_how_to_use(facts)}"
    yield f"## Files\n{_files(facts)}"
    yield f"## Licence\n{facts['licence']}"
    yield f"## How it was made\n{_provenance(training)}"


def _header(facts: Facts) -> str:
    licence = str(facts["licence"])
    known = licence.lower() if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence) else "other"
    tags = ["micro-expression-recognition", "facial-expression", "research-only", "safetensors"]
    if facts["synthetic"]:
        tags.append("synthetic")
    listed = "".join(f"\n- {tag}" for tag in tags)
    return f"---\nlicense: {known}\nlibrary_name: fdp_lightning\npipeline_tag: video-classification\ntags:{listed}\n---"


def _summary(facts: Facts) -> str:
    classes = ", ".join(facts["classes"])
    answers = (
        f"says of each of {len(facts['classes'])} action units, independently, with what probability a clip shows it: "
        if facts["multi_label"]
        else f"names one of {len(facts['classes'])} classes: "
    )
    training = facts["training"]
    numbers = thousands(facts["weights"]["numbers"])
    parameters = training.get("parameters")
    size = f"It has {thousands(parameters)} parameters; the" if isinstance(parameters, int) else "The"
    taken = facts.get("taken")
    looks_at = "the raw frames" if taken is None else f"the optical flow ({', '.join(taken['channels'])})"
    try:
        declared = [extra for extra in build_objective(facts, facts["name"]).extras if extra.of == "clip"]
    except UserError:  # an objective outside this package is not imported
        declared = []
    titles = "; ".join(
        f"{extras[0].heading} ({', '.join(extra.title for extra in extras)})" if extras[0].heading else extras[0].title
        for extras in sections(declared).values()
    )
    gives = f" Of each clip it also gives {titles}." if titles else ""
    return (
        f"{_about(facts)}, trained with fdp_lightning on {whose(training)}. From {looks_at} of a short clip of a "
        f"face it {answers}{classes}.{gives} {size} file holds {numbers} numbers."
    )


def _about(facts: Facts) -> str:
    """Return the model's name with its class's own description; a deviation from the paper's model is named."""
    name, kind = facts["training"]["model"], network_class(facts)
    if kind is None:
        return f"`{name}`"
    about = getattr(kind, "about", kind.__name__)
    if name in getattr(kind, "names", (kind.__name__.lower(),)):
        return f"{about[0].upper()}{about[1:]}"
    return f"`{name}`, a network after {about}, but not the paper's"


def whose(training: Facts) -> str:
    """Return the subjects that a model was trained on, in words."""
    count = len(training["subjects"])
    who = f"{count} subject{'s' * (count != 1)} of {training['dataset']} (protocol {training['protocol']})"
    if training["task"] == "fit":
        return f"all {who}"
    return f"{who}, without {named(held_out(training))}"


def _training_data(facts: Facts) -> str:
    training = facts["training"]
    what = "Clips that show each unit, one or several:" if facts["multi_label"] else "Clips of each class:"
    drawn = " The clips are drawn and moved by a program, see the top." if facts["synthetic"] else ""
    rows = [(name, str(clips)) for name, clips in training["class_counts"].items()]
    return (
        f"{training['clips']} clips of {whose(training)}.{drawn} {what}\n\n"
        + table(("unit" if facts["multi_label"] else "class", "clips"), rows)
        + f"\n\n{_recordings(facts)}"
    )


def _recordings(facts: Facts) -> str:
    if holds := getattr(network_class(facts), "holds", None):
        return (
            f"**This file holds {holds}.** Who may pass that on is for the owners of the recordings to say: the "
            "licences of the field's datasets forbid to pass them on, and do not mention what was computed from them."
        )
    return "The recordings are not part of this model; their owners decide who may have them."


def _input(facts: Facts) -> str:
    taken, alignment, sampling = facts["input"], facts["alignment"], facts["sampling"]
    frame = "each frame by itself" if alignment["per_frame"] else "the first frame, and one transform serves the clip"
    aligned = _ALIGNMENT[alignment["method"]].format(frame=frame)
    margin = f", with a margin of {alignment['margin']:g} of the side" if alignment["margin"] else ""
    colour = "RGB" if taken["channels"] == 3 else "grey"
    mean, std = facts["normalisation"]["mean"], facts["normalisation"]["std"]
    return (
        f"* {taken['frames']} frames of {taken['size']} × {taken['size']} pixels, {colour}, values from 0 to 1.\n"
        f"* Alignment: {aligned}{margin}.\n"
        f"* Frames are chosen by the rule `{sampling['rule']}`; a clip too short for it is filled by "
        f"`{sampling['short']}`.\n"
        f"* The network itself subtracts the mean {mean:.4f} and divides by the deviation {std:.4f}, those of the "
        "training clips.\n\n"
        "`predict` does all of this. The template and the settings are in `model.json`."
    )


def _how_to_use(facts: Facts) -> str:
    return (
        "This folder is the model. On the command line, for a video file or a folder of frames:\n\n"
        "    python -m fdp_lightning task=predict predict.checkpoint=path/to/this/folder predict.input=clip.mp4\n\n"
        "From Python:\n\n"
        "```python\nfrom fdp_lightning import load_model\n\n"
        'prediction = load_model("path/to/this/folder").predict("clip.mp4")\n'
        "print(prediction.label, prediction.probabilities)\n```"
        + ("\n\n`label` joins the units above a probability of 0.5 by `+`." if facts["multi_label"] else "")
    )


def _files(facts: Facts) -> str:
    weights = facts["weights"]
    return (
        f"* `{weights['file']}`: {weights['tensors']} tensors; SHA-256 `{weights['sha256']}`\n"
        "* `model.json`: classes, preparation, configuration, provenance, scores\n"
        "* `README.md`: this card\n\n"
        "Nothing in them is executed when the model is loaded. A checksum detects damage; it is not a signature."
    )


def _provenance(training: Facts) -> str:
    trained_by = f"task={training['task']}" + (f" fold={training['fold']}" if training["task"] == "fold" else "")
    keys = ("model", "parameters", "epochs", "seed", "steps", "fingerprint", "date", "exported")
    rows = [("trained by", trained_by), *((key, str(training[key])) for key in keys if key in training)]
    rows += [(str(key).replace("_", " "), str(value)) for key, value in training["made_with"].items()]
    return table(("", ""), [(name, value) for name, value in rows if name != "command"])  # which contains paths


_FLOORS = {"majority": "majority class", "constant": "every unit shown", "chance": "chance"}

_FLOORS_OF_UNITS = {**_FLOORS, "majority": "each unit's more frequent answer"}

_SPLITS = {
    "loso": "leave-one-subject-out run",
    "kfold": "run over folds of whole subjects",
    "lodo": "leave-one-dataset-out run",
    "fixed": "run on the owners' split",
}

_NAMED_AT_MOST = 6


def evaluation(facts: Facts) -> str:
    """The section on scores; of selection `last` alone, since `oracle` scores no model that could be used.

    Args:
        facts: the content of model.json; with `scores` null, `no_scores` may say why.
    """
    scores, training = facts["scores"], facts["training"]
    fit = training["task"] == "fit"
    if scores is None:
        untested = "It was trained on all subjects and never tested. " if fit else ""
        why = f" {facts['no_scores']}" if facts.get("no_scores") else ""
        return f"**Nothing is known of how often this model is right.** {untested}There is no score to show.{why}"
    run = f"{_SPLITS[scores['split']]} of the same settings (`{scores['run']}`)"
    others = f"{scores['folds']} other models" if scores["folds"] > 1 else "another model"
    pooled = f"all {scores['n_clips']} clips of {scores['n_subjects']} subjects pooled"
    if fit:
        about = (
            "**This model itself was never tested:** it was trained on all subjects, and nobody is left to test it on. "
            f"The scores are those of the {run}: {others}, tested on people they had not been "
            f"trained on, {pooled}. They estimate what this model is worth on people who are recorded in the same way."
        )
    else:
        about = (
            f"The scores are those of the {run}, one of whose {scores['folds']} models this is: {pooled}, each "
            f"predicted by a model that was not trained on its subject. This model was not trained on "
            f"{named(held_out(training))}, and predicted their clips alone; no fold has a score of its own."
        )
    label_kind = LabelKind.of_flag(facts["multi_label"])
    parts = [about, "No epoch was chosen by its score: the last one counts.", _scores(scores, label_kind)]
    head = ("unit" if label_kind.is_multi else "class", "F1", "clips it was trained on")
    rows = [(name, f"{f1:.3f}", str(training["class_counts"][name])) for name, f1 in scores["f1"].items()]
    parts.append(table(head, rows))
    remarks = list(scores["caveats"])
    if fit and scores["inner_subjects"]:
        remarks.append(
            f"Each of those models set {scores['inner_subjects']} subjects aside (selection.inner_subjects) and was "
            "trained on so many fewer; this one was trained on all."
        )
    if remarks:
        parts.append("\n".join(f"* {remark}" for remark in remarks))
    return "\n\n".join(parts)


def held_out(training: Facts) -> list[str]:
    """Whom the fold of a model held out: its subjects, or what it is called by."""
    return list(training.get("held_out") or [training["fold"]])


def named(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return ", ".join(names[:_NAMED_AT_MOST]) + more


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, the columns behind the first one to the right."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _scores(scores: Facts, label_kind: LabelKind) -> str:
    floors, words = scores["floors"], _FLOORS_OF_UNITS if label_kind.is_multi else _FLOORS
    rows = []
    for name, title in TITLES.items():
        if name in scores:
            bounds = scores[f"{name}_interval"]
            interval = "too few subjects" if bounds is None else f"{bounds[0]:.3f}–{bounds[1]:.3f}"
            rows.append((title, f"{scores[name]:.3f}", interval, *(f"{floor[name]:.3f}" for floor in floors.values())))
    return (
        table(("", "score", "95 % interval", *(words[name] for name in floors)), rows)
        + "\n\nIntervals are over subjects. The columns to the right know nothing of the clips: a score that does not "
        "clear them is none."
    )

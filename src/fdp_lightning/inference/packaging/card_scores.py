"""What the card of a model says of its scores, and where there are none, why."""

from collections.abc import Mapping, Sequence
from typing import Any

from fdp_lightning.inference.packaging.scores import TITLES
from fdp_lightning.labels import LabelKind

Facts = Mapping[str, Any]

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

"""The model card, README.md of a model folder: description, performance, and limits of use (card.md.j2)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdp_lightning.errors import UserError
from fdp_lightning.evaluation.origin import thousands
from fdp_lightning.evaluation.pages import template
from fdp_lightning.extras import sections
from fdp_lightning.inference.packaging.building import build_objective, network_class
from fdp_lightning.inference.packaging.scores import TITLES

Facts = Mapping[str, Any]

_NAMED_AT_MOST = 6


def model_card(facts: Facts) -> str:
    """Return the card for the content of model.json: Markdown after the YAML header that model hubs read.

    It only has scores of selection `last`, since `oracle` does not score a usable model; if there are none, `no_scores`
    may give the reason.
    """
    training, licence = facts["training"], str(facts["licence"])
    fit, kind = training["task"] == "fit", network_class(facts)
    whose = f"{(n := len(training['subjects']))} subject{'s' * (n != 1)} of {training['dataset']}"
    whose = f"{whose} (protocol {training['protocol']})"
    held_out = list(training.get("held_out") or [training["fold"]])
    more = f" and {len(held_out) - _NAMED_AT_MOST} more" if len(held_out) > _NAMED_AT_MOST else ""
    named = ", ".join(held_out[:_NAMED_AT_MOST]) + more
    try:
        declared = [extra for extra in build_objective(facts, facts["name"]).extras if extra.of == "clip"]
    except UserError:  # an objective outside this package is not imported
        declared = []
    trained_by = f"task={training['task']}" + (f" fold={training['fold']}" if training["task"] == "fold" else "")
    keys = ("model", "parameters", "epochs", "seed", "steps", "fingerprint", "date", "exported")
    made_with = {str(key).replace("_", " "): value for key, value in training["made_with"].items() if key != "command"}
    return template("card.md.j2", Path(__file__).parent, escaped=False).render(
        facts={"taken": None, "no_scores": None, **facts},
        training={"parameters": None, **training},
        scores=facts["scores"],
        score_titles=TITLES,
        fit=fit,
        hub_licence=licence.lower() if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", licence) else "other",
        about=_about(training["model"], kind),
        whose=f"all {whose}" if fit else f"{whose}, without {named}",
        held_out=named,
        extras="; ".join(
            f"{of[0].heading} ({', '.join(extra.title for extra in of)})" if of[0].heading else of[0].title
            for of in sections(declared).values()
        ),
        holds=getattr(kind, "holds", None),
        provenance=[
            ("trained by", trained_by), *((key, training[key]) for key in keys if key in training), *made_with.items()
        ],
        thousands=thousands,
    )  # fmt: skip


def _about(name: str, kind: type | None) -> str:
    """Return the model's name with its class's own description, stating any deviation from the paper's model."""
    if kind is None:
        return f"`{name}`"
    about = getattr(kind, "about", kind.__name__)
    if name in getattr(kind, "names", (kind.__name__.lower(),)):
        return f"{about[0].upper()}{about[1:]}"
    return f"`{name}`, a network based on {about}, but not identical to the paper's"

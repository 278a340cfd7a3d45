"""The page of `task=demo`, and predictions in the form that its script expects."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from fdp_lightning.evaluation.charts import image_uri
from fdp_lightning.evaluation.pages import template
from fdp_lightning.extras import Extra, notes, number_format, sections
from fdp_lightning.inference.example import EXAMPLES
from fdp_lightning.inference.explanation import displayed_image
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan

_HERE = Path(__file__).parent


def page_of(facts: Mapping[str, Any], most_bytes: int) -> tuple[str, str]:
    """Return the page of a model, and its Content-Security-Policy.

    The policy allows the page's one style and one script by their hashes: anything else that might get into the page,
    for example by a file name, is not run, and nothing can be loaded from or sent to another server.
    """
    style, script = (Markup((_HERE / name).read_text()) for name in ("demo.css", "demo.js"))
    page = template("demo.html", _HERE).render(
        facts=facts,
        training=facts["training"],
        score=_score(facts),
        most_bytes=most_bytes,
        examples=EXAMPLES,
        style=style,
        script=script,
    )
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; connect-src 'self'; "
        "img-src data:; media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy


def answer_of(result: Prediction | Scan) -> dict[str, Any]:
    """Return a prediction or scan in the form that the page's script expects."""
    if isinstance(result, Prediction):
        return {"kind": "clip", **_clip(result)}
    return {
        "kind": "scan",
        **result.facts(),
        "strongest": _clip(result.strongest),
        "windows": [
            {"class": window.label}
            | {name: getattr(window, name) for name in ("start", "end", "probabilities", "motion")}
            for window in result.windows
        ],
    }


def _clip(prediction: Prediction) -> dict[str, Any]:
    return {
        **prediction.facts(),
        "frames": [image_uri(frame) for frame in prediction.frames],
        "sections": [
            {"heading": heading, "note": notes(extras), "extras": _shown(extras, prediction)}
            for heading, extras in sections(prediction.declared).items()
        ],
    }


def _shown(extras: Sequence[Extra], prediction: Prediction) -> list[dict[str, Any]]:
    """Return the extras of a section: an image as a data URI, or numbers with the texts that the page shows."""
    scalars = number_format(float(prediction.extras[extra.name]) for extra in extras if extra.kind == "scalar")
    shown = []
    for extra in extras:
        values, about = prediction.extras[extra.name], dict[str, Any](kind=extra.kind, title=extra.title)
        if extra.kind == "image":
            shown.append({**about, "image": image_uri(displayed_image(prediction, extra))})
            continue
        numbers = np.atleast_1d(values).tolist()
        form = scalars if extra.kind == "scalar" else number_format(numbers)
        shown.append({**about, "values": numbers, "texts": [form % number for number in numbers]})
    return shown


def _score(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the first score of the model for display; None if it has no scores."""
    if (scores := facts["scores"]) is None:
        return None
    key, title = ("mean_f1", "mean F1") if facts["multi_label"] else ("uf1", "UF1")
    interval = scores[f"{key}_interval"]
    return {
        "name": title,
        "value": f"{scores[key]:.3f}",
        "interval": f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else "",
        "chance": f"{scores['floors']['chance'][key]:.3f}",
        "caveats": scores["caveats"],
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

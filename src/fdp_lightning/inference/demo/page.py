"""The page of `task=demo`, and predictions in the form that its script expects."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fdp_lightning.evaluation.charts import image_uri
from fdp_lightning.evaluation.pages import template
from fdp_lightning.extras import Extra, notes, sections
from fdp_lightning.inference.example import EXAMPLES
from fdp_lightning.inference.explanation import displayed_image
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan

_HERE = Path(__file__).parent

_SCORES = {"uf1": "UF1", "uar": "UAR", "mean_f1": "mean F1", "accuracy": "accuracy"}


def page_of(facts: Mapping[str, Any], most_bytes: int) -> tuple[str, str]:
    """Return the page of a model, and its Content-Security-Policy.

    The policy allows the page's one style and one script by their hashes: anything else that might get into the page,
    for example by a file name, is not run, and nothing can be loaded from or sent to another server.
    """
    style, script = (Markup((_HERE / name).read_text()) for name in ("demo.css", "demo.js"))
    page = template("demo.html", _HERE).render(
        facts=facts,
        training=facts["training"],
        score=_score(facts.get("scores")),
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
            {
                "heading": heading,
                "note": notes(extras),
                "extras": [
                    {"name": extra.name, "kind": extra.kind, "title": extra.title, "shown": _shown(extra, prediction)}
                    for extra in extras
                ],
            }
            for heading, extras in sections(prediction.declared).items()
        ],
    }


def _shown(extra: Extra, prediction: Prediction) -> Any:
    """Return an image as a data URI, or plain numbers."""
    if extra.kind == "image":
        return image_uri(displayed_image(prediction, extra))
    return prediction.extras[extra.name].tolist()


def _score(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the first score of the model for display; None if it has no scores."""
    key = next((key for key in _SCORES if scores and scores.get(key) is not None), None)
    if scores is None or key is None:
        return None
    interval, floors = scores.get(f"{key}_interval"), scores.get("floors") or {}
    return {
        "name": _SCORES[key],
        "value": f"{scores[key]:.3f}",
        "interval": f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else "",
        "chance": f"{floors['chance'][key]:.3f}" if key in floors.get("chance", {}) else "",
        "subjects": scores.get("n_subjects"),
        "caveats": scores.get("caveats") or [],
    }


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

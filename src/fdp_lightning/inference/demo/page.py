"""The page of `task=demo`, and what a prediction is to it."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fdp_lightning.evaluation.charts import image_uri
from fdp_lightning.evaluation.templates import template
from fdp_lightning.extras import Extra, notes, sections
from fdp_lightning.inference.example import EXAMPLES
from fdp_lightning.inference.figures import overview, timeline
from fdp_lightning.inference.prediction import Prediction
from fdp_lightning.inference.scan import Scan

_HERE = Path(__file__).parent

_SCORES = {"uf1": "UF1", "uar": "UAR", "mean_f1": "mean F1", "accuracy": "accuracy"}


def page_of(facts: Mapping[str, Any], most_bytes: int) -> tuple[str, str]:
    """Make the page of a model, and its Content-Security-Policy.

    The policy knows the page's one style and one script by their hashes: whatever else might get into the page, by a
    file's name say, is not run, and nothing can be loaded from or sent to anywhere but here.

    Args:
        facts: of model.json.
        most_bytes: of a video.
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


def answer_of(result: Prediction | Scan, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A Prediction or a Scan as the page's script expects it.

    Args:
        result: of the model.
        facts: of its model.json.
    """
    name, synthetic = facts["name"], facts["synthetic"]
    if isinstance(result, Prediction):
        return {"kind": "clip", **_clip(result), "picture": _uri(overview(result, name, synthetic))}
    return {
        "kind": "scan",
        **result.facts(),
        "picture": _uri(timeline(result, facts["classes"], name, synthetic)),
        "strongest": _clip(result.strongest),
        "windows": [
            {
                "start": window.start,
                "end": window.end,
                "class": window.label,
                "probabilities": window.probabilities,
                "motion": window.motion,
            }
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
    """A picture as the page can show it, or plain numbers."""
    values = prediction.extras[extra.name]
    return image_uri(values) if extra.kind == "image" else values.tolist()


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _score(scores: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The first score that there is, for people."""
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

"""The documented form of predict.json."""

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "prediction.schema.json").read_text())


def problems(facts: Any) -> list[str]:
    """What of the content of a predict.json is not as documented."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(SCHEMA).iter_errors(facts)]

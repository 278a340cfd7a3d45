"""Multi-label rows of the predictions table: action units, of which a clip shows any number.

Target and prediction are the units' names joined by '+' in the protocol's order, '' for none; a unit is predicted
where its probability is above 0.5. The column `multi_label`, 1 in every row, marks a table to be read so:
neither names nor probabilities could tell, because a table in which each clip shows one unit looks like one of classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fdp_lightning.labels import JOIN, LabelKind

FLAG = "multi_label"
THRESHOLD = 0.5


def label_kind_of(frame: pd.DataFrame) -> LabelKind:
    """Return the kind of labels of a predictions table."""
    return LabelKind.of_flag(FLAG in frame.columns)


def joined(shown: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Write the units of each clip as one text; `shown` is bool, shape (n, k)."""
    return [JOIN.join(name for name, there in zip(classes, row, strict=True) if there) for row in np.asarray(shown)]


def above_threshold(probabilities: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return the prediction of each clip from its probabilities, shape (n, k)."""
    return joined(np.asarray(probabilities) > THRESHOLD, classes)


def shown_units(names: pd.Series, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Read targets or predictions.

    Returns:
        The units that each names, bool, shape (n, k); and True where it is one that `joined` writes, bool, shape (n,):
        known units, each once, in the protocol's order.
    """
    codes, texts = pd.factorize(names)
    parts = [set(text.split(JOIN)) for text in texts]
    table = np.array([[name in part for name in classes] for part in parts], dtype=bool).reshape(-1, len(classes))
    well = np.array([text == again for text, again in zip(texts, joined(table, classes), strict=True)], dtype=bool)
    return table[codes], well[codes]


def label_arrays(frame: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return which units each clip shows and which are predicted, each bool, shape (n, k).

    Raises:
        ValueError: a target or a prediction is not made of these classes.
    """
    target, prediction = (shown_units(frame[name], classes) for name in ("target", "prediction"))
    if not (target[1].all() and prediction[1].all()):
        raise ValueError(f"a target or a prediction is not made of the classes {', '.join(classes)}")
    return target[0], prediction[0]


def unit_rules(frame: pd.DataFrame, classes: Sequence[str], probabilities: np.ndarray) -> dict[str, Any]:
    """Return the rules for the rows of a multi-label table: message where broken → bool, shape (n,), True where kept.

    `probabilities` are those of the rows, shape (n, k).
    """
    well = "made of classes, each once and in the protocol's order, joined by '+'"
    return {
        f"{FLAG} is not 1": frame[FLAG] == 1,
        f"the target is not {well}": shown_units(frame["target"], classes)[1],
        f"the prediction is not {well}": shown_units(frame["prediction"], classes)[1],
        "a probability is outside 0 to 1": ((probabilities >= 0) & (probabilities <= 1)).all(axis=1),
        f"the prediction is not what has a probability above {THRESHOLD}": frame["prediction"].to_numpy(dtype=object)
        == np.array(above_threshold(probabilities, classes), dtype=object),
    }

"""Schema of the description of a trained model: types, ranges and lengths, checked before anything is built from it.

A model file may come from anywhere. Nothing in it is looked up, imported or resolved: its values are numbers, words and
lists of them.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fdp_lightning.data.faces.prepare_clip import COLOURS, DEVICES, METHODS
from fdp_lightning.data.inputs.flow import CHANNELS, PHASES, SCALES
from fdp_lightning.data.inputs.flow import METHODS as FLOW_METHODS
from fdp_lightning.data.loading.sampling import RULES, SHORT
from fdp_lightning.errors import UserError
from fdp_lightning.foreign import require_values

_MOST_ENTRIES = 5000
_LARGEST = 10**12


def _plain(value: Any) -> Any:
    require_values(value)
    return value


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Text = Annotated[str, Field(max_length=4000), AfterValidator(_plain)]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Names = Annotated[list[Name], Field(max_length=_MOST_ENTRIES)]
Json = Annotated[dict[str, Any], AfterValidator(_plain)]


class _Part(BaseModel):
    """A part of the description, with no entries other than its fields."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Input(_Part):
    """The frames that the network takes."""

    frames: Annotated[int, Field(ge=2, le=512)]
    channels: Literal[1, 3]
    size: Annotated[int, Field(ge=8, le=1024)]
    values: Name


class Normalisation(_Part):
    """Mean and standard deviation of the training clips' values."""

    mean: Annotated[float, Field(ge=-10, le=10)]
    std: Annotated[float, Field(gt=0, le=10)]


class Alignment(_Part):
    """The settings of `data.faces`, and the landmarks' template."""

    method: Literal[METHODS]  # type: ignore[valid-type]
    size: Annotated[int, Field(ge=8, le=1024)]
    margin: Annotated[float, Field(ge=-0.4, le=2)]
    colour: Literal[COLOURS]  # type: ignore[valid-type]
    least_confidence: Share
    per_frame: bool
    batch: Annotated[int, Field(ge=1, le=256)]
    device: Literal[DEVICES]  # type: ignore[valid-type]
    template: Annotated[
        list[Annotated[list[Annotated[float, Field(ge=-2, le=3)]], Field(min_length=2, max_length=2)]],
        Field(min_length=5, max_length=5),
    ]


class SamplingRule(_Part):
    """The settings of `data.sampling`."""

    frames: Annotated[int, Field(ge=2, le=512)]
    rule: Literal[RULES]  # type: ignore[valid-type]
    short: Literal[SHORT]  # type: ignore[valid-type]


class Taken(_Part):
    """Maps that the network takes in place of the frames: the settings of `input`, and the fitted scale."""

    kind: Literal["flow", "apex_flow"]
    method: Literal[FLOW_METHODS]  # type: ignore[valid-type]
    channels: Annotated[list[Literal[CHANNELS]], Field(min_length=1, max_length=len(CHANNELS))]  # type: ignore[valid-type]
    size: Annotated[int, Field(ge=8, le=256)]
    scale: Literal[SCALES]  # type: ignore[valid-type]
    phases: Annotated[list[Literal[PHASES]], Field(min_length=1, max_length=len(PHASES))] = ["onset_apex"]  # type: ignore[valid-type]
    gain: Annotated[float, Field(gt=0, le=1e6)]
    flip: Share
    divisors: Annotated[list[Annotated[float, Field(ge=1e-12, le=1e12)]], Field(min_length=1, max_length=len(CHANNELS))]

    @model_validator(mode="after")
    def _fits_together(self) -> "Taken":
        if len(set(self.channels)) != len(self.channels) or len(set(self.phases)) != len(self.phases):
            raise ValueError("channels or phases holds a name twice")
        if len(self.divisors) != len(self.channels):
            raise ValueError("divisors do not match channels")
        return self


class Configuration(_Part):
    """Configuration of the training. Only `model` is built, by `building.py`."""

    model: Json
    data: Json
    protocol: Json
    trainer: Json
    compute: Json
    seed: int


class Training(_Part):
    task: Literal["fit", "fold"]
    fold: Name
    dataset: Name
    protocol: Name
    subjects: Names
    held_out: Names
    clips: Count
    class_counts: Annotated[dict[Name, Count], Field(max_length=_MOST_ENTRIES)]
    model: Name
    parameters: Count | None = None
    epochs: Count
    steps: Count
    seed: int
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    made_with: Annotated[dict[Name, Text | int | float | None], Field(max_length=100)]
    exported: Name


class Weights(_Part):
    file: Literal["model.safetensors"]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    tensors: Count
    numbers: Count


class Scores(_Part):
    """Scores of the leave-one-subject-out run, and their counts, with which `scores.check_scores` compares them."""

    model_config = ConfigDict(strict=True, extra="allow")

    selection: Literal["last"]
    protocol: Name
    split: Literal["loso", "kfold", "lodo", "fixed"]
    folds: Annotated[int, Field(ge=1, le=100_000)]
    inner_subjects: Count
    counts: Annotated[list[Any], Field(min_length=1, max_length=5000)]
    caveats: Annotated[list[Text], Field(max_length=200)]
    run: Name

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, value: Any) -> Any:
        return _plain(value)


class Facts(_Part):
    """The description of its model in a model file or checkpoint."""

    name: Name
    synthetic: bool
    licence: Text
    classes: Annotated[list[Name], Field(min_length=1, max_length=1000)]
    multi_label: bool
    input: Input
    normalisation: Normalisation
    alignment: Alignment
    sampling: SamplingRule
    fitted: Annotated[dict[Name, Annotated[float, Field(ge=-1e6, le=1e6)]], Field(max_length=100)]
    taken: Taken | None = None
    configuration: Configuration
    training: Training
    scores: Scores | None
    no_scores: Text | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Facts":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes holds a name twice")
        if list(self.training.class_counts) != self.classes:
            raise ValueError("training.class_counts does not match classes")
        if (self.input.frames, self.input.size) != (self.sampling.frames, self.alignment.size):
            raise ValueError("input does not match sampling.frames and alignment.size")
        if self.input.channels != (3 if self.alignment.colour == "rgb" else 1):
            raise ValueError("input.channels does not match alignment.colour")
        return self


class ModelFile(Facts):
    """Everything in model.json except its checksum."""

    format: Literal[3]
    weights: Weights
    card: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def check_facts(facts: Mapping[str, Any], source: str) -> None:
    """Raise UserError, naming the first wrong entry, unless facts match `Facts`, or, with a format, `ModelFile`."""
    try:
        (ModelFile if "format" in facts else Facts).model_validate(dict(facts))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the description"
        found = "" if first["type"] == "missing" else f" ({str(first['input'])[:80]!r} was found)"
        more = f"; {error.error_count() - 1} more entries are wrong" if error.error_count() > 1 else ""
        raise UserError(f"{source} is not a model of this version: {where}: {first['msg']}{found}{more}") from error

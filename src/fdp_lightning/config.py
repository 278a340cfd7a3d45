"""Where the configuration lies, and the schema of its root: a misspelt top-level key is an error."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import MISSING, DictConfig, OmegaConf

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "conf"
_REPOSITORY = _PACKAGE.parents[1] / "conf"

CONF_DIR = _INSTALLED if _INSTALLED.is_dir() else _REPOSITORY
"""The wheel carries conf/ inside the package; a checkout has it at its top level."""

EXPERIMENTS = CONF_DIR.parent / "experiments"
"""Studies, and the published numbers that `task=compare` puts beside runs; they travel as conf/ does."""

BENCHMARKS = CONF_DIR.parent / "benchmarks"
"""Scripts that measure; they travel as conf/ does."""


TASKS = {
    "loso": "loso.loso",
    "fold": "loso.fold",
    "tune": "tune.tune",
    "fit": "fit.fit",
    "prepare": "prepare.prepare",
    "check_data": "check_data.check_data",
    "report": "report.report",
    "compare": "compare.compare_runs",
    "predict": "predict.predict",
    "demo": "demo.demo",
    "export": "export.export",
    "convert": "convert.convert",
    "benchmark": "benchmark.benchmark",
}
"""Task → its module in tasks/, and the function there."""

ADDED_GROUPS = ("experiment", "study", "space")
"""Groups without a default: an option of theirs is added with `+`."""


@dataclass
class LosoOptions:
    """How the folds of a leave-one-subject-out run share the machine; nothing here changes a prediction by more than
    rounding.
    """

    workers: int | None = None
    """Folds, or stacks of folds, trained at once, each in its own process; null: one per CPU core, or one per GPU."""
    engine: str = "processes"
    """processes: each fold by itself in a process; stacked: folds of a small model trained as one network, for GPUs,
    where launching small operations costs more than computing them (benchmarks/README.md). Equal but for rounding, so
    that nothing chooses between them by itself: a run would depend on what else its machine was doing."""
    stack: int | None = None
    """Folds in one stack at most (memory: the activations of all are held at once); null: as many as there are."""
    cpu_threads: int = 1
    """CPU threads of each fold. Part of the result: sums in another order differ in the last bit."""
    checkpoint_seconds: float = 15.0
    """How much training a kill may cost at most: a fold saves what it takes to resume after an epoch, so often."""
    quick_model: str | None = None
    """The option of the group `model` that a run which will take long on a CPU points to; null: none."""


@dataclass
class SelectionOptions:
    """How epochs are chosen. `last` needs no choice, `oracle` is always read off as well."""

    inner_subjects: int = 0
    """Training subjects set aside in each fold, to choose the epoch `inner` by; the whole run trains without them."""


@dataclass
class ReportOptions:
    """What report.html shows."""

    title: str | None = None
    headline: str = "last"
    """The selection that stands first, last or oracle; oracle stays "not comparable" wherever it stands."""
    show_faces: bool | None = None
    """Images show faces; null: as the dataset allows (`data.show_faces`)."""
    explain: bool = True
    """Each fold makes heat maps of what moved and counted in held-out clips, and compares them for the map of clips."""
    upload_faces: bool | None = None
    """Faces may leave for W&B, in galleries and on the uploaded page, whatever the local page shows; null: where the
    dataset is public (`data.show_faces`)."""


@dataclass
class ConvertOptions:
    """What `task=convert` reads and writes."""

    input: str | None = None
    output: str | None = None
    to: str = "ours"
    """The layout of the output: ours, or that of the code released with FDP (released)."""


@dataclass
class CheckDataOptions:
    """How `task=check_data` looks at a copy."""

    deep: bool = False
    """Decode every image too; without it the listing and a few pictures of each clip are read."""
    output: str | None = None
    """Where check.json goes; null: checks/<protocol>/check.json."""


@dataclass
class CompareOptions:
    """What `task=compare` puts beside the runs, and where its tables go."""

    output: str = "compare"
    """The folder of compare.html, compare.csv and compare.tex."""
    baseline: str | None = None
    """The run or variant folder the others are tested against; null: the first of `runs`."""
    published: str | None = "shipped"
    """A CSV of published numbers (columns: experiments/published.csv); shipped: that file itself; null: none."""


@dataclass
class TuneOptions:
    """What `task=tune` searches, and by which score of the subjects that each fold sets aside."""

    trials: int = 20
    """How many; each is a run of all folds, which the same command without `tune` finds again."""
    sampler: str = "random"
    """random, grid (of choices), or tpe, which proposes by the inner scores of all folds and so costs the nested score
    its independence."""
    objective: str = "inner/uf1"
    """inner/uf1, inner/uar, inner/accuracy, inner/weighted_f1, inner/log_loss; of action units inner/mean_f1."""
    space: Any = None
    """Key → {low: 1e-4, high: 1e-2, log: true} or {choices: [adam, adamw]}; whole numbers where both ends are.
    +tune.space={…} adds to one that +space=… has chosen."""
    folder: str | None = None
    """Where its tables go; null: runs/<experiment>/tune-…/seed-<s>."""


@dataclass
class FitOptions:
    """What `task=fit` writes beside the model it trains on all subjects."""

    licence: str | None = None
    """Of the model file; null: for synthetic faces that of this project, else that the owners of the data decide."""


@dataclass
class ExportOptions:
    """What `task=export` makes a model file of."""

    checkpoint: str | None = None
    """The folder of a finished fold, its checkpoint, a model file, or synthetic: the one that ships with us."""
    output: str | None = None
    """null: model, or model.onnx, beside the checkpoint."""
    to: str = "model"
    """model: safetensors and JSON, see src/fdp_lightning/inference/README.md; onnx: the network as ONNX."""
    licence: str | None = None
    """As of `fit`."""


@dataclass
class PredictOptions:
    """What `task=predict` looks at, and with which model."""

    input: str | None = None
    """A video file, a folder of frames, or a folder of such; synthetic: a clip drawn for the occasion."""
    checkpoint: str = "synthetic"
    """A model file, a fold's checkpoint, or synthetic: the model that ships with us, trained on synthetic faces."""
    output: str | None = None
    """The folder of predict.json, predictions.csv and the pictures; null: predictions/<name of the input>. Results of
    another model or input are not replaced."""
    mode: str = "auto"
    """clip: all of it is one micro-expression, onset to offset; scan: windows of that length slide over it; auto: scan
    what is longer than `longest_clip`."""
    explain: bool = True
    """Draw what moved and counted over the face, with the share of each region: a few passes of the network more."""
    longest_clip: float = 2.0
    """Seconds."""
    window: float = 0.5
    """Of a scan, seconds: the length that is counted as the limit of a micro-expression."""
    step: float = 0.25
    """From window to window, seconds."""
    fps: float | None = None
    """Frames per second: of folders of frames, which do not say it (a scan needs it), and of videos whose files say
    another one than they were recorded at; null: as a video says."""
    device: str = "cpu"
    """Of the network and of the face detector: cpu or cuda."""


@dataclass
class DemoOptions:
    """What `task=demo` serves, on 127.0.0.1 alone."""

    checkpoint: str = "synthetic"
    """As of `predict`."""
    port: int = 8765
    """0: any that is free."""


@dataclass
class BenchmarkOptions:
    """What `task=benchmark` measures."""

    rows: list[str] | None = None
    """Which of benchmarks/; null: all, about three quarters of an hour on two cores."""
    output: str = "runs/benchmark"
    """The folder of benchmark.json, benchmark.md and of what each row says."""
    quick: bool = False
    """Sizes so small that figures mean nothing: does every row run?"""


@dataclass
class Root:
    """The root of every configuration; groups fill the fields of type Any."""

    task: str = "loso"
    seed: int = 0
    fold: str | None = None
    runs: Any = "runs"
    """The folder above all run folders; `task=compare` also takes a list of run folders or of folders above them."""
    run: str | None = None
    corrections: str = "official"
    """Known errors of the annotations: official, corrected or none; see data/annotations/corrections.py."""
    data: Any = MISSING
    protocol: Any = MISSING
    input: Any = MISSING
    model: Any = MISSING
    trainer: Any = MISSING
    compute: Any = MISSING
    logger: Any = MISSING
    loso: LosoOptions = field(default_factory=LosoOptions)
    selection: SelectionOptions = field(default_factory=SelectionOptions)
    report: ReportOptions = field(default_factory=ReportOptions)
    convert: ConvertOptions = field(default_factory=ConvertOptions)
    check_data: CheckDataOptions = field(default_factory=CheckDataOptions)
    compare: CompareOptions = field(default_factory=CompareOptions)
    tune: TuneOptions = field(default_factory=TuneOptions)
    fit: FitOptions = field(default_factory=FitOptions)
    export: ExportOptions = field(default_factory=ExportOptions)
    predict: PredictOptions = field(default_factory=PredictOptions)
    demo: DemoOptions = field(default_factory=DemoOptions)
    benchmark: BenchmarkOptions = field(default_factory=BenchmarkOptions)


def register_schema() -> None:
    """Make the schema known to Hydra under the name conf/config.yaml asks for."""
    ConfigStore.instance().store(name="schema", node=Root)
    Plugins.instance()  # makes Hydra's launchers known
    known = ConfigStore.instance().repo["hydra"]["launcher"]
    for ours in CONF_DIR.glob("hydra/launcher/*.yaml"):
        known.pop(ours.name, None)  # Hydra would merge what its plugin of this name says into ours
    known.pop("ray_aws.yaml", None)  # comes with Ray's plugin, and starts machines that cost money


def let_debug_speak_last(config: DictConfig, debug: str | None) -> None:
    """Hydra puts +experiment behind the group debug; what debug=smoke says must be the last word."""
    if debug:
        OmegaConf.set_struct(config, False)
        config.merge_with(OmegaConf.load(CONF_DIR / "debug" / f"{debug}.yaml"))


def configuration(*overrides: str, hydra: bool = False) -> DictConfig:
    """The configuration of `python -m fdp_lightning <overrides>`, for use from Python, inside a running task too.

    Args:
        overrides: as on the command line.
        hydra: with Hydra's own node.
    """
    register_schema()
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return compose("config", overrides=list(overrides), return_hydra_config=hydra)
    finally:
        GlobalHydra.instance().hydra = running

"""Location of the configuration, and the schema of its root, so that a misspelt top-level key is an error."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import MISSING, DictConfig, OmegaConf

_PACKAGE = Path(__file__).resolve().parent
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]
"""The wheel contains conf/, experiments/ and benchmarks/ inside the package; a checkout has them at the top level."""

CONF_DIR = _ROOT / "conf"
EXPERIMENTS = _ROOT / "experiments"  # studies, and the published numbers that `task=compare` shows next to runs
BENCHMARKS = _ROOT / "benchmarks"  # scripts that measure

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
"""Task → its function, as <module in tasks/>.<function>."""

ADDED_GROUPS = ("experiment", "study", "space")  # groups without a default, whose options are added with `+`


@dataclass
class LosoOptions:
    """How the folds of a run share the machine; nothing here changes a prediction beyond floating-point differences."""

    workers: int | None = None
    """Folds trained in parallel, each in its own process; null: one per CPU core, or one per GPU."""
    cpu_threads: int = 1
    """CPU threads of each fold. Affects the results: sums in another order differ in the last bit."""
    checkpoint_seconds: int | float = 15.0
    """Interval, seconds, between the checkpoints from which a killed fold resumes; at most this much work is lost."""
    quick_model: str | None = None
    """Option of the group `model` that is suggested if a run will take long on a CPU; null: none."""


@dataclass
class SelectionOptions:
    """How epochs are chosen. `last` needs no choice; `oracle` is always reported as well."""

    inner_subjects: int = 0
    """Inner validation subjects of each fold, on which the epoch `inner` is chosen; the fold trains without them."""


@dataclass
class ReportOptions:
    """Contents of report.html."""

    title: str | None = None
    headline: str = "last"
    """Selection shown first: last, inner or oracle; oracle is always marked "not comparable"."""
    show_faces: bool | None = None
    """Show faces in images; null: as the dataset allows (`data.show_faces`)."""
    explain: bool = True
    """Compute heat maps of the motion that counted in held-out clips, and their similarities for the map of clips."""
    upload_faces: bool | None = None
    """Allow sending faces to W&B, in galleries and on the uploaded page, regardless of the local page; null: only if
    the dataset is public (`data.show_faces`)."""


@dataclass
class ConvertOptions:
    """Input and output of `task=convert`."""

    input: str | None = None
    output: str | None = None
    to: str = "ours"
    """Layout of the output: ours, or released, that of the code released with FDP."""


@dataclass
class CheckDataOptions:
    """How `task=check_data` checks a copy."""

    deep: bool = False
    """Decode every image; otherwise the listing and a few images of each clip are checked."""
    output: str | None = None
    """Path of check.json; null: checks/<protocol>/check.json."""


@dataclass
class CompareOptions:
    """What `task=compare` compares, and where it writes the tables."""

    output: str = "compare"
    """Folder of compare.html, compare.csv and compare.tex."""
    baseline: str | None = None
    """Folder of the run or variant that the others are tested against; null: the first of `runs`."""
    published: str | None = "shipped"
    """CSV of published numbers, with the columns of experiments/published.csv; shipped: that file; null: none."""


@dataclass
class TuneOptions:
    """Search of `task=tune`, by a score on the inner validation subjects of each fold."""

    trials: int = 20
    """Number of trials; each is a run of all folds, which the same command without `tune` finds again."""
    sampler: str = "random"
    """random, grid (of choices), or tpe, which uses the inner scores of all folds to propose points, so that the nested
    score is not independent."""
    objective: str = "inner/uf1"
    """inner/uf1, inner/uar, inner/accuracy, inner/weighted_f1, inner/log_loss; for action units inner/mean_f1."""
    space: Any = None
    """Key → {low: 1e-4, high: 1e-2, log: true} or {choices: [adam, adamw]}; whole numbers if both bounds are.
    +tune.space={…} adds to a space chosen by +space=…."""
    folder: str | None = None
    """Folder of the search; null: runs/<experiment>/tune-…/seed-<s>."""


@dataclass
class FitOptions:
    """The model file that `task=fit` writes."""

    licence: str | None = None
    """Licence of the model file; null: this project's for synthetic faces, otherwise that the data's owners decide."""


@dataclass
class ExportOptions:
    """Input and output of `task=export`."""

    checkpoint: str | None = None
    """Folder of a finished fold, its checkpoint, a model file, or synthetic: the bundled model."""
    output: str | None = None
    """Path of the output; null: model, or model.onnx, next to the checkpoint."""
    to: str = "model"
    """model: safetensors and JSON, see src/fdp_lightning/inference/README.md; onnx: the network as ONNX."""
    licence: str | None = None
    """Licence, as in `fit`."""


@dataclass
class PredictOptions:
    """Input, model and output of `task=predict`."""

    input: str | None = None
    """Video file, folder of frames, or folder of these; synthetic: a clip drawn on the fly."""
    checkpoint: str = "synthetic"
    """Model file, a fold's checkpoint, or synthetic: the bundled model, trained on synthetic faces."""
    output: str | None = None
    """Folder of predict.json, predictions.csv and the images; null: predictions/<name of the input>. Results of another
    model or input are not overwritten."""
    mode: str = "auto"
    """clip: the input is one micro-expression from onset to offset; scan: windows of that length slide over it; auto:
    scan inputs longer than `longest_clip`."""
    explain: bool = True
    """Draw the motion that counted over the face, with the share of each region; takes a few more forward passes."""
    longest_clip: int | float = 2.0
    """Duration above which `mode=auto` scans, seconds."""
    window: int | float = 0.5
    """Length of a scan's windows, seconds: the usual limit of a micro-expression."""
    step: int | float = 0.25
    """Time between the starts of consecutive windows, seconds."""
    fps: int | float | None = None
    """Frames per second of folders of frames, which do not state it (a scan needs it), and of videos recorded at a rate
    other than the one stated in the file; null: as stated by a video."""
    bits: int | None = None
    """Bits used in 16-bit images, 8 to 16; null: determined from the values of each folder of frames."""
    device: str = "cpu"
    """Device of the network and of the face detector: cpu or cuda."""


@dataclass
class DemoOptions:
    """The server of `task=demo`, on 127.0.0.1 only."""

    checkpoint: str = "synthetic"
    """Model, as in `predict`."""
    port: int = 8765
    """Port of the server; 0: any free one."""


@dataclass
class BenchmarkOptions:
    """The measurements of `task=benchmark`."""

    rows: list[str] | None = None
    """Names of scripts in benchmarks/; null: all, about three quarters of an hour on two cores."""
    output: str = "runs/benchmark"
    """Folder of benchmark.json, benchmark.md and the output of each script."""
    quick: bool = False
    """Run at sizes so small that the figures mean nothing, to test the scripts."""


@dataclass
class Root:
    """The root of every configuration; groups fill the fields of type Any."""

    task: str = "loso"
    seed: int = 0
    fold: str | None = None
    runs: Any = "runs"
    """Folder that contains all run folders; `task=compare` also takes a list of run folders or of folders of them."""
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
    """Register the schema with Hydra under the name used in conf/config.yaml."""
    ConfigStore.instance().store(name="schema", node=Root)
    Plugins.instance()  # registers Hydra's launchers
    known = ConfigStore.instance().repo["hydra"]["launcher"]
    for ours in CONF_DIR.glob("hydra/launcher/*.yaml"):
        known.pop(ours.name, None)  # otherwise Hydra merges the options of its own plugin of this name into ours
    known.pop("ray_aws.yaml", None)  # part of Ray's plugin; it starts machines that cost money


def apply_debug_last(config: DictConfig, debug: str | None) -> None:
    """Apply the group debug again: Hydra applies +experiment after it, but debug=smoke must take precedence."""
    if debug:
        OmegaConf.set_struct(config, False)
        config.merge_with(OmegaConf.load(CONF_DIR / "debug" / f"{debug}.yaml"))


def configuration(*overrides: str, hydra: bool = False) -> DictConfig:
    """Return the configuration of `python -m fdp_lightning <overrides>`, also inside a running task.

    With `hydra`, it includes Hydra's own node.
    """
    register_schema()
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            return compose("config", overrides=list(overrides), return_hydra_config=hydra)
    finally:
        GlobalHydra.instance().hydra = running

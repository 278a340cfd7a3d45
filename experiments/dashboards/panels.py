"""What is on the dashboards. Every key here is one that runs of this project log (tests/tasks/test_dashboards.py)."""

from collections.abc import Sequence
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

FOLDS, POOLED = "fold", "aggregate"
VARIANT = wr.Config("label")  # experiment/variant: every experiment has a variant called default
# (title, quantity): logged by each fold after each epoch, of its training clips and of the held-out subject.
CURVES = (
    ("loss", "loss"),
    ("emotion loss", "emotion_loss"),
    ("dynamic image loss", "dynamic_image_loss"),
    ("rank loss", "rank_loss"),
    ("accuracy", "accuracy"),
    ("Kendall τ of the frames' order", "kendall_tau"),
)
SIDES = {"train": "training clips", "test": "held-out subject"}
NOTE = (
    "A score is computed once, from the pooled predictions of all folds; the folds' own scores have no mean here. "
    "last: after the last epoch, nothing chosen. oracle: the epoch best on the held-out subject itself, which is what "
    "most published code reports; it is not comparable, and stands here only beside last. Runs tagged synthetic are of "
    "generated faces."
)


def workspaces(entity: str, project: str, scores: Sequence[str]) -> list[ws.Workspace]:
    """One view of the folds' curves and one of the pooled scores; each shows its own kind of run alone."""
    folds = ws.Workspace(
        entity=entity,
        project=project,
        name="Folds: curves by variant",
        sections=[
            ws.Section(name=f"{place} ({side}/)", panels=curves(side), is_open=True) for side, place in SIDES.items()
        ],
        settings=ws.WorkspaceSettings(x_axis="trainer/global_step", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("JobType") == FOLDS],
            groupby=[ws.Config("label")],
            pinned_columns=["config:fold.value", "config:seed.value"],
        ),
    )
    pooled = ws.Workspace(
        entity=entity,
        project=project,
        name="Pooled scores: last beside oracle",
        sections=[
            ws.Section(name="Pooled scores", panels=[last_beside_oracle(score) for score in scores], is_open=True),
            ws.Section(name="Single runs", panels=single_runs(), is_open=True),
        ],
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("JobType") == POOLED],
            groupby=[ws.Config("label")],
            order=[ws.Ordering(ws.Summary(f"last/{scores[0]}"), ascending=False)],
            pinned_columns=columns(scores),
        ),
    )
    return [folds, pooled]


def report(entity: str, project: str, scores: Sequence[str]) -> wr.Report:
    """The page to send around: pooled scores, the table of variants, single runs, and the curves behind them."""
    variants = wr.Runset(
        name="variants",
        filters=f"JobType = '{POOLED}'",
        groupby=["config.label"],
        order=[wr.OrderBy(wr.SummaryMetric(f"last/{scores[0]}"), ascending=False)],
        pinned_columns=["run:displayName"],
        visible_columns=columns(scores),
        lock_columns=True,
    )
    singles = wr.Runset(name="pooled runs", filters=f"JobType = '{POOLED}'")
    folds = wr.Runset(name="folds", filters=f"JobType = '{FOLDS}'")
    return wr.Report(
        entity=entity,
        project=project,
        title="Micro-expression recognition: variants and seeds",
        description="Made by experiments/dashboards/build.py",
        width="fluid",
        blocks=[
            wr.P(NOTE),
            wr.H2("Variants"),
            wr.P("Bars: mean over the seeds of a variant, with the standard deviation. Below: the table."),
            wr.PanelGrid(runsets=[variants], panels=_in_rows([last_beside_oracle(score) for score in scores], width=8)),
            wr.H2("Single runs"),
            wr.P("Choose one run below to see its confusion matrix, its predictions and its dynamic images alone."),
            wr.PanelGrid(runsets=[singles], panels=_in_rows(single_runs(), width=12)),
            wr.H2("Training"),
            wr.P("Mean over the folds of a variant; the band goes from the lowest fold to the highest."),
            wr.PanelGrid(runsets=[folds], panels=_in_rows([*curves("train"), *curves("test")], width=8)),
        ],
    )


def curves(side: str) -> list[wr.LinePlot]:
    """The curves of one side, a line per variant: the mean over its folds and seeds, and the band they lie in."""
    return [
        wr.LinePlot(
            title=f"{title}, {SIDES[side]}",
            x="trainer/global_step",
            y=[f"{side}/{quantity}"],
            title_x="optimizer steps",
            groupby=VARIANT,
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=100,
        )
        for title, quantity in CURVES
    ]


def last_beside_oracle(score: str) -> wr.BarPlot:
    """Both selections of a pooled score for every variant, mean and deviation over its seeds."""
    return wr.BarPlot(
        title=f"{score}, pooled: last beside oracle (not comparable)",
        metrics=[f"last/{score}", f"oracle/{score}"],
        groupby=VARIANT,
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=100,
        max_bars_to_show=50,
    )


def single_runs() -> list[Any]:
    """What one pooled run has: scores with intervals, confusion matrix, predictions, dynamic images."""
    return [
        wr.WeavePanelSummaryTable(table_name="scores"),
        wr.CustomChart(
            query={"summaryTable": {"tableKey": "confusion_table"}},
            chart_name="wandb/confusion_matrix/v1",
            chart_fields={"Actual": "Actual", "Predicted": "Predicted", "nPredictions": "nPredictions"},
            chart_strings={"title": "Confusion, last"},
        ),
        wr.WeavePanelSummaryTable(table_name="predictions"),
        wr.MediaBrowser(title="Dynamic images: true | constructed", media_keys=["dynamic_images"], num_columns=2),
    ]


def columns(scores: Sequence[str]) -> list[str]:
    """The columns of the table of variants: seed, then of each score last with its interval, oracle, and the gap."""
    of_scores = [
        f"summary:{name}"
        for score in scores
        for name in (
            f"last/{score}",
            f"last/{score}_low",
            f"last/{score}_high",
            f"oracle/{score}",
            f"optimism_gap/{score}",
        )
    ]
    return ["config:seed.value", *of_scores, "config:n_clips.value", "config:made_with.value.git_revision"]


def _in_rows(panels: Sequence[Any], width: int, height: int = 9) -> list[Any]:
    """Place panels side by side on the report's 24 columns."""
    across = 24 // width
    for number, panel in enumerate(panels):
        panel.layout = wr.Layout(x=number % across * width, y=number // across * height, w=width, h=height)
    return list(panels)

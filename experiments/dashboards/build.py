"""Build the W&B workspaces and report: python experiments/dashboards/build.py --entity E --project P [--dry-run].

What is on them is in `panels.py`. --dry-run needs no account and no network: it prints the JSON that would be sent.
"""

import argparse
import json
import sys
from importlib.util import find_spec
from typing import Any

USER_MISTAKE = 2


def main() -> None:
    """Print the dashboards, or send them and print where they are."""
    options = _options()
    if find_spec("wandb_workspaces") is None:
        _refuse("the package wandb-workspaces is missing: pip install fdp-lightning[dashboards]")
    if not options.dry_run:
        _log_in()
    from panels import report, workspaces

    boards = workspaces(options.entity, options.project, options.scores)
    page = report(options.entity, options.project, options.scores)
    if options.dry_run:
        sent = {"workspaces": [_sent(board) for board in boards], "report": _sent(page)}
        print(json.dumps(sent, indent=1))
        return
    for board in (*boards, page):
        board.save()
        print(board.url)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", required=True, help="your user or team name on W&B")
    parser.add_argument("--project", default="fdp_lightning", help="as logger.wandb.project (default: %(default)s)")
    parser.add_argument(
        "--scores",
        nargs="+",
        default=["uf1", "uar", "accuracy"],
        help="pooled scores to show, the first one foremost; of action units mean_f1 (default: %(default)s)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the JSON and send nothing")
    return parser.parse_args()


def _log_in() -> None:
    import wandb

    try:
        logged_in = wandb.login(prompt=False, verify=True)
    except (wandb.errors.Error, OSError) as error:
        _refuse(f"W&B did not let us in: {error}")
    if not logged_in:
        _refuse("no W&B key is known: wandb login, or WANDB_API_KEY; --dry-run needs none")


def _refuse(message: str) -> None:
    print(f"dashboards: {message}", file=sys.stderr)
    sys.exit(USER_MISTAKE)


def _sent(board: Any) -> dict[str, Any]:
    """As wandb-workspaces sends it: the name beside the specification."""
    model = board._to_model()
    spec = json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True))
    return {"displayName": model.display_name, "entity": board.entity, "project": board.project, "spec": spec}


if __name__ == "__main__":
    main()

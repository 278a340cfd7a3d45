"""Output of `task=check_data`: a dataset's protocols and its problems, those not as published first."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fdp_lightning.data.checks.problems import Problem
from fdp_lightning.errors import visible

_MOST_LINES = 12  # largest number of problems printed per kind; check.json holds all
_MOST_SUBJECTS = 30  # largest number of subjects whose missing clips are printed; check.json holds all
_LONGEST = 400  # largest length of a line that may name hundreds of clips; check.json holds all


def print_protocols(
    dataset: str,
    tables: Mapping[str, Mapping[str, Any]],
    differences: Iterable[str],
    left_out: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Print the counts of every protocol, and the differences and left-out clips (by reason) of the chosen one."""
    screen = _screen()
    table = Table(title=f"{dataset}: protocols", title_justify="left")
    for heading in ("protocol", "clips", "subjects", "classes", "as expected"):
        table.add_column(heading, justify="right" if heading in ("clips", "subjects") else "left")
    for name, counts in tables.items():
        if "not_in_this_copy" in counts:
            table.add_row(name, "-", "-", "", "its labels are not in this copy")
            continue
        state = "differs" if counts["differences"] else "yes" if counts["expected"] else "nothing to compare"
        classes = ", ".join(f"{label} {n}" for label, n in counts["classes"].items())
        n_clips, without = counts["n_clips"], len(counts["without_frames"])
        # In a copy that holds only the labels, not every protocol has to repeat that there are no frames.
        counted = f"{n_clips} ({n_clips - without} with frames)" if 0 < without < n_clips else str(n_clips)
        table.add_row(name, counted, str(counts["n_subjects"]), classes, state)
    screen.print(table)
    for line in differences:
        _print_line(screen, f"differs: {_cut(line)}")
    for why, clips in (left_out or {}).items():
        _print_line(screen, _cut(f"left out, {why}: {len(clips)} ({', '.join(clips)})"))


def print_without_frames(protocol: str, clips: Sequence[str], without: Sequence[str]) -> None:
    """Print the clips (`clips.clip_id`) of a protocol that have no frames, by subject; check.json holds all."""
    screen = _screen()
    screen.print(f"\n{len(without)} of the {len(clips)} clips of {protocol} have no frames", style="bold")
    of_subject = Counter(clip.rpartition("/")[0] for clip in clips)
    missing: dict[str, list[str]] = {}
    for clip in without:
        missing.setdefault(clip.rpartition("/")[0], []).append(clip)
    whole = [f"{subject} ({len(lost)})" for subject, lost in missing.items() if len(lost) == of_subject[subject]]
    lines = [f"all clips of subjects: {', '.join(whole)}"] if whole else []
    for subject, lost in missing.items():
        if len(lost) < of_subject[subject]:
            lines.append(f"{', '.join(lost)} ({len(lost)} of {of_subject[subject]})")
    for line in lines[:_MOST_SUBJECTS]:
        _print_line(screen, f"  {_cut(line)}")
    if len(lines) > _MOST_SUBJECTS:
        screen.print(
            f"  … and clips of {len(lines) - _MOST_SUBJECTS} more subjects (all in check.json: without_frames)"
        )


def print_problems(problems: Sequence[Problem], roots: Iterable[Path]) -> None:
    """Print the problems by kind, with most deviations from the published data first; paths relative to `roots`."""
    screen = _screen()
    kinds: dict[str, list[Problem]] = {}
    for problem in problems:
        kinds.setdefault(problem.kind, []).append(problem)
    places = sorted({f"{root}/" for root in roots}, key=len, reverse=True)
    fatal = Counter(problem.kind for problem in problems if problem.fatal)
    for kind, of_kind in sorted(kinds.items(), key=lambda item: (-fatal[item[0]], -len(item[1]))):
        serious = fatal[kind]
        screen.print(f"\n{kind}: {len(of_kind)}" + (f", {serious} not as published" if serious else ""), style="bold")
        # The sort is stable: it keeps the order of the clips.
        for problem in sorted(of_kind, key=lambda p: not p.fatal)[:_MOST_LINES]:
            detail = problem.detail
            for place in places:
                detail = detail.replace(place, "")
            _print_line(screen, f"  {problem.clip}  {_cut(detail)}")
        if len(of_kind) > _MOST_LINES:
            screen.print(f"  … and {len(of_kind) - _MOST_LINES} more")
    if not problems:
        screen.print("no problems")


def _screen() -> Console:
    # Names of protocols, classes and files may look like markup or emoji codes.
    return Console(width=None if Console().is_terminal else 120, highlight=False, markup=False, emoji=False)


def _print_line(screen: Console, line: str) -> None:
    # File names may contain terminal control sequences; a line in a file is not broken.
    screen.print(visible(line), soft_wrap=not screen.is_terminal)


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else line[:_LONGEST].rsplit(", ", 1)[0] + ", … (all in check.json)"

"""Problems of clips, in one form for all checks: annotation, listing, images, faces."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True)
class Problem:
    """A problem of a clip that the user should know about."""

    clip: str  # clip id (`clips.clip_id`), or a folder or file
    kind: str  # identifier of the kind of problem
    detail: str  # description of what was found, and where
    fatal: bool = True  # True if the clip cannot be used as annotated


def remark(clip: str, kind: str, detail: str) -> Problem:
    """Return a problem that leaves the clip usable as annotated."""
    return Problem(clip, kind, detail, fatal=False)


def some(items: Iterable[object], most: int = 5) -> str:
    """List the first few frame numbers or names; consumes no more items than needed."""
    first = list(islice(items, most + 1))
    return ", ".join(map(str, first[:most])) + (" …" if len(first) > most else "")


_OF_SOME_FRAMES = {"missing_frames", "gap", "doubled_frames", "unreadable_frame", "odd_size"}
_OF_A_CLIP = _OF_SOME_FRAMES | {"missing_folder", "bad_interval"}


def refused(problems: Iterable[Problem], policy: str, chosen: Collection[str], with_frames: Collection[str]) -> int:
    """Return the number of fatal problems that a run under `data.policy` does not accept: 'strict' accepts none, 'clip'
    accepts those of single frames in clips `with_frames`, 'skip' those of any clip as long as another of the protocol's
    clips (`chosen`) is left.
    """
    fatal = [problem for problem in problems if problem.fatal]
    if policy == "skip":
        lost = {problem.clip for problem in fatal}
        left = any(clip in with_frames and clip not in lost for clip in chosen)
        # A row without an onset stops every run, as does a missing folder of all frames: their `clip` has no @onset.
        return sum(not (left and p.kind in _OF_A_CLIP and re.search(r"@\d+$", p.clip)) for p in fatal)
    if policy == "clip":
        return sum(not (p.kind in _OF_SOME_FRAMES and p.clip in with_frames) for p in fatal)
    return len(fatal)

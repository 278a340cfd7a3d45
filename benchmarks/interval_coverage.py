"""Coverage of intervals and error rate of tests: `python benchmarks/interval_coverage.py [--json file] [--quick]`.

Tables of 12 and 26 subjects are drawn from a population. A subject has 10 clips ("even") or 1 to 30, log-normal around
6 ("skewed", like CASME II); class proportions drawn from a Dirichlet distribution around shares of .40 to .10 for five
classes; individual log odds of a correct prediction (normal, sd 0.8) and individual confusions (sd 0.5 each). Tables
that lack a class are redrawn. The true score is that of the population's confusion matrix, of 200,000 subjects.

Pairs of runs have no true difference ("own": subject effects are drawn separately for each run; "classes": one run is
good at the class that the other is bad at, with equal class shares), so a test at p < .05 should be wrong in 5 % of
cases.
"""

from collections.abc import Callable, Iterator

import numpy as np
from scipy.special import bdtr, ndtr, ndtri, stdtrit

from _measuring import Goal, Measurement, Row, finish, options_of
from fdp_lightning.evaluation.intervals import jackknife
from fdp_lightning.evaluation.metrics import score_functions
from fdp_lightning.labels import LabelKind

SCORES = score_functions(LabelKind.SINGLE)
NAMES = ("accuracy", "uf1", "uar")
CELLS = [(subjects, skewed) for skewed in (False, True) for subjects in (12, 26)]
CLASSES, TABLES, RESAMPLES = 5, 1000, 1000
SHARES = np.array([0.40, 0.25, 0.13, 0.12, 0.10])
OWN_SD, CONFUSION_SD = 0.8, 0.5
# Log odds of the predictions for each class, up to a constant: some classes are easier, some are confused.
LOG_ODDS = np.random.default_rng(7).normal(0, 0.6, (CLASSES, CLASSES))
LOG_ODDS[np.diag_indices(CLASSES)] = 1.2 + np.array([1.0, 0.6, 0.3, -0.2, 0.5])

Bounds = tuple[np.ndarray, np.ndarray]


def scored(tables: np.ndarray) -> np.ndarray:
    """Return the scores of confusion matrices (…, C, C), shape (…, 3)."""
    return np.stack([SCORES[name](tables) for name in NAMES], axis=-1)


def clips_of(random: np.random.Generator, shape: tuple[int, ...], skewed: bool) -> np.ndarray:
    """Draw the number of clips of each subject."""
    if not skewed:
        return np.full(shape, 10)
    return np.clip(np.exp(random.normal(np.log(6), 1, shape)).round(), 1, 30).astype(np.int64)


def classes_of(random: np.random.Generator, clips: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Draw the number of clips of each class, shape (…, C)."""
    mix = random.gamma(6 * shares, size=(*clips.shape, CLASSES))
    return random.multinomial(clips, mix / mix.sum(axis=-1, keepdims=True))


def predictions(random: np.random.Generator, subjects: tuple[int, ...], odds: np.ndarray, sd: float) -> np.ndarray:
    """Draw the probabilities of the predictions for each class and subject, shape (…, C, C)."""
    own = odds + random.normal(0, CONFUSION_SD, (*subjects, CLASSES, CLASSES))
    own[..., np.arange(CLASSES), np.arange(CLASSES)] += random.normal(0, sd, (*subjects, 1))
    own = np.exp(own)
    return np.asarray(own / own.sum(axis=-1, keepdims=True))


def truth(skewed: bool) -> np.ndarray:
    """Return the scores of the population."""
    random, total = np.random.default_rng(1), np.zeros((CLASSES, CLASSES))
    for _ in range(4):
        kinds = classes_of(random, clips_of(random, (50_000,), skewed), SHARES)
        total += (kinds[..., None] * predictions(random, (50_000,), LOG_ODDS, OWN_SD)).sum(axis=0)
    return scored(total)


def complete(draw: Callable[[], tuple[np.ndarray, ...]], count: int) -> tuple[np.ndarray, ...]:
    """Return tables (count, S, C, C), of one run or more, in which every class occurs."""
    parts: list[tuple[np.ndarray, ...]] = []
    while sum(len(part[0]) for part in parts) < count:
        tables = draw()
        whole = (tables[0].sum(axis=(1, 3)) > 0).all(axis=1)
        parts.append(tuple(table[whole] for table in tables))
    return tuple(np.concatenate(run)[:count] for run in zip(*parts, strict=True))


def intervals(tables: np.ndarray) -> Iterator[tuple[str, Bounds]]:
    """Yield name and interval bounds, (T, 3), of each candidate method for tables (T, S, C, C)."""
    count, subjects = tables.shape[:2]
    of_all, left = scored(tables.sum(axis=1)), tables.sum(axis=1, keepdims=True) - tables
    estimates = [[jackknife(table, SCORES[name]) for name in NAMES] for table in tables]
    chosen = np.array([[one.interval_of_share for one in row if one] for row in estimates])
    yield "chosen: jackknife, t of effective subjects, log odds", (chosen[..., 0], chosen[..., 1])
    plain = np.array([[one.interval for one in row if one] for row in estimates])
    yield "the same without log odds", (plain[..., 0], plain[..., 1])
    error = np.array([[one.error for one in row if one] for row in estimates])
    half = stdtrit(subjects - 1, 0.975) * error
    yield "jackknife, t of S − 1", (of_all - half, of_all + half)
    weights = np.random.default_rng(0).multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES)
    drawn = (weights.astype(float) @ tables.reshape(count, subjects, -1).astype(float)).reshape(
        count, RESAMPLES, CLASSES, CLASSES
    )
    usable = (drawn.sum(axis=-1) > 0).all(axis=-1)
    values = np.where(usable[..., None], scored(drawn), np.nan)
    low, high = np.nanquantile(values, [0.025, 0.975], axis=1)
    yield "percentile bootstrap (as before)", (low, high)
    wider = float(ndtr(np.sqrt(subjects / (subjects - 1)) * stdtrit(subjects - 1, 0.025)))
    low, high = np.nanquantile(values, [wider, 1 - wider], axis=1)
    yield "expanded percentile bootstrap", (low, high)
    # BCa, after Efron & Tibshirani (1993), ch. 14.
    influence = scored(left).mean(axis=1, keepdims=True) - scored(left)
    spread = np.square(influence).sum(axis=1) ** 1.5
    acceleration = (influence**3).sum(axis=1) / np.maximum(6 * spread, 1e-12)
    below = (
        np.nansum((values < of_all[:, None]) + 0.5 * (values == of_all[:, None]), axis=1) / usable.sum(axis=1)[:, None]
    )
    bias, ordered = ndtri(np.clip(below, 1e-3, 1 - 1e-3)), np.sort(values, axis=1)
    ends = []
    for z in (ndtri(0.025), ndtri(0.975)):
        share = ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        place = np.clip((share * usable.sum(axis=1)[:, None]).astype(int), 0, usable.sum(axis=1)[:, None] - 1)
        ends.append(np.take_along_axis(ordered, place[:, None], axis=1)[:, 0])
    yield "BCa bootstrap", (ends[0], ends[1])


def pairs(subjects: int, skewed: bool, kind: str, count: int) -> tuple[np.ndarray, ...]:
    """Return tables of two runs over the same clips without a true difference."""
    random = np.random.default_rng(subjects)
    odds: tuple[np.ndarray, ...] = (LOG_ODDS, LOG_ODDS)
    shares = SHARES
    if kind == "classes":
        shares, good = np.full(CLASSES, 1 / CLASSES), np.eye(CLASSES) * 1.6
        odds = tuple(good + np.diag([1.2 * sign, -1.2 * sign, 0, 0, 0]) for sign in (1, -1))

    def draw() -> tuple[np.ndarray, ...]:
        kinds = classes_of(random, clips_of(random, (count, subjects), skewed), shares)
        return tuple(random.multinomial(kinds, predictions(random, (count, subjects), one, OWN_SD)) for one in odds)

    return complete(draw, count)


def tests(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield name and p-values, (T, 3), of each candidate test for pairs of tables."""
    count, subjects = a.shape[:2]
    differences = [lambda both, score=SCORES[name]: score(both[:, 1]) - score(both[:, 0]) for name in NAMES]
    found = [[jackknife(table, one) for one in differences] for table in np.stack([a, b], axis=2)]
    yield "chosen: jackknife, t of effective subjects", np.array([[one.p for one in row if one] for row in found])
    random = np.random.default_rng(0)
    first, second = (side.reshape(count, subjects, -1).astype(float) for side in (a, b))
    shape, difference = (count, RESAMPLES, CLASSES, CLASSES), scored(b.sum(axis=1)) - scored(a.sum(axis=1))
    swapped = random.integers(0, 2, (RESAMPLES, subjects)).astype(float) @ (second - first)
    there, back = (first.sum(axis=1)[:, None] + swapped), (second.sum(axis=1)[:, None] - swapped)
    dealt = scored(back.reshape(shape)) - scored(there.reshape(shape))
    more = (np.abs(dealt) >= np.abs(difference)[:, None] - 1e-12).sum(axis=1)
    yield "runs swapped subject by subject", (1 + more) / (1 + RESAMPLES)
    weights = random.multinomial(subjects, np.full(subjects, 1 / subjects), size=RESAMPLES).astype(float)
    drawn = scored((weights @ second).reshape(shape)) - scored((weights @ first).reshape(shape))
    fewer = np.minimum((drawn <= 0).sum(axis=1), (drawn >= 0).sum(axis=1))
    yield "paired percentile bootstrap (as before)", np.minimum(1, 2 * (1 + fewer) / (1 + RESAMPLES))
    # Which clips both runs predict correctly is random, given their numbers for each class and subject.
    right = [np.diagonal(side, axis1=2, axis2=3) for side in (a, b)]
    both = random.hypergeometric(right[0], a.sum(axis=3) - right[0], right[1]).sum(axis=(1, 2))
    only = [side.sum(axis=(1, 2)) - both for side in right]
    p = np.minimum(1, 2 * bdtr(np.minimum(*only), sum(only), 0.5))
    yield "McNemar's test (accuracy)", np.stack([p] + [np.full(count, np.nan)] * 2, axis=1)


def measured(rows: dict[str, list[np.ndarray]], what: str) -> Iterator[Measurement]:
    """Yield one measurement per candidate and score, with one value per cell in the order of `CELLS`."""
    for name, cells in rows.items():
        for place, score in enumerate(NAMES):
            values = [float(cell[place]) for cell in cells]
            if not np.isnan(values).any():
                yield Measurement(f"{what}; {name}; {score}", values, "%")


def main() -> None:
    """Simulate and print."""
    options = options_of(__doc__, repeats=1)
    count = 20 if options.quick else TABLES
    cells = ", ".join(f"{subjects} {'skewed' if skewed else 'even'}" for subjects, skewed in CELLS)
    row = Row("interval_coverage", f"{count:,} tables of each kind; values in the order {cells}")
    rows: dict[str, list[np.ndarray]] = {}
    for subjects, skewed in CELLS:
        random, true = np.random.default_rng(subjects), truth(skewed)

        def draw(
            random: np.random.Generator = random, subjects: int = subjects, skewed: bool = skewed
        ) -> tuple[np.ndarray, ...]:
            kinds = classes_of(random, clips_of(random, (count, subjects), skewed), SHARES)
            return (random.multinomial(kinds, predictions(random, (count, subjects), LOG_ODDS, OWN_SD)),)

        (tables,) = complete(draw, count)
        for name, (low, high) in intervals(tables):
            rows.setdefault(name, []).append(100 * ((low <= true) & (true <= high)).mean(axis=0))
    row.measurements += measured(rows, "intervals that contain the true score")
    covered = np.concatenate(next(iter(rows.values())))
    wrong: list[np.ndarray] = []
    for kind in ("own", "classes"):
        rows = {}
        for subjects, skewed in CELLS:
            for name, p in tests(*pairs(subjects, skewed, kind, count)):
                rows.setdefault(name, []).append(100 * np.where(np.isnan(p), np.nan, p < 0.05).mean(axis=0))
        row.measurements += measured(rows, f"p < .05 where there is no difference ({kind})")
        wrong += next(iter(rows.values()))
    row.goals = [
        Goal("the chosen interval covers at least", float(covered.min()), 93, unit="%"),
        Goal("the chosen interval covers at most", float(covered.max()), 97, at_least=False, unit="%"),
        Goal("the chosen test is wrong in at least", float(np.concatenate(wrong).min()), 3, unit="%"),
        Goal("the chosen test is wrong in at most", float(np.concatenate(wrong).max()), 7, at_least=False, unit="%"),
    ]
    finish(row, options)


if __name__ == "__main__":
    main()

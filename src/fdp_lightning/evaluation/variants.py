"""The table of a sweep: one row per variant, in the order of the sweep, each beside its difference to the first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fdp_lightning.evaluation.comparison import Row, Table, Variant, compare
from fdp_lightning.evaluation.paired import Difference


@dataclass(frozen=True)
class VariantRow:
    """One variant: its scores of selection `last` as fractions of 1, means over its seeds."""

    name: str
    last: Row | None = None
    """None where no run of the variant is finished."""
    others: Mapping[str, Row] = field(default_factory=dict)
    """inner and oracle, where there are some."""
    differences: Mapping[str, Difference] | None = None
    """Score → this variant − the baseline; None for the baseline itself, and where there is nothing to compare."""
    meaningful: bool = True
    """False where neither this variant nor the baseline learned: then the differences mean nothing."""
    missing: tuple[str, ...] = ()
    """Jobs of the variant that have no pooled scores, each with the reason."""


@dataclass(frozen=True)
class VariantTable:
    """The variants of one protocol, class list and split."""

    table: Table
    baseline: str
    rows: tuple[VariantRow, ...]

    @property
    def scores(self) -> list[str]:
        """The columns: the score that ranks, then the others."""
        first = self.table.ranked_by
        return [first, *(name for name in self.table.scores if name != first)]

    @property
    def floors(self) -> list[Row]:
        """The trained baselines of the first variant, where it has some, and what knowing nothing gets."""
        return [*self.table.block("baseline"), *self.table.block("floor")]

    @property
    def selections(self) -> list[str]:
        """Which of inner and oracle any row has."""
        return [name for name in ("inner", "oracle") if any(name in row.others for row in self.rows)]


def variant_tables(variants: Sequence[Variant], missing: Mapping[str, Sequence[str]]) -> list[VariantTable]:
    """Tables of the runs of a sweep.

    Args:
        variants: with their finished runs, in the order of the sweep; one without a finished run is left out.
        missing: every variant of the sweep, in order, the first being the baseline → its jobs without pooled scores,
            each with the reason. Variants without any finished run stand in the first table.

    Returns:
        One per protocol, class list and split, as `comparison.compare` takes them apart. Where the baseline has no
        finished run there, no difference is given: another row in its place would look like it.
    """
    names = list(missing)
    tables = compare(variants, [])
    places = [_rows_by_name(table) for table in tables]
    result = []
    for number, (table, found) in enumerate(zip(tables, places, strict=True)):
        pairs = {pair.name: pair for pair in table.pairs} if table.baseline == names[0] else {}
        rows = []
        for name in names:
            own = [row_name for row_name in found if row_name == name or row_name.startswith(f"{name}/seed-")]
            for row_name in own:
                last, others = found[row_name]
                pair = pairs.get(row_name)
                differences, meaningful = (pair.differences, pair.meaningful) if pair else (None, True)
                rows.append(VariantRow(row_name, last, others, differences, meaningful, tuple(missing[name])))
            if not own and number == 0 and not any(variant.name == name for variant in variants):
                rows.append(VariantRow(name, missing=tuple(missing[name])))
        result.append(VariantTable(table, names[0], tuple(rows)))
    return result


def _rows_by_name(table: Table) -> dict[str, tuple[Row, dict[str, Row]]]:
    of: dict[str, dict[str, Row]] = {}
    for row in table.rows:
        if row.kind == "run":
            of.setdefault(row.name, {})[row.selection] = row
    return {name: (rows["last"], {k: v for k, v in rows.items() if k != "last"}) for name, rows in of.items()}

"""Records as tables in long format: Arrow, pandas, and HTML where a notebook shows them.

A row is a member of the record's row axes, such as one prompt, target, layer and index. A field
whose axes are among these is a column, repeated along the others; one that has a further axis is a
column of lists; any other is left out. `neurons` are the two columns `layer` and `index`,
and members of an axis that nothing names are numbered.
"""

import html
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from negjax.records import PerPrompt, array_axes

MOST_ROWS, SHOWN_ROWS = 5_000_000, 100
"""Of a table, and of those a notebook shows."""
NUMBERS: Mapping[str, str] = {
    "B": "prompt",
    "O": "target",
    "Q": "position",
    "L": "layer",
    "F": "index",
    "D": "coordinate",
    "N": "neuron",
    "R": "set",
    "k": "rank",
}
"""Names of the columns that number the members of an axis."""


class Tabular(PerPrompt):
    """Results of B prompts that are tables, too."""

    row_axes: ClassVar[tuple[str, ...]] = ("B", "N")
    """Letters of the axes whose members are rows; Q is one where the record has it."""
    column_names: ClassVar[Mapping[str, str | None]] = {}
    """Of fields whose columns are called otherwise; None: they are none."""

    def to_arrow(self) -> pa.Table:
        """A table in long format: numbers of prompt, target, layer and so on, then what was found.

        Raises:
            ValueError: it would have more than `MOST_ROWS` rows.
        """
        rows = int(np.prod(list(self._row_shape().values())))
        if rows > MOST_ROWS:
            raise ValueError(
                f"a table of {type(self).__name__} would have {rows:,} rows, expected "
                f"{MOST_ROWS:,} at most; select prompts, as in record[0], or take "
                "negjax.top_neurons"
            )
        return pa.table(self._columns(rows))

    def to_pandas(self) -> Any:
        """`to_arrow` as a pandas data frame.

        Raises:
            ImportError: pandas is not installed.
            ValueError: as `to_arrow`.
        """
        if importlib.util.find_spec("pandas") is None:
            raise ImportError("to_pandas takes pandas, which is not installed: pip install pandas")
        return self.to_arrow().to_pandas()

    def _repr_html_(self) -> str:
        every = int(np.prod(list(self._row_shape().values())))
        columns = self._columns(min(every, SHOWN_ROWS))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        rows = "".join(
            f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row.values())}</tr>"
            for row in pa.table(columns).to_pylist()
        )
        title = "<br>".join(html.escape(line.strip()) for line in repr(self).splitlines())
        left = every - SHOWN_ROWS
        more = f"<p>and {left:,} rows more</p>" if left > 0 else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        return f"<p>{title}</p>{table}{more}"

    def _derived(self) -> dict[str, tuple[np.ndarray, tuple[str, ...]]]:
        """Columns that are no fields, by name: values and their axes."""
        return {}

    def _row_shape(self) -> dict[str, int]:
        """Sizes of the row axes that the record has, by letter."""
        sizes = {
            letter: size
            for values, axes in array_axes(self).values()
            for letter, size in zip(axes, values.shape, strict=True)
        }
        return {axis: sizes[axis] for axis in self.row_axes if axis in sizes}

    def _columns(self, count: int) -> dict[str, Any]:
        """The first rows of every column."""
        shape = self._row_shape()
        at = dict(zip(shape, np.unravel_index(np.arange(count), [*shape.values()]), strict=True))
        found = {NUMBERS[axis]: rows for axis, rows in at.items() if axis in NUMBERS}
        there = np.ones(count, bool)
        fields = array_axes(self)
        positions, _ = fields.pop("positions", (None, ()))
        if "Q" in at and positions is not None:
            found["position"] = positions[at["B"], at["Q"]]
            # Where a prompt has fewer positions than others, there is nothing.
            there = found["position"] >= 0
        named = ((self.column_names.get(name, name), both) for name, both in fields.items())
        columns = {name: both for name, both in named if name is not None}
        for name, (values, axes) in (columns | self._derived()).items():
            own = tuple(at[axis] for axis in axes if axis in at)
            if name == "neurons":
                found["layer"], found["index"] = values[own].T
                found.pop("neuron", None)
            elif {*axes} <= {*at} or axes[:-1] == tuple(at):
                found[name] = values[own]
        return {
            name: values[there] if values.ndim == 1 else values[there].tolist()
            for name, values in found.items()
        }


def array_of(values: Sequence[Any]) -> np.ndarray:
    """Texts, or lists, one a row, as an array of objects [rows]."""
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        words = (f"{item:.4g}" if isinstance(item, float) else repr(item) for item in value)
        return html.escape(" ".join(words))
    return html.escape(str(value))

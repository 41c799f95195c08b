"""What flows from one step of a pipeline to the next: a row of cells.

A cell is a number of some IR value, or of a column that nobody has read yet.
Whether such a column is a number or a category is found out by what reads it:
an encoder that knows strings makes it a category (`code`), arithmetic makes it
a number (`vector`), and what is read as both is refused.
"""
import numpy as np

from .errors import unsupported


class Cell:
    """Element `index` of `value`; of the row itself when value is None.
    `column`: the Column whose codes the cell holds, or may hold."""

    def __init__(self, value, index, column=None):
        self.value, self.index, self.column = value, index, column


class Frame:
    def __init__(self, module, cells):
        self.module, self.cells = module, cells

    def __len__(self):
        return len(self.cells)

    def take(self, index):
        return Frame(self.module, [self.cells[i] for i in index])

    def vector(self, dtype="f64", codes=False):
        """The cells as one IR value. Without `codes` each must be a plain
        number."""
        if not codes:
            for cell in self.cells:
                if cell.column:
                    cell.column.is_number = True
        parts = [self._part(cells, dtype) for cells in self._runs()]
        if not parts:
            raise unsupported("a step that leaves no feature")
        return self.module.concat(parts)

    def _runs(self):
        """The cells in runs of one value."""
        runs = []
        for cell in self.cells:
            if runs and runs[-1][0].value is cell.value:
                runs[-1].append(cell)
            else:
                runs.append([cell])
        return runs

    def _part(self, cells, dtype):
        index = [cell.index for cell in cells]
        value = cells[0].value
        if value is not None:
            return self.module.gather(self.module.cast(value, dtype), index)
        if index == list(range(index[0], index[0] + len(index))):
            return self.module.input(index[0], len(index), dtype)
        row = self.module.input(0, len(self.module.columns), dtype)
        return self.module.gather(row, index)


def frame_of(module, value):
    """A value's numbers as cells."""
    return Frame(module, [Cell(value, i) for i in range(value.size)])


def join(module, frames):
    return Frame(module, [cell for frame in frames for cell in frame.cells])


# ------------------------------------------------------------------ categories

def is_missing(x):
    return x is None or (isinstance(x, (float, np.floating)) and np.isnan(x)) \
        or type(x).__name__ in ("NAType", "NaTType")


NUMBERS = (bool, int, float, np.number, np.bool_)


def category_keys(cell, categories, what):
    """What the cell holds for each of the categories: codes for strings, the
    number itself for numbers, a NaN for a missing one. Makes a category of the
    column when they are strings, or booleans, which pandas writes to a CSV
    file as strings."""
    present = [c for c in categories if not is_missing(c)]
    if len(categories) - len(present) > 1:
        raise unsupported(what, "it has several kinds of missing as "
                          "categories (None and NaN)", "make them one")
    if present and all(isinstance(c, (bool, np.bool_)) for c in present) and \
            cell.column:
        for name in ("False", "True"):
            cell.column.code(name)
        categories = [c if is_missing(c) else str(bool(c)) for c in categories]
        present = [c for c in categories if not is_missing(c)]
    if present and all(isinstance(c, str) for c in present):
        if cell.column is None:
            raise unsupported(what, "it encodes strings that an earlier step "
                              "computed")
        if "" in present:
            raise unsupported(what, "an empty string is a category of column "
                              f"{cell.column.name!r}, which a missing cell is "
                              "in a CSV file", "give it another name")
        return [np.nan if is_missing(c) else float(cell.column.code(c))
                for c in categories]
    if not all(isinstance(c, NUMBERS) for c in present):
        raise unsupported(what, "a column has categories that are neither all "
                          "strings nor all numbers")
    if cell.column:
        cell.column.is_number = True
    return [np.nan if is_missing(c) else float(c) for c in categories]

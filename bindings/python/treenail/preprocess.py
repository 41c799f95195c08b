"""Transformers: scaling, imputing, binning, encoding, selecting.

In f64 and in scikit-learn's own order of operations, so that what is made of
plain arithmetic has its bits. Rows are taken for f64 ones.
"""
import warnings

import numpy as np

from .errors import unsupported
from .frame import Cell, Frame, category_keys, frame_of, is_missing, join
from .normal import normal_quantile
from .registry import transformer

UNKNOWN = "\x01 a string that nobody fits on"


def mapped(frame, program, *arrays):
    """A program over the frame as x0 and arrays as x1, x2...; a frame."""
    module = frame.module
    constants = [module.constant(np.broadcast_to(a, len(frame)))
                 for a in arrays]
    return frame_of(module, module.map(program, frame.vector(), *constants))


# -------------------------------------------------------------------- scaling

@transformer("StandardScaler")
def standard_scaler(estimator, frame):
    if estimator.with_mean:
        frame = mapped(frame, "x0 x1 sub", estimator.mean_)
    if estimator.with_std:
        frame = mapped(frame, "x0 x1 div", estimator.scale_)
    return frame


@transformer("RobustScaler")
def robust_scaler(estimator, frame):
    if estimator.with_centering:
        frame = mapped(frame, "x0 x1 sub", estimator.center_)
    if estimator.with_scaling:
        frame = mapped(frame, "x0 x1 div", estimator.scale_)
    return frame


@transformer("MaxAbsScaler")
def max_abs_scaler(estimator, frame):
    frame = mapped(frame, "x0 x1 div", estimator.scale_)
    if getattr(estimator, "clip", False):
        frame = clipped(frame, -1.0, 1.0)
    return frame


def clipped(frame, low, high):
    # min and max give their second value for a NaN, which so remains.
    module = frame.module
    x = module.map([low, "x0", "max"], frame.vector())
    return frame_of(module, module.map([high, "x0", "min"], x))


@transformer("MinMaxScaler")
def min_max_scaler(estimator, frame):
    frame = mapped(frame, "x0 x1 mul", estimator.scale_)
    frame = mapped(frame, "x0 x1 add", estimator.min_)
    return clipped(frame, *map(float, estimator.feature_range)) \
        if estimator.clip else frame


@transformer("Binarizer")
def binarizer(estimator, frame):
    x = frame.module.map(["x0", estimator.threshold, "gt"], frame.vector())
    return frame_of(frame.module, x)


@transformer("Normalizer")
def normalizer(estimator, frame):
    module = frame.module
    x = frame.vector()
    if estimator.norm == "l2":
        norm = module.map("x0 sqrt", module.reduce(
            "sum", module.map("x0 x0 mul", x)))
    else:
        kind = "sum" if estimator.norm == "l1" else "max"
        norm = module.reduce(kind, module.map("x0 abs", x))
    norm = module.map("x0 0 eq 1 x0 where", norm)
    return frame_of(module, module.map("x0 x1 div", x, norm))


# ------------------------------------------------------- power and quantiles

def yeo_johnson(estimator, frame, lambdas):
    """Formulas by which of the two special cases a feature is in."""
    own = hasattr(estimator, "_yeo_johnson_transform")  # before scipy's
    module, x = frame.module, frame.vector()
    tiny = np.spacing(1.0)
    cases = {}
    for i, lam in enumerate(lambdas):
        cases.setdefault((abs(lam) < tiny, not abs(lam - 2) > tiny),
                         []).append(i)
    cells = [None] * len(frame)
    for (is_zero, is_two), index in cases.items():
        if own:
            above = "x0 1 add x1 pow 1 sub x1 div"
            below = "x0 neg 1 add x2 pow 1 sub neg x2 div"
        else:
            above = "x1 x0 log1p mul expm1 x1 div"
            below = "x2 x0 neg log1p mul expm1 neg x2 div"
        above = "x0 log1p" if is_zero else above
        below = "x0 neg log1p neg" if is_two else below
        lam = np.asarray(lambdas)[index]
        y = module.map(f"x0 0 ge {above} {below} where",
                       module.gather(x, index), module.constant(lam),
                       module.constant(2 - lam))
        for k, i in enumerate(index):
            cells[i] = Cell(y, k)
    return Frame(module, cells)


def box_cox(frame, lambdas):
    module, x = frame.module, frame.vector()
    cells = []
    for i, lam in enumerate(lambdas):
        if abs(lam) < 1e-19:
            program = ["x0", "log"]
        else:
            program = ["x0", "log", lam, "mul", "expm1", lam, "div"]
        cells.append(Cell(module.map(program, module.gather(x, [i])), 0))
    return Frame(module, cells)


@transformer("PowerTransformer")
def power_transformer(estimator, frame):
    if estimator.method == "box-cox":
        frame = box_cox(frame, estimator.lambdas_)
    else:
        frame = yeo_johnson(estimator, frame, estimator.lambdas_)
    if estimator.standardize:
        frame = standard_scaler(estimator._scaler, frame)
    return frame


def ranked(module, column, q, p):
    """The mean of an interpolation upwards and one downwards, as quantiles may
    be there several times."""
    up = module.interp(column, q, p)
    down = module.interp(module.map("x0 neg", column), -q[::-1], -p[::-1])
    return module.map("0.5 x0 x1 sub mul", up, down)


NEAR_BOUND = 1e-7  # scikit-learn's BOUNDS_THRESHOLD


@transformer("QuantileTransformer")
def quantile_transformer(estimator, frame):
    """Uniform: the bounds themselves are 0 and 1. Normal: what is near a
    bound, or past it, is the last number there is."""
    module, x, q = frame.module, frame.vector(), estimator.quantiles_
    y = module.concat([ranked(module, module.gather(x, [i]), q[:, i],
                              estimator.references_) for i in range(x.size)])
    bounds = module.constant(q[0]), module.constant(q[-1])
    if estimator.output_distribution == "uniform":
        return frame_of(module, module.map(
            "x0 x1 eq 0 x0 x2 eq 1 x3 where where", x, *bounds, y))
    from scipy import stats
    edge = NEAR_BOUND - np.spacing(1)
    low, high = stats.norm.ppf(edge), stats.norm.ppf(1 - edge)
    y = module.map([high, low, "x0", "max", "min"], normal_quantile(module, y))
    return frame_of(module, module.map(
        ["x0", NEAR_BOUND, "sub", "x1", "lt", low, "x0", NEAR_BOUND, "add",
         "x2", "gt", high, "x3", "where", "where"], x, *bounds, y))


@transformer("KBinsDiscretizer")
def k_bins_discretizer(estimator, frame):
    module, x = frame.module, frame.vector()
    cells = []
    for i, edges in enumerate(estimator.bin_edges_):
        if len(edges) > 2:
            y = module.bucketize(module.gather(x, [i]), edges[1:-1], True)
        else:
            y = module.constant([0.0])
        cells.append(Cell(y, 0))
    frame = Frame(module, cells)
    if estimator.encode == "ordinal":
        return frame
    return one_hot_encoder(estimator._encoder, frame)


# ------------------------------------------------------------------- imputing

@transformer("SimpleImputer")
def simple_imputer(estimator, frame):
    statistics = list(estimator.statistics_)
    indicated = frame
    if estimator.strategy != "constant" and \
            not getattr(estimator, "keep_empty_features", False):
        kept = [i for i, s in enumerate(statistics) if not is_missing(s)]
        frame = frame.take(kept)
        statistics = [statistics[i] for i in kept]
    parts = [impute(estimator, frame, statistics)]
    if estimator.indicator_ is not None:
        parts.append(missing_indicator(estimator.indicator_, indicated))
    return join(frame.module, parts)


def is_missing_text(estimator):
    """The words that tell whether x0 is missing."""
    if is_missing(estimator.missing_values):
        return ["x0", "isnan"]
    if isinstance(estimator.missing_values, str):
        raise unsupported(estimator, "its missing_values is a string",
                          "make those cells missing ones")
    return ["x0", float(estimator.missing_values), "eq"]


def impute(estimator, frame, statistics):
    module = frame.module
    test = is_missing_text(estimator)
    strings = [isinstance(s, str) for s in statistics]
    values = np.zeros(len(statistics))
    for i, (cell, s) in enumerate(zip(frame.cells, statistics)):
        if not strings[i]:
            values[i] = 0.0 if is_missing(s) else s
        elif cell.column is None:
            raise unsupported(estimator, "it imputes strings that an earlier "
                              "step computed")
        else:
            values[i] = cell.column.code(s)
    for cell, is_string in zip(frame.cells, strings):
        if cell.column and not is_string:
            cell.column.is_number = True
    x = frame.vector(codes=True)
    y = module.map([*test, "x1", "x0", "where"], x, module.constant(values))
    return Frame(module, [Cell(y, i, cell.column if s else None)
                          for i, (cell, s) in enumerate(zip(frame.cells,
                                                            strings))])


@transformer("MissingIndicator")
def missing_indicator(estimator, frame):
    chosen = frame.take(estimator.features_)
    if not len(chosen):
        return chosen
    x = frame.module.map(is_missing_text(estimator),
                         chosen.vector(codes=True))
    return frame_of(frame.module, x)


# ------------------------------------------------------------------- encoding

class Table:
    """What an encoder makes of one feature, found by asking it: `rows`, the
    outputs for each category, and `default`, those for an unknown one."""

    def __init__(self, keys, rows, default):
        self.keys, self.rows, self.default = keys, rows, default


def unseen(categories):
    """Something that is none of the categories."""
    present = [c for c in categories if not is_missing(c)]
    if present and all(isinstance(c, str) for c in present):
        return UNKNOWN
    return max([float(c) for c in present if np.isfinite(c)],
               default=0.0) + 1.5


def asked(estimator, rows):
    """transform() of rows, as a matrix of doubles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            x = np.array(rows, dtype=np.float64)
        except (TypeError, ValueError):
            x = np.empty((len(rows), len(rows[0])), dtype=object)
            x[:] = rows
        y = estimator.transform(x)
    if hasattr(y, "toarray"):
        y = y.toarray()
    return np.asarray(y, dtype=np.float64)


def tables(estimator, frame, knows_unseen, default):
    """A Table of each feature. An encoder gives each feature's outputs for
    itself, so one that changes while the others stay shows them."""
    lists = [list(c) for c in estimator.categories_]
    first = [c[0] for c in lists]
    rows, where = [], []
    for f, categories in enumerate(lists):
        more = [unseen(categories)] if knows_unseen else []
        for c in categories + more:
            rows.append(first[:f] + [c] + first[f + 1:])
            where.append(f)
    answers = asked(estimator, rows)
    where = np.array(where)
    result = []
    for f, categories in enumerate(lists):
        mine = answers[where == f][:, output_slice(estimator, f, lists)]
        keys = category_keys(frame.cells[f], categories, estimator)
        other = mine[-1] if knows_unseen else np.full(mine.shape[1], default)
        result.append(Table(keys, mine[:len(categories)], other))
    return result


def output_slice(estimator, f, lists):
    """Which of the outputs are feature f's."""
    if type(estimator).__name__ == "OneHotEncoder":
        ends = np.cumsum([0, *estimator._n_features_outs])
        return slice(ends[f], ends[f + 1])
    width = 1
    if getattr(estimator, "target_type_", None) == "multiclass":
        width = len(estimator.classes_)
    return slice(f * width, (f + 1) * width)


def one_hot_parts(module, cell, table):
    """(cell, number) of each output, which is 1 when they are equal."""
    is_plain = not table.default.any() and \
        (table.rows.sum(axis=0) == 1).all() and not np.isnan(table.keys).any()
    if is_plain:
        return [(cell, table.keys[int(column.argmax())])
                for column in table.rows.T]
    numbers = np.append(table.rows, [table.default], axis=0)
    numbers = np.where(numbers.any(axis=1), numbers.argmax(axis=1), -1.0)
    x = Frame(module, [cell]).vector(codes=True)
    y = module.lookup(x, table.keys, numbers[:-1], numbers[-1])
    return [(Cell(y, 0), float(k)) for k in range(table.rows.shape[1])]


@transformer("OneHotEncoder")
def one_hot_encoder(estimator, frame):
    module = frame.module
    parts = []
    found = tables(estimator, frame, estimator.handle_unknown != "error", 0.0)
    for cell, table in zip(frame.cells, found):
        parts += one_hot_parts(module, cell, table)
    if not parts:
        return Frame(module, [])
    x = Frame(module, [cell for cell, _ in parts]).vector(codes=True)
    numbers = module.constant([number for _, number in parts])
    return frame_of(module, module.map("x0 x1 eq", x, numbers))


def looked_up(estimator, frame, found):
    module = frame.module
    cells = []
    for cell, table in zip(frame.cells, found):
        x = Frame(module, [cell]).vector(codes=True)
        for k in range(table.rows.shape[1]):
            y = module.lookup(x, table.keys, table.rows[:, k],
                              table.default[k])
            cells.append(Cell(y, 0))
    return Frame(module, cells)


@transformer("OrdinalEncoder")
def ordinal_encoder(estimator, frame):
    """What is refused by scikit-learn (unknown, with handle_unknown='error')
    is a NaN here."""
    found = tables(estimator, frame,
                   estimator.handle_unknown == "use_encoded_value", np.nan)
    return looked_up(estimator, frame, found)


@transformer("TargetEncoder")
def target_encoder(estimator, frame):
    return looked_up(estimator, frame, tables(estimator, frame, True, np.nan))


# ------------------------------------------------------ features of features

@transformer("PolynomialFeatures")
def polynomial_features(estimator, frame):
    """A product of features a <= b <= c is (c * b) * a."""
    module = frame.module
    wanted = [tuple(np.repeat(np.arange(len(p)), p)) for p in
              estimator.powers_]
    have = {}
    for degree in range(2, max(map(len, wanted), default=0) + 1):
        needed = sorted({w[len(w) - degree:] for w in wanted
                         if len(w) >= degree})
        rest = Frame(module, [have[w[1:]] if degree > 2
                              else frame.cells[w[1]] for w in needed])
        new = module.map("x0 x1 mul", rest.vector(),
                         frame.take([w[0] for w in needed]).vector())
        have.update({w: Cell(new, i) for i, w in enumerate(needed)})
    one = Cell(module.constant([1.0]), 0)
    cells = [one if not w else frame.cells[w[0]] if len(w) == 1 else have[w]
             for w in wanted]
    return Frame(module, cells)


@transformer("SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr",
             "SelectFwe", "GenericUnivariateSelect", "VarianceThreshold",
             "RFE", "RFECV", "SelectFromModel", "SequentialFeatureSelector")
def selector(estimator, frame):
    return frame.take(np.flatnonzero(estimator.get_support()))


@transformer("PCA", "IncrementalPCA")
def pca(estimator, frame):
    from .version import sklearn_version
    module, weights = frame.module, estimator.components_
    if sklearn_version() < (1, 5):
        x = mapped(frame, "x0 x1 sub", estimator.mean_).vector()
        x = module.dense(x, weights)
    else:
        shift = module.constant(estimator.mean_ @ weights.T)
        x = module.map("x0 x1 sub", module.dense(frame.vector(), weights),
                       shift)
    if estimator.whiten:
        scale = np.sqrt(estimator.explained_variance_)
        if sklearn_version() >= (1, 5):
            scale = np.maximum(scale, np.finfo(scale.dtype).eps)
        x = module.map("x0 x1 div", x, module.constant(scale))
    return frame_of(module, x)


@transformer("TruncatedSVD")
def truncated_svd(estimator, frame):
    x = frame.module.dense(frame.vector(), estimator.components_)
    return frame_of(frame.module, x)

"""estimator -> module -> file: the columns of the row, the outputs and their
names."""
import os

import numpy as np

from . import (boosters, compose, ensembles, linear, neural,  # noqa: F401
               preprocess, trees)
from .errors import unsupported
from .frame import Cell, Frame
from .frameworks import export_net, framework_of, is_state_dict
from .ir import Module
from .registry import Prediction, predict, transform


def column_names(estimator, columns):
    """The names of the row's columns: those given, those fitted, or x0..."""
    known = getattr(estimator, "feature_names_in_", None)
    n = getattr(estimator, "n_features_in_", None)
    if columns is None:
        if known is not None:
            columns = known
        elif n is not None:
            columns = [f"x{i}" for i in range(n)]
        else:
            raise unsupported(estimator, "it does not say how many columns it "
                              "was fitted on", "pass columns=[names]")
    columns = [str(c) for c in columns]
    if n is not None and len(columns) != n:
        raise ValueError(f"{len(columns)} columns are named, but the estimator "
                         f"was fitted on {n}")
    if len(set(columns)) != len(columns):
        double = next(c for c in columns if columns.count(c) > 1)
        raise ValueError(f"two columns are named {double!r}")
    return columns


def label_text(label):
    """A class as `treenail predict` prints it: a whole number without .0."""
    if isinstance(label, (float, np.floating)) and float(label).is_integer():
        return str(int(label))
    return str(label)


def same_classes(several):
    first = several[0].classes
    return all(len(p.classes) == len(first) and (p.classes == first).all()
               for p in several)


def labels_of(estimator, classes):
    labels = [label_text(c) for c in classes]
    if len(set(labels)) != len(labels):
        raise unsupported(estimator, "two of its classes are written alike: "
                          f"{labels}")
    return labels


def put_classes(module, estimator, p):
    """The output `class`: one index, or one for each output."""
    if p.several is None:
        if p.label is not None:
            module.output("class", p.label, labels_of(estimator, p.classes))
        return
    labels = None
    if same_classes(p.several):
        labels = labels_of(estimator, p.several[0].classes)
    module.output("class", module.concat([s.label for s in p.several]), labels)
    if labels is None:
        for k, s in enumerate(p.several):
            module.output(f"class_{k}", s.label,
                          labels_of(estimator, s.classes))


def put_outputs(module, estimator, p):
    """The first output is what predict() gives."""
    if p.value is not None:
        module.output("value", p.value)
    put_classes(module, estimator, p)
    for name in ("probability", "raw"):
        if getattr(p, name) is not None:
            module.output(name, getattr(p, name))
    for name, value in p.more.items():
        module.output(name, value)
    if p.leaf is not None:
        module.output("leaf", p.leaf)


def check_columns(module, estimator):
    for column in module.columns:
        if column.names is not None and column.is_number:
            raise unsupported(estimator, f"column {column.name!r} is read both "
                              "as strings and as numbers")


def answer(estimator, row):
    """What it predicts; of a transformer, what it makes of the row."""
    if hasattr(estimator, "transform") and not hasattr(estimator, "predict"):
        return Prediction(value=transform(estimator, row).vector())
    return predict(estimator, row)


def build(estimator, columns=None, name=None):
    """The module of a fitted estimator or pipeline."""
    from sklearn import __version__
    from sklearn.utils.validation import check_is_fitted
    check_is_fitted(estimator)
    kind = type(estimator).__name__
    module = Module(name or kind, column_names(estimator, columns))
    module.fact("source_format", "scikit-learn")
    module.fact("source_version", __version__)
    module.fact("estimator", kind)
    row = Frame(module, [Cell(None, i, column)
                         for i, column in enumerate(module.columns)])
    put_outputs(module, estimator, answer(estimator, row))
    check_columns(module, estimator)
    return module


def export(estimator, path, columns=None, name=None, *, example_input=None,
           batch_axis=0, exporter=None):
    """Writes a fitted scikit-learn estimator or pipeline as a `.tn` model, or a
    net of PyTorch or Keras as `.tn` or `.onnx`.

    Of an estimator: path: of the `.tn` file; columns: the names of the row's
    columns (default: those it was fitted with, or x0, x1...); name: of the model
    (default: the class).
    Rows are what predict() takes, as doubles, with strings as categories.
    Raises a TypeError that names the estimator when it cannot be exported
    exactly. Nothing is pickled; the same estimator gives the same bytes.

    Of a torch.nn.Module: example_input: a tensor as its forward() takes it, or
    a tuple of them, whose dim batch_axis is the batch; exporter: "dynamo" or
    "torchscript" (default: the first that can). It is exported as in eval().
    Of a keras.Model nothing else is needed. A `.tn` file takes the command
    treenail.
    """
    if is_state_dict(estimator):
        raise unsupported("a state_dict", "it is the weights without the module "
                          "that they are of", "make the module, let it "
                          "load_state_dict() and export it")
    if isinstance(estimator, (str, bytes, os.PathLike)):
        raise unsupported("a file's name", f"{estimator!r} is not a model",
                          "load the model and export it, or give the file to "
                          "treenail compile, if that reads its format")
    if isinstance(estimator, type):
        raise unsupported(estimator.__name__, "it is a class, not a model of "
                          "it")
    if framework_of(estimator):
        if columns is not None or name is not None:
            raise ValueError("columns and name are for scikit-learn's "
                             "estimators, not for nets")
        export_net(estimator, path, example_input, batch_axis, exporter)
        return
    if example_input is not None or batch_axis != 0 or exporter is not None:
        raise ValueError("example_input, batch_axis and exporter are for nets "
                         f"of PyTorch, not for a {type(estimator).__name__}")
    if not str(path).endswith(".tn"):
        raise ValueError(f"{path}: does not end in .tn")
    build(estimator, columns, name).write(path)

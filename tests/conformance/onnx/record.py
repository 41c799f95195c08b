#!/usr/bin/env python3
"""Records what ONNX Runtime answers, for test_recordings.c to compare with.

    pip install -r requirements.txt        in an environment of its own
    ./record.py                            NAME.onnx and NAME.rec beside this
    ./record.py --rows 2000 --out DIR      the same models, more rows

Models are what skl2onnx and onnxmltools make of estimators that are fitted on
scikit-learn's bundled data, and ensembles made by hand for what converters do
not write: every mode, aggregate and post transform, tests for equality, sets,
doubles. Rows are real ones, and ones made to sit on thresholds, one ulp off,
whole, missing or infinite. Sessions have one thread: with more, ONNX Runtime
adds partial sums.

A .rec file is as in ../README.md, a line of MANIFEST as in ../sklearn. Strings
stand in the rows as treenail's codes; unseen is the number of known ones.
"""
import argparse
import hashlib
import pathlib
import struct
import sys
import warnings

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime as ort
import skl2onnx
import sklearn
import xgboost
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType as MlFloat
from skl2onnx.common.data_types import (DoubleTensorType, FloatTensorType,
                                        Int64TensorType, StringTensorType)
from sklearn import (compose, datasets, decomposition, ensemble, impute,
                     linear_model, multioutput, neural_network, pipeline,
                     preprocessing, tree)

HERE = pathlib.Path(__file__).resolve().parent
ML = "ai.onnx.ml"
TENSOR = {np.float32: TensorProto.FLOAT, np.float64: TensorProto.DOUBLE,
          np.int64: TensorProto.INT64}


# ------------------------------------------------------------------- rows --

def session(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options,
                                providers=["CPUExecutionProvider"])


def feeds(sess, rows, words):
    """The rows as the session's inputs; words by column."""
    out, at = {}, 0
    for x in sess.get_inputs():
        n = int(np.prod(x.shape[1:])) if len(x.shape) > 1 else 1
        part = rows[:, at:at + n]
        if x.type == "tensor(string)":
            part = np.array([[words[at + c][int(v)]
                              if v < len(words[at + c]) else "never seen"
                              for c, v in enumerate(row)] for row in part],
                            dtype=object)
        else:
            kind = {"tensor(float)": np.float32, "tensor(double)": np.float64,
                    "tensor(int64)": np.int64, "tensor(int32)": np.int32,
                    "tensor(bool)": np.bool_}[x.type]
            part = part.astype(kind)
        shape = [len(rows)] + list(x.shape[1:])
        out[x.name] = np.ascontiguousarray(part.reshape(shape))
        at += n
    assert at == rows.shape[1]
    return out


def thresholds(model):
    """For each feature of the first ensemble: what its nodes test for."""
    for node in model.graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        a = {x.name: helper.get_attribute_value(x) for x in node.attribute}
        values = a.get("nodes_values") or a.get("nodes_values_as_tensor") \
            or a.get("nodes_splits")
        if isinstance(values, onnx.TensorProto):
            values = numpy_helper.to_array(values)
        found = {}
        for f, v in zip(a["nodes_featureids"], values):
            found.setdefault(f, []).append(v)
        return found
    return {}


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-42, -1e-42, 1e30, -1e30]


def make_rows(model, x, n, rng, holes, dtype):
    """Real rows, of which half are changed to try the model."""
    rows = x[rng.integers(len(x), size=n)].astype(dtype)
    points = thresholds(model)
    for r in range(n // 2):
        for c in range(x.shape[1]):
            pick = rng.random()
            if pick < 0.4 and c in points:
                t = dtype(rng.choice(points[c]))
                side = rng.integers(4)
                rows[r, c] = t if side < 2 else np.nextafter(
                    t, dtype(np.inf if side == 2 else -np.inf))
            elif pick < 0.5 and holes:
                rows[r, c] = rng.choice(SPECIAL)
    if not holes:
        rows = np.nan_to_num(rows)
    return rows


# ----------------------------------------------------------------- record --

class Recorder:
    def __init__(self, out, n_rows):
        self.out, self.n_rows = out, n_rows
        self.lines = []
        self.only = None

    def record(self, name, model, x, labels=None, holes=True, tolerance=None,
               dtype=np.float32, words=None, rows=None):
        if self.only and self.only not in name:
            return
        rng = np.random.default_rng(
            int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
        if rows is None:
            rows = make_rows(model, x, self.n_rows, rng, holes, dtype)
        sess = session(model)
        answers = sess.run(None, feeds(sess, rows, words))
        outputs = []
        for info, y in zip(sess.get_outputs(), answers):
            if isinstance(y, list):  # of maps
                outputs += [(k, np.array([[row[c] for c in labels]
                                          for row in y], np.float32))
                            for k in ("value", "probability")]
            elif labels is not None and y.dtype.kind in "iO":
                index = {str(c): i for i, c in enumerate(labels)}
                outputs.append(("class", np.array(
                    [[index[str(v)]] for v in y.ravel()], np.int32)))
            else:
                y = y.reshape(len(rows), -1)
                if y.dtype not in (np.float32, np.float64):
                    y = y.astype(np.float64)
                names = ["value"]
                if labels is not None and y.shape[1] == len(labels):
                    names.append("probability")
                outputs += [(k, y) for k in names
                            if k not in [o[0] for o in outputs]]
        self.write(name, model, rows, outputs, tolerance or {})

    def write(self, name, model, rows, outputs, tolerance):
        dtypes = {"float32": 0, "float64": 1, "int32": 2}
        data = b"TNREC2\0\0" + struct.pack(
            "<4I", len(rows), rows.shape[1], len(outputs),
            dtypes[rows.dtype.name])
        data += np.ascontiguousarray(rows).tobytes()
        for kind, y in outputs:
            data += struct.pack("<16s2I", kind.encode(),
                                dtypes[y.dtype.name], y.shape[1])
            data += np.ascontiguousarray(y).tobytes()
        (self.out / f"{name}.rec").write_bytes(data)
        model.doc_string = ""
        bytes_ = model.SerializeToString()
        (self.out / f"{name}.onnx").write_bytes(bytes_)
        known = [k for k, _ in outputs]
        limits = "".join(f" {k}={v:g}" for k, v in tolerance.items()
                         if k in known)
        self.lines.append(f"{name} {name}.onnx "
                          f"{hashlib.sha256(bytes_).hexdigest()}{limits}")

    def finish(self):
        head = (f"# onnxruntime {ort.__version__}, onnx {onnx.__version__}, "
                f"skl2onnx {skl2onnx.__version__}, "
                f"onnxmltools {onnxmltools.__version__}, "
                f"scikit-learn {sklearn.__version__}, "
                f"lightgbm {lightgbm.__version__}, "
                f"xgboost {xgboost.__version__}\n")
        (self.out / "MANIFEST").write_text(head + "\n".join(self.lines) + "\n")


# --------------------------------------------------------------- hand-made --

def model_of(nodes, inputs, outputs, ml=3, opset=15, initializers=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(graph, producer_name="hand", ir_version=8,
                             opset_imports=[helper.make_opsetid("", opset),
                                            helper.make_opsetid(ML, ml)])


def tensor_in(n, dtype=np.float32, name="X"):
    return helper.make_tensor_value_info(name, TENSOR[dtype], [None, n])


def out_of(name, dtype=np.float32, n=None):
    return helper.make_tensor_value_info(name, TENSOR[dtype], [None, n])


class Forest:
    """A drawn ensemble: nodes (tree, id, mode, feature, value, yes, no,
    missing), weights (tree, id, target, weight)."""

    def __init__(self, seed, modes, n_trees=6, depth=4, n_features=5,
                 n_targets=1, per_leaf=None, points=None, positive=False,
                 missing=True, dtype=np.float32):
        self.rng = np.random.default_rng(seed)
        self.modes, self.n_features = modes, n_features
        self.n_targets, self.dtype = n_targets, dtype
        self.per_leaf, self.positive = per_leaf, positive
        self.points, self.missing = points, missing
        self.nodes, self.weights = [], []
        for t in range(n_trees):
            self.tree, self.id = t, 0
            self.grow(depth)

    def grow(self, depth):
        rng, node = self.rng, self.id
        self.id += 1
        at = len(self.nodes)
        self.nodes.append(None)
        if depth == 0 or (node and rng.random() < 0.15):
            self.nodes[at] = (self.tree, node, "LEAF", 0, 0.0, 0, 0, 0)
            self.add_weights(node)
            return node
        mode = self.modes[rng.integers(len(self.modes))]
        value = (rng.choice(self.points) if self.points is not None
                 else rng.normal())
        yes = self.grow(depth - 1)
        no = self.grow(depth - 1)
        self.nodes[at] = (self.tree, node, mode, int(rng.integers(
            self.n_features)), float(self.dtype(value)), yes, no,
            int(self.missing and rng.random() < 0.5))
        return node

    def add_weights(self, node):
        targets = range(self.n_targets)
        if self.per_leaf == "tree":
            targets = [self.tree % self.n_targets]
        elif isinstance(self.per_leaf, int):
            targets = [self.per_leaf]
        for k in targets:
            w = self.rng.normal()
            w = abs(w) * 0.3 if self.positive else w
            self.weights.append((self.tree, node, k, float(self.dtype(w))))

    def attributes(self, kind):
        """Of the op of version 1 or 3; kind: target or class."""
        n, w = list(zip(*self.nodes)), list(zip(*self.weights))
        a = {"nodes_treeids": n[0], "nodes_nodeids": n[1],
             "nodes_modes": [m if m == "LEAF" else "BRANCH_" + m
                             for m in n[2]],
             "nodes_featureids": n[3], "nodes_truenodeids": n[5],
             "nodes_falsenodeids": n[6], f"{kind}_treeids": w[0],
             f"{kind}_nodeids": w[1], f"{kind}_ids": w[2]}
        if self.missing:
            a["nodes_missing_value_tracks_true"] = n[7]
        for name, list_ in (("nodes_values", n[4]), (f"{kind}_weights", w[3])):
            if self.dtype == np.float64:
                a[name + "_as_tensor"] = numpy_helper.from_array(
                    np.array(list_, np.float64), name)
            else:
                a[name] = list_
        return a

    def regressor(self, base=None, ml=3, **more):
        a = self.attributes("target")
        if base is not None and self.dtype == np.float64:
            a["base_values_as_tensor"] = numpy_helper.from_array(
                np.array(base, np.float64), "base")
        elif base is not None:
            a["base_values"] = base
        node = helper.make_node("TreeEnsembleRegressor", ["X"], ["Y"],
                                domain=ML, n_targets=self.n_targets, **a,
                                **more)
        return model_of([node], [tensor_in(self.n_features, self.dtype)],
                        [out_of("Y", n=self.n_targets)], ml=ml)

    def classifier(self, labels, base=None, ml=3, **more):
        a = self.attributes("class")
        if base is not None and self.dtype == np.float64:
            a["base_values_as_tensor"] = numpy_helper.from_array(
                np.array(base, np.float64), "base")
        elif base is not None:
            a["base_values"] = base
        kind = ("classlabels_strings" if isinstance(labels[0], str)
                else "classlabels_int64s")
        node = helper.make_node("TreeEnsembleClassifier", ["X"], ["L", "P"],
                                domain=ML, **{kind: labels}, **a, **more)
        label = helper.make_tensor_value_info(
            "L", TensorProto.STRING if isinstance(labels[0], str)
            else TensorProto.INT64, [None])
        return model_of([node], [tensor_in(self.n_features, self.dtype)],
                        [label, out_of("P", n=len(labels))], ml=ml)

    def v5(self, members=None, **more):
        """Of TreeEnsemble; members by mode MEMBER, in order."""
        code = ["LEQ", "LT", "GTE", "GT", "EQ", "NEQ", "MEMBER"]
        inner = [n for n in self.nodes if n[2] != "LEAF"]
        where = {n[:2]: i for i, n in enumerate(inner)}
        leaf = {w[:2]: i for i, w in enumerate(self.weights)}
        lists = {k: [] for k in ("true", "false")}
        for n in inner:
            for k, child in (("true", n[5]), ("false", n[6])):
                key = (n[0], child)
                lists[k].append((where[key], 0) if key in where
                                else (leaf[key], 1))
        sets = []
        for n in inner:
            if n[2] == "MEMBER":
                m = members[self.rng.integers(len(members))]
                sets += [float(v) for v in m] + [np.nan]
        d = self.dtype

        def array(list_, kind=None):
            return numpy_helper.from_array(np.array(list_, kind or d), "a")
        a = dict(
            nodes_featureids=[n[3] for n in inner],
            nodes_modes=array([code.index(n[2]) for n in inner], np.uint8),
            nodes_splits=array([n[4] for n in inner]),
            nodes_truenodeids=[v[0] for v in lists["true"]],
            nodes_trueleafs=[v[1] for v in lists["true"]],
            nodes_falsenodeids=[v[0] for v in lists["false"]],
            nodes_falseleafs=[v[1] for v in lists["false"]],
            nodes_missing_value_tracks_true=[n[7] for n in inner],
            tree_roots=[i for i, n in enumerate(inner) if n[1] == 0],
            leaf_targetids=[w[2] for w in self.weights],
            leaf_weights=array([w[3] for w in self.weights]),
            n_targets=self.n_targets)
        if sets:
            a["membership_values"] = array(sets)
        node = helper.make_node("TreeEnsemble", ["X"], ["Y"], domain=ML, **a,
                                **more)
        return model_of([node], [tensor_in(self.n_features, d)],
                        [out_of("Y", d, self.n_targets)], ml=5)


ORDER = ["LEQ", "LT", "GTE", "GT"]
WHOLE = np.arange(-2, 40).astype(np.float64)
# ONNX Runtime calls logf; our f32 log is sometimes one bit off it.
LOG = {"PROBIT": {"value": 1e-6, "probability": 1e-6}}
ODD = np.array([0.5, 1.5, -3.0, 70000.0, 1e9, 7.0, 0.0, 2.0])


def hand_modes(r):
    x = np.random.default_rng(1).normal(size=(500, 5)).astype(np.float32)
    codes = np.random.default_rng(2).integers(-2, 40, (500, 5))
    for i, mode in enumerate(ORDER):
        r.record(f"mode_{mode}", Forest(i, [mode]).regressor(), x)
        r.record(f"mode_{mode}_plain",
                 Forest(i, [mode], missing=False).regressor(ml=1), x)
        r.record(f"mode_{mode}_double",
                 Forest(i, [mode], dtype=np.float64).regressor(), x,
                 dtype=np.float64)
    r.record("mode_all_orders", Forest(9, ORDER, 12).regressor(), x)
    r.record("mode_infinite", Forest(10, ORDER, 12, points=[
        -np.inf, np.inf, 0.0, -0.0, 1e-45]).regressor(), x)
    for mode in ("EQ", "NEQ"):
        r.record(f"mode_{mode}", Forest(11, [mode], points=WHOLE).regressor(),
                 codes)
        r.record(f"mode_{mode}_odd", Forest(12, [mode], 4,
                 points=ODD).regressor(), codes)
    r.record("mode_all", Forest(13, ORDER + ["EQ", "NEQ"], 10,
             points=np.concatenate([WHOLE, ODD])).regressor(), codes)
    r.record("mode_all_double", Forest(14, ORDER + ["EQ", "NEQ"], 10,
             points=np.concatenate([WHOLE, ODD]),
             dtype=np.float64).regressor(), codes, dtype=np.float64)


def hand_regressors(r):
    x = np.random.default_rng(3).normal(size=(500, 5)).astype(np.float32)
    for agg in ("SUM", "AVERAGE", "MIN", "MAX"):
        for k in (1, 3):
            base = [0.25, -1.5, 3.0][:k]
            f = Forest(20 + k, ORDER, 7, n_targets=k)
            r.record(f"agg_{agg}_{k}",
                     f.regressor(aggregate_function=agg), x)
            r.record(f"agg_{agg}_{k}_base",
                     f.regressor(base, aggregate_function=agg), x)
    r.record("targets_by_tree", Forest(25, ORDER, 9, n_targets=3,
             per_leaf="tree").regressor([1.0, 2.0, 3.0]), x)
    r.record("targets_by_tree_max", Forest(25, ORDER, 9, n_targets=3,
             per_leaf="tree").regressor(aggregate_function="MAX"), x)
    r.record("targets_double", Forest(26, ORDER, 9, n_targets=2,
             dtype=np.float64).regressor([1.0, 2.5]), x, dtype=np.float64)
    for post in ("SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"):
        positive = post == "PROBIT"
        for k in (1, 3):
            f = Forest(30 + k, ORDER, 3, n_targets=k, positive=positive)
            r.record(f"post_{post}_{k}", f.regressor(post_transform=post), x,
                     tolerance=LOG.get(post))
        r.record(f"post_{post}_double", Forest(
            32, ORDER, 3, n_targets=3, positive=positive,
            dtype=np.float64).regressor(post_transform=post), x,
            dtype=np.float64, tolerance=LOG.get(post))
    r.record("one_leaf", Forest(33, ["LEQ"], 3, depth=0).regressor(), x)
    r.record("one_leaf_some", Forest(34, ["LEQ"], 6, depth=1).regressor(), x)
    r.record("deep", Forest(35, ["LEQ"], 1, depth=9).regressor(), x)


def hand_classifiers(r):
    x = np.random.default_rng(4).normal(size=(500, 5)).astype(np.float32)
    posts = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
    for post in posts:
        positive = post == "PROBIT"
        three = Forest(40, ORDER, 6, n_targets=3, positive=positive)
        r.record(f"class3_{post}", three.classifier(
            [0, 1, 2], post_transform=post), x, labels=[0, 1, 2],
            tolerance=LOG.get(post))
        two = Forest(41, ORDER, 5, n_targets=2, positive=positive)
        r.record(f"class2_{post}", two.classifier(
            [0, 1], post_transform=post), x, labels=[0, 1],
            tolerance=LOG.get(post))
        if post == "PROBIT":
            continue
        for column in (0, 1):
            for sign in ("mixed", "positive"):
                one = Forest(42 + column, ORDER, 5, n_targets=2,
                             per_leaf=column, positive=sign == "positive")
                if column == 1 and sign == "positive" and post != "NONE":
                    continue
                r.record(f"binary{column}_{post}_{sign}", one.classifier(
                    ["no", "yes"], post_transform=post), x,
                    labels=["no", "yes"])
    for n_base in (1, 2):
        base = [0.25, -0.5][:n_base]
        for column in (0, 1, None):
            f = Forest(50, ORDER, 5, n_targets=2, per_leaf=column)
            r.record(f"binary_base{n_base}_{column}",
                     f.classifier(["a", "b"], base,
                                  post_transform="LOGISTIC"), x,
                     labels=["a", "b"])
    by_tree = Forest(51, ORDER, 9, n_targets=3, per_leaf="tree")
    r.record("class3_by_tree", by_tree.classifier(
        [10, 20, 30], [0.1, 0.2, 0.3], post_transform="SOFTMAX"), x,
        labels=[10, 20, 30])
    wide = Forest(52, ORDER, 9, n_targets=3, dtype=np.float64)
    r.record("class3_double", wide.classifier(
        ["x", "y", "z"], [0.1, 0.2, 0.3], post_transform="SOFTMAX"), x,
        labels=["x", "y", "z"], dtype=np.float64)
    one = Forest(53, ORDER, 5, n_targets=2, per_leaf=0, dtype=np.float64)
    r.record("binary_double", one.classifier(
        [0, 1], post_transform="LOGISTIC"), x, labels=[0, 1],
        dtype=np.float64)


def hand_v5(r):
    x = np.random.default_rng(5).normal(size=(500, 5)).astype(np.float32)
    codes = np.random.default_rng(6).integers(-2, 60, (500, 5))
    sets = [[1, 2, 3], [0, 5, 30], [31, 32, 33, 40], [7], [-1, 4],
            [0.5, 3, 9], list(range(0, 60, 2))]
    r.record("v5_orders", Forest(60, ORDER).v5(), x)
    r.record("v5_double", Forest(61, ORDER, dtype=np.float64).v5(), x,
             dtype=np.float64)
    r.record("v5_equal", Forest(62, ["EQ", "NEQ"], points=WHOLE).v5(), codes)
    for i, s in enumerate(sets):
        r.record(f"v5_member_{i}", Forest(63 + i, ["MEMBER"], 3, 2,
                 points=[0.0], missing=i % 2 == 0).v5([s]), codes)
    r.record("v5_member_all", Forest(71, ORDER + ["MEMBER"], 8,
             points=WHOLE).v5(sets[:5]), codes)
    for agg in range(4):
        r.record(f"v5_agg_{agg}", Forest(72, ORDER, 6, n_targets=2,
                 per_leaf="tree").v5(aggregate_function=agg), x)
    for post in range(5):
        f = Forest(73, ORDER, 6, n_targets=3, per_leaf="tree",
                   positive=post == 4)
        r.record(f"v5_post_{post}", f.v5(post_transform=post), x,
                 tolerance=LOG["PROBIT"] if post == 4 else None)


def hand_ops(r):
    """Features and plain ops, each in a graph of its own."""
    x = np.random.default_rng(7).normal(size=(500, 4)).astype(np.float32)
    close = {"value": 1e-6}

    def one(name, nodes, n=4, out=np.float32, inits=(), opset=15, holes=True,
            tolerance=None, dtype=np.float32, data=x):
        r.record("op_" + name, model_of(
            nodes, [tensor_in(n, dtype)], [out_of("Y", out)], opset=opset,
            initializers=[numpy_helper.from_array(np.array(v), k)
                          for k, v in inits]), data, holes=holes,
            tolerance=tolerance, dtype=dtype)

    def ml(op, **attrs):
        return helper.make_node(op, ["X"], ["Y"], domain=ML, **attrs)

    def node(op, ins, outs, **attrs):
        return helper.make_node(op, ins, outs, **attrs)
    f32 = np.float32
    one("scaler", [ml("Scaler", offset=[0.1, -2.0, 3.3, 0.0],
                      scale=[1.5, 0.1, 7.7, 1.0])])
    one("imputer", [ml("Imputer", imputed_value_floats=[1, 2, 3, 4.5],
                       replaced_value_float=float("nan"))])
    one("imputer_zero", [ml("Imputer", imputed_value_floats=[9.5],
                            replaced_value_float=0.0)])
    one("binarizer", [ml("Binarizer", threshold=0.25)], holes=False)
    for norm in ("MAX", "L1", "L2"):
        one(f"normalizer_{norm}", [ml("Normalizer", norm=norm)], holes=False)
    one("extract", [node("Constant", [], ["I"], value=numpy_helper.from_array(
        np.array([2, 0, 2], np.int64))), helper.make_node(
            "ArrayFeatureExtractor", ["X", "I"], ["Y"], domain=ML)])
    one("vectorize", [helper.make_node("FeatureVectorizer", ["X", "X"], ["Y"],
                                       domain=ML, inputdimensions=[4, 4])])
    one("linear", [ml("LinearRegressor", coefficients=[.5, -1, 2, .25],
                      intercepts=[.125])], holes=False, tolerance=close)
    one("gemm", [node("Gemm", ["X", "W", "B"], ["Y"], alpha=0.5, beta=2.0,
                      transB=1)], holes=False, tolerance=close,
        inits=[("W", np.arange(12, dtype=f32).reshape(3, 4) / 7),
               ("B", np.array([1, 2, 3], f32))])
    one("matmul", [node("MatMul", ["X", "W"], ["Y"])], holes=False,
        tolerance=close, inits=[("W", np.arange(8, dtype=f32).reshape(4, 2))])
    one("chain", [node("Sub", ["X", "A"], ["a"]), node("Abs", ["a"], ["b"]),
                  node("Add", ["b", "O"], ["c"]), node("Sqrt", ["c"], ["d"]),
                  node("Neg", ["d"], ["e"]), node("Div", ["e", "A"], ["f"]),
                  node("Relu", ["f"], ["Y"])], holes=False,
        inits=[("A", np.array([[1, -2, 3, 4]], f32)), ("O", f32(1))])
    one("clip", [node("Clip", ["X", "L", "H"], ["Y"])],
        inits=[("L", f32(-0.5)), ("H", f32(0.75))])
    one("where", [node("Greater", ["X", "Z"], ["g"]),
                  node("Not", ["g"], ["h"]),
                  node("Where", ["h", "X", "O"], ["Y"])],
        inits=[("Z", f32(0.1)), ("O", np.array([1, 2, 3, 4], f32))])
    one("equal_cast", [node("LessOrEqual", ["X", "Z"], ["g"]),
                       node("Cast", ["g"], ["Y"], to=TensorProto.FLOAT)],
        inits=[("Z", np.array([0, 1, -1, .5], f32))])
    one("cast_int", [node("Cast", ["X"], ["a"], to=TensorProto.INT64),
                     node("Cast", ["a"], ["Y"], to=TensorProto.FLOAT)],
        holes=False)
    one("split", [node("Split", ["X", "S"], ["a", "b"], axis=1),
                  node("Concat", ["b", "a", "b"], ["Y"], axis=1)],
        inits=[("S", np.array([1, 3], np.int64))])
    one("slice", [node("Slice", ["X", "S", "E", "A"], ["Y"])],
        inits=[("S", np.array([-3], np.int64)), ("E", np.array([9], np.int64)),
               ("A", np.array([1], np.int64))])
    one("gather", [node("Gather", ["X", "I"], ["Y"], axis=1)],
        inits=[("I", np.array([3, -4, 1], np.int64))])
    one("transpose", [node("Reshape", ["X", "S"], ["a"]),
                      node("Transpose", ["a"], ["b"], perm=[0, 2, 1]),
                      node("Flatten", ["b"], ["Y"])],
        inits=[("S", np.array([-1, 2, 2], np.int64))])
    one("unsqueeze", [node("Unsqueeze", ["X", "A"], ["a"]),
                      node("Squeeze", ["a", "A"], ["Y"])],
        inits=[("A", np.array([1], np.int64))])
    for op in ("Max", "Min", "Mean", "Sum", "L1", "L2", "SumSquare"):
        inits, axes = ((), {"axes": [1]})
        ins = ["X"]
        if op == "Sum":
            inits, axes = [("A", np.array([1], np.int64))], {}
            ins = ["X", "A"]
        one(f"reduce_{op}", [node("Reduce" + op, ins, ["Y"], **axes)],
            inits=inits, holes=False, tolerance=close)
    for op in ("Exp", "Sigmoid", "Tanh"):
        one(op, [node(op, ["X"], ["Y"])], holes=False,
            tolerance={"value": 1e-6}, data=np.clip(x, -3, 3))
    one("Log", [node("Abs", ["X"], ["a"]), node("Log", ["a"], ["Y"])],
        holes=False, tolerance=close)
    one("Pow", [node("Abs", ["X"], ["a"]), node("Pow", ["a", "P"], ["Y"])],
        inits=[("P", f32(1.5))], holes=False, tolerance=close)
    one("Softmax", [node("Softmax", ["X"], ["Y"], axis=1)], holes=False,
        tolerance=close)
    one("ArgMax", [node("ArgMax", ["X"], ["a"], axis=1),
                   node("Cast", ["a"], ["Y"], to=TensorProto.FLOAT)],
        holes=False)
    one("one_hot", [ml("OneHotEncoder", cats_int64s=[0, 1, 2]),
                    ], n=1, holes=False, data=np.random.default_rng(8)
        .integers(-1, 5, (500, 1)))
    one("label_numbers", [ml("LabelEncoder", keys_floats=[0.0, 1.0, float("nan"),
                                                          2.5],
                             values_floats=[10.0, 11.0, 12.0, 13.0],
                             default_float=-7.5)], n=2,
        data=np.random.default_rng(8).choice([0, 1, 2.5, 3], (500, 2)))
    one("compare_double", [node("Mul", ["X", "A"], ["Y"])], out=np.float64,
        dtype=np.float64, inits=[("A", np.array([.1, .2, .3, .4]))])


# -------------------------------------------------------------- converters --

def bundled(name, holes=0.0, columns=None):
    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    x = x[:, :columns].astype(np.float32)
    if holes:
        x[np.random.default_rng(0).random(x.shape) < holes] = np.nan
    return x, y


def convert(estimator, x, double=False, **options):
    kind = DoubleTensorType if double else FloatTensorType
    if hasattr(estimator, "predict_proba"):
        options.setdefault("zipmap", False)
    return skl2onnx.convert_sklearn(
        estimator, initial_types=[("X", kind([None, x.shape[1]]))],
        options={id(estimator): options} if options else None,
        target_opset={"": 15, ML: 3})


def sklearn_trees(r):
    n = dict(n_estimators=5, max_depth=4, random_state=0)
    for data in ("iris", "breast_cancer"):
        x, y = bundled(data, columns=8)
        for est in (tree.DecisionTreeClassifier(max_depth=5, random_state=0),
                    ensemble.RandomForestClassifier(**n),
                    ensemble.ExtraTreesClassifier(**n),
                    ensemble.GradientBoostingClassifier(**n),
                    ensemble.AdaBoostClassifier(
                        n_estimators=4, random_state=0, algorithm="SAMME"),
                    ensemble.BaggingClassifier(n_estimators=4,
                                               random_state=0),
                    ensemble.HistGradientBoostingClassifier(
                        max_iter=5, max_depth=4, random_state=0)):
            name = f"skl_{type(est).__name__}_{data}"
            limit = ({"probability": 1e-6, "value": 1e-6}
                     if "Ada" in name else None)
            est.fit(x, y)
            r.record(name, convert(est, x), x, labels=list(est.classes_),
                     holes="Hist" in name, tolerance=limit)
    x, y = bundled("iris")
    est = ensemble.RandomForestClassifier(**n).fit(
        x, np.array(["a", "b", "c"])[y])
    r.record("skl_zipmap", convert(est, x, zipmap=True), x,
             labels=["a", "b", "c"], holes=False)
    x, y = bundled("diabetes")
    for est in (tree.DecisionTreeRegressor(max_depth=5, random_state=0),
                ensemble.RandomForestRegressor(**n),
                ensemble.ExtraTreesRegressor(**n),
                ensemble.GradientBoostingRegressor(**n),
                ensemble.BaggingRegressor(n_estimators=4, random_state=0),
                ensemble.HistGradientBoostingRegressor(
                    max_iter=5, max_depth=4, random_state=0)):
        name = f"skl_{type(est).__name__}"
        est.fit(x, y)
        r.record(name, convert(est, x), x, holes="Hist" in name)
    est = ensemble.RandomForestRegressor(**n).fit(
        x, np.stack([y, y ** 2, -y], axis=1))
    r.record("skl_RandomForest_3", convert(est, x), x, holes=False)
    est = ensemble.RandomForestRegressor(**n).fit(x.astype(np.float64), y)
    model = convert(est, x, double=True)
    # The standard has FLOAT here, and so has ONNX Runtime.
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    r.record("skl_RandomForest_double", model, x, holes=False,
             dtype=np.float64)


def boosters(r):
    x, y = bundled("diabetes", holes=0.05)
    types = [("X", MlFloat([None, x.shape[1]]))]
    opset = 15
    for objective in ("regression", "poisson", "regression_l1"):
        m = lightgbm.LGBMRegressor(n_estimators=6, num_leaves=7, verbose=-1,
                                   objective=objective).fit(x, y)
        r.record(f"lgb_{objective}", onnxmltools.convert_lightgbm(
            m, initial_types=types, target_opset=opset), x,
            tolerance={"value": 1e-6} if objective == "poisson" else None)
    for objective in ("reg:squarederror", "reg:logistic", "count:poisson"):
        z = y / y.max() if "logistic" in objective else y
        m = xgboost.XGBRegressor(n_estimators=6, max_depth=3,
                                 objective=objective).fit(x, z)
        try:
            converted = onnxmltools.convert_xgboost(
                m, initial_types=types, target_opset=opset)
        except RuntimeError as e:
            print("passed over:", objective, e)
            continue
        r.record("xgb_" + objective.replace(":", "_"), converted, x,
                 tolerance={"value": 1e-6})
    for data in ("iris", "breast_cancer"):
        x, y = bundled(data, holes=0.05, columns=8)
        types = [("X", MlFloat([None, x.shape[1]]))]
        labels = sorted(set(y))
        m = lightgbm.LGBMClassifier(n_estimators=5, num_leaves=7,
                                    verbose=-1).fit(x, y)
        r.record(f"lgb_{data}", onnxmltools.convert_lightgbm(
            m, initial_types=types, zipmap=False, target_opset=opset), x,
            labels=labels)
        m = xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(x, y)
        r.record(f"xgb_{data}", onnxmltools.convert_xgboost(
            m, initial_types=types, target_opset=opset), x, labels=labels)


def sklearn_linear(r):
    limit = {"value": 1e-5, "probability": 1e-5}
    x, y = bundled("iris")
    binary = (y == 1).astype(int)
    for est, name in (
            (linear_model.LogisticRegression(), "logistic"),
            (linear_model.RidgeClassifier(), "ridge"),
            (linear_model.SGDClassifier(loss="log_loss", random_state=0),
             "sgd"),
            (linear_model.LogisticRegression(), "multi"),
            (neural_network.MLPClassifier((6,), max_iter=60, random_state=0),
             "mlp")):
        target = y if name in ("multi", "mlp") else binary
        est.fit(x, target)
        try:
            r.record(f"skl_{name}", convert(est, x), x, holes=False,
                     labels=list(est.classes_), tolerance=limit)
        except (RuntimeError, ValueError) as e:
            print("passed over:", name, e)
    x, y = bundled("diabetes")
    for est, name in ((linear_model.LinearRegression(), "regression"),
                      (linear_model.TweedieRegressor(power=1, alpha=.1),
                       "tweedie"),
                      (neural_network.MLPRegressor((6,), max_iter=60,
                                                   random_state=0), "mlp_reg"),
                      (multioutput.MultiOutputRegressor(
                          tree.DecisionTreeRegressor(max_depth=3)), "multi_reg")):
        z = np.stack([y, -y], axis=1) if name == "multi_reg" else y
        r.record(f"skl_{name}", convert(est.fit(x, z), x), x, holes=False,
                 tolerance={"value": 1e-5})


def pipelines(r):
    x, y = bundled("breast_cancer", holes=0.05, columns=8)
    forest = ensemble.RandomForestClassifier(5, max_depth=4, random_state=0)
    for steps, name in (
            ([impute.SimpleImputer(), preprocessing.StandardScaler()],
             "impute_scale"),
            ([impute.SimpleImputer(strategy="median"),
              preprocessing.MinMaxScaler()], "minmax"),
            ([impute.SimpleImputer(), preprocessing.RobustScaler(),
              preprocessing.Normalizer("l1")], "normalize"),
            ([impute.SimpleImputer(), preprocessing.MaxAbsScaler(),
              preprocessing.Binarizer(threshold=0.5)], "binarize"),
            ([impute.SimpleImputer(), preprocessing.KBinsDiscretizer(
                4, encode="ordinal")], "bins"),
            ([impute.SimpleImputer(), preprocessing.StandardScaler(),
              decomposition.PCA(4)], "pca")):
        p = pipeline.make_pipeline(*steps, forest).fit(x, y)
        try:
            r.record(f"pipe_{name}", convert(p, x), x, labels=[0, 1])
        except (RuntimeError, ValueError) as e:
            print("passed over:", name, e)
    table(r)


def table(r):
    """Strings and numbers in columns of their own, through one-hot."""
    rng = np.random.default_rng(9)
    import pandas as pd
    words = [["blue", "green", "red"], ["large", "small"]]
    frame = pd.DataFrame({
        "color": rng.choice(words[0], 400), "size": rng.choice(words[1], 400),
        "age": rng.normal(40, 10, 400).astype(np.float32),
        "income": rng.normal(3, 1, 400).astype(np.float32)})
    y = ((frame.color == "red") ^ (frame.age > 40)).astype(int)
    numbers = pipeline.make_pipeline(preprocessing.StandardScaler())
    prepare = compose.ColumnTransformer([
        ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"),
         ["color", "size"]), ("numbers", numbers, ["age", "income"])])
    types = [("color", StringTensorType([None, 1])),
             ("size", StringTensorType([None, 1])),
             ("age", FloatTensorType([None, 1])),
             ("income", FloatTensorType([None, 1]))]
    rows = np.column_stack([
        rng.integers(0, 4, r.n_rows), rng.integers(0, 3, r.n_rows),
        rng.normal(40, 10, r.n_rows), rng.normal(3, 1, r.n_rows)]
    ).astype(np.float32)
    for est, name, limit in (
            (ensemble.GradientBoostingClassifier(n_estimators=6,
                                                 random_state=0), "boost",
             None),
            (linear_model.LogisticRegression(), "logistic",
             {"value": 2e-6, "probability": 2e-6})):
        p = pipeline.make_pipeline(prepare, est).fit(frame, y)
        model = skl2onnx.convert_sklearn(
            p, initial_types=types, options={"zipmap": False},
            target_opset={"": 15, ML: 3})
        r.record(f"table_{name}", model, None, rows=rows, labels=[0, 1],
                 words=words + [None, None], tolerance=limit)
    keys = helper.make_node("LabelEncoder", ["X"], ["c"], domain=ML,
                            keys_strings=["u", "v", "w"],
                            values_int64s=[5, 7, 9], default_int64=-1)
    cast = helper.make_node("Cast", ["c"], ["f"], to=TensorProto.FLOAT)
    forest = Forest(90, ["LEQ"], 4, n_features=1, points=[4., 6., 8., 0.])
    trees = forest.regressor().graph.node[0]
    trees.input[0] = "f"
    model = model_of([keys, cast, trees], [helper.make_tensor_value_info(
        "X", TensorProto.STRING, [None, 1])], [out_of("Y", n=1)])
    r.record("label_encoder", model, None,
             rows=rng.integers(0, 4, (r.n_rows, 1)).astype(np.float32),
             words=[["u", "v", "w"]])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--only", help="models whose name has this")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    r = Recorder(options.out, options.rows)
    r.only = options.only
    for part in (hand_modes, hand_regressors, hand_classifiers, hand_v5,
                 hand_ops, sklearn_trees, boosters, sklearn_linear, pipelines):
        part(r)
    r.finish()
    print(len(r.lines), "models")


if __name__ == "__main__":
    sys.exit(main())

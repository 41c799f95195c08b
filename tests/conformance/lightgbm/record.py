#!/usr/bin/env python3
"""Records what LightGBM itself answers, for test_recordings.c to compare with.

    pip install -r ../requirements.txt
    ./record.py                            NAME.txt and NAME.rec beside this
    ./record.py --rows 2000 --out DIR      the same models, more rows

Models are trained on scikit-learn's bundled data, small but over the whole
matrix of objectives, boosting kinds, missing types and leaf kinds; others are
written by hand, where training would not reach a corner. Each is read back
from its text before it predicts, so the file is what is recorded. Rows are
real ones, and ones made to sit on thresholds, one ulp off, or on values that
break things (NaN, infinities, zeros of both signs, denormals, 1e-35, unseen,
negative and fractional categories).

The files are as ../README.md has them. Models from the shared data folder are
recorded without their text.
"""
import argparse
import hashlib
import pathlib
import re
import struct
import sys

import lightgbm as lgb
import numpy as np
import pandas as pd
from sklearn import datasets

HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parents[3] / "shared" / "data" / "models" / "lightgbm"
ZERO = float(np.float32(1e-35))
DENORMAL = 5e-324

BASE = dict(verbosity=-1, seed=7, deterministic=True, force_row_wise=True,
            num_threads=1, num_leaves=7, min_data_in_leaf=5,
            min_sum_hessian_in_leaf=0)


# Whose contributions are kept with the tests: they take much room.
EXPLAINED = {"binary_sigmoid_1", "categories", "categories_multiclass", "deep",
             "dart", "multiclass", "one_leaf", "rf", "sparse",
             "zero_as_missing_wine"}


# ------------------------------------------------------------------- data --

def holes(x, rng, nan=0.08, zero=0.08):
    """Real data with some cells missing and some zero."""
    x = x.astype(np.float64).copy()
    x[rng.random(x.shape) < nan] = np.nan
    x[rng.random(x.shape) < zero] = 0
    return x


def load(name, rng):
    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    return holes(x, rng), y.astype(np.float64)


def with_categories(x, columns, rng):
    """Those columns binned to shuffled codes; some negative, some missing."""
    x = x.copy()
    for c, n in columns.items():
        rank = np.argsort(np.argsort(np.nan_to_num(x[:, c])))
        codes = rng.permutation(n)[(rank * n // len(rank))].astype(np.float64)
        codes[rng.random(len(codes)) < 0.03] = -1
        codes[rng.random(len(codes)) < 0.03] = np.nan
        x[:, c] = codes
    return x


# ------------------------------------------------------------------- rows --

def numbers(block, key):
    found = re.search(rf"^{key}=(.*)$", block, re.M)
    return found.group(1).split() if found else []


def thresholds(text, n_features):
    """For each feature: its thresholds, and whether a set is tested."""
    points = [set() for _ in range(n_features)]
    categorical = [False] * n_features
    for block in re.split(r"^Tree=", text, flags=re.M)[1:]:
        features = numbers(block, "split_feature")
        decisions = numbers(block, "decision_type") or ["0"] * len(features)
        for f, t, d in zip(features, numbers(block, "threshold"), decisions):
            if int(d) & 1:
                categorical[int(f)] = True
            else:
                points[int(f)].add(float(t))
    return [sorted(p) for p in points], categorical


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, ZERO, -ZERO,
           np.nextafter(ZERO, 1), np.nextafter(-ZERO, -1),
           np.nextafter(ZERO, 0), np.nextafter(-ZERO, 0), 1e-36, -1e-36,
           DENORMAL, -DENORMAL, 1e300, -1e300]
CODES = [np.nan, -1.0, -0.5, 0.0, -0.0, 0.5, 1.0, 1.999, 2.0, 3.0, 7.0, 31.0,
         32.0, 33.0, 63.0, 64.0, 1000.0, 2.0**31 - 1, 2.0**31, 2.0**40,
         -2.0**31, -2.0**40, np.inf, -np.inf, 1e-36]


def near(rng, points):
    t = points[rng.integers(len(points))]
    step = rng.integers(4)
    if step == 0:
        return np.nextafter(t, np.inf)
    if step == 1:
        return np.nextafter(t, -np.inf)
    return t


def make_rows(text, x, n, rng):
    """Rows that try the model: see the file's docstring."""
    n = ARGS.rows or n
    width = x.shape[1]
    points, categorical = thresholds(text, width)
    rows = x[rng.integers(len(x), size=n)].copy()
    for r in range(n // 6, n):
        # Few cells of the first half, most of the others.
        share = 0.15 if r < n // 2 else 0.8
        for c in range(width):
            if rng.random() > share:
                continue
            if categorical[c]:
                pick = CODES[rng.integers(len(CODES))]
                rows[r, c] = pick if rng.random() < 0.6 else rng.integers(70)
            elif points[c] and rng.random() < 0.75:
                rows[r, c] = near(rng, points[c])
            else:
                rows[r, c] = SPECIAL[rng.integers(len(SPECIAL))]
    return rows


# ----------------------------------------------------------------- record --

class Recorder:
    def __init__(self):
        self.lines = []
        self.rng = np.random.default_rng(20)

    def explains(self, name, text):
        """Written by hand, a model has no counts, which LightGBM needs."""
        return ((ARGS.rows or name in EXPLAINED) and
                "\ninternal_count=" in text and "is_linear=1" not in text)

    def record(self, name, text, rows, keep_text=True, stop=None):
        """stop: (iterations, margin) of early exit."""
        booster = lgb.Booster(model_str=text)
        early = {} if stop is None else dict(
            pred_early_stop=True, pred_early_stop_freq=stop[0],
            pred_early_stop_margin=stop[1])
        value = booster.predict(rows, **early)
        raw = booster.predict(rows, raw_score=True, **early)
        leaf = booster.predict(rows, pred_leaf=True)
        k = booster.num_model_per_iteration()
        r, t = len(rows), booster.num_trees()
        objective = re.search(r"^objective=(\S*)", text, re.M)
        cls = None
        if objective and objective.group(1) == "binary":
            cls = np.argmax(np.stack([1.0 - value, value], axis=1), axis=1)
        elif objective and objective.group(1).startswith("multiclass"):
            cls = np.argmax(value, axis=1)
        outputs = [("value", 1, value.reshape(r, k), "<f8"),
                   ("raw", 1, raw.reshape(r, k), "<f8"),
                   ("leaf", 2, np.asarray(leaf).reshape(r, t), "<i4")]
        if cls is not None:
            outputs.append(("class", 2, cls.reshape(r, 1), "<i4"))
        note = ""
        if self.explains(name, text):
            parts = booster.predict(rows, pred_contrib=True)
            outputs.append(("contribution", 1, parts.reshape(r, -1), "<f8"))
            note = " contribution=1e-9"
        if stop is not None:
            note += f" early_stop={stop[0]}:{stop[1]}"
        data = struct.pack("<8s4I", b"TNREC2", *rows.shape, len(outputs), 1)
        data += rows.astype("<f8").tobytes()
        for output, dtype, array, kind in outputs:
            data += struct.pack("<16s2I", output.encode(), dtype,
                                array.shape[1])
            data += np.ascontiguousarray(array).astype(kind).tobytes()
        (ARGS.out / (name + ".rec")).write_bytes(data)
        if keep_text:
            (ARGS.out / (name + ".txt")).write_bytes(text.encode())
        digest = hashlib.sha256(text.encode()).hexdigest()
        file = name + ".txt"
        if not keep_text:
            file = "@" + file.removeprefix("shared_")
        self.lines.append(f"{name} {file} {digest}{note}")
        return value, cls

    def train(self, name, x, y, rounds=6, rows=150, cats="auto", group=None,
              **params):
        """Trains, records, and returns the model's text."""
        weight = params.pop("weight", None)
        data = lgb.Dataset(x, y, group=group, categorical_feature=cats,
                           weight=weight)
        booster = lgb.train({**BASE, **params}, data, rounds)
        text = booster.model_to_string()
        plain = x if isinstance(x, np.ndarray) else x.to_numpy(np.float64)
        self.record(name, text, make_rows(text, plain, rows, self.rng))
        return text


# ---------------------------------------------------------------- trained --

def train_objectives(r):
    x, y = load("diabetes", r.rng)
    positive = y / 100
    for name, params in {
            "regression": {}, "regression_sqrt": {"reg_sqrt": True},
            "regression_l1": {}, "regression_l1_sqrt": {"reg_sqrt": True},
            "huber": {}, "fair": {}, "poisson": {}, "quantile": {},
            "quantile_sqrt": {"reg_sqrt": True}, "mape": {}, "gamma": {},
            "tweedie": {}}.items():
        r.train(name, x, positive, objective=name.replace("_sqrt", ""),
                **params)
    x, y = load("breast_cancer", r.rng)
    x = x[:, :12]
    for k in (1, 2, 0.7, 1.37):
        r.train(f"binary_sigmoid_{k}", x, y, objective="binary", sigmoid=k)
    r.train("binary_unbalanced", x, y, objective="binary", is_unbalance=True)
    r.train("cross_entropy", x, y * 0.8 + 0.1, objective="cross_entropy")
    r.train("cross_entropy_lambda", x, y * 0.8 + 0.1,
            objective="cross_entropy_lambda", weight=y + 1)
    x, y = load("wine", r.rng)
    r.train("multiclass", x, y, objective="multiclass", num_class=3)
    r.train("multiclassova", x, y, objective="multiclassova", num_class=3,
            sigmoid=1.5)
    group = [18] * 9 + [16]
    r.train("lambdarank", x, y, objective="lambdarank", group=group)
    r.train("rank_xendcg", x, y, objective="rank_xendcg", group=group)
    x, y = load("digits", r.rng)
    r.train("multiclass_digits", x, y, objective="multiclass", num_class=10,
            rounds=3, rows=60)

    def squared(predictions, data):
        return predictions - data.get_label(), np.ones(len(predictions))
    x, y = load("diabetes", r.rng)
    r.train("custom", x, y, objective=squared)
    x, y = load("iris", r.rng)

    def logits(predictions, data):
        label = data.get_label()[:, None] == np.arange(3)[None, :]
        p = np.exp(predictions - predictions.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p - label, 2 * p * (1 - p)
    r.train("custom_3", x, y, objective=logits, num_class=3)


def train_boosting(r):
    x, y = load("diabetes", r.rng)
    bag = dict(bagging_fraction=0.6, bagging_freq=1)
    r.train("dart", x, y, objective="regression", boosting="dart",
            rounds=15, drop_rate=0.5)
    r.train("rf", x, y, objective="regression", boosting="rf", rounds=7,
            **bag)
    r.train("rf_sqrt", x, y, objective="regression", boosting="rf",
            rounds=7, reg_sqrt=True, **bag)
    r.train("goss", x, y, objective="regression",
            data_sample_strategy="goss", rounds=15)
    r.train("linear", x, y, objective="regression", linear_tree=True)
    r.train("linear_dart", x, y, objective="regression", linear_tree=True,
            boosting="dart", rounds=12, drop_rate=0.5)
    r.train("extra_trees", x, y, objective="regression", extra_trees=True)
    r.train("monotone", x, y, objective="regression",
            monotone_constraints=[1, -1] + [0] * 8)
    x, y = load("breast_cancer", r.rng)
    x = x[:, :12]
    r.train("rf_binary", x, y, objective="binary", boosting="rf", rounds=6,
            **bag)
    r.train("linear_binary", x, y, objective="binary", linear_tree=True)
    r.train("dart_binary", x, y, objective="binary", boosting="dart",
            rounds=10, drop_rate=0.5)
    x, y = load("iris", r.rng)
    r.train("rf_multiclass", x, y, objective="multiclass", num_class=3,
            boosting="rf", rounds=5, **bag)
    r.train("linear_multiclass", x, y, objective="multiclass", num_class=3,
            linear_tree=True, rounds=4)


def train_shapes(r):
    x, y = load("diabetes", r.rng)
    r.train("one_leaf", x, y, objective="regression", rounds=2,
            min_data_in_leaf=len(x))
    r.train("deep", x, y, objective="regression", num_leaves=200,
            min_data_in_leaf=1, rounds=2, rows=200)
    r.train("stumps", x, y, objective="regression", num_leaves=2, rounds=30)
    r.train("many_trees", x, y, objective="regression", num_leaves=4,
            rounds=60, rows=100)
    skewed = np.exp(np.arange(len(x)) / 8.0)
    r.train("chain", np.arange(len(x))[:, None].astype(float), skewed,
            objective="regression", num_leaves=60, min_data_in_leaf=1,
            rounds=2)
    r.train("continued", x, y, objective="regression", rounds=4)
    # Retrained from the text of the model above, and cut short on saving.
    more = lgb.train({**BASE, "objective": "regression"}, lgb.Dataset(x, y),
                     4, init_model=str(ARGS.out / "continued.txt"))
    text = more.model_to_string(start_iteration=1, num_iteration=5)
    r.record("sliced", text, make_rows(text, x, 100, r.rng))


def train_missing(r):
    for data, objective in (("diabetes", "regression"), ("wine", "l1")):
        x, y = load(data, r.rng)
        for name, params in {
                "zero_as_missing": {"zero_as_missing": True},
                "no_missing": {"use_missing": False}}.items():
            r.train(f"{name}_{data}", x, y, objective=objective, rounds=10,
                    **params)
        r.train(f"no_missing_{data}_linear", x, y, objective="regression",
                linear_tree=True, rounds=4, use_missing=False)
    # No NaN in training: the missing type is none, NaN comes at prediction.
    x, y = datasets.load_iris(return_X_y=True)
    r.train("never_missing", x, y, objective="regression")
    sparse = np.where(r.rng.random((400, 6)) < 0.7, 0,
                      r.rng.normal(size=(400, 6)))
    y = sparse[:, 0] - sparse[:, 1] * 2 + (sparse[:, 2] == 0)
    r.train("sparse", sparse, y, objective="regression", rounds=8)
    r.train("sparse_zero", sparse, y, objective="regression", rounds=8,
            zero_as_missing=True)
    r.train("sparse_linear", sparse, y, objective="regression", rounds=4,
            linear_tree=True)


def train_categories(r):
    x, y = load("wine", r.rng)
    x = with_categories(x, {0: 12, 3: 40, 7: 3}, r.rng)
    cat = dict(cats=[0, 3, 7], max_cat_to_onehot=1, cat_smooth=1,
               min_data_per_group=1, cat_l2=0)
    r.train("categories", x, y, objective="regression", rounds=8, **cat)
    r.train("categories_onehot", x, y, objective="regression", rounds=8,
            **{**cat, "max_cat_to_onehot": 50})
    r.train("categories_multiclass", x, y, objective="multiclass",
            num_class=3, rounds=4, **cat)
    r.train("categories_zero_missing", x, y, objective="regression",
            rounds=8, zero_as_missing=True, **cat)
    r.train("categories_no_missing", x, y, objective="regression",
            rounds=8, use_missing=False, **cat)
    r.train("categories_rf", x, y, objective="regression", boosting="rf",
            bagging_fraction=0.7, bagging_freq=1, rounds=5, **cat)
    frame = pd.DataFrame({
        "weight kg": x[:, 1],
        "colour": pd.Categorical(
            np.array(["rouge", "blanc", "ros\u00e9", "or'ange", "a b"])[
                r.rng.integers(5, size=len(x))]),
        "grade": pd.Categorical(r.rng.integers(1900, 1912, size=len(x))),
        "size": pd.Categorical(r.rng.integers(6, size=len(x)) / 4),
        "organic": pd.Categorical(r.rng.random(len(x)) < 0.5)})
    target = y + frame["colour"].cat.codes % 2 + frame["grade"].cat.codes % 3
    params = {**BASE, "objective": "regression", "cat_smooth": 1,
              "max_cat_to_onehot": 1, "min_data_per_group": 1, "cat_l2": 0}
    booster = lgb.train(params, lgb.Dataset(frame, target), 8)
    text = booster.model_to_string()
    codes = frame.copy()
    for c in frame.columns[1:]:
        codes[c] = frame[c].cat.codes
    plain = codes.to_numpy(np.float64)
    assert np.array_equal(booster.predict(frame), booster.predict(plain))
    r.record("pandas", text, make_rows(text, plain, 200, r.rng))
    frame["grade"] = frame["grade"].cat.as_ordered()
    text = lgb.train(params, lgb.Dataset(frame, target), 4).model_to_string()
    r.record("pandas_ordered", text, make_rows(text, plain, 100, r.rng))


def train_classifiers(r):
    """The wrapper's own predict must be what Recorder.record computes."""
    for name, load_data in (("classifier", datasets.load_breast_cancer),
                            ("classifier_3", datasets.load_wine)):
        x, y = load_data(return_X_y=True)
        x = x[:, :8]
        model = lgb.LGBMClassifier(n_estimators=5, **BASE).fit(x, y)
        text = model.booster_.model_to_string()
        rows = make_rows(text, x, 150, r.rng)
        value, cls = r.record(name, text, rows)
        assert np.array_equal(model.predict(rows), cls)


# ------------------------------------------------------------- by hand --

HEADER = """tree
version={version}
num_class={k}
num_tree_per_iteration={k}
label_index=0
max_feature_idx={last}
{objective}feature_names={names}
feature_infos={infos}

"""


def assemble(trees, n_features=1, objective="regression", k=1, version="v4",
             infos=None):
    """A model's text from the bodies of its trees, without tree_sizes."""
    text = HEADER.format(
        version=version, k=k, last=n_features - 1,
        objective=f"objective={objective}\n" if objective else "",
        names=" ".join(f"x{i}" for i in range(n_features)),
        infos=" ".join(infos or ["[-1:1]"] * n_features))
    for i, tree in enumerate(trees):
        text += f"Tree={i}\n{tree}\n\n"
    return text + "end of trees\n"


def stump(threshold, decision, left="1", right="2", feature=0, extra=""):
    return (f"num_leaves=2\nnum_cat=0\nsplit_feature={feature}\n"
            f"threshold={threshold}\ndecision_type={decision}\n"
            f"left_child=-1\nright_child=-2\nleaf_value={left} {right}\n"
            f"{extra}shrinkage=1\n")


def column(values):
    return np.array(values, dtype=np.float64)[:, None]


def write_decisions(r):
    """Every missing type and side against every threshold that matters."""
    points = [-1.0, -ZERO, np.nextafter(-ZERO, -1), np.nextafter(-ZERO, 0),
              -1e-36, -0.0, 0.0, DENORMAL, 1e-36, np.nextafter(ZERO, 0), ZERO,
              np.nextafter(ZERO, 1), 1.0, 1e300, -1e300, np.inf, -np.inf]
    trees = [stump(repr(float(t)), d)
             for d in (0, 2, 4, 6, 8, 10) for t in points]
    rows = column(SPECIAL + [1.0, np.nextafter(1, 2), np.nextafter(1, 0),
                             -1.0, np.nextafter(-1, -2), np.nextafter(-1, 0),
                             np.nextafter(1e300, np.inf), -1.7e308])
    r.record("hand_decisions", assemble(trees), rows)
    without = [re.sub(r"decision_type=.*\n", "", t) for t in trees[:17]]
    r.record("hand_no_decision_type", assemble(without), rows)


def write_sets(r):
    """Bitsets of one, two and three words, an empty one, and every code."""
    trees = []
    for words in ([1], [2147483648], [0, 1], [4294967295, 0, 5], [], [0]):
        for decision in (1, 3, 5, 7, 9, 11):
            trees.append(
                "num_leaves=2\nnum_cat=1\nsplit_feature=0\nthreshold=0\n"
                f"decision_type={decision}\nleft_child=-1\nright_child=-2\n"
                f"leaf_value=1 2\ncat_boundaries=0 {len(words)}\n"
                f"cat_threshold={' '.join(map(str, words))}\nshrinkage=1\n")
    rows = column(CODES + [30.5, 30.0, 65.0, 66.0, 95.0, 96.0, 97.0, 4e9])
    r.record("hand_sets", assemble(trees, infos=["0:1:2"]), rows)


def write_leaves(r):
    """Leaves that are no ordinary number, and the order of adding them."""
    rows = column([0.0, 1.0, np.nan])
    for name, values in {
            "inf": ["inf", "1e308", "1"], "nan": ["nan", "-nan", "1"],
            "tiny": ["1e-36", "5e-324", "-0.0"],
            "order": ["1e16", "1", "-1e16"],
            "overflow": ["1e308", "1e308", "-1e308"]}.items():
        trees = [stump(0.5, 2, v, v if v != "nan" else "0") for v in values]
        r.record(f"hand_leaves_{name}", assemble(trees), rows)


def write_linear(r):
    extra = ("is_linear=1\nleaf_const={const}\nnum_features={n}\n"
             "leaf_features={features}\nleaf_coeff={coefs}\n")
    one_leaf = ("num_leaves=1\nnum_cat=0\nsplit_feature=\nthreshold=\n"
                "decision_type=\nleft_child=\nright_child=\nleaf_value=5\n")
    trees = [
        # Constants without terms differ from the leaf's value.
        stump(0, 2, "1", "2", 0, extra.format(
            const="10 20", n="0 0", features="  ", coefs="  ")),
        # Zero constants show what becomes of tiny numbers.
        stump(0, 2, "3", "4", 1, extra.format(
            const="0 -0.0", n="2 1", features="0 1  1  ",
            coefs="1e30 1e35  -1  ")),
        one_leaf + extra.format(const="7", n="1", features="0  ",
                                coefs="0.5  ") + "shrinkage=1\n",
        one_leaf + extra.format(const="9", n="0", features=" ",
                                coefs=" ") + "shrinkage=1\n",
        # A feature twice; infinite coefficients.
        stump(0, 2, "3", "4", 1, extra.format(
            const="1 1", n="3 1", features="0 0 1  0  ",
            coefs="0.1 0.2 0.3  inf  ")),
    ]
    values = SPECIAL + [1.0, 0.1, -3.7, 1e-20]
    rows = np.array([[a, b] for a in values for b in values])
    for i, tree in enumerate(trees):
        r.record(f"hand_linear_{i}", assemble([tree], 2), rows)


def write_objectives(r):
    """Each objective's name with the words that it may or may not heed."""
    rows = column([-1e3, -5.0, -1.0, -0.0, 0.0, 1e-5, 0.3, 1.0, 5.0, 1e3,
                   np.inf, -np.inf, np.nan])
    identity = ("num_leaves=1\nnum_cat=0\nsplit_feature=\nthreshold=\n"
                "decision_type=\nleft_child=\nright_child=\nleaf_value=0\n"
                "is_linear=1\nleaf_const=0\nnum_features=1\n"
                "leaf_features=0  \nleaf_coeff=1  \nshrinkage=1\n")
    for name in ("regression", "regression_l1", "quantile", "huber", "fair",
                 "poisson", "mape", "gamma", "tweedie", "lambdarank",
                 "rank_xendcg", "cross_entropy", "cross_entropy_lambda",
                 "custom"):
        for word in ("", " sqrt"):
            r.record(f"hand_{name}{word.replace(' ', '_')}",
                     assemble([identity], 1, name + word), rows)
    for alias in ("xentropy", "xentlambda", "none"):
        r.record(f"hand_alias_{alias}", assemble([identity], 1, alias), rows)
    r.record("hand_no_objective", assemble([identity], 1, ""), rows)
    # LightGBM's atof gives its nearest neighbour for some of these.
    for i, k in enumerate(("1", "0.35", "1.96398", "1e-05", "5.21989e-05",
                           "2.68077e-07", "123456", "1.5e+10",
                           "1.7e+60", "2.3e-59")):
        scaled = column(r.rng.normal(size=100) / float(k))
        r.record(f"hand_sigmoid_{i}",
                 assemble([identity], 1, f"binary sigmoid:{k}"),
                 np.concatenate([rows, scaled]))
    spread = np.linspace(-30, 30, 241)
    wide = column(np.concatenate([spread, r.rng.normal(size=300) * 3]))
    for name in ("poisson", "cross_entropy", "cross_entropy_lambda",
                 "binary sigmoid:1", "regression sqrt"):
        r.record("hand_wide_" + name.split()[0],
                 assemble([identity], 1, name), wide)
    triple = [re.sub("leaf_features=0", f"leaf_features={i}", identity)
              for i in range(3)]
    rows = np.concatenate([r.rng.normal(size=(200, 3)) * 5,
                           np.array([[1, 1, 1], [0, -0.0, 0],
                                     [1e3, 0, -1e3], [np.inf, 0, 1],
                                     [-np.inf, 0, 1], [700, 710, -745]])])
    for name in ("multiclass num_class:3", "custom",
                 "multiclassova num_class:3 sigmoid:1.7"):
        r.record("hand_3_" + name.split()[0],
                 assemble(triple, 3, name, 3), rows)


def write_versions(r):
    """The older layouts: fewer keys, other section names."""
    rows = column(SPECIAL)
    trees = [stump(0.25, 10, "0.5", "-0.5"), stump(-0.25, 4, "0.1", "0.7")]
    for version in ("v2", "v3", "v4"):
        text = assemble(trees, version=version)
        if version == "v2":
            text = text.replace("end of trees\n",
                                "\nfeature importances:\nx0=2\n")
        r.record(f"hand_{version}", text, rows)


def record_shared(r):
    if not SHARED.is_dir():
        if ARGS.out == HERE:
            sys.exit(f"{SHARED} is absent: its recordings would be lost")
        return
    for path in sorted(SHARED.glob("*.txt")):
        text = path.read_text()
        infos = re.search(r"^feature_infos=(.*)$", text, re.M).group(1).split()
        x = np.empty((400, len(infos)))
        for c, info in enumerate(infos):
            if info.startswith("["):
                low, high = map(float, info[1:-1].split(":"))
                x[:, c] = r.rng.uniform(low, high, len(x))
            else:
                x[:, c] = r.rng.choice([float(v) for v in info.split(":")],
                                       len(x))
        r.record("shared_" + path.stem, text,
                 make_rows(text, x, 160, r.rng), keep_text=False)


def train_early_stop(r):
    for name, n, stop in (("binary", 1, (3, 1.5)), ("multiclass", 3, (2, 0.7)),
                          ("every_iteration", 1, (1, 0.0))):
        x, y = load("wine" if n == 3 else "breast_cancer", r.rng)
        params = dict(objective="multiclass", num_class=3) if n == 3 \
            else dict(objective="binary")
        text = lgb.train({**BASE, **params}, lgb.Dataset(x, y),
                         12).model_to_string()
        r.record("early_stop_" + name, text, make_rows(text, x, 150, r.rng),
                 stop=stop)


def main():
    ARGS.out.mkdir(parents=True, exist_ok=True)
    for old in (*ARGS.out.glob("*.rec"), *ARGS.out.glob("*.txt")):
        old.unlink()
    r = Recorder()
    for step in (train_objectives, train_boosting, train_shapes,
                 train_missing, train_categories, train_classifiers,
                 write_decisions, write_sets, write_leaves, write_linear,
                 write_objectives, write_versions, record_shared,
                 train_early_stop):
        step(r)
    (ARGS.out / "MANIFEST").write_text(
        f"# lightgbm {lgb.__version__}, numpy {np.__version__}\n"
        + "".join(line + "\n" for line in sorted(r.lines)))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, help="rows of each model")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    return parser.parse_args()


if __name__ == "__main__":
    ARGS = arguments()
    main()

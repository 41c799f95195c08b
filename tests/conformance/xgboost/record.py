#!/usr/bin/env python3
"""Records what XGBoost itself answers, for test_recordings.c to compare with.

    pip install -r ../requirements.txt; pip install --no-deps xgboost-cpu==V
    ./record.py                            NAME.* and NAME.rec beside this
    ./record.py --rows 2000 --out DIR      the same models, more rows

Run it once with each version of VERSIONS (each in an environment of its own):
a run replaces the models of its version alone, whose names start with it. Old
versions need old companions: 1.7.6 numpy 1 and 2.1.4 numpy 2.0. Wheels pull in
GPU libraries, which --no-deps leaves out.

Models are trained on scikit-learn's bundled data, small but over the matrix of
objectives, boosters, kinds of categories and of missing values; some files are
then changed by hand, where training would not reach a corner. Each is read back
from its file before it predicts. Rows are real ones, and ones made to sit on
thresholds, one ulp off, or on values that break things (NaN, zeros of both
signs, denormals, huge; unseen, negative and fractional categories). XGBoost
takes no infinities.

The files are as ../README.md has them; the class that multi:softmax answers as
a float is an i32 here. reg:expectileerror has a tolerance: it
asks the C library for log1pf, which is not the same everywhere.
"""
import argparse
import copy
import hashlib
import json
import pathlib
import struct
import sys
import warnings

import numpy as np
import pandas as pd
import xgboost as xgb
from sklearn import datasets

HERE = pathlib.Path(__file__).resolve().parent
VERSIONS = {"1.7.6": "v1", "2.1.4": "v2", "3.2.0": "v32", "3.4.1": "v34"}
VERSION = tuple(int(v) for v in xgb.__version__.split("."))
PREFIX = VERSIONS.get(xgb.__version__, "v" + xgb.__version__)
NEWEST = PREFIX == "v34"
# What is kept beside this file of the older versions: a third of the rows, and
# of 3.2.0 only what it does in its own way. --rows makes all.
# Whose contributions are asked for. XGBoost computes them in f32: deep trees,
# or large leaves, make them worth little.
EXPLAINED = {"base_1", "categories_mixed", "dart", "forest", "lossguide",
             "one_leaf", "plain", "softprob", "targets", "unbalanced"}
LARGE = {"many_trees", "deep", "pruned", "digits", "leaves_order"}
ONLY = {"v32": {"binary_logistic", "softprob", "targets", "vector",
                "vector_ubj", "dart", "linear_softprob", "frame_json",
                "categories_mixed", "base_3", "base_4", "base_5", "base_6"}}
BASE = dict(verbosity=0, seed=7, nthread=1, max_depth=3, eta=0.3,
            tree_method="hist")


# ------------------------------------------------------------------- data --

def holes(x, rng, share=0.1):
    x = x.astype(np.float32).copy()
    x[rng.random(x.shape) < share] = np.nan
    return x


def load(name, rng, width=10):
    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    return holes(x[:, :width], rng), y.astype(np.float32)


def with_categories(x, columns, rng):
    """Those columns binned to shuffled codes, a few of them missing."""
    x = x.copy()
    for c, n in columns.items():
        rank = np.argsort(np.argsort(np.nan_to_num(x[:, c])))
        codes = rng.permutation(n)[rank * n // len(rank)].astype(np.float32)
        codes[rng.random(len(codes)) < 0.05] = np.nan
        x[:, c] = codes
    return x


# ------------------------------------------------------------------- rows --

def trees_of(model):
    booster = model["learner"]["gradient_booster"]
    if booster["name"] == "dart":
        booster = booster["gbtree"]
    return booster["model"].get("trees", [])


def thresholds(model, width):
    """For each feature: its thresholds, and whether a set is tested."""
    points = [set() for _ in range(width)]
    categorical = [False] * width
    for tree in trees_of(model):
        for i, left in enumerate(tree["left_children"]):
            feature = tree["split_indices"][i]
            if left == -1:
                continue
            if tree.get("split_type", [0] * (i + 1))[i]:
                categorical[feature] = True
            else:
                points[feature].add(np.float32(tree["split_conditions"][i]))
    return [sorted(p) for p in points], categorical


SPECIAL = np.array([np.nan, 0.0, -0.0, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 1.0,
                    -1.0, 1e-6], dtype=np.float32)
CODES = np.array([np.nan, -1, -0.5, 0.0, -0.0, 0.5, 1, 1.999, 2, 3, 7, 31, 32,
                  33, 63, 64, 1000, 16777215, 16777216, 2.0**31, 2.0**40, 3e38,
                  -3e38, 1e-36], dtype=np.float32)


def near(rng, points):
    t = points[rng.integers(len(points))]
    step = rng.integers(4)
    if step < 2:
        return np.nextafter(t, np.float32(np.inf if step else -np.inf))
    return t


def make_rows(model, x, n, rng):
    """Rows that try the model: see the file's docstring."""
    n = ARGS.rows or (n if NEWEST else n // 3)
    width = x.shape[1]
    points, categorical = thresholds(model, width)
    rows = x[rng.integers(len(x), size=n)].astype(np.float32)
    for r in range(n // 6, n):
        # Few cells of the first half, most of the others.
        share = 0.15 if r < n // 2 else 0.8
        for c in range(width):
            if rng.random() > share:
                continue
            if categorical[c]:
                pick = CODES[rng.integers(len(CODES))]
                rows[r, c] = pick if rng.random() < 0.5 else rng.integers(40)
            elif points[c] and rng.random() < 0.8:
                rows[r, c] = near(rng, points[c])
            else:
                rows[r, c] = SPECIAL[rng.integers(len(SPECIAL))]
    # Past the range of f32 a threshold's neighbour is an infinity.
    rows[np.isinf(rows)] = np.nan
    return rows


# ----------------------------------------------------------------- record --

class Recorder:
    def __init__(self):
        self.lines = {}
        self.rng = np.random.default_rng(30)

    def ask(self, booster, rows, explain):
        """What the booster answers, as (name, dtype, array, kind)."""
        n = len(rows)
        data = xgb.DMatrix(rows, feature_names=booster.feature_names,
                           feature_types=booster.feature_types)
        config = json.loads(booster.save_config())["learner"]
        objective = config["objective"]["name"]
        value = booster.predict(data).reshape(n, -1)
        raw = booster.predict(data, output_margin=True).reshape(n, -1)
        outputs = [("value", 0, value), ("raw", 0, raw)]
        if objective in ("binary:logistic", "reg:logistic", "multi:softprob"):
            outputs.append(("probability", 0, value))
        if objective in ("binary:logistic", "binary:hinge"):
            outputs.append(("class", 2, value > 0.5))
        if objective == "multi:softprob":
            outputs.append(("class", 2, value.argmax(axis=1)))
        if objective == "multi:softmax":
            outputs = [("value", 2, value), ("raw", 0, raw),
                       ("class", 2, value)]
            booster.set_param({"objective": "multi:softprob"})
            outputs.append(("probability", 0, booster.predict(data)))
        if config["gradient_booster"]["name"] != "gblinear":
            leaf = booster.predict(data, pred_leaf=True)
            outputs.append(("leaf", 2, leaf))
        if explain:
            parts = booster.predict(data, pred_contribs=True)
            outputs.append(("contribution", 1, parts))
        return [(name, dtype, array.reshape(n, -1).astype(
            ("<f4", "<f8", "<i4")[dtype])) for name, dtype, array in outputs]

    def record(self, name, bytes_, rows, kind="json", note=""):
        if not ARGS.rows and not NEWEST and (
                name in LARGE or name not in ONLY.get(PREFIX, {name})):
            return
        name = f"{PREFIX}_{name}"
        path = ARGS.out / f"{name}.{kind}"
        path.write_bytes(bytes_)
        booster = xgb.Booster(model_file=str(path))
        explain = name.removeprefix(PREFIX + "_") in EXPLAINED
        outputs = self.ask(booster, rows, explain)
        if explain:
            note += " contribution=1e-5"
        data = struct.pack("<8s4I", b"TNREC2", *rows.shape, len(outputs), 0)
        data += rows.astype("<f4").tobytes()
        for output, dtype, array in outputs:
            data += struct.pack("<16s2I", output.encode(), dtype,
                                array.shape[1])
            data += np.ascontiguousarray(array).tobytes()
        (ARGS.out / (name + ".rec")).write_bytes(data)
        digest = hashlib.sha256(bytes_).hexdigest()
        self.lines[name] = f"{name} {path.name} {digest}{note}"

    def train(self, name, x, y, rounds=5, rows=100, types=None, names=None,
              group=None, kind=None, bounds=None, note="", **params):
        """Trains and records; returns the model as JSON."""
        data = xgb.DMatrix(x, y, feature_types=types, feature_names=names,
                           enable_categorical=types is not None)
        if group is not None:
            data.set_group(group)
        if bounds is not None:
            data.set_float_info("label_lower_bound", bounds[0])
            data.set_float_info("label_upper_bound", bounds[1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            booster = xgb.train({**BASE, **params}, data, rounds)
        return self.save(name, booster, x, rows, kind, note)

    def save(self, name, booster, x, rows=100, kind=None, note=""):
        model = json.loads(bytes(booster.save_raw("json")))
        # A third of the models is written as UBJSON.
        kind = kind or ("ubj" if len(self.lines) % 3 == 2 else "json")
        plain = x if isinstance(x, np.ndarray) else codes_of(x)
        self.record(name, bytes(booster.save_raw(kind)),
                    make_rows(model, plain, rows, self.rng), kind, note)
        return model

    def change(self, name, model, x, edit, rows=60):
        """Records a model that was changed by `edit`."""
        model = copy.deepcopy(model)
        edit(model)
        text = json.dumps(model)
        self.record(name, text.encode(),
                    make_rows(model, x, rows, self.rng), "json")


def codes_of(frame):
    frame = frame.copy()
    for c in frame.columns:
        if isinstance(frame[c].dtype, pd.CategoricalDtype):
            codes = frame[c].cat.codes.astype(np.float32)
            frame[c] = codes.where(codes >= 0)
    return frame.to_numpy(np.float32)


# ---------------------------------------------------------------- trained --

def train_objectives(r):
    x, y = load("diabetes", r.rng)
    y = y / 100
    for objective in ("reg:squarederror", "reg:squaredlogerror",
                      "reg:pseudohubererror", "reg:absoluteerror",
                      "count:poisson", "reg:gamma", "reg:tweedie",
                      "survival:cox"):
        r.train(objective.split(":")[1], x, y, objective=objective)
    r.train("aft", x, None, objective="survival:aft", bounds=(y, y * 1.3))
    r.train("poisson_base", x, y, objective="count:poisson", base_score=0.37)
    r.train("squared_base", x, y, objective="reg:squarederror",
            base_score=-12.3456)
    x, y = load("breast_cancer", r.rng)
    for objective in ("binary:logistic", "reg:logistic", "binary:logitraw",
                      "binary:hinge"):
        r.train(objective.replace(":", "_"), x, y, objective=objective)
        r.train(objective.replace(":", "_") + "_base", x, y, rows=60,
                objective=objective, base_score=0.8125001)
    r.train("unbalanced", x, y, objective="binary:logistic",
            scale_pos_weight=3, max_delta_step=1)
    x, y = load("wine", r.rng)
    r.train("softmax", x, y, objective="multi:softmax", num_class=3)
    r.train("softprob", x, y, objective="multi:softprob", num_class=3)
    r.train("softprob_base", x, y, objective="multi:softprob", num_class=3,
            base_score=0.7)
    group = [18] * 9 + [16]
    for objective in ("rank:pairwise", "rank:ndcg", "rank:map"):
        r.train(objective.replace(":", "_"), x,
                (y > 0) * 1.0 if objective == "rank:map" else y,
                objective=objective, group=group)
    x, y = load("digits", r.rng, width=40)
    r.train("digits", x, y, objective="multi:softprob", num_class=10,
            rounds=3, rows=60)


def train_new_objectives(r):
    if VERSION < (2, 0):
        return
    x, y = load("diabetes", r.rng)
    r.train("quantile", x, y, objective="reg:quantileerror",
            quantile_alpha=0.3)
    r.train("quantiles", x, y, objective="reg:quantileerror",
            quantile_alpha=[0.1, 0.5, 0.9])
    if VERSION >= (3, 3):
        r.train("expectile", x, y, objective="reg:expectileerror",
                expectile_alpha=0.3)
        r.train("expectiles", x, y / 50, objective="reg:expectileerror",
                expectile_alpha=[0.1, 0.5, 0.9],
                note=" value=1e-6 raw=1e-6")


def train_boosters(r):
    x, y = load("diabetes", r.rng)
    dart = dict(booster="dart", rate_drop=0.4, one_drop=1, rounds=10)
    r.train("dart", x, y, **dart)
    r.train("dart_forest", x, y, normalize_type="forest", **dart)
    r.train("forest", x, y, num_parallel_tree=4, subsample=0.6,
            colsample_bynode=0.6, rounds=2)
    r.train("linear", x, y, booster="gblinear", updater="coord_descent")
    r.train("linear_shotgun", x, y / 100, booster="gblinear",
            objective="count:poisson", updater="shotgun")
    xb, yb = load("breast_cancer", r.rng)
    r.train("linear_binary", xb, yb, booster="gblinear",
            objective="binary:logistic", updater="coord_descent")
    r.train("dart_binary", xb, yb, objective="binary:logistic", **dart)
    xw, yw = load("wine", r.rng)
    r.train("linear_softprob", xw, yw, booster="gblinear", num_class=3,
            objective="multi:softprob", updater="coord_descent")
    r.train("dart_softprob", xw, yw, objective="multi:softprob", num_class=3,
            **{**dart, "rounds": 6})
    r.train("forest_softprob", xw, yw, objective="multi:softprob",
            num_class=3, num_parallel_tree=3, subsample=0.6, rounds=2)
    for method in ("exact", "approx"):
        r.train(method, x, y, tree_method=method)
    r.train("lossguide", x, y, grow_policy="lossguide", max_leaves=20,
            max_depth=0)
    r.train("pruned", x, y, gamma=8000, tree_method="exact", max_depth=6)
    r.train("monotone", x, y,
            monotone_constraints="(1,-1,0,0,0,0,0,0,0,0)")


def train_shapes(r):
    x, y = load("diabetes", r.rng)
    r.train("one_leaf", x, y, gamma=1e12, rounds=2)
    r.train("deep", x, y, max_depth=9, rounds=2, min_child_weight=0)
    r.train("stumps", x, y, max_depth=1, rounds=20)
    r.train("many_trees", x, y, max_depth=2, rounds=40)
    r.train("no_missing", np.nan_to_num(x), y)
    r.train("zeros", np.where(np.isnan(x), 0, x), y)
    r.train("named", x, y, types=["q", "float", "int", "i"] + ["q"] * 6,
            names=["a b", "\u00e9t\u00e9", "quote\"d", "tab\there", "x'y",
                   "back\\slash", "f0", "f00", "1", "last"], kind="json")
    booster = xgb.train({**BASE, "objective": "binary:logistic"},
                        xgb.DMatrix(x, y > 100), 12,
                        evals=[(xgb.DMatrix(x, y > 150), "v")],
                        early_stopping_rounds=2, verbose_eval=False)
    r.save("early_stopped", booster, x)
    r.save("sliced", booster[1:3], x)


def train_categories(r):
    x, y = load("wine", r.rng)
    x = with_categories(x, {0: 12, 3: 40, 7: 3}, r.rng)
    types = ["c" if c in (0, 3, 7) else "q" for c in range(x.shape[1])]
    for name, limit in (("onehot", 100), ("partitioned", 1), ("mixed", 13)):
        r.train("categories_" + name, x, y, types=types, rounds=8,
                max_cat_to_onehot=limit, min_child_weight=0)
    r.train("categories_softprob", x, y, types=types, rounds=3,
            objective="multi:softprob", num_class=3, max_cat_to_onehot=1)
    r.train("categories_approx", x, y, types=types, tree_method="approx",
            max_cat_to_onehot=1)
    r.train("categories_dart", x, y, types=types, booster="dart",
            rate_drop=0.5, rounds=6, max_cat_to_onehot=4)
    frame = pd.DataFrame({
        "weight kg": x[:, 1].astype(np.float32),
        "colour": pd.Categorical(
            np.array(["rouge", "blanc", "rose", "or'ange", "a b"])[
                r.rng.integers(5, size=len(x))]),
        "grade": pd.Categorical(r.rng.integers(-3, 9, size=len(x))),
        "size": x[:, 2].astype(np.float32)})
    frame.loc[3:9, "colour"] = np.nan
    target = y + frame["colour"].cat.codes % 2 + frame["grade"].cat.codes % 3
    for kind in ("json", "ubj"):
        booster = xgb.train(
            {**BASE, "max_cat_to_onehot": 6},
            xgb.DMatrix(frame, target, enable_categorical=True), 6)
        r.save("frame_" + kind, booster, frame, kind=kind)
    data = xgb.DMatrix(frame, enable_categorical=True)
    plain = xgb.DMatrix(codes_of(frame), feature_types=booster.feature_types,
                        feature_names=booster.feature_names)
    assert np.array_equal(booster.predict(data), booster.predict(plain))
    if NEWEST:
        frame["colour"] = frame["colour"].cat.rename_categories(
            {"rose": "ros\u00e9", "a b": "\u8d64"})
        booster = xgb.train(
            {**BASE, "max_cat_to_onehot": 1},
            xgb.DMatrix(frame, target, enable_categorical=True), 3)
        r.save("frame_text", booster, frame, kind="json")


def train_targets(r):
    x, y = load("diabetes", r.rng)
    targets = np.stack([y / 100, np.nan_to_num(x[:, 2] * 10), y % 7], axis=1)
    labels = np.stack([y > 100, y > 150, y % 2 == 0], axis=1).astype(float)
    r.train("targets", x, targets)
    r.train("labels", x, labels, objective="binary:logistic")
    r.train("targets_forest", x, targets, num_parallel_tree=2, rounds=3)
    if VERSION < (2, 0):
        return
    vector = dict(multi_strategy="multi_output_tree")
    r.train("vector", x, targets, **vector)
    r.train("vector_ubj", x, targets, kind="ubj", **vector)
    r.train("vector_labels", x, labels, objective="binary:logistic",
            **vector)
    r.train("vector_forest", x, targets, num_parallel_tree=2, rounds=3,
            **vector)
    r.train("vector_leaf", x, targets, max_depth=1, gamma=1e12, rounds=2,
            **vector)
    xw, yw = load("wine", r.rng)
    r.train("vector_softprob", xw, yw, objective="multi:softprob",
            num_class=3, **vector)
    if VERSION >= (3, 3):
        r.train("vector_dart", x, targets, booster="dart", rate_drop=0.5,
                rounds=8, **vector)
    if VERSION >= (3, 3):
        xc = with_categories(xw, {0: 12, 3: 40}, r.rng)
        types = ["c" if c in (0, 3) else "q" for c in range(xc.shape[1])]
        r.train("vector_categories", xc, np.stack([yw, -yw], axis=1),
                types=types, max_cat_to_onehot=8, **vector)


# ---------------------------------------------------------------- changed --

def change_models(r):
    """Models that XGBoost reads but seldom writes."""
    x, y = load("diabetes", r.rng)
    model = r.train("plain", x, y > 140, objective="binary:logistic",
                    rounds=3, kind="json")

    def base(text):
        def edit(m):
            m["learner"]["learner_model_param"]["base_score"] = text
        return edit
    scores = ["0.25", "2.5e-1", "9.999E-1"]
    if VERSION >= (3, 2):
        scores += ["[2.5E-1]", "0", "1", "[1E-9]"]
    for i, text in enumerate(scores):
        r.change(f"base_{i}", model, x, base(text))

    def leaves(values):
        def edit(m):
            for tree in trees_of(m):
                n = 0
                for i, left in enumerate(tree["left_children"]):
                    if left == -1:
                        tree["split_conditions"][i] = values[n % len(values)]
                        n += 1
        return edit
    r.change("leaves_large", model, x, leaves([100.0, -100.0, 50.0, -60.0]))
    r.change("leaves_edge", model, x,
             leaves([29.56, -29.57, 29.5667, 5.1, -44.0, -48.0, 0.0]))
    r.change("leaves_order", model, x,
             leaves([16777216.0, 1.0, -16777216.0, 0.3, 1e-8]))
    model = r.train("plain_poisson", x, y / 100, objective="count:poisson",
                    rounds=3, kind="json")
    r.change("poisson_large", model, x,
             leaves([29.5, -29.5, 40.0, -40.0, 0.1, -34.0]))
    model = r.train("plain_gamma", x, y / 100, objective="reg:gamma",
                    rounds=12, kind="json")
    r.change("gamma_spread", model, x,
             leaves(list(np.linspace(-7, 7, 41).astype(np.float32)
                         .astype(float))))
    xw, yw = load("wine", r.rng)
    model = r.train("plain_softprob", xw, yw, objective="multi:softprob",
                    num_class=3, rounds=3, kind="json")
    r.change("softprob_spread", model, xw,
             leaves(list(np.linspace(-6, 30, 37).astype(np.float32)
                         .astype(float))))

    def pretty(m):
        pass
    text = json.dumps(model, indent=1, sort_keys=False)
    r.record("pretty", text.encode(),
             make_rows(model, xw, 40, r.rng))
    reordered = {"version": model["version"],
                 "learner": dict(reversed(model["learner"].items()))}
    r.record("reordered", json.dumps(reordered).encode(),
             make_rows(model, xw, 40, r.rng))


# ------------------------------------------------------------------- main --

def write_manifest(r):
    path = ARGS.out / "MANIFEST"
    old = path.read_text().splitlines()[1:] if path.exists() else []
    kept = {line.split()[0]: line for line in old
            if not line.startswith(PREFIX + "_")}
    kept.update(r.lines)
    head = "# xgboost " + ", ".join(VERSIONS)
    path.write_text("\n".join([head] + [kept[k] for k in sorted(kept)]) + "\n")


def main():
    recorder = Recorder()
    for old in ARGS.out.glob(PREFIX + "_*"):
        old.unlink()
    train_objectives(recorder)
    train_new_objectives(recorder)
    train_boosters(recorder)
    train_shapes(recorder)
    train_categories(recorder)
    train_targets(recorder)
    change_models(recorder)
    write_manifest(recorder)
    print(f"{len(recorder.lines)} models of XGBoost {xgb.__version__}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    ARGS = parser.parse_args()
    ARGS.out.mkdir(parents=True, exist_ok=True)
    sys.exit(main())

#!/usr/bin/env python3
"""Records what CatBoost itself answers, for test_recordings.c to compare with.

    pip install -r ../requirements.txt
    ./record.py --treenail BINARY          NAME.json and NAME.rec beside this
    ./record.py --treenail BINARY --rows 2000 --out DIR   the same, more rows

Models are trained on scikit-learn's bundled data and on the loans of
examples/data, which have categories and holes: small, but over the whole matrix
of objectives, tree shapes, NaN modes, one-hot and CTR types. The answers are
those of the model in memory: when CatBoost reads its own JSON it misreads some
doubles by a bit, and cuts off the sums of BinarizedTargetMeanValue. Only the
leaves of trees that are not symmetric are asked of the model read back, as the
file does not have their old numbers.

Rows are real ones, and ones made to sit on borders, one ulp off, between two
f32, or on values that break things (NaN, infinities, zeros of both signs,
denormals, the largest f32); categories that training did not see. Categories
stand in the rows as treenail's codes, which `treenail inspect --json` tells;
unseen ones as a code past the last, -1, a fraction or a NaN.

Files are written without the blanks between tokens, but for two, and without
the time and the model's random name. The formats are as in ../README.md.
"""
import argparse
import hashlib
import json
import pathlib
import re
import struct
import subprocess

import catboost as cb
import numpy as np
import pandas as pd
from sklearn import datasets

HERE = pathlib.Path(__file__).resolve().parent
CREDIT = HERE.parents[2] / "examples" / "data" / "credit.csv"
TEXTS = ["seniority", "home", "marital", "records", "job"]
AS_WRITTEN = ("rmse", "loans")  # with the blanks

BASE = dict(iterations=6, depth=4, random_seed=7, thread_count=1, verbose=0,
            bootstrap_type="No",
            allow_writing_files=False)
FLT_MAX = float(np.finfo(np.float32).max)
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, FLT_MAX, -FLT_MAX, 1e300,
           -1e300, 1e-45, -1e-45, 1e-300, 5e-324]


# ------------------------------------------------------------------- data --

def bundled(name, columns=None, holes=0.0):
    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    x = x[:, :columns].astype(np.float64)
    x[np.random.default_rng(3).random(x.shape) < holes] = np.nan
    return pd.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])]), y


def loans(holes=True):
    """Its seniority, in years, is taken for a category."""
    frame = pd.read_csv(CREDIT, dtype={c: str for c in TEXTS},
                        keep_default_na=False, na_values=[""])
    frame = frame.iloc[::4].reset_index(drop=True)
    frame[TEXTS] = frame[TEXTS].fillna("?")
    label = (frame.pop("default") == "yes").to_numpy().astype(int)
    price = frame.pop("price").to_numpy(np.float64) / 1000
    if holes:
        rng = np.random.default_rng(4)
        for c in frame.columns.difference(TEXTS):
            frame.loc[rng.random(len(frame)) < 0.1, c] = np.nan
    for c in frame.columns.difference(TEXTS):
        frame[c] = frame[c].astype(np.float64)
    return frame, label, price


# ------------------------------------------------------------------- rows --

def squeeze(text):
    """JSON without the blanks between its tokens."""
    out, quoted, escaped = [], False, False
    for c in text:
        if quoted:
            quoted = escaped or c != '"'
            escaped = c == "\\" and not escaped
        elif c in " \n\r\t":
            continue
        else:
            quoted = c == '"'
        out.append(c)
    return "".join(out)


def borders(model):
    """By flat index: a feature's borders, also those that CTRs have."""
    info = model["features_info"]
    points = {f["flat_feature_index"]: list(f["borders"])
              for f in info.get("float_features") or []}
    flat = {f["feature_index"]: f["flat_feature_index"]
            for f in info.get("float_features") or []}
    for ctr in info.get("ctrs") or []:
        for e in ctr["elements"]:
            if e["combination_element"] == "float_feature":
                points[flat[e["float_feature_index"]]].append(e["border"])
    return points


def near(rng, points):
    """A border, its neighbours among f32, or what lies between them."""
    t = np.float32(points[rng.integers(len(points))])
    with np.errstate(over="ignore"):
        up = np.nextafter(t, np.float32(np.inf))
        down = np.nextafter(t, np.float32(-np.inf))
        return float([t, up, down, (np.float64(t) + np.float64(up)) / 2,
                      np.float64(t) + (np.float64(up) - np.float64(t)) * 0.75,
                      (np.float64(t) + np.float64(down)) / 2][rng.integers(6)])


def make_rows(model, frame, n, rng):
    """What CatBoost is given; texts that training did not see are UNSEEN."""
    rows = frame.iloc[rng.integers(len(frame), size=n)].reset_index(drop=True)
    points = borders(model)
    for f, name in enumerate(frame.columns):
        column = rows[name].to_numpy(copy=True)
        for r in range(n // 6, n):
            if rng.random() > (0.15 if r < n // 2 else 0.7):
                continue
            if frame[name].dtype.kind != "f":
                column[r] = (UNSEEN if rng.random() < 0.2 else
                             frame[name].iloc[rng.integers(len(frame))])
            elif points.get(f) and rng.random() < 0.8:
                column[r] = near(rng, points[f])
            else:
                column[r] = SPECIAL[rng.integers(len(SPECIAL))]
        rows[name] = column
    return rows


UNSEEN = "seen by nobody"


def encode(rows, columns, rng):
    """The rows as numbers: texts as the codes that `columns` have."""
    out = np.empty((len(rows), len(columns)))
    for c, column in enumerate(columns):
        values = rows[column["name"]]
        if column["kind"] != "category":
            out[:, c] = values
            continue
        names = column.get("categories", [])
        code = {name: i for i, name in enumerate(names)}
        unseen = [-1.0, len(names), len(names) + 40, np.nan, 0.5, -0.5, 1e9,
                  np.inf]
        out[:, c] = [code.get(str(v), unseen[rng.integers(len(unseen))])
                     for v in values]
    return out


# ----------------------------------------------------------------- record --

class Recorder:
    def __init__(self, args):
        self.args = args
        self.lines = []
        self.rng = np.random.default_rng(20)

    def inspect(self, path):
        run = subprocess.run([self.args.treenail, "inspect", path, "--json"],
                             check=True, capture_output=True, text=True)
        return json.loads(run.stdout)["columns"]

    def answers(self, name, model, path, rows, leaves):
        """Output names, and what CatBoost says of the rows."""
        params = json.loads(path.read_text())["model_info"]
        loss = params.get("params", {}).get("loss_function", {}).get("type")
        if "loss_function" in params:
            loss = json.loads(params["loss_function"])["type"]

        def ask(kind):
            a = np.asarray(cb.CatBoost.predict(model, rows,
                                               prediction_type=kind))
            return a.reshape(len(rows), -1)
        raw = ask("RawFormulaVal")
        out = {"raw": raw, "value": raw}
        if loss in ("Logloss", "CrossEntropy", "Focal"):
            out["value"] = out["probability"] = ask("Probability")[:, 1:]
            labels = model.classes_ if len(model.classes_) else [0, 1]
            out["class"] = ask("Class") == labels[1]
        elif loss in ("MultiClass", "MultiClassOneVsAll"):
            out["value"] = out["probability"] = ask("Probability")
            labels = [str(c) for c in model.classes_]
            out["class"] = np.array([[labels.index(str(v[0]))]
                                     for v in ask("Class")])
        elif loss in ("MultiLogloss", "MultiCrossEntropy"):
            out["value"] = out["probability"] = ask("Probability")
            out["class"] = ask("Class")
        elif loss in ("Poisson", "Tweedie"):
            out["value"] = ask("Exponent")
        elif loss == "RMSEWithUncertainty":
            out["value"] = ask("RMSEWithUncertainty")
        if leaves == "again":
            model = cb.CatBoost().load_model(str(path), format="json")
        if leaves:
            out["leaf"] = model.calc_leaf_indexes(rows)
        return out

    def record(self, name, model, frame, leaves="same", n=80):
        """Saves the model, makes rows, asks."""
        path = self.args.out / (name + ".json")
        texts = [c for c in frame.columns if frame[c].dtype.kind != "f"]
        pool = cb.Pool(frame, cat_features=texts)
        model.save_model(str(path), format="json", pool=pool)
        text = re.sub(r'("[^"]*(?:model_guid|train_finish_time)":)"[^"]*"',
                      r'\1""', path.read_text())
        path.write_text(text if name in AS_WRITTEN else squeeze(text))
        rows = make_rows(json.loads(path.read_text()), frame,
                         self.args.rows or n, self.rng)
        out = self.answers(name, model, path, rows, leaves)
        numbers = encode(rows, self.inspect(path), self.rng)
        data = b"TNREC2\0\0" + struct.pack("<4I", *numbers.shape, len(out), 1)
        data += numbers.astype("<f8").tobytes()
        for output, array in out.items():
            whole = output in ("class", "leaf")
            array = np.ascontiguousarray(array, "<i4" if whole else "<f8")
            data += struct.pack("<16s2I", output.encode(), 2 if whole else 1,
                                array.shape[1]) + array.tobytes()
        path.with_suffix(".rec").write_bytes(data)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.lines.append(f"{name} {path.name} {digest}")

    def train(self, name, frame, target, kind=cb.CatBoost, pool=None,
              leaves="same", n=80, **params):
        texts = [c for c in frame.columns if frame[c].dtype.kind != "f"]
        if params.get("grow_policy", "SymmetricTree") != "SymmetricTree":
            leaves = "again"
        model = kind({**BASE, **params}) if kind is cb.CatBoost else \
            kind(**{**BASE, **params})
        model.fit(cb.Pool(frame, target, cat_features=texts, **(pool or {})))
        self.record(name, model, frame, leaves, n)
        return model


# ---------------------------------------------------------------- numbers --

def train_regression(r):
    x, y = bundled("diabetes", holes=0.05)
    positive = y / 100
    for name, target in {
            "RMSE": y, "MAE": y, "Quantile:alpha=0.3": y,
            "LogLinQuantile:alpha=0.3": positive, "MAPE": y,
            "Poisson": positive, "Lq:q=3": positive, "Huber:delta=5": y,
            "Expectile:alpha=0.3": y,
            "Tweedie:variance_power=1.3": positive, "LogCosh": positive,
            "Cox": positive, "RMSEWithUncertainty": y,
            "MultiQuantile:alpha=0.1,0.5,0.9": y,
            "SurvivalAft": np.c_[positive, positive + 1],
            "MultiRMSE": np.c_[y, y * y],
            "MultiRMSEWithMissingValues": np.c_[y, np.where(y > 200, np.nan,
                                                            y)]}.items():
        r.train(name.split(":")[0].lower(), x, target, loss_function=name)
    x, y = bundled("wine", 6)
    groups = dict(group_id=np.repeat(np.arange(18), 10)[:178])
    for name in ("YetiRank", "QueryRMSE", "QuerySoftMax", "PairLogit",
                 "LambdaMart"):
        r.train(name.lower(), x, y.astype(float), pool=groups,
                loss_function=name)
    wide = r.train("poisson_30", x, y + 0.1, loss_function="Poisson",
                   iterations=30)
    wide.set_scale_and_bias(1500, [3])
    # The last n % 4 rows of a batch have other bounds: see docs/formats.md.
    r.record("poisson_out_of_range", wide, x, n=80)


def train_classes(r):
    x, y = bundled("breast_cancer", 8, holes=0.05)
    c = cb.CatBoostClassifier
    names = np.array(["benign", "malignant, \"bad\""])
    r.train("logloss", x, y, c)
    r.train("logloss_names", x, names[y], c)
    r.train("logloss_bool", x, y == 1, c)
    r.train("logloss_floats", x, np.array([0.5, 2.25])[y], c)
    r.train("focal", x, y, c,
            loss_function="Focal:focal_alpha=0.5;focal_gamma=1")
    r.train("crossentropy", x, y * 0.8 + 0.1, loss_function="CrossEntropy")
    model = r.train("threshold", x, y, c, iterations=4)
    model.set_probability_threshold(0.3)
    r.record("threshold_0.3", model, x)
    x, y = bundled("wine", 8, holes=0.05)
    names = np.array(["a", "b", "c"])
    r.train("multiclass", x, y, c, loss_function="MultiClass")
    r.train("multiclass_names", x, names[y], c, loss_function="MultiClass")
    r.train("onevsall", x, y, c, loss_function="MultiClassOneVsAll")
    for n in (3, 4, 5, 6):
        r.train(f"absent_{n}", x, np.where(y == 2, n - 1, y), c,
                loss_function="MultiClass", classes_count=n,
                **({} if n > 3 else {"depth": 3}))
    r.train("absent_names", x, names[y], c, loss_function="MultiClass",
            class_names=["a", "x", "b", "c", "y", "z"])
    r.train("absent_onevsall", x, y * 2, c, classes_count=6,
            loss_function="MultiClassOneVsAll")
    apart = r.train("multiclass_apart", x, y, c, loss_function="MultiClass")
    apart.set_scale_and_bias(900, [0, 100, -100])
    r.record("multiclass_far_apart", apart, x)
    r.train("multilogloss", x, np.c_[y == 0, y == 1, y > 0].astype(int),
            loss_function="MultiLogloss")
    r.train("multicrossentropy", x, np.c_[y / 4, y / 8],
            loss_function="MultiCrossEntropy")
    x, y = bundled("digits", 30)
    r.train("multiclass_digits", x, y, c, loss_function="MultiClass", n=60,
            iterations=4)


def train_shapes(r):
    x, y = bundled("diabetes", holes=0.05)
    r.train("depth_1", x, y, depth=1, iterations=20)
    r.train("depth_9", x, y, depth=9, iterations=2)
    r.train("many_trees", x, y, depth=2, iterations=60)
    r.train("ordered", x, y, boosting_type="Ordered")
    for policy in ("Depthwise", "Lossguide"):
        low = policy.lower()
        r.train(low, x, y, grow_policy=policy, depth=5)
        r.train(low + "_multiclass", x, np.digitize(y, [100, 200]),
                cb.CatBoostClassifier, grow_policy=policy,
                loss_function="MultiClass")
    r.train("lossguide_deep", x, y, grow_policy="Lossguide", depth=16,
            max_leaves=40, iterations=3)
    r.train("stumps", x, y, grow_policy="Depthwise", depth=1)
    for mode in ("Min", "Max"):
        r.train("nan_" + mode.lower(), x, y, nan_mode=mode)
    whole = x.fillna(0.0)
    r.train("nan_forbidden", whole, y, nan_mode="Forbidden")
    r.train("nan_max_unseen", whole, y, nan_mode="Max")
    r.train("borders_600", whole, y, border_count=600, iterations=20, depth=6,
            feature_border_type="UniformAndQuantiles")
    r.train("ignored", x, y, ignored_features=[0, 3])
    odd = x.rename(columns={"x0": "a \"quoted\" name", "x1": "äöü", "x2": "7"})
    r.train("names", odd, y)
    model = r.train("rmse_scaled", x, y)
    for name, scale, bias in (("both", 1.7, 0.3), ("scale", 0.1, 0.0),
                              ("bias", 1, -0.7), ("zero", 1, 0.0)):
        model.set_scale_and_bias(scale, [bias])
        r.record("scaled_" + name, model, x)
    other = r.train("rmse_other", x, y, iterations=3)
    r.record("sum", cb.sum_models([model, other], [0.3, 0.9]), x)
    model = r.train("multirmse_scaled", x, np.c_[y, y * 2],
                    loss_function="MultiRMSE")
    model.set_scale_and_bias(1.7, [0.3, -2])
    r.record("multirmse_both", model, x)


# ------------------------------------------------------------- categories --

def train_categories(r):
    frame, label, price = loans()
    c = cb.CatBoostClassifier
    deep = dict(max_ctr_complexity=4, iterations=16, depth=5)
    r.train("loans", frame, label, c)
    r.train("loans_default", frame, price)
    r.train("loans_onehot", frame, label, c, one_hot_max_size=255)
    r.train("loans_onehot_some", frame, label, c, one_hot_max_size=4)
    r.train("loans_combined", frame, label, c, **deep)
    r.train("loans_combined_price", frame, price, **deep)
    r.train("loans_combined_onehot", frame, price, one_hot_max_size=4, **deep)
    r.train("loans_combined_nan_max", frame, price, nan_mode="Max", **deep)
    three = np.digitize(price, [1, 1.6])
    r.train("loans_multiclass", frame, three, c, loss_function="MultiClass")
    r.train("loans_multiclass_combined", frame, three, c,
            loss_function="MultiClass", max_ctr_complexity=3)
    r.train("loans_ordered", frame, label, c, boosting_type="Ordered", **deep)
    for policy in ("Depthwise", "Lossguide"):
        r.train("loans_" + policy.lower(), frame, label, c,
                grow_policy=policy, max_ctr_complexity=3)
    mean, borders, buckets = ("BinarizedTargetMeanValue", "Borders",
                              "Buckets")
    for name, ctrs in {
            "buckets": [buckets, "Counter"], "mean": [mean],
            "mean_3": [mean + ":TargetBorderCount=3"],
            "borders_4": [borders + ":TargetBorderCount=4:Prior=0.3"],
            "buckets_3": [buckets + ":TargetBorderCount=3:CtrBorderCount=40"],
            "counter": ["Counter:Prior=2"]}.items():
        r.train("ctr_" + name, frame, price, simple_ctr=ctrs,
                combinations_ctr=ctrs, max_ctr_complexity=3, iterations=16)
    r.train("ctr_counter_full", frame, price, simple_ctr=["Counter"],
            combinations_ctr=["Counter"], counter_calc_method="Full")
    r.train("ctr_leaf_limit", frame, price, ctr_leaf_count_limit=7, **deep)
    r.train("ctr_per_feature", frame, price,
            per_feature_ctr=["0:Buckets:Prior=0.7", "1:Borders:Prior=0.5"])
    r.train("texts_only", frame[TEXTS], label, c, max_ctr_complexity=3,
            iterations=12)
    # More categories than a set test is made for.
    many = frame.assign(amount=frame.amount.fillna(-1).astype(int).astype(str),
                        assets=frame.assets.fillna(-1).astype(int).astype(str))
    r.train("many", many, price, max_ctr_complexity=2, iterations=12)
    odd = frame.assign(job=frame.job.map(lambda s: f'"{s}",\t\\ü€'))
    r.train("odd_texts", odd, label, c)


def main():
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    for old in (*args.out.glob("*.rec"), *args.out.glob("*.json")):
        old.unlink()
    r = Recorder(args)
    for step in (train_regression, train_classes, train_shapes,
                 train_categories):
        step(r)
    (args.out / "MANIFEST").write_text(
        f"# catboost {cb.__version__}, numpy {np.__version__}\n"
        + "".join(line + "\n" for line in r.lines))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--treenail", default="treenail")
    parser.add_argument("--rows", type=int, help="rows of each model")
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    return parser.parse_args()


if __name__ == "__main__":
    main()

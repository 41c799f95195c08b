#!/usr/bin/env python3
"""Exports what scikit-learn fits and compares its answers with those of
`treenail predict` ($TREENAIL), bit for bit where the arithmetic is plain.

Exit code 77, skipped, without numpy and scikit-learn. Without $TREENAIL the
numpy evaluator beside this file answers instead.
"""
import csv
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
import warnings

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
try:
    import numpy as np
    from sklearn import (base, compose, datasets, decomposition, ensemble,
                         impute, linear_model, neural_network, pipeline,
                         preprocessing, svm, tree)
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

import evaluate  # noqa: E402
import treenail  # noqa: E402

TREENAIL = os.environ.get("TREENAIL")
warnings.simplefilter("ignore")


def text_of(cell):
    if cell is None or cell != cell:
        return ""
    return cell if isinstance(cell, str) else repr(float(cell))


def asked(path, names, rows, output):
    """`treenail predict` of rows of Python values, as lists of texts."""
    with tempfile.NamedTemporaryFile("w", suffix=".csv", newline="",
                                     encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([[text_of(c) for c in row] for row in rows])
        file.flush()
        done = subprocess.run([TREENAIL, "predict", path, file.name, "--header",
                               "--output", output], capture_output=True,
                              encoding="utf-8")
    if done.returncode:
        raise AssertionError(done.stderr)
    return list(csv.reader(done.stdout.splitlines()))[1:]


def parts_of(path):
    """A container's text, but for the fact that a reader adds, its tensors'
    places, and its bytes."""
    data = pathlib.Path(path).read_bytes()
    n = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:n])
    text = header.pop("__metadata__")["ir"].split("\n")
    return ([line for line in text if '"source_sha256"' not in line],
            list(header.items()), data[n:])


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "model.tn")

    def tearDown(self):
        self.folder.cleanup()

    def answers(self, estimator, rows, output):
        """Numbers, or the texts of classes."""
        module = treenail.build(estimator)
        labels = {name: l for name, _, l in module.outputs}[output]
        rows = [list(row) for row in rows]
        if TREENAIL:
            treenail.export(estimator, self.path)
            texts = asked(self.path, [c.name for c in module.columns], rows,
                          output)
            return np.array(texts) if labels else np.array(texts, dtype=float)
        x = evaluate.encode_rows(module, rows)
        y = evaluate.evaluate(module, x)[output]
        return np.array(labels)[y] if labels else y

    def compare(self, estimator, rows, output, theirs, tolerance=0.0):
        ours = self.answers(estimator, rows, output)
        theirs = np.asarray(theirs)
        if ours.dtype.kind == "U":
            theirs = theirs.astype(str)
        theirs = theirs.reshape(len(theirs), -1)
        if theirs.dtype == np.float32:
            ours = ours.astype(np.float32)  # they were printed as such
        self.assertEqual(ours.shape, theirs.shape)
        if tolerance:
            bound = tolerance * np.maximum(1, np.abs(theirs))
            self.assertTrue((np.abs(ours - theirs) <= bound).all(),
                            np.abs(ours - theirs).max())
        else:
            self.assertEqual((ours != theirs).sum(), 0)

    def compare_all(self, estimator, rows, x=None, tolerance=0.0, near=1e-14):
        """Every output that the framework has too. near: of probabilities."""
        x = rows if x is None else x
        names = [name for name, _, _ in treenail.build(estimator).outputs]
        for name, method, t in (
                ("value", "predict", tolerance), ("class", "predict", 0.0),
                ("probability", "predict_proba", tolerance or near),
                ("raw", "decision_function", tolerance),
                ("leaf", "apply", 0.0)):
            if name in names and hasattr(estimator, method):
                theirs = getattr(estimator, method)(x)
                if isinstance(theirs, list):
                    theirs = np.concatenate(theirs, axis=1)
                with self.subTest(estimator=str(estimator), output=name):
                    self.compare(estimator, rows, name, theirs, t)


DIABETES = datasets.load_diabetes(return_X_y=True)
WINE = datasets.load_wine(return_X_y=True)
CANCER = datasets.load_breast_cancer(return_X_y=True)


class Trees(Case):
    def test_regressors(self):
        x, y = DIABETES
        for estimator in (
                tree.DecisionTreeRegressor(max_depth=5),
                tree.ExtraTreeRegressor(max_leaf_nodes=20),
                ensemble.RandomForestRegressor(8, max_depth=5),
                ensemble.ExtraTreesRegressor(8, max_depth=5),
                ensemble.GradientBoostingRegressor(n_estimators=10),
                ensemble.GradientBoostingRegressor(n_estimators=10,
                                                   init="zero"),
                ensemble.AdaBoostRegressor(n_estimators=6),
                ensemble.BaggingRegressor(n_estimators=4, max_features=0.5),
                ensemble.HistGradientBoostingRegressor(max_iter=10)):
            self.compare_all(estimator.fit(x, y), x)

    def test_classifiers(self):
        for x, y in (WINE, CANCER):
            for estimator in (
                    tree.DecisionTreeClassifier(max_depth=5),
                    tree.ExtraTreeClassifier(max_leaf_nodes=20),
                    ensemble.RandomForestClassifier(8, max_depth=5),
                    ensemble.ExtraTreesClassifier(8, max_depth=5),
                    ensemble.GradientBoostingClassifier(n_estimators=5),
                    ensemble.AdaBoostClassifier(n_estimators=5),
                    ensemble.BaggingClassifier(n_estimators=4),
                    ensemble.HistGradientBoostingClassifier(max_iter=8)):
                self.compare_all(estimator.fit(x, y), x)

    @unittest.skipUnless(TREENAIL, "needs $TREENAIL")
    def test_contributions(self):
        x, y = CANCER
        for estimator in (
                tree.DecisionTreeRegressor(max_depth=5),
                ensemble.RandomForestRegressor(8, max_depth=5),
                ensemble.GradientBoostingRegressor(n_estimators=5),
                ensemble.HistGradientBoostingRegressor(max_iter=8)):
            treenail.export(estimator.fit(x, y), self.path)
            names = [c.name for c in treenail.build(estimator).columns]
            parts = np.array(asked(self.path, names, x, "contribution"), float)
            self.assertEqual(parts.shape, (len(x), x.shape[1] + 1))
            sums = parts.sum(axis=1)
            self.assertLess(np.abs(sums - estimator.predict(x)).max(), 1e-12)
            # The last is the mean, the same for each row.
            self.assertEqual(len(set(parts[:, -1])), 1)

    def test_several_outputs(self):
        x, y = DIABETES
        two = np.c_[y, np.sqrt(y)]
        for estimator in (tree.DecisionTreeRegressor(max_depth=5),
                          ensemble.RandomForestRegressor(5, max_depth=4)):
            self.compare_all(estimator.fit(x, two), x)
        both = np.c_[y > 100, y > 200].astype(int)
        for estimator in (tree.DecisionTreeClassifier(max_depth=5),
                          ensemble.RandomForestClassifier(5, max_depth=4)):
            self.compare_all(estimator.fit(x, both), x)

    def test_isolation_forest(self):
        x, _ = WINE
        estimator = ensemble.IsolationForest(n_estimators=10, max_features=0.5,
                                             contamination=0.1).fit(x)
        self.compare_all(estimator, x, tolerance=1e-14)
        self.compare(estimator, x, "score", estimator.score_samples(x), 1e-14)

    def test_missing_values(self):
        x, y = DIABETES
        x = x.copy()
        x[np.random.default_rng(0).random(x.shape) < 0.1] = np.nan
        kinds = [ensemble.HistGradientBoostingRegressor(max_iter=10)]
        if treenail.trees.sklearn_version() >= (1, 3):
            kinds.append(tree.DecisionTreeRegressor(max_depth=6))
        if treenail.trees.sklearn_version() >= (1, 4):
            kinds.append(ensemble.RandomForestRegressor(5, max_depth=6))
        for estimator in kinds:
            self.compare_all(estimator.fit(x, y), x)

    def test_categories(self):
        rng = np.random.default_rng(1)
        x = np.c_[rng.normal(size=300), rng.integers(0, 40, 300),
                  rng.integers(0, 6, 300)].astype(float)
        y = np.sin(7 * x[:, 1]) + np.cos(3 * x[:, 2]) + x[:, 0]
        x[rng.random(x.shape) < 0.05] = np.nan
        estimator = ensemble.HistGradientBoostingRegressor(
            max_iter=15, categorical_features=[1, 2]).fit(x, y)
        odd = x.copy()
        for start, value in enumerate((77, -3, 258, 2.5, -0.5, 3e9, 1e300)):
            odd[start::9, 1 + start % 2] = value
        self.compare_all(estimator, odd)


class Pipelines(Case):
    def table(self):
        """Rows with strings: (fitted on, asked for, target)."""
        rng = np.random.default_rng(2)
        n = 300
        x = np.empty((n, 4), dtype=object)
        x[:, 0] = rng.normal(40, 10, n)
        x[:, 1] = rng.choice(["Paris", "Rome", "Oslo"], n)
        x[:, 2] = rng.lognormal(8, 1, n)
        x[:, 3] = rng.choice(['a', 'b, "q"', 'ü'], n)
        y = (x[:, 1] == "Rome") + x[:, 0].astype(float) / 40
        x[rng.random(n) < 0.1, 0] = np.nan
        x[rng.random(n) < 0.1, 3] = np.nan
        other = x.copy()
        other[::7, 1] = "Lima"
        other[::5, 3] = np.nan
        return x, other, y

    def columns(self, text):
        numbers = pipeline.make_pipeline(impute.SimpleImputer(),
                                         preprocessing.StandardScaler())
        return compose.ColumnTransformer([("n", numbers, [0, 2]),
                                          ("t", text, [1, 3])])

    def test_strings(self):
        x, other, y = self.table()
        label = np.where(y > np.median(y), "yes", "no")
        one_hot = preprocessing.OneHotEncoder(handle_unknown="ignore")
        ordinal = preprocessing.OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1,
            encoded_missing_value=-2)
        fill = impute.SimpleImputer(strategy="constant", fill_value="none")
        frequent = impute.SimpleImputer(strategy="most_frequent")
        rare = preprocessing.OneHotEncoder(
            handle_unknown="infrequent_if_exist", min_frequency=100)
        for text in (one_hot, ordinal, rare,
                     pipeline.make_pipeline(fill, one_hot),
                     pipeline.make_pipeline(frequent, ordinal)):
            for last in (ensemble.RandomForestClassifier(5),
                         ensemble.GradientBoostingClassifier(n_estimators=5)):
                estimator = pipeline.make_pipeline(self.columns(text), last)
                self.compare_all(estimator.fit(x, label), other)

    def test_scalers(self):
        x, y = DIABETES
        p = preprocessing
        for step in (p.StandardScaler(), p.MinMaxScaler(clip=True),
                     p.RobustScaler(), p.MaxAbsScaler(),
                     p.QuantileTransformer(n_quantiles=20),
                     p.KBinsDiscretizer(4, encode="onehot-dense"),
                     p.KBinsDiscretizer(4, encode="ordinal"),
                     p.PolynomialFeatures(2), p.Binarizer()):
            estimator = pipeline.make_pipeline(
                step, tree.DecisionTreeRegressor(max_depth=6))
            self.compare_all(estimator.fit(x, y), x)

    def test_near(self):
        x, y = DIABETES
        p = preprocessing
        for step in (p.PowerTransformer(), p.FunctionTransformer(np.exp),
                     p.QuantileTransformer(n_quantiles=20,
                                           output_distribution="normal"),
                     decomposition.PCA(4, whiten=True),
                     p.Normalizer()):
            estimator = pipeline.make_pipeline(step, linear_model.Ridge())
            self.compare_all(estimator.fit(x, y), x, tolerance=1e-11)


    def test_target(self):
        x, y = DIABETES
        forest = ensemble.RandomForestRegressor(5, max_depth=4)
        for more in (dict(func=np.log1p, inverse_func=np.expm1),
                     dict(transformer=preprocessing.StandardScaler())):
            estimator = compose.TransformedTargetRegressor(forest, **more)
            self.compare_all(estimator.fit(x, y), x, tolerance=1e-15)

    def test_transformer_alone(self):
        x, y = DIABETES
        estimator = pipeline.make_pipeline(preprocessing.StandardScaler(),
                                           preprocessing.PolynomialFeatures())
        self.compare(estimator.fit(x), x, "value", estimator.transform(x))


class Linear(Case):
    def test_regressors(self):
        x, y = DIABETES
        for estimator in (linear_model.LinearRegression(),
                          linear_model.Lasso(0.1), svm.LinearSVR(),
                          neural_network.MLPRegressor(
                              hidden_layer_sizes=(6,), activation="tanh",
                              max_iter=20)):
            self.compare_all(estimator.fit(x, y), x, tolerance=1e-11)

    def test_classifiers(self):
        for x, y in (WINE, CANCER):
            x = preprocessing.StandardScaler().fit_transform(x)
            for estimator in (linear_model.LogisticRegression(),
                              linear_model.RidgeClassifier(), svm.LinearSVC(),
                              linear_model.SGDClassifier(
                                  loss="modified_huber"),
                              neural_network.MLPClassifier((6,), max_iter=20)):
                self.compare_all(estimator.fit(x, y), x, tolerance=1e-11)


def has(package):
    return importlib.util.find_spec(package) is not None


class Boosters(Case):
    """Of other packages, where they are installed, at a pipeline's end."""

    def compare_both(self, regressor, classifier):
        scale = preprocessing.MaxAbsScaler()
        x, y = DIABETES
        estimator = pipeline.make_pipeline(scale, regressor)
        self.compare_all(estimator.fit(x, y), x)
        for x, y in (WINE, CANCER):
            estimator = pipeline.make_pipeline(scale,
                                               base.clone(classifier))
            self.compare_all(estimator.fit(x, y), x)

    @unittest.skipUnless(has("lightgbm"), "no lightgbm")
    def test_lightgbm(self):
        import lightgbm
        more = dict(n_estimators=6, verbose=-1)
        self.compare_both(lightgbm.LGBMRegressor(**more),
                          lightgbm.LGBMClassifier(**more))

    @unittest.skipUnless(has("xgboost"), "no xgboost")
    def test_xgboost(self):
        import xgboost
        self.compare_both(xgboost.XGBRegressor(n_estimators=6),
                          xgboost.XGBClassifier(n_estimators=6))

    @unittest.skipUnless(has("catboost"), "no catboost")
    def test_catboost(self):
        import catboost
        more = dict(iterations=6, verbose=0, allow_writing_files=False)
        self.compare_both(catboost.CatBoostRegressor(**more),
                          catboost.CatBoostClassifier(**more))


class Files(Case):
    def fitted(self, **more):
        return tree.DecisionTreeClassifier(max_depth=3, random_state=0,
                                           **more).fit(*WINE)

    def test_same_bytes(self):
        self.assertEqual(treenail.build(self.fitted()).encode(),
                         treenail.build(self.fitted()).encode())

    @unittest.skipUnless(TREENAIL, "needs $TREENAIL")
    def test_own_form(self):
        """treenail itself writes the file as we do."""
        boosted = ensemble.GradientBoostingRegressor(n_estimators=3)
        estimator = pipeline.make_pipeline(preprocessing.StandardScaler(),
                                           boosted).fit(*DIABETES)
        for e in (self.fitted(), estimator):
            treenail.export(e, self.path)
            again = self.path + ".again.tn"
            subprocess.run([TREENAIL, "opt", self.path, "-o", again],
                           check=True)
            self.assertEqual(parts_of(self.path), parts_of(again))

    def test_odd_names(self):
        names = ['a "quoted"', "back\\slash", "new\nline", "tab\there",
                 "ünï", "\x7f", " "] + [str(i) for i in range(6)]
        estimator = self.fitted()
        treenail.export(estimator, self.path, columns=names)
        if TREENAIL:
            done = subprocess.run([TREENAIL, "opt", self.path],
                                  capture_output=True, encoding="utf-8")
            self.assertEqual(done.returncode, 0, done.stderr)
        for bad in ("", "x" * 5000, "a\0b", "\ud800"):
            with self.assertRaises(ValueError):
                treenail.build(estimator, columns=[bad] + names[1:]).encode()

    def test_labels(self):
        x, y = WINE
        names = np.array(["red", 'the "other"', "blue, dark"])[y]
        estimator = tree.DecisionTreeClassifier(max_depth=3).fit(x, names)
        self.compare(estimator, x, "class", estimator.predict(x))

    def test_not_fitted(self):
        from sklearn.exceptions import NotFittedError
        with self.assertRaises(NotFittedError):
            treenail.export(tree.DecisionTreeClassifier(), self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_not_written(self):
        path = os.path.join(self.path, "folder", "a.tn")
        with self.assertRaises(FileNotFoundError) as caught:
            treenail.export(self.fitted(), path)
        self.assertEqual(caught.exception.filename, path)
        for more in ({"example_input": DIABETES[0]}, {"batch_axis": 1},
                     {"exporter": "dynamo"}):
            with self.assertRaisesRegex(ValueError, "for nets"):
                treenail.export(self.fitted(), self.path, **more)

    def refused(self, estimator, *words, **more):
        with self.assertRaises(TypeError) as caught:
            treenail.export(estimator, self.path, **more)
        for word in words:
            self.assertIn(word, str(caught.exception))
        self.assertFalse(os.path.exists(self.path))

    def test_refusals(self):
        x, y = DIABETES
        self.refused(svm.SVR().fit(x, y), "SVR", "README")
        self.refused(pipeline.make_pipeline(
            preprocessing.FunctionTransformer(lambda x: x),
            linear_model.Ridge()).fit(x, y), "FunctionTransformer", "Python")
        self.refused(ensemble.GradientBoostingRegressor(
            init=linear_model.Ridge()).fit(x, y), "init", "Ridge")
        self.refused(pipeline.make_pipeline(
            preprocessing.SplineTransformer(),
            linear_model.Ridge()).fit(x, y), "SplineTransformer", "transform")

        class Mine(tree.DecisionTreeRegressor):
            pass
        self.refused(Mine().fit(x, y), "Mine", "subclass",
                     "DecisionTreeRegressor")

    def test_refused_strings(self):
        def encoded(values):
            x = np.array(values * 10, dtype=object)[:, np.newaxis]
            return pipeline.make_pipeline(
                preprocessing.OneHotEncoder(),
                linear_model.Ridge()).fit(x, np.arange(len(x)))
        self.refused(encoded(["a", ""]), "OneHotEncoder", "empty string")
        both = preprocessing.OneHotEncoder()
        x = np.array(["a", "b"] * 10, dtype=object)[:, np.newaxis]
        union = pipeline.make_pipeline(
            pipeline.FeatureUnion([("a", both), ("b", "passthrough")]),
            linear_model.Ridge())
        union.fit(np.array([[1.0], [2.0]] * 10), np.arange(20))
        union.steps[0][1].transformer_list[0][1].fit(x)
        self.refused(union, "strings and as numbers")

    def test_columns(self):
        for columns in (["a"], ["a"] * 13):
            with self.assertRaises(ValueError):
                treenail.build(self.fitted(), columns=columns)


if __name__ == "__main__":
    unittest.main()

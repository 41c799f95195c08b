"""Linear models. BLAS sums a dot product in an order of its own, so numbers
agree within a few ulp of the largest term, not to the bit."""
import numpy as np

from .errors import unsupported
from .registry import Prediction, predictor
from .version import sklearn_version


def linear(frame, coef, intercept):
    """The scores: [outputs]."""
    coef = np.atleast_2d(np.asarray(coef.toarray() if hasattr(coef, "toarray")
                                    else coef, dtype=np.float64))
    bias = np.broadcast_to(np.asarray(intercept, np.float64).ravel(),
                           len(coef))
    return frame.module.dense(frame.vector(), coef, bias)


@predictor("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV",
           "ElasticNet", "ElasticNetCV", "Lars", "LarsCV", "LassoLars",
           "LassoLarsCV", "LassoLarsIC", "OrthogonalMatchingPursuit",
           "OrthogonalMatchingPursuitCV", "BayesianRidge", "ARDRegression",
           "HuberRegressor", "QuantileRegressor", "TheilSenRegressor",
           "MultiTaskLasso", "MultiTaskElasticNet", "LinearSVR",
           "SGDRegressor", "PassiveAggressiveRegressor")
def linear_regressor(estimator, frame):
    return Prediction(value=linear(frame, estimator.coef_,
                                   estimator.intercept_))


@predictor("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
def generalised_regressor(estimator, frame):
    raw = linear(frame, estimator.coef_, estimator.intercept_)
    link = type(estimator._base_loss.link).__name__
    if link == "IdentityLink":
        return Prediction(value=raw)
    if link != "LogLink":
        raise unsupported(estimator, f"its link is {link}")
    return Prediction(value=frame.module.map("x0 exp", raw))


def scored(module, raw, classes):
    """The class by scores: the largest, or the sign of the one there is."""
    label = module.argmax(raw) if raw.size > 1 else module.above(raw, 0.0)
    return Prediction(raw=raw, label=label, classes=classes)


def one_vs_rest(module, raw):
    """Each class's own probability, divided by their sum."""
    p = module.sigmoid(raw)
    if raw.size == 1:
        return module.both(p)
    return module.map("x0 x1 div", p, module.reduce("sum", p))


@predictor("RidgeClassifier", "RidgeClassifierCV", "LinearSVC", "Perceptron",
           "PassiveAggressiveClassifier")
def linear_classifier(estimator, frame):
    if getattr(estimator, "_label_binarizer", None) is not None and \
            estimator._label_binarizer.y_type_.startswith("multilabel"):
        raise unsupported(estimator, "it was fitted on several labels",
                          "export one for each label")
    raw = linear(frame, estimator.coef_, estimator.intercept_)
    return scored(frame.module, raw, estimator.classes_)


def is_one_vs_rest(estimator):
    """LogisticRegression's own rule, which lost its argument in 1.8."""
    kind = getattr(estimator, "multi_class", "deprecated")
    n = len(estimator.classes_)
    if kind in ("auto", "deprecated"):
        alone = estimator.solver in ("liblinear", "newton-cholesky") \
            if sklearn_version() < (1, 5) else estimator.solver == "liblinear"
        return n <= 2 or alone
    return kind in ("ovr", "warn")


@predictor("LogisticRegression", "LogisticRegressionCV")
def logistic_regression(estimator, frame):
    module = frame.module
    raw = linear(frame, estimator.coef_, estimator.intercept_)
    p = scored(module, raw, estimator.classes_)
    if is_one_vs_rest(estimator):
        p.probability = one_vs_rest(module, raw)
    elif raw.size == 1:
        p.probability = module.softmax(
            module.concat([module.map("x0 neg", raw), raw]))
    else:
        p.probability = module.softmax(raw)
    return p


@predictor("SGDClassifier")
def sgd_classifier(estimator, frame):
    module = frame.module
    raw = linear(frame, estimator.coef_, estimator.intercept_)
    p = scored(module, raw, estimator.classes_)
    if estimator.loss in ("log_loss", "log"):
        p.probability = one_vs_rest(module, raw)
    elif estimator.loss == "modified_huber" and raw.size == 1:
        p.probability = module.both(hinged(module, raw))
    elif estimator.loss == "modified_huber":
        q = hinged(module, raw)
        total = module.reduce("sum", q)
        even = module.constant(np.full(raw.size, 1.0))
        q = module.map("x1 0 eq x2 x0 where", q, total, even)
        total = module.map(["x0", "0", "eq", raw.size, "x0", "where"], total)
        p.probability = module.map("x0 x1 div", q, total)
    return p


def hinged(module, raw):
    """(clip(x, -1, 1) + 1) / 2"""
    return module.map("-1 x0 max 1 min 1 add 2 div", raw)


@predictor("LinearDiscriminantAnalysis")
def linear_discriminant(estimator, frame):
    module = frame.module
    raw = linear(frame, estimator.coef_, estimator.intercept_)
    p = scored(module, raw, estimator.classes_)
    p.probability = module.both(module.sigmoid(raw)) if raw.size == 1 \
        else module.softmax(raw)
    return p

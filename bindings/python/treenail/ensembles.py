"""Ensembles of any estimators: AdaBoost, bagging, voting, stacking,
calibration, one for each output. Those of trees become one forest."""
import numpy as np

from .errors import name_of, unsupported
from .forest import Forest
from .frame import frame_of, join
from .registry import Prediction, predict, predictor
from .trees import CLASSIFIERS, REGRESSORS, add_tree, node_probabilities
from .version import sklearn_version


def are_all(estimators, names):
    return all(name_of(e) in names and
               type(e).__module__.startswith("sklearn.") for e in estimators)


def added(module, parts):
    """0 + a + b + c..., in this order."""
    total = module.map("0 x0 add", parts[0])
    for part in parts[1:]:
        total = module.map("x0 x1 add", total, part)
    return total


def divided(module, x, divisor):
    return module.map(["x0", float(divisor), "div"], x)


def probability_of(estimator, frame):
    p = predict(estimator, frame).probability
    if p is None:
        raise unsupported(estimator, "it gives no probabilities here")
    return p


def value_of(estimator, frame):
    p = predict(estimator, frame).value
    if p is None:
        raise unsupported(estimator, "it is no regressor")
    return p


# ------------------------------------------------------------------- AdaBoost

def discrete_votes(estimator, label, weight):
    """What a tree says of each class, by the class it predicts."""
    n = estimator.n_classes_
    other = -1 / (n - 1) * weight if sklearn_version() >= (1, 6) else 0.0
    votes = np.full((len(label), n), other)
    votes[np.arange(len(label)), label] = weight
    return votes


def real_votes(estimator, probability):
    """SAMME.R: by the logarithms of the probabilities."""
    n = estimator.n_classes_
    p = np.clip(probability, np.finfo(probability.dtype).eps, None)
    log = np.log(p)
    return (n - 1) * (log - (1.0 / n) * log.sum(axis=1)[:, np.newaxis])


@predictor("AdaBoostClassifier")
def ada_boost_classifier(estimator, frame):
    module, n = frame.module, estimator.n_classes_
    if not are_all(estimator.estimators_, CLASSIFIERS):
        raise unsupported(estimator, "it boosts "
                          f"{name_of(estimator.estimators_[0])}",
                          "only decision trees can be exported")
    is_real = getattr(estimator, "algorithm", "SAMME") == "SAMME.R"
    forest = Forest("f32", n, n)
    for tree, weight in zip(estimator.estimators_,
                            estimator.estimator_weights_):
        p = node_probabilities(tree)
        if is_real:
            votes = real_votes(estimator, p)
        else:
            of_class = np.searchsorted(estimator.classes_, tree.classes_)
            votes = discrete_votes(estimator, of_class[p.argmax(axis=1)],
                                   weight)
        add_tree(forest, tree.tree_, votes)
    raw, leaf = forest.finish(module, frame.vector("f32"),
                              divisor=estimator.estimator_weights_.sum())
    if n == 2:
        raw = module.map("x0 neg x1 add", module.gather(raw, [0]),
                         module.gather(raw, [1]))
        label = module.above(raw, 0.0)
        scores = module.concat([module.map("x0 neg 2 div", raw),
                                module.map("x0 2 div", raw)])
    else:
        label = module.argmax(raw)
        scores = divided(module, raw, n - 1)
    return Prediction(probability=module.softmax(scores), label=label, raw=raw,
                      leaf=leaf, classes=estimator.classes_)


MAX_MEDIAN = 128  # estimators: the work grows with their square


@predictor("AdaBoostRegressor")
def ada_boost_regressor(estimator, frame):
    """The weighted median: the smallest prediction such that it and those below
    weigh half of all. Weights are summed in the order of the estimators, not of
    their predictions: where the sum is half of all but for rounding, the median
    may be the next prediction."""
    module, n = frame.module, len(estimator.estimators_)
    if n > MAX_MEDIAN:
        raise unsupported(estimator, f"a weighted median of {n} estimators",
                          f"use at most {MAX_MEDIAN}")
    leaf = None
    weights = estimator.estimator_weights_[:n]
    if are_all(estimator.estimators_, REGRESSORS):
        forest = Forest("f32", n)
        for k, tree in enumerate(estimator.estimators_):
            add_tree(forest, tree.tree_, tree.tree_.value[:, 0, 0], target=k)
        x, leaf = forest.finish(module, frame.vector("f32"))
    else:
        x = module.concat([value_of(e, frame) for e in estimator.estimators_])
    weight = module.constant(np.zeros(n))
    for k, w in enumerate(weights):
        weight = module.map(["x0", "x2", "x1", "le", float(w), "mul", "add"],
                            weight, x, module.gather(x, [k]))
    half = float(0.5 * np.cumsum(weights)[-1])
    candidates = module.map(["x1", half, "ge", "x0", "inf", "where"], x,
                            weight)
    return Prediction(value=module.reduce("min", candidates), leaf=leaf)


# -------------------------------------------------------------------- bagging

def subset(frame, features):
    if len(features) == len(frame) and (features == np.arange(len(frame))).all():
        return frame
    return frame.take(features)


@predictor("BaggingClassifier")
def bagging_classifier(estimator, frame):
    module, n = frame.module, estimator.n_classes_
    pairs = list(zip(estimator.estimators_, estimator.estimators_features_))
    if are_all(estimator.estimators_, CLASSIFIERS):
        forest = Forest("f32", n, n)
        for tree, features in pairs:
            value = np.zeros((tree.tree_.node_count, n))
            value[:, tree.classes_.astype(int)] = node_probabilities(tree)
            add_tree(forest, tree.tree_, value, features=features)
        p, leaf = forest.finish(module, frame.vector("f32"),
                                divisor=len(pairs))
    else:
        parts = [spread(module, e, probability_of(e, subset(frame, f)), n)
                 for e, f in pairs]
        p, leaf = divided(module, added(module, parts), len(pairs)), None
    return Prediction(probability=p, label=module.argmax(p), leaf=leaf,
                      classes=estimator.classes_)


def spread(module, estimator, p, n):
    """The probabilities of an estimator that has not seen every class."""
    index = estimator.classes_.astype(int)
    if len(index) == n:
        return p
    place = np.full(n, p.size)
    place[index] = np.arange(p.size)
    return module.gather(module.concat([p, module.constant([0.0])]), place)


@predictor("BaggingRegressor")
def bagging_regressor(estimator, frame):
    module = frame.module
    pairs = list(zip(estimator.estimators_, estimator.estimators_features_))
    if are_all(estimator.estimators_, REGRESSORS):
        width = pairs[0][0].n_outputs_
        forest = Forest("f32", width, width)
        for tree, features in pairs:
            add_tree(forest, tree.tree_, tree.tree_.value[:, :, 0],
                     features=features)
        value, leaf = forest.finish(module, frame.vector("f32"),
                                    divisor=len(pairs))
        return Prediction(value=value, leaf=leaf)
    parts = [value_of(e, subset(frame, f)) for e, f in pairs]
    return Prediction(value=divided(module, added(module, parts), len(pairs)))


# --------------------------------------------------------- voting and stacking

def averaged(module, parts, weights):
    if weights is None:
        return divided(module, added(module, parts), len(parts))
    parts = [module.map(["x0", float(w), "mul"], p)
             for p, w in zip(parts, weights)]
    return divided(module, added(module, parts),
                   np.asarray(weights, dtype=np.float64).sum())


def as_number(module, estimator, label):
    """A label, which is an i32, as a double: no op converts one."""
    op = label and label.op
    if label and op.name == "above":
        bound = dict(op.attrs)["bound"]
        return module.map(["x0", bound, "gt"], op.operands[0])
    if label and op.name == "argmax":
        x = op.operands[0]
        number = module.constant(np.arange(x.size))
        return module.reduce("min", module.map(
            "x0 x1 eq x2 inf where", x, module.reduce("max", x), number))
    raise unsupported(estimator, "its class cannot be counted as a vote",
                      "use voting='soft'")


@predictor("VotingRegressor")
def voting_regressor(estimator, frame):
    parts = [value_of(e, frame) for e in estimator.estimators_]
    return Prediction(value=averaged(frame.module, parts,
                                     estimator._weights_not_none))


@predictor("VotingClassifier")
def voting_classifier(estimator, frame):
    module, weights = frame.module, estimator._weights_not_none
    if estimator.voting == "soft":
        parts = [probability_of(e, frame) for e in estimator.estimators_]
        p = averaged(module, parts, weights)
        return Prediction(probability=p, label=module.argmax(p),
                          classes=estimator.classes_)
    numbers = module.constant(np.arange(len(estimator.classes_)))
    votes = []
    for e, w in zip(estimator.estimators_,
                    weights or [1.0] * len(estimator.estimators_)):
        label = as_number(module, e, predict(e, frame).label)
        votes.append(module.map(["x0", "x1", "eq", float(w), "mul"], numbers,
                                label))
    return Prediction(label=module.argmax(added(module, votes)),
                      classes=estimator.classes_)


def stacked(estimator, frame):
    """What the final estimator sees."""
    module = frame.module
    parts = []
    for e, method in zip(estimator.estimators_, estimator.stack_method_):
        p = predict(e, frame)
        x = {"predict_proba": p.probability, "decision_function": p.raw,
             "predict": p.value}[method]
        if x is None or p.several:
            raise unsupported(estimator, f"the {method} of {name_of(e)} has "
                              "no numbers to stack")
        if method == "predict_proba" and x.size == 2:
            x = module.gather(x, [1])
        parts.append(frame_of(module, x))
    if estimator.passthrough:
        parts.append(frame)
    return join(module, parts)


@predictor("StackingClassifier")
def stacking_classifier(estimator, frame):
    p = predict(estimator.final_estimator_, stacked(estimator, frame))
    return Prediction(probability=p.probability, label=p.label, raw=p.raw,
                      classes=estimator.classes_)


@predictor("StackingRegressor")
def stacking_regressor(estimator, frame):
    return Prediction(value=value_of(estimator.final_estimator_,
                                     stacked(estimator, frame)))


# ------------------------------------------------------------ other ensembles

@predictor("MultiOutputRegressor")
def multi_output_regressor(estimator, frame):
    parts = [value_of(e, frame) for e in estimator.estimators_]
    return Prediction(value=frame.module.concat(parts))


@predictor("MultiOutputClassifier")
def multi_output_classifier(estimator, frame):
    several = [predict(e, frame) for e in estimator.estimators_]
    parts = [p.probability for p in several]
    return Prediction(several=several, probability=None if None in parts
                      else frame.module.concat(parts))


def scores_to_calibrate(estimator, frame):
    p = predict(estimator, frame)
    if p.raw is not None:
        return p.raw
    if p.probability is None:
        raise unsupported(estimator, "it gives no scores to calibrate")
    if p.probability.size == 2:
        return frame.module.gather(p.probability, [1])
    return p.probability


def apply_calibrator(module, calibrator, x):
    kind = name_of(calibrator)
    if kind == "_SigmoidCalibration":
        a, b = float(calibrator.a_), float(calibrator.b_)
        return module.map(["1", "1", a, "x0", "mul", b, "add", "exp", "add",
                           "div"], x)
    if kind == "IsotonicRegression":
        xs, ys = calibrator.X_thresholds_, calibrator.y_thresholds_
        x = module.map([float(calibrator.X_min_), "x0", "max"], x)
        x = module.map([float(calibrator.X_max_), "x0", "min"], x)
        if len(xs) == 1:
            return module.map(["x0", "0", "mul", float(ys[0]), "add"], x)
        return module.interp(x, xs, ys)
    raise unsupported("CalibratedClassifierCV", f"it calibrates by {kind}",
                      "use method='sigmoid' or 'isotonic'")


def calibrate_one(classifier, frame, n):
    module = frame.module
    if getattr(classifier, "method", "sigmoid") not in ("sigmoid", "isotonic"):
        raise unsupported("CalibratedClassifierCV",
                          f"its method is {classifier.method!r}",
                          "use method='sigmoid' or 'isotonic'")
    x = scores_to_calibrate(classifier.estimator, frame)
    parts = [apply_calibrator(module, c, module.gather(x, [k]))
             for k, c in enumerate(classifier.calibrators)]
    if n == 2:
        p = module.both(parts[0])
    else:
        p = module.concat(parts)
        total = module.reduce("sum", p)
        p = module.map(["x1", "0", "eq", 1 / n, "x0", "x1", "div", "where"],
                       p, total)
    return module.map(["x0", "1", "gt", "x0", 1.0 + 1e-5, "le", "mul", "1",
                       "x0", "where"], p)


@predictor("CalibratedClassifierCV")
def calibrated_classifier(estimator, frame):
    module, n = frame.module, len(estimator.classes_)
    for c in estimator.calibrated_classifiers_:
        if len(c.estimator.classes_) != n:
            raise unsupported(estimator, "one of its classifiers has not seen "
                              "every class")
    parts = [calibrate_one(c, frame, n)
             for c in estimator.calibrated_classifiers_]
    p = divided(module, added(module, parts), len(parts))
    return Prediction(probability=p, label=module.argmax(p),
                      classes=estimator.classes_)

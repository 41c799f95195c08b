"""LightGBM's, XGBoost's and CatBoost's estimators for scikit-learn, so that
they can end a pipeline. A bare booster needs none of this: `treenail compile`
reads what the frameworks themselves save.

Read from what the framework writes of its model (text or JSON), after the same
rules as frontend/. What that cannot express is refused.
"""
import json

import numpy as np

from .errors import unsupported
from .forest import MISSING_LEFT, Forest
from .registry import Prediction, predictor

ZERO_MISSING = 2


# ------------------------------------------------------------------- LightGBM

ZERO = float(np.float32(1e-35))  # LightGBM makes 0 of what is no larger


def blocks_of(text):
    """The header, then each tree, as {key: text}."""
    text = text.split("\nend of trees")[0]
    parts = text.split("\nTree=")
    return [dict(line.split("=", 1) for line in part.split("\n")
                 if "=" in line) for part in parts]


def numbers(block, key, dtype):
    return np.array(block.get(key, "").split(), dtype=dtype)


def thresholds_seen(threshold):
    """What answers for v as LightGBM does for v with small ones made 0."""
    near = (threshold >= -ZERO) & (threshold < ZERO)
    return np.where(near, np.where(threshold >= 0, ZERO,
                                   np.nextafter(-ZERO, -np.inf)), threshold)


def bit_members(words):
    return [32 * i + b for i, w in enumerate(words) for b in range(32)
            if int(w) >> b & 1]


def add_lightgbm_tree(estimator, forest, block, target):
    if block.get("is_linear", "0") != "0":
        raise unsupported(estimator, "it has linear trees",
                          "save its booster_ as text and compile that")
    value = numbers(block, "leaf_value", np.float64)
    n = len(value) - 1
    feature = numbers(block, "split_feature", np.int64)
    threshold = numbers(block, "threshold", np.float64)
    decision = numbers(block, "decision_type", np.int64)
    if not len(decision):
        decision = np.zeros(n, np.int64)
    boundary = numbers(block, "cat_boundaries", np.int64)
    words = numbers(block, "cat_threshold", np.uint32)
    sets = {}
    for i in np.flatnonzero(decision & 1):
        s = int(threshold[i])
        sets[i] = bit_members(words[boundary[s]:boundary[s + 1]]), 0
    missing, left = decision >> 2 & 3, decision >> 1 & 1
    flags = np.where(missing == 0, threshold >= 0,
                     left + ZERO_MISSING * (missing == 1))
    flags = np.where(decision & 1, 0, flags)
    child = [np.append(np.where(c < 0, n - 1 - c, c), np.zeros(n + 1, int))
             for c in (numbers(block, "left_child", np.int64),
                       numbers(block, "right_child", np.int64))]
    pad = np.zeros(n + 1, int)
    forest.add(np.append(feature, pad),
               np.append(thresholds_seen(threshold), pad), *child,
               np.append(np.zeros(n), value),
               is_leaf=np.append(np.zeros(n), pad + 1),
               flags=np.append(flags, pad), sets=sets, target=target,
               leaf_id=np.append(np.zeros(n, int), np.arange(n + 1)),
               cover=np.append(numbers(block, "internal_count", np.float64),
                               numbers(block, "leaf_count", np.float64)))
    return bool((flags & ZERO_MISSING).any())


def objective_of(header):
    words = header.get("objective", "none").split()
    settings = dict(w.split(":", 1) for w in words[1:] if ":" in w)
    return words[0], settings, words


def lightgbm_value(module, estimator, header, raw):
    name, settings, words = objective_of(header)
    if name in ("binary", "multiclassova"):
        return module.sigmoid(raw, float(settings.get("sigmoid", "1")))
    if name in ("cross_entropy", "xentropy"):
        return module.sigmoid(raw)
    if name in ("multiclass", "softmax"):
        return module.softmax(raw)
    if name in ("poisson", "gamma", "tweedie"):
        return module.map("x0 exp", raw)
    if name in ("cross_entropy_lambda", "xentlambda"):
        return module.map("x0 exp log1p", raw)
    if "sqrt" in words and name not in ("huber", "lambdarank"):
        return module.map("x0 sign x0 mul x0 mul", raw)
    return raw


def lightgbm(estimator, frame):
    module = frame.module
    header, *trees = blocks_of(estimator.booster_.model_to_string())
    if estimator.booster_.pandas_categorical:
        raise unsupported(estimator, "it was fitted on pandas categories",
                          "save its booster_ as text and compile that")
    n = int(header.get("num_tree_per_iteration", header["num_class"]))
    forest = Forest("f64", n)
    has_zero = [add_lightgbm_tree(estimator, forest, t, i % n)
                for i, t in enumerate(trees)]
    raw, leaf = forest.finish(module, frame.vector(),
                              zero_bound=ZERO if any(has_zero) else None)
    score = raw
    if "average_output" in estimator.booster_.model_to_string().split(
            "\nTree=")[0].split("\n"):
        score = module.map(["x0", float(len(trees) // n), "div"], raw)
    return Prediction(value=lightgbm_value(module, estimator, header, score),
                      raw=raw, leaf=leaf)


@predictor("LGBMRegressor", "LGBMRanker", package="lightgbm")
def lightgbm_regressor(estimator, frame):
    return lightgbm(estimator, frame)


@predictor("LGBMClassifier", package="lightgbm")
def lightgbm_classifier(estimator, frame):
    module, p = frame.module, lightgbm(estimator, frame)
    p.probability = p.value if p.value.size > 1 else module.both(p.value)
    p.label, p.value = module.argmax(p.probability), None
    p.classes = estimator.classes_
    return p


# -------------------------------------------------------------------- XGBoost

def add_xgboost_tree(estimator, forest, tree, target):
    if any(tree.get("split_type", [])):
        raise unsupported(estimator, "it splits on categories",
                          "save it as JSON and compile that")
    left = np.array(tree["left_children"])
    right = np.array(tree["right_children"])
    value = np.array(tree["split_conditions"], dtype=np.float32)
    flags = np.where(np.array(tree["default_left"]), MISSING_LEFT, 0)
    is_leaf = left < 0
    forest.add(np.where(is_leaf, 0, tree["split_indices"]), value, left,
               right, value, is_leaf=is_leaf, flags=flags, target=target,
               cover=tree["sum_hessian"])


LINKS = {"reg:squarederror": "identity", "reg:absoluteerror": "identity",
         "reg:pseudohubererror": "identity", "rank:pairwise": "identity",
         "rank:ndcg": "identity", "rank:map": "identity",
         "reg:quantileerror": "identity",
         "binary:logistic": "sigmoid", "reg:logistic": "sigmoid",
         "multi:softprob": "softmax", "multi:softmax": "softmax",
         "count:poisson": "exp", "reg:gamma": "exp", "reg:tweedie": "exp"}


def xgboost_base(text, link, n):
    """The margins that trees are added to: base_score is in output space."""
    base = np.array(json.loads(text) if text.startswith("[") else [text],
                    dtype=np.float32).ravel()
    one = np.float32(1)
    with np.errstate(divide="ignore"):  # logf, as that of f64, rounded
        if link == "sigmoid":
            base = -np.log((one / base - one).astype(np.float64))
        elif link == "exp":
            base = np.log(base.astype(np.float64))
    return np.broadcast_to(base.astype(np.float32), n)


def xgboost(estimator, frame):
    module = frame.module
    booster = estimator.get_booster()
    best = getattr(estimator, "best_iteration", None) \
        if hasattr(estimator, "early_stopping_rounds") and \
        estimator.early_stopping_rounds else None
    if best is not None:
        booster = booster[:best + 1]
    learner = json.loads(booster.save_raw("json"))["learner"]
    gradient = learner["gradient_booster"]
    objective = learner["objective"]["name"]
    link = LINKS.get(objective)
    if gradient.get("name") != "gbtree" or "weight_drop" in gradient or \
            "weight_drop" in gradient["model"] or link is None:
        raise unsupported(
            estimator, f"booster {gradient.get('name')!r} with objective "
            f"{objective!r}", "save it as JSON and compile that")
    if not np.isnan(getattr(estimator, "missing", np.nan)):
        raise unsupported(estimator, "its missing is not NaN")
    model = gradient["model"]
    n = max(1, int(learner["learner_model_param"]["num_class"]),
            int(learner["learner_model_param"].get("num_target", 1)))
    forest = Forest("f32", n, sums="f32", compare="lt")
    for tree, target in zip(model["trees"], model["tree_info"]):
        if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
            raise unsupported(estimator, "its leaves are vectors",
                              "save it as JSON and compile that")
        add_xgboost_tree(estimator, forest, tree, target)
    base = xgboost_base(learner["learner_model_param"]["base_score"], link, n)
    raw, leaf = forest.finish(module, frame.vector("f32"), base=base)
    if link == "sigmoid":
        value = module.map("1 x0 neg 88.7 min exp 1 add 1e-16 add div", raw)
    elif link == "exp":
        value = module.map("x0 exp", raw)
    elif link == "softmax":
        value = module.one("softmax", [raw], [("sum_dtype", "f64")],
                           ("f32", n))
    else:
        value = raw
    return Prediction(value=value, raw=raw, leaf=leaf)


@predictor("XGBRegressor", "XGBRFRegressor", "XGBRanker", package="xgboost")
def xgboost_regressor(estimator, frame):
    return xgboost(estimator, frame)


@predictor("XGBClassifier", "XGBRFClassifier", package="xgboost")
def xgboost_classifier(estimator, frame):
    module, p = frame.module, xgboost(estimator, frame)
    if p.value.size > 1:
        p.probability, p.label = p.value, module.argmax(p.value)
    else:
        p.probability = module.both(p.value)
        p.label = module.above(p.value, 0.5)
    p.classes, p.value = estimator.classes_, None
    return p


# ------------------------------------------------------------------- CatBoost

def catboost_json(estimator):
    import os
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.json")
        estimator.save_model(path, format="json")
        with open(path) as file:
            return json.load(file)


def add_oblivious_tree(estimator, forest, tree, features, width):
    """Split d is bit d of the leaf's number; the last one is the root here."""
    depth = len(tree["splits"])
    inner, leaves = 2 ** depth - 1, 2 ** depth
    feature = np.zeros(inner + leaves, int)
    threshold = np.zeros(inner + leaves)
    flags = np.zeros(inner + leaves, int)
    node = np.arange(inner)
    for level in range(depth):
        split = tree["splits"][depth - 1 - level]
        if split.get("split_type") != "FloatFeature":
            raise unsupported(estimator, "it splits on categories",
                              "save it as JSON and compile that")
        here = slice(2 ** level - 1, 2 ** (level + 1) - 1)
        index, treatment = features[split["float_feature_index"]]
        feature[here], threshold[here] = index, split["border"]
        flags[here] = 0 if treatment == "AsTrue" else MISSING_LEFT
    pad = np.zeros(leaves, int)
    value = np.array(tree["leaf_values"]).reshape(leaves, width)
    forest.add(feature, threshold, np.append(2 * node + 1, pad),
               np.append(2 * node + 2, pad),
               np.append(np.zeros((inner, width)), value, axis=0),
               is_leaf=np.append(np.zeros(inner), pad + 1), flags=flags,
               leaf_id=np.append(np.zeros(inner, int), np.arange(leaves)))


def catboost(estimator, frame):
    module, model = frame.module, catboost_json(estimator)
    info = model["features_info"]
    if info.get("categorical_features") or "oblivious_trees" not in model:
        raise unsupported(estimator, "it has categories, or trees that are "
                          "not oblivious", "save it as JSON and compile that")
    features = {f["feature_index"]: (f["flat_feature_index"],
                                     f["nan_value_treatment"])
                for f in info["float_features"]}
    scale, bias = model["scale_and_bias"]
    bias = np.atleast_1d(np.asarray(bias, np.float64))
    width = len(bias)
    forest = Forest("f32", width, width)
    for tree in model["oblivious_trees"]:
        add_oblivious_tree(estimator, forest, tree, features, width)
    raw, leaf = forest.finish(module, frame.vector("f32"))
    raw = module.map(["x0", float(scale), "mul", "x1", "add"], raw,
                     module.constant(bias))
    return Prediction(value=raw, raw=raw, leaf=leaf)


@predictor("CatBoostRegressor", package="catboost")
def catboost_regressor(estimator, frame):
    loss = str(estimator.get_all_params().get("loss_function")).split(":")[0]
    p = catboost(estimator, frame)
    if loss in ("Poisson", "Tweedie"):
        p.value = frame.module.map("x0 exp", p.raw)
    elif loss not in ("RMSE", "MAE", "Quantile", "MAPE", "Huber", "LogCosh",
                      "MultiRMSE", "Lq", "Expectile"):
        raise unsupported(estimator, f"its loss_function is {loss}")
    return p


@predictor("CatBoostClassifier", package="catboost")
def catboost_classifier(estimator, frame):
    module = frame.module
    loss = str(estimator.get_all_params().get("loss_function")).split(":")[0]
    p = catboost(estimator, frame)
    p.value, p.classes = None, np.asarray(estimator.classes_)
    if loss in ("Logloss", "CrossEntropy"):
        p.probability = module.both(module.sigmoid(p.raw))
        p.label = module.above(p.raw, 0.0)
    elif loss == "MultiClass":
        p.probability = module.softmax(p.raw)
        p.label = module.argmax(p.raw)
    else:
        raise unsupported(estimator, f"its loss_function is {loss}")
    return p

"""What puts estimators together: pipelines, column transformers, searches."""
import numpy as np

from .errors import unsupported
from .frame import frame_of, join
from .registry import Prediction, predict, predictor, transform, transformer


@predictor("Pipeline")
def pipeline(estimator, frame):
    for _, step in estimator.steps[:-1]:
        frame = transform(step, frame)
    return predict(estimator.steps[-1][1], frame)


@transformer("Pipeline")
def pipeline_transform(estimator, frame):
    for _, step in estimator.steps:
        frame = transform(step, frame)
    return frame


@predictor("RFE", "RFECV")
def reduced(estimator, frame):
    return predict(estimator.estimator_,
                   frame.take(np.flatnonzero(estimator.support_)))


@predictor("GridSearchCV", "RandomizedSearchCV", "HalvingGridSearchCV",
           "HalvingRandomSearchCV")
def search(estimator, frame):
    return predict(estimator.best_estimator_, frame)


@predictor("FrozenEstimator")
def frozen(estimator, frame):
    return predict(estimator.estimator, frame)


@transformer("FrozenEstimator")
def frozen_transform(estimator, frame):
    return transform(estimator.estimator, frame)


def weighted(frame, weight):
    if weight is None:
        return frame
    module = frame.module
    return frame_of(module, module.map(["x0", weight, "mul"], frame.vector()))


@transformer("ColumnTransformer")
def column_transformer(estimator, frame):
    index = estimator._transformer_to_input_indices
    weights = estimator.transformer_weights or {}
    parts = []
    for name, step, _ in estimator.transformers_:
        chosen = list(index[name])
        if (isinstance(step, str) and step == "drop") or not chosen:
            continue
        part = transform(step, frame.take(chosen))
        parts.append(weighted(part, weights.get(name)))
    return join(frame.module, parts)


@transformer("FeatureUnion")
def feature_union(estimator, frame):
    weights = estimator.transformer_weights or {}
    parts = [weighted(transform(step, frame), weights.get(name))
             for name, step in estimator.transformer_list if step != "drop"]
    return join(frame.module, parts)


FUNCTIONS = {np.abs: "abs", np.exp: "exp", np.expm1: "expm1", np.log: "log",
             np.log1p: "log1p", np.sqrt: "sqrt", np.tanh: "tanh",
             np.floor: "floor", np.rint: "rint", np.negative: "neg"}


def applied(module, estimator, function, arguments, x):
    if function is None:
        return x
    if not isinstance(function, np.ufunc) or function not in FUNCTIONS or \
            arguments:
        raise unsupported(estimator, "its function is Python code",
                          "some functions of numpy itself can be exported: " +
                          ", ".join(f.__name__ for f in FUNCTIONS))
    return module.map(f"x0 {FUNCTIONS[function]}", x)


@transformer("FunctionTransformer")
def function_transformer(estimator, frame):
    if estimator.func is None:
        return frame
    x = applied(frame.module, estimator, estimator.func, estimator.kw_args,
                frame.vector())
    return frame_of(frame.module, x)


def target_restored(module, estimator, y):
    """What a regressor predicts, by the inverse of what its target became."""
    if type(estimator).__name__ == "FunctionTransformer":
        return applied(module, estimator, estimator.inverse_func,
                       estimator.inv_kw_args, y)
    if type(estimator).__name__ == "StandardScaler":
        if estimator.with_std:
            y = module.map("x0 x1 mul", y, module.constant(estimator.scale_))
        if estimator.with_mean:
            y = module.map("x0 x1 add", y, module.constant(estimator.mean_))
        return y
    if type(estimator).__name__ == "MinMaxScaler":
        y = module.map("x0 x1 sub", y, module.constant(estimator.min_))
        return module.map("x0 x1 div", y, module.constant(estimator.scale_))
    raise unsupported("TransformedTargetRegressor", "its transformer is "
                      f"{type(estimator).__name__}",
                      "use StandardScaler, MinMaxScaler or a function of "
                      "numpy")


@predictor("TransformedTargetRegressor")
def transformed_target(estimator, frame):
    p = predict(estimator.regressor_, frame)
    return Prediction(value=target_restored(
        frame.module, estimator.transformer_, p.value))

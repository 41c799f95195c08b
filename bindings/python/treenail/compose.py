"""What puts estimators together: pipelines, column transformers, searches."""
from .errors import unsupported
from .frame import frame_of, join
from .registry import predict, predictor, transform, transformer


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


@transformer("FunctionTransformer")
def function_transformer(estimator, frame):
    if estimator.func is not None:
        raise unsupported(estimator, "its function is Python code",
                          "only func=None, which changes nothing, can be "
                          "exported")
    return frame

"""Multi-layer perceptrons, in f64. As in linear.py, dot products are summed in
another order than BLAS's."""
import numpy as np

from .errors import unsupported
from .registry import Prediction, predictor


def activated(module, kind, x):
    if kind == "identity":
        return x
    if kind == "relu":
        return module.map("0 x0 max", x)
    if kind == "tanh":
        return module.map("x0 tanh", x)
    if kind == "logistic":
        return module.sigmoid(x)
    if kind == "exp":
        return module.map("x0 exp", x)
    if kind == "softmax":
        return module.softmax(x)
    raise unsupported("a multi-layer perceptron", f"its activation is {kind}")


def forward(estimator, frame):
    module, x = frame.module, frame.vector()
    last = len(estimator.coefs_) - 1
    for i, (w, b) in enumerate(zip(estimator.coefs_, estimator.intercepts_)):
        kind = estimator.activation if i < last else estimator.out_activation_
        x = activated(module, kind, module.dense(x, w.T, b))
    return x


@predictor("MLPRegressor")
def mlp_regressor(estimator, frame):
    return Prediction(value=forward(estimator, frame))


@predictor("MLPClassifier")
def mlp_classifier(estimator, frame):
    module = frame.module
    x = forward(estimator, frame)
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        several = [Prediction(label=module.above(module.gather(x, [k]), 0.5),
                              classes=np.array([0, 1]))
                   for k in range(x.size)]
        return Prediction(several=several, probability=x)
    if x.size > 1:
        return Prediction(probability=x, label=module.argmax(x),
                          classes=estimator.classes_)
    return Prediction(probability=module.both(x), label=module.above(x, 0.5),
                      classes=estimator.classes_)

"""Which function exports which class, and what such a function gives.

Classes are looked up by package and name, so that nothing has to be imported
that the user's model does not need, and exactly: a subclass may compute
something else.
"""
from .errors import name_of, unsupported

predictors, transformers = {}, {}


class Prediction:
    """What a predictor answers, as IR values; what it lacks is None.

    value: predict() of a regressor. label: predict() of a classifier, as the
    index of the class, i32[1]. probability, raw: predict_proba and
    decision_function. leaf: the leaf of each tree. classes: of the classifier.
    several: for classifiers with several outputs, a Prediction of each."""

    def __init__(self, value=None, probability=None, label=None, raw=None,
                 leaf=None, classes=None, several=None, more=None):
        self.value, self.probability, self.raw = value, probability, raw
        self.label, self.leaf, self.classes = label, leaf, classes
        self.several, self.more = several, more or {}


def predictor(*names, package="sklearn"):
    """f(estimator, frame) -> Prediction."""
    def register(function):
        predictors.update({(package, name): function for name in names})
        return function
    return register


def transformer(*names, package="sklearn"):
    """f(estimator, frame) -> Frame."""
    def register(function):
        transformers.update({(package, name): function for name in names})
        return function
    return register


def key_of(estimator):
    kind = type(estimator)
    return kind.__module__.split(".")[0], kind.__name__


def can_predict(estimator):
    return key_of(estimator) in predictors


def predict(estimator, frame):
    function = predictors.get(key_of(estimator))
    if function is None:
        raise unsupported(estimator, refusal(estimator, "predict"),
                          remedy(estimator))
    return function(estimator, frame)


def transform(estimator, frame):
    if estimator is None or estimator == "passthrough":
        return frame
    function = transformers.get(key_of(estimator))
    if function is None:
        raise unsupported(estimator, refusal(estimator, "transform"),
                          remedy(estimator))
    return function(estimator, frame)


def refusal(estimator, verb):
    kind = type(estimator)
    table = predictors if verb == "predict" else transformers
    for base in kind.__mro__[1:]:
        if (base.__module__.split(".")[0], base.__name__) in table:
            return (f"{kind.__module__}.{name_of(estimator)} is a subclass of "
                    f"{base.__name__} and may compute something else")
    return (f"{kind.__module__}.{name_of(estimator)} is not among the "
            f"estimators whose {verb} can be exported")


def remedy(estimator):
    if any(b.__module__.startswith("sklearn.")
           for b in type(estimator).__mro__[1:]):
        return "see bindings/python/README.md for the list"
    return "scikit-learn estimators are expected"

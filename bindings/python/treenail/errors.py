"""The one way to say no: by the estimator's name, the reason and what to do."""


class UnsupportedError(TypeError, ValueError):
    """The estimator, or one of its settings, cannot be exported exactly."""


def name_of(estimator):
    if isinstance(estimator, str):
        return estimator
    return type(estimator).__name__


def unsupported(estimator, reason="it is not supported", remedy=None):
    text = f"treenail cannot export {name_of(estimator)}: {reason}"
    return UnsupportedError(text + (f"; {remedy}" if remedy else ""))

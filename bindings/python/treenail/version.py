"""Which scikit-learn answers here: its rules changed between versions."""


def sklearn_version():
    """As numbers: (1, 4)."""
    import sklearn
    return tuple(int(part) for part in sklearn.__version__.split(".")[:2])

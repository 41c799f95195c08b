"""Trees of scikit-learn and what is made of them alone: decision trees,
forests, gradient boosting, isolation forests.

Rows are cast to f32 by all but HistGradientBoosting; thresholds are f64, which
are rounded down to f32. Sums are in f64 and in the order of one thread
(n_jobs=1): with more, scikit-learn's own order varies from run to run.
"""
import numpy as np

from .errors import unsupported
from .forest import EXACT, FLOOR, MISSING_LEFT, Forest
from .frame import category_keys
from .registry import Prediction, predictor
from .version import sklearn_version

CLASSIFIERS = ("DecisionTreeClassifier", "ExtraTreeClassifier")
REGRESSORS = ("DecisionTreeRegressor", "ExtraTreeRegressor")


# --------------------------------------------------------------- single trees

def add_tree(forest, tree, value, *, features=None, missing=True, target=0):
    """Adds a sklearn.tree._tree.Tree with these values of its nodes.
    features: the forest's feature for each of the tree's."""
    flags = None
    if missing and hasattr(tree, "missing_go_to_left"):
        flags = np.where(tree.missing_go_to_left, MISSING_LEFT, 0)
    is_leaf = tree.children_left < 0
    feature = np.where(is_leaf, 0, tree.feature)
    if features is not None:
        feature = np.asarray(features)[feature]
    forest.add(feature, tree.threshold, tree.children_left,
               tree.children_right, value, is_leaf=is_leaf, flags=flags,
               target=target, cover=tree.weighted_n_node_samples)


def class_counts(estimator):
    """How many classes each output of a tree or forest has."""
    return [int(n) for n in np.atleast_1d(estimator.n_classes_)]


def class_lists(estimator):
    if estimator.n_outputs_ == 1:
        return [estimator.classes_]
    return list(estimator.classes_)


def node_probabilities(estimator):
    """predict_proba of each node of a tree, output after output."""
    tree = estimator.tree_
    parts = []
    for k, n in enumerate(class_counts(estimator)):
        value = tree.value[:, k, :n].copy()
        if sklearn_version() < (1, 4):  # counts, made fractions at predict
            total = value.sum(axis=1)[:, np.newaxis]
            total[total == 0.0] = 1.0
            value /= total
        parts.append(value)
    return np.concatenate(parts, axis=1)


def split_classes(module, probability, classes):
    """Predictions of outputs whose probabilities stand end to end."""
    several = []
    at = 0
    for names in classes:
        part = module.gather(probability, np.arange(at, at + len(names)))
        several.append(Prediction(probability=part, classes=names,
                                  label=module.argmax(part)))
        at += len(names)
    return several


def classified(module, probability, classes, leaf):
    several = split_classes(module, probability, classes)
    if len(several) == 1:
        several[0].leaf = leaf
        return several[0]
    return Prediction(several=several, probability=probability, leaf=leaf)


def classify_trees(estimator, trees, frame, divisor):
    counts = class_counts(estimator)
    forest = Forest("f32", sum(counts), sum(counts))
    for tree in trees:
        add_tree(forest, tree.tree_, node_probabilities(tree))
    margin, leaf = forest.finish(frame.module, frame.vector("f32"),
                                 divisor=divisor)
    return classified(frame.module, margin, class_lists(estimator), leaf)


def regress_trees(estimator, trees, frame, divisor):
    width = estimator.n_outputs_
    forest = Forest("f32", width, width)
    for tree in trees:
        add_tree(forest, tree.tree_, tree.tree_.value[:, :, 0])
    margin, leaf = forest.finish(frame.module, frame.vector("f32"),
                                 divisor=divisor)
    return Prediction(value=margin, leaf=leaf)


@predictor(*CLASSIFIERS)
def tree_classifier(estimator, frame):
    return classify_trees(estimator, [estimator], frame, 1)


@predictor(*REGRESSORS)
def tree_regressor(estimator, frame):
    return regress_trees(estimator, [estimator], frame, 1)


@predictor("RandomForestClassifier", "ExtraTreesClassifier")
def forest_classifier(estimator, frame):
    trees = estimator.estimators_
    return classify_trees(estimator, trees, frame, len(trees))


@predictor("RandomForestRegressor", "ExtraTreesRegressor")
def forest_regressor(estimator, frame):
    trees = estimator.estimators_
    return regress_trees(estimator, trees, frame, len(trees))


# ---------------------------------------------------------- gradient boosting

def boosted_margins(estimator, frame):
    """GradientBoosting's: the initial prediction, then learning_rate * value
    tree by tree."""
    if estimator.init_ != "zero" and \
            type(estimator.init_).__name__ not in ("DummyClassifier",
                                                   "DummyRegressor"):
        raise unsupported(estimator, "its init is an estimator of its own, "
                          f"{type(estimator.init_).__name__}",
                          "use init=None or 'zero'")
    row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    base = estimator._raw_predict_init(row).ravel()
    forest = Forest("f32", len(base))
    for stage in estimator.estimators_:
        for k, tree in enumerate(stage):
            value = estimator.learning_rate * tree.tree_.value[:, 0, 0]
            add_tree(forest, tree.tree_, value, missing=False, target=k)
    return forest.finish(frame.module, frame.vector("f32"), base=base)


@predictor("GradientBoostingRegressor")
def boosting_regressor(estimator, frame):
    margin, leaf = boosted_margins(estimator, frame)
    return Prediction(value=margin, leaf=leaf)


def by_logsumexp(module, x):
    """Softmax as it was before 1.4: exp(x - log(sum(exp(x))))."""
    top = module.reduce("max", x)
    total = module.reduce("sum", module.map("x0 x1 sub exp", x, top))
    return module.map("x0 x1 x2 log add sub exp", x, top, total)


@predictor("GradientBoostingClassifier")
def boosting_classifier(estimator, frame):
    module = frame.module
    raw, leaf = boosted_margins(estimator, frame)
    if raw.size > 1 and sklearn_version() < (1, 4):
        probability = by_logsumexp(module, raw)
        label = module.argmax(probability)
    elif raw.size > 1:
        probability = module.softmax(raw)
        label = module.argmax(raw)
    else:
        alpha = 2.0 if estimator.loss == "exponential" else 1.0
        probability = module.both(module.sigmoid(raw, alpha))
        if estimator.loss == "exponential" or sklearn_version() >= (1, 4):
            label = module.not_below(raw, 0.0)
        else:
            label = module.argmax(probability)
    return Prediction(probability=probability, label=label, raw=raw,
                      leaf=leaf, classes=estimator.classes_)


# ------------------------------------------------------ HistGradientBoosting

MAX_MEMBER = 1 << 16  # of a set of plain numbers


class CategoryCodes:
    """How the categories of one feature are told apart in the row.

    member[c]: the number that stands in the row for scikit-learn's code c.
    lookup: (keys, values) when it has to be looked up first."""

    def __init__(self, keys):
        keys = np.asarray(keys, dtype=np.float64)
        self.flags, self.lookup = EXACT, None
        if ((keys >= 0) & (keys < MAX_MEMBER) & (keys == np.floor(keys))).all():
            self.member = keys.astype(np.int64)
        else:
            self.member = np.arange(len(keys))
            self.lookup = keys, np.arange(len(keys), dtype=np.float64)


class HistFeatures:
    """What stands in the row for each feature of a HistGradientBoosting."""

    def __init__(self, estimator, frame):
        n = len(frame)
        self.source = np.arange(n)  # of each feature of the trees
        self.codes = {}             # by feature: CategoryCodes
        preprocessor = getattr(estimator, "_preprocessor", None)
        if preprocessor is not None:
            self._encoded(estimator, frame, preprocessor)
        self.wraps = preprocessor is None and \
            getattr(estimator, "is_categorical_", None) is not None
        if self.wraps:
            self.is_category = np.asarray(estimator.is_categorical_)

    def _encoded(self, estimator, frame, preprocessor):
        """Since 1.4 an encoder comes first, and puts categories first."""
        chosen = np.asarray(estimator.is_categorical_)
        self.source = np.concatenate([np.flatnonzero(chosen),
                                      np.flatnonzero(~chosen)])
        encoder = preprocessor.named_transformers_["encoder"]
        for f, categories in enumerate(encoder.categories_):
            cell = frame.cells[self.source[f]]
            keys = category_keys(cell, list(categories), estimator)
            self.codes[f] = CategoryCodes([k for k in keys if k == k])

    def vector(self, frame):
        module = frame.module
        for f in range(len(frame)):
            cell = frame.cells[self.source[f]]
            if f not in self.codes and cell.column:
                cell.column.is_number = True
        x = frame.vector("f64", codes=True)
        if self.wraps:
            return self._wrapped(module, x)
        looked_up = {f: c for f, c in self.codes.items() if c.lookup}
        if not looked_up:
            return x
        parts = []
        for i in range(len(frame)):
            part = module.gather(x, [i])
            f = int(np.flatnonzero(self.source == i)[0])
            if f in looked_up:
                part = module.lookup(part, *looked_up[f].lookup, np.nan)
            parts.append(part)
        return module.concat(parts)

    def _wrapped(self, module, x):
        """Before 1.4 a category is cast from a double by way of an int to a
        byte: 256 is category 0 again, and past the ints all are."""
        wraps = module.constant(self.is_category.astype(np.float64))
        return module.map(
            "x1 x0 256 ge mul x0 2147483648 ge 0 x0 floor x0 256 div floor "
            "256 mul sub where x0 where", x, wraps)


def bits(words):
    return {32 * i + b for i, w in enumerate(words) for b in range(32)
            if int(w) >> b & 1}


def hist_sets(predictor_, known, feature_number, features, flags, left, right):
    """The set tests of a tree. What is in neither set goes where missing does;
    so the set is of those on the other side, whose child comes first."""
    sets = {}
    nodes = predictor_.nodes
    for i in np.flatnonzero(nodes["is_categorical"] & ~nodes["is_leaf"]):
        f = int(nodes["feature_idx"][i])
        members = bits(predictor_.raw_left_cat_bitsets[nodes["bitset_idx"][i]])
        more = FLOOR
        if nodes["missing_go_to_left"][i]:
            members = bits(known[feature_number[f]]) - members
            left[i], right[i] = right[i], left[i]
            flags[i] = 0
        if f in features.codes:
            codes = features.codes[f]
            members = {int(codes.member[m]) for m in members
                       if m < len(codes.member)}
            more = codes.flags
        sets[i] = sorted(members), more
    return sets


def hist_margins(estimator, frame):
    features = HistFeatures(estimator, frame)
    known, feature_number = \
        estimator._bin_mapper.make_known_categories_bitsets()
    base = np.asarray(estimator._baseline_prediction, np.float64).ravel()
    forest = Forest("f64", len(base))
    for stage in estimator._predictors:
        for k, tree in enumerate(stage):
            nodes = tree.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            left, right = nodes["left"].copy(), nodes["right"].copy()
            flags = np.where(nodes["missing_go_to_left"], MISSING_LEFT, 0)
            sets = hist_sets(tree, known, feature_number, features, flags,
                             left, right)
            feature = np.where(is_leaf, 0, nodes["feature_idx"])
            forest.add(features.source[feature], nodes["num_threshold"], left,
                       right, nodes["value"], is_leaf=is_leaf, flags=flags,
                       sets=sets, target=k, cover=nodes["count"])
    return forest.finish(frame.module, features.vector(frame), base=base)


@predictor("HistGradientBoostingRegressor")
def hist_regressor(estimator, frame):
    raw, leaf = hist_margins(estimator, frame)
    link = type(estimator._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise unsupported(estimator, f"its loss has the link {link}")
    if link == "IdentityLink":
        return Prediction(value=raw, leaf=leaf)
    return Prediction(value=frame.module.map("x0 exp", raw), raw=raw,
                      leaf=leaf)


@predictor("HistGradientBoostingClassifier")
def hist_classifier(estimator, frame):
    module = frame.module
    raw, leaf = hist_margins(estimator, frame)
    if raw.size > 1:
        probability = module.softmax(raw)
    else:
        probability = module.both(module.sigmoid(raw))
    if sklearn_version() < (1, 5):
        label = module.argmax(probability)
    elif raw.size > 1:
        label = module.argmax(raw)
    else:
        label = module.above(raw, 0.0)
    return Prediction(probability=probability, label=label, raw=raw,
                      leaf=leaf, classes=estimator.classes_)


# ----------------------------------------------------------- isolation forest

def node_depths(tree):
    """The number of nodes on the way to each node."""
    depth = np.ones(tree.node_count)
    for node in range(tree.node_count):  # parents come before children
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depth[child] = depth[node] + 1
    return depth


@predictor("IsolationForest")
def isolation_forest(estimator, frame):
    from sklearn.ensemble._iforest import _average_path_length
    module = frame.module
    forest = Forest("f32", 1)
    for tree, features in zip(estimator.estimators_,
                              estimator.estimators_features_):
        t = tree.tree_
        value = node_depths(t) + _average_path_length(t.n_node_samples) - 1.0
        add_tree(forest, t, value, features=features)
    depth, leaf = forest.finish(module, frame.vector("f32"))
    n = estimator._max_samples if hasattr(estimator, "_max_samples") \
        else estimator.max_samples_
    whole = len(estimator.estimators_) * _average_path_length([n])[0]
    if whole == 0:
        score = module.map("x0 0 mul 0.5 sub", depth)
    else:
        score = module.map(["2", "x0", whole, "div", "neg", "pow", "neg"],
                           depth)
    raw = module.map(["x0", estimator.offset_, "sub"], score)
    return Prediction(label=module.not_below(raw, 0.0), raw=raw, leaf=leaf,
                      classes=np.array([-1, 1]), more={"score": score})

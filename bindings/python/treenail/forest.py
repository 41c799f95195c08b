"""Collects trees and makes the op `trees` of them (docs/ir.md)."""
import numpy as np

from .ir import DTYPES

MISSING_LEFT, CATEGORICAL, FLOOR, EXACT = 1, 4, 8, 16


def round_down(threshold):
    """f64 -> the largest f32 <= it: for every f32 x, x <= t as before."""
    with np.errstate(over="ignore"):
        t = threshold.astype(np.float32)
    above = t.astype(np.float64) > threshold
    t[above] = np.nextafter(t[above], np.float32(-np.inf))
    return t


def set_words(members):
    """The set as words of 32 bits."""
    words = np.zeros(max(members, default=-1) // 32 + 1, dtype=np.uint32)
    for m in members:
        words[m // 32] |= np.uint32(1 << (m % 32))
    return words


class Forest:
    """dtype: of the features; sums: of the leaves and margins; width: values
    of a leaf; compare: "le" or "lt"."""

    def __init__(self, dtype, n_targets, width=1, sums="f64", compare="le"):
        self.dtype, self.n_targets, self.width = dtype, n_targets, width
        self.sums, self.compare = sums, compare
        self.node_count, self.leaf_count = [0], [0]
        self.feature, self.threshold, self.flags = [], [], []
        self.left, self.right = [], []
        self.leaf_value, self.leaf_id, self.target = [], [], []
        self.set, self.words = [], []
        self.node_cover, self.leaf_cover = [], []

    def add(self, feature, threshold, left, right, value, *, is_leaf,
            flags=None, sets=None, target=0, leaf_id=None, cover=None):
        """A tree as arrays over all of its nodes, leaves among them, its root
        first. value: [nodes] or [nodes, width], of which the leaves' count.
        sets: {node: (members, flags)} of the set tests. leaf_id: [nodes], by
        default their numbers. cover: [nodes], how much of the training data
        came to each."""
        is_leaf = np.asarray(is_leaf, dtype=bool)
        inner = ~is_leaf
        number = np.where(is_leaf, -np.cumsum(is_leaf), np.cumsum(inner) - 1)
        left, right = np.asarray(left)[inner], np.asarray(right)[inner]
        threshold = np.asarray(threshold, dtype=np.float64)[inner]
        flags = np.zeros(len(inner)) if flags is None else np.asarray(flags)
        flags = flags.astype(np.uint8)[inner]
        chosen = np.full(inner.sum(), -1, dtype=np.int32)
        for node, (members, more) in (sets or {}).items():
            i = number[node]
            chosen[i] = len(self.words)
            self.words.append(set_words(members))
            flags[i] |= CATEGORICAL | more
            threshold[i] = 0
        self.feature.append(np.asarray(feature)[inner])
        self.threshold.append(round_down(threshold) if self.dtype == "f32"
                              else threshold)
        self.left.append(number[left.astype(np.int64)])
        self.right.append(number[right.astype(np.int64)])
        self.flags.append(flags)
        self.set.append(chosen)
        self.leaf_value.append(np.asarray(value, np.float64)[is_leaf].ravel())
        self.leaf_id.append(np.flatnonzero(is_leaf) if leaf_id is None
                            else np.asarray(leaf_id)[is_leaf])
        if cover is not None:
            cover = np.asarray(cover, dtype=np.float64)
            self.node_cover.append(cover[inner])
            self.leaf_cover.append(cover[is_leaf])
        self.node_count.append(inner.sum())
        self.leaf_count.append(is_leaf.sum())
        self.target.append(target)

    def finish(self, module, x, base=None, divisor=1.0, zero_bound=None):
        """The margins and the leaves' ids."""
        def joined(parts, dtype):
            return np.concatenate(parts).astype(dtype) if parts \
                else np.zeros(0, dtype)

        real = DTYPES[self.dtype]
        sums = DTYPES[self.sums]
        base = np.zeros(self.n_targets) if base is None else base
        start = np.cumsum([0, *map(len, self.words)])
        has_sets = len(self.words) > 0
        covered = len(self.node_cover) == len(self.target)
        attrs = [
            ("compare", self.compare),
            ("tree_start", np.cumsum(self.node_count).astype(np.int32)),
            ("leaf_start", np.cumsum(self.leaf_count).astype(np.int32)),
            ("feature", joined(self.feature, np.int32)),
            ("threshold", joined(self.threshold, real)),
            ("left", joined(self.left, np.int32)),
            ("right", joined(self.right, np.int32)),
            ("flags", joined(self.flags, np.uint8)),
            ("leaf_value", joined(self.leaf_value, sums)),
            ("target", np.asarray(self.target, np.int32)),
            ("base", np.asarray(base, sums).ravel()),
            ("divisor", float(divisor) if divisor != 1 else None),
            ("zero_bound", zero_bound),
            ("set", joined(self.set, np.int32) if has_sets else None),
            ("set_start", start.astype(np.int32) if has_sets else None),
            ("set_words", joined(self.words, np.uint32) if has_sets else None),
            ("leaf_width", self.width if self.width != 1 else None),
            ("leaf_id", joined(self.leaf_id, np.int32)),
            ("cover", joined(self.node_cover + self.leaf_cover, np.float64)
             if covered else None)]
        return module.add("trees", [x], attrs, (self.sums, self.n_targets),
                          ("i32", len(self.target)))

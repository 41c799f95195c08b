#!/usr/bin/env python3
"""Writes a LightGBM text model with one huge tree: make_tree.py SHAPE LEAVES

SHAPE is `chain` (each node has a leaf: as deep as there are nodes), `zigzag`
(the same, the leaf left and right in turn), `bushy` (a random one, some 2 ln
LEAVES deep) or `forest` (bushy trees of 255 leaves, LEAVES in all).
"""
import random
import sys

FEATURES = 20
HEADER = """\
tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx={last}
objective=regression
feature_names={names}
feature_infos={infos}

"""
TREE = """\
Tree={number}
num_leaves={leaves}
num_cat=0
split_feature={feature}
threshold={threshold}
decision_type={decision}
left_child={left}
right_child={right}
leaf_value={value}
is_linear=0
shrinkage=1


"""


class Tree:
    """Nodes as LightGBM's arrays have them; no test follows from another."""

    def __init__(self):
        self.left, self.right, self.feature, self.threshold = [], [], [], []

    def add(self, left, right, feature, threshold):
        self.left.append(left)
        self.right.append(right)
        self.feature.append(feature)
        self.threshold.append(threshold)


def chain(n, zigzag):
    """Node i has leaf i and node i + 1; the last node has two leaves."""
    tree = Tree()
    for i in range(n - 1):
        leaf, other = ~i, i + 1 if i + 1 < n - 1 else ~(n - 1)
        below = 4 * (i + 1) / n # grows: what is above it is still to be cut
        if zigzag and i % 2:
            tree.add(other, leaf, i // 2 % FEATURES, 4 - below)
        elif zigzag:
            tree.add(leaf, other, i // 2 % FEATURES, below - 4)
        else:
            tree.add(leaf, other, i % FEATURES, 2 * below - 4)
    return tree


def interval(above, feature):
    """What the splits on the way to a leaf leave of a feature."""
    while above and above[0] != feature:
        above = above[3]
    return above[1:3] if above else (-4.0, 4.0)


def bushy(n, rng):
    """Splits a random leaf until there are n, as a learner does."""
    tree = Tree()
    leaves = [(None, None, None)] # the side and node above it, its intervals
    for node in range(n - 1):
        leaf = rng.randrange(len(leaves))
        side, parent, above = leaves[leaf]
        if side is not None:
            side[parent] = node
        feature = rng.randrange(FEATURES)
        low, high = interval(above, feature)
        threshold = rng.uniform(low, high)
        tree.add(~leaf, ~len(leaves), feature, threshold)
        leaves[leaf] = (tree.left, node, (feature, low, threshold, above))
        leaves.append((tree.right, node, (feature, threshold, high, above)))
    return tree


def words(values):
    return " ".join(map(str, values))


def write_tree(number, tree, rng):
    n = len(tree.left) + 1
    sys.stdout.write(TREE.format(
        number=number, leaves=n, left=words(tree.left),
        right=words(tree.right), feature=words(tree.feature),
        threshold=words(tree.threshold),
        decision=words(rng.choice((2, 8, 10)) for _ in tree.left),
        value=words(rng.gauss(0, 1) for _ in range(n))))


def main():
    shape, n = sys.argv[1], int(sys.argv[2])
    rng = random.Random(7)
    sys.stdout.write(HEADER.format(
        last=FEATURES - 1, names=words(f"c{i}" for i in range(FEATURES)),
        infos=words("[-4:4]" for _ in range(FEATURES))))
    if shape == "forest":
        for number in range(n // 255):
            write_tree(number, bushy(255, rng), rng)
    elif shape == "bushy":
        write_tree(0, bushy(n, rng), rng)
    else:
        write_tree(0, chain(n, shape == "zigzag"), rng)
    sys.stdout.write("end of trees\n")


main()

/* grown.c: trees while they are grown, over bins; and as the module has them,
 * over values. A row is on the same side of a split in both.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void tr_tree_init(struct tr_tree *tree, int n_values)
{
    *tree = (struct tr_tree){.n_leaves = 1, .n_values = n_values,
                             .capacity = 31};
    const size_t n = (size_t)tree->capacity;
    tree->node = ir_realloc_array(NULL, n, sizeof(*tree->node));
    tree->value = ir_realloc_array(NULL, n + 1,
                                   (size_t)n_values * sizeof(double));
    tree->cover = ir_realloc_array(NULL, n + 1, sizeof(double));
    memset(tree->value, 0, (size_t)n_values * sizeof(double));
    tree->cover[0] = 0;
}

void tr_tree_release(struct tr_tree *tree)
{
    free(tree->node);
    free(tree->value);
    free(tree->cover);
    *tree = (struct tr_tree){0};
}

static void grow(struct tr_tree *tree)
{
    tree->capacity *= 2;
    const size_t n = (size_t)tree->capacity;
    tree->node = ir_realloc_array(tree->node, n, sizeof(*tree->node));
    tree->value = ir_realloc_array(tree->value, n + 1,
                                   (size_t)tree->n_values * sizeof(double));
    tree->cover = ir_realloc_array(tree->cover, n + 1, sizeof(double));
}

int tr_tree_split(struct tr_tree *tree, int leaf, int parent, bool on_left,
                  const struct tr_node *node)
{
    if (tree->n_nodes == tree->capacity)
        grow(tree);
    const int at = tree->n_nodes++, right = tree->n_leaves++;
    tree->node[at] = *node;
    tree->node[at].left = ~leaf;
    tree->node[at].right = ~right;
    if (parent >= 0)
        *(on_left ? &tree->node[parent].left : &tree->node[parent].right) = at;
    memset(tree->value + (int64_t)right * tree->n_values, 0,
           (size_t)tree->n_values * sizeof(double));
    tree->cover[right] = 0;
    return right;
}

void tr_tree_leaves(const struct tr_tree *tree, const struct tr_binned *rows,
                    int64_t first, int64_t n, int32_t *leaf)
{
    for (int64_t i = 0; i < n; i++) {
        int at = tree->n_nodes > 0 ? 0 : ~0;
        while (at >= 0) {
            const struct tr_node *node = &tree->node[at];
            const uint8_t bin = tr_binned_feature(
                rows, node->feature)[(first + i) * TR_GROUP];
            at = tr_bin_set_has(&node->left_bins, bin) ? node->left
                                                       : node->right;
        }
        leaf[i] = ~at;
    }
}

/* The codes of the bins that go left, as the IR wants them. */
static void emit_set(const struct tr_node *node, const struct tr_feature *f,
                     struct ir_forest_builder *forest, uint8_t flags)
{
    uint32_t words[TR_MAX_CATEGORIES / 32] = {0};
    int n_words = 0;
    for (int b = 0; b < f->n_bins - 1; b++) {
        if (!tr_bin_set_has(&node->left_bins, (unsigned)b))
            continue;
        const int code = f->code_of_bin[b];
        words[code / 32] |= UINT32_C(1) << (code % 32);
        n_words = code / 32 >= n_words ? code / 32 + 1 : n_words;
    }
    ir_forest_set_node(forest, f->input, words, n_words, node->left,
                       node->right, flags);
}

static void emit_node(const struct tr_node *node, const struct tr_feature *f,
                      struct ir_forest_builder *forest)
{
    const uint8_t flags =
        tr_bin_set_has(&node->left_bins, (unsigned)f->n_bins)
            ? IR_NODE_MISSING_LEFT : 0;
    if (f->categorical) {
        emit_set(node, f, forest, flags);
        return;
    }
    /* When all values go left, only those that are missing go right. */
    const double threshold =
        node->bin < f->n_bins - 1 ? f->upper[node->bin] : (double)INFINITY;
    ir_forest_node(forest, f->input, threshold, node->left, node->right,
                   flags);
}

/* The covers of the inner nodes: children come after their parents. */
static double *node_covers(const struct tr_tree *tree)
{
    double *cover =
        ir_realloc_array(NULL, (size_t)tree->n_nodes + 1, sizeof(*cover));
    for (int i = tree->n_nodes; i-- > 0;) {
        const int to[2] = {tree->node[i].left, tree->node[i].right};
        cover[i] = 0;
        for (int side = 0; side < 2; side++)
            cover[i] += to[side] < 0 ? tree->cover[~to[side]] : cover[to[side]];
    }
    return cover;
}

void tr_tree_emit(const struct tr_tree *tree, const struct tr_bins *bins,
                  struct ir_forest_builder *forest, int target, int value)
{
    ir_forest_tree(forest, target);
    double *cover = node_covers(tree);
    for (int i = 0; i < tree->n_nodes; i++) {
        emit_node(&tree->node[i], &bins->feature[tree->node[i].feature],
                  forest);
        ir_forest_node_cover(forest, cover[i]);
    }
    for (int i = 0; i < tree->n_leaves; i++) {
        ir_forest_leaf(forest,
                       tree->value[(int64_t)i * tree->n_values + value]);
        ir_forest_leaf_cover(forest, tree->cover[i]);
    }
    free(cover);
}

/* onnx_tree_v5.c: TreeEnsemble of ai.onnx.ml 5: leaves apart from nodes, each
 * with one target and weight; set tests. */
#include "frontend/onnx_tree.h"

#include <math.h>
#include <string.h>

struct lists {
    size_t n_nodes, n_leaves;
    const int64_t *feature, *yes, *no, *yes_leaf, *no_leaf, *missing;
    const int64_t *target;
    const struct fe_onnx_tensor *modes, *splits, *weights, *members;
};

static bool read_ints(struct fe_onnx *g, const char *name, size_t n,
                      const int64_t **list)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    const size_t given = a ? a->n_ints : 0;
    *list = a ? a->ints : NULL;
    return given == n || fe_onnx_error(g, "%s has %zu elements, not %zu", name,
                                       given, n);
}

static bool read_tensor(struct fe_onnx *g, const char *name, int type,
                        const struct fe_onnx_tensor **tensor)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    if (!a)
        return fe_onnx_error(g, "the attribute %s is missing", name);
    *tensor = fe_onnx_read_tensor(g, a->t, name);
    return *tensor &&
           ((*tensor)->type == type ||
            fe_onnx_error(g, "%s is of type %s, not %s", name,
                          fe_onnx_type_name((*tensor)->type),
                          fe_onnx_type_name(type)));
}

static bool read_lists(struct fe_onnx *g, int type, struct lists *l)
{
    if (!read_tensor(g, "nodes_modes", FE_ONNX_UINT8, &l->modes) ||
        !read_tensor(g, "nodes_splits", type, &l->splits) ||
        !read_tensor(g, "leaf_weights", type, &l->weights))
        return false;
    const size_t n = l->n_nodes = (size_t)l->modes->n;
    l->n_leaves = (size_t)l->weights->n;
    if (l->splits->n != l->modes->n)
        return fe_onnx_error(g, "nodes_splits has %lld elements, not %zu",
                             (long long)l->splits->n, n);
    if (fe_onnx_attribute(g, "membership_values") &&
        !read_tensor(g, "membership_values", type, &l->members))
        return false;
    const Onnx__AttributeProto *missing =
        fe_onnx_attribute(g, "nodes_missing_value_tracks_true");
    if (missing && missing->n_ints &&
        !read_ints(g, "nodes_missing_value_tracks_true", n, &l->missing))
        return false;
    return read_ints(g, "nodes_featureids", n, &l->feature) &&
           read_ints(g, "nodes_truenodeids", n, &l->yes) &&
           read_ints(g, "nodes_falsenodeids", n, &l->no) &&
           read_ints(g, "nodes_trueleafs", n, &l->yes_leaf) &&
           read_ints(g, "nodes_falseleafs", n, &l->no_leaf) &&
           read_ints(g, "leaf_targetids", l->n_leaves, &l->target);
}

static bool read_child(struct fe_onnx *g, const struct lists *l, size_t i,
                       int64_t child, bool is_leaf, int64_t *to)
{
    const size_t n = is_leaf ? l->n_leaves : l->n_nodes;
    if (child < 0 || (uint64_t)child >= n)
        return fe_onnx_error(g, "node %zu: its child %lld is out of range "
                             "(there are %zu %s)", i, (long long)child, n,
                             is_leaf ? "leaves" : "nodes");
    *to = is_leaf ? ~child : child;
    return true;
}

static bool read_nodes(struct fe_onnx *g, const struct lists *l,
                       struct fe_onnx_ensemble *e)
{
    const size_t n = l->n_nodes;
    e->n_nodes = (int64_t)n;
    e->mode = ir_alloc_array(&g->scratch, n, sizeof *e->mode);
    e->feature = ir_alloc_array(&g->scratch, n, sizeof *e->feature);
    e->value = l->splits->real;
    e->yes = ir_alloc_array(&g->scratch, n, sizeof *e->yes);
    e->no = ir_alloc_array(&g->scratch, n, sizeof *e->no);
    e->missing = ir_alloc_array(&g->scratch, n, sizeof *e->missing);
    for (size_t i = 0; i < n; i++) {
        const int64_t mode = l->modes->whole[i];
        if (mode > FE_ONNX_MEMBER)
            return fe_onnx_error(g, "node %zu: the mode %lld is not known "
                                 "(0 to %d are)", i, (long long)mode,
                                 FE_ONNX_MEMBER);
        if (l->feature[i] < 0 || l->feature[i] > INT32_MAX)
            return fe_onnx_error(g, "node %zu tests feature %lld", i,
                                 (long long)l->feature[i]);
        e->mode[i] = (uint8_t)mode;
        e->feature[i] = (int32_t)l->feature[i];
        e->missing[i] = l->missing && l->missing[i] == 1;
        if (!read_child(g, l, i, l->yes[i], l->yes_leaf[i], &e->yes[i]) ||
            !read_child(g, l, i, l->no[i], l->no_leaf[i], &e->no[i]))
            return false;
    }
    return true;
}

/* The members of a node end at a NaN. */
static bool read_members(struct fe_onnx *g, const struct lists *l,
                         struct fe_onnx_ensemble *e)
{
    int64_t at = 0;
    const int64_t n = l->members ? l->members->n : 0;
    int64_t *start =
        ir_alloc_array(&g->scratch, l->n_nodes, sizeof *start);
    e->member = l->members ? l->members->real : NULL;
    e->member_start = start;
    e->member_end = ir_alloc_array(&g->scratch, l->n_nodes,
                                   sizeof *e->member_end);
    for (size_t i = 0; i < l->n_nodes; i++) {
        start[i] = at;
        e->member_end[i] = at;
        if (e->mode[i] != FE_ONNX_MEMBER)
            continue;
        if (at >= n)
            return fe_onnx_error(g, "node %zu: membership_values has no "
                                 "members left for it", i);
        while (at < n && !isnan(e->member[at]))
            at++;
        e->member_end[i] = at++;
        if (e->member_end[i] == start[i])
            return fe_onnx_error(g, "node %zu: its set has no member", i);
    }
    return true;
}

static bool read_leaves(struct fe_onnx *g, const struct lists *l,
                        struct fe_onnx_ensemble *e)
{
    const size_t n = l->n_leaves;
    e->n_leaves = (int64_t)n;
    e->weight = l->weights->real;
    e->target = ir_alloc_array(&g->scratch, n, sizeof *e->target);
    e->leaf_id = ir_alloc_array(&g->scratch, n, sizeof *e->leaf_id);
    e->weight_start = ir_alloc_array(&g->scratch, n + 1,
                                     sizeof *e->weight_start);
    for (size_t i = 0; i < n; i++) {
        if (l->target[i] < 0 || l->target[i] >= e->n_targets)
            return fe_onnx_error(g, "the leaf %zu is for target %lld (there "
                                 "are %lld)", i, (long long)l->target[i],
                                 (long long)e->n_targets);
        e->target[i] = (int32_t)l->target[i];
        e->leaf_id[i] = (int32_t)i;
        e->weight_start[i + 1] = (int64_t)i + 1;
    }
    return true;
}

/* A root whose children are one leaf stands for that leaf. */
static bool read_roots(struct fe_onnx *g, const struct lists *l,
                       struct fe_onnx_ensemble *e)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "tree_roots");
    if (!a || a->n_ints == 0)
        return fe_onnx_error(g, "tree_roots has 0 elements");
    e->n_trees = (int64_t)a->n_ints;
    e->root = ir_alloc_array(&g->scratch, a->n_ints, sizeof *e->root);
    for (size_t t = 0; t < a->n_ints; t++)
        if (!read_child(g, l, t, a->ints[t], false, &e->root[t]))
            return false;
    return true;
}

bool fe_onnx_tree_ensemble(struct fe_onnx *g)
{
    struct lists l = {0};
    struct fe_onnx_ensemble e = {.n_targets = fe_onnx_int(g, "n_targets", 0)};
    const int64_t aggregate =
        fe_onnx_int(g, "aggregate_function", FE_ONNX_SUM);
    const int64_t post = fe_onnx_int(g, "post_transform", FE_ONNX_NONE);
    struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    if (x->type != FE_ONNX_FLOAT && x->type != FE_ONNX_DOUBLE)
        return fe_onnx_error(g, "its input is of type %s, not FLOAT or "
                             "DOUBLE", fe_onnx_type_name(x->type));
    if (e.n_targets < 1 || e.n_targets > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "n_targets is %lld (1 to %d are allowed)",
                             (long long)e.n_targets, IR_MAX_ELEMENTS);
    if (aggregate < 0 || aggregate > FE_ONNX_MAX)
        return fe_onnx_error(g, "aggregate_function is %lld (0 to %d are "
                             "known)", (long long)aggregate, FE_ONNX_MAX);
    if (post < 0 || post >= FE_ONNX_N_POSTS)
        return fe_onnx_error(g, "post_transform is %lld (0 to %d are known)",
                             (long long)post, FE_ONNX_N_POSTS - 1);
    /* The standard has SOFTMAX as 1 and LOGISTIC as 2; ONNX Runtime has them
     * the other way round, and its answers are what users have seen. */
    static const enum fe_onnx_post posts[FE_ONNX_N_POSTS] = {
        FE_ONNX_NONE, FE_ONNX_LOGISTIC, FE_ONNX_SOFTMAX, FE_ONNX_SOFTMAX_ZERO,
        FE_ONNX_PROBIT};
    e.aggregate = (enum fe_onnx_aggregate)aggregate;
    if (!fe_onnx_take_elements(g, e.n_targets) ||
        !read_lists(g, x->type, &l) || !read_nodes(g, &l, &e) ||
        !read_members(g, &l, &e) || !read_leaves(g, &l, &e) ||
        !read_roots(g, &l, &e))
        return false;
    struct ir_value *sums = fe_onnx_forest(g, &e, fe_onnx_features(g, x));
    return sums && fe_onnx_give_targets(g, sums, posts[post], e.n_targets,
                                        x->type);
}

/* onnx_tree_v3.c: TreeEnsembleRegressor and TreeEnsembleClassifier, of
 * ai.onnx.ml 1 and 3: nodes as parallel lists, leaves among them, weights by
 * tree and node. What is summed, and what becomes of the sums, is what ONNX
 * Runtime 1.32 does; docs/formats.md has its rules, which are not all in the
 * standard.
 */
#include "frontend/onnx_tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A node's number in the file, and which of the list it is. */
struct named {
    int64_t tree, node, at;
};

/* The lists of either op; weights are named target_ or class_. */
struct lists {
    size_t n, n_weights;
    const int64_t *tree, *node, *feature, *yes, *no;
    const int64_t *missing; /* NULL: none */
    const double *value, *weight;
    const int64_t *weight_tree, *weight_node, *weight_target;
    const Onnx__AttributeProto *modes;
    struct named *sorted;  /* [n] by tree and node */
    int64_t *slot;         /* [n] node of the ensemble, or ~leaf */
};

/* ---------------------------------------------------------------- lists -- */

/* `name` as a list of n whole numbers. */
static bool read_ints(struct fe_onnx *g, const char *name, size_t n,
                      const int64_t **list)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    const size_t given = a ? a->n_ints : 0;
    *list = a ? a->ints : NULL;
    return given == n || fe_onnx_error(g, "%s has %zu elements, not %zu", name,
                                       given, n);
}

/* `name`, or the tensor name_as_tensor, as doubles; *n: how many. */
static bool read_reals(struct fe_onnx *g, const char *name, size_t *n,
                       const double **list)
{
    char tensor_name[64];
    snprintf(tensor_name, sizeof tensor_name, "%s_as_tensor", name);
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    const Onnx__AttributeProto *t = fe_onnx_attribute(g, tensor_name);
    *n = 0;
    *list = NULL;
    if (a && a->n_floats && t)
        return fe_onnx_error(g, "both %s and %s are there", name, tensor_name);
    if (t) {
        const struct fe_onnx_tensor *read =
            fe_onnx_read_tensor(g, t->t, tensor_name);
        if (!read)
            return false;
        if (read->type != FE_ONNX_FLOAT && read->type != FE_ONNX_DOUBLE)
            return fe_onnx_error(g, "%s is of type %s, not FLOAT or DOUBLE",
                                 tensor_name, fe_onnx_type_name(read->type));
        *n = (size_t)read->n;
        *list = read->real;
        return true;
    }
    *n = a ? a->n_floats : 0;
    double *reals = ir_alloc_array(&g->scratch, *n, sizeof *reals);
    for (size_t i = 0; i < *n; i++)
        reals[i] = (double)a->floats[i];
    *list = reals;
    return true;
}

static bool read_nodes(struct fe_onnx *g, struct lists *l)
{
    const Onnx__AttributeProto *ids = fe_onnx_attribute(g, "nodes_nodeids");
    const Onnx__AttributeProto *missing =
        fe_onnx_attribute(g, "nodes_missing_value_tracks_true");
    size_t n_values;
    l->n = ids ? ids->n_ints : 0;
    l->modes = fe_onnx_attribute(g, "nodes_modes");
    if (l->n == 0)
        return fe_onnx_error(g, "nodes_nodeids has 0 elements");
    if (l->n > IR_MAX_NODES)
        return fe_onnx_error(g, "%zu nodes (the limit is %d)", l->n,
                             IR_MAX_NODES);
    l->node = ids->ints;
    if (!read_ints(g, "nodes_treeids", l->n, &l->tree) ||
        !read_ints(g, "nodes_featureids", l->n, &l->feature) ||
        !read_ints(g, "nodes_truenodeids", l->n, &l->yes) ||
        !read_ints(g, "nodes_falsenodeids", l->n, &l->no) ||
        !read_reals(g, "nodes_values", &n_values, &l->value))
        return false;
    if (n_values != l->n)
        return fe_onnx_error(g, "nodes_values has %zu elements, not %zu",
                             n_values, l->n);
    if (!l->modes || l->modes->n_strings != l->n)
        return fe_onnx_error(g, "nodes_modes has %zu elements, not %zu",
                             l->modes ? l->modes->n_strings : 0, l->n);
    if (missing && missing->n_ints)
        return read_ints(g, "nodes_missing_value_tracks_true", l->n,
                         &l->missing);
    return true;
}

static bool read_weights(struct fe_onnx *g, struct lists *l, const char *of)
{
    char trees[32], nodes[32], targets[32], weights[32];
    snprintf(trees, sizeof trees, "%s_treeids", of);
    snprintf(nodes, sizeof nodes, "%s_nodeids", of);
    snprintf(targets, sizeof targets, "%s_ids", of);
    snprintf(weights, sizeof weights, "%s_weights", of);
    return read_reals(g, weights, &l->n_weights, &l->weight) &&
           read_ints(g, trees, l->n_weights, &l->weight_tree) &&
           read_ints(g, nodes, l->n_weights, &l->weight_node) &&
           read_ints(g, targets, l->n_weights, &l->weight_target);
}

/* ---------------------------------------------------------------- names -- */

static int compare_names(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    if (x->tree != y->tree)
        return x->tree < y->tree ? -1 : 1;
    return (x->node > y->node) - (x->node < y->node);
}

/* Which of the list the node is, -1: none. */
static int64_t find_node(const struct lists *l, int64_t tree, int64_t node)
{
    const struct named key = {.tree = tree, .node = node};
    const struct named *found =
        bsearch(&key, l->sorted, l->n, sizeof key, compare_names);
    return found ? found->at : -1;
}

/* Nodes are named once, and those of a tree stand together. */
static bool sort_names(struct fe_onnx *g, struct lists *l)
{
    bool is_sorted = true;
    l->sorted = ir_alloc_array(&g->scratch, l->n, sizeof *l->sorted);
    for (size_t i = 0; i < l->n; i++) {
        l->sorted[i] =
            (struct named){l->tree[i], l->node[i], (int64_t)i};
        is_sorted = is_sorted &&
                    (i == 0 || compare_names(&l->sorted[i - 1],
                                             &l->sorted[i]) < 0);
    }
    if (!is_sorted)
        qsort(l->sorted, l->n, sizeof *l->sorted, compare_names);
    for (size_t i = 1; i < l->n; i++)
        if (compare_names(&l->sorted[i - 1], &l->sorted[i]) == 0)
            return fe_onnx_error(g, "tree %lld has two nodes %lld",
                                 (long long)l->sorted[i].tree,
                                 (long long)l->sorted[i].node);
    return true;
}

static bool find_trees(struct fe_onnx *g, const struct lists *l,
                       struct fe_onnx_ensemble *e)
{
    int64_t n_different = 1;
    for (size_t i = 1; i < l->n; i++)
        n_different += l->sorted[i].tree != l->sorted[i - 1].tree;
    e->root = ir_alloc_array(&g->scratch, (size_t)n_different,
                             sizeof *e->root);
    e->tree_name = ir_alloc_array(&g->scratch, (size_t)n_different,
                                  sizeof *e->tree_name);
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0 && l->tree[i] == l->tree[i - 1])
            continue;
        if (e->n_trees == n_different)
            return fe_onnx_error(g, "the nodes of tree %lld do not stand "
                                 "together", (long long)l->tree[i]);
        e->tree_name[e->n_trees] = l->tree[i];
        e->root[e->n_trees++] = l->slot[i];
    }
    return true;
}

/* ------------------------------------------------------------- ensemble -- */

static bool read_mode(struct fe_onnx *g, const struct lists *l, size_t i,
                      uint8_t *mode)
{
    static const char *const names[] = {
        "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ",
        "BRANCH_NEQ", [FE_ONNX_LEAF] = "LEAF"};
    const ProtobufCBinaryData *s = &l->modes->strings[i];
    for (int m = 0; m <= FE_ONNX_LEAF; m++)
        if (names[m] && strlen(names[m]) == s->len &&
            !memcmp(names[m], s->data, s->len)) {
            *mode = (uint8_t)m;
            return true;
        }
    return fe_onnx_error(g, "tree %lld node %lld: the mode '%.*s' is not "
                         "known", (long long)l->tree[i],
                         (long long)l->node[i], (int)(s->len < 40 ? s->len
                                                                  : 40),
                         s->len ? (const char *)s->data : "");
}

/* Slots: leaves apart from nodes. */
static bool split_leaves(struct fe_onnx *g, struct lists *l,
                         struct fe_onnx_ensemble *e)
{
    e->mode = ir_alloc_array(&g->scratch, l->n, sizeof *e->mode);
    e->leaf_id = ir_alloc_array(&g->scratch, l->n, sizeof *e->leaf_id);
    e->node_name = ir_alloc_array(&g->scratch, l->n, sizeof *e->node_name);
    l->slot = ir_alloc_array(&g->scratch, l->n, sizeof *l->slot);
    for (size_t i = 0; i < l->n; i++) {
        uint8_t mode = FE_ONNX_LEAF;
        if (!read_mode(g, l, i, &mode))
            return false;
        if (l->node[i] < 0 || l->node[i] > INT32_MAX)
            return fe_onnx_error(g, "tree %lld: a node's number is %lld",
                                 (long long)l->tree[i],
                                 (long long)l->node[i]);
        if (mode == FE_ONNX_LEAF) {
            e->leaf_id[e->n_leaves] = (int32_t)l->node[i];
            l->slot[i] = ~e->n_leaves++;
        } else {
            e->mode[e->n_nodes] = mode;
            e->node_name[e->n_nodes] = l->node[i];
            l->slot[i] = e->n_nodes++;
        }
    }
    return true;
}

static bool read_child(struct fe_onnx *g, const struct lists *l, size_t i,
                       int64_t node, int64_t *child)
{
    const int64_t at = find_node(l, l->tree[i], node);
    if (at < 0)
        return fe_onnx_error(g, "tree %lld node %lld: there is no node %lld "
                             "to be its child", (long long)l->tree[i],
                             (long long)l->node[i], (long long)node);
    *child = l->slot[at];
    return true;
}

static bool read_inner(struct fe_onnx *g, const struct lists *l,
                       struct fe_onnx_ensemble *e)
{
    const size_t n = (size_t)e->n_nodes;
    e->feature = ir_alloc_array(&g->scratch, n, sizeof *e->feature);
    e->value = ir_alloc_array(&g->scratch, n, sizeof *e->value);
    e->yes = ir_alloc_array(&g->scratch, n, sizeof *e->yes);
    e->no = ir_alloc_array(&g->scratch, n, sizeof *e->no);
    e->missing = ir_alloc_array(&g->scratch, n, sizeof *e->missing);
    for (size_t i = 0; i < l->n; i++) {
        const int64_t at = l->slot[i];
        if (at < 0)
            continue;
        if (l->feature[i] < 0 || l->feature[i] > INT32_MAX)
            return fe_onnx_error(g, "tree %lld node %lld tests feature %lld",
                                 (long long)l->tree[i], (long long)l->node[i],
                                 (long long)l->feature[i]);
        e->feature[at] = (int32_t)l->feature[i];
        e->value[at] = l->value[i];
        e->missing[at] = l->missing && l->missing[i] == 1;
        if (!read_child(g, l, i, l->yes[i], &e->yes[at]) ||
            !read_child(g, l, i, l->no[i], &e->no[at]))
            return false;
    }
    return true;
}

/* Which leaf weight w belongs to; -1 for one of an inner node, which ONNX
 * Runtime passes over; -2 with a message. */
static int64_t leaf_of_weight(struct fe_onnx *g, const struct lists *l,
                              size_t w, int64_t n_targets)
{
    const int64_t at = find_node(l, l->weight_tree[w], l->weight_node[w]);
    if (at < 0) {
        fe_onnx_error(g, "weight %zu is of tree %lld node %lld, which is not "
                      "there", w, (long long)l->weight_tree[w],
                      (long long)l->weight_node[w]);
        return -2;
    }
    if (l->weight_target[w] < 0 || l->weight_target[w] >= n_targets) {
        fe_onnx_error(g, "weight %zu is for target %lld (there are %lld)", w,
                      (long long)l->weight_target[w], (long long)n_targets);
        return -2;
    }
    return l->slot[at] < 0 ? ~l->slot[at] : -1;
}

/* Weights by leaf, of a leaf in the order of the file. */
static bool sort_weights(struct fe_onnx *g, const struct lists *l,
                         struct fe_onnx_ensemble *e)
{
    const size_t n = l->n_weights;
    int64_t *leaf = ir_alloc_array(&g->scratch, n, sizeof *leaf);
    int64_t *start = ir_alloc_array(&g->scratch, (size_t)e->n_leaves + 2,
                                    sizeof *start);
    for (size_t w = 0; w < n; w++) {
        leaf[w] = leaf_of_weight(g, l, w, e->n_targets);
        if (leaf[w] == -2)
            return false;
        if (leaf[w] >= 0)
            start[leaf[w] + 2]++;
    }
    for (int64_t i = 2; i <= e->n_leaves + 1; i++)
        start[i] += start[i - 1];
    e->weight = ir_alloc_array(&g->scratch, n, sizeof *e->weight);
    e->target = ir_alloc_array(&g->scratch, n, sizeof *e->target);
    for (size_t w = 0; w < n; w++)
        if (leaf[w] >= 0) {
            const int64_t to = start[leaf[w] + 1]++;
            e->weight[to] = l->weight[w];
            e->target[to] = (int32_t)l->weight_target[w];
        }
    e->weight_start = start;
    return true;
}

static bool read_ensemble(struct fe_onnx *g, const char *of, struct lists *l,
                          struct fe_onnx_ensemble *e)
{
    return read_nodes(g, l) && read_weights(g, l, of) && sort_names(g, l) &&
           split_leaves(g, l, e) && find_trees(g, l, e) &&
           read_inner(g, l, e) && sort_weights(g, l, e);
}

/* ------------------------------------------------------------ regressor -- */

static bool read_aggregate(struct fe_onnx *g, enum fe_onnx_aggregate *kind)
{
    static const char *const names[] = {"AVERAGE", "SUM", "MIN", "MAX"};
    *kind = FE_ONNX_SUM;
    if (!fe_onnx_attribute(g, "aggregate_function"))
        return true;
    for (int i = 0; i < 4; i++)
        if (fe_onnx_says(g, "aggregate_function", names[i], false)) {
            *kind = (enum fe_onnx_aggregate)i;
            return true;
        }
    return fe_onnx_error(g, "aggregate_function is not AVERAGE, SUM, MIN or "
                         "MAX");
}

/* Base values are added last. */
static struct ir_value *add_base(struct fe_onnx *g, struct ir_value *sums,
                                 size_t n, const double *base)
{
    if (!sums || n == 0)
        return sums;
    const enum ir_dtype dtype = sums->type.dtype;
    return fe_onnx_map(g, "x0 x1 add", dtype, sums,
                       fe_onnx_vector(g, dtype, (int64_t)n, base), NULL);
}

bool fe_onnx_give_targets(struct fe_onnx *g, struct ir_value *sums,
                          enum fe_onnx_post post, int64_t n, int type)
{
    /* Of a single score ONNX Runtime transforms nothing but PROBIT. */
    struct ir_value *scores =
        n > 1 ? fe_onnx_post(g, post, sums)
        : post == FE_ONNX_PROBIT ? fe_onnx_probit(g, sums) : sums;
    if (g->raw == NULL && post != FE_ONNX_NONE)
        g->raw = sums;
    return fe_onnx_give_rows(
        g, 0, type, fe_onnx_convert(g, scores, fe_onnx_dtype(type)), 1, &n);
}

bool fe_onnx_tree_regressor(struct fe_onnx *g)
{
    struct lists l = {0};
    struct fe_onnx_ensemble e = {.n_targets = fe_onnx_int(g, "n_targets", 0)};
    struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    enum fe_onnx_post post;
    const double *base;
    size_t n_base;
    if (!x)
        return false;
    if (e.n_targets < 1 || e.n_targets > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "n_targets is %lld (1 to %d are allowed)",
                             (long long)e.n_targets, IR_MAX_ELEMENTS);
    if (!fe_onnx_take_elements(g, e.n_targets) ||
        !read_aggregate(g, &e.aggregate) || !fe_onnx_read_post(g, &post) ||
        !read_reals(g, "base_values", &n_base, &base) ||
        !read_ensemble(g, "target", &l, &e))
        return false;
    if (n_base != 0 && n_base != (size_t)e.n_targets)
        return fe_onnx_error(g, "base_values has %zu elements, not %lld or 0",
                             n_base, (long long)e.n_targets);
    struct ir_value *sums = add_base(
        g, fe_onnx_forest(g, &e, fe_onnx_features(g, x)), n_base, base);
    return sums &&
           fe_onnx_give_targets(g, sums, post, e.n_targets, FE_ONNX_FLOAT);
}

/* ----------------------------------------------------------- classifier -- */

/* What a classifier knows of its weights. */
struct classes {
    const struct fe_onnx_tensor *labels;
    int64_t n;
    bool one_id;   /* all weights are for one of two classes */
    bool positive; /* no weight is below 0 */
    bool has_first, has_second; /* class 0, 1 has weights */
    size_t n_base;
    const double *base;
    enum fe_onnx_post post;
};

static struct ir_value *one_of(struct fe_onnx *g, struct ir_value *x,
                               int32_t index)
{
    return fe_onnx_gather(g, x, 1, &index);
}

static struct ir_value *pair_of(struct fe_onnx *g, struct ir_value *a,
                                struct ir_value *b)
{
    struct ir_value *const parts[] = {a, b};
    return a && b ? fe_onnx_concat(g, 2, parts) : NULL;
}

static struct ir_value *add_number(struct fe_onnx *g, struct ir_value *x,
                                   double number)
{
    return x ? add_base(g, x, 1, &number) : NULL;
}

/* Two classes whose only weights are a score of one of them, which has become
 * `score`: the scores of both. */
static struct ir_value *second_class(struct fe_onnx *g,
                                     const struct classes *c,
                                     struct ir_value *score)
{
    const enum ir_dtype dtype = score->type.dtype;
    struct ir_value *minus =
        fe_onnx_map(g, "x0 neg", dtype, score, NULL, NULL);
    if (c->post == FE_ONNX_LOGISTIC)
        return pair_of(g, fe_onnx_logistic(g, minus),
                       fe_onnx_logistic(g, score));
    if (c->one_id && c->positive)
        minus = fe_onnx_map(g, "1 x0 sub", dtype, score, NULL, NULL);
    return pair_of(g, minus, score);
}

/* The score of a class that no leaf has a weight for reads as 0, whatever was
 * added to it. */
static struct ir_value *if_scored(struct fe_onnx *g, struct ir_value *score,
                                  bool has)
{
    static const double zero = 0;
    return has ? score : fe_onnx_vector(g, score->type.dtype, 1, &zero);
}

/* Two classes: the rules that ONNX Runtime has for them and the standard has
 * not. Scores of class 1 decide when there are any, else those of class 0. */
static bool give_two(struct fe_onnx *g, const struct classes *c,
                     struct ir_value *sums)
{
    struct ir_value *s0 = one_of(g, sums, 0), *s1 = one_of(g, sums, 1);
    const bool both = c->has_second || c->n_base == 2;
    if (c->n_base == 2 && c->has_second) {
        s1 = add_number(g, s0, c->base[1]);
        s0 = s1 ? fe_onnx_map(g, "x0 neg", s1->type.dtype, s1, NULL, NULL)
                : NULL;
    } else if (c->n_base == 2) {
        s0 = add_number(g, s0, c->base[0]);
        s1 = add_number(g, s1, c->base[1]);
    } else if (c->n_base == 1) {
        s0 = add_number(g, s0, c->base[0]);
    }
    if (!s0 || !s1)
        return false;
    struct ir_value *decides = c->has_second ? s1 : s0;
    struct fe_onnx_value class;
    if (!fe_onnx_class_of(g, decides, c->one_id && c->positive ? 0.5 : 0,
                          c->labels, &class))
        return false;
    if (!both && c->post == FE_ONNX_PROBIT)
        return fe_onnx_error(g, "PROBIT of two classes of which one has "
                             "weights leaves a score undefined");
    struct ir_value *scores =
        both ? pair_of(g, if_scored(g, s0, c->has_first),
                       if_scored(g, s1, c->has_second))
             : second_class(g, c, s0);
    g->raw = both ? scores : s0;
    if (both && scores)
        scores = fe_onnx_post(g, c->post, scores);
    return fe_onnx_give_classes(g, &class, scores);
}

static bool give_many(struct fe_onnx *g, const struct classes *c,
                      struct ir_value *sums)
{
    sums = add_base(g, sums, c->n_base, c->base);
    struct fe_onnx_value class;
    g->raw = sums;
    return fe_onnx_class_of(g, sums, 0, c->labels, &class) &&
           fe_onnx_give_classes(g, &class, fe_onnx_post(g, c->post, sums));
}

/* Each class has weights on every path of some tree, or on none: then which
 * classes have a score is not a matter of the row. */
static bool check_coverage(struct fe_onnx *g, const struct classes *c,
                           const struct fe_onnx_ensemble *e)
{
    int64_t *leaves =
        ir_alloc_array(&g->scratch, (size_t)c->n, sizeof *leaves);
    for (int64_t w = 0; w < e->weight_start[e->n_leaves]; w++)
        leaves[e->target[w]]++;
    const bool together = e->weight_start[e->n_leaves] == e->n_leaves;
    for (int64_t k = 0; k < c->n; k++)
        if (leaves[k] != e->n_leaves && leaves[k] != 0 && !together)
            return fe_onnx_error(g, "%lld of %lld leaves have a weight for "
                                 "class %lld; it has to be all, none, or one "
                                 "class a leaf", (long long)leaves[k],
                                 (long long)e->n_leaves, (long long)k);
    return true;
}

static bool read_classes(struct fe_onnx *g, const struct lists *l,
                         struct classes *c)
{
    c->positive = true;
    c->one_id = c->n == 2;
    for (size_t w = 0; w < l->n_weights; w++) {
        c->positive &= !(l->weight[w] < 0);
        c->one_id &= l->weight_target[w] == l->weight_target[0];
        c->has_first |= l->weight_target[w] == 0;
        c->has_second |= l->weight_target[w] == 1;
    }
    if (c->n_base > (size_t)c->n || (c->n > 2 && c->n_base != 0 &&
                                     c->n_base != (size_t)c->n))
        return fe_onnx_error(g, "base_values has %zu elements, not %lld or 0",
                             c->n_base, (long long)c->n);
    if (c->n < 2)
        return fe_onnx_error(g, "there is %lld class, where two and more are "
                             "expected", (long long)c->n);
    /* Where both of two classes have weights, ONNX Runtime answers with 0 and
     * 1, whatever the labels are. */
    if (c->n == 2 && !c->one_id && c->labels->whole &&
        (c->labels->whole[0] != 0 || c->labels->whole[1] != 1))
        return fe_onnx_error(g, "the labels are %lld and %lld, but ONNX "
                             "Runtime answers with 0 and 1 when both classes "
                             "have weights", (long long)c->labels->whole[0],
                             (long long)c->labels->whole[1]);
    return true;
}

bool fe_onnx_tree_classifier(struct fe_onnx *g)
{
    struct lists l = {0};
    struct fe_onnx_ensemble e = {.aggregate = FE_ONNX_SUM};
    struct classes c = {.labels = fe_onnx_labels(g)};
    struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x || !c.labels)
        return false;
    c.n = e.n_targets = c.labels->n;
    if (!fe_onnx_read_post(g, &c.post) ||
        !read_reals(g, "base_values", &c.n_base, &c.base) ||
        !read_ensemble(g, "class", &l, &e) || !read_classes(g, &l, &c) ||
        !check_coverage(g, &c, &e))
        return false;
    struct ir_value *sums = fe_onnx_forest(g, &e, fe_onnx_features(g, x));
    if (!sums)
        return false;
    return c.n == 2 ? give_two(g, &c, sums) : give_many(g, &c, sums);
}

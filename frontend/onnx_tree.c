/* onnx_tree.c: an ensemble of trees, as either op describes it -> the forest.
 *
 * ONNX sends a row to the `true` child when the node's test holds. Tests by
 * order become one compare for the whole forest: v < t is v <= the number below
 * t where tests of both kinds stand together, and v > t, v >= t swap the
 * children. Tests for equality become set tests of whole numbers; what no set
 * of small whole numbers can say becomes a feature of its own, computed by a
 * lookup: 1 for a member, 0 for another, a NaN for a NaN.
 *
 * Trees are walked with a stack of our own, so the shape of the file's does
 * not matter; a node that is reached twice, or never, is an error.
 */
#include "frontend/onnx_tree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Members of sets are below this, for as many nodes as words allow. */
#define MAX_CODE 65536
#define MAX_WORDS (1 << 20)
/* Features that are computed for tests of equality. */
#define MAX_EXTRA 256
/* Targets and trees of an ensemble that takes the least or largest leaf. */
#define MAX_SPREAD 65536

/* A feature that says whether another is among some numbers. */
struct extra {
    int feature;
    bool cut;
    int64_t n;
    const double *member; /* [n] ascending, distinct */
};

/* A node of the tree that is being built. */
struct item {
    int64_t node;
    int left, right;
    int64_t n_members; /* of a set, after the chain was followed */
    const double *member;
    bool cut; /* the feature is cut to a whole number before the test */
};

struct builder {
    struct fe_onnx *g;
    const struct fe_onnx_ensemble *e;
    enum ir_dtype dtype;
    int n_features;
    bool strict;            /* the forest compares with "lt" */
    bool narrow;            /* a leaf has one weight, a tree one target */
    int width;              /* values of a leaf */
    struct ir_forest_builder *forest;
    bool *seen;             /* [n_nodes] */
    struct item *item;      /* [n_nodes], of this tree */
    int64_t *leaf;          /* [n_nodes + 1], of this tree */
    struct place *stack;    /* [n_nodes + 2] */
    double *values;         /* [width] */
    uint32_t *words;        /* [MAX_CODE / 32] */
    int64_t n_words;        /* of all sets */
    struct extra extra[MAX_EXTRA];
    int n_extra;
};

/* A child that is to be visited, and where its number goes. */
struct place {
    int64_t child;
    int parent; /* item, or -1 */
    bool is_left;
};

static long long tree_name(const struct fe_onnx_ensemble *e, int64_t t)
{
    return e->tree_name ? (long long)e->tree_name[t] : (long long)t;
}

static long long node_name(const struct fe_onnx_ensemble *e, int64_t i)
{
    return e->node_name ? (long long)e->node_name[i] : (long long)i;
}

/* ----------------------------------------------------------------- sets -- */

static int compare_numbers(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts n numbers and drops those that come again; how many are left. */
static int64_t sort_members(double *member, int64_t n)
{
    int64_t kept = 0;
    qsort(member, (size_t)n, sizeof *member, compare_numbers);
    for (int64_t i = 0; i < n; i++)
        if (kept == 0 || member[i] != member[kept - 1])
            member[kept++] = member[i];
    return kept;
}

static bool is_equality(uint8_t mode)
{
    return mode == FE_ONNX_EQ || mode == FE_ONNX_NEQ || mode == FE_ONNX_MEMBER;
}

/* The next node of a chain of tests for equality that lead to one child: how
 * converters write a set. -1 when the chain ends. */
static int64_t next_in_chain(const struct fe_onnx_ensemble *e, int64_t i)
{
    const int64_t next = e->no[i];
    return e->mode[i] == FE_ONNX_EQ && next >= 0 &&
                   e->mode[next] == FE_ONNX_EQ && next != i &&
                   e->feature[next] == e->feature[i] &&
                   e->yes[next] == e->yes[i] &&
                   e->missing[next] == e->missing[i]
               ? next : -1;
}

/* ONNX Runtime tests members one by one when they are few and within 0 to 30;
 * else it cuts the feature to an i32 first, and wants members that are. */
static bool check_large_set(struct builder *b, struct item *item, int64_t n)
{
    const int64_t last = item->n_members - 1;
    item->cut = n > 30 || item->member[0] < 0 || item->member[last] > 30;
    for (int64_t k = 0; item->cut && k <= last; k++)
        if (item->member[k] != trunc(item->member[k]) ||
            !(fabs(item->member[k]) <= INT32_MAX))
            return fe_onnx_error(b->g, "node %lld: %.9g is a member of a "
                                 "large set and no whole number",
                                 node_name(b->e, item->node),
                                 item->member[k]);
    return true;
}

/* Collects what the item tests for; a chain's other nodes count as seen, and
 * *last is its last. */
static bool collect_members(struct builder *b, struct item *item,
                            int64_t *last)
{
    const struct fe_onnx_ensemble *e = b->e;
    const int64_t i = *last = item->node;
    int64_t n = 1;
    if (e->mode[i] == FE_ONNX_MEMBER) {
        n = e->member_end[i] - e->member_start[i];
        double *copy = ir_alloc_array(&b->g->scratch, (size_t)n, sizeof *copy);
        if (n)
            memcpy(copy, e->member + e->member_start[i],
                   (size_t)n * sizeof *copy);
        item->n_members = sort_members(copy, n);
        item->member = copy;
        return check_large_set(b, item, n);
    }
    for (int64_t at = i; (at = next_in_chain(e, at)) >= 0; n++) {
        if (b->seen[at])
            return fe_onnx_error(b->g, "node %lld has several parents",
                                 node_name(e, at));
        b->seen[at] = true;
        *last = at;
    }
    double *member = ir_alloc_array(&b->g->scratch, (size_t)n, sizeof *member);
    int64_t at = i;
    for (int64_t k = 0; k < n; k++, at = e->no[at])
        member[k] = e->value[at];
    item->n_members = sort_members(member, n);
    item->member = member;
    return true;
}

/* Whether all members are whole numbers that a set's bits may stand for. */
static bool fits_set(const struct builder *b, const struct item *item)
{
    for (int64_t i = 0; i < item->n_members; i++) {
        const double v = item->member[i];
        if (!(v >= 0 && v < MAX_CODE && v == floor(v)))
            return false;
    }
    const double last =
        item->n_members ? item->member[item->n_members - 1] : 0;
    return b->n_words + (int64_t)last / 32 + 1 <=
           MAX_WORDS + 2 * b->e->n_nodes;
}

/* The feature that is 1 for the item's members; -1 with a message. */
static int extra_feature(struct builder *b, const struct item *item)
{
    const int feature = b->e->feature[item->node];
    for (int i = 0; i < b->n_extra; i++) {
        const struct extra *x = &b->extra[i];
        if (x->feature == feature && x->cut == item->cut &&
            x->n == item->n_members &&
            !memcmp(x->member, item->member,
                    (size_t)x->n * sizeof *x->member))
            return b->n_features + i;
    }
    if (b->n_extra == MAX_EXTRA) {
        fe_onnx_error(b->g, "more than %d different tests for equality with "
                      "numbers that are no whole numbers from 0 to %d",
                      MAX_EXTRA, MAX_CODE - 1);
        return -1;
    }
    b->extra[b->n_extra++] =
        (struct extra){feature, item->cut, item->n_members, item->member};
    return b->n_features + b->n_extra - 1;
}

/* ------------------------------------------------------------- one tree -- */

/* Takes `child` off the stack as node or leaf of the tree; gives its number to
 * its parent. */
static int place_child(struct builder *b, const struct place *p, int number)
{
    if (p->parent >= 0) {
        struct item *parent = &b->item[p->parent];
        *(p->is_left ? &parent->left : &parent->right) = number;
    }
    return number;
}

/* Numbers the nodes and leaves under the root, parents first. */
static bool walk_tree(struct builder *b, int64_t t, int *n_items,
                      int *n_leaves)
{
    const struct fe_onnx_ensemble *e = b->e;
    int depth = 0;
    *n_items = *n_leaves = 0;
    b->stack[depth++] = (struct place){e->root[t], -1, false};
    while (depth > 0) {
        const struct place p = b->stack[--depth];
        if (p.child < 0) {
            place_child(b, &p, ~*n_leaves);
            b->leaf[(*n_leaves)++] = ~p.child;
            continue;
        }
        if (b->seen[p.child])
            return fe_onnx_error(b->g, "tree %lld: node %lld has several "
                                 "parents, or is its own ancestor",
                                 tree_name(e, t), node_name(e, p.child));
        b->seen[p.child] = true;
        const int at = place_child(b, &p, *n_items);
        struct item *item = &b->item[(*n_items)++];
        *item = (struct item){.node = p.child};
        int64_t last = p.child;
        if (is_equality(e->mode[p.child]) && !collect_members(b, item, &last))
            return false;
        /* The test of the forest is `left`'s. */
        const uint8_t mode = e->mode[p.child];
        const bool swap = mode == FE_ONNX_GT || mode == FE_ONNX_GTE ||
                          mode == FE_ONNX_NEQ;
        b->stack[depth++] = (struct place){e->no[last], at, swap};
        b->stack[depth++] = (struct place){e->yes[last], at, !swap};
    }
    return true;
}

static void emit_set(struct builder *b, const struct item *item, uint8_t flags)
{
    int n = 1;
    for (int64_t i = 0; i < item->n_members; i++) {
        const unsigned code = (unsigned)item->member[i];
        n = (int)(code / 32) + 1;
        b->words[code / 32] |= UINT32_C(1) << code % 32;
    }
    ir_forest_set_node(b->forest, b->e->feature[item->node], b->words, n,
                       item->left, item->right,
                       item->cut ? flags : (uint8_t)(flags | IR_NODE_EXACT));
    memset(b->words, 0, (size_t)n * sizeof *b->words);
    b->n_words += n;
}

static bool emit_equality(struct builder *b, const struct item *item)
{
    const int64_t i = item->node;
    /* A NaN equals nothing: it passes a test for inequality. */
    const bool left = b->e->mode[i] != FE_ONNX_NEQ && b->e->missing[i];
    const uint8_t flags = left ? IR_NODE_MISSING_LEFT : 0;
    if (fits_set(b, item)) {
        emit_set(b, item, flags);
        return true;
    }
    const int feature = extra_feature(b, item);
    if (feature < 0)
        return false;
    /* Members are on the right of it. */
    ir_forest_node(b->forest, feature, b->strict ? 1 : 0.5, item->right,
                   item->left, left ? 0 : IR_NODE_MISSING_LEFT);
    return true;
}

static double number_below(enum ir_dtype dtype, double t)
{
    return dtype == IR_F32 ? (double)nextafterf((float)t, -HUGE_VALF)
                           : nextafter(t, -HUGE_VAL);
}

static void emit_order(struct builder *b, const struct item *item)
{
    const struct fe_onnx_ensemble *e = b->e;
    const int64_t i = item->node;
    const uint8_t mode = e->mode[i];
    const bool swapped = mode == FE_ONNX_GT || mode == FE_ONNX_GTE;
    const bool below = mode == FE_ONNX_LT || mode == FE_ONNX_GTE;
    double t = e->value[i];
    const uint8_t flags =
        swapped != e->missing[i] ? IR_NODE_MISSING_LEFT : 0;
    if (below && !b->strict) {
        if (t == -HUGE_VAL) { /* nothing is below it: an empty set */
            ir_forest_set_node(b->forest, e->feature[i], b->words, 1,
                               item->left, item->right, flags);
            return;
        }
        t = number_below(b->dtype, t);
    }
    ir_forest_node(b->forest, e->feature[i], t, item->left, item->right,
                   flags);
}

/* The values of leaf `l`: one, or one for each target. */
static bool leaf_values(struct builder *b, int64_t l, int first)
{
    const struct fe_onnx_ensemble *e = b->e;
    const bool extreme = e->aggregate == FE_ONNX_MIN ||
                         e->aggregate == FE_ONNX_MAX;
    for (int k = 0; k < b->width; k++)
        b->values[k] = !extreme ? 0
                       : e->aggregate == FE_ONNX_MIN ? HUGE_VAL : -HUGE_VAL;
    for (int64_t w = e->weight_start[l]; w < e->weight_start[l + 1]; w++) {
        if (extreme && !isfinite(e->weight[w]))
            return fe_onnx_error(b->g, "the weight %g cannot be compared with "
                                 "others", e->weight[w]);
        b->values[e->target[w] - first] = e->weight[w];
    }
    return true;
}

static bool emit_tree(struct builder *b, int64_t t)
{
    const struct fe_onnx_ensemble *e = b->e;
    int n_items, n_leaves;
    if (!walk_tree(b, t, &n_items, &n_leaves))
        return false;
    const int64_t l = b->leaf[0];
    const int first = b->narrow ? e->target[e->weight_start[l]] : 0;
    const bool spread = e->aggregate == FE_ONNX_MIN ||
                        e->aggregate == FE_ONNX_MAX;
    ir_forest_tree(b->forest, spread ? (int)(t * b->width) : first);
    for (int i = 0; i < n_items; i++) {
        if (!is_equality(e->mode[b->item[i].node]))
            emit_order(b, &b->item[i]);
        else if (!emit_equality(b, &b->item[i]))
            return false;
    }
    for (int i = 0; i < n_leaves; i++) {
        if (!leaf_values(b, b->leaf[i], first))
            return false;
        ir_forest_leaf_values(b->forest, b->values);
        ir_forest_leaf_id(b->forest, e->leaf_id[b->leaf[i]]);
    }
    return true;
}

/* --------------------------------------------------------------- checks -- */

static bool check_nodes(struct fe_onnx *g, const struct fe_onnx_ensemble *e,
                        int n_features)
{
    for (int64_t i = 0; i < e->n_nodes; i++) {
        if (e->feature[i] < 0 || e->feature[i] >= n_features)
            return fe_onnx_error(g, "node %lld tests feature %d (there are "
                                 "%d)", node_name(e, i), (int)e->feature[i],
                                 n_features);
        if (e->mode[i] != FE_ONNX_MEMBER && isnan(e->value[i]))
            return fe_onnx_error(g, "node %lld tests with a NaN, which no "
                                 "number can be compared with",
                                 node_name(e, i));
    }
    return true;
}

/* Each target at most once a leaf, in order of their numbers or not. */
static bool check_weights(struct fe_onnx *g, const struct fe_onnx_ensemble *e)
{
    int64_t *user = ir_alloc_array(&g->scratch, (size_t)e->n_targets,
                                   sizeof *user);
    for (int64_t l = 0; l < e->n_leaves; l++) {
        if (e->weight_start[l] == e->weight_start[l + 1])
            return fe_onnx_error(g, "the leaf %d has no weight",
                                 (int)e->leaf_id[l]);
        for (int64_t w = e->weight_start[l]; w < e->weight_start[l + 1]; w++) {
            const int32_t k = e->target[w];
            if (k < 0 || k >= e->n_targets)
                return fe_onnx_error(g, "the leaf %d has a weight for target "
                                     "%d (there are %lld)",
                                     (int)e->leaf_id[l], (int)k,
                                     (long long)e->n_targets);
            if (user[k] == l + 1)
                return fe_onnx_error(g, "the leaf %d has two weights for "
                                     "target %d", (int)e->leaf_id[l], (int)k);
            user[k] = l + 1;
        }
    }
    return true;
}

/* Whether the leaves of each tree have one weight, of one target. Chains and
 * reachability aside, this may look at all leaves that nodes name. */
static bool is_narrow(const struct fe_onnx_ensemble *e, const int64_t *tree_of)
{
    int32_t *target = ir_realloc_array(NULL, (size_t)e->n_trees + 1,
                                       sizeof *target);
    memset(target, 0xff, (size_t)e->n_trees * sizeof *target);
    bool narrow = e->aggregate != FE_ONNX_MIN && e->aggregate != FE_ONNX_MAX;
    for (int64_t l = 0; narrow && l < e->n_leaves; l++) {
        const int64_t w = e->weight_start[l], t = tree_of[l];
        narrow = e->weight_start[l + 1] == w + 1 && t >= 0 &&
                 (target[t] < 0 || target[t] == e->target[w]);
        if (narrow)
            target[t] = e->target[w];
    }
    free(target);
    return narrow;
}

static bool check_all_seen(struct builder *b)
{
    for (int64_t i = 0; i < b->e->n_nodes; i++)
        if (!b->seen[i])
            return fe_onnx_error(b->g, "node %lld cannot be reached from a "
                                 "root", node_name(b->e, i));
    return true;
}

/* Whether tests of one kind allow the forest to compare with "lt". */
static bool wants_strict(const struct fe_onnx_ensemble *e)
{
    bool strict = false;
    for (int64_t i = 0; i < e->n_nodes; i++) {
        if (e->mode[i] == FE_ONNX_LEQ || e->mode[i] == FE_ONNX_GT)
            return false;
        strict |= e->mode[i] == FE_ONNX_LT || e->mode[i] == FE_ONNX_GTE;
    }
    return strict;
}

/* --------------------------------------------------------------- forest -- */

struct ir_value *fe_onnx_features(struct fe_onnx *g,
                                  const struct fe_onnx_value *x)
{
    if (x->rank > 1) {
        fe_onnx_error(g, "'%.200s' has %d dims, where one or two are expected",
                      x->name, x->rank + 1);
        return NULL;
    }
    return fe_onnx_convert(g, fe_onnx_numbers(g, x),
                           x->type == FE_ONNX_DOUBLE ? IR_F64 : IR_F32);
}

/* x, and after it the features that tests for equality need. */
static struct ir_value *with_extras(struct builder *b, struct ir_value *x)
{
    struct ir_value *parts[MAX_EXTRA + 1] = {x};
    for (int i = 0; i < b->n_extra; i++) {
        const struct extra *e = &b->extra[i];
        const int32_t feature = e->feature;
        const size_t n = (size_t)e->n + 1;
        double *keys = ir_alloc_array(&b->g->scratch, n, sizeof *keys);
        double *values = ir_alloc_array(&b->g->scratch, n, sizeof *values);
        for (size_t k = 0; k < n; k++) {
            keys[k] = k < n - 1 ? e->member[k] : NAN;
            values[k] = k < n - 1 ? 1 : NAN;
        }
        struct ir_value *v = fe_onnx_gather(b->g, x, 1, &feature);
        if (e->cut)
            v = fe_onnx_map(b->g, "x0 0 lt x0 neg floor neg x0 floor where",
                            b->dtype, v, NULL, NULL);
        parts[i + 1] = fe_onnx_lookup(b->g, v, (int64_t)n, keys, values, 0,
                                      b->dtype);
        if (!parts[i + 1])
            return NULL;
    }
    return fe_onnx_concat(b->g, b->n_extra + 1, parts);
}

/* Margins [tree][target] -> the least or largest of each target, 0 for one
 * that the row's leaves have no weight for. */
static struct ir_value *gather_extremes(struct builder *b, struct ir_value *m)
{
    const struct fe_onnx_ensemble *e = b->e;
    const bool least = e->aggregate == FE_ONNX_MIN;
    struct ir_value **of =
        ir_alloc_array(&b->g->scratch, (size_t)e->n_targets, sizeof *of);
    int32_t *index = ir_alloc_array(&b->g->scratch, (size_t)e->n_trees,
                                    sizeof *index);
    for (int64_t k = 0; k < e->n_targets; k++) {
        for (int64_t t = 0; t < e->n_trees; t++)
            index[t] = (int32_t)(t * e->n_targets + k);
        of[k] = fe_onnx_reduce(
            b->g, fe_onnx_gather(b->g, m, e->n_trees, index),
            least ? "min" : "max");
        if (!of[k])
            return NULL;
    }
    return fe_onnx_map(b->g, least ? "x0 inf eq 0 x0 where"
                                   : "x0 -inf eq 0 x0 where",
                       b->dtype, fe_onnx_concat(b->g, (int)e->n_targets, of),
                       NULL, NULL);
}

/* The tree that each leaf belongs to, by its first parent; -1: of none, or of
 * several. */
static int64_t *trees_of_leaves(struct builder *b)
{
    const struct fe_onnx_ensemble *e = b->e;
    int64_t *tree = ir_alloc_array(&b->g->scratch, (size_t)e->n_leaves + 1,
                                   sizeof *tree);
    int64_t *of_node = ir_alloc_array(&b->g->scratch, (size_t)e->n_nodes + 1,
                                      sizeof *of_node);
    for (int64_t l = 0; l < e->n_leaves; l++)
        tree[l] = -2;
    for (int64_t i = 0; i < e->n_nodes; i++)
        of_node[i] = -1;
    int64_t top = 0;
    int64_t *stack = ir_alloc_array(&b->g->scratch, (size_t)e->n_nodes + 1,
                                    sizeof *stack);
    for (int64_t t = 0; t < e->n_trees; t++) {
        int64_t child = e->root[t];
        int64_t pending[2] = {child, child};
        int n_pending = 1;
        for (;;) {
            for (int i = 0; i < n_pending; i++) {
                if (pending[i] < 0) {
                    int64_t *of = &tree[~pending[i]];
                    *of = *of == -2 || *of == t ? t : -1;
                } else if (of_node[pending[i]] < 0) {
                    of_node[pending[i]] = t;
                    stack[top++] = pending[i];
                }
            }
            if (top == 0)
                break;
            child = stack[--top];
            pending[0] = e->yes[child];
            pending[1] = e->no[child];
            n_pending = 2;
        }
    }
    return tree;
}

static struct ir_value *finish(struct builder *b, struct ir_value *x)
{
    struct ir_forest_builder *forest = b->forest;
    b->forest = NULL;
    struct ir_value *features = with_extras(b, x);
    if (!features) {
        ir_forest_abandon(forest);
        return NULL;
    }
    struct ir_op *op = ir_forest_finish(
        forest, b->g->module, features, b->strict ? "lt" : "le", NULL,
        b->e->aggregate == FE_ONNX_AVERAGE ? (double)b->e->n_trees : 1, 0,
        ir_loc_file(b->g->module_path), b->g->diag);
    if (!op)
        return NULL;
    b->g->n_ensembles++;
    b->g->leaf = &op->result[1];
    const bool spread = b->e->aggregate == FE_ONNX_MIN ||
                        b->e->aggregate == FE_ONNX_MAX;
    return spread ? gather_extremes(b, &op->result[0]) : &op->result[0];
}

static bool emit_trees(struct builder *b)
{
    for (int64_t t = 0; t < b->e->n_trees; t++)
        if (!emit_tree(b, t))
            return false;
    return check_all_seen(b);
}

struct ir_value *fe_onnx_forest(struct fe_onnx *g,
                                const struct fe_onnx_ensemble *e,
                                struct ir_value *x)
{
    if (!x)
        return NULL;
    struct builder b = {.g = g, .e = e, .dtype = x->type.dtype,
                        .n_features = (int)ir_type_volume(&x->type)};
    const size_t n = (size_t)e->n_nodes;
    const bool spread = e->aggregate == FE_ONNX_MIN ||
                        e->aggregate == FE_ONNX_MAX;
    if (!check_nodes(g, e, b.n_features) || !check_weights(g, e))
        return NULL;
    if (spread && e->n_trees > MAX_SPREAD / e->n_targets) {
        fe_onnx_error(g, "MIN and MAX over %lld trees of %lld targets (their "
                      "product may be %d)", (long long)e->n_trees,
                      (long long)e->n_targets, MAX_SPREAD);
        return NULL;
    }
    b.strict = wants_strict(e);
    b.narrow = is_narrow(e, trees_of_leaves(&b));
    b.width = b.narrow ? 1 : (int)e->n_targets;
    /* Leaves without some targets may make much of little. */
    if (!b.narrow &&
        !fe_onnx_take_elements(g, (e->n_nodes + e->n_trees) * e->n_targets))
        return NULL;
    b.seen = ir_alloc_array(&g->scratch, n, sizeof *b.seen);
    b.item = ir_alloc_array(&g->scratch, n, sizeof *b.item);
    b.leaf = ir_alloc_array(&g->scratch, n + 1, sizeof *b.leaf);
    b.stack = ir_alloc_array(&g->scratch, n + 2, sizeof *b.stack);
    b.values = ir_alloc_array(&g->scratch, (size_t)b.width, sizeof *b.values);
    b.words = ir_alloc_array(&g->scratch, MAX_CODE / 32, sizeof *b.words);
    const int n_sums = spread ? (int)(e->n_trees * e->n_targets)
                              : (int)e->n_targets;
    b.forest = ir_forest_begin(b.dtype, b.dtype, n_sums);
    ir_forest_width(b.forest, b.width);
    struct ir_value *sums = emit_trees(&b) ? finish(&b, x) : NULL;
    if (b.forest)
        ir_forest_abandon(b.forest);
    return sums;
}

/* catboost_tree.c: trees of either shape -> the forest builder.
 *
 * An oblivious tree is `splits`, the same for all nodes of a level, and
 * leaf_values; bit k of a leaf's number is split k. It becomes a full tree
 * whose first level is the last split, so that leaves stand in the order of
 * their numbers. Other trees are objects within one another. Their leaves are
 * numbered from left to right, as CatBoost does when it reads the file itself.
 */
#include "frontend/catboost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* CatBoost grows none deeper than 16. */
#define MAX_DEPTH 24

/* What trees fill one after the other. */
struct reader {
    struct fe_catboost *m;
    int64_t tree; /* for messages */
    struct fe_numbers values;
    struct node *node; /* of a tree that is not oblivious */
    size_t node_bytes;
    bool first_leaf; /* the next leaf is its first */
};

/* A node of a tree that is not oblivious; a child ~i is the leaf i. */
struct node {
    const struct fe_catboost_test *test;
    int low, high;
};

/* ---------------------------------------------------------------- splits -- */

enum split_key { INDEX, TYPE, BORDER, FLOAT, CATEGORY, VALUE, N_SPLIT_KEYS };

static const char *const split_keys[N_SPLIT_KEYS] = {
    [INDEX] = "split_index",
    [TYPE] = "split_type",
    [BORDER] = "border",
    [FLOAT] = "float_feature_index",
    [CATEGORY] = "cat_feature_index",
    [VALUE] = "value",
};

static bool differs(struct fe_catboost *m, const struct fe_value *object,
                    int64_t split)
{
    return fe_json_error(&m->json, object, "split_index %lld is another split "
                         "in features_info than the one that is described "
                         "here", (long long)split);
}

static bool check_float(struct fe_catboost *m, const struct fe_value *object,
                        const struct fe_value *field, int64_t split)
{
    const struct fe_catboost_split at = fe_catboost_locate(m, split);
    int64_t index;
    float border;
    if (!fe_json_int(&m->json, &field[FLOAT], "float_feature_index", 0,
                     INT32_MAX, &index) ||
        !fe_json_float(&m->json, &field[BORDER], "border", &border))
        return false;
    return (at.kind == FE_CATBOOST_BY_FLOAT &&
            m->floats[at.owner].feature.index == index &&
            m->floats[at.owner].border[at.place] == border) ||
           differs(m, object, split);
}

static bool check_value(struct fe_catboost *m, const struct fe_value *object,
                        const struct fe_value *field, int64_t split)
{
    const struct fe_catboost_split at = fe_catboost_locate(m, split);
    int64_t index, value;
    if (!fe_json_int(&m->json, &field[CATEGORY], "cat_feature_index", 0,
                     INT32_MAX, &index) ||
        !fe_json_int(&m->json, &field[VALUE], "value", INT32_MIN, UINT32_MAX,
                     &value))
        return false;
    return (at.kind == FE_CATBOOST_BY_VALUE &&
            m->categories[at.owner].feature.index == index &&
            m->categories[at.owner].value[at.place] ==
                (int32_t)(uint32_t)value) ||
           differs(m, object, split);
}

static bool check_ctr(struct fe_catboost *m, const struct fe_value *object,
                      const struct fe_value *field, int64_t split)
{
    const struct fe_catboost_split at = fe_catboost_locate(m, split);
    float border;
    if (!fe_json_float(&m->json, &field[BORDER], "border", &border))
        return false;
    return (at.kind == FE_CATBOOST_BY_CTR &&
            m->ctrs[at.owner].border[at.place] == border) ||
           differs(m, object, split);
}

/* split_index says which split it is; the rest describes it once more. Of a
 * CTR it says too little, so that the number is what counts. */
static bool read_split(struct fe_catboost *m, const struct fe_value *object,
                       const struct fe_catboost_test **test)
{
    struct fe_value field[N_SPLIT_KEYS];
    const struct fe_value *type = &field[TYPE];
    int64_t split;
    if (!fe_json_fields(&m->json, object, "a split", N_SPLIT_KEYS, split_keys,
                        field) ||
        !fe_json_int(&m->json, &field[INDEX], "split_index", 0,
                     m->n_splits - 1, &split))
        return false;
    bool good;
    if (fe_json_is(&m->json, type, "FloatFeature"))
        good = check_float(m, object, field, split);
    else if (fe_json_is(&m->json, type, "OneHotFeature"))
        good = check_value(m, object, field, split);
    else if (fe_json_is(&m->json, type, "OnlineCtr"))
        good = check_ctr(m, object, field, split);
    else
        good = fe_json_error(&m->json, type->at ? type : object,
                             "split_type is not \"FloatFeature\", "
                             "\"OneHotFeature\" or \"OnlineCtr\": splits of "
                             "text and embedding features are not read");
    if (good)
        *test = fe_catboost_get_test(m, split);
    return good;
}

/* Adds the node whose children are `low` where the split's bit is 0 and `high`
 * where it is 1. */
static void add_node(struct ir_forest_builder *b,
                     const struct fe_catboost_test *test, int low, int high)
{
    if (!test->is_set)
        ir_forest_node(b, test->feature, (double)test->threshold, low, high,
                       test->flags);
    else
        ir_forest_set_node(b, test->feature, test->words, test->n_words,
                           test->members_high ? high : low,
                           test->members_high ? low : high, test->flags);
}

/* ---------------------------------------------------------------- leaves -- */

/* The first leaf says how many values one has. */
static bool set_width(struct reader *r, const struct fe_value *at,
                      int64_t width)
{
    struct fe_catboost *m = r->m;
    if (m->width == 0) {
        if (width < 1 || width > IR_MAX_ELEMENTS)
            return fe_json_error(&m->json, at, "a leaf has %lld values (1 to "
                                 "%d are allowed)", (long long)width,
                                 IR_MAX_ELEMENTS);
        m->width = (int)width;
        m->forest = ir_forest_begin(IR_F32, IR_F64, m->width);
        ir_forest_width(m->forest, m->width);
    }
    return width == m->width ||
           fe_json_error(&m->json, at, "a leaf has %lld values, others have "
                         "%d", (long long)width, m->width);
}

static bool check_values(struct reader *r, const struct fe_value *at)
{
    for (int64_t i = 0; i < r->values.n; i++)
        if (!isfinite(r->values.d[i]))
            return fe_json_error(&r->m->json, at, "leaf value %lld is %g, not "
                                 "a finite number", (long long)i,
                                 r->values.d[i]);
    return true;
}

static void add_leaf(struct fe_catboost *m, const double *values)
{
    if (m->width == 1)
        ir_forest_leaf(m->forest, values[0]);
    else
        ir_forest_leaf_values(m->forest, values);
}

/* ------------------------------------------------------- oblivious trees -- */

static bool read_splits(struct reader *r, const struct fe_value *array,
                        const struct fe_catboost_test *test[MAX_DEPTH],
                        int *depth)
{
    struct fe_catboost *m = r->m;
    struct fe_walk walk;
    struct fe_value object;
    if (!fe_catboost_length(m, array, "splits", depth))
        return false;
    if (*depth > MAX_DEPTH)
        return fe_json_error(&m->json, array, "a tree of %d splits (CatBoost "
                             "has at most 16, and %d are read)", *depth,
                             MAX_DEPTH);
    if (*depth == 0)
        return true;
    fe_json_begin(&m->json, array, "splits", &walk);
    for (int i = 0; fe_json_next(&walk, &object); i++)
        if (!read_split(m, &object, &test[i]))
            return false;
    return true;
}

static bool read_oblivious(struct reader *r, const struct fe_value *object)
{
    static const char *const keys[] = {"leaf_values", "splits"};
    const struct fe_catboost_test *test[MAX_DEPTH];
    struct fe_catboost *m = r->m;
    struct fe_value field[2];
    int depth;
    if (!fe_json_fields(&m->json, object, "the tree", 2, keys, field) ||
        !read_splits(r, &field[1], test, &depth) ||
        !fe_json_doubles(&m->json, &field[0], "leaf_values", &r->values) ||
        !check_values(r, &field[0]))
        return false;
    const int n_leaves = 1 << depth;
    if (r->values.n == 0 || r->values.n % n_leaves != 0)
        return fe_json_error(&m->json, &field[0], "there are %lld leaf_values, "
                             "which is no multiple of the %d leaves of %d "
                             "splits", (long long)r->values.n, n_leaves,
                             depth);
    if (!set_width(r, &field[0], r->values.n / n_leaves))
        return false;
    ir_forest_tree(m->forest, 0);
    for (int level = 0; level < depth; level++)
        for (int i = 0; i < 1 << level; i++) {
            /* The next level's first node, or the first leaf. */
            const int next = (1 << (level + 1)) - 1;
            const bool last = level == depth - 1;
            add_node(m->forest, test[depth - 1 - level],
                     last ? ~(2 * i) : next + 2 * i,
                     last ? ~(2 * i + 1) : next + 2 * i + 1);
        }
    for (int i = 0; i < n_leaves; i++)
        add_leaf(m, r->values.d + (size_t)i * (size_t)m->width);
    return true;
}

/* ----------------------------------------------------------- other trees -- */

/* What waits to be read: an object, and whose child it is. */
struct pending {
    struct fe_value object;
    int parent; /* -1 for the root */
    bool high;
};

static struct node *new_node(struct reader *r, int n)
{
    const size_t needed = ((size_t)n + 1) * sizeof(struct node);
    if (needed > r->node_bytes) {
        r->node_bytes = needed * 2;
        r->node = ir_realloc_array(r->node, r->node_bytes, 1);
    }
    r->node[n] = (struct node){.test = NULL};
    return &r->node[n];
}

static bool read_leaf(struct reader *r, const struct fe_value *value)
{
    struct fe_catboost *m = r->m;
    double number;
    if (fe_json_kind(&m->json, value) == FE_ARRAY) {
        if (!fe_json_doubles(&m->json, value, "value", &r->values))
            return false;
    } else {
        if (!fe_json_double(&m->json, value, "value", &number))
            return false;
        if (r->values.bytes < sizeof number) {
            r->values.data = ir_realloc_array(r->values.data, 1, 64);
            r->values.bytes = 64;
        }
        r->values.d[0] = number;
        r->values.n = 1;
    }
    if (!check_values(r, value) || !set_width(r, value, r->values.n))
        return false;
    if (r->first_leaf) {
        ir_forest_tree(m->forest, 0);
        r->first_leaf = false;
    }
    add_leaf(m, r->values.d);
    return true;
}

static void set_child(struct reader *r, const struct pending *p, int child)
{
    if (p->parent >= 0 && p->high)
        r->node[p->parent].high = child;
    else if (p->parent >= 0)
        r->node[p->parent].low = child;
}

/* Depth first, the left child before the right. A tree is no deeper than the
 * reader lets objects be within one another, and each level leaves one object
 * to be read later. */
static bool read_tree(struct reader *r, const struct fe_value *object)
{
    static const char *const keys[] = {"split", "left", "right", "value"};
    struct fe_catboost *m = r->m;
    struct pending stack[FE_JSON_DEPTH + 2] = {{.object = *object,
                                                .parent = -1}};
    int n_stack = 1, n_nodes = 0, n_leaves = 0;
    r->first_leaf = true;
    while (n_stack > 0) {
        const struct pending p = stack[--n_stack];
        struct fe_value field[4];
        if (!fe_json_fields(&m->json, &p.object, "a node", 4, keys, field))
            return false;
        if (field[3].at) {
            if (!read_leaf(r, &field[3]))
                return false;
            set_child(r, &p, ~n_leaves++);
            continue;
        }
        if (!field[0].at || !field[1].at || !field[2].at)
            return fe_json_error(&m->json, &p.object, "a node has neither "
                                 "value nor split, left and right");
        if (!read_split(m, &field[0], &new_node(r, n_nodes)->test))
            return false;
        set_child(r, &p, n_nodes);
        stack[n_stack++] = (struct pending){field[2], n_nodes, true};
        stack[n_stack++] = (struct pending){field[1], n_nodes, false};
        n_nodes++;
    }
    for (int i = 0; i < n_nodes; i++)
        add_node(m->forest, r->node[i].test, r->node[i].low, r->node[i].high);
    return true;
}

/* ------------------------------------------------------------------- all -- */

static bool read_all(struct reader *r, const struct fe_value *array,
                     const char *name, bool oblivious)
{
    struct fe_catboost *m = r->m;
    struct fe_walk walk;
    struct fe_value object;
    if (!fe_json_begin(&m->json, array, name, &walk))
        return false;
    while (fe_json_next(&walk, &object)) {
        snprintf(m->json.context, sizeof m->json.context, "tree %lld: ",
                 (long long)r->tree++);
        if (!(oblivious ? read_oblivious(r, &object) : read_tree(r, &object)))
            return false;
        if (r->tree > IR_MAX_ELEMENTS)
            return fe_json_error(&m->json, &object, "there are more than %d "
                                 "trees", IR_MAX_ELEMENTS);
    }
    m->json.context[0] = '\0';
    return true;
}

bool fe_catboost_trees(struct fe_catboost *m, const struct fe_value *oblivious,
                       const struct fe_value *trees)
{
    struct reader r = {.m = m};
    if (oblivious->at && trees->at)
        return fe_json_error(&m->json, trees, "the model has both "
                             "oblivious_trees and trees");
    if (!oblivious->at && !trees->at)
        return fe_json_error(&m->json, trees, "the model has neither "
                             "oblivious_trees nor trees");
    const bool good =
        oblivious->at
            ? read_all(&r, oblivious, "oblivious_trees", true)
            : read_all(&r, trees, "trees", false);
    free(r.values.data);
    free(r.node);
    return good && (m->forest ||
                    fe_json_error(&m->json,
                                  oblivious->at ? oblivious : trees,
                                  "there are no trees"));
}

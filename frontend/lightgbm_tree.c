/* lightgbm_tree.c: one tree of a LightGBM text model -> the forest builder.
 *
 * A tree is a block of lines "key=value" whose values are arrays, element i
 * for node or leaf i. They are read in step, one cursor an array, so that
 * nothing is copied and no count in the file is believed before as many
 * numbers were seen. What LightGBM keeps for its own reports (gains, counts,
 * weights) is not read. docs/formats.md has the format and where each rule
 * here was checked.
 *
 * LightGBM's predictor makes 0 of every |v| <= 1e-35 before a tree sees it.
 * A comparison can be told that by its threshold (see threshold_seen), a
 * linear leaf by the forest's zero_bound.
 */
#include "frontend/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum tree_key {
    NUM_LEAVES,
    NUM_CAT,
    SPLIT_FEATURE,
    THRESHOLD,
    DECISION_TYPE,
    LEFT_CHILD,
    RIGHT_CHILD,
    LEAF_VALUE,
    CAT_BOUNDARIES,
    CAT_THRESHOLD,
    IS_LINEAR,
    LEAF_CONST,
    NUM_FEATURES,
    LEAF_FEATURES,
    LEAF_COEFF,
    SPLIT_GAIN, /* from here on what changes no prediction */
    LEAF_WEIGHT,
    INTERNAL_VALUE,
    INTERNAL_WEIGHT,
    SHRINKAGE,
    LEAF_COUNT, /* only contributions ask for these */
    INTERNAL_COUNT,
    N_KEYS
};

static const char *const key_names[N_KEYS] = {
    [NUM_LEAVES] = "num_leaves",
    [NUM_CAT] = "num_cat",
    [SPLIT_FEATURE] = "split_feature",
    [THRESHOLD] = "threshold",
    [DECISION_TYPE] = "decision_type",
    [LEFT_CHILD] = "left_child",
    [RIGHT_CHILD] = "right_child",
    [LEAF_VALUE] = "leaf_value",
    [CAT_BOUNDARIES] = "cat_boundaries",
    [CAT_THRESHOLD] = "cat_threshold",
    [IS_LINEAR] = "is_linear",
    [LEAF_CONST] = "leaf_const",
    [NUM_FEATURES] = "num_features",
    [LEAF_FEATURES] = "leaf_features",
    [LEAF_COEFF] = "leaf_coeff",
    [SPLIT_GAIN] = "split_gain",
    [LEAF_WEIGHT] = "leaf_weight",
    [INTERNAL_VALUE] = "internal_value",
    [INTERNAL_WEIGHT] = "internal_weight",
    [SHRINKAGE] = "shrinkage",
    [LEAF_COUNT] = "leaf_count",
    [INTERNAL_COUNT] = "internal_count",
};

/* decision_type: bit 0 categorical, bit 1 default left, bits 2 and 3 what
 * counts as missing. */
enum {
    DECISION_CATEGORICAL = 1,
    DECISION_DEFAULT_LEFT = 2,
    MISSING_NONE = 0,
    MISSING_ZERO = 1,
    MISSING_NAN = 2
};

/* The longest bitset: past it a category would not fit LightGBM's int. */
#define MAX_SET_WORDS (1 << 26)

struct tree {
    struct fe_lightgbm *model;
    int64_t index;
    int64_t n_leaves, n_nodes;
    int64_t n_sets;
    bool linear;
    bool covered; /* it says how many rows came to each node */
    int64_t n_terms; /* of the linear leaves read so far */
    struct fe_span rest[N_KEYS]; /* what is still to be read */
    struct fe_span start;        /* the line "Tree=index" */
    const int64_t *boundary;     /* [n_sets + 1] into words */
    const uint32_t *words;
    int32_t *set_user; /* [n_sets] the node that tests it, or -1 */
};

/* Room for `bytes`, keeping what was there. Never NULL. */
static void *grow(struct fe_room *room, size_t bytes)
{
    if (!room->data || bytes > room->bytes) {
        const size_t least = room->bytes ? room->bytes * 2 : 64;
        room->bytes = bytes > least ? bytes : least;
        room->data = ir_realloc_array(room->data, room->bytes, 1);
    }
    return room->data;
}

void fe_lightgbm_release(struct fe_lightgbm *model)
{
    struct fe_room *rooms[] = {&model->parent,   &model->mark,
                               &model->boundary, &model->words,
                               &model->set_user, &model->coef_feature,
                               &model->coef};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        free(rooms[i]->data);
    if (model->forest)
        ir_forest_abandon(model->forest);
    ir_arena_release(&model->scratch);
}

/* ------------------------------------------------------------- numbers -- */

/* So that every message names its tree. */
#define tree_error(t, at, fmt, ...)                                           \
    fe_error_at((t)->model->diag, &(t)->model->reader, at,                    \
                "tree %lld: " fmt, (long long)(t)->index, __VA_ARGS__)

static bool has(const struct tree *t, enum tree_key key)
{
    return t->rest[key].begin != NULL;
}

static bool need_key(const struct tree *t, enum tree_key key)
{
    return has(t, key) ||
           tree_error(t, &t->start, "the line %s= is missing", key_names[key]);
}

static bool too_few(struct tree *t, enum tree_key key, int64_t found,
                    int64_t needed)
{
    return tree_error(t, &t->rest[key], "%s ends after %lld of %lld numbers",
                      key_names[key], (long long)found, (long long)needed);
}

/* The word that is element i of n. */
static bool take(struct tree *t, enum tree_key key, int64_t i, int64_t n,
                 struct fe_span *word)
{
    return fe_next_word(&t->rest[key], word) || too_few(t, key, i, n);
}

static bool take_int(struct tree *t, enum tree_key key, int64_t i, int64_t n,
                     int64_t *value, struct fe_span *word)
{
    if (!take(t, key, i, n, word))
        return false;
    return fe_read_int(word, value) ||
           tree_error(t, word, "%s[%lld] is '%.*s', not a whole number",
                      key_names[key], (long long)i, FE_SHOW(word));
}

static bool take_double(struct tree *t, enum tree_key key, int64_t i,
                        int64_t n, double *value, struct fe_span *word)
{
    if (!take(t, key, i, n, word))
        return false;
    return fe_read_double(word, value) ||
           tree_error(t, word, "%s[%lld] is '%.*s', not a number",
                      key_names[key], (long long)i, FE_SHOW(word));
}

/* Nothing may be left of an array of n. */
static bool all_taken(struct tree *t, enum tree_key key, int64_t n)
{
    struct fe_span word;
    return !has(t, key) || !fe_next_word(&t->rest[key], &word) ||
           tree_error(t, &word, "%s goes on with '%.*s' after %lld numbers",
                      key_names[key], FE_SHOW(&word), (long long)n);
}

/* A line that holds one whole number in [low, high]. */
static bool scalar(struct tree *t, enum tree_key key, int64_t low,
                   int64_t high, int64_t *value)
{
    if (!need_key(t, key))
        return false;
    const struct fe_span *field = &t->rest[key];
    if (!fe_read_int(field, value))
        return tree_error(t, field, "%s is '%.*s', not a whole number",
                          key_names[key], FE_SHOW(field));
    if (*value < low || *value > high)
        return tree_error(t, field, "%s %lld is out of range (%lld to %lld)",
                          key_names[key], (long long)*value, (long long)low,
                          (long long)high);
    return true;
}

/* Before room is made for n numbers: the line has to be long enough for them,
 * at two bytes each. */
static bool plausible(struct tree *t, enum tree_key key, int64_t n)
{
    if (!need_key(t, key))
        return false;
    const struct fe_span *rest = &t->rest[key];
    return n <= (rest->end - rest->begin + 1) / 2 ||
           too_few(t, key, fe_count_words(*rest), n);
}

/* ---------------------------------------------------------------- sets -- */

/* Reads cat_boundaries: ascending, from 0 to the number of words. */
static bool read_boundaries(struct tree *t)
{
    const int64_t n = t->n_sets + 1;
    if (!plausible(t, CAT_BOUNDARIES, n))
        return false;
    int64_t *boundary = grow(&t->model->boundary, (size_t)n * sizeof *boundary);
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++) {
        struct fe_span word;
        if (!take_int(t, CAT_BOUNDARIES, i, n, &boundary[i], &word))
            return false;
        if (boundary[i] < last || (i == 0 && boundary[i] != 0))
            return tree_error(t, &word,
                              "cat_boundaries[%lld] is %lld, but %s %lld",
                              (long long)i, (long long)boundary[i],
                              i ? "the one before it is" : "it must be",
                              (long long)last);
        if (boundary[i] - last > MAX_SET_WORDS)
            return tree_error(t, &word,
                              "a set of %lld words (the longest that LightGBM "
                              "can read has %d)",
                              (long long)(boundary[i] - last), MAX_SET_WORDS);
        last = boundary[i];
    }
    t->boundary = boundary;
    return all_taken(t, CAT_BOUNDARIES, n);
}

static bool read_words(struct tree *t)
{
    const int64_t n = t->boundary[t->n_sets];
    if (!plausible(t, CAT_THRESHOLD, n))
        return false;
    uint32_t *words = grow(&t->model->words, (size_t)n * sizeof *words);
    for (int64_t i = 0; i < n; i++) {
        struct fe_span word;
        int64_t value;
        if (!take_int(t, CAT_THRESHOLD, i, n, &value, &word))
            return false;
        if (value < 0 || value > UINT32_MAX)
            return tree_error(t, &word,
                              "cat_threshold[%lld] is %lld, which is no word "
                              "of 32 bits",
                              (long long)i, (long long)value);
        words[i] = (uint32_t)value;
    }
    t->words = words;
    return all_taken(t, CAT_THRESHOLD, n);
}

static bool read_sets(struct tree *t)
{
    if (t->n_sets == 0)
        return true;
    if (!read_boundaries(t) || !read_words(t))
        return false;
    t->set_user = grow(&t->model->set_user,
                       (size_t)t->n_sets * sizeof *t->set_user);
    for (int64_t i = 0; i < t->n_sets; i++)
        t->set_user[i] = -1;
    return true;
}

/* --------------------------------------------------------------- nodes -- */

/* The threshold that answers for v as LightGBM's would for v with |v| <= 1e-35
 * made 0: those all go where 0 goes, the others do not change sides. */
static double threshold_seen(double threshold)
{
    if (threshold < -FE_LIGHTGBM_ZERO || threshold >= FE_LIGHTGBM_ZERO)
        return threshold;
    return threshold >= 0 ? FE_LIGHTGBM_ZERO
                          : nextafter(-FE_LIGHTGBM_ZERO, -HUGE_VAL);
}

/* LightGBM makes 0 of a NaN unless NaN is what is missing. */
static uint8_t numeric_flags(int missing, bool left, double threshold)
{
    switch (missing) {
    case MISSING_NONE:
        return threshold >= 0 ? IR_NODE_MISSING_LEFT : 0;
    case MISSING_ZERO:
        return (uint8_t)(IR_NODE_ZERO_MISSING |
                         (left ? IR_NODE_MISSING_LEFT : 0));
    default:
        return left ? IR_NODE_MISSING_LEFT : 0;
    }
}

void fe_lightgbm_node(struct fe_lightgbm *m, int feature, double threshold,
                      int missing, bool missing_left, int left, int right)
{
    const uint8_t flags = numeric_flags(missing, missing_left, threshold);
    m->needs_zero_bound |= (flags & IR_NODE_ZERO_MISSING) != 0;
    ir_forest_node(m->forest, feature, threshold_seen(threshold), left, right,
                   flags);
}

/* The set that a categorical node's threshold names. Each belongs to one node,
 * so that the sets in all are no larger than the file. */
static bool find_set(struct tree *t, int64_t node, double threshold,
                     const struct fe_span *word, int64_t *set)
{
    if (!(threshold >= 0 && threshold < (double)t->n_sets))
        return tree_error(t, word,
                          "node %lld tests set %.*s (the tree has num_cat=%lld "
                          "of them)",
                          (long long)node, FE_SHOW(word),
                          (long long)t->n_sets);
    *set = (int64_t)threshold;
    if ((double)*set != threshold)
        return tree_error(t, word,
                          "node %lld tests set %.*s, not a whole number",
                          (long long)node, FE_SHOW(word));
    if (t->set_user[*set] >= 0)
        return tree_error(t, word,
                          "node %lld tests set %lld, as node %d does already",
                          (long long)node, (long long)*set,
                          (int)t->set_user[*set]);
    t->set_user[*set] = (int32_t)node;
    return true;
}

/* One child. Slots are the nodes, then the leaves; each has one parent. */
static bool read_child(struct tree *t, enum tree_key key, int64_t node,
                       int *child)
{
    struct fe_span word;
    int64_t value;
    if (!take_int(t, key, node, t->n_nodes, &value, &word))
        return false;
    if (value >= t->n_nodes)
        return tree_error(t, &word,
                          "%s %lld is out of range (the tree has %lld nodes)",
                          key_names[key], (long long)value,
                          (long long)t->n_nodes);
    if (value < -t->n_leaves)
        return tree_error(t, &word,
                          "%s %lld is out of range (the tree has %lld leaves)",
                          key_names[key], (long long)value,
                          (long long)t->n_leaves);
    if (value == 0)
        return tree_error(t, &word,
                          "%s of node %lld is the root, node %lld",
                          key_names[key], (long long)node, (long long)value);
    int32_t *parent = t->model->parent.data;
    int32_t *slot = &parent[value > 0 ? value : t->n_nodes + ~value];
    if (*slot >= 0)
        return tree_error(t, &word,
                          "%s %lld of node %lld has a parent already, node %d",
                          key_names[key], (long long)value, (long long)node,
                          (int)*slot);
    *slot = (int32_t)node;
    *child = (int)value;
    return true;
}

static bool read_decision(struct tree *t, int64_t node, int64_t *decision)
{
    *decision = 0;
    if (!has(t, DECISION_TYPE)) /* as LightGBM has it */
        return true;
    struct fe_span word;
    if (!take_int(t, DECISION_TYPE, node, t->n_nodes, decision, &word))
        return false;
    if (*decision < 0 || *decision >> 2 > MISSING_NAN)
        return tree_error(t, &word,
                          "decision_type %lld is not known (0 to %d are)",
                          (long long)*decision, (MISSING_NAN << 2) + 3);
    return true;
}

static bool read_feature(struct tree *t, enum tree_key key, int64_t i,
                         int64_t n, int64_t *feature)
{
    struct fe_span word;
    if (!take_int(t, key, i, n, feature, &word))
        return false;
    if (*feature < 0 || *feature >= t->model->n_features)
        return tree_error(t, &word,
                          "%s %lld is out of range (the model has %lld "
                          "features)",
                          key_names[key], (long long)*feature,
                          (long long)t->model->n_features);
    return true;
}

/* The rows that came to node, or leaf, number i of n, by `key`. */
static bool read_cover(struct tree *t, enum tree_key key, int64_t i, int64_t n)
{
    struct fe_span word;
    double rows;
    if (!t->covered)
        return true;
    if (!take_double(t, key, i, n, &rows, &word))
        return false;
    if (key == LEAF_COUNT)
        ir_forest_leaf_cover(t->model->forest, rows);
    else
        ir_forest_node_cover(t->model->forest, rows);
    return true;
}

static bool read_node(struct tree *t, int64_t i)
{
    int64_t feature, decision, set = 0;
    double threshold;
    struct fe_span word;
    int left, right;
    if (!read_feature(t, SPLIT_FEATURE, i, t->n_nodes, &feature) ||
        !read_decision(t, i, &decision) ||
        !take_double(t, THRESHOLD, i, t->n_nodes, &threshold, &word) ||
        !read_child(t, LEFT_CHILD, i, &left) ||
        !read_child(t, RIGHT_CHILD, i, &right))
        return false;

    struct fe_lightgbm *m = t->model;
    if (decision & DECISION_CATEGORICAL) {
        if (!find_set(t, i, threshold, &word, &set))
            return false;
        const int64_t from = t->boundary[set], to = t->boundary[set + 1];
        m->categorical[feature] = true;
        ir_forest_set_node(m->forest, (int)feature, t->words + from,
                           (int)(to - from), left, right, 0);
        return read_cover(t, INTERNAL_COUNT, i, t->n_nodes);
    }
    if (isnan(threshold))
        return tree_error(t, &word, "threshold[%lld] is '%.*s', which no "
                          "number can be compared with", (long long)i,
                          FE_SHOW(&word));
    fe_lightgbm_node(m, (int)feature, threshold, (int)(decision >> 2),
                     decision & DECISION_DEFAULT_LEFT, left, right);
    return read_cover(t, INTERNAL_COUNT, i, t->n_nodes);
}

/* Every child has one parent and the root has none, so a node that is not
 * under the root is under a cycle. Each is marked with the node from which the
 * climb passed it first: linear, as a marked one ends a climb. */
static bool check_reachable(struct tree *t)
{
    const int32_t *parent = t->model->parent.data;
    int32_t *mark = grow(&t->model->mark, (size_t)t->n_nodes * sizeof *mark);
    memset(mark, 0, (size_t)t->n_nodes * sizeof *mark);
    for (int32_t i = 1; i < t->n_nodes; i++) {
        int32_t at = i;
        while (at != 0 && mark[at] == 0) {
            mark[at] = i;
            at = parent[at];
        }
        if (at != 0 && mark[at] == i)
            return tree_error(t, &t->start,
                              "node %d cannot be reached from the root: "
                              "node %d is its own ancestor",
                              (int)i, (int)at);
    }
    return true;
}

static bool read_nodes(struct tree *t)
{
    static const enum tree_key keys[] = {SPLIT_FEATURE, THRESHOLD, LEFT_CHILD,
                                         RIGHT_CHILD, DECISION_TYPE};
    enum { N = sizeof keys / sizeof *keys };
    for (int k = 0; t->n_nodes && k < N; k++)
        if (keys[k] != DECISION_TYPE && !plausible(t, keys[k], t->n_nodes))
            return false;

    const size_t n_slots = (size_t)(t->n_nodes + t->n_leaves);
    int32_t *parent = grow(&t->model->parent, n_slots * sizeof *parent);
    memset(parent, 0xff, n_slots * sizeof *parent);
    for (int64_t i = 0; i < t->n_nodes; i++)
        if (!read_node(t, i))
            return false;
    for (int k = 0; k < N; k++)
        if (!all_taken(t, keys[k], t->n_nodes))
            return false;
    return t->n_nodes == 0 || check_reachable(t);
}

/* -------------------------------------------------------------- leaves -- */

/* The features and coefficients of a linear leaf, n of them each. */
static bool read_terms(struct tree *t, int64_t n, double constant)
{
    struct fe_lightgbm *m = t->model;
    if (!need_key(t, LEAF_FEATURES) || !need_key(t, LEAF_COEFF))
        return false;
    const int64_t before = t->n_terms;
    t->n_terms += n;
    for (int64_t i = 0; i < n; i++) {
        int64_t feature;
        double coef;
        struct fe_span word;
        if (!read_feature(t, LEAF_FEATURES, before + i, t->n_terms,
                          &feature) ||
            !take_double(t, LEAF_COEFF, before + i, t->n_terms, &coef, &word))
            return false;
        const size_t room = (size_t)(i + 1);
        int32_t *features = grow(&m->coef_feature, room * sizeof *features);
        double *coefs = grow(&m->coef, room * sizeof *coefs);
        features[i] = (int32_t)feature;
        coefs[i] = coef;
    }
    ir_forest_linear(m->forest, constant, (int)n, m->coef_feature.data,
                     m->coef.data);
    m->needs_zero_bound = true;
    return true;
}

/* A linear leaf without coefficients is its constant, whatever leaf_value
 * says: only a NaN among its own features would lead back to that. */
static bool read_leaf(struct tree *t, int64_t i)
{
    double value, constant = 0;
    int64_t n_terms = 0;
    struct fe_span word;
    if (!take_double(t, LEAF_VALUE, i, t->n_leaves, &value, &word))
        return false;
    if (t->linear) {
        if (!take_double(t, LEAF_CONST, i, t->n_leaves, &constant, &word) ||
            !take_int(t, NUM_FEATURES, i, t->n_leaves, &n_terms, &word))
            return false;
        if (n_terms < 0 || n_terms > IR_MAX_COLUMNS)
            return tree_error(t, &word,
                              "num_features %lld is out of range (0 to %d)",
                              (long long)n_terms, IR_MAX_COLUMNS);
    }
    ir_forest_leaf(t->model->forest,
                   t->linear && n_terms == 0 ? constant : value);
    return read_cover(t, LEAF_COUNT, i, t->n_leaves) &&
           (n_terms == 0 || read_terms(t, n_terms, constant));
}

static bool read_leaves(struct tree *t)
{
    if (!plausible(t, LEAF_VALUE, t->n_leaves))
        return false;
    if (t->linear &&
        (!need_key(t, LEAF_CONST) || !need_key(t, NUM_FEATURES)))
        return false;
    for (int64_t i = 0; i < t->n_leaves; i++)
        if (!read_leaf(t, i))
            return false;
    return all_taken(t, LEAF_VALUE, t->n_leaves) &&
           (!t->linear || (all_taken(t, LEAF_CONST, t->n_leaves) &&
                           all_taken(t, NUM_FEATURES, t->n_leaves) &&
                           all_taken(t, LEAF_FEATURES, t->n_terms) &&
                           all_taken(t, LEAF_COEFF, t->n_terms)));
}

/* ---------------------------------------------------------------- tree -- */

static bool read_shape(struct tree *t)
{
    int64_t linear = 0;
    if (!scalar(t, NUM_LEAVES, 1, IR_MAX_NODES, &t->n_leaves) ||
        !scalar(t, NUM_CAT, 0, IR_MAX_NODES, &t->n_sets) ||
        (has(t, IS_LINEAR) && !scalar(t, IS_LINEAR, 0, 1, &linear)))
        return false;
    t->n_nodes = t->n_leaves - 1;
    t->linear = linear;
    t->covered = t->n_nodes > 0 && has(t, LEAF_COUNT) &&
                 has(t, INTERNAL_COUNT);
    const int64_t so_far = ir_forest_size(t->model->forest);
    if (so_far + t->n_leaves + t->n_nodes > IR_MAX_NODES)
        return tree_error(t, &t->start,
                          "%lld nodes and leaves are too many (the limit is "
                          "%d)",
                          (long long)(so_far + t->n_leaves + t->n_nodes),
                          IR_MAX_NODES);
    return true;
}

bool fe_lightgbm_tree(struct fe_lightgbm *model, const struct fe_span *start)
{
    struct tree t = {
        .model = model, .index = model->n_trees, .start = *start};
    if (!fe_lightgbm_fields(model, t.index, N_KEYS, key_names, t.rest) ||
        !read_shape(&t) || !read_sets(&t))
        return false;
    ir_forest_tree(model->forest, (int)(t.index % model->n_targets));
    return read_nodes(&t) && read_leaves(&t);
}

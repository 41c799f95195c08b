/* xgboost_tree.c: one tree of an XGBoost model -> the forest builder.
 *
 * A tree is an object of arrays, element i for node i; inner nodes and leaves
 * are numbered together, and node 0 is the root. It is read whole before
 * anything is built, so a tree's numbers are in memory twice for a while.
 *
 * A category in a node's set goes right: the children change places, and what
 * is missing the other way with them.
 */
#include "frontend/xgboost.h"

#include <math.h>
#include <string.h>

static const char *const keys[FE_XGBOOST_N_KEYS] = {
    [FE_XGBOOST_LEFT] = "left_children",
    [FE_XGBOOST_RIGHT] = "right_children",
    [FE_XGBOOST_FEATURE] = "split_indices",
    [FE_XGBOOST_DEFAULT_LEFT] = "default_left",
    [FE_XGBOOST_TYPE] = "split_type",
    [FE_XGBOOST_CATEGORIES] = "categories",
    [FE_XGBOOST_CATEGORY_NODES] = "categories_nodes",
    [FE_XGBOOST_SEGMENTS] = "categories_segments",
    [FE_XGBOOST_SIZES] = "categories_sizes",
    [FE_XGBOOST_CONDITION] = "split_conditions",
    [FE_XGBOOST_WEIGHTS] = "base_weights",
    [FE_XGBOOST_LEAF_WEIGHTS] = "leaf_weights",
    [FE_XGBOOST_HESSIAN] = "sum_hessian",
    [FE_XGBOOST_PARAM] = "tree_param",
};

/* Categories are floats below 2^24. */
#define MAX_CATEGORY 16777215
/* What a deleted node has for a feature; such nodes are in no tree. */
#define DELETED 2147483647
/* Words of sets that a file of any size may ask for. */
#define FREE_SET_WORDS (1 << 24)

struct tree {
    struct fe_xgboost *model;
    int64_t index, n;
    struct fe_value field[FE_XGBOOST_N_KEYS];
    int64_t n_sets, next_set, set_begin; /* taken so far */
};

#define fail(t, at, ...) fe_json_error(&(t)->model->json, at, __VA_ARGS__)

static int64_t *ints(const struct tree *t, enum fe_xgboost_key key)
{
    return t->model->part[key].i;
}

static const float *floats(const struct tree *t, enum fe_xgboost_key key)
{
    return t->model->part[key].f;
}

static bool is_leaf(const struct tree *t, int64_t node)
{
    return ints(t, FE_XGBOOST_LEFT)[node] == -1;
}

static struct fe_value element(const struct tree *t, enum fe_xgboost_key key,
                               int64_t i)
{
    return fe_json_element(&t->model->json, &t->field[key], i);
}

/* An error at element i of an array. */
#define fail_at(t, key, i, ...)                                               \
    fail(t, &(struct fe_value[]){element(t, key, i)}[0], __VA_ARGS__)

void *fe_xgboost_room(struct fe_numbers *room, int64_t n, size_t size)
{
    const size_t bytes = (size_t)n * size + 1;
    if (bytes > room->bytes) {
        room->bytes = bytes * 2;
        room->data = ir_realloc_array(room->data, room->bytes, 1);
    }
    return room->data;
}

/* ------------------------------------------------------------ children -- */

static bool check_child(struct tree *t, enum fe_xgboost_key side, int64_t node,
                        int64_t *parent)
{
    const int64_t child = ints(t, side)[node];
    const char *name = side == FE_XGBOOST_LEFT ? "left" : "right";
    if (child < 0 || child >= t->n)
        return fail_at(t, side, node,
                       "node %lld: %s child %lld is out of range (the tree has "
                       "%lld nodes)",
                       (long long)node, name, (long long)child,
                       (long long)t->n);
    if (child == 0)
        return fail_at(t, side, node, "node %lld: the %s child is the root",
                       (long long)node, name);
    if (parent[child] >= 0)
        return fail_at(t, side, node,
                       "node %lld: %s child %lld is a child of node %lld "
                       "already",
                       (long long)node, name, (long long)child,
                       (long long)parent[child]);
    parent[child] = node;
    return true;
}

/* The nodes that the root leads to, in `order`; returns how many. Each has one
 * parent, so that none comes twice. */
static int64_t walk_from_root(const struct tree *t, int64_t *order)
{
    int64_t n = 1;
    order[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        if (is_leaf(t, order[i]))
            continue;
        order[n++] = ints(t, FE_XGBOOST_LEFT)[order[i]];
        order[n++] = ints(t, FE_XGBOOST_RIGHT)[order[i]];
    }
    return n;
}

/* Gives each node its number in the builder, inner nodes and leaves apart in
 * ascending order; those that were deleted have none. */
static bool place_nodes(struct tree *t)
{
    struct fe_xgboost *m = t->model;
    const size_t size = sizeof(int64_t);
    int64_t *place = fe_xgboost_room(&m->place, t->n, size);
    int64_t *order = fe_xgboost_room(&m->order, t->n, size);
    memset(place, 0, (size_t)t->n * size);
    const int64_t n = walk_from_root(t, order);
    for (int64_t i = 0; i < n; i++)
        place[order[i]] = 1;
    int64_t n_inner = 0, n_leaves = 0;
    for (int64_t i = 0; i < t->n; i++) {
        if (place[i])
            place[i] = is_leaf(t, i) ? ~n_leaves++ : n_inner++;
        else if (!is_leaf(t, i) || ints(t, FE_XGBOOST_FEATURE)[i] < DELETED)
            return fail_at(t, FE_XGBOOST_LEFT, i,
                           "node %lld cannot be reached from the root",
                           (long long)i);
        else
            place[i] = INT64_MAX;
    }
    return true;
}

static bool read_children(struct tree *t)
{
    int64_t *parent =
        fe_xgboost_room(&t->model->parent, t->n, sizeof *parent);
    memset(parent, 0xff, (size_t)t->n * sizeof *parent);
    for (int64_t i = 0; i < t->n; i++)
        if (!is_leaf(t, i) && (!check_child(t, FE_XGBOOST_LEFT, i, parent) ||
                               !check_child(t, FE_XGBOOST_RIGHT, i, parent)))
            return false;
    return place_nodes(t);
}

/* ---------------------------------------------------------------- sets -- */

/* The next of the tree's sets is that of `node`. */
static bool find_set(struct tree *t, int64_t node, int64_t *begin,
                     int64_t *size)
{
    const int64_t s = t->next_set;
    const struct fe_xgboost *m = t->model;
    const int64_t n = m->part[FE_XGBOOST_CATEGORIES].n;
    if (s == t->n_sets || ints(t, FE_XGBOOST_CATEGORY_NODES)[s] != node)
        return fail_at(t, FE_XGBOOST_TYPE, node,
                       "node %lld is categorical, but %s %s %lld",
                       (long long)node, keys[FE_XGBOOST_CATEGORY_NODES],
                       s == t->n_sets ? "ends after" : "goes on with",
                       (long long)(s == t->n_sets ? t->n_sets
                                   : ints(t, FE_XGBOOST_CATEGORY_NODES)[s]));
    *begin = ints(t, FE_XGBOOST_SEGMENTS)[s];
    *size = ints(t, FE_XGBOOST_SIZES)[s];
    if (*begin != t->set_begin)
        return fail_at(t, FE_XGBOOST_SEGMENTS, s,
                       "categories_segments[%lld] is %lld, but the sets before "
                       "it have %lld categories",
                       (long long)s, (long long)*begin,
                       (long long)t->set_begin);
    if (*size < 1 || *size > n - *begin)
        return fail_at(t, FE_XGBOOST_SIZES, s,
                       "categories_sizes[%lld] is %lld (%lld categories are "
                       "left)",
                       (long long)s, (long long)*size, (long long)(n - *begin));
    t->next_set++;
    t->set_begin += *size;
    return true;
}

static bool check_set_size(struct tree *t, int64_t category, int64_t n_words)
{
    struct fe_xgboost *m = t->model;
    const int64_t limit = FREE_SET_WORDS + (m->json.end - m->json.data);
    m->n_set_words += n_words;
    return m->n_set_words <= limit ||
           fail_at(t, FE_XGBOOST_CATEGORIES, category,
                   "the sets of categories take %lld words of 32 bits so far "
                   "(the limit for a file of this size is %lld)",
                   (long long)m->n_set_words, (long long)limit);
}

/* The bits of a set. */
static bool read_set(struct tree *t, int64_t begin, int64_t size,
                     int64_t *n_words)
{
    const int64_t *category = ints(t, FE_XGBOOST_CATEGORIES);
    int64_t largest = 0;
    for (int64_t i = begin; i < begin + size; i++) {
        if (category[i] < 0 || category[i] > MAX_CATEGORY)
            return fail_at(t, FE_XGBOOST_CATEGORIES, i,
                           "category %lld is out of range (0 to %d)",
                           (long long)category[i], MAX_CATEGORY);
        if (category[i] > largest)
            largest = category[i];
    }
    *n_words = largest / 32 + 1;
    if (!check_set_size(t, begin, *n_words))
        return false;
    uint32_t *words =
        fe_xgboost_room(&t->model->words, *n_words, sizeof *words);
    memset(words, 0, (size_t)*n_words * sizeof *words);
    for (int64_t i = begin; i < begin + size; i++)
        words[category[i] / 32] |= (uint32_t)1 << category[i] % 32;
    return true;
}

/* --------------------------------------------------------------- nodes -- */

static bool add_set_node(struct tree *t, int64_t node, int64_t feature,
                         int left, int right, bool default_left)
{
    struct fe_xgboost *m = t->model;
    int64_t begin = 0, size = 0, n_words = 0;
    if (!find_set(t, node, &begin, &size) ||
        !read_set(t, begin, size, &n_words))
        return false;
    m->categorical[feature] = true;
    ir_forest_set_node(m->forest, (int)feature, m->words.data, (int)n_words,
                       right, left,
                       (uint8_t)(IR_NODE_FLOOR |
                                 (default_left ? 0 : IR_NODE_MISSING_LEFT)));
    return true;
}

static bool add_node(struct tree *t, int64_t node)
{
    struct fe_xgboost *m = t->model;
    const int64_t *place = m->place.i;
    const int64_t feature = ints(t, FE_XGBOOST_FEATURE)[node];
    if (feature < 0 || feature >= m->n_features)
        return fail_at(t, FE_XGBOOST_FEATURE, node,
                       "node %lld: feature %lld is out of range (the model has "
                       "%lld)",
                       (long long)node, (long long)feature,
                       (long long)m->n_features);
    const int left = (int)place[ints(t, FE_XGBOOST_LEFT)[node]];
    const int right = (int)place[ints(t, FE_XGBOOST_RIGHT)[node]];
    const bool default_left = ints(t, FE_XGBOOST_DEFAULT_LEFT)[node] != 0;
    const int64_t type =
        t->field[FE_XGBOOST_TYPE].at ? ints(t, FE_XGBOOST_TYPE)[node] : 0;
    if (type == 1)
        return add_set_node(t, node, feature, left, right, default_left);
    if (type != 0)
        return fail_at(t, FE_XGBOOST_TYPE, node,
                       "node %lld: split type %lld (0 is numeric, 1 is "
                       "categorical)",
                       (long long)node, (long long)type);
    const float threshold = floats(t, FE_XGBOOST_CONDITION)[node];
    if (isnan(threshold))
        return fail_at(t, FE_XGBOOST_CONDITION, node,
                       "node %lld: the threshold is NaN", (long long)node);
    ir_forest_node(m->forest, (int)feature, (double)threshold, left, right,
                   default_left ? IR_NODE_MISSING_LEFT : 0);
    return true;
}

/* The values of a leaf: since 3.1 those of vector leaves have an array of their
 * own, and the right child is the place in it. NULL with a message. */
static const float *leaf_values(struct tree *t, int64_t node)
{
    const struct fe_xgboost *m = t->model;
    if (m->leaf_width == 1)
        return &floats(t, FE_XGBOOST_CONDITION)[node];
    if (!t->field[FE_XGBOOST_LEAF_WEIGHTS].at)
        return &floats(t, FE_XGBOOST_WEIGHTS)[node * m->leaf_width];
    const int64_t place = ints(t, FE_XGBOOST_RIGHT)[node];
    const int64_t n = m->part[FE_XGBOOST_LEAF_WEIGHTS].n / m->leaf_width;
    if (place < 0 || place >= n) {
        fail_at(t, FE_XGBOOST_RIGHT, node,
                "node %lld is leaf %lld (leaf_weights has those of %lld "
                "leaves)",
                (long long)node, (long long)place, (long long)n);
        return NULL;
    }
    return &floats(t, FE_XGBOOST_LEAF_WEIGHTS)[place * m->leaf_width];
}

/* Adds a leaf: dart's weight is multiplied in here, in f32 as XGBoost does
 * it for each row. */
static bool add_leaf(struct tree *t, int64_t node)
{
    struct fe_xgboost *m = t->model;
    const float *value = leaf_values(t, node);
    if (!value)
        return false;
    double *values =
        fe_xgboost_room(&m->order, m->leaf_width, sizeof *values);
    for (int64_t k = 0; k < m->leaf_width; k++) {
        float v = value[k];
        if (m->weights.n)
            v *= m->weights.f[t->index];
        values[k] = (double)v;
    }
    ir_forest_leaf_values(m->forest, values);
    ir_forest_leaf_id(m->forest, (int32_t)node);
    return true;
}

static void add_cover(struct tree *t, int64_t node)
{
    if (!t->field[FE_XGBOOST_HESSIAN].at)
        return;
    const double cover = (double)floats(t, FE_XGBOOST_HESSIAN)[node];
    if (is_leaf(t, node))
        ir_forest_leaf_cover(t->model->forest, cover);
    else
        ir_forest_node_cover(t->model->forest, cover);
}

static bool add_nodes(struct tree *t)
{
    struct fe_xgboost *m = t->model;
    for (int64_t i = 0; i < t->n; i++) {
        if (m->place.i[i] == INT64_MAX)
            continue;
        if (is_leaf(t, i) ? !add_leaf(t, i) : !add_node(t, i))
            return false;
        add_cover(t, i);
    }
    return t->next_set == t->n_sets ||
           fail_at(t, FE_XGBOOST_CATEGORY_NODES, t->next_set,
                   "categories_nodes has node %lld, which is not categorical "
                   "or not in this place",
                   (long long)ints(t, FE_XGBOOST_CATEGORY_NODES)[t->next_set]);
}

/* ---------------------------------------------------------------- tree -- */

static bool check_length(struct tree *t, enum fe_xgboost_key key, int64_t n,
                         const char *what)
{
    const int64_t found = t->model->part[key].n;
    return found == n ||
           fail(t, &t->field[key], "%s has %lld numbers (the tree has %lld "
                "%s)",
                keys[key], (long long)found, (long long)n, what);
}

/* Reads an array unless it may be absent and is; a model before 1.3 has no
 * categories. */
static bool read_array(struct tree *t, enum fe_xgboost_key key)
{
    struct fe_xgboost *m = t->model;
    m->part[key].n = 0;
    const bool needed = key <= FE_XGBOOST_DEFAULT_LEFT ||
                        key == FE_XGBOOST_CONDITION;
    if (!needed && !t->field[key].at)
        return true;
    if (key >= FE_XGBOOST_CONDITION)
        return fe_json_floats(&m->json, &t->field[key], keys[key],
                              &m->part[key]);
    return fe_json_ints(&m->json, &t->field[key], keys[key], &m->part[key]);
}

static bool read_arrays(struct tree *t)
{
    for (int key = 0; key < FE_XGBOOST_PARAM; key++) {
        if ((key == FE_XGBOOST_WEIGHTS || key == FE_XGBOOST_LEAF_WEIGHTS) &&
            t->model->leaf_width == 1)
            continue; /* of a scalar tree they change no prediction */
        if (!read_array(t, (enum fe_xgboost_key)key))
            return false;
        const bool per_node = key <= FE_XGBOOST_DEFAULT_LEFT ||
                              key == FE_XGBOOST_CONDITION ||
                              ((key == FE_XGBOOST_TYPE ||
                                key == FE_XGBOOST_HESSIAN) &&
                               t->field[key].at);
        if (per_node &&
            !check_length(t, (enum fe_xgboost_key)key, t->n, "nodes"))
            return false;
    }
    t->n_sets = t->model->part[FE_XGBOOST_CATEGORY_NODES].n;
    return check_length(t, FE_XGBOOST_SEGMENTS, t->n_sets, "categorical") &&
           check_length(t, FE_XGBOOST_SIZES, t->n_sets, "categorical") &&
           (t->model->leaf_width == 1 || t->field[FE_XGBOOST_LEAF_WEIGHTS].at ||
            check_length(t, FE_XGBOOST_WEIGHTS, t->n * t->model->leaf_width,
                         "values"));
}

/* Each tree has as many values a leaf as the first. */
static bool read_width(struct tree *t, const struct fe_value *value)
{
    struct fe_xgboost *m = t->model;
    int64_t width = 1;
    if (value->at &&
        !fe_xgboost_param(m, value, "size_leaf_vector", 0, INT32_MAX, &width))
        return false;
    if (width == 0)
        width = 1;
    if (t->index == 0) {
        m->leaf_width = width;
        if (width > 1)
            ir_forest_width(m->forest, (int)width);
    }
    if (width != m->leaf_width)
        return fail(t, value, "size_leaf_vector is %lld, of the first tree "
                    "%lld",
                    (long long)width, (long long)m->leaf_width);
    return width == 1 || width == m->n_groups ||
           fail(t, value, "size_leaf_vector is %lld (the model has %lld "
                "outputs)",
                (long long)width, (long long)m->n_groups);
}

static bool read_param(struct tree *t)
{
    static const char *const names[] = {"num_nodes", "size_leaf_vector"};
    struct fe_xgboost *m = t->model;
    struct fe_value field[2];
    if (!fe_json_fields(&m->json, &t->field[FE_XGBOOST_PARAM], "tree_param", 2,
                        names, field) ||
        !fe_xgboost_param(m, &field[0], "num_nodes", 1, IR_MAX_NODES, &t->n) ||
        !read_width(t, &field[1]))
        return false;
    const int64_t so_far = ir_forest_size(m->forest);
    return so_far + t->n <= IR_MAX_NODES ||
           fail(t, &field[0], "%lld nodes are too many (the limit is %d)",
                (long long)(so_far + t->n), IR_MAX_NODES);
}

bool fe_xgboost_tree(struct fe_xgboost *m, int64_t index,
                     const struct fe_value *tree)
{
    struct tree t = {.model = m, .index = index};
    snprintf(m->json.context, sizeof m->json.context, "tree %lld: ",
             (long long)index);
    if (!fe_json_fields(&m->json, tree, "it", FE_XGBOOST_N_KEYS, keys,
                        t.field) ||
        !read_param(&t) || !read_arrays(&t) || !read_children(&t))
        return false;
    ir_forest_tree(m->forest,
                   m->leaf_width > 1 ? 0 : (int)m->info.i[index]);
    return add_nodes(&t);
}

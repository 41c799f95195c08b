/* lightgbm_json.c: what LightGBM's dump_model() gives, written as JSON.
 *
 * It says the same as the text, so what is read goes the same way: the struct
 * of lightgbm.c, and lightgbm_build.c. A tree is nested objects here, as deep
 * as it has leaves; they are walked with a stack of their own, in linear time,
 * and put in the order of split_index and leaf_index, which are the numbers
 * that the text has.
 *
 * An infinite threshold, which is that of a feature's last bin, is written as
 * 1e300 there; so that is what 1e300 means.
 *
 * A category's set is written member by member, so a set may be larger than the
 * file: members have a limit, and so have all sets together.
 */
#include "frontend/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* How an infinity is written. */
#define INFINITE 1e300
/* Members of a set are below it. */
#define MAX_CATEGORY (1 << 24)
/* Words of all sets that a file of any size may ask for. */
#define MAX_SET_WORDS (1 << 24)

enum root_key {
    NAME, VERSION, NUM_CLASS, TREES_PER_ITERATION, MAX_FEATURE_IDX, OBJECTIVE,
    AVERAGE_OUTPUT, FEATURE_NAMES, FEATURE_INFOS, TREE_INFO,
    PANDAS_CATEGORICAL, N_ROOT_KEYS
};
static const char *const root_keys[N_ROOT_KEYS] = {
    "name", "version", "num_class", "num_tree_per_iteration",
    "max_feature_idx", "objective", "average_output", "feature_names",
    "feature_infos", "tree_info", "pandas_categorical"};

/* Of nodes, then of leaves. */
enum node_key {
    SPLIT_INDEX, SPLIT_FEATURE, THRESHOLD, DECISION_TYPE, DEFAULT_LEFT,
    MISSING_TYPE, LEFT_CHILD, RIGHT_CHILD,
    INTERNAL_COUNT,
    LEAF_INDEX, LEAF_VALUE, LEAF_CONST, LEAF_FEATURES, LEAF_COEFF, LEAF_COUNT,
    N_NODE_KEYS
};
static const char *const node_keys[N_NODE_KEYS] = {
    "split_index", "split_feature", "threshold", "decision_type",
    "default_left", "missing_type", "left_child", "right_child",
    "internal_count", "leaf_index", "leaf_value", "leaf_const", "leaf_features",
    "leaf_coeff", "leaf_count"};

/* A node or a leaf as it stands in the file. */
struct part {
    struct fe_value field[N_NODE_KEYS];
    int child[2]; /* as the builder numbers them */
};

/* A part that is being read, below the one before it on a stack. */
struct open {
    struct fe_walk walk;
    struct part part;
    const char *name; /* what messages call it */
    int side;         /* of its parent: 0 left, 1 right */
};

struct dump {
    struct fe_lightgbm *model;
    struct fe_json json;
    struct fe_value root[N_ROOT_KEYS];
    struct fe_span **by_name; /* the model's names, sorted */
    /* Of the tree in hand. */
    int64_t n_leaves;
    struct part *node, *leaf; /* by their numbers; a place of NULL: not seen */
    int64_t n_room;           /* leaves that there is room for */
    struct open *open;        /* from the root to what is being read */
    int64_t n_open, open_room;
    struct fe_numbers features, coefs;
    int64_t n_words; /* of all sets so far */
};

#define fail(d, at, ...) fe_json_error(&(d)->json, at, __VA_ARGS__)

/* --------------------------------------------------------------- header -- */

/* A string as a span, of which only the line is known. */
static bool span_of(struct dump *d, const struct fe_value *value,
                    const char *name, struct fe_span *span)
{
    char *s;
    if (!fe_json_string(&d->json, value, name, &d->model->scratch, &s))
        return false;
    *span = (struct fe_span){.begin = s, .end = s + strlen(s),
                             .line = fe_json_loc(&d->json, value).line};
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const struct fe_span *const *x = a, *const *y = b;
    return strcmp((*x)->begin, (*y)->begin);
}

/* Fills d->by_name. */
static bool sort_names(struct dump *d)
{
    struct fe_lightgbm *m = d->model;
    const size_t n = (size_t)m->n_features;
    d->by_name = ir_alloc_array(&m->scratch, n, sizeof *d->by_name);
    for (size_t i = 0; i < n; i++)
        d->by_name[i] = &m->names[i];
    qsort(d->by_name, n, sizeof *d->by_name, compare_names);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(d->by_name[i - 1]->begin, d->by_name[i]->begin))
            return fail(d, &d->root[FEATURE_NAMES],
                        "feature_names holds '%.60s' twice",
                        d->by_name[i]->begin);
    return true;
}

static bool read_name(struct dump *d, const struct fe_value *name,
                      struct fe_span *span)
{
    if (!span_of(d, name, "a feature name", span))
        return false;
    const ptrdiff_t n = span->end - span->begin;
    return n <= IR_MAX_NAME ||
           fail(d, name, "a feature name of %lld bytes (the limit is %d)",
                (long long)n, IR_MAX_NAME);
}

static bool read_names(struct dump *d)
{
    struct fe_lightgbm *m = d->model;
    const struct fe_value *names = &d->root[FEATURE_NAMES];
    struct fe_walk walk;
    struct fe_value name;
    int64_t n;
    if (!fe_json_length(&d->json, names, "feature_names", &n))
        return false;
    if (n != m->n_features)
        return fail(d, names, "feature_names has %lld names (max_feature_idx "
                    "is %lld)", (long long)n, (long long)m->n_features - 1);
    m->names = ir_alloc_array(&m->scratch, (size_t)n, sizeof *m->names);
    m->categorical =
        ir_alloc_array(&m->scratch, (size_t)n, sizeof *m->categorical);
    fe_json_begin(&d->json, names, "feature_names", &walk);
    for (int64_t i = 0; fe_json_next(&walk, &name); i++)
        if (!read_name(d, &name, &m->names[i]))
            return false;
    return sort_names(d);
}

/* The number of the feature that a key names, or -1 with a message. */
static int64_t find_feature(struct dump *d, const struct fe_value *key)
{
    struct fe_lightgbm *m = d->model;
    struct fe_span name;
    const struct fe_span *wanted = &name;
    if (!span_of(d, key, "a key", &name))
        return -1;
    struct fe_span **found =
        bsearch(&wanted, d->by_name, (size_t)m->n_features,
                sizeof *d->by_name, compare_names);
    if (found)
        return *found - m->names;
    fail(d, key, "feature_infos: '%.*s' is the name of no feature",
         FE_SHOW(&name));
    return -1;
}

/* A feature with values is categorical; one that was of no use is left out. */
static bool read_infos(struct dump *d)
{
    static const char *const keys[] = {"values"};
    struct fe_lightgbm *m = d->model;
    struct fe_walk walk;
    struct fe_value info, values;
    int64_t i, n;
    if (fe_json_kind(&d->json, &d->root[FEATURE_INFOS]) == FE_ABSENT)
        return true;
    if (!fe_json_begin_object(&d->json, &d->root[FEATURE_INFOS],
                              "feature_infos", &walk))
        return false;
    while (fe_json_next(&walk, &info)) {
        i = find_feature(d, &walk.key);
        if (i < 0 || !fe_json_fields(&d->json, &info, "feature_infos", 1, keys,
                                     &values))
            return false;
        if (fe_json_kind(&d->json, &values) == FE_ABSENT)
            continue;
        if (!fe_json_length(&d->json, &values, "values", &n))
            return false;
        m->categorical[i] = n > 0;
    }
    return true;
}

static bool read_counts(struct dump *d)
{
    struct fe_lightgbm *m = d->model;
    int64_t per_iteration, last;
    if (!fe_json_int(&d->json, &d->root[NUM_CLASS], "num_class", 1,
                     IR_MAX_COLUMNS, &m->n_targets) ||
        !fe_json_int(&d->json, &d->root[MAX_FEATURE_IDX], "max_feature_idx",
                     0, IR_MAX_COLUMNS - 1, &last))
        return false;
    m->n_features = last + 1;
    if (fe_json_kind(&d->json, &d->root[TREES_PER_ITERATION]) == FE_ABSENT)
        return true;
    if (!fe_json_int(&d->json, &d->root[TREES_PER_ITERATION],
                     "num_tree_per_iteration", 1, IR_MAX_COLUMNS,
                     &per_iteration))
        return false;
    return per_iteration == m->n_targets ||
           fail(d, &d->root[TREES_PER_ITERATION],
                "num_tree_per_iteration %lld differs from num_class %lld",
                (long long)per_iteration, (long long)m->n_targets);
}

static bool read_header(struct dump *d)
{
    struct fe_lightgbm *m = d->model;
    const struct fe_value root = fe_json_root(&d->json);
    if (!fe_json_fields(&d->json, &root, "the model", N_ROOT_KEYS, root_keys,
                        d->root) ||
        !span_of(d, &d->root[VERSION], "version", &m->version) ||
        !fe_lightgbm_version(m) ||
        !read_counts(d) || !read_names(d) || !read_infos(d))
        return false;
    if (fe_json_kind(&d->json, &d->root[OBJECTIVE]) != FE_ABSENT &&
        !span_of(d, &d->root[OBJECTIVE], "objective", &m->objective))
        return false;
    if (!d->root[AVERAGE_OUTPUT].at)
        return fail(d, &root, "average_output is missing: LightGBM before 2.2 "
                    "says neither that nor the objective in a dump");
    if (!fe_json_bool(&d->json, &d->root[AVERAGE_OUTPUT], "average_output",
                      &m->average))
        return false;
    return fe_lightgbm_objective(m);
}

/* The category names are read where the text's are: as JSON. */
static void take_tables(struct dump *d)
{
    const struct fe_value *tables = &d->root[PANDAS_CATEGORICAL];
    if (fe_json_kind(&d->json, tables) == FE_ABSENT)
        return;
    d->model->tables = (struct fe_span){
        .begin = (const char *)tables->at,
        .end = (const char *)fe_text_skip(tables->at, d->json.end),
        .line = fe_json_loc(&d->json, tables).line};
}

/* ---------------------------------------------------------------- nodes -- */

static bool number_of(struct dump *d, struct part *part, enum node_key key,
                      int64_t n, struct part *parts, int64_t *number)
{
    const struct fe_value *index = &part->field[key];
    if (!fe_json_int(&d->json, index, node_keys[key], 0, n - 1, number))
        return false;
    return !parts[*number].field[key].at ||
           fail(d, index, "%s %lld stands twice in its tree", node_keys[key],
                (long long)*number);
}

/* A leaf; in a tree of one it has no number. */
static bool place_leaf(struct dump *d, struct part *part, int *child)
{
    int64_t number = 0;
    if (d->n_leaves > 1 &&
        !number_of(d, part, LEAF_INDEX, d->n_leaves, d->leaf, &number))
        return false;
    if (!part->field[LEAF_INDEX].at)
        part->field[LEAF_INDEX] = part->field[LEAF_VALUE];
    d->leaf[number] = *part;
    *child = ~(int)number;
    return true;
}

static bool place_node(struct dump *d, struct part *part, bool is_root,
                       int *child)
{
    int64_t number;
    if (!number_of(d, part, SPLIT_INDEX, d->n_leaves - 1, d->node, &number))
        return false;
    if (is_root != (number == 0))
        return fail(d, &part->field[SPLIT_INDEX], "split_index is %lld %s",
                    (long long)number,
                    number ? "at the root" : "below the root");
    for (int k = LEFT_CHILD; k <= RIGHT_CHILD; k++)
        if (!part->field[k].at)
            return fail(d, &part->field[SPLIT_INDEX], "node %lld has no %s",
                        (long long)number, node_keys[k]);
    d->node[number] = *part;
    *child = (int)number;
    return true;
}

/* ------------------------------------------------------------ structure -- */

/* Steps into an object: side 0 or 1 of the one that is open, or the root. */
static bool open_part(struct dump *d, const struct fe_value *at, int side)
{
    if (d->n_open == d->open_room) {
        d->open_room = 2 * d->open_room + 16;
        d->open =
            ir_realloc_array(d->open, (size_t)d->open_room, sizeof *d->open);
    }
    struct open *open = &d->open[d->n_open];
    *open = (struct open){.side = side};
    open->name = d->n_open ? node_keys[LEFT_CHILD + side] : "tree_structure";
    d->n_open++;
    return fe_json_begin_object(&d->json, at, open->name, &open->walk);
}

/* Steps out of an object that was read to its end. */
static bool close_part(struct dump *d)
{
    struct open *open = &d->open[--d->n_open];
    struct part *part = &open->part;
    int child = 0;
    if (part->field[LEAF_VALUE].at ? !place_leaf(d, part, &child)
                                   : !place_node(d, part, d->n_open == 0,
                                                 &child))
        return false;
    if (d->n_open > 0) {
        open[-1].part.child[open->side] = child;
        fe_json_leave(&open[-1].walk, &open->walk);
    }
    return true;
}

/* Another key would be a quirk that is not known here. */
static bool check_key(struct dump *d, const struct fe_value *key)
{
    static const char *const reports[] = {
        "split_gain", "internal_value", "internal_weight", "leaf_weight"};
    for (size_t i = 0; i < sizeof reports / sizeof *reports; i++)
        if (fe_json_is(&d->json, key, reports[i]))
            return true;
    struct fe_span name;
    return span_of(d, key, "a key", &name) &&
           fail(d, key, "'%.*s' is no key that LightGBM 2 to 4 writes here",
                FE_SHOW(&name));
}

/* Fills d->node and d->leaf. Each byte is passed once, however deep it is. */
static bool read_parts(struct dump *d, const struct fe_value *structure)
{
    int64_t n = 1;
    d->n_open = 0;
    if (!open_part(d, structure, 0))
        return false;
    while (d->n_open > 0) {
        struct open *open = &d->open[d->n_open - 1];
        struct fe_value value;
        int k;
        if (!fe_json_next(&open->walk, &value)) {
            if (!close_part(d))
                return false;
            continue;
        }
        if (!fe_json_put(&d->json, &open->walk, &value, open->name,
                         N_NODE_KEYS, node_keys, open->part.field, &k) ||
            (k == N_NODE_KEYS && !check_key(d, &open->walk.key)))
            return false;
        if (k == LEFT_CHILD || k == RIGHT_CHILD) {
            if (!open_part(d, &value, k - LEFT_CHILD))
                return false;
            n++;
        }
    }
    return n == 2 * d->n_leaves - 1 ||
           fail(d, structure, "the tree has %lld nodes and leaves (num_leaves "
                "is %lld)", (long long)n, (long long)d->n_leaves);
}

/* -------------------------------------------------------------- the set -- */

/* "0||3||12" as bits. */
static bool read_set(struct dump *d, const struct fe_value *threshold,
                     struct ir_arena *arena, uint32_t **words, int *n_words)
{
    char *s;
    if (!fe_json_string(&d->json, threshold, "threshold", arena, &s))
        return false;
    int64_t largest = -1;
    for (int pass = 0; pass < 2; pass++) {
        for (const char *p = *s ? s : NULL; p;) {
            const char *end = strstr(p, "||");
            int64_t member;
            if (!ir_parse_int(p, end ? end : p + strlen(p), &member) ||
                member < 0 || member >= MAX_CATEGORY)
                return fail(d, threshold, "threshold: '%.20s' is no category "
                            "(0 to %d can be had)", p, MAX_CATEGORY - 1);
            largest = member > largest ? member : largest;
            if (pass)
                (*words)[member / 32] |= UINT32_C(1) << (member % 32);
            p = end ? end + 2 : NULL;
        }
        *n_words = (int)(largest / 32) + 1;
        if (pass == 0 && (d->n_words += *n_words) > MAX_SET_WORDS)
            return fail(d, threshold, "the sets of categories are larger than "
                        "%d words", MAX_SET_WORDS);
        if (pass == 0)
            *words = ir_alloc_array(arena, (size_t)*n_words, sizeof **words);
    }
    return true;
}

/* ---------------------------------------------------------------- build -- */

static bool missing_of(struct dump *d, const struct fe_value *value,
                       int *missing)
{
    static const char *const names[] = {"None", "Zero", "NaN"};
    for (*missing = 0; *missing < 3; ++*missing)
        if (fe_json_kind(&d->json, value) == FE_STRING &&
            fe_json_is(&d->json, value, names[*missing]))
            return true;
    return fail(d, value, "missing_type is not \"None\", \"Zero\" or \"NaN\"");
}

/* The rows that came to the newest node, or leaf, where the dump says so. */
static bool add_cover(struct dump *d, const struct part *p, enum node_key key,
                      void (*add)(struct ir_forest_builder *b, double cover))
{
    double rows;
    if (!p->field[key].at)
        return true;
    if (!fe_json_double(&d->json, &p->field[key], node_keys[key], &rows))
        return false;
    add(d->model->forest, rows);
    return true;
}

static bool add_set_node(struct dump *d, const struct part *p, int feature)
{
    struct ir_arena arena;
    uint32_t *words = NULL;
    int n_words = 0;
    ir_arena_init(&arena);
    const bool good =
        read_set(d, &p->field[THRESHOLD], &arena, &words, &n_words);
    if (good) {
        d->model->categorical[feature] = true;
        ir_forest_set_node(d->model->forest, feature, words, n_words,
                           p->child[0], p->child[1], 0);
    }
    ir_arena_release(&arena);
    return good &&
           add_cover(d, p, INTERNAL_COUNT, ir_forest_node_cover);
}

static bool add_node(struct dump *d, const struct part *p)
{
    struct fe_lightgbm *m = d->model;
    const struct fe_value *decision = &p->field[DECISION_TYPE];
    int64_t feature;
    double threshold;
    bool left;
    int missing;
    if (!fe_json_int(&d->json, &p->field[SPLIT_FEATURE], "split_feature", 0,
                     m->n_features - 1, &feature))
        return false;
    const bool is_string = fe_json_kind(&d->json, decision) == FE_STRING;
    if (is_string && fe_json_is(&d->json, decision, "=="))
        return add_set_node(d, p, (int)feature);
    if (!is_string || !fe_json_is(&d->json, decision, "<="))
        return fail(d, decision, "decision_type is not \"<=\" or \"==\"");
    if (!fe_json_double(&d->json, &p->field[THRESHOLD], "threshold",
                        &threshold) ||
        !fe_json_bool(&d->json, &p->field[DEFAULT_LEFT], "default_left",
                      &left) ||
        !missing_of(d, &p->field[MISSING_TYPE], &missing))
        return false;
    if (isnan(threshold))
        return fail(d, &p->field[THRESHOLD], "threshold is a NaN, which no "
                    "number can be compared with");
    if (fabs(threshold) == INFINITE)
        threshold = copysign(INFINITY, threshold);
    fe_lightgbm_node(m, (int)feature, threshold, missing, left, p->child[0],
                     p->child[1]);
    return add_cover(d, p, INTERNAL_COUNT, ir_forest_node_cover);
}

/* Makes the newest leaf linear. */
static bool add_terms(struct dump *d, const struct part *p, double constant)
{
    struct fe_lightgbm *m = d->model;
    const int64_t n = d->features.n;
    int32_t *features =
        ir_realloc_array(NULL, (size_t)n, sizeof *features);
    bool good = true;
    for (int64_t i = 0; i < n && good; i++) {
        const int64_t feature = d->features.i[i];
        features[i] = (int32_t)feature;
        if (feature < 0 || feature >= m->n_features)
            good = fail(d, &p->field[LEAF_FEATURES],
                        "leaf_features %lld is out of range (the model has "
                        "%lld features)", (long long)feature,
                        (long long)m->n_features);
    }
    if (good)
        ir_forest_linear(m->forest, constant, (int)n, features, d->coefs.d);
    m->needs_zero_bound = true;
    free(features);
    return good;
}

/* As lightgbm_tree.c has it: without coefficients a linear leaf is its
 * constant. */
static bool add_leaf(struct dump *d, const struct part *p)
{
    struct fe_lightgbm *m = d->model;
    double value, constant = 0;
    if (!fe_json_double(&d->json, &p->field[LEAF_VALUE], "leaf_value", &value))
        return false;
    if (!p->field[LEAF_CONST].at) {
        ir_forest_leaf(m->forest, value);
        return add_cover(d, p, LEAF_COUNT, ir_forest_leaf_cover);
    }
    if (!fe_json_double(&d->json, &p->field[LEAF_CONST], "leaf_const",
                        &constant) ||
        !fe_json_ints(&d->json, &p->field[LEAF_FEATURES], "leaf_features",
                      &d->features) ||
        !fe_json_doubles(&d->json, &p->field[LEAF_COEFF], "leaf_coeff",
                         &d->coefs))
        return false;
    const int64_t n = d->features.n;
    if (n != d->coefs.n)
        return fail(d, &p->field[LEAF_COEFF], "leaf_coeff has %lld numbers "
                    "(leaf_features has %lld)", (long long)d->coefs.n,
                    (long long)n);
    ir_forest_leaf(m->forest, n == 0 ? constant : value);
    return n == 0 || add_terms(d, p, constant);
}

static bool read_tree(struct dump *d, const struct fe_value *tree)
{
    static const char *const keys[] = {"num_leaves", "tree_structure"};
    struct fe_lightgbm *m = d->model;
    struct fe_value field[2];
    snprintf(d->json.context, sizeof d->json.context, "tree %lld: ",
             (long long)m->n_trees);
    /* A leaf takes more bytes of the file. */
    const int64_t most = (d->json.end - d->json.data) / 16 + 1;
    if (!fe_json_fields(&d->json, tree, "tree_info", 2, keys, field) ||
        !fe_json_int(&d->json, &field[0], "num_leaves", 1,
                     most < IR_MAX_NODES ? most : IR_MAX_NODES, &d->n_leaves))
        return false;
    if (d->n_leaves > d->n_room) {
        d->n_room = d->n_leaves + d->n_room;
        d->node = ir_realloc_array(d->node, (size_t)d->n_room, sizeof *d->node);
        d->leaf = ir_realloc_array(d->leaf, (size_t)d->n_room, sizeof *d->leaf);
    }
    memset(d->node, 0, (size_t)d->n_leaves * sizeof *d->node);
    memset(d->leaf, 0, (size_t)d->n_leaves * sizeof *d->leaf);
    if (!read_parts(d, &field[1]))
        return false;
    ir_forest_tree(m->forest, (int)(m->n_trees++ % m->n_targets));
    for (int64_t i = 0; i + 1 < d->n_leaves; i++)
        if (!add_node(d, &d->node[i]))
            return false;
    for (int64_t i = 0; i < d->n_leaves; i++)
        if (!add_leaf(d, &d->leaf[i]))
            return false;
    return true;
}

static bool read_trees(struct dump *d)
{
    struct fe_lightgbm *m = d->model;
    struct fe_walk walk;
    struct fe_value tree;
    m->forest = ir_forest_begin(IR_F64, IR_F64, (int)m->n_targets);
    if (!fe_json_begin(&d->json, &d->root[TREE_INFO], "tree_info", &walk))
        return false;
    while (fe_json_next(&walk, &tree))
        if (!read_tree(d, &tree))
            return false;
    d->json.context[0] = 0;
    if (m->n_trees % m->n_targets != 0)
        return fail(d, &d->root[TREE_INFO], "%lld trees are no multiple of "
                    "num_class %lld", (long long)m->n_trees,
                    (long long)m->n_targets);
    return m->n_trees > 0 ||
           fail(d, &d->root[TREE_INFO], "the model has no trees");
}

bool fe_detect_lightgbm_json(const uint8_t *data, size_t size)
{
    static const char mark[] = "\"max_feature_idx\"";
    const size_t n = size < 4096 ? size : 4096;
    return n > 0 && data[0] == '{' && memmem(data, n, mark, sizeof mark - 1);
}

struct ir_module *fe_import_lightgbm_json(struct ir_file file,
                                          struct ir_diag *diag)
{
    struct fe_lightgbm m = {.diag = diag};
    struct dump d = {.model = &m};
    struct ir_module *module = NULL;
    fe_reader_init(&m.reader, &file, file.path);
    ir_arena_init(&m.scratch);
    if (fe_json_open_deep(&d.json, &file, file.path, diag) && read_header(&d) &&
        read_trees(&d)) {
        take_tables(&d);
        module = ir_module_new(fe_name_of(&m.scratch, file.path));
        if (!fe_lightgbm_build(&m, module)) {
            ir_module_free(module);
            module = NULL;
        }
    }
    free(d.open);
    free(d.node);
    free(d.leaf);
    free(d.features.data);
    free(d.coefs.data);
    fe_lightgbm_release(&m);
    ir_file_close(&file);
    return module;
}

/* xgboost.c: an XGBoost model, JSON or UBJSON, 1.0 to 3.x -> module.
 *
 * Here are the parts around the trees: which booster, how many features and
 * outputs, the objective, and base_score as a margin. xgboost_tree.c reads the
 * trees, xgboost_build.c makes the module. docs/formats.md has the format and
 * where each rule was checked.
 */
#include "frontend/xgboost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct fe_xgboost_objective objectives[] = {
    {"reg:squarederror", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"reg:linear", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"reg:squaredlogerror", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"reg:pseudohubererror", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"reg:absoluteerror", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"reg:quantileerror", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"reg:expectileerror", FE_XGBOOST_EXPECTILE, FE_XGBOOST_SOFTPLUS},
    {"reg:logistic", FE_XGBOOST_LOGISTIC, FE_XGBOOST_LOGIT},
    {"binary:logistic", FE_XGBOOST_BINARY, FE_XGBOOST_LOGIT},
    {"binary:logitraw", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"binary:hinge", FE_XGBOOST_HINGE, FE_XGBOOST_MARGIN},
    {"multi:softmax", FE_XGBOOST_SOFTMAX, FE_XGBOOST_MARGIN},
    {"multi:softprob", FE_XGBOOST_SOFTPROB, FE_XGBOOST_MARGIN},
    {"count:poisson", FE_XGBOOST_EXP, FE_XGBOOST_LOG},
    {"reg:gamma", FE_XGBOOST_EXP, FE_XGBOOST_LOG},
    {"reg:tweedie", FE_XGBOOST_EXP, FE_XGBOOST_LOG},
    {"survival:cox", FE_XGBOOST_EXP, FE_XGBOOST_LOG},
    {"survival:aft", FE_XGBOOST_EXP, FE_XGBOOST_LOG},
    {"rank:pairwise", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"rank:ndcg", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
    {"rank:map", FE_XGBOOST_IDENTITY, FE_XGBOOST_MARGIN},
};

#define fail(m, at, ...) fe_json_error(&(m)->json, at, __VA_ARGS__)

/* -------------------------------------------------------------- detect -- */

/* The object "learner", within the first few KB: in JSON the key, a colon and
 * a brace, in UBJSON the brace alone. */
static bool has_learner(const uint8_t *data, size_t size)
{
    static const char key[] = "learner";
    const size_t n = sizeof key - 1;
    const uint8_t *end = data + size, *p = data;
    while ((p = memmem(p, (size_t)(end - p), key, n))) {
        p += n;
        while (p < end && *p && strchr("\": \n\r\t", *p))
            p++;
        if (p < end && *p == '{')
            return true;
    }
    return false;
}

/* What a length of 8 bytes and a name are read as, up to `end`. */
static const uint8_t *skip_name(const uint8_t *p, const uint8_t *end)
{
    uint64_t n;
    if (!p || (size_t)(end - p) < sizeof n)
        return NULL;
    memcpy(&n, p, sizeof n);
    p += sizeof n;
    if (n == 0 || n > 64 || n > (size_t)(end - p))
        return NULL;
    for (uint64_t i = 0; i < n; i++)
        if (p[i] < ' ' || p[i] > '~')
            return NULL;
    return p + n;
}

/* The binary format up to 3.0: a struct of 136 bytes, the objective's name and
 * the booster's. */
static bool is_old_binary(const uint8_t *data, size_t size)
{
    enum { param_bytes = 136 };
    const uint8_t *p = data, *end = data + size;
    if (size >= 4 && !memcmp(p, "binf", 4))
        p += 4;
    if (end - p < param_bytes)
        return false;
    const uint8_t *name = skip_name(p + param_bytes, end);
    const uint8_t *after = skip_name(name, end);
    return after && (!memcmp(after - 4, "tree", 4) ||
                     !memcmp(after - 4, "dart", 4) ||
                     !memcmp(after - 4, "near", 4));
}

static bool starts_with(const uint8_t *data, size_t size, const char *text)
{
    return size >= strlen(text) && !memcmp(data, text, strlen(text));
}

/* What XGBoost writes and cannot be read as a model, by its name. */
static const char *other_format(const uint8_t *data, size_t size)
{
    const size_t n = size < 4096 ? size : 4096;
    if (is_old_binary(data, size))
        return "XGBoost's old binary format";
    if (starts_with(data, n, "CONFIG-offset:"))
        return "a state saved by XGBoost before 1.6";
    if (starts_with(data, n, "booster[0]:") ||
        (starts_with(data, n, "[") && memmem(data, n, "\"nodeid\"", 8)))
        return "a dump of XGBoost's trees, which lacks what is around them";
    return NULL;
}

bool fe_detect_xgboost(const uint8_t *data, size_t size)
{
    const size_t n = size < 4096 ? size : 4096;
    if (n == 0)
        return false;
    return (*data == '{' && has_learner(data, n)) || other_format(data, size);
}

/* ---------------------------------------------------------- parameters -- */

bool fe_xgboost_param(struct fe_xgboost *m, const struct fe_value *value,
                      const char *name, int64_t low, int64_t high, int64_t *i)
{
    if (fe_json_kind(&m->json, value) == FE_NUMBER)
        return fe_json_int(&m->json, value, name, low, high, i);
    char *text;
    if (!fe_json_string(&m->json, value, name, &m->scratch, &text))
        return false;
    if (!ir_parse_int(text, text + strlen(text), i))
        return fail(m, value, "%s is '%.60s', not a whole number", name, text);
    return (*i >= low && *i <= high) ||
           fail(m, value, "%s %lld is out of range (%lld to %lld)", name,
                (long long)*i, (long long)low, (long long)high);
}

/* The same where the file may leave it out. */
static bool optional_param(struct fe_xgboost *m, const struct fe_value *value,
                           const char *name, int64_t low, int64_t high,
                           int64_t *i)
{
    return !value->at || fe_xgboost_param(m, value, name, low, high, i);
}

static bool read_version(struct fe_xgboost *m, const struct fe_value *version)
{
    struct fe_walk walk;
    struct fe_value part;
    if (!version->at)
        return true;
    if (!fe_json_begin(&m->json, version, "version", &walk))
        return false;
    for (int i = 0; i < 3 && fe_json_next(&walk, &part); i++)
        if (!fe_json_int(&m->json, &part, "a part of version", 0, INT32_MAX,
                         &m->version[i]))
            return false;
    return true;
}

static bool is_before(const struct fe_xgboost *m, int major, int minor)
{
    return m->version[0] < major ||
           (m->version[0] == major && m->version[1] < minor);
}

static bool read_objective(struct fe_xgboost *m,
                           const struct fe_value *objective)
{
    static const char *const keys[] = {"name"};
    struct fe_value field;
    char *name;
    if (!fe_json_fields(&m->json, objective, "objective", 1, keys, &field) ||
        !fe_json_string(&m->json, &field, "objective.name", &m->scratch,
                        &name))
        return false;
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++)
        if (!strcmp(name, objectives[i].name))
            m->objective = &objectives[i];
    if (!m->objective)
        return fail(m, &field, "objective '%.60s' is not known", name);
    if (!strcmp(name, "reg:quantileerror") && m->n_groups > 1 &&
        !is_before(m, 3, 5))
        return fail(m, &field,
                    "XGBoost 3.5 sorts the quantiles of reg:quantileerror, "
                    "which is not done yet");
    return true;
}

/* ---------------------------------------------------------- base_score -- */

/* The least that XGBoost takes for a difference. */
#define RT_EPS 1e-6f

/* In f32, as XGBoost does it when it loads a model; `before` is the value
 * before this one. NaN where it refuses. */
static float margin_of(const struct fe_xgboost *m, float value, float before)
{
    switch (m->objective->base) {
    case FE_XGBOOST_LOGIT:
        if (!is_before(m, 3, 2) && value >= 0.0f && value <= 1.0f)
            value = fminf(fmaxf(value, RT_EPS), 1.0f - RT_EPS);
        return value > 0.0f && value < 1.0f ? -logf(1.0f / value - 1.0f) : NAN;
    case FE_XGBOOST_LOG:
        return value > 0.0f ? logf(value) : NAN;
    case FE_XGBOOST_SOFTPLUS:
        value = fmaxf(value - before - RT_EPS, RT_EPS);
        return value + logf(-expm1f(-value));
    case FE_XGBOOST_MARGIN:
        break;
    }
    return value;
}

static bool convert_base(struct fe_xgboost *m, const struct fe_value *at)
{
    for (int64_t i = m->n_groups - 1; i >= 0; i--) {
        const float value = m->base[i];
        if (m->objective->base == FE_XGBOOST_SOFTPLUS && i == 0)
            break;
        m->base[i] = margin_of(m, value, i ? m->base[i - 1] : 0);
        if (!isfinite(m->base[i]))
            return fail(m, at, "base_score %g is none for objective %s",
                        (double)value, m->objective->name);
    }
    return true;
}

/* One number of base_score; blanks and brackets are not part of it. */
static bool base_number(struct fe_xgboost *m, const struct fe_value *value,
                        const char *text, size_t n, float *number)
{
    while (n && strchr(" []", *text))
        text++, n--;
    while (n && strchr(" []", text[n - 1]))
        n--;
    if (!ir_parse_float(text, text + n, number) || !isfinite(*number))
        return fail(m, value, "base_score holds '%.*s', not a number",
                    n < 40 ? (int)n : 40, text);
    return true;
}

/* A string with one number, or since 3.1 an array of them; a single one is
 * that of every group. */
static bool read_base(struct fe_xgboost *m, const struct fe_value *value)
{
    char *text;
    m->base = ir_alloc_array(&m->scratch, (size_t)m->n_groups, sizeof *m->base);
    if (fe_json_kind(&m->json, value) == FE_NUMBER) {
        if (!fe_json_float(&m->json, value, "base_score", &m->base[0]))
            return false;
        text = NULL;
    } else if (!fe_json_string(&m->json, value, "base_score", &m->scratch,
                               &text)) {
        return false;
    }
    int64_t n = !text;
    for (const char *next = text; next; n++) {
        const char *comma = strchr(next, ',');
        const size_t length = comma ? (size_t)(comma - next) : strlen(next);
        float number;
        if (!base_number(m, value, next, length, &number))
            return false;
        if (n < m->n_groups)
            m->base[n] = number;
        next = comma ? comma + 1 : NULL;
    }
    if (n != 1 && n != m->n_groups)
        return fail(m, value, "base_score has %lld numbers (the model has "
                    "%lld outputs)",
                    (long long)n, (long long)m->n_groups);
    for (int64_t i = n; i < m->n_groups; i++)
        m->base[i] = m->base[0];
    return convert_base(m, value);
}

/* ------------------------------------------------------------- learner -- */

#define MAX_GROUPS (1 << 20)

static bool read_learner_param(struct fe_xgboost *m,
                               const struct fe_value *param,
                               struct fe_value *base)
{
    static const char *const keys[] = {"base_score", "num_class",
                                       "num_feature", "num_target"};
    struct fe_value field[4];
    int64_t n_classes = 0, n_targets = 1;
    if (!fe_json_fields(&m->json, param, "learner_model_param", 4, keys,
                        field) ||
        !optional_param(m, &field[1], "num_class", 0, MAX_GROUPS,
                        &n_classes) ||
        !fe_xgboost_param(m, &field[2], "num_feature", 1, IR_MAX_COLUMNS,
                          &m->n_features) ||
        !optional_param(m, &field[3], "num_target", 0, MAX_GROUPS, &n_targets))
        return false;
    if (n_classes > 1 && n_targets > 1)
        return fail(m, param, "%lld classes of %lld targets: XGBoost has one "
                    "or the other",
                    (long long)n_classes, (long long)n_targets);
    m->n_groups = n_classes > n_targets ? n_classes : n_targets;
    if (m->n_groups < 1)
        m->n_groups = 1;
    *base = field[0];
    return true;
}

static bool too_long(struct fe_xgboost *m, const struct fe_value *at,
                     const char *name, const char *text)
{
    return strlen(text) <= IR_MAX_NAME ||
           fail(m, at, "%s of %zu bytes (the limit is %d)", name,
                strlen(text), IR_MAX_NAME);
}

/* An array of one string a feature, or an empty one. `take` is told each. */
static bool read_strings(struct fe_xgboost *m, const struct fe_value *array,
                         const char *name,
                         bool (*take)(struct fe_xgboost *, int64_t, char *,
                                      const struct fe_value *))
{
    struct fe_walk walk;
    struct fe_value item;
    int64_t n = 0;
    if (fe_json_kind(&m->json, array) <= FE_NULL)
        return true;
    if (!fe_json_length(&m->json, array, name, &n))
        return false;
    if (n != 0 && n != m->n_features)
        return fail(m, array, "%s has %lld strings (the model has %lld "
                    "features)",
                    name, (long long)n, (long long)m->n_features);
    fe_json_begin(&m->json, array, name, &walk);
    for (int64_t i = 0; fe_json_next(&walk, &item); i++) {
        char *text;
        if (!fe_json_string(&m->json, &item, name, &m->scratch, &text) ||
            !take(m, i, text, &item))
            return false;
    }
    return true;
}

static bool take_name(struct fe_xgboost *m, int64_t i, char *text,
                      const struct fe_value *at)
{
    if (!m->names)
        m->names = ir_alloc_array(&m->scratch, (size_t)m->n_features,
                                  sizeof *m->names);
    m->names[i] = text;
    return too_long(m, at, "a feature name", text);
}

static bool take_type(struct fe_xgboost *m, int64_t i, char *text,
                      const struct fe_value *at)
{
    (void)at;
    m->has_types = true;
    m->categorical[i] = !strcmp(text, "c");
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool check_names_differ(struct fe_xgboost *m, const struct fe_value *at)
{
    const size_t n = (size_t)m->n_features;
    if (!m->names)
        return true;
    const char **sorted = ir_alloc_array(&m->scratch, n, sizeof *sorted);
    memcpy(sorted, m->names, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_names);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            return fail(m, at, "feature_names holds '%.60s' twice", sorted[i]);
    return true;
}

static bool read_attributes(struct fe_xgboost *m, const struct fe_value *value)
{
    static const char *const keys[] = {"best_iteration"};
    struct fe_value field;
    char *text;
    if (fe_json_kind(&m->json, value) != FE_OBJECT)
        return true;
    if (!fe_json_fields(&m->json, value, "attributes", 1, keys, &field))
        return false;
    if (fe_json_kind(&m->json, &field) != FE_STRING)
        return true;
    if (!fe_json_string(&m->json, &field, "best_iteration", &m->scratch,
                        &text))
        return false;
    m->best_iteration = text;
    return true;
}

/* ------------------------------------------------------------- booster -- */

static bool read_linear(struct fe_xgboost *m, const struct fe_value *model)
{
    static const char *const keys[] = {"weights"};
    struct fe_value field;
    m->linear = true;
    if (!fe_json_fields(&m->json, model, "gradient_booster.model", 1, keys,
                        &field) ||
        !fe_json_floats(&m->json, &field, "weights", &m->weights))
        return false;
    const int64_t n = (m->n_features + 1) * m->n_groups;
    return m->weights.n == n ||
           fail(m, &field, "weights has %lld numbers (%lld features and a "
                "bias, for %lld outputs, have %lld)",
                (long long)m->weights.n, (long long)m->n_features,
                (long long)m->n_groups, (long long)n);
}

static bool check_count(struct fe_xgboost *m, const struct fe_value *at,
                        const char *name, int64_t n)
{
    return n == m->n_trees ||
           fail(m, at, "%s has %lld numbers (the model has %lld trees)", name,
                (long long)n, (long long)m->n_trees);
}

static bool read_tree_info(struct fe_xgboost *m)
{
    if (!fe_json_length(&m->json, &m->trees, "trees", &m->n_trees) ||
        !fe_json_ints(&m->json, &m->tree_info, "tree_info", &m->info) ||
        !check_count(m, &m->tree_info, "tree_info", m->info.n))
        return false;
    for (int64_t i = 0; i < m->n_trees; i++)
        if (m->info.i[i] < 0 || m->info.i[i] >= m->n_groups) {
            const struct fe_value at =
                fe_json_element(&m->json, &m->tree_info, i);
            return fail(m, &at, "tree %lld is of output %lld (the model has "
                        "%lld)",
                        (long long)i, (long long)m->info.i[i],
                        (long long)m->n_groups);
        }
    return !m->drop.at ||
           (fe_json_floats(&m->json, &m->drop, "weight_drop", &m->weights) &&
            (m->weights.n == 0 ||
             check_count(m, &m->drop, "weight_drop", m->weights.n)));
}

static bool read_trees(struct fe_xgboost *m, const struct fe_value *model)
{
    static const char *const keys[] = {"trees", "tree_info", "cats",
                                       "weight_drop", "gbtree_model_param"};
    static const char *const params[] = {"num_trees"};
    struct fe_value field[5], param;
    int64_t n_trees;
    if (!fe_json_fields(&m->json, model, "gradient_booster.model", 5, keys,
                        field))
        return false;
    m->trees = field[0];
    m->tree_info = field[1];
    m->cats = field[2];
    if (field[3].at)
        m->drop = field[3];
    if (!read_tree_info(m) ||
        !fe_json_fields(&m->json, &field[4], "gbtree_model_param", 1, params,
                        &param) ||
        !fe_xgboost_param(m, &param, "num_trees", 0, INT32_MAX, &n_trees))
        return false;
    if (n_trees != m->n_trees)
        return fail(m, &param, "num_trees is %lld, but trees has %lld",
                    (long long)n_trees, (long long)m->n_trees);
    if (n_trees == 0)
        return fail(m, &m->trees, "the model has no trees");
    m->forest = ir_forest_begin(IR_F32, IR_F32, (int)m->n_groups);
    struct fe_walk walk;
    struct fe_value tree;
    fe_json_begin(&m->json, &m->trees, "trees", &walk);
    for (int64_t i = 0; fe_json_next(&walk, &tree); i++)
        if (!fe_xgboost_tree(m, i, &tree))
            return false;
    m->json.context[0] = '\0';
    return true;
}

/* A dart booster holds a gbtree and each tree's weight; since 3.4 the weights
 * are in the model of a booster that is called gbtree. */
static bool read_booster(struct fe_xgboost *m, const struct fe_value *booster)
{
    static const char *const keys[] = {"name", "model", "gbtree",
                                       "weight_drop"};
    static const char *const inner[] = {"model"};
    struct fe_value field[4], model;
    if (!fe_json_fields(&m->json, booster, "gradient_booster", 4, keys, field))
        return false;
    if (fe_json_is(&m->json, &field[0], "gbtree"))
        return read_trees(m, &field[1]);
    if (fe_json_is(&m->json, &field[0], "gblinear"))
        return read_linear(m, &field[1]);
    char *name;
    if (!fe_json_string(&m->json, &field[0], "gradient_booster.name",
                        &m->scratch, &name))
        return false;
    if (strcmp(name, "dart") != 0)
        return fail(m, &field[0], "booster '%.60s' is not known (gbtree, dart "
                    "and gblinear are)", name);
    m->drop = field[3];
    return fe_json_fields(&m->json, &field[2], "gradient_booster.gbtree", 1,
                          inner, &model) &&
           read_trees(m, &model);
}

/* -------------------------------------------------------------- import -- */

enum learner_key {
    ATTRIBUTES,
    FEATURE_NAMES,
    FEATURE_TYPES,
    BOOSTER,
    PARAM,
    OBJECTIVE,
    N_LEARNER_KEYS
};

static bool read_learner(struct fe_xgboost *m, const struct fe_value *learner)
{
    static const char *const keys[N_LEARNER_KEYS] = {
        "attributes",       "feature_names",       "feature_types",
        "gradient_booster", "learner_model_param", "objective"};
    struct fe_value field[N_LEARNER_KEYS], base;
    if (!fe_json_fields(&m->json, learner, "learner", N_LEARNER_KEYS, keys,
                        field) ||
        !read_learner_param(m, &field[PARAM], &base) ||
        !read_objective(m, &field[OBJECTIVE]) || !read_base(m, &base))
        return false;
    m->categorical = ir_alloc(&m->scratch, (size_t)m->n_features);
    return read_attributes(m, &field[ATTRIBUTES]) &&
           read_strings(m, &field[FEATURE_NAMES], "feature_names",
                        take_name) &&
           check_names_differ(m, &field[FEATURE_NAMES]) &&
           read_strings(m, &field[FEATURE_TYPES], "feature_types",
                        take_type) &&
           read_booster(m, &field[BOOSTER]);
}

static bool read_model(struct fe_xgboost *m)
{
    static const char *const keys[] = {"learner", "version", "Model"};
    struct fe_value field[3], root = fe_json_root(&m->json);
    if (!fe_json_fields(&m->json, &root, "the model", 3, keys, field))
        return false;
    /* What pickles and bytearrays of a Booster hold. */
    if (field[2].at && !field[0].at) {
        root = field[2];
        if (!fe_json_fields(&m->json, &root, "Model", 3, keys, field))
            return false;
    }
    return read_version(m, &field[1]) && read_learner(m, &field[0]);
}

static void release(struct fe_xgboost *m)
{
    struct fe_numbers *rooms[] = {&m->info,  &m->weights, &m->parent,
                                  &m->order, &m->place,   &m->words};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        free(rooms[i]->data);
    for (int i = 0; i < FE_XGBOOST_N_KEYS; i++)
        free(m->part[i].data);
    if (m->forest)
        ir_forest_abandon(m->forest);
    ir_arena_release(&m->scratch);
}

struct ir_module *fe_import_xgboost(struct ir_file file, struct ir_diag *diag)
{
    struct fe_xgboost m = {.leaf_width = 1};
    struct ir_module *module = NULL;
    ir_arena_init(&m.scratch);
    const char *other = other_format(file.data, file.size);
    if (other)
        ir_error(diag, ir_loc_file(file.path),
                 "this is %s: load the model with the XGBoost that wrote it "
                 "and call Booster.save_model(\"model.json\")",
                 other);
    else if (fe_json_open(&m.json, &file, file.path, diag) && read_model(&m)) {
        module = ir_module_new(fe_name_of(&m.scratch, file.path));
        if (!fe_xgboost_build(&m, module)) {
            ir_module_free(module);
            module = NULL;
        }
    }
    release(&m);
    ir_file_close(&file);
    return module;
}

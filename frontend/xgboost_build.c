/* xgboost_build.c: what was read of an XGBoost model -> module: columns and
 * their category names, the forest or the linear model, the objective's
 * transform, the outputs.
 *
 * All is f32 and in XGBoost's order of operations; transforms are maps, whose
 * exp is glibc's expf as XGBoost's is.
 */
#include "frontend/xgboost.h"

#include <stdlib.h>
#include <string.h>

#define fail(m, at, ...) fe_json_error(&(m)->json, at, __VA_ARGS__)

/* Past it, features that have neither names nor types are one tensor: a small
 * file may have many. */
#define MAX_UNNAMED 4096

struct build {
    struct fe_xgboost *model;
    struct ir_module *module;
    struct ir_diag *diag;
};

/* --------------------------------------------------------- categories -- */

enum cat_key { OFFSETS, VALUES, N_CAT_KEYS };

static bool is_ascii(const int64_t *bytes, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (bytes[i] < 0 || bytes[i] > 127)
            return false;
    return true;
}

/* A name is the bytes [from, to). */
static bool take_name(struct build *b, const struct fe_value *at,
                      const int64_t *bytes, int64_t from, int64_t to,
                      const char **name)
{
    char *text = ir_alloc(&b->model->scratch, (size_t)(to - from) + 1);
    if (to - from > IR_MAX_NAME)
        return fail(b->model, at, "a category of %lld bytes (the limit is %d)",
                    (long long)(to - from), IR_MAX_NAME);
    for (int64_t i = from; i < to; i++) {
        text[i - from] = (char)bytes[i];
        if (bytes[i] < -128 || bytes[i] > 255 || bytes[i] == 0)
            return fail(b->model, at, "%lld in the names of categories is no "
                        "byte of text",
                        (long long)bytes[i]);
    }
    *name = text;
    return true;
}

/* Names as strings: their bytes end to end, and where each begins. */
static bool read_names(struct build *b, const struct fe_value *field,
                       const struct fe_numbers *bytes, int64_t *n,
                       const char ***names)
{
    struct fe_xgboost *m = b->model;
    if (!fe_json_ints(&m->json, &field[OFFSETS], "offsets", &m->info))
        return false;
    const int64_t *offset = m->info.i;
    *n = m->info.n ? m->info.n - 1 : 0;
    *names = ir_alloc_array(&m->scratch, (size_t)*n, sizeof **names);
    for (int64_t i = 0; i < *n; i++) {
        const struct fe_value *at = &field[OFFSETS];
        if (offset[i] < 0 || offset[i + 1] < offset[i] ||
            offset[i + 1] > bytes->n)
            return fail(m, at, "category %lld is the bytes [%lld, %lld) of "
                        "%lld",
                        (long long)i, (long long)offset[i],
                        (long long)offset[i + 1], (long long)bytes->n);
        if (!take_name(b, at, bytes->i, offset[i], offset[i + 1],
                       &(*names)[i]))
            return false;
    }
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool check_distinct(struct build *b, const struct fe_value *at,
                           const char *column, int64_t n,
                           const char *const *names)
{
    const char **sorted =
        ir_alloc_array(&b->model->scratch, (size_t)n + 1, sizeof *sorted);
    for (int64_t i = 0; i < n; i++)
        sorted[i] = names[i];
    qsort(sorted, (size_t)n, sizeof *sorted, compare_names);
    for (int64_t i = 1; i < n; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            return fail(b->model, at,
                        "column '%.100s': two categories are named '%.100s'",
                        column, sorted[i]);
    return true;
}

/* The categories of one column: strings, or whole numbers, which are named as
 * they are written in decimal. */
static bool set_categories(struct build *b, struct ir_column *column,
                           const struct fe_value *enc)
{
    static const char *const keys[N_CAT_KEYS] = {"offsets", "values"};
    struct fe_xgboost *m = b->model;
    struct fe_numbers *values = &m->parent;
    struct fe_value field[N_CAT_KEYS];
    const char **names;
    int64_t n;
    if (!fe_json_fields(&m->json, enc, "it", N_CAT_KEYS, keys, field) ||
        !fe_json_ints(&m->json, &field[VALUES], "values", values))
        return false;
    const bool strings = field[OFFSETS].at != NULL;
    if (values->n == 0)
        return true;
    /* XGBoost before 3.4 counts characters where it means bytes. */
    if (strings && !is_ascii(values->i, values->n) &&
        m->version[0] * 100 + m->version[1] < 304) {
        ir_set_fact(b->module, "categories_left_out",
                    "names that are not ASCII, of XGBoost before 3.4");
        return true;
    }
    if (strings) {
        if (!read_names(b, field, values, &n, &names))
            return false;
    } else {
        n = values->n;
        names = ir_alloc_array(&m->scratch, (size_t)n, sizeof *names);
        for (int64_t i = 0; i < n; i++)
            names[i] = ir_sprintf(&m->scratch, "%lld",
                                  (long long)values->i[i]);
    }
    if (!check_distinct(b, enc, column->name, n, names))
        return false;
    column->kind = IR_CATEGORY;
    if (n)
        ir_set_categories(b->module, column, (int)n, names);
    return true;
}

/* The re-coder that models trained on a data frame have since 3.1. */
static bool read_categories(struct build *b)
{
    static const char *const keys[] = {"enc"};
    struct fe_xgboost *m = b->model;
    struct fe_value field, item;
    struct fe_walk walk;
    int64_t n;
    if (fe_json_kind(&m->json, &m->cats) <= FE_NULL)
        return true;
    if (!fe_json_fields(&m->json, &m->cats, "cats", 1, keys, &field) ||
        !fe_json_length(&m->json, &field, "cats.enc", &n))
        return false;
    if (n == 0)
        return true;
    if (n != m->n_features || b->module->n_columns != m->n_features)
        return fail(m, &field, "cats.enc has %lld features (the model has "
                    "%lld)",
                    (long long)n, (long long)m->n_features);
    fe_json_begin(&m->json, &field, "cats.enc", &walk);
    for (int64_t i = 0; fe_json_next(&walk, &item); i++) {
        snprintf(m->json.context, sizeof m->json.context, "cats.enc[%lld]: ",
                 (long long)i);
        if (!set_categories(b, &b->module->columns[i], &item))
            return false;
    }
    m->json.context[0] = '\0';
    return true;
}

/* ------------------------------------------------------------- columns -- */

static void add_columns(struct build *b)
{
    struct fe_xgboost *m = b->model;
    if (!m->names && !m->has_types && m->n_features > MAX_UNNAMED) {
        ir_add_column(b->module, "features", IR_TENSOR_COLUMN, m->n_features);
        return;
    }
    for (int64_t i = 0; i < m->n_features; i++)
        ir_add_column(b->module,
                      m->names ? m->names[i]
                               : ir_sprintf(&m->scratch, "f%lld",
                                            (long long)i),
                      m->categorical[i] ? IR_CATEGORY : IR_NUMBER, 1);
}

static void set_facts(struct build *b)
{
    const struct fe_xgboost *m = b->model;
    ir_set_fact(b->module, "source_format", "xgboost");
    if (m->version[0])
        ir_set_fact(b->module, "source_version",
                    ir_sprintf(&b->module->arena, "%lld.%lld.%lld",
                               (long long)m->version[0],
                               (long long)m->version[1],
                               (long long)m->version[2]));
    ir_set_fact(b->module, "objective", m->objective->name);
    if (m->best_iteration)
        ir_set_fact(b->module, "best_iteration", m->best_iteration);
}

/* ---------------------------------------------------------------- ops -- */

static struct ir_value *add(struct build *b, enum ir_op_kind kind,
                            int n_operands, struct ir_value *const *operands,
                            int n_attrs, const struct ir_attr *attrs)
{
    for (int i = 0; i < n_operands; i++)
        if (!operands[i])
            return NULL;
    struct ir_op *op = ir_add_op(b->module, kind, n_operands, operands,
                                 n_attrs, attrs, b->diag);
    return op ? &op->result[0] : NULL;
}

static struct ir_value *add_map(struct build *b, const char *program, int n,
                                struct ir_value *const *x)
{
    const struct ir_attr attrs[] = {ir_string("program", program),
                                    ir_string("dtype", "f32")};
    return add(b, IR_OP_map, n, x, 2, attrs);
}

static struct ir_value *constant(struct build *b, int64_t n, const float *data)
{
    const struct ir_attr attr = ir_tensor_attr(
        "value", ir_tensor_copy(b->module, IR_F32, n, data));
    return add(b, IR_OP_constant, 0, NULL, 1, &attr);
}

static struct ir_value *element(struct build *b, struct ir_value *x, int32_t i)
{
    const struct ir_attr attr =
        ir_tensor_attr("index", ir_tensor_copy(b->module, IR_I32, 1, &i));
    return add(b, IR_OP_gather, 1, &x, 1, &attr);
}

/* ------------------------------------------------------------ gblinear -- */

/* One output: (bias + base) and then each product that is not missing, summed
 * in order. Adding -0 changes nothing, so it stands for what is missing. */
static struct ir_value *linear_output(struct build *b, struct ir_value *x,
                                      int64_t group)
{
    struct fe_xgboost *m = b->model;
    const int64_t n = m->n_features;
    float *weight = ir_alloc_array(&m->scratch, (size_t)n, sizeof *weight);
    for (int64_t i = 0; i < n; i++)
        weight[i] = m->weights.f[i * m->n_groups + group];
    /* XGBoost takes the first base_score for every output here. */
    const float start = m->weights.f[n * m->n_groups + group] + m->base[0];
    struct ir_value *factors[] = {x, constant(b, n, weight)};
    struct ir_value *terms[] = {
        constant(b, 1, &start),
        add_map(b, "x0 isnan -0.0 x0 x1 mul where", 2, factors)};
    struct ir_value *all = add(b, IR_OP_concat, 2, terms, 0, NULL);
    const struct ir_attr kind = ir_string("kind", "sum");
    return add(b, IR_OP_reduce, 1, &all, 1, &kind);
}

static struct ir_value *join(struct build *b, int64_t n,
                             struct ir_value *const *parts)
{
    return n == 1 ? parts[0]
                  : add(b, IR_OP_concat, (int)n, parts, 0, NULL);
}

/* Room for as many ops as there are outputs, with the reason when not. */
static bool check_groups(struct build *b)
{
    return b->model->n_groups <= IR_MAX_OPERANDS ||
           ir_error(b->diag, ir_loc_file(b->model->json.path),
                    "%lld outputs are too many (the limit is %d)",
                    (long long)b->model->n_groups, IR_MAX_OPERANDS);
}

static struct ir_value *add_linear(struct build *b, struct ir_value *x)
{
    const int64_t n = b->model->n_groups;
    if (!check_groups(b))
        return NULL;
    struct ir_value **output =
        ir_alloc_array(&b->model->scratch, (size_t)n, sizeof *output);
    for (int64_t i = 0; i < n; i++) {
        output[i] = linear_output(b, x, i);
        if (!output[i])
            return NULL;
    }
    return join(b, n, output);
}

/* --------------------------------------------------------------- trees -- */

static struct ir_op *add_forest(struct build *b, struct ir_value *x)
{
    struct fe_xgboost *m = b->model;
    struct ir_forest_builder *forest = m->forest;
    double *base =
        ir_alloc_array(&m->scratch, (size_t)m->n_groups, sizeof *base);
    for (int64_t i = 0; i < m->n_groups; i++)
        base[i] = (double)m->base[i];
    m->forest = NULL;
    return ir_forest_finish(
        forest, b->module, x, "lt", base, 1, 0,
        ir_loc_file(ir_strdup(&b->module->arena, m->json.path)), b->diag);
}

/* ---------------------------------------------------------- transforms -- */

/* Each after the first is the one before, and a softplus above it. */
static struct ir_value *add_expectiles(struct build *b, struct ir_value *raw)
{
    const int64_t n = b->model->n_groups;
    if (!check_groups(b))
        return NULL;
    struct ir_value **output =
        ir_alloc_array(&b->model->scratch, (size_t)n, sizeof *output);
    for (int64_t i = 0; i < n; i++) {
        struct ir_value *x = element(b, raw, (int32_t)i);
        struct ir_value *pair[] = {i ? output[i - 1] : x, x};
        output[i] = i ? add_map(b, "x0 1e-6 x1 0 gt x1 x1 neg exp log1p add "
                                "x1 exp log1p where add add",
                                2, pair)
                      : x;
        if (!output[i])
            return NULL;
    }
    return join(b, n, output);
}

static struct ir_value *softmax(struct build *b, struct ir_value *raw)
{
    const struct ir_attr attr = ir_string("sum_dtype", "f64");
    return add(b, IR_OP_softmax, 1, &raw, 1, &attr);
}

/* What the objective makes of the margin; NULL where it has no such output,
 * or with a message. */
struct outputs {
    struct ir_value *value, *probability, *class;
};

static void transform(struct build *b, struct ir_value *raw,
                      struct outputs *out)
{
    const struct ir_attr half = ir_float("bound", 0.5);
    out->value = raw;
    switch (b->model->objective->link) {
    case FE_XGBOOST_BINARY:
    case FE_XGBOOST_LOGISTIC:
        out->value = out->probability = add_map(
            b, "1 88.7 x0 neg min exp 1 add 1e-16 add div", 1, &raw);
        if (b->model->objective->link == FE_XGBOOST_BINARY)
            out->class = add(b, IR_OP_above, 1, &out->value, 1, &half);
        break;
    case FE_XGBOOST_HINGE:
        out->value = add_map(b, "x0 0 gt", 1, &raw);
        out->class = add(b, IR_OP_above, 1, &out->value, 1, &half);
        break;
    case FE_XGBOOST_EXP:
        out->value = add(b, IR_OP_exp, 1, &raw, 0, NULL);
        break;
    case FE_XGBOOST_SOFTMAX:
        out->probability = softmax(b, raw);
        out->value = out->class = add(b, IR_OP_argmax, 1, &raw, 0, NULL);
        break;
    case FE_XGBOOST_SOFTPROB:
        out->value = out->probability = softmax(b, raw);
        out->class = add(b, IR_OP_argmax, 1, &out->value, 0, NULL);
        break;
    case FE_XGBOOST_EXPECTILE:
        out->value = add_expectiles(b, raw);
        break;
    case FE_XGBOOST_IDENTITY:
        break;
    }
}

static bool add_outputs(struct build *b, struct ir_value *raw,
                        struct ir_value *leaf)
{
    struct outputs out = {0};
    if (raw)
        transform(b, raw, &out);
    if (!raw || !out.value || b->diag->n_messages)
        return false;
    ir_add_output(b->module, "value", out.value);
    if (out.probability)
        ir_add_output(b->module, "probability", out.probability);
    if (out.class)
        ir_add_output(b->module, "class", out.class);
    ir_add_output(b->module, "raw", raw);
    if (leaf)
        ir_add_output(b->module, "leaf", leaf);
    return true;
}

bool fe_xgboost_build(struct fe_xgboost *m, struct ir_module *module)
{
    struct build b = {.model = m, .module = module, .diag = m->json.diag};
    set_facts(&b);
    add_columns(&b);
    if (!read_categories(&b))
        return false;
    const struct ir_attr attrs[] = {ir_int("first", 0),
                                    ir_int("count", module->n_columns),
                                    ir_string("dtype", "f32")};
    struct ir_value *x = add(&b, IR_OP_input, 0, NULL, 3, attrs);
    if (!x)
        return false;
    bool ok;
    if (m->linear) {
        ok = add_outputs(&b, add_linear(&b, x), NULL);
    } else {
        struct ir_op *trees = add_forest(&b, x);
        ok = trees && add_outputs(&b, &trees->result[0], &trees->result[1]);
    }
    return ok && ir_verify(module, b.diag);
}

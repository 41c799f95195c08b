/* lightgbm_build.c: what was read of a LightGBM model -> module: columns and
 * their category names, the forest, the objective's transform, the outputs.
 * Nothing is checked here but the JSON of the category names; ir_verify() has
 * the last word.
 */
#include "frontend/internal.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------- category tables -- */

/* The name of one category; NULL for what is no category. */
static const char *category_name(struct fe_lightgbm *m, const cJSON *item)
{
    if (cJSON_IsString(item))
        return item->valuestring;
    if (cJSON_IsBool(item)) /* as pandas writes them to a CSV file */
        return cJSON_IsTrue(item) ? "True" : "False";
    if (!cJSON_IsNumber(item))
        return NULL;
    struct ir_text text;
    ir_text_init(&text);
    ir_text_double(&text, item->valuedouble);
    const char *name = ir_strdup(&m->scratch, text.data);
    ir_text_release(&text);
    return name;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names that differ in pandas may be the same as text, as 1 and "1" are: then
 * there is no telling which one a row means. */
static bool check_distinct(struct fe_lightgbm *m, const char *column, int n,
                           const char *const *names)
{
    const char **sorted =
        ir_alloc_array(&m->scratch, (size_t)n + 1, sizeof *sorted);
    for (int i = 0; i < n; i++)
        sorted[i] = names[i];
    qsort(sorted, (size_t)n, sizeof *sorted, compare_names);
    for (int i = 1; i < n; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            return fe_lightgbm_error(m, &m->tables,
                                     "column '%.100s': two categories are "
                                     "named '%.100s'", column, sorted[i]);
    return true;
}

static bool set_table(struct fe_lightgbm *m, struct ir_module *module,
                      int column, const cJSON *table)
{
    const int n = cJSON_GetArraySize(table);
    const char **names = ir_alloc_array(&m->scratch, (size_t)n, sizeof *names);
    int i = 0;
    const cJSON *item;
    cJSON_ArrayForEach (item, table) {
        names[i] = category_name(m, item);
        if (!names[i])
            return fe_lightgbm_error(m, &m->tables,
                                     "category %d of column '%.100s' is no "
                                     "string, number or boolean",
                                     i, module->columns[column].name);
        if (strlen(names[i]) > IR_MAX_NAME)
            return fe_lightgbm_error(
                m, &m->tables,
                "category %d of column '%.100s' has %zu bytes (the limit is "
                "%d)", i, module->columns[column].name, strlen(names[i]),
                IR_MAX_NAME);
        i++;
    }
    if (!check_distinct(m, module->columns[column].name, n, names))
        return false;
    ir_set_categories(module, &module->columns[column], n, names);
    return true;
}

/* Tables belong to the categorical columns in order. pandas also writes them
 * for ordered categories, which LightGBM takes for numbers; then there is no
 * telling whose they are, and codes stay the caller's business. */
static bool set_tables(struct fe_lightgbm *m, struct ir_module *module,
                       const cJSON *tables)
{
    if (cJSON_IsNull(tables))
        return true;
    if (!cJSON_IsArray(tables))
        return fe_lightgbm_error(
            m, &m->tables, "pandas_categorical is neither null nor an array");
    const int n_tables = cJSON_GetArraySize(tables);
    int n_columns = 0;
    for (int64_t i = 0; i < m->n_features; i++)
        n_columns += m->categorical[i];
    if (n_tables == 0)
        return true;
    if (n_tables != n_columns) {
        ir_set_fact(module, "categories_left_out",
                    ir_sprintf(&m->scratch,
                               "%d tables of names for %d categorical columns",
                               n_tables, n_columns));
        return true;
    }
    int column = -1;
    const cJSON *table;
    cJSON_ArrayForEach (table, tables) {
        while (!m->categorical[++column])
            ;
        if (!cJSON_IsArray(table))
            return fe_lightgbm_error(
                m, &m->tables,
                "pandas_categorical: the entry of column '%.100s' is no array",
                module->columns[column].name);
        if (!set_table(m, module, column, table))
            return false;
    }
    return true;
}

/* cJSON takes some 30 times the bytes of a short entry. */
#define MAX_ENTRIES (1 << 22)

static bool check_size(struct fe_lightgbm *m)
{
    int64_t n = 0;
    for (const char *p = m->tables.begin; p < m->tables.end; p++)
        n += *p == ',';
    return n < MAX_ENTRIES ||
           fe_lightgbm_error(m, &m->tables,
                             "pandas_categorical has %lld commas (the limit "
                             "is %d)",
                             (long long)n, MAX_ENTRIES);
}

static bool read_tables(struct fe_lightgbm *m, struct ir_module *module)
{
    const struct fe_span *text = &m->tables;
    if (!text->begin)
        return true;
    if (!check_size(m))
        return false;
    const size_t n = (size_t)(text->end - text->begin);
    const char *stop = text->begin;
    cJSON *json = cJSON_ParseWithLengthOpts(text->begin, n, &stop, false);
    struct fe_span at = *text;
    at.begin = stop;
    struct fe_span rest = at, word;
    bool ok;
    if (!json)
        ok = fe_lightgbm_error(m, &at,
                               "pandas_categorical is no valid JSON from "
                               "here on");
    else if (fe_next_word(&rest, &word))
        ok = fe_lightgbm_error(m, &word,
                               "'%.*s' after the JSON of pandas_categorical",
                               FE_SHOW(&word));
    else if (n && memmem(text->begin, n, "\\u0000", 6))
        ok = fe_lightgbm_error(m, text,
                               "a category's name holds a NUL character");
    else
        ok = set_tables(m, module, json);
    cJSON_Delete(json);
    return ok;
}

/* --------------------------------------------------------------- build -- */

static struct ir_value *map(struct fe_lightgbm *m, struct ir_module *module,
                            enum ir_op_kind kind, struct ir_value *x,
                            const struct ir_attr *attr)
{
    struct ir_op *op =
        ir_add_op(module, kind, 1, &x, attr ? 1 : 0, attr, m->diag);
    return op ? &op->result[0] : NULL;
}

static struct ir_value *sigmoid(struct fe_lightgbm *m, struct ir_module *module,
                                struct ir_value *x, double alpha)
{
    const struct ir_attr attr = ir_float("alpha", alpha);
    return map(m, module, IR_OP_sigmoid, x, &attr);
}

static struct ir_value *apply_link(struct fe_lightgbm *m,
                                   struct ir_module *module, struct ir_value *x)
{
    switch (m->link) {
    case FE_LINK_SQRT:
        return m->squared ? map(m, module, IR_OP_signed_square, x, NULL) : x;
    case FE_LINK_EXP:
        return map(m, module, IR_OP_exp, x, NULL);
    case FE_LINK_BINARY:
    case FE_LINK_ONE_VS_ALL:
        return sigmoid(m, module, x, m->sigmoid);
    case FE_LINK_CROSS_ENTROPY:
        return sigmoid(m, module, x, 1);
    case FE_LINK_LOG1P_EXP:
        return map(m, module, IR_OP_log1p_exp, x, NULL);
    case FE_LINK_SOFTMAX:
        return map(m, module, IR_OP_softmax, x, NULL);
    case FE_LINK_IDENTITY:
        break;
    }
    return x;
}

/* A random forest's raw score is the sum, its value made from the average
 * over iterations. */
static struct ir_value *average(struct fe_lightgbm *m, struct ir_module *module,
                                struct ir_value *x)
{
    if (!m->average)
        return x;
    const struct ir_attr attr =
        ir_float("divisor", (double)(m->n_trees / m->n_targets));
    return map(m, module, IR_OP_divide, x, &attr);
}

static struct ir_value *classify(struct fe_lightgbm *m,
                                 struct ir_module *module, struct ir_value *x)
{
    if (m->link != FE_LINK_BINARY)
        return map(m, module, IR_OP_argmax, x, NULL);
    const struct ir_attr attr = ir_float("bound", 0.5);
    return map(m, module, IR_OP_above, x, &attr);
}

static bool build_outputs(struct fe_lightgbm *m, struct ir_module *module,
                          struct ir_op *trees)
{
    struct ir_value *raw = &trees->result[0];
    struct ir_value *value = average(m, module, raw);
    value = value ? apply_link(m, module, value) : NULL;
    if (!value)
        return false;
    const bool classes = m->link == FE_LINK_BINARY ||
                         m->link == FE_LINK_SOFTMAX ||
                         m->link == FE_LINK_ONE_VS_ALL;
    struct ir_value *class = classes ? classify(m, module, value) : NULL;
    if (classes && !class)
        return false;
    ir_add_output(module, "value", value);
    if (classes || m->link == FE_LINK_CROSS_ENTROPY)
        ir_add_output(module, "probability", value);
    if (classes)
        ir_add_output(module, "class", class);
    ir_add_output(module, "raw", raw);
    ir_add_output(module, "leaf", &trees->result[1]);
    return true;
}

static void build_columns(struct fe_lightgbm *m, struct ir_module *module)
{
    for (int64_t i = 0; i < m->n_features; i++) {
        const struct fe_span *name = &m->names[i];
        ir_add_column(module,
                      ir_strndup(&m->scratch, name->begin,
                                 (size_t)(name->end - name->begin)),
                      m->categorical[i] ? IR_CATEGORY : IR_NUMBER, 1);
    }
}

static void set_facts(struct fe_lightgbm *m, struct ir_module *module)
{
    const struct fe_span *version = &m->version;
    const struct fe_span *objective = &m->objective;
    ir_set_fact(module, "source_format", "lightgbm");
    ir_set_fact(module, "source_version",
                ir_strndup(&m->scratch, version->begin,
                           (size_t)(version->end - version->begin)));
    ir_set_fact(module, "objective",
                objective->begin
                    ? ir_sprintf(&m->scratch, "%.*s", FE_SHOW(objective))
                    : "custom");
}

bool fe_lightgbm_build(struct fe_lightgbm *m, struct ir_module *module)
{
    set_facts(m, module);
    build_columns(m, module);
    if (!read_tables(m, module))
        return false;
    const struct ir_attr attrs[] = {ir_int("first", 0),
                                    ir_int("count", m->n_features),
                                    ir_string("dtype", "f64")};
    struct ir_op *x =
        ir_add_op(module, IR_OP_input, 0, NULL, 3, attrs, m->diag);
    if (!x)
        return false;
    struct ir_forest_builder *forest = m->forest;
    m->forest = NULL;
    struct ir_op *trees = ir_forest_finish(
        forest, module, &x->result[0], "le", NULL, 1,
        m->needs_zero_bound ? FE_LIGHTGBM_ZERO : 0,
        ir_loc_file(ir_strdup(&module->arena, m->reader.path)), m->diag);
    return trees && build_outputs(m, module, trees) &&
           ir_verify(module, m->diag);
}

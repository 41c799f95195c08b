/* catboost.c: a CatBoost model in JSON -> module.
 *
 * The keys of the file are read in the order in which they are needed,
 * whatever their order in it: what there is to test (catboost_features.c,
 * catboost_table.c, catboost_ctr.c), what raw values mean (catboost_info.c),
 * the trees (catboost_tree.c); then catboost_build.c makes a module of it.
 * docs/formats.md has the format.
 *
 * The file lacks what CatBoost does not write to it: text and embedding
 * features, the names of categories without pool=, tables that share a key.
 * Such models are refused. A key that is not known is an error at the top and
 * in features_info: it may be a quirk that matters.
 */
#include "frontend/catboost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum root_key {
    CTR_DATA,
    FEATURES_INFO,
    MODEL_INFO,
    OBLIVIOUS_TREES,
    TREES,
    SCALE_AND_BIAS,
    N_ROOT_KEYS
};

static const char *const root_keys[N_ROOT_KEYS] = {
    [CTR_DATA] = "ctr_data",
    [FEATURES_INFO] = "features_info",
    [MODEL_INFO] = "model_info",
    [OBLIVIOUS_TREES] = "oblivious_trees",
    [TREES] = "trees",
    [SCALE_AND_BIAS] = "scale_and_bias",
};

/* CatBoost sorts keys, so that one of the first two comes first. */
bool fe_detect_catboost(const uint8_t *data, size_t size)
{
    const size_t n = size < 4096 ? size : 4096;
    size_t i = 0;
    while (i < n && memchr(" \n\r\t{", data[i], 5))
        i++;
    if (i == 0 || i == n || data[i] != '"')
        return false;
    static const char *const first[] = {"\"ctr_data\"", "\"features_info\""};
    for (int k = 0; k < 2; k++)
        if (n - i >= strlen(first[k]) &&
            !memcmp(data + i, first[k], strlen(first[k])))
            return true;
    return memmem(data, n, "\"oblivious_trees\"", 17) ||
           memmem(data, n, "\"features_info\"", 15);
}

/* --------------------------------------------------------------- shared -- */

bool fe_catboost_is_null(const struct fe_catboost *m,
                         const struct fe_value *value)
{
    const enum fe_kind kind = fe_json_kind(&m->json, value);
    return kind == FE_ABSENT || kind == FE_NULL;
}

bool fe_catboost_length(struct fe_catboost *m, const struct fe_value *array,
                        const char *name, int *n)
{
    int64_t length = 0;
    *n = 0;
    if (fe_catboost_is_null(m, array))
        return true;
    if (!fe_json_length(&m->json, array, name, &length))
        return false;
    *n = (int)length;
    return length <= INT32_MAX / 2 ||
           fe_json_error(&m->json, array, "%s has %lld elements (the limit is "
                         "%d)", name, (long long)length, INT32_MAX / 2);
}

bool fe_catboost_check_keys(struct fe_catboost *m,
                            const struct fe_value *object, const char *name,
                            int n, const char *const *keys)
{
    struct fe_walk walk;
    struct fe_value value;
    fe_json_begin_object(&m->json, object, name, &walk);
    while (fe_json_next(&walk, &value)) {
        int k = 0;
        while (k < n && !fe_json_is(&m->json, &walk.key, keys[k]))
            k++;
        char *key = NULL;
        if (k == n && !fe_json_string(&m->json, &walk.key, "a key",
                                      &m->scratch, &key))
            return false;
        if (k == n)
            return fe_json_error(&m->json, &walk.key, "'%.60s' is no key that "
                                 "CatBoost writes in %s", key, name);
    }
    return true;
}

/* -------------------------------------------------------- scale and bias -- */

/* [scale, [bias, ...]]; a number for the biases in older versions. */
static bool read_scale(struct fe_catboost *m, const struct fe_value *array)
{
    struct fe_walk walk;
    struct fe_value value;
    double bias;
    m->scale = 1;
    if (fe_catboost_is_null(m, array))
        return true;
    if (!fe_json_begin(&m->json, array, "scale_and_bias", &walk))
        return false;
    if (!fe_json_next(&walk, &value))
        return fe_json_error(&m->json, array, "scale_and_bias is empty");
    if (!fe_json_double(&m->json, &value, "the scale", &m->scale))
        return false;
    if (!isfinite(m->scale))
        return fe_json_error(&m->json, &value, "the scale is %g, not a finite "
                             "number", m->scale);
    if (!fe_json_next(&walk, &value))
        return fe_json_error(&m->json, array, "scale_and_bias has no bias");
    if (fe_json_kind(&m->json, &value) == FE_NUMBER) {
        m->bias.d = ir_realloc_array(NULL, 1, sizeof bias);
        m->bias.bytes = sizeof bias;
        m->bias.n = fe_json_double(&m->json, &value, "the bias", m->bias.d);
    } else if (!fe_catboost_is_null(m, &value) &&
               !fe_json_doubles(&m->json, &value, "the bias", &m->bias)) {
        return false;
    }
    for (int64_t i = 0; i < m->bias.n; i++)
        if (!isfinite(m->bias.d[i]))
            return fe_json_error(&m->json, &value, "bias %lld is %g, not a "
                                 "finite number", (long long)i, m->bias.d[i]);
    return true;
}

/* A bias for each raw value; one that is 0 may stand for all. */
static bool check_width(struct fe_catboost *m, const struct fe_value *array)
{
    if (m->width == 0)
        m->width = m->bias.n > 0 && m->bias.n <= IR_MAX_ELEMENTS
                       ? (int)m->bias.n
                       : 1;
    const bool none = m->bias.n == 0 || (m->bias.n == 1 && m->bias.d[0] == 0);
    if (m->bias.n != m->width && !none)
        return fe_json_error(&m->json, array, "scale_and_bias has %lld biases, "
                             "but leaves have %d values",
                             (long long)m->bias.n, m->width);
    if (none)
        m->bias.n = 0;
    const bool one = m->link == FE_CATBOOST_BINARY ||
                     m->link == FE_CATBOOST_EXP;
    const bool two = m->link == FE_CATBOOST_UNCERTAINTY;
    if ((one && m->width != 1) || (two && m->width != 2))
        return fe_json_error(&m->json, array, "the objective %.60s has %d raw "
                             "value%s, but leaves have %d", m->objective,
                             one ? 1 : 2, one ? "" : "s", m->width);
    return true;
}

/* -------------------------------------------------------------- import -- */

static bool read_model(struct fe_catboost *m)
{
    const struct fe_value root = fe_json_root(&m->json);
    struct fe_value field[N_ROOT_KEYS];
    return fe_json_fields(&m->json, &root, "the model", N_ROOT_KEYS,
                          root_keys, field) &&
           fe_catboost_check_keys(m, &root, "the model", N_ROOT_KEYS,
                                  root_keys) &&
           fe_catboost_features(m, &field[FEATURES_INFO], &field[CTR_DATA]) &&
           fe_catboost_info(m, &field[MODEL_INFO]) &&
           read_scale(m, &field[SCALE_AND_BIAS]) &&
           fe_catboost_trees(m, &field[OBLIVIOUS_TREES], &field[TREES]) &&
           check_width(m, &field[SCALE_AND_BIAS]);
}

struct ir_module *fe_import_catboost(struct ir_file file, struct ir_diag *diag)
{
    struct fe_catboost m = {.diag = diag};
    struct ir_module *module = NULL;
    ir_arena_init(&m.scratch);
    if (fe_json_open(&m.json, &file, file.path, diag) && read_model(&m)) {
        module = ir_module_new(fe_name_of(&m.scratch, file.path));
        if (!fe_catboost_build(&m, module)) {
            ir_module_free(module);
            module = NULL;
        }
    }
    ir_forest_abandon(m.forest);
    free(m.bias.data);
    ir_arena_release(&m.scratch);
    ir_file_close(&file);
    return module;
}

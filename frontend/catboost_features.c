/* catboost_features.c: features_info and ctr_data: what there is to test.
 *
 * Text and embedding features are refused when a tree tests them: CatBoost
 * itself writes such models to its binary format alone. A feature that is not
 * listed has no column.
 */
#include "frontend/catboost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* CatBoost has at most as many one-hot values. */
#define MAX_VALUES 255

/* --------------------------------------------------------------- shared -- */

static bool is_finite(struct fe_catboost *m, const struct fe_value *at,
                      const char *name, float value)
{
    return isfinite(value) ||
           fe_json_error(&m->json, at, "%s is %g, not a finite number", name,
                         (double)value);
}

/* An ascending array of borders, in the scratch arena. */
static bool read_borders(struct fe_catboost *m, const struct fe_value *array,
                         int64_t *n, const float **border)
{
    struct fe_numbers numbers = {0};
    bool good = fe_json_floats(&m->json, array, "borders", &numbers);
    for (int64_t i = 0; good && i < numbers.n; i++) {
        const float b = numbers.f[i];
        if (!isfinite(b))
            good = fe_json_error(&m->json, array, "borders[%lld] is %g, not a "
                                 "finite number", (long long)i, (double)b);
        else if (i > 0 && b < numbers.f[i - 1])
            good = fe_json_error(&m->json, array,
                                 "borders[%lld] is %.9g, below the one before "
                                 "it, %.9g", (long long)i, (double)b,
                                 (double)numbers.f[i - 1]);
    }
    if (good) {
        float *copy =
            ir_alloc_array(&m->scratch, (size_t)numbers.n, sizeof *copy);
        if (numbers.n > 0)
            memcpy(copy, numbers.f, (size_t)numbers.n * sizeof *copy);
        *border = copy;
        *n = numbers.n;
    }
    free(numbers.data);
    return good;
}

static bool read_name(struct fe_catboost *m, const struct fe_value *field,
                      const char *key, const char **name)
{
    char *text = NULL;
    if (*name || fe_catboost_is_null(m, field))
        return true;
    if (!fe_json_string(&m->json, field, key, &m->scratch, &text))
        return false;
    if (strlen(text) > IR_MAX_NAME)
        return fe_json_error(&m->json, field, "%s has %zu bytes (the limit is "
                             "%d)", key, strlen(text), IR_MAX_NAME);
    *name = *text ? text : NULL;
    return true;
}

/* -------------------------------------------------------------- features -- */

enum feature_key {
    FEATURE_INDEX,
    FLAT_INDEX,
    FEATURE_ID,
    FEATURE_NAME,
    BORDERS,
    HAS_NANS,
    NAN_TREATMENT,
    VALUES,
    STRING_VALUES,
    N_FEATURE_KEYS
};

static const char *const feature_keys[N_FEATURE_KEYS] = {
    [FEATURE_INDEX] = "feature_index",
    [FLAT_INDEX] = "flat_feature_index",
    [FEATURE_ID] = "feature_id",
    [FEATURE_NAME] = "feature_name",
    [BORDERS] = "borders",
    [HAS_NANS] = "has_nans",
    [NAN_TREATMENT] = "nan_value_treatment",
    [VALUES] = "values",
    [STRING_VALUES] = "string_values",
};

/* What both kinds have. `last`: the index of the feature before, or -1. */
static bool read_feature(struct fe_catboost *m, const struct fe_value *object,
                         int64_t last, struct fe_value *field,
                         struct fe_catboost_feature *feature)
{
    feature->at = *object;
    if (!fe_json_fields(&m->json, object, "a feature", N_FEATURE_KEYS,
                        feature_keys, field) ||
        !fe_json_int(&m->json, &field[FEATURE_INDEX], "feature_index", 0,
                     INT32_MAX, &feature->index) ||
        !fe_json_int(&m->json, &field[FLAT_INDEX], "flat_feature_index", 0,
                     INT32_MAX, &feature->flat))
        return false;
    if (feature->index <= last)
        return fe_json_error(&m->json, &field[FEATURE_INDEX],
                             "feature_index %lld follows %lld",
                             (long long)feature->index, (long long)last);
    return read_name(m, &field[FEATURE_NAME], "feature_name",
                     &feature->name) &&
           read_name(m, &field[FEATURE_ID], "feature_id", &feature->name);
}

static bool read_nan_treatment(struct fe_catboost *m,
                               const struct fe_value *field,
                               struct fe_catboost_float *f)
{
    bool has_nans = false;
    if (!fe_json_bool(&m->json, &field[HAS_NANS], "has_nans", &has_nans))
        return false;
    const struct fe_value *how = &field[NAN_TREATMENT];
    const bool above = fe_json_is(&m->json, how, "AsTrue");
    if (!above && !fe_json_is(&m->json, how, "AsFalse") &&
        !fe_json_is(&m->json, how, "AsIs"))
        return fe_json_error(&m->json, how, "nan_value_treatment is not "
                             "\"AsIs\", \"AsFalse\" or \"AsTrue\"");
    /* Where training saw no NaN, CatBoost compares one as it is. */
    f->nan_above = above && has_nans;
    return true;
}

static bool read_floats(struct fe_catboost *m, const struct fe_value *array)
{
    struct fe_walk walk;
    struct fe_value object, field[N_FEATURE_KEYS];
    int64_t last = -1;
    if (!fe_catboost_length(m, array, "float_features", &m->n_floats))
        return false;
    m->floats = ir_alloc_array(&m->scratch, (size_t)m->n_floats,
                               sizeof *m->floats);
    if (m->n_floats == 0)
        return true;
    fe_json_begin(&m->json, array, "float_features", &walk);
    for (int i = 0; fe_json_next(&walk, &object); i++) {
        struct fe_catboost_float *f = &m->floats[i];
        snprintf(m->json.context, sizeof m->json.context,
                 "float_features[%d]: ", i);
        if (!read_feature(m, &object, last, field, &f->feature) ||
            !read_nan_treatment(m, field, f) ||
            !read_borders(m, &field[BORDERS], &f->n_borders, &f->border))
            return false;
        last = f->feature.index;
    }
    return true;
}

/* The values of one-hot splits: hashes, as 32 bits with or without a sign. */
static bool read_values(struct fe_catboost *m, const struct fe_value *array,
                        struct fe_catboost_category *c)
{
    struct fe_numbers numbers = {0};
    if (fe_catboost_is_null(m, array))
        return true;
    bool good = fe_json_ints(&m->json, array, "values", &numbers);
    if (good && numbers.n > MAX_VALUES)
        good = fe_json_error(&m->json, array, "there are %lld values (CatBoost "
                             "has at most %d)", (long long)numbers.n,
                             MAX_VALUES);
    int32_t *value = good ? ir_alloc_array(&m->scratch, (size_t)numbers.n, 4)
                          : NULL;
    for (int64_t i = 0; good && i < numbers.n; i++) {
        const int64_t v = numbers.i[i];
        if (v < INT32_MIN || v > (int64_t)UINT32_MAX)
            good = fe_json_error(&m->json, array, "values[%lld] is %lld, not a "
                                 "hash of 32 bits", (long long)i,
                                 (long long)v);
        else
            value[i] = (int32_t)(uint32_t)v;
        for (int64_t k = 0; good && k < i; k++)
            if (value[k] == value[i])
                good = fe_json_error(&m->json, array, "values[%lld] and "
                                     "values[%lld] are the same, %lld",
                                     (long long)k, (long long)i, (long long)v);
    }
    c->n_values = numbers.n;
    c->value = value;
    free(numbers.data);
    return good;
}

static bool read_categories(struct fe_catboost *m,
                            const struct fe_value *array)
{
    struct fe_walk walk;
    struct fe_value object, field[N_FEATURE_KEYS];
    int64_t last = -1;
    if (!fe_catboost_length(m, array, "categorical_features",
                            &m->n_categories))
        return false;
    m->categories = ir_alloc_array(&m->scratch, (size_t)m->n_categories,
                                   sizeof *m->categories);
    if (m->n_categories == 0)
        return true;
    fe_json_begin(&m->json, array, "categorical_features", &walk);
    for (int i = 0; fe_json_next(&walk, &object); i++) {
        struct fe_catboost_category *c = &m->categories[i];
        snprintf(m->json.context, sizeof m->json.context,
                 "categorical_features[%d]: ", i);
        if (!read_feature(m, &object, last, field, &c->feature) ||
            !read_values(m, &field[VALUES], c))
            return false;
        last = c->feature.index;
    }
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct fe_catboost_feature *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* A feature without a name is called by its number, as CatBoost does. */
static bool name_columns(struct fe_catboost *m,
                         struct fe_catboost_feature **all, int n)
{
    for (int i = 0; i < n; i++)
        if (!all[i]->name)
            all[i]->name =
                ir_sprintf(&m->scratch, "%lld", (long long)all[i]->flat);
    qsort(all, (size_t)n, sizeof *all, by_name);
    for (int i = 1; i < n; i++)
        if (!strcmp(all[i - 1]->name, all[i]->name))
            return fe_json_error(&m->json, &all[i]->at, "two features are "
                                 "called '%.100s'", all[i]->name);
    return true;
}

static int by_flat(const void *a, const void *b)
{
    const struct fe_catboost_feature *const *x = a, *const *y = b;
    return ((*x)->flat > (*y)->flat) - ((*x)->flat < (*y)->flat);
}

/* Columns in the order of the rows that CatBoost was given. */
static bool place_columns(struct fe_catboost *m)
{
    const int n = m->n_floats + m->n_categories;
    struct fe_catboost_feature **all =
        ir_alloc_array(&m->scratch, (size_t)n, sizeof *all);
    for (int i = 0; i < m->n_floats; i++)
        all[i] = &m->floats[i].feature;
    for (int i = 0; i < m->n_categories; i++)
        all[m->n_floats + i] = &m->categories[i].feature;
    if (n == 0 || n > IR_MAX_COLUMNS)
        return fe_json_error(&m->json, &(struct fe_value){0},
                             "there are %d features (1 to %d are allowed)", n,
                             IR_MAX_COLUMNS);
    qsort(all, (size_t)n, sizeof *all, by_flat);
    for (int i = 0; i < n; i++) {
        if (i > 0 && all[i]->flat == all[i - 1]->flat)
            return fe_json_error(&m->json, &all[i]->at, "flat_feature_index "
                                 "%lld is that of another feature, too",
                                 (long long)all[i]->flat);
        all[i]->column = i;
    }
    m->n_columns = n;
    return name_columns(m, all, n);
}

/* ----------------------------------------------------------------- texts -- */

static int by_hash(const void *a, const void *b)
{
    const struct fe_catboost_text *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

static int by_text(const void *a, const void *b)
{
    const struct fe_catboost_text *x = a, *y = b;
    return strcmp(x->text, y->text);
}

/* A text has one hash, and a hash one text. */
static bool check_texts(struct fe_catboost *m, const struct fe_value *array)
{
    struct fe_catboost_text *t = m->texts;
    const size_t n = (size_t)m->n_texts;
    if (n > 0)
        qsort(t, n, sizeof *t, by_text);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(t[i - 1].text, t[i].text))
            return fe_json_error(&m->json, array, "cat_features_hash holds the "
                                 "value '%.100s' twice", t[i].text);
    if (n > 0)
        qsort(t, n, sizeof *t, by_hash);
    for (size_t i = 1; i < n; i++)
        if (t[i - 1].hash == t[i].hash)
            return fe_json_error(&m->json, array, "cat_features_hash gives "
                                 "'%.100s' and '%.100s' the same hash, %u",
                                 t[i - 1].text, t[i].text,
                                 (unsigned)t[i].hash);
    return true;
}

static bool read_texts(struct fe_catboost *m, const struct fe_value *array)
{
    static const char *const keys[] = {"hash", "value"};
    struct fe_walk walk;
    struct fe_value object, field[2];
    if (!fe_catboost_length(m, array, "cat_features_hash", &m->n_texts))
        return false;
    m->texts =
        ir_alloc_array(&m->scratch, (size_t)m->n_texts, sizeof *m->texts);
    if (m->n_texts == 0)
        return true;
    fe_json_begin(&m->json, array, "cat_features_hash", &walk);
    for (int i = 0; fe_json_next(&walk, &object); i++) {
        int64_t hash;
        char *text;
        if (!fe_json_fields(&m->json, &object, "an entry of cat_features_hash",
                            2, keys, field) ||
            !fe_json_int(&m->json, &field[0], "hash", INT32_MIN, UINT32_MAX,
                         &hash) ||
            !fe_json_string(&m->json, &field[1], "value", &m->scratch, &text))
            return false;
        if (strlen(text) > IR_MAX_NAME)
            return fe_json_error(&m->json, &field[1], "a category of %zu bytes "
                                 "(the limit is %d)", strlen(text),
                                 IR_MAX_NAME);
        m->texts[i] =
            (struct fe_catboost_text){(int32_t)(uint32_t)hash, text};
    }
    return check_texts(m, array);
}

/* ------------------------------------------------------------------ CTRs -- */

enum ctr_key {
    CTR_TYPE,
    ELEMENTS,
    IDENTIFIER,
    PRIOR,
    DENOMINATOR,
    SHIFT,
    SCALE,
    TARGET,
    CTR_BORDERS,
    N_CTR_KEYS
};

static const char *const ctr_keys[N_CTR_KEYS] = {
    [CTR_TYPE] = "ctr_type",
    [ELEMENTS] = "elements",
    [IDENTIFIER] = "identifier",
    [PRIOR] = "prior_numerator",
    [DENOMINATOR] = "prior_denomerator", /* so it is spelt */
    [SHIFT] = "shift",
    [SCALE] = "scale",
    [TARGET] = "target_border_idx",
    [CTR_BORDERS] = "borders",
};

static const struct ctr_type {
    const char *name;
    enum fe_catboost_ctr_type type;
} ctr_types[] = {
    {"Borders", FE_CATBOOST_BORDERS},
    {"Buckets", FE_CATBOOST_BUCKETS},
    {"BinarizedTargetMeanValue", FE_CATBOOST_MEAN},
    {"FloatTargetMeanValue", FE_CATBOOST_MEAN},
    {"Counter", FE_CATBOOST_COUNTER},
    {"FeatureFreq", FE_CATBOOST_COUNTER},
};

static bool read_ctr_type(struct fe_catboost *m, const struct fe_value *value,
                          struct fe_catboost_ctr *ctr)
{
    for (size_t i = 0; i < sizeof ctr_types / sizeof *ctr_types; i++)
        if (fe_json_is(&m->json, value, ctr_types[i].name)) {
            ctr->type = ctr_types[i].type;
            ctr->type_name = ctr_types[i].name;
            return true;
        }
    return fe_json_error(&m->json, value, "ctr_type is none that is known "
                         "(Borders, Buckets, BinarizedTargetMeanValue, "
                         "FloatTargetMeanValue, Counter and FeatureFreq are)");
}

/* The place of the feature `index` among the n of a kind, -1 without it. The
 * struct of either kind begins with what both have. */
static int find_feature(const void *features, int n, size_t size,
                        int64_t index)
{
    int low = 0, high = n;
    while (low < high) {
        const int mid = low + (high - low) / 2;
        const struct fe_catboost_feature *f =
            (const void *)((const char *)features + (size_t)mid * size);
        if (f->index == index)
            return mid;
        if (f->index < index)
            low = mid + 1;
        else
            high = mid;
    }
    return -1;
}

_Static_assert(offsetof(struct fe_catboost_float, feature) == 0 &&
                   offsetof(struct fe_catboost_category, feature) == 0,
               "find_feature sees either kind as a feature");

static bool read_index(struct fe_catboost *m, const struct fe_value *value,
                       bool category, int *feature)
{
    const char *name =
        category ? "cat_feature_index" : "float_feature_index";
    int64_t index;
    if (!fe_json_int(&m->json, value, name, 0, INT32_MAX, &index))
        return false;
    *feature = category ? find_feature(m->categories, m->n_categories,
                                       sizeof *m->categories, index)
                        : find_feature(m->floats, m->n_floats,
                                       sizeof *m->floats, index);
    return *feature >= 0 ||
           fe_json_error(&m->json, value, "%s is %lld: there is no such "
                         "feature", name, (long long)index);
}

static bool read_element(struct fe_catboost *m, const struct fe_value *object,
                         struct fe_catboost_element *e)
{
    static const char *const keys[] = {"combination_element",
                                       "cat_feature_index",
                                       "float_feature_index", "border",
                                       "value"};
    struct fe_value field[5];
    int64_t value;
    if (!fe_json_fields(&m->json, object, "an element", 5, keys, field))
        return false;
    if (fe_json_is(&m->json, &field[0], "cat_feature_value")) {
        e->kind = FE_CATBOOST_CATEGORY;
        return read_index(m, &field[1], true, &e->feature);
    }
    if (fe_json_is(&m->json, &field[0], "float_feature")) {
        e->kind = FE_CATBOOST_ABOVE;
        return read_index(m, &field[2], false, &e->feature) &&
               fe_json_float(&m->json, &field[3], "border", &e->border) &&
               is_finite(m, &field[3], "border", e->border);
    }
    if (!fe_json_is(&m->json, &field[0], "cat_feature_exact_value"))
        return fe_json_error(&m->json, &field[0], "combination_element is not "
                             "\"cat_feature_value\", \"float_feature\" or "
                             "\"cat_feature_exact_value\"");
    e->kind = FE_CATBOOST_IS;
    if (!read_index(m, &field[1], true, &e->feature) ||
        !fe_json_int(&m->json, &field[4], "value", INT32_MIN, UINT32_MAX,
                     &value))
        return false;
    e->value = (int32_t)(uint32_t)value;
    return true;
}

/* In the order in which CatBoost hashes them: categories, numbers, values. */
static bool read_elements(struct fe_catboost *m, const struct fe_value *array,
                          struct fe_catboost_ctr *ctr)
{
    struct fe_walk walk;
    struct fe_value object;
    int n;
    if (!fe_catboost_length(m, array, "elements", &n))
        return false;
    if (n < 1 || n > FE_CATBOOST_MAX_ELEMENTS)
        return fe_json_error(&m->json, array, "there are %d elements (1 to %d "
                             "are allowed)", n, FE_CATBOOST_MAX_ELEMENTS);
    struct fe_catboost_element read[FE_CATBOOST_MAX_ELEMENTS] = {{0}};
    struct fe_catboost_element *e =
        ir_alloc_array(&m->scratch, (size_t)n, sizeof *e);
    fe_json_begin(&m->json, array, "elements", &walk);
    for (int i = 0; fe_json_next(&walk, &object); i++)
        if (!read_element(m, &object, &read[i]))
            return false;
    for (enum fe_catboost_element_kind kind = FE_CATBOOST_CATEGORY;
         kind <= FE_CATBOOST_IS; kind++)
        for (int i = 0; i < n; i++)
            if (read[i].kind == kind)
                e[ctr->n_elements++] = read[i];
    ctr->element = e;
    return e[0].kind == FE_CATBOOST_CATEGORY ||
           fe_json_error(&m->json, array, "no element is a category");
}

static bool read_ctr_number(struct fe_catboost *m,
                            const struct fe_value *field, enum ctr_key key,
                            float *value)
{
    return fe_json_float(&m->json, &field[key], ctr_keys[key], value) &&
           is_finite(m, &field[key], ctr_keys[key], *value);
}

static bool read_ctr(struct fe_catboost *m, const struct fe_value *object,
                     struct fe_catboost_ctr *ctr)
{
    struct fe_value field[N_CTR_KEYS];
    char *key;
    ctr->at = *object;
    if (!fe_json_fields(&m->json, object, "a CTR", N_CTR_KEYS, ctr_keys,
                        field) ||
        !read_ctr_type(m, &field[CTR_TYPE], ctr) ||
        !read_elements(m, &field[ELEMENTS], ctr) ||
        !fe_json_string(&m->json, &field[IDENTIFIER], "identifier",
                        &m->scratch, &key) ||
        !read_ctr_number(m, field, PRIOR, &ctr->prior) ||
        !read_ctr_number(m, field, DENOMINATOR, &ctr->denominator) ||
        !read_ctr_number(m, field, SHIFT, &ctr->shift) ||
        !read_ctr_number(m, field, SCALE, &ctr->scale) ||
        !fe_json_int(&m->json, &field[TARGET], "target_border_idx", 0,
                     INT32_MAX, &ctr->target))
        return false;
    ctr->key = key;
    return read_borders(m, &field[CTR_BORDERS], &ctr->n_borders,
                        &ctr->border);
}

static bool read_ctrs(struct fe_catboost *m, const struct fe_value *array)
{
    struct fe_walk walk;
    struct fe_value object;
    if (!fe_catboost_length(m, array, "ctrs", &m->n_ctrs))
        return false;
    m->ctrs = ir_alloc_array(&m->scratch, (size_t)m->n_ctrs, sizeof *m->ctrs);
    if (m->n_ctrs == 0)
        return true;
    fe_json_begin(&m->json, array, "ctrs", &walk);
    for (int i = 0; fe_json_next(&walk, &object); i++) {
        snprintf(m->json.context, sizeof m->json.context, "ctrs[%d]: ", i);
        if (!read_ctr(m, &object, &m->ctrs[i]))
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------- splits -- */

/* Which numbers are whose: see the header. */
static void number_splits(struct fe_catboost *m)
{
    int64_t n = 0;
    m->float_start = ir_alloc_array(&m->scratch, (size_t)m->n_floats + 1, 8);
    m->value_start =
        ir_alloc_array(&m->scratch, (size_t)m->n_categories + 1, 8);
    m->ctr_start = ir_alloc_array(&m->scratch, (size_t)m->n_ctrs + 1, 8);
    for (int i = 0; i < m->n_floats; i++) {
        m->float_start[i] = n;
        n += m->floats[i].n_borders;
    }
    m->float_start[m->n_floats] = m->first_value = n;
    for (int i = 0; i < m->n_categories; i++) {
        m->value_start[i] = n;
        n += m->categories[i].n_values;
    }
    m->value_start[m->n_categories] = m->first_ctr = n;
    for (int i = 0; i < m->n_ctrs; i++) {
        m->ctr_start[i] = n;
        n += m->ctrs[i].n_borders;
    }
    m->ctr_start[m->n_ctrs] = m->n_splits = n;
    m->test = ir_alloc_array(&m->scratch, (size_t)n, sizeof *m->test);
}

bool fe_catboost_features(struct fe_catboost *m, const struct fe_value *info,
                          const struct fe_value *ctr_data)
{
    static const char *const keys[] = {"float_features",
                                       "categorical_features",
                                       "cat_features_hash", "ctrs"};
    struct fe_value field[4];
    if (!fe_json_fields(&m->json, info, "features_info", 4, keys, field) ||
        !fe_catboost_check_keys(m, info, "features_info", 4, keys) ||
        !read_floats(m, &field[0]) || !read_categories(m, &field[1]))
        return false;
    m->json.context[0] = '\0';
    if (!place_columns(m) || !read_texts(m, &field[2]) ||
        !read_ctrs(m, &field[3]))
        return false;
    m->json.context[0] = '\0';
    if (!fe_catboost_tables(m, ctr_data) || !fe_catboost_find_codes(m))
        return false;
    fe_catboost_place_ctrs(m);
    number_splits(m);
    return true;
}

/* catboost_info.c: model_info: the objective, the classes, the version. The
 * rest of it is about training.
 */
#include "frontend/catboost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- objective -- */

/* Other objectives give raw values as they are. */
static const struct objective {
    const char *name;
    enum fe_catboost_link link;
} objectives[] = {
    {"Logloss", FE_CATBOOST_BINARY},
    {"CrossEntropy", FE_CATBOOST_BINARY},
    {"Focal", FE_CATBOOST_BINARY},
    {"Poisson", FE_CATBOOST_EXP},
    {"Tweedie", FE_CATBOOST_EXP},
    {"MultiClass", FE_CATBOOST_SOFTMAX},
    {"MultiClassOneVsAll", FE_CATBOOST_ONE_VS_ALL},
    {"MultiLogloss", FE_CATBOOST_MULTI_LABEL},
    {"MultiCrossEntropy", FE_CATBOOST_MULTI_LABEL},
    {"RMSEWithUncertainty", FE_CATBOOST_UNCERTAINTY},
};

static void set_objective(struct fe_catboost *m, const char *name)
{
    m->objective = name;
    for (size_t i = 0; i < sizeof objectives / sizeof *objectives; i++)
        if (!strcmp(name, objectives[i].name))
            m->link = objectives[i].link;
}

/* A sum of models has its objective as a JSON text: {"type":"RMSE",...}. */
static bool read_summed(struct fe_catboost *m, const struct fe_value *value)
{
    static const char before[] = "\"type\":\"";
    char *text;
    if (!fe_json_string(&m->json, value, "loss_function", &m->scratch, &text))
        return false;
    char *name = strstr(text, before);
    name = name ? name + sizeof before - 1 : text;
    name[strcspn(name, "\":")] = '\0';
    set_objective(m, name);
    return true;
}

static bool read_objective(struct fe_catboost *m, const struct fe_value *params,
                           const struct fe_value *summed)
{
    static const char *const key = "loss_function", *const type = "type";
    struct fe_value loss = {0}, value;
    char *name;
    if (!fe_catboost_is_null(m, params) &&
        !fe_json_fields(&m->json, params, "params", 1, &key, &loss))
        return false;
    if (loss.at)
        return fe_json_fields(&m->json, &loss, "loss_function", 1, &type,
                              &value) &&
               fe_json_string(&m->json, &value, "loss_function.type",
                              &m->scratch, &name) &&
               (set_objective(m, name), true);
    return fe_catboost_is_null(m, summed) || read_summed(m, summed);
}

/* ---------------------------------------------------------------- tables -- */

/* A description of CTRs in the parameters of training. */
struct description {
    char *type, *borders; /* borders: how the target was cut */
    int64_t n_borders;
};
#define MAX_DESCRIPTIONS 16 /* that are looked at */

static bool read_description(struct fe_catboost *m,
                             const struct fe_value *object,
                             struct description *d)
{
    static const char *const keys[] = {"ctr_type", "target_binarization"};
    static const char *const parts[] = {"border_count", "border_type"};
    struct fe_value field[2], part[2];
    *d = (struct description){.borders = NULL};
    if (!fe_json_fields(&m->json, object, "a CTR", 2, keys, field) ||
        !fe_json_string(&m->json, &field[0], keys[0], &m->scratch, &d->type))
        return false;
    return !field[1].at ||
           (fe_json_fields(&m->json, &field[1], keys[1], 2, parts, part) &&
            fe_json_int(&m->json, &part[0], parts[0], 0, INT32_MAX,
                        &d->n_borders) &&
            fe_json_string(&m->json, &part[1], parts[1], &m->scratch,
                           &d->borders));
}

/* The types of the CTRs that are there, of those that combine or of others. */
struct types {
    int n;
    const char *name[8]; /* there are 6 */
};

static bool is_used(const struct types *types, const char *name)
{
    int i = 0;
    while (i < types->n && strcmp(types->name[i], name) != 0)
        i++;
    return i < types->n;
}

static struct types find_types(const struct fe_catboost *m, bool combines)
{
    struct types types = {.n = 0};
    for (int i = 0; i < m->n_ctrs; i++)
        if ((m->ctrs[i].n_elements > 1) == combines &&
            !is_used(&types, m->ctrs[i].type_name))
            types.name[types.n++] = m->ctrs[i].type_name;
    return types;
}

/* Two tables of one type that differ only in how the target was cut have one
 * key in ctr_data: CatBoost writes just one of them. */
static bool check_list(struct fe_catboost *m, const struct fe_value *list,
                       const struct types *types)
{
    struct description d[MAX_DESCRIPTIONS];
    struct fe_walk walk;
    struct fe_value value;
    if (fe_catboost_is_null(m, list))
        return true;
    if (!fe_json_begin(&m->json, list, "a list of CTRs", &walk))
        return false;
    for (int n = 0; n < MAX_DESCRIPTIONS && fe_json_next(&walk, &value); n++) {
        if (!read_description(m, &value, &d[n]))
            return false;
        for (int i = 0; i < n; i++)
            if (!strcmp(d[i].type, d[n].type) && d[i].borders &&
                d[n].borders && is_used(types, d[n].type) &&
                (d[i].n_borders != d[n].n_borders ||
                 strcmp(d[i].borders, d[n].borders) != 0))
                return fe_json_error(
                    &m->json, &value, "the model has CTRs of type %.40s with "
                    "%lld and with %lld target borders: CatBoost's JSON holds "
                    "only one of their tables, so it is not the whole model",
                    d[n].type, (long long)d[i].n_borders,
                    (long long)d[n].n_borders);
    }
    return true;
}

static bool check_lists(struct fe_catboost *m, const struct fe_value *params)
{
    static const char *const key = "cat_feature_params";
    static const char *const keys[] = {"simple_ctrs", "combinations_ctrs",
                                       "per_feature_ctrs"};
    struct fe_value categories, list[3], value;
    struct fe_walk walk;
    if (m->n_ctrs == 0 || fe_catboost_is_null(m, params))
        return true;
    if (!fe_json_fields(&m->json, params, "params", 1, &key, &categories))
        return false;
    if (fe_catboost_is_null(m, &categories))
        return true;
    const struct types alone = find_types(m, false);
    const struct types combined = find_types(m, true);
    if (!fe_json_fields(&m->json, &categories, key, 3, keys, list) ||
        !check_list(m, &list[0], &alone) || !check_list(m, &list[1], &combined))
        return false;
    if (fe_json_kind(&m->json, &list[2]) != FE_OBJECT)
        return true;
    fe_json_begin_object(&m->json, &list[2], keys[2], &walk);
    while (fe_json_next(&walk, &value))
        if (!check_list(m, &value, &alone))
            return false;
    return true;
}

/* --------------------------------------------------------------- classes -- */

/* A label as text; what is no string as Python prints it. */
static bool read_label(struct fe_catboost *m, const struct fe_value *value,
                       const char **label)
{
    char *text;
    double number;
    bool truth;
    if (fe_json_kind(&m->json, value) == FE_STRING) {
        if (!fe_json_string(&m->json, value, "a class name", &m->scratch,
                            &text))
            return false;
        *label = text;
        return strlen(text) <= IR_MAX_NAME ||
               fe_json_error(&m->json, value, "a class name of %zu bytes (the "
                             "limit is %d)", strlen(text), IR_MAX_NAME);
    }
    if (fe_json_kind(&m->json, value) == FE_BOOL) {
        fe_json_bool(&m->json, value, "a class name", &truth);
        *label = truth ? "True" : "False";
        return true;
    }
    if (!fe_json_double(&m->json, value, "a class name", &number))
        return false;
    struct ir_text shown;
    ir_text_init(&shown);
    ir_text_double(&shown, number);
    *label = ir_strdup(&m->scratch, shown.data);
    ir_text_release(&shown);
    return true;
}

#define MAX_CLASSES (1 << 20)

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Labels that differ in Python may be the same as text, as 1 and "1" are. */
static bool check_labels(struct fe_catboost *m, const struct fe_value *array)
{
    const size_t n = (size_t)m->n_labels;
    const char **sorted = ir_alloc_array(&m->scratch, n, sizeof *sorted);
    memcpy(sorted, m->labels, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_text);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            return fe_json_error(&m->json, array, "class_names: two classes "
                                 "are called '%.100s'", sorted[i]);
    return true;
}

static bool read_labels(struct fe_catboost *m, const struct fe_value *array)
{
    struct fe_walk walk;
    struct fe_value value;
    int n;
    if (!fe_catboost_length(m, array, "class_names", &n) || n == 0)
        return n == 0;
    if (n > MAX_CLASSES)
        return fe_json_error(&m->json, array, "there are %d class_names (the "
                             "limit is %d)", n, MAX_CLASSES);
    m->labels = ir_alloc_array(&m->scratch, (size_t)n, sizeof *m->labels);
    m->n_labels = n;
    fe_json_begin(&m->json, array, "class_names", &walk);
    for (int i = 0; fe_json_next(&walk, &value); i++)
        if (!read_label(m, &value, &m->labels[i]))
            return false;
    return check_labels(m, array);
}

/* class_to_label: the class of each raw value. Without names of their own,
 * classes are called by their numbers. */
static bool read_places(struct fe_catboost *m, const struct fe_value *array,
                        int64_t n_classes)
{
    struct fe_numbers numbers = {0};
    if (fe_catboost_is_null(m, array))
        return true;
    bool good = fe_json_ints(&m->json, array, "class_to_label", &numbers);
    const int64_t n = good ? numbers.n : 0;
    m->places = ir_alloc_array(&m->scratch, (size_t)n, sizeof *m->places);
    int64_t most = n_classes;
    for (int64_t i = 0; good && i < n; i++) {
        const int64_t place = numbers.i[i];
        if (place < 0 || place >= MAX_CLASSES ||
            (i > 0 && place <= numbers.i[i - 1]) ||
            (m->n_labels > 0 && place >= m->n_labels))
            good = fe_json_error(&m->json, array, "class_to_label[%lld] is "
                                 "%lld, which is out of order or out of range",
                                 (long long)i, (long long)place);
        else
            m->places[i] = (int32_t)place;
        most = good && place >= most ? place + 1 : most;
    }
    m->n_places = (int)n;
    free(numbers.data);
    if (good && m->n_labels == 0 && most > 0) {
        m->labels = ir_alloc_array(&m->scratch, (size_t)most,
                                   sizeof *m->labels);
        for (int64_t i = 0; i < most; i++)
            m->labels[i] =
                ir_sprintf(&m->scratch, "%lld", (long long)i);
        m->n_labels = (int)most;
    }
    return good;
}

static bool read_classes(struct fe_catboost *m, const struct fe_value *object)
{
    static const char *const keys[] = {"class_names", "class_to_label",
                                       "classes_count"};
    struct fe_value field[3];
    int64_t n_classes = 0;
    if (fe_catboost_is_null(m, object))
        return true;
    return fe_json_fields(&m->json, object, "class_params", 3, keys, field) &&
           (fe_catboost_is_null(m, &field[2]) ||
            fe_json_int(&m->json, &field[2], keys[2], 0, MAX_CLASSES,
                        &n_classes)) &&
           read_labels(m, &field[0]) && read_places(m, &field[1], n_classes);
}

/* The raw value above which a binary class is 1, from the probability, which is
 * a number in a string. */
static bool read_bound(struct fe_catboost *m, const struct fe_value *value)
{
    char *text;
    double p;
    if (fe_catboost_is_null(m, value))
        return true;
    if (fe_json_kind(&m->json, value) == FE_STRING) {
        if (!fe_json_string(&m->json, value, "binclass_probability_threshold",
                            &m->scratch, &text))
            return false;
        if (!ir_parse_double(text, text + strlen(text), &p))
            p = -1;
    } else if (!fe_json_double(&m->json, value,
                               "binclass_probability_threshold", &p)) {
        return false;
    }
    if (!(p > 0 && p < 1))
        return fe_json_error(&m->json, value, "binclass_probability_threshold "
                             "is no number between 0 and 1");
    m->class_bound = p == 0.5 ? 0 : -log(1 / p - 1);
    return true;
}

/* --------------------------------------------------------------- version -- */

/* catboost_version_info is what `git log` prints, with "Branch: tags/v1.2.10"
 * in it. */
static bool read_version(struct fe_catboost *m, const struct fe_value *value)
{
    static const char before[] = "tags/v";
    char *text;
    if (fe_json_kind(&m->json, value) != FE_STRING)
        return true;
    if (!fe_json_string(&m->json, value, "catboost_version_info", &m->scratch,
                        &text))
        return false;
    const char *at = strstr(text, before);
    if (at) {
        at += sizeof before - 1;
        const size_t n = strspn(at, "0123456789.");
        m->version = n > 0 && n < 40 ? ir_strndup(&m->scratch, at, n) : NULL;
    }
    return true;
}

bool fe_catboost_info(struct fe_catboost *m, const struct fe_value *info)
{
    static const char *const keys[] = {
        "params", "loss_function", "class_params", "multiclass_params",
        "binclass_probability_threshold", "catboost_version_info"};
    struct fe_value field[6];
    if (fe_catboost_is_null(m, info))
        return true;
    return fe_json_fields(&m->json, info, "model_info", 6, keys, field) &&
           read_objective(m, &field[0], &field[1]) &&
           check_lists(m, &field[0]) &&
           read_classes(m, field[2].at ? &field[2] : &field[3]) &&
           read_bound(m, &field[4]) && read_version(m, &field[5]);
}

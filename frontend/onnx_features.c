/* onnx_features.c: ops of ai.onnx.ml that make features of features: scaling,
 * imputation, encodings. Strings are codes here; which strings a column may
 * hold is learnt from the ops that look at it. */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* An attribute of floats, one or one for each of n elements, as a value. */
static struct ir_value *per_element(struct fe_onnx *g, const char *name,
                                    int64_t n, enum ir_dtype dtype)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    const size_t given = a ? a->n_floats : 0;
    if (given != 1 && given != (size_t)n) {
        fe_onnx_error(g, "%s has %zu elements, not 1 or %lld", name, given,
                      (long long)n);
        return NULL;
    }
    double *list = ir_alloc_array(&g->scratch, given, sizeof *list);
    for (size_t i = 0; i < given; i++)
        list[i] = (double)a->floats[i];
    return fe_onnx_vector(g, dtype, (int64_t)given, list);
}

/* The dtype that ONNX Runtime computes features of x in. */
static enum ir_dtype feature_dtype(const struct fe_onnx_value *x)
{
    return x->type == FE_ONNX_DOUBLE ? IR_F64 : IR_F32;
}

static struct ir_value *feature_rows(struct fe_onnx *g,
                                     const struct fe_onnx_value *x)
{
    return fe_onnx_convert(g, fe_onnx_numbers(g, x), feature_dtype(x));
}

static bool give_features(struct fe_onnx *g, struct ir_value *y,
                          const struct fe_onnx_value *like)
{
    return fe_onnx_give_like(g, 0, FE_ONNX_FLOAT,
                             fe_onnx_convert(g, y, IR_F32), like);
}

bool fe_onnx_scaler(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    const enum ir_dtype dtype = feature_dtype(x);
    struct ir_value *offset = per_element(g, "offset", x->n, dtype);
    struct ir_value *scale = offset ? per_element(g, "scale", x->n, dtype)
                                    : NULL;
    return scale &&
           give_features(g, fe_onnx_map(g, "x0 x1 sub x2 mul", dtype,
                                        feature_rows(g, x), offset, scale), x);
}

/* ----------------------------------------------------------- imputation -- */

static bool impute_whole(struct fe_onnx *g, const struct fe_onnx_value *x)
{
    const Onnx__AttributeProto *a =
        fe_onnx_attribute(g, "imputed_value_int64s");
    const size_t n = a ? a->n_ints : 0;
    if (n != 1 && n != (size_t)x->n)
        return fe_onnx_error(g, "imputed_value_int64s has %zu elements, not 1 "
                             "or %lld", n, (long long)x->n);
    double *list = ir_alloc_array(&g->scratch, n, sizeof *list);
    for (size_t i = 0; i < n; i++)
        list[i] = (double)a->ints[i];
    const char *program = ir_sprintf(
        &g->scratch, "x0 %lld eq x1 x0 where",
        (long long)fe_onnx_int(g, "replaced_value_int64", 0));
    return fe_onnx_give_like(
        g, 0, x->type,
        fe_onnx_map(g, program, IR_F64, fe_onnx_numbers(g, x),
                    fe_onnx_vector(g, IR_F64, (int64_t)n, list), NULL), x);
}

bool fe_onnx_imputer(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    if (fe_onnx_is_whole(x->type))
        return impute_whole(g, x);
    const enum ir_dtype dtype = feature_dtype(x);
    const double replaced = fe_onnx_float(g, "replaced_value_float", 0);
    const char *program =
        isnan(replaced) ? "x0 isnan x1 x0 where"
                        : ir_sprintf(&g->scratch, "x0 %.17g eq x1 x0 where",
                                     replaced);
    struct ir_value *imputed =
        per_element(g, "imputed_value_floats", x->n, dtype);
    return imputed &&
           fe_onnx_give_like(g, 0, x->type,
                             fe_onnx_map(g, program, dtype,
                                         fe_onnx_numbers(g, x), imputed,
                                         NULL), x);
}

/* -------------------------------------------------------- normalization -- */

bool fe_onnx_binarizer(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    const char *program =
        ir_sprintf(&g->scratch, "x0 %.17g gt",
                   fe_onnx_float(g, "threshold", 0));
    return fe_onnx_give_like(g, 0, x->type,
                             fe_onnx_map(g, program, fe_onnx_dtype(x->type),
                                         fe_onnx_numbers(g, x), NULL, NULL),
                             x);
}

bool fe_onnx_normalizer(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const bool l1 = fe_onnx_says(g, "norm", "L1", false);
    const bool l2 = fe_onnx_says(g, "norm", "L2", false);
    if (!x)
        return false;
    if (!l1 && !l2 && !fe_onnx_says(g, "norm", "MAX", true))
        return fe_onnx_error(g, "norm is not MAX, L1 or L2");
    if (x->rank != 1)
        return fe_onnx_error(g, "rows of %d dims are not read", x->rank);
    struct ir_value *rows =
        fe_onnx_convert(g, fe_onnx_numbers(g, x), IR_F32);
    struct ir_value *norm = rows;
    if (l1 || l2)
        norm = fe_onnx_map(g, l1 ? "x0 abs" : "x0 x0 mul", IR_F32, rows, NULL,
                           NULL);
    norm = fe_onnx_reduce(g, norm, l1 || l2 ? "sum" : "max");
    /* A row of zeros stays one. */
    struct ir_value *y = fe_onnx_map(
        g, l2 ? "x1 0 eq x0 x0 x0 mul x1 div sqrt x0 0 lt -1 1 where mul where"
              : "x1 0 eq x0 x0 x1 div where",
        IR_F32, rows, norm, NULL);
    struct fe_onnx_value value = *x;
    value.type = FE_ONNX_FLOAT;
    value.labels = NULL;
    value.rows = y;
    return y && fe_onnx_give(g, 0, &value);
}

bool fe_onnx_feature_vectorizer(struct fe_onnx *g)
{
    const size_t n = g->node->n_input;
    struct ir_value **parts = ir_alloc_array(&g->scratch, n, sizeof *parts);
    int64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        const struct fe_onnx_value *x = fe_onnx_row_input(g, i);
        if (!x)
            return false;
        parts[i] = fe_onnx_convert(g, fe_onnx_numbers(g, x), IR_F32);
        if (!parts[i])
            return false;
        total += x->n;
    }
    return fe_onnx_give_rows(g, 0, FE_ONNX_FLOAT,
                             fe_onnx_concat(g, (int)n, parts), 1, &total);
}

/* The scores as a map of labels to them: here they stay a vector. */
bool fe_onnx_zip_map(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    struct fe_onnx_value scores = *x;
    scores.is_probability = true;
    return fe_onnx_give(g, 0, &scores);
}

/* ------------------------------------------------------------ encodings -- */

/* A list of keys or values: an attribute name_strings, name_int64s or
 * name_floats, or name_tensor. NULL with a message. */
static const struct fe_onnx_tensor *read_table(struct fe_onnx *g,
                                               const char *name)
{
    char strings[40], ints[40], floats[40], tensor[40];
    snprintf(strings, sizeof strings, "%s_strings", name);
    snprintf(ints, sizeof ints, "%s_int64s", name);
    snprintf(floats, sizeof floats, "%s_floats", name);
    snprintf(tensor, sizeof tensor, "%s_tensor", name);
    const Onnx__AttributeProto *i = fe_onnx_attribute(g, ints);
    const Onnx__AttributeProto *f = fe_onnx_attribute(g, floats);
    const Onnx__AttributeProto *t = fe_onnx_attribute(g, tensor);
    bool ok = true;
    struct fe_onnx_tensor *list = fe_onnx_strings(g, strings, &ok);
    if (!ok || (list && list->n))
        return ok ? list : NULL;
    if (t)
        return fe_onnx_read_tensor(g, t->t, tensor);
    const int64_t n = (int64_t)(i ? i->n_ints : f ? f->n_floats : 0);
    if (n == 0) {
        fe_onnx_error(g, "%s are missing", name);
        return NULL;
    }
    list = fe_onnx_new_tensor(g, i ? FE_ONNX_INT64 : FE_ONNX_FLOAT, 1, &n);
    for (int64_t k = 0; k < n; k++) {
        list->real[k] = i ? (double)i->ints[k] : (double)f->floats[k];
        if (i)
            list->whole[k] = i->ints[k];
    }
    return list;
}

/* What keys stand for, and what is given for all others. */
struct mapping {
    const struct fe_onnx_tensor *keys, *values;
    double other;
    const char *other_text;
};

static bool same_key(const struct fe_onnx_tensor *t, int64_t i,
                     const struct fe_onnx_tensor *keys, int64_t k)
{
    if (t->text || keys->text)
        return t->text && keys->text && !strcmp(t->text[i], keys->text[k]);
    return t->real[i] == keys->real[k] ||
           (isnan(t->real[i]) && isnan(keys->real[k]));
}

/* A class goes through a mapping as its labels do. */
static bool map_labels(struct fe_onnx *g, const struct mapping *m,
                       const struct fe_onnx_value *x)
{
    const int64_t n = x->labels->n;
    if (!fe_onnx_take_elements(g, n) || n > IR_MAX_NODES / m->keys->n)
        return fe_onnx_error(g, "too many labels");
    struct fe_onnx_tensor *labels =
        fe_onnx_new_tensor(g, m->values->type, 1, &n);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = 0;
        while (k < m->keys->n && !same_key(x->labels, i, m->keys, k))
            k++;
        const bool found = k < m->keys->n;
        if (labels->text)
            labels->text[i] = found ? m->values->text[k] : m->other_text;
        else
            labels->real[i] = found ? m->values->real[k] : m->other;
        if (labels->whole)
            labels->whole[i] =
                found ? m->values->whole[k] : (int64_t)m->other;
    }
    struct fe_onnx_value class = *x;
    class.type = labels->type;
    class.labels = labels;
    return fe_onnx_give(g, 0, &class);
}

/* The key as a number: of a string its code, in a column's words. */
static double key_number(struct fe_onnx *g, const struct mapping *m,
                         int64_t k, struct fe_onnx_words *words)
{
    return m->keys->text ? fe_onnx_code(g, words, m->keys->text[k])
                         : m->keys->real[k];
}

/* The first of equal keys counts. A NaN is a key from opset 4 on; before, it
 * equals nothing. */
static int64_t distinct(double *keys, double *values, int64_t n,
                        const double *from, bool nan_equals)
{
    int64_t kept = 0;
    for (int64_t k = 0; k < n; k++) {
        bool is_new = nan_equals || !isnan(keys[k]);
        for (int64_t i = 0; i < kept && is_new && n <= 4096; i++)
            is_new = keys[i] != keys[k] &&
                     !(isnan(keys[i]) && isnan(keys[k]));
        if (!is_new)
            continue;
        keys[kept] = keys[k];
        values[kept++] = from[k];
    }
    return kept;
}

/* Values as numbers; of strings their codes in `out`. */
static const double *value_numbers(struct fe_onnx *g, const struct mapping *m,
                                   struct fe_onnx_words *out, double *other)
{
    *other = m->other;
    if (!m->values->text)
        return m->values->real;
    double *codes =
        ir_alloc_array(&g->scratch, (size_t)m->values->n, sizeof *codes);
    for (int64_t k = 0; k < m->values->n; k++)
        codes[k] = fe_onnx_code(g, out, m->values->text[k]);
    *other = fe_onnx_code(g, out, m->other_text);
    return codes;
}

static struct ir_value *map_part(struct fe_onnx *g, const struct mapping *m,
                                 struct ir_value *x,
                                 struct fe_onnx_words *words,
                                 const double *numbers, double other,
                                 enum ir_dtype to)
{
    const int64_t n = m->keys->n;
    if (!fe_onnx_take_elements(g, n))
        return NULL;
    double *keys = ir_alloc_array(&g->scratch, (size_t)n, sizeof *keys);
    double *values = ir_alloc_array(&g->scratch, (size_t)n, sizeof *values);
    for (int64_t k = 0; k < n; k++)
        keys[k] = key_number(g, m, k, words);
    return fe_onnx_lookup(g, x, distinct(keys, values, n, numbers,
                                         g->ml_opset >= 4),
                          keys, values, other, to);
}

static bool map_rows(struct fe_onnx *g, const struct mapping *m,
                     const struct fe_onnx_value *x)
{
    const bool strings = m->values->text;
    struct fe_onnx_words *out = strings ? fe_onnx_new_words(g) : NULL;
    double other;
    const double *numbers = value_numbers(g, m, out, &other);
    const enum ir_dtype to = fe_onnx_dtype(m->values->type);
    struct fe_onnx_value y = *x;
    y.type = m->values->type;
    y.words = NULL;
    if (!m->keys->text) {
        y.rows = map_part(g, m, fe_onnx_numbers(g, x), NULL, numbers, other,
                          to);
    } else {
        struct ir_value **parts =
            ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *parts);
        for (int32_t i = 0; i < x->n; i++) {
            parts[i] = map_part(g, m, fe_onnx_gather(g, x->rows, 1, &i),
                                x->words[i], numbers, other, to);
            if (!parts[i])
                return false;
        }
        y.rows = fe_onnx_concat(g, (int)x->n, parts);
    }
    if (strings && fe_onnx_take_elements(g, x->n)) {
        y.words = ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *y.words);
        for (int64_t i = 0; i < x->n; i++)
            y.words[i] = out;
    }
    return y.rows && (!strings || y.words) && fe_onnx_give(g, 0, &y);
}

static bool apply(struct fe_onnx *g, const struct mapping *m)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    if (!x)
        return false;
    if (m->keys->n != m->values->n)
        return fe_onnx_error(g, "%lld keys for %lld values",
                             (long long)m->keys->n, (long long)m->values->n);
    if ((x->type == FE_ONNX_STRING) != (m->keys->text != NULL))
        return fe_onnx_error(g, "keys of type %s for an input of type %s",
                             fe_onnx_type_name(m->keys->type),
                             fe_onnx_type_name(x->type));
    return x->labels ? map_labels(g, m, x) : map_rows(g, m, x);
}

/* default_string, default_int64, default_float or default_tensor. */
static bool read_default(struct fe_onnx *g, struct mapping *m)
{
    const Onnx__AttributeProto *text = fe_onnx_attribute(g, "default_string");
    const Onnx__AttributeProto *tensor =
        fe_onnx_attribute(g, "default_tensor");
    m->other_text = "_Unused";
    if (text && !(m->other_text = fe_onnx_string(g, &text->s,
                                                 "default_string")))
        return false;
    m->other = fe_onnx_is_whole(m->values->type)
                   ? (double)fe_onnx_int(g, "default_int64", -1)
                   : fe_onnx_float(g, "default_float", -0.0);
    if (!tensor)
        return true;
    const struct fe_onnx_tensor *t =
        fe_onnx_read_tensor(g, tensor->t, "default_tensor");
    if (!t)
        return false;
    if (t->n != 1 || !t->text != !m->values->text)
        return fe_onnx_error(g, "default_tensor is no single value of the "
                             "values' type");
    if (t->text)
        m->other_text = t->text[0];
    else
        m->other = t->real[0];
    return true;
}

/* classes_strings of opset 1: string to place, or place to string. */
static bool encode_classes(struct fe_onnx *g)
{
    bool ok = true;
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const struct fe_onnx_tensor *words =
        fe_onnx_strings(g, "classes_strings", &ok);
    if (!x || !ok)
        return false;
    struct fe_onnx_tensor *places =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &words->n);
    for (int64_t i = 0; i < words->n; i++)
        places->real[i] = (double)(places->whole[i] = i);
    const bool from_text = x->type == FE_ONNX_STRING;
    struct mapping m = {.keys = from_text ? words : places,
                        .values = from_text ? places : words};
    return words->n ? read_default(g, &m) && apply(g, &m)
                    : fe_onnx_error(g, "classes_strings has 0 elements");
}

bool fe_onnx_label_encoder(struct fe_onnx *g)
{
    if (fe_onnx_attribute(g, "classes_strings"))
        return encode_classes(g);
    struct mapping m = {.keys = read_table(g, "keys")};
    if (m.keys)
        m.values = read_table(g, "values");
    return m.values && m.keys->n > 0 && read_default(g, &m) && apply(g, &m);
}

bool fe_onnx_category_mapper(struct fe_onnx *g)
{
    bool ok = true;
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const struct fe_onnx_tensor *words =
        fe_onnx_strings(g, "cats_strings", &ok);
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "cats_int64s");
    if (!x || !ok)
        return false;
    if (!words || !a || words->n < 1 || (int64_t)a->n_ints != words->n)
        return fe_onnx_error(g, "%lld cats_strings for %zu cats_int64s",
                             words ? (long long)words->n : 0,
                             a ? a->n_ints : 0);
    struct fe_onnx_tensor *codes =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &words->n);
    for (int64_t i = 0; i < words->n; i++)
        codes->real[i] = (double)(codes->whole[i] = a->ints[i]);
    const bool from_text = x->type == FE_ONNX_STRING;
    struct mapping m = {.keys = from_text ? words : codes,
                        .values = from_text ? codes : words};
    return read_default(g, &m) && apply(g, &m);
}

/* -------------------------------------------------------------- one-hot -- */

/* Element i * n_cats + c: whether x[i] is category c. */
static struct ir_value *one_hot(struct fe_onnx *g,
                                const struct fe_onnx_value *x,
                                struct ir_value *rows,
                                const struct fe_onnx_tensor *cats)
{
    const int64_t n = cats->n;
    if (n > IR_MAX_ELEMENTS / x->n || !fe_onnx_take_elements(g, x->n * n))
        return NULL;
    int32_t *index = ir_alloc_array(&g->scratch, (size_t)(x->n * n),
                                    sizeof *index);
    double *codes = ir_alloc_array(&g->scratch, (size_t)(x->n * n),
                                   sizeof *codes);
    for (int64_t i = 0; i < x->n; i++)
        for (int64_t c = 0; c < n; c++) {
            index[i * n + c] = (int32_t)i;
            codes[i * n + c] =
                cats->text ? fe_onnx_code(g, x->words[i], cats->text[c])
                           : cats->real[c];
        }
    const enum ir_dtype dtype = rows->type.dtype;
    return fe_onnx_convert(
        g, fe_onnx_map(g, "x0 x1 eq", dtype,
                       fe_onnx_gather(g, rows, x->n * n, index),
                       fe_onnx_vector(g, dtype, x->n * n, codes), NULL),
        IR_F32);
}

bool fe_onnx_one_hot_encoder(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_row_input(g, 0);
    const struct fe_onnx_tensor *cats = x ? read_table(g, "cats") : NULL;
    if (!cats)
        return false;
    if ((x->type == FE_ONNX_STRING) != (cats->text != NULL) || x->labels)
        return fe_onnx_error(g, "categories of type %s for an input of type "
                             "%s", fe_onnx_type_name(cats->type),
                             fe_onnx_type_name(x->type));
    if (x->rank == IR_MAX_RANK - 1)
        return fe_onnx_error(g, "its input has %d dims (%d at most)",
                             x->rank + 1, IR_MAX_RANK - 1);
    struct ir_value *rows =
        cats->text ? x->rows : fe_onnx_numbers(g, x);
    /* Numbers are cut to whole ones first. */
    if (rows && !cats->text && !fe_onnx_is_whole(x->type))
        rows = fe_onnx_map(g, "x0 0 lt x0 neg floor neg x0 floor where",
                           rows->type.dtype, rows, NULL, NULL);
    int64_t dim[IR_MAX_RANK];
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->dim[i];
    dim[x->rank] = cats->n;
    return rows && fe_onnx_give_rows(g, 0, FE_ONNX_FLOAT,
                                     one_hot(g, x, rows, cats), x->rank + 1,
                                     dim);
}

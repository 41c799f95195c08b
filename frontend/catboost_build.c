/* catboost_build.c: what was read of a CatBoost model -> module: columns and
 * their categories, the CTRs that are looked up, the forest, the outputs.
 *
 * CatBoost's exponent is not libm's but a table's (library/cpp/fast_exp, which
 * calls fmath's expd_v); it is spelt out here as maps and lookups, so that
 * probabilities and exponents are CatBoost's own to the bit. Its sigmoid calls
 * libm.
 */
#include "frontend/catboost.h"

#include <math.h>
#include <string.h>

struct builder {
    struct fe_catboost *m;
    struct ir_module *module;
    const char *path;       /* of the file; lives as long as the module */
    struct ir_value *x;     /* the columns, as f32 */
    struct ir_value **hash; /* by category: of a row's category, NaN if new */
    int64_t n_numbers;      /* that CTRs have in lookups so far */
};

/* More are refused: CTRs may share a table, so that they outgrow the file. */
#define MAX_NUMBERS (1 << 26)

/* ------------------------------------------------------------------- ops -- */

static struct ir_value *add(struct builder *b, enum ir_op_kind kind, int n,
                            struct ir_value *const *x, int n_attrs,
                            const struct ir_attr *attrs)
{
    for (int i = 0; i < n; i++)
        if (!x[i])
            return NULL;
    struct ir_op *op =
        ir_add_op(b->module, kind, n, x, n_attrs, attrs, b->m->diag);
    if (!op)
        return NULL;
    op->loc = ir_loc_file(b->path);
    return &op->result[0];
}

/* A map in f64 or from it. Numbers of the program are given as fmt has them. */
static struct ir_value *map(struct builder *b, int n,
                            struct ir_value *const *x, const char *program)
{
    const struct ir_attr attrs[] = {ir_string("program", program),
                                    ir_string("dtype", "f64")};
    return add(b, IR_OP_map, n, x, 2, attrs);
}

static struct ir_value *map_1(struct builder *b, struct ir_value *x,
                              const char *program)
{
    return map(b, 1, &x, program);
}

static const char *shown(struct builder *b, double value)
{
    struct ir_text text;
    ir_text_init(&text);
    ir_text_double(&text, value);
    const char *copy = ir_strdup(&b->m->scratch, text.data);
    ir_text_release(&text);
    return copy;
}

static struct ir_value *constant(struct builder *b, int64_t n,
                                 const double *values)
{
    const struct ir_attr attr = ir_tensor_attr(
        "value", ir_tensor_copy(b->module, IR_F64, n, values));
    return add(b, IR_OP_constant, 0, NULL, 1, &attr);
}

static struct ir_value *gather(struct builder *b, struct ir_value *x,
                               int64_t n, const int32_t *index)
{
    const struct ir_attr attr = ir_tensor_attr(
        "index", ir_tensor_copy(b->module, IR_I32, n, index));
    return add(b, IR_OP_gather, 1, &x, 1, &attr);
}

/* The values of the keys first, first + 1, ...; keys are of x's dtype. */
static struct ir_value *lookup(struct builder *b, struct ir_value *x,
                               int first, int n, enum ir_dtype dtype,
                               const void *values, double other)
{
    if (!x)
        return NULL;
    const size_t bytes = ir_dtype_bytes(x->type.dtype);
    void *keys = ir_alloc_array(&b->m->scratch, (size_t)n, bytes);
    for (int i = 0; i < n; i++)
        if (x->type.dtype == IR_F32)
            ((float *)keys)[i] = (float)(first + i);
        else
            ((double *)keys)[i] = first + i;
    const struct ir_attr attrs[] = {
        ir_tensor_attr("keys",
                       ir_tensor_copy(b->module, x->type.dtype, n, keys)),
        ir_tensor_attr("values", ir_tensor_copy(b->module, dtype, n, values)),
        ir_float("default", other)};
    return add(b, IR_OP_lookup, 1, &x, 3, attrs);
}

/* --------------------------------------------------------------- columns -- */

static void add_columns(struct builder *b)
{
    struct fe_catboost *m = b->m;
    const struct fe_catboost_category **of =
        ir_alloc_array(&m->scratch, (size_t)m->n_columns, sizeof *of);
    const char **name =
        ir_alloc_array(&m->scratch, (size_t)m->n_columns, sizeof *name);
    for (int i = 0; i < m->n_floats; i++)
        name[m->floats[i].feature.column] = m->floats[i].feature.name;
    for (int i = 0; i < m->n_categories; i++) {
        const struct fe_catboost_feature *f = &m->categories[i].feature;
        name[f->column] = f->name;
        of[f->column] = &m->categories[i];
    }
    for (int i = 0; i < m->n_columns; i++) {
        struct ir_column *column = ir_add_column(
            b->module, name[i], of[i] ? IR_CATEGORY : IR_NUMBER, 1);
        if (of[i] && of[i]->n_codes > 0)
            ir_set_categories(b->module, column, of[i]->n_codes, of[i]->text);
    }
}

static struct ir_value *column(struct builder *b, int number)
{
    const int32_t index = number;
    return gather(b, b->x, 1, &index);
}

/* ------------------------------------------------------------------ CTRs -- */

/* The hash of the row's category. */
static struct ir_value *category_hash(struct builder *b, int category)
{
    const struct fe_catboost_category *c = &b->m->categories[category];
    if (b->hash[category])
        return b->hash[category];
    double *hash = ir_alloc_array(&b->m->scratch, (size_t)c->n_codes,
                                  sizeof *hash);
    for (int i = 0; i < c->n_codes; i++)
        hash[i] = c->hash[i];
    b->hash[category] = lookup(b, column(b, c->feature.column), 0, c->n_codes,
                               IR_F64, hash, (double)NAN);
    return b->hash[category];
}

static struct ir_value *is_above(struct builder *b,
                                 const struct fe_catboost_float *f,
                                 float border)
{
    struct ir_text program;
    ir_text_init(&program);
    ir_text_puts(&program, "x0 ");
    ir_text_float(&program, border);
    ir_text_puts(&program, f->nan_above ? " gt x0 isnan max" : " gt");
    struct ir_value *bit =
        map_1(b, column(b, f->feature.column), program.data);
    ir_text_release(&program);
    return bit;
}

static struct ir_value *is_value(struct builder *b,
                                 const struct fe_catboost_category *c,
                                 int32_t value)
{
    const double one = 1;
    return lookup(b, column(b, c->feature.column),
                  fe_catboost_find_code(c, value), 1, IR_F64, &one, 0);
}

/* What a table's CTRs combine, as numbers for the hash. */
static struct ir_value *combine(struct builder *b,
                                const struct fe_catboost_ctr *ctr)
{
    struct ir_value *part[FE_CATBOOST_MAX_ELEMENTS];
    for (int i = 0; i < ctr->n_elements; i++) {
        const struct fe_catboost_element *e = &ctr->element[i];
        if (e->kind == FE_CATBOOST_CATEGORY)
            part[i] = category_hash(b, e->feature);
        else if (e->kind == FE_CATBOOST_ABOVE)
            part[i] = is_above(b, &b->m->floats[e->feature], e->border);
        else
            part[i] = is_value(b, &b->m->categories[e->feature], e->value);
    }
    return add(b, IR_OP_concat, ctr->n_elements, part, 0, NULL);
}

/* Whether there is room for n numbers more for each of so many CTRs. */
static bool take_numbers(struct builder *b, const struct fe_catboost_table *t,
                         int64_t n, int64_t n_ctrs)
{
    if (n_ctrs > IR_MAX_ELEMENTS / n ||
        n * n_ctrs > MAX_NUMBERS - b->n_numbers)
        return fe_json_error(&b->m->json, &t->at, "%lld CTRs of %lld values "
                             "are too many (the limit is %d numbers, and %d in "
                             "all)", (long long)n_ctrs, (long long)n,
                             IR_MAX_ELEMENTS, MAX_NUMBERS);
    b->n_numbers += n * n_ctrs;
    return true;
}

/* All CTRs of a table of several elements at once. */
static struct ir_value *look_up_hash(struct builder *b,
                                     const struct fe_catboost_table *t)
{
    int64_t width = 0, at = 0;
    for (const struct fe_catboost_ctr *c = t->first; c; c = c->next)
        width++;
    if (!take_numbers(b, t, t->n, width))
        return NULL;
    float *values = ir_alloc_array(&b->m->scratch, (size_t)(t->n * width),
                                   sizeof *values);
    float *other =
        ir_alloc_array(&b->m->scratch, (size_t)width, sizeof *other);
    for (const struct fe_catboost_ctr *c = t->first; c; c = c->next, at++) {
        other[at] = fe_catboost_ctr_value(c, NULL);
        for (int64_t i = 0; i < t->n; i++)
            values[i * width + at] =
                fe_catboost_ctr_value(c, t->counts + i * t->n_counts);
    }
    struct ir_value *x = combine(b, t->first);
    const struct ir_attr attrs[] = {
        ir_int("multiplier", (int64_t)FE_CATBOOST_MULTIPLIER),
        ir_tensor_attr("keys",
                       ir_tensor_copy(b->module, IR_I64, t->n, t->hash)),
        ir_tensor_attr("values", ir_tensor_copy(b->module, IR_F32,
                                                t->n * width, values)),
        ir_tensor_attr("default",
                       ir_tensor_copy(b->module, IR_F32, width, other))};
    return add(b, IR_OP_hash_lookup, 1, &x, 4, attrs);
}

/* One CTR of one category: a value for each code. */
static struct ir_value *look_up_code(struct builder *b,
                                     const struct fe_catboost_ctr *ctr)
{
    const struct fe_catboost_category *c =
        &b->m->categories[ctr->element[0].feature];
    if (!take_numbers(b, ctr->table, c->n_codes, 1))
        return NULL;
    float *values = ir_alloc_array(&b->m->scratch, (size_t)c->n_codes,
                                   sizeof *values);
    for (int i = 0; i < c->n_codes; i++)
        values[i] = fe_catboost_ctr_value(
            ctr, fe_catboost_counts(ctr->table, c->hash[i]));
    return lookup(b, column(b, c->feature.column), 0, c->n_codes, IR_F32,
                  values, (double)fe_catboost_ctr_value(ctr, NULL));
}

/* The columns, and after them the CTRs in the order of place_ctrs(). */
static struct ir_value *add_features(struct builder *b)
{
    struct fe_catboost *m = b->m;
    const int n_ctrs = m->n_features - m->n_columns;
    struct ir_value **part =
        ir_alloc_array(&m->scratch, (size_t)n_ctrs + 1, sizeof *part);
    int n = 0;
    part[n++] = b->x;
    for (int i = 0; i < m->n_tables; i++) {
        const struct fe_catboost_table *t = &m->tables[i];
        if (t->first->n_elements > 1)
            part[n++] = look_up_hash(b, t);
        else
            for (const struct fe_catboost_ctr *c = t->first; c; c = c->next)
                if (c->feature >= 0)
                    part[n++] = look_up_code(b, c);
    }
    if (n > IR_MAX_OPERANDS) {
        ir_error(m->diag, ir_loc_file(b->path), "CTRs ask for %d tables (the "
                 "limit is %d)", n - 1, IR_MAX_OPERANDS - 1);
        return NULL;
    }
    return n == 1 ? b->x : add(b, IR_OP_concat, n, part, 0, NULL);
}

/* ------------------------------------------------------------ raw values -- */

/* As CatBoost does it, what changes nothing is left out. */
static struct ir_value *scale_and_bias(struct builder *b, struct ir_value *x)
{
    const struct fe_catboost *m = b->m;
    struct ir_value *operand[2] = {x, NULL};
    bool biased = false;
    for (int64_t i = 0; i < m->bias.n; i++)
        biased = biased || m->bias.d[i] != 0;
    if (m->scale == 1 && !biased)
        return x;
    const char *scaled =
        m->scale == 1 ? "x0"
                      : ir_sprintf(&b->m->scratch, "x0 %s mul",
                                   shown(b, m->scale));
    if (!biased)
        return map(b, 1, operand, scaled);
    if (m->width == 1)
        return map(b, 1, operand,
                   ir_sprintf(&b->m->scratch, "%s %s add", scaled,
                              shown(b, m->bias.d[0])));
    operand[1] = constant(b, m->bias.n, m->bias.d);
    return map(b, 2, operand, ir_sprintf(&b->m->scratch, "%s x1 add", scaled));
}

/* Classes that training did not see have no raw value, and -inf in predict. */
static struct ir_value *spread(struct builder *b, struct ir_value *raw)
{
    const struct fe_catboost *m = b->m;
    bool in_order = m->n_labels == m->width;
    if (m->n_places == 0)
        return raw;
    for (int i = 0; i < m->n_places; i++)
        in_order = in_order && m->places[i] == i;
    if (in_order)
        return raw;
    const double absent = -INFINITY;
    int32_t *index =
        ir_alloc_array(&b->m->scratch, (size_t)m->n_labels, sizeof *index);
    for (int i = 0; i < m->n_labels; i++)
        index[i] = m->width;
    for (int i = 0; i < m->n_places; i++)
        index[m->places[i]] = i;
    struct ir_value *parts[] = {raw, constant(b, 1, &absent)};
    return gather(b, add(b, IR_OP_concat, 2, parts, 0, NULL), m->n_labels,
                  index);
}

static bool check_classes(struct fe_catboost *m)
{
    const bool one_of = m->link == FE_CATBOOST_SOFTMAX ||
                        m->link == FE_CATBOOST_ONE_VS_ALL;
    if (!one_of)
        m->n_places = 0;
    if (m->link == FE_CATBOOST_BINARY && m->n_labels != 2)
        m->n_labels = 0; /* a target of probabilities has no names */
    if (one_of && ((m->n_places > 0 && m->n_places != m->width) ||
                   (m->n_labels > 0 && m->n_labels < m->width)))
        return ir_error(m->diag, ir_loc_file(m->json.path),
                        "class_params has %d classes and %d names, but leaves "
                        "have %d values", m->n_places, m->n_labels, m->width);
    return true;
}

/* ------------------------------------------------------------ transforms -- */

/* Where CatBoost's exponent begins and ends. */
#define EXP_LOW -708.39641853226408
#define EXP_HIGH 709.78272569338397 /* gives inf */

/* e^x for x in [EXP_LOW, EXP_HIGH]: 2^(k / 2048) from tables, times a cubic of
 * what is left. The results are below 2^(most + 1). */
static struct ir_value *exponent(struct builder *b, struct ir_value *x,
                                 int most)
{
    enum { least = -1022, largest = 1024 };
    double part[2048], power[largest - least + 1];
    const double per_unit = 2048 / M_LN2, unit = M_LN2 / 2048;
    for (int i = 0; i < 2048; i++)
        part[i] = exp2(i / 2048.0);
    for (int i = least; i <= most; i++)
        power[i - least] = ldexp(1, i);
    struct ir_value *k = map_1(b, x, ir_sprintf(&b->m->scratch,
                                                "x0 %s mul rint",
                                                shown(b, per_unit)));
    struct ir_value *whole = map_1(b, k, "x0 2048 div floor");
    struct ir_value *both[] = {k, whole};
    struct ir_value *rest = map(b, 2, both, "x0 x1 2048 mul sub");
    struct ir_value *from[] = {x, k};
    struct ir_value *t =
        map(b, 2, from,
            ir_sprintf(&b->m->scratch, "x1 %s mul x0 sub", shown(b, unit)));
    struct ir_value *terms[] = {
        t, lookup(b, rest, 0, 2048, IR_F64, part, 0),
        lookup(b, whole, least, most - least + 1, IR_F64, power, 0)};
    return map(b, 3, terms,
               "3.0000000027955394 x0 sub x0 x0 mul mul "
               "0.16666666685227835064 mul x0 sub 1 add x1 x2 mul mul");
}

/* Bounded, as it is for all rows but the last n % 4 of a batch of n, where
 * CatBoost has 0 for what is below the bounds. */
static struct ir_value *bounded_exponent(struct builder *b, struct ir_value *x)
{
    return exponent(
        b, map_1(b, x, ir_sprintf(&b->m->scratch, "x0 %s max %s min",
                                  shown(b, EXP_LOW), shown(b, EXP_HIGH))),
        1024);
}

/* CatBoost takes four exponents of a row at once, where they are bounded, and
 * what is left over one at a time. */
static struct ir_value *softmax(struct builder *b, struct ir_value *x)
{
    const struct ir_attr max = ir_string("kind", "max");
    const struct ir_attr sum = ir_string("kind", "sum");
    if (!x)
        return NULL;
    const int64_t n = ir_type_volume(&x->type);
    const char *low = shown(b, EXP_LOW);
    struct ir_value *pair[] = {x, add(b, IR_OP_reduce, 1, &x, 1, &max)};
    struct ir_value *below = map(b, 2, pair, "x0 x1 sub");
    struct ir_value *e = exponent(
        b, map_1(b, below, ir_sprintf(&b->m->scratch, "x0 %s max", low)), 0);
    if (n % 4 != 0) {
        double *alone = ir_alloc_array(&b->m->scratch, (size_t)n, 8);
        for (int64_t i = n / 4 * 4; i < n; i++)
            alone[i] = 1;
        struct ir_value *terms[] = {below, e, constant(b, n, alone)};
        e = map(b, 3, terms,
                ir_sprintf(&b->m->scratch, "x0 %s le x2 mul 0 x1 where",
                           low));
    }
    struct ir_value *parts[] = {e, add(b, IR_OP_reduce, 1, &e, 1, &sum)};
    return map(b, 2, parts, "x0 x1 div");
}

static struct ir_value *sigmoid(struct builder *b, struct ir_value *x)
{
    const struct ir_attr attr = ir_float("alpha", 1);
    return add(b, IR_OP_sigmoid, 1, &x, 1, &attr);
}

/* The mean as it is, and the square of the deviation. */
static struct ir_value *uncertainty(struct builder *b, struct ir_value *x)
{
    const int32_t first = 0, second = 1;
    struct ir_value *parts[] = {
        gather(b, x, 1, &first),
        bounded_exponent(b, map_1(b, gather(b, x, 1, &second), "x0 2 mul"))};
    return add(b, IR_OP_concat, 2, parts, 0, NULL);
}

static struct ir_value *apply_link(struct builder *b, struct ir_value *raw)
{
    switch (b->m->link) {
    case FE_CATBOOST_BINARY:
    case FE_CATBOOST_ONE_VS_ALL:
    case FE_CATBOOST_MULTI_LABEL:
        return sigmoid(b, raw);
    case FE_CATBOOST_EXP:
        return bounded_exponent(b, raw);
    case FE_CATBOOST_SOFTMAX:
        return softmax(b, raw);
    case FE_CATBOOST_UNCERTAINTY:
        return uncertainty(b, raw);
    case FE_CATBOOST_IDENTITY:
        break;
    }
    return raw;
}

static struct ir_value *classify(struct builder *b, struct ir_value *raw)
{
    const struct ir_attr bound = ir_float("bound", b->m->class_bound);
    if (b->m->link == FE_CATBOOST_SOFTMAX ||
        b->m->link == FE_CATBOOST_ONE_VS_ALL)
        return add(b, IR_OP_argmax, 1, &raw, 0, NULL);
    return add(b, IR_OP_above, 1, &raw, 1, &bound);
}

/* --------------------------------------------------------------- outputs -- */

static bool add_outputs(struct builder *b, struct ir_op *trees)
{
    struct fe_catboost *m = b->m;
    struct ir_value *raw = spread(b, scale_and_bias(b, &trees->result[0]));
    struct ir_value *value = raw ? apply_link(b, raw) : NULL;
    const bool classes = m->link == FE_CATBOOST_BINARY ||
                         m->link == FE_CATBOOST_SOFTMAX ||
                         m->link == FE_CATBOOST_ONE_VS_ALL ||
                         m->link == FE_CATBOOST_MULTI_LABEL;
    struct ir_value *class = value && classes ? classify(b, raw) : NULL;
    if (!value || (classes && !class))
        return false;
    ir_add_output(b->module, "value", value);
    if (classes) {
        ir_add_output(b->module, "probability", value);
        struct ir_output *output = ir_add_output(b->module, "class", class);
        if (m->n_labels > 0 && m->link != FE_CATBOOST_MULTI_LABEL)
            ir_set_labels(b->module, output, m->n_labels, m->labels);
    }
    ir_add_output(b->module, "raw", raw);
    ir_add_output(b->module, "leaf", &trees->result[1]);
    return true;
}

static void set_facts(struct builder *b)
{
    ir_set_fact(b->module, "source_format", "catboost");
    if (b->m->version)
        ir_set_fact(b->module, "source_version", b->m->version);
    ir_set_fact(b->module, "objective",
                b->m->objective ? ir_sprintf(&b->m->scratch, "%.100s",
                                             b->m->objective)
                                : "unknown");
}

bool fe_catboost_build(struct fe_catboost *m, struct ir_module *module)
{
    struct builder b = {
        .m = m, .module = module,
        .path = ir_strdup(&module->arena, m->json.path)};
    const struct ir_attr attrs[] = {ir_int("first", 0),
                                    ir_int("count", m->n_columns),
                                    ir_string("dtype", "f32")};
    b.hash = ir_alloc_array(&m->scratch, (size_t)m->n_categories + 1,
                            sizeof *b.hash);
    if (!check_classes(m))
        return false;
    set_facts(&b);
    add_columns(&b);
    b.x = add(&b, IR_OP_input, 0, NULL, 3, attrs);
    struct ir_value *x = b.x ? add_features(&b) : NULL;
    if (!x)
        return false;
    struct ir_forest_builder *forest = m->forest;
    m->forest = NULL;
    struct ir_op *trees = ir_forest_finish(
        forest, module, x, "le", NULL, 1, 0,
        ir_loc_file(b.path), m->diag);
    return trees && add_outputs(&b, trees) && ir_verify(module, m->diag);
}

/* probe.c: rows that try a model where it may break. A row is a function of
 * (model, seed, number) alone: random numbers come from a counter, not from a
 * state, so that any row can be made without those before it. */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is known of one element of the row. Nothing is asked of most of those
 * that nets read: they are plain. */
struct element {
    double *at;       /* thresholds and category codes that nodes test */
    int64_t n, capacity;
    bool categorical;
    bool quiet;       /* too many are like it: has no derived rows */
    double low, high; /* of the finite ones in `at` */
    double zero_bound;
};

struct ir_probe {
    uint64_t seed;
    int64_t n_elements;
    struct element *element;
    int64_t *first; /* derived rows before element i; [n_elements + 1] */
};

/* splitmix64's finaliser over a Weyl sequence (Steele, Lea, Flood 2014). */
uint64_t ir_random(uint64_t seed, uint64_t i)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) +
                 (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void add(struct element *e, double v)
{
    if (e->n == e->capacity) {
        e->capacity = e->capacity * 2 + 8;
        e->at = ir_realloc_array(e->at, (size_t)e->capacity, sizeof(double));
    }
    e->at[e->n++] = v;
}

/* ------------------------------------------------- what the model tests -- */

/* The element of its operand that element i of a view is. */
static int64_t viewed(const struct ir_op *op, int64_t i)
{
    const struct ir_type *type = &op->result[0].type;
    const int64_t *stride = ir_attr_tensor(op, "strides")->data;
    int64_t at = ir_attr_int(op, "offset");
    for (int d = type->rank; d-- > 0;) {
        at += i % type->dim[d] * stride[d];
        i /= type->dim[d];
    }
    return at;
}

/* The row's element that element i of `value` is, or -1 when it is computed
 * from several. */
static int64_t source_of(const struct ir_module *m,
                         const struct ir_value *value, int64_t i)
{
    for (;;) {
        const struct ir_op *op = value->op;
        if (op->kind == IR_OP_input)
            return ir_column_offset(m, (int)ir_attr_int(op, "first")) + i;
        if (op->kind == IR_OP_gather) {
            i = ((const int32_t *)ir_attr_tensor(op, "index")->data)[i];
            value = op->operand[0];
            continue;
        }
        if (op->kind == IR_OP_view) {
            i = viewed(op, i);
            value = op->operand[0];
            continue;
        }
        if (op->kind != IR_OP_concat || !ir_is_plain_concat(op))
            return -1;
        int o = 0;
        while (i >= ir_type_volume(&op->operand[o]->type))
            i -= ir_type_volume(&op->operand[o++]->type);
        value = op->operand[o];
    }
}

static void collect_set(struct element *e, const struct ir_forest *f, int set)
{
    e->categorical = true;
    const int32_t start = f->set_start[set], end = f->set_start[set + 1];
    for (int32_t w = start; w < end; w++)
        for (int bit = 0; bit < 32; bit++)
            if (f->set_words[w] >> bit & 1)
                add(e, (double)(w - start) * 32 + bit);
}

static void collect(struct ir_probe *p, const struct ir_module *m,
                    const struct ir_op *op)
{
    struct ir_forest f;
    ir_forest_view(op, &f);
    int64_t *source =
        ir_realloc_array(NULL, (size_t)f.n_features + 1, sizeof(*source));
    for (int i = 0; i < f.n_features; i++)
        source[i] = source_of(m, op->operand[0], i);
    for (int i = 0; i < f.n_nodes; i++) {
        if (source[f.feature[i]] < 0)
            continue;
        struct element *e = &p->element[source[f.feature[i]]];
        if (f.zero_bound > e->zero_bound)
            e->zero_bound = f.zero_bound;
        if (f.flags[i] & IR_NODE_CATEGORICAL)
            collect_set(e, &f, f.set[i]);
        else
            add(e, ir_real(f.threshold, f.in_dtype, (size_t)i));
    }
    free(source);
}

enum { max_numbers = 4096 };

/* `value` are numbers of n things: rows of a table, or steps. Counted from the
 * end, too, and what is just past both ends. Looking up where an element comes
 * from takes time, and the first ones will do. */
static void collect_numbers(struct ir_probe *p, const struct ir_module *m,
                            const struct ir_value *value, int64_t n)
{
    const int64_t volume = ir_type_volume(&value->type);
    for (int64_t i = 0; i < volume && i < max_numbers; i++) {
        const int64_t source = source_of(m, value, i);
        if (source < 0)
            continue;
        struct element *e = &p->element[source];
        e->categorical = true;
        add(e, 0);
        add(e, (double)(n / 2));
        add(e, (double)(n - 1));
        add(e, (double)-n);
    }
}

static void collect_op(struct ir_probe *p, const struct ir_module *m,
                       const struct ir_op *op)
{
    if (op->kind == IR_OP_trees || op->kind == IR_OP_forest)
        collect(p, m, op);
    else if (op->kind == IR_OP_take)
        collect_numbers(p, m, op->operand[0],
                        ir_attr_tensor(op, "table")->type.dim[0]);
    else if (op->kind == IR_OP_scan && op->n_operands > 2)
        collect_numbers(p, m, op->operand[2],
                        op->operand[0]->type.dim[0] + 1);
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorted, once each, with the range of the finite ones. */
static void settle(struct element *e)
{
    int64_t n = 0;
    if (e->n)
        qsort(e->at, (size_t)e->n, sizeof(double), compare_doubles);
    for (int64_t i = 0; i < e->n; i++)
        if (n == 0 || e->at[n - 1] != e->at[i])
            e->at[n++] = e->at[i];
    e->n = n;
    e->low = 0;
    e->high = 1;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(e->at[i])) {
            e->low = e->at[i];
            break;
        }
    for (int64_t i = n; i-- > 0;)
        if (isfinite(e->at[i])) {
            e->high = e->at[i];
            break;
        }
    if (e->high < e->low)
        e->high = e->low;
}

/* -------------------------------------------------------- derived values -- */

/* Those that every element is tried with, whatever the model tests. */
static double special(const struct element *e, int64_t i)
{
    const double bound = e->zero_bound;
    switch (i) {
    case 0: return NAN;
    case 1: return INFINITY;
    case 2: return -INFINITY;
    case 3: return 0.0;
    case 4: return -0.0;
    case 5: return 0x1p-1074;
    case 6: return -0x1p-149;
    case 7: return bound;
    case 8: return -bound;
    case 9: return nextafter(bound, INFINITY);
    case 10: return nextafter(-bound, -INFINITY);
    case 11: return nextafterf((float)bound, INFINITY);
    case 12: return 1e300;
    case 13: return -0.5;
    case 14: return -1;
    case 15: return 2147483648.0;
    case 16: return -2147483649.0;
    case 17: return 9.3e18;
    default: return e->high + 1;
    }
}
enum { n_special = 19, n_around = 5 };

/* Around a threshold: itself and one ulp of f64 and of f32 either side; around
 * a category: itself, its neighbours and fractions. */
static double around(const struct element *e, double v, int64_t i)
{
    if (e->categorical) {
        static const double step[n_around] = {0, 1, -1, 0.5, 0.999};
        return v + step[i];
    }
    switch (i) {
    case 0: return v;
    case 1: return nextafter(v, INFINITY);
    case 2: return nextafter(v, -INFINITY);
    case 3: return nextafterf((float)v, INFINITY);
    default: return nextafterf((float)v, -INFINITY);
    }
}

/* A column of many elements, all of them alike as far as this file knows, has
 * derived rows for so many of them, evenly spread. */
enum { max_alike = 16 };

static bool is_quiet(const struct ir_column *column, int64_t i)
{
    const int64_t n = column->n_elements;
    return n > max_alike && i > 0 &&
           i * max_alike / n == (i - 1) * max_alike / n;
}

static int64_t derived_count(const struct element *e)
{
    if (e->quiet && (e->n == 0 || e->categorical))
        return 0;
    return n_special + n_around * e->n;
}

static double derived(const struct element *e, int64_t i)
{
    if (i < n_special)
        return special(e, i);
    i -= n_special;
    return around(e, e->at[i / n_around], i % n_around);
}

/* ---------------------------------------------------------- drawn values -- */

static double unit(uint64_t r)
{
    return (double)(r >> 11) * 0x1p-53;
}

/* Mostly inside the range that is tested and a little past it. */
static double draw(const struct element *e, uint64_t r)
{
    const uint64_t pick = r % 100;
    const uint64_t more = ir_random(r, 1);
    const double at = e->n ? e->at[more % (uint64_t)e->n] : unit(more);
    if (pick < 20)
        return at;
    if (pick < 30)
        return around(e, at, (int64_t)(more >> 32) % n_around);
    if (pick < 37)
        return NAN;
    if (pick < 45)
        return special(e, (int64_t)(more % n_special));
    const double span = e->high - e->low;
    const double v = e->low + (unit(more) * 1.2 - 0.1) * (span > 0 ? span : 1);
    return e->categorical ? floor(v) : v;
}

/* How the plain elements of a row are drawn: a NaN or an infinity in every row
 * would be all that comes out of a net. */
enum mood { calm, odd_ones, zeros, wild };

static enum mood mood_of(uint64_t seed)
{
    static const enum mood moods[8] = {calm, calm, calm, odd_ones,
                                       odd_ones, zeros, wild, calm};
    return moods[seed >> 32 & 7];
}

/* About as a normal distribution has it, with rows of several scales. */
static double draw_calm(uint64_t seed, uint64_t r)
{
    static const double scales[4] = {0.25, 1, 1, 4};
    const double sum =
        unit(r) + unit(ir_random(r, 1)) + unit(ir_random(r, 2));
    return (2 * sum - 3) * scales[seed >> 35 & 3];
}

static double draw_plain(const struct element *e, uint64_t seed, uint64_t r)
{
    const enum mood mood = mood_of(seed);
    const uint64_t pick = ir_random(r, 3);
    if (mood == wild)
        return draw(e, r);
    if (mood == odd_ones && pick % 32 == 0)
        return special(e, (int64_t)(pick >> 8) % n_special);
    if (mood == zeros && pick % 2 == 0) {
        static const double small[4] = {0, -0.0, 0x1p-149, -0x1p-1074};
        return small[pick >> 8 & 3];
    }
    return draw_calm(seed, r);
}

/* --------------------------------------------------------------------- API */

struct ir_probe *ir_probe_new(const struct ir_module *module, uint64_t seed)
{
    struct ir_probe *p = ir_realloc_array(NULL, 1, sizeof(*p));
    p->seed = seed;
    p->n_elements = ir_row_elements(module);
    p->element = calloc((size_t)p->n_elements + 1, sizeof(*p->element));
    if (!p->element)
        ir_out_of_memory();
    p->first = ir_realloc_array(NULL, (size_t)p->n_elements + 1,
                                sizeof(*p->first));
    int64_t at = 0;
    for (int c = 0; c < module->n_columns; c++) {
        const struct ir_column *column = &module->columns[c];
        for (int k = 0; k < column->n_categories; k++) {
            p->element[at].categorical = true;
            add(&p->element[at], k);
        }
        for (int64_t i = 0; i < column->n_elements; i++)
            p->element[at + i].quiet = is_quiet(column, i);
        at += column->n_elements;
    }
    for (int i = 0; i < module->n_ops; i++)
        collect_op(p, module, module->ops[i]);
    p->first[0] = 0;
    for (int64_t i = 0; i < p->n_elements; i++) {
        settle(&p->element[i]);
        p->first[i + 1] = p->first[i] + derived_count(&p->element[i]);
    }
    return p;
}

void ir_probe_free(struct ir_probe *p)
{
    if (!p)
        return;
    for (int64_t i = 0; i < p->n_elements; i++)
        free(p->element[i].at);
    free(p->element);
    free(p->first);
    free(p);
}

int64_t ir_probe_count(const struct ir_probe *p)
{
    return p->first[p->n_elements];
}

void ir_probe_row(const struct ir_probe *p, int64_t i, double *row)
{
    const uint64_t seed = ir_random(p->seed, (uint64_t)i);
    for (int64_t k = 0; k < p->n_elements; k++) {
        const struct element *e = &p->element[k];
        const uint64_t r = ir_random(seed, (uint64_t)k);
        const bool plain = e->n == 0 && !e->categorical;
        row[k] = plain ? draw_plain(e, seed, r) : draw(e, r);
    }
    if (i >= ir_probe_count(p))
        return;
    /* The element that this row is derived for: the last that starts at or
     * before i. */
    int64_t low = 0, high = p->n_elements;
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        if (p->first[middle] <= i)
            low = middle;
        else
            high = middle;
    }
    row[low] = derived(&p->element[low], i - p->first[low]);
}

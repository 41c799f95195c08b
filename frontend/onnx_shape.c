/* onnx_shape.c: constants, casts, and ops that give a value other dims. The
 * batch stays a dim of its own: an op that would mix rows is refused. */
#include "frontend/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------ constants -- */

bool fe_onnx_give_constant(struct fe_onnx *g, const struct fe_onnx_tensor *t)
{
    if (!t)
        return false;
    struct fe_onnx_value value = {.type = t->type, .constant = t,
                                  .rank = t->rank, .n = t->n};
    memcpy(value.dim, t->dim, sizeof value.dim);
    return fe_onnx_give(g, 0, &value);
}

bool fe_onnx_constant(struct fe_onnx *g)
{
    if (g->node->n_attribute != 1)
        return fe_onnx_error(g, "%zu attributes (1 is expected)",
                             g->node->n_attribute);
    const Onnx__AttributeProto *a = g->node->attribute[0];
    if (a->t)
        return fe_onnx_give_constant(
            g, fe_onnx_read_tensor(g, a->t, "value"));
    const bool list = a->n_floats || a->n_ints || a->n_strings;
    const int type = a->has_f || a->n_floats ? FE_ONNX_FLOAT
                     : a->has_i || a->n_ints ? FE_ONNX_INT64
                                             : FE_ONNX_STRING;
    const int64_t n = (int64_t)(a->n_floats + a->n_ints + a->n_strings);
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, type, list, &n);
    for (int64_t i = 0; i < t->n; i++) {
        if (type == FE_ONNX_FLOAT)
            t->real[i] = (double)(list ? a->floats[i] : a->f);
        else if (type == FE_ONNX_INT64)
            t->real[i] = (double)(t->whole[i] = list ? a->ints[i] : a->i);
        else if (!(t->text[i] = fe_onnx_string(
                       g, list ? &a->strings[i] : &a->s, "value")))
            return false;
    }
    return fe_onnx_give_constant(g, t);
}

bool fe_onnx_identity(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    return x && fe_onnx_give(g, 0, x);
}

/* Nothing is dropped but in training. */
bool fe_onnx_dropout(struct fe_onnx *g)
{
    if (fe_onnx_has_input(g, 2)) {
        const struct fe_onnx_tensor *training = fe_onnx_constant_input(g, 2);
        if (!training)
            return false;
        if (training->n != 1 || !training->real || training->real[0] != 0)
            return fe_onnx_error(g, "training_mode is not read");
    }
    return fe_onnx_identity(g);
}

/* ----------------------------------------------------------------- cast -- */

static double cast_number(double v, int to)
{
    if (to == FE_ONNX_FLOAT)
        return (double)(float)v;
    if (to == FE_ONNX_BOOL)
        return v != 0;
    return fe_onnx_is_whole(to) ? trunc(v) : v;
}

/* What is kept of a whole number by a type of 4, 8 or 16 bits. */
static int64_t wrap(int64_t v, int to)
{
    const int64_t n = INT64_C(1) << fe_onnx_bits(to);
    const int64_t low = fe_onnx_is_signed(to) ? -n / 2 : 0;
    const int64_t past = (v % n + n - low) % n;
    return past + low;
}

static struct ir_value *wrap_rows(struct fe_onnx *g, struct ir_value *rows,
                                  int to)
{
    const double n = (double)(INT64_C(1) << fe_onnx_bits(to));
    const double low = fe_onnx_is_signed(to) ? -n / 2 : 0;
    return rows ? fe_onnx_map(
        g, ir_sprintf(&g->scratch, "x0 x0 %.17g sub %.17g div floor %.17g mul "
                      "sub", low, n, n),
        rows->type.dtype, rows, NULL, NULL) : NULL;
}

/* A number as a label is written. */
static const char *number_text(struct fe_onnx *g,
                               const struct fe_onnx_tensor *t, int64_t i)
{
    if (t->whole)
        return ir_sprintf(&g->scratch, "%lld", (long long)t->whole[i]);
    return ir_sprintf(&g->scratch, "%.9g", t->real[i]);
}

static struct fe_onnx_tensor *cast_tensor(struct fe_onnx *g,
                                          const struct fe_onnx_tensor *t,
                                          int to)
{
    struct fe_onnx_tensor *c = fe_onnx_new_tensor(g, to, t->rank, t->dim);
    for (int64_t i = 0; i < t->n; i++) {
        if (t->whole && fe_onnx_batches(t->whole[i]) &&
            to != FE_ONNX_INT64 && to != FE_ONNX_INT32) {
            fe_onnx_error(g, "it computes with the size of the batch");
            return NULL;
        }
        if (to == FE_ONNX_STRING) {
            c->text[i] = t->text ? t->text[i] : number_text(g, t, i);
            continue;
        }
        double v = 0;
        if (t->real)
            v = t->real[i];
        else if (!ir_parse_double(t->text[i], t->text[i] + strlen(t->text[i]),
                                  &v)) {
            fe_onnx_error(g, "the string '%.100s' is no number", t->text[i]);
            return NULL;
        }
        c->real[i] = cast_number(v, to);
        if (c->whole && !(fabs(c->real[i]) < 0x1p63)) {
            fe_onnx_error(g, "%g is no whole number that can be kept",
                          c->real[i]);
            return NULL;
        }
        if (c->whole)
            c->whole[i] = t->whole && to != FE_ONNX_BOOL
                              ? t->whole[i] : (int64_t)c->real[i];
        if (c->whole && fe_onnx_bits(to) < 32)
            c->real[i] = (double)(c->whole[i] = wrap(c->whole[i], to));
    }
    return c;
}

static struct ir_value *cast_rows(struct fe_onnx *g,
                                  const struct fe_onnx_value *x, int to)
{
    const struct fe_onnx_linear *known = fe_onnx_linear_of(x);
    if (known && known->real && to == FE_ONNX_FLOAT)
        return known->real;
    struct ir_value *rows = fe_onnx_numbers(g, x);
    if (!rows)
        return NULL;
    const enum ir_dtype from = rows->type.dtype;
    if (fe_onnx_is_whole(x->type) && !fe_onnx_is_whole(to)) /* no -0 there */
        return fe_onnx_map(g, "x0 0 add", fe_onnx_dtype(to), rows, NULL, NULL);
    if (to == FE_ONNX_BOOL)
        rows = fe_onnx_map(g, "x0 0 eq 0 1 where", from, rows, NULL, NULL);
    else if (fe_onnx_is_whole(to) && !fe_onnx_is_whole(x->type))
        rows = fe_onnx_map(g, "x0 0 lt x0 neg floor neg x0 floor where 0 add",
                           from, rows, NULL, NULL);
    rows = fe_onnx_convert(g, rows, fe_onnx_dtype(to));
    return fe_onnx_is_whole(to) && to != FE_ONNX_BOOL &&
                   fe_onnx_bits(to) < fe_onnx_bits(x->type) &&
                   fe_onnx_bits(to) < 32
               ? wrap_rows(g, rows, to) : rows;
}

static bool cast_value(struct fe_onnx *g, const struct fe_onnx_value *x,
                       int64_t type)
{
    const int to = type < 0 || type > 100 ? 0 : fe_onnx_widened((int)type);
    if (to != FE_ONNX_FLOAT && to != FE_ONNX_DOUBLE && to != FE_ONNX_STRING &&
        !fe_onnx_is_whole(to))
        return fe_onnx_error(g, "casts to type %s are not read",
                             fe_onnx_type_text(g, type));
    if (x->constant)
        return fe_onnx_give_constant(g, cast_tensor(g, x->constant, to));
    if (to == x->type)
        return fe_onnx_give(g, 0, x);
    if (x->labels && (to == FE_ONNX_STRING || fe_onnx_is_whole(to))) {
        struct fe_onnx_value class = *x;
        class.type = to;
        class.labels = cast_tensor(g, x->labels, to);
        return class.labels && fe_onnx_give(g, 0, &class);
    }
    if (to == FE_ONNX_STRING)
        return fe_onnx_error(g, "numbers of the row cannot be cast to "
                             "strings");
    struct fe_onnx_value cast = *x;
    cast.type = to;
    cast.labels = NULL;
    cast.words = NULL;
    cast.rows = cast_rows(g, x, to);
    return cast.rows && fe_onnx_give(g, 0, &cast);
}

bool fe_onnx_cast(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    return x && cast_value(g, x, fe_onnx_int(g, "to", -1));
}

bool fe_onnx_cast_like(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_value *like = x ? fe_onnx_input(g, 1) : NULL;
    return like && cast_value(g, x, like->type);
}

/* --------------------------------------------------------------- shapes -- */

/* How many elements of a row come before its batch, in the order of rows that
 * are one behind the other. This is what a reshape must not change. */
static int64_t before_batch(const struct fe_onnx_value *x)
{
    return fe_onnx_product(x, 0, x->batch) * (x->ahead + 1);
}

/* Whether a number of a new shape stands for the batch's size, or some times
 * it. */
static bool is_batch(const struct fe_onnx *g, int64_t given)
{
    return fe_onnx_batches(given) ||
           (g->batch == FE_ONNX_FIRST && given == g->batch_size);
}

/* Which of the new dims is the batch of x, n when none can be told: the one
 * that says so, the open one, or one of 1. */
static int64_t find_batch(const struct fe_onnx *g,
                          const struct fe_onnx_value *x, int64_t n,
                          const int64_t *given, bool zeros)
{
    int64_t open = n;
    for (int64_t i = 0; i < n; i++) {
        if (fe_onnx_batches(given[i]) ||
            (given[i] == 0 && i == x->batch && !zeros))
            return i;
        if (given[i] == -1)
            open = i;
    }
    for (int64_t i = 0; i < n; i++)
        if (g->batch == FE_ONNX_FIRST && is_batch(g, given[i]))
            return i;
    /* [1, -1] of [N, ..] is what exporters make of a batch of 1. */
    if (open < n) {
        int64_t others = 1; /* or more than there can be */
        for (int64_t i = 0; i < n && others <= IR_MAX_ELEMENTS; i++) {
            const int64_t v = i == open ? 1
                              : given[i] == 0 && i < x->rank && !zeros
                                  ? x->dim[i]
                              : given[i] > 0 ? given[i] : 1;
            others = v > IR_MAX_ELEMENTS ? v : others * v;
        }
        if (open > 0 && given[0] == 1 && others != x->n)
            return 0;
        return open;
    }
    for (int64_t i = 0; i < n; i++)
        if (given[i] == 1)
            return i;
    return n;
}

/* The dims that a reshape gives x. */
static bool new_shape(struct fe_onnx *g, const struct fe_onnx_value *x,
                      const struct fe_onnx_tensor *given, bool zeros,
                      struct fe_onnx_shape *shape)
{
    int open = -1;
    const int64_t batch = x->batched && given->n
                              ? find_batch(g, x, given->n, given->whole, zeros)
                              : given->n;
    *shape = (struct fe_onnx_shape){.rank = (int)given->n, .n = 1,
                                    .batched = batch < given->n,
                                    .batch = (int)batch};
    for (int i = 0; i < shape->rank; i++) {
        const int64_t v = given->whole[i], k = fe_onnx_batches(v);
        int64_t *dim = &shape->dim[i];
        *dim = k ? k : i == batch && is_batch(g, v) ? 1
               : v == 0 && !zeros && i < x->rank ? x->dim[i] : v;
        if (*dim == -1 && open < 0) {
            open = i;
            *dim = 1;
        }
        if (*dim < 1 || *dim > IR_MAX_ELEMENTS ||
            shape->n > IR_MAX_ELEMENTS / *dim)
            return fe_onnx_error(g, "a dim of the new shape is %lld",
                                 (long long)v);
        shape->n *= *dim;
    }
    if (open >= 0 && x->n % shape->n == 0)
        shape->dim[open] = x->n / shape->n;
    if (open >= 0)
        shape->n *= shape->dim[open];
    return true;
}

/* Puts the batch of x where it has as many elements before it as it had; false
 * when the new dims do not let it. */
static bool keep_rows(const struct fe_onnx_value *x,
                      struct fe_onnx_shape *shape)
{
    if (!x->batched)
        return true;
    int64_t n = 1;
    for (int i = 0; i < shape->batch && i < shape->rank; i++)
        n *= shape->dim[i];
    const int64_t before = before_batch(x);
    if (!shape->batched || before % n ||
        shape->dim[shape->batch] % (before / n))
        return false;
    shape->ahead = before / n - 1;
    return true;
}

bool fe_onnx_reshape(struct fe_onnx *g)
{
    bool ok;
    struct fe_onnx_shape shape;
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *given = fe_onnx_whole_list(g, "shape", 1, &ok);
    if (!x || !ok)
        return false;
    if (!given || given->n > IR_MAX_RANK)
        return fe_onnx_error(g, "the new shape has %lld dims (up to %d are "
                             "read)", given ? (long long)given->n : 0,
                             IR_MAX_RANK);
    if (!new_shape(g, x, given, fe_onnx_int(g, "allowzero", 0), &shape))
        return false;
    if (shape.n != x->n || !keep_rows(x, &shape))
        return fe_onnx_error(g, "a row has %lld elements, which the new shape "
                             "mixes with those of others or leaves out",
                             (long long)x->n);
    return fe_onnx_give_shaped(g, 0, x, &shape);
}

bool fe_onnx_flatten(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const int64_t given = fe_onnx_int(g, "axis", 1);
    if (!x)
        return false;
    if (given < -x->rank || given > x->rank)
        return fe_onnx_error(g, "axis %lld is out of range (there are %d "
                             "dims)", (long long)given, x->rank);
    const int axis = (int)(given < 0 ? given + x->rank : given);
    struct fe_onnx_shape shape = {
        .rank = 2, .dim = {fe_onnx_product(x, 0, axis),
                           fe_onnx_product(x, axis, x->rank)},
        .n = x->n, .batched = x->batched,
        .batch = x->batched && x->batch >= axis};
    return (keep_rows(x, &shape) ||
            fe_onnx_error(g, "axis %lld: only what is flattened row by row "
                          "is read", (long long)given)) &&
           fe_onnx_give_shaped(g, 0, x, &shape);
}

bool fe_onnx_unsqueeze(struct fe_onnx *g)
{
    bool ok, is_new[IR_MAX_RANK] = {0};
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *axes = fe_onnx_whole_list(g, "axes", 1, &ok);
    if (!x || !ok)
        return false;
    if (!axes || axes->n + x->rank > IR_MAX_RANK)
        return fe_onnx_error(g, "%lld axes",
                             axes ? (long long)axes->n : 0);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    shape.rank = x->rank + (int)axes->n;
    for (int64_t i = 0; i < axes->n; i++) {
        int axis = 0;
        if (!fe_onnx_axis(g, axes->whole[i], shape.rank, &axis))
            return false;
        if (is_new[axis])
            return fe_onnx_error(g, "an axis comes twice");
        is_new[axis] = true;
    }
    for (int i = 0, old = 0; i < shape.rank; i++) {
        if (!is_new[i] && x->batched && old == x->batch)
            shape.batch = i;
        shape.dim[i] = is_new[i] ? 1 : x->dim[old++];
    }
    return fe_onnx_give_shaped(g, 0, x, &shape);
}

bool fe_onnx_squeeze(struct fe_onnx *g)
{
    bool ok, gone[IR_MAX_RANK] = {0};
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *axes = fe_onnx_whole_list(g, "axes", 1, &ok);
    if (!x || !ok)
        return false;
    for (int i = 0; !axes && i < x->rank; i++)
        gone[i] = x->dim[i] == 1 && !(x->batched && i == x->batch);
    for (int64_t i = 0; axes && i < axes->n; i++) {
        int axis = 0;
        if (!fe_onnx_own_axis(g, x, axes->whole[i], &axis))
            return false;
        if (x->dim[axis] != 1)
            return fe_onnx_error(g, "axis %lld has %lld elements, not 1",
                                 (long long)axes->whole[i],
                                 (long long)x->dim[axis]);
        gone[axis] = true;
    }
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    shape.rank = 0;
    for (int i = 0; i < x->rank; i++) {
        if (gone[i])
            continue;
        if (x->batched && i == x->batch)
            shape.batch = shape.rank;
        shape.dim[shape.rank++] = x->dim[i];
    }
    return fe_onnx_give_shaped(g, 0, x, &shape);
}

/* --------------------------------------------------- shapes as constants -- */

static bool give_numbers(struct fe_onnx *g, int rank, int64_t n,
                         const int64_t *list)
{
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_INT64, rank, &n);
    for (int64_t i = 0; i < t->n; i++)
        t->real[i] = (double)(t->whole[i] = list[i]);
    return fe_onnx_give_constant(g, t);
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

bool fe_onnx_shape(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    int64_t dim[IR_MAX_RANK];
    if (!x)
        return false;
    int64_t start = fe_onnx_int(g, "start", 0);
    int64_t end = fe_onnx_int(g, "end", x->rank);
    start = clamp(start < 0 ? start + x->rank : start, 0, x->rank);
    end = clamp(end < 0 ? end + x->rank : end, start, x->rank);
    for (int i = 0; i < x->rank; i++)
        dim[i] = x->batched && i == x->batch ? FE_ONNX_BATCH - (x->dim[i] - 1)
                                             : x->dim[i];
    return give_numbers(g, 1, end - start, dim + start);
}

bool fe_onnx_size_op(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    return x && (x->batched
                     ? fe_onnx_error(g, "the size depends on the batch")
                     : give_numbers(g, 0, x->n, &x->n));
}

/* A batch's dim is as a row has it: what is the same for all fits. */
bool fe_onnx_constant_of_shape(struct fe_onnx *g)
{
    bool ok;
    int64_t dim[IR_MAX_RANK], one = 1;
    const struct fe_onnx_tensor *shape = fe_onnx_whole_list(g, "", 0, &ok);
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "value");
    if (!shape)
        return false;
    const struct fe_onnx_tensor *value =
        a ? fe_onnx_read_tensor(g, a->t, "value")
          : fe_onnx_new_tensor(g, FE_ONNX_FLOAT, 1, &one);
    if (!value)
        return false;
    if (value->n != 1 || value->text || shape->n > IR_MAX_RANK)
        return fe_onnx_error(g, "a value of %lld elements for %lld dims",
                             (long long)value->n, (long long)shape->n);
    for (int64_t i = 0; i < shape->n; i++)
        dim[i] = fe_onnx_batches(shape->whole[i])
                     ? fe_onnx_batches(shape->whole[i]) : shape->whole[i];
    const int64_t n = fe_onnx_volume(g, (int)shape->n, dim, 0);
    if (n < 0 || !fe_onnx_take_elements(g, n))
        return false;
    struct fe_onnx_tensor *t =
        fe_onnx_new_tensor(g, value->type, (int)shape->n, dim);
    for (int64_t i = 0; i < n; i++) {
        t->real[i] = value->real[0];
        if (t->whole)
            t->whole[i] = value->whole[0];
    }
    return fe_onnx_give_constant(g, t);
}

/* start + i * step, below limit. */
bool fe_onnx_range(struct fe_onnx *g)
{
    const struct fe_onnx_tensor *of[3];
    for (size_t i = 0; i < 3; i++) {
        of[i] = fe_onnx_constant_input(g, i);
        if (!of[i])
            return false;
        if (of[i]->n != 1 || !of[i]->real || of[i]->type != of[0]->type)
            return fe_onnx_error(g, "input %zu is no number of the type of "
                                 "input 0", i);
    }
    const double start = of[0]->real[0], step = of[2]->real[0];
    const double count = ceil((of[1]->real[0] - start) / step);
    const int64_t n = count > 0 ? (int64_t)fmin(count, 0x1p40) : 0;
    if (step == 0 || isnan(count) || !fe_onnx_take_elements(g, n))
        return fe_onnx_error(g, "a range by steps of %g has too many elements",
                             step);
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, of[0]->type, 1, &n);
    for (int64_t i = 0; i < n; i++) {
        t->real[i] = start + (double)i * step;
        if (t->type == FE_ONNX_FLOAT)
            t->real[i] = (double)(float)t->real[i];
        if (t->whole)
            t->real[i] = (double)(t->whole[i] =
                of[0]->whole[0] + i * of[2]->whole[0]);
    }
    return fe_onnx_give_constant(g, t);
}

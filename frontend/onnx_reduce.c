/* onnx_reduce.c: ops along an axis, or several: reductions, softmax, argmax,
 * running sums. The IR sees a value as [outer][size][inner]; axes that are not
 * side by side are brought there by a view first.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* -------------------------------------------------------------- softmax -- */

/* What is one of the slices that an op is computed over. */
struct slices {
    int64_t size, inner;
};

/* Below opset 13 all dims from the axis on are one. */
static bool find_slices(struct fe_onnx *g, const struct fe_onnx_value *x,
                        struct slices *s)
{
    int axis;
    const bool old = g->opset < 13;
    if (!fe_onnx_axis(g, fe_onnx_int(g, "axis", old ? 1 : -1), x->rank, &axis))
        return false;
    if (x->batched && (old ? x->batch >= axis : x->batch == axis))
        return fe_onnx_error(g, "axis %d is the batch, or before it", axis);
    s->size = old ? fe_onnx_product(x, axis, x->rank) : x->dim[axis];
    s->inner = old ? 1 : fe_onnx_product(x, axis + 1, x->rank);
    return true;
}

static struct ir_value *softmax(struct fe_onnx *g, struct ir_value *x,
                                const struct slices *s)
{
    const struct ir_attr attrs[] = {ir_string("exp", "fast_exp"),
                                    ir_int("size", s->size),
                                    ir_int("inner", s->inner)};
    const bool all = x && s->size == ir_type_volume(&x->type);
    return fe_onnx_op(g, IR_OP_softmax, 1, &x, all ? 1 : 3, attrs);
}

bool fe_onnx_softmax(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct slices s = {1, 1};
    return x && find_slices(g, x, &s) &&
           fe_onnx_give_like(g, 0, x->type, softmax(g, x->rows, &s), x);
}

/* A reduction's result as [outer][1][inner], x as [outer][size][inner]. */
static struct ir_value *as_slices(struct fe_onnx *g, struct ir_value *x,
                                  int64_t n, int64_t size, int64_t inner)
{
    const int64_t dim[] = {n / (size * inner), size, inner};
    return fe_onnx_shaped(g, x, 3, dim);
}

/* x and a number of each slice of it, as operands of a map. */
static struct ir_value *map_slices(struct fe_onnx *g, const char *program,
                                   struct ir_value *x, struct ir_value *of,
                                   const struct slices *s)
{
    if (!x || !of)
        return NULL;
    const int64_t n = ir_type_volume(&x->type);
    if (s->size != n) {
        x = as_slices(g, x, n, s->size, s->inner);
        of = as_slices(g, of, n / s->size, 1, s->inner);
    }
    return fe_onnx_map(g, program, x ? x->type.dtype : IR_F32, x, of, NULL);
}

/* x - max - log(sum(exp(x - max))) */
bool fe_onnx_log_softmax(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct slices s = {1, 1};
    if (!x || !find_slices(g, x, &s))
        return false;
    struct ir_value *most =
        fe_onnx_reduce_slices(g, x->rows, "max", s.size, s.inner);
    struct ir_value *y = map_slices(g, "x0 x1 sub", x->rows, most, &s);
    struct ir_value *power =
        y ? fe_onnx_map(g, "x0 fast_exp", y->type.dtype, y, NULL, NULL) : NULL;
    struct ir_value *sum =
        power ? fe_onnx_reduce_slices(g, power, "sum", s.size, s.inner) : NULL;
    return fe_onnx_give_like(g, 0, x->type,
                             map_slices(g, "x0 x1 fast_log sub", y, sum, &s),
                             x);
}

/* --------------------------------------------------------------- argmax -- */

/* The number of the first (or last) of those that are equal to the largest (or
 * smallest), of each slice, as f64. */
static struct ir_value *find_extreme(struct fe_onnx *g,
                                     const struct fe_onnx_value *x,
                                     const struct slices *s, bool smallest,
                                     bool last)
{
    const enum ir_dtype dtype = x->rows->type.dtype;
    struct ir_value *most = fe_onnx_reduce_slices(
        g, x->rows, smallest ? "min" : "max", s->size, s->inner);
    struct ir_value *is = map_slices(g, "x0 x1 eq", x->rows, most, s);
    double *count =
        ir_alloc_array(&g->scratch, (size_t)s->size, sizeof *count);
    for (int64_t i = 0; i < s->size; i++)
        count[i] = (double)i;
    const int64_t dim[] = {s->size, 1};
    struct ir_value *number = fe_onnx_vector(g, dtype, s->size, count);
    if (s->size != x->n)
        number = fe_onnx_shaped(g, number, 2, dim);
    struct ir_value *which =
        fe_onnx_map(g, last ? "x0 x1 -1 where" : "x0 x1 inf where", dtype, is,
                    number, NULL);
    return fe_onnx_convert(
        g, which ? fe_onnx_reduce_slices(g, which, last ? "max" : "min",
                                         s->size, s->inner) : NULL, IR_F64);
}

/* x's dims without the axis, or with 1 there. */
static struct fe_onnx_shape without_axis(const struct fe_onnx_value *x,
                                         int axis, bool keep)
{
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    shape.n = x->n / x->dim[axis];
    shape.dim[axis] = 1;
    if (keep)
        return shape;
    shape.rank--;
    for (int i = axis; i < shape.rank; i++)
        shape.dim[i] = shape.dim[i + 1];
    shape.batch -= x->batched && x->batch > axis;
    return shape;
}

/* One class of the row, which a table of labels may stand behind. */
static bool give_class(struct fe_onnx *g, const struct fe_onnx_value *x,
                       const struct fe_onnx_shape *shape)
{
    struct fe_onnx_value class;
    struct fe_onnx_tensor *labels =
        fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &x->n);
    for (int64_t i = 0; i < x->n; i++)
        labels->real[i] = (double)(labels->whole[i] = i);
    struct ir_value *scores = fe_onnx_shaped(g, x->rows, 1, &x->n);
    if (!scores || !fe_onnx_class_of(g, scores, 0, labels, &class))
        return false;
    class.is_row = false;
    class.rank = shape->rank;
    memcpy(class.dim, shape->dim, sizeof class.dim);
    class.batched = shape->batched;
    class.batch = shape->batch;
    class.ahead = shape->ahead;
    return fe_onnx_give(g, 0, &class);
}

bool fe_onnx_arg_max(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const bool last = fe_onnx_int(g, "select_last_index", 0);
    const bool smallest = !strcmp(g->node->op_type, "ArgMin");
    int axis;
    if (!x || !fe_onnx_own_axis(g, x, fe_onnx_int(g, "axis", 0), &axis))
        return false;
    const struct fe_onnx_shape shape =
        without_axis(x, axis, fe_onnx_int(g, "keepdims", 1));
    const struct slices s = {x->dim[axis],
                             fe_onnx_product(x, axis + 1, x->rank)};
    if (!smallest && !last && shape.n == 1 && x->n > 1)
        return give_class(g, x, &shape);
    return fe_onnx_give_shape(g, 0, FE_ONNX_INT64,
                              find_extreme(g, x, &s, smallest, last), &shape);
}

/* 1 for the first largest, else 0. */
bool fe_onnx_hardmax(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct slices s = {1, 1};
    if (!x || !find_slices(g, x, &s))
        return false;
    struct ir_value *first = find_extreme(g, x, &s, false, false);
    double *count = ir_alloc_array(&g->scratch, (size_t)s.size, sizeof *count);
    for (int64_t i = 0; i < s.size; i++)
        count[i] = (double)i;
    const int64_t dim[] = {s.size, 1};
    struct ir_value *number = fe_onnx_shaped(
        g, fe_onnx_vector(g, IR_F64, s.size, count), 2, dim);
    if (first)
        first = as_slices(g, first, x->n / s.size, 1, s.inner);
    return fe_onnx_give_like(
        g, 0, x->type,
        fe_onnx_map(g, "x0 x1 eq", fe_onnx_dtype(x->type), first, number,
                    NULL), x);
}

/* ----------------------------------------------------------- reductions -- */

static const struct {
    const char *name, *before, *kind, *after; /* programs may be NULL */
} reductions[] = {
    {"ReduceSum", NULL, "sum", NULL},
    {"ReduceMean", NULL, "sum", "mean"},
    {"ReduceMax", NULL, "max", NULL},
    {"ReduceMin", NULL, "min", NULL},
    {"ReduceProd", NULL, "prod", NULL},
    {"ReduceL1", "x0 abs", "sum", NULL},
    {"ReduceL2", "x0 x0 mul", "sum", "x0 sqrt"},
    {"ReduceSumSquare", "x0 x0 mul", "sum", NULL},
    {"ReduceLogSum", NULL, "sum", "x0 fast_log"},
    {"ReduceLogSumExp", "x0 fast_exp", "sum", "x0 fast_log"},
};

/* The axes to reduce, as flags; all of them when none is named. */
static bool read_axes(struct fe_onnx *g, const struct fe_onnx_value *x,
                      bool *is_reduced, bool *any)
{
    bool ok;
    const struct fe_onnx_tensor *axes = fe_onnx_whole_list(g, "axes", 1, &ok);
    if (!ok)
        return false;
    *any = axes && axes->n;
    if (!*any && !fe_onnx_int(g, "noop_with_empty_axes", 0)) {
        for (int i = 0; i < x->rank; i++)
            is_reduced[i] = true;
        *any = true;
        if (x->batched)
            return fe_onnx_error(g, "axis %d is the batch", x->batch);
    }
    for (int64_t i = 0; axes && i < axes->n; i++) {
        int axis;
        if (!fe_onnx_own_axis(g, x, axes->whole[i], &axis))
            return false;
        is_reduced[axis] = true;
    }
    return true;
}

/* x so that what is reduced is the middle of [outer][size][inner]. */
static struct ir_value *side_by_side(struct fe_onnx *g,
                                     const struct fe_onnx_value *x,
                                     const bool *is_reduced, int64_t *size,
                                     int64_t *inner)
{
    int64_t own[IR_MAX_RANK], dim[IR_MAX_RANK], stride[IR_MAX_RANK];
    int first = -1, last = -1, n = 0;
    *size = 1;
    for (int i = 0; i < x->rank; i++) {
        if (!is_reduced[i] || x->dim[i] == 1)
            continue;
        first = first < 0 ? i : first;
        last = i;
        *size *= x->dim[i];
    }
    *inner = first < 0 ? 1 : fe_onnx_product(x, last + 1, x->rank);
    if (first < 0 || fe_onnx_product(x, first, last + 1) == *size)
        return x->rows;
    /* The axes are not side by side: they go to the end. */
    fe_onnx_strides(x->rank, x->dim, own);
    for (int reduced = 0; reduced < 2; reduced++)
        for (int i = 0; i < x->rank; i++)
            if (is_reduced[i] == reduced && x->dim[i] != 1) {
                dim[n] = x->dim[i];
                stride[n++] = own[i];
            }
    *inner = 1;
    return fe_onnx_strided(g, x->rows, n, dim, stride, 0);
}

/* x's dims with those that are reduced as 1, or left out. */
static struct fe_onnx_shape reduced_shape(const struct fe_onnx_value *x,
                                          const bool *is_reduced, bool keep)
{
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    shape.rank = 0;
    shape.n = 1;
    for (int i = 0; i < x->rank; i++) {
        if (is_reduced[i] && !keep)
            continue;
        if (x->batched && i == x->batch)
            shape.batch = shape.rank;
        shape.dim[shape.rank++] = is_reduced[i] ? 1 : x->dim[i];
        shape.n *= is_reduced[i] ? 1 : x->dim[i];
    }
    return shape;
}

bool fe_onnx_reduce_op(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    bool is_reduced[IR_MAX_RANK] = {0}, any;
    int64_t size, inner;
    size_t i = 0;
    if (!x || !read_axes(g, x, is_reduced, &any))
        return false;
    while (strcmp(reductions[i].name, g->node->op_type) != 0)
        i++;
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    struct ir_value *y = side_by_side(g, x, is_reduced, &size, &inner);
    if (y && reductions[i].before)
        y = fe_onnx_map(g, reductions[i].before, dtype, y, NULL, NULL);
    y = y && any ? fe_onnx_reduce_slices(g, y, reductions[i].kind, size, inner)
                 : y;
    const char *after = reductions[i].after;
    if (after && !strcmp(after, "mean"))
        after = ir_sprintf(&g->scratch, fe_onnx_is_whole(x->type)
                           ? "x0 %lld div floor" : "x0 %lld div",
                           (long long)size);
    if (y && after)
        y = fe_onnx_map(g, after, dtype, y, NULL, NULL);
    const struct fe_onnx_shape shape =
        any ? reduced_shape(x, is_reduced, fe_onnx_int(g, "keepdims", 1))
            : fe_onnx_shape_of(x);
    return fe_onnx_give_shape(g, 0, x->type, y, &shape);
}

/* --------------------------------------------------------- running sums -- */

/* More steps than these would be more ops than is sensible. */
enum { MAX_STEPS = 4096 };

bool fe_onnx_cum_sum(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const struct fe_onnx_tensor *given =
        x ? fe_onnx_constant_input(g, 1) : NULL;
    const bool reverse = fe_onnx_int(g, "reverse", 0);
    const bool exclusive = fe_onnx_int(g, "exclusive", 0);
    int axis;
    if (!given)
        return false;
    if (given->n != 1 || !given->whole)
        return fe_onnx_error(g, "the axis is no whole number");
    if (!fe_onnx_own_axis(g, x, given->whole[0], &axis))
        return false;
    const int64_t n = x->dim[axis], outer = fe_onnx_product(x, 0, axis);
    const int64_t inner = fe_onnx_product(x, axis + 1, x->rank);
    const int64_t dim[] = {outer, 1, inner}, stride[] = {n * inner, 0, 1};
    const enum ir_dtype dtype = x->rows->type.dtype;
    if (n > MAX_STEPS)
        return fe_onnx_error(g, "a sum over %lld elements (the limit is %d)",
                             (long long)n, MAX_STEPS);
    struct ir_value **part = ir_alloc_array(&g->scratch, (size_t)n,
                                            sizeof *part);
    struct ir_value *sum = NULL;
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = reverse ? n - 1 - i : i;
        struct ir_value *next =
            fe_onnx_strided(g, x->rows, 3, dim, stride, at * inner);
        struct ir_value *with =
            i ? fe_onnx_map(g, "x0 x1 add", dtype, sum, next, NULL) : next;
        part[at] = !exclusive ? with
                   : i ? sum
                       : fe_onnx_map(g, "x0 0 lt 0 0 where", dtype, next, NULL,
                                     NULL);
        sum = with;
        if (!sum || !part[at])
            return false;
    }
    return fe_onnx_give_like(g, 0, x->type,
                             fe_onnx_join(g, (int)n, part, 1), x);
}

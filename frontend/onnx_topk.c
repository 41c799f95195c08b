/* onnx_topk.c: TopK, with as many as the file says. Of equal numbers the one
 * before comes first.
 *
 * Short slices are sorted by places: that of an element is how many come before
 * it. Of long ones the largest is found, left out, and the next one found. A
 * NaN equals nothing, so where one is among the numbers nothing is said of
 * places.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* x is [outer][size][inner], and so many are taken of each slice. */
struct slices {
    int64_t outer, size, inner, k;
    enum ir_dtype dtype;
    bool smallest;
};

/* Elements of all pairs of a slice's, up to which places are computed. */
enum { MAX_PAIRS = 1 << 16 };

/* 0, 1.. along the second of three dims; all others are 1. */
static struct ir_value *count_up(struct fe_onnx *g, const struct slices *s,
                                 int64_t n)
{
    const int64_t dim[] = {n, 1};
    if (!fe_onnx_take_elements(g, n))
        return NULL;
    double *count = ir_alloc_array(&g->scratch, (size_t)n, sizeof *count);
    for (int64_t i = 0; i < n; i++)
        count[i] = (double)i;
    return fe_onnx_shaped(g, fe_onnx_vector(g, s->dtype, n, count), 2, dim);
}

/* ---------------------------------------------------------------- places -- */

/* [i][j][1]: whether j comes before i. */
static struct ir_value *make_earlier(struct fe_onnx *g,
                                     const struct slices *s)
{
    const int64_t n = s->size, dim[] = {n, n, 1};
    if (!fe_onnx_take_elements(g, n * n))
        return NULL;
    double *is = ir_alloc_array(&g->scratch, (size_t)(n * n), sizeof *is);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            is[i * n + j] = j < i;
    return fe_onnx_shaped(g, fe_onnx_vector(g, s->dtype, n * n, is), 3, dim);
}

/* Of each element how many come before it in the order, [outer][1][size]
 * [inner]. */
static struct ir_value *find_places(struct fe_onnx *g,
                                    const struct slices *s,
                                    struct ir_value *x)
{
    const int64_t row[] = {s->outer, s->size, 1, s->inner};
    const int64_t column[] = {s->outer, 1, s->size, s->inner};
    struct ir_value *before = fe_onnx_map(
        g, s->smallest ? "x1 x0 lt x1 x0 eq x2 mul add"
                       : "x1 x0 gt x1 x0 eq x2 mul add",
        s->dtype, fe_onnx_shaped(g, x, 4, row),
        fe_onnx_shaped(g, x, 4, column), make_earlier(g, s));
    struct ir_value *place =
        fe_onnx_reduce_slices(g, before, "sum", s->size, s->inner);
    return fe_onnx_shaped(g, place, 4, column);
}

/* Of the elements, or their numbers, those of the first k places. */
static struct ir_value *put_in_order(struct fe_onnx *g,
                                     const struct slices *s,
                                     struct ir_value *place,
                                     struct ir_value *what)
{
    const int64_t to[] = {s->k, 1, 1};
    struct ir_value *there = fe_onnx_map(
        g, "x0 x1 eq x2 -inf where", s->dtype, place,
        fe_onnx_shaped(g, count_up(g, s, s->k), 3, to), what);
    return fe_onnx_reduce_slices(g, there, "max", s->size, s->inner);
}

static bool sort_by_places(struct fe_onnx *g, const struct slices *s,
                           struct ir_value *x, struct ir_value *y[2])
{
    const int64_t column[] = {s->outer, 1, s->size, s->inner};
    struct ir_value *place = find_places(g, s, x);
    y[0] = put_in_order(g, s, place, fe_onnx_shaped(g, x, 4, column));
    y[1] = put_in_order(g, s, place, count_up(g, s, s->size));
    return y[0] && y[1];
}

/* ----------------------------------------------------------- one by one -- */

static bool take_one_by_one(struct fe_onnx *g, const struct slices *s,
                            struct ir_value *x, struct ir_value *y[2])
{
    const int64_t all[] = {s->outer, s->size, s->inner};
    const int64_t one[] = {s->outer, 1, s->inner};
    const char *const kind = s->smallest ? "min" : "max";
    struct ir_value **found =
        ir_alloc_array(&g->scratch, 2 * (size_t)s->k, sizeof(*found));
    struct ir_value *count = count_up(g, s, s->size), *left = NULL;
    x = fe_onnx_shaped(g, x, 3, all);
    for (int64_t i = 0; i < s->k; i++) {
        struct ir_value *of =
            left ? fe_onnx_map(g, s->smallest ? "x0 x1 inf where"
                                              : "x0 x1 -inf where",
                               s->dtype, left, x, NULL) : x;
        struct ir_value *most = fe_onnx_shaped(
            g, fe_onnx_reduce_slices(g, of, kind, s->size, s->inner), 3, one);
        struct ir_value *is = fe_onnx_map(g, "x0 x1 eq x2 inf where",
                                          s->dtype, x, most, count);
        if (left)
            is = fe_onnx_map(g, "x0 x1 inf where", s->dtype, left, is, NULL);
        struct ir_value *at = fe_onnx_shaped(
            g, fe_onnx_reduce_slices(g, is, "min", s->size, s->inner), 3, one);
        struct ir_value *other = fe_onnx_map(
            g, "x0 x1 eq 0 1 where", s->dtype, count, at, NULL);
        left = left ? fe_onnx_map(g, "x0 x1 mul", s->dtype, left, other, NULL)
                    : other;
        found[i] = most;
        found[s->k + i] = at;
        if (!left)
            return false;
    }
    y[0] = fe_onnx_join(g, (int)s->k, found, 1);
    y[1] = fe_onnx_join(g, (int)s->k, found + s->k, 1);
    return y[0] && y[1];
}

/* ------------------------------------------------------------------- op -- */

/* How many: the attribute, or input 1. */
static bool read_count(struct fe_onnx *g, int64_t size, int64_t *k)
{
    *k = fe_onnx_int(g, "k", 0);
    if (!fe_onnx_attribute(g, "k")) {
        const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, 1);
        if (!t)
            return false;
        *k = t->n == 1 && t->whole ? t->whole[0] : 0;
    }
    return (*k > 0 && *k <= size) ||
           fe_onnx_error(g, "it takes %lld of %lld elements", (long long)*k,
                         (long long)size);
}

bool fe_onnx_top_k(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct ir_value *y[2];
    int64_t k;
    int axis;
    if (!x || !fe_onnx_own_axis(g, x, fe_onnx_int(g, "axis", -1), &axis) ||
        !read_count(g, x->dim[axis], &k))
        return false;
    const struct slices s = {
        fe_onnx_product(x, 0, axis), x->dim[axis],
        fe_onnx_product(x, axis + 1, x->rank), k, x->rows->type.dtype,
        !fe_onnx_int(g, "largest", 1)};
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    shape.dim[axis] = k;
    const bool is_short = s.size * s.size <= MAX_PAIRS;
    return fe_onnx_size(g, &shape) &&
           (is_short ? sort_by_places(g, &s, x->rows, y)
                   : take_one_by_one(g, &s, x->rows, y)) &&
           fe_onnx_give_shape(g, 0, x->type, y[0], &shape) &&
           fe_onnx_give_shape(g, 1, FE_ONNX_INT64,
                              fe_onnx_convert(g, y[1], IR_F64), &shape);
}

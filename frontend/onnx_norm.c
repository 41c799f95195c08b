/* onnx_norm.c: normalisations. That of a batch is by constants: where it comes
 * right after a convolution or a product, and nothing else reads that, it goes
 * into the weights, which this defines the module by.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* ---------------------------------------------------------------- batch -- */

/* y = x * scale[c] + shift[c] */
struct affine {
    int64_t n;
    double *scale, *shift; /* [n] */
};

static bool read_affine(struct fe_onnx *g, int64_t n, struct affine *a)
{
    const double *of[5] = {NULL}; /* scale, bias, mean, variance from 1 on */
    const double epsilon = fe_onnx_float(g, "epsilon", (double)1e-5f);
    for (size_t i = 1; i < 5; i++) {
        const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
        if (!t)
            return false;
        if (!t->real || t->n != n)
            return fe_onnx_error(g, "input %zu has %lld elements, there are "
                                 "%lld channels", i, (long long)t->n,
                                 (long long)n);
        of[i] = t->real;
    }
    *a = (struct affine){
        n, ir_alloc_array(&g->scratch, (size_t)n, sizeof *a->scale),
        ir_alloc_array(&g->scratch, (size_t)n, sizeof *a->shift)};
    for (int64_t c = 0; c < n; c++) {
        a->scale[c] = of[1][c] / sqrt(of[4][c] + epsilon);
        a->shift[c] = of[2][c] - of[3][c] * a->scale[c];
    }
    return true;
}

/* An op like `old`, with each output channel scaled and shifted. The channel of
 * weight i is i / inner % n. */
static struct ir_value *fold_affine(struct fe_onnx *g, const struct ir_op *old,
                                    const struct affine *a, int64_t inner)
{
    const struct ir_tensor *w = ir_attr_tensor(old, "weights");
    const struct ir_tensor *b = ir_attr_tensor(old, "bias");
    const enum ir_dtype dtype = w->type.dtype;
    const size_t n = (size_t)ir_type_volume(&w->type);
    if (!fe_onnx_take_elements(g, (int64_t)n))
        return NULL;
    double *weights = ir_alloc_array(&g->scratch, n, sizeof *weights);
    double *bias = ir_alloc_array(&g->scratch, (size_t)a->n, sizeof *bias);
    for (size_t i = 0; i < n; i++)
        weights[i] = ir_real(w->data, dtype, i) *
                     a->scale[(int64_t)i / inner % a->n];
    for (int64_t c = 0; c < a->n; c++)
        bias[c] = (b ? ir_real(b->data, dtype, (size_t)c) * a->scale[c] : 0) +
                  a->shift[c];
    struct ir_attr attrs[16];
    int n_attrs = 0;
    for (int i = 0; i < old->n_attrs; i++)
        if (strcmp(old->attr[i].name, "weights") != 0 &&
            strcmp(old->attr[i].name, "bias") != 0)
            attrs[n_attrs++] = old->attr[i];
    attrs[n_attrs++] = ir_tensor_attr(
        "weights", fe_onnx_tensor(g, dtype, w->type.rank, w->type.dim,
                                  weights));
    attrs[n_attrs++] = ir_tensor_attr(
        "bias", fe_onnx_tensor(g, dtype, 1, &a->n, bias));
    return fe_onnx_op(g, old->kind, 1, old->operand, n_attrs, attrs);
}

/* Whether x is what a convolution or product gives, whole, and nothing else
 * reads it. */
static bool is_foldable(const struct fe_onnx *g, const struct fe_onnx_value *x)
{
    const enum ir_op_kind kind = x->rows->op->kind;
    return (kind == IR_OP_conv || (kind == IR_OP_gemm && x->rank == 2)) &&
           x->dim[0] == 1 && fe_onnx_is_only_use(g, 0);
}

/* Numbers of channels as an operand that fits x's dims from the last on. */
static struct ir_value *channels(struct fe_onnx *g,
                                 const struct fe_onnx_value *x, int64_t n,
                                 const double *numbers)
{
    int64_t dim[IR_MAX_RANK] = {n};
    for (int i = 1; i < x->rank - 1; i++)
        dim[i] = 1;
    return fe_onnx_shaped(g, fe_onnx_vector(g, fe_onnx_dtype(x->type), n,
                                            numbers), x->rank - 1, dim);
}

bool fe_onnx_batch_normalization(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct affine a;
    if (!x)
        return false;
    if (fe_onnx_int(g, "training_mode", 0) || !fe_onnx_int(g, "spatial", 1))
        return fe_onnx_error(g, "training_mode and spatial=0 are not read");
    if (x->rank < 2 || (x->batched && x->batch != 0))
        return fe_onnx_error(g, "'%.200s' has %d dims, or no batch as its "
                             "first", x->name, x->rank);
    if (!read_affine(g, x->dim[1], &a))
        return false;
    if (is_foldable(g, x)) {
        const bool conv = x->rows->op->kind == IR_OP_conv;
        const struct ir_tensor *w =
            ir_attr_tensor(x->rows->op, "weights");
        const int64_t inner =
            conv ? ir_type_volume(&w->type) / w->type.dim[0] : 1;
        return fe_onnx_give_like(g, 0, x->type,
                                 fold_affine(g, x->rows->op, &a, inner), x);
    }
    const struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    return fe_onnx_give_like(
        g, 0, x->type,
        fe_onnx_map(g, "x0 x1 mul x2 add", dtype,
                    fe_onnx_spread(g, &shape, x, dtype),
                    channels(g, x, a.n, a.scale),
                    channels(g, x, a.n, a.shift)), x);
}

/* -------------------------------------------------- of the row's numbers -- */

/* The rows as [n / size][size], each less its mean and over its deviation. */
struct normal {
    struct ir_value *y, *mean, *inverse; /* of each, the latter two [..][1] */
};

static struct ir_value *mean_of(struct fe_onnx *g, struct ir_value *x,
                                int64_t n, int64_t size)
{
    const int64_t dim[] = {n / size, 1};
    struct ir_value *sum =
        x ? fe_onnx_reduce_slices(g, x, "sum", size, 1) : NULL;
    sum = sum ? fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %lld div",
                                          (long long)size),
                            x->type.dtype, sum, NULL, NULL) : NULL;
    return fe_onnx_shaped(g, sum, 2, dim);
}

static bool normalise(struct fe_onnx *g, struct ir_value *x, int64_t size,
                      double epsilon, bool centre, struct normal *r)
{
    const enum ir_dtype dtype = x->type.dtype;
    const int64_t n = ir_type_volume(&x->type);
    const int64_t dim[] = {n / size, size};
    struct ir_value *part = fe_onnx_shaped(g, x, 2, dim);
    r->mean = centre ? mean_of(g, part, n, size) : part;
    if (centre && r->mean)
        part = fe_onnx_map(g, "x0 x1 sub", dtype, part, r->mean, NULL);
    struct ir_value *square =
        part ? fe_onnx_map(g, "x0 x0 mul", dtype, part, NULL, NULL) : NULL;
    struct ir_value *variance = mean_of(g, square, n, size);
    r->inverse = variance ? fe_onnx_map(
        g, ir_sprintf(&g->scratch, "1 x0 %.17g add sqrt div", epsilon), dtype,
        variance, NULL, NULL) : NULL;
    r->y = r->inverse && r->mean
               ? fe_onnx_map(g, "x0 x1 mul", dtype, part, r->inverse, NULL)
               : NULL;
    return r->y != NULL;
}

/* y times input 1, plus input 2 where there is one. */
static bool give_scaled(struct fe_onnx *g, const struct fe_onnx_value *x,
                        struct ir_value *y, struct fe_onnx_value *scale,
                        struct fe_onnx_value *shift)
{
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    struct fe_onnx_value like = *x;
    struct fe_onnx_value *const all[] = {&like, scale, shift};
    struct fe_onnx_shape shape;
    like.rows = y;
    if (!fe_onnx_broadcast(g, shift ? 3 : 2, all, &shape))
        return false;
    if (shape.n != x->n || scale->type == FE_ONNX_STRING)
        return fe_onnx_error(g, "the scale does not have the dims of what is "
                             "normalised");
    return fe_onnx_give_shape(
        g, 0, x->type,
        fe_onnx_map(g, shift ? "x0 x1 mul x2 add" : "x0 x1 mul", dtype,
                    fe_onnx_spread(g, &shape, &like, dtype),
                    fe_onnx_spread(g, &shape, scale, dtype),
                    shift ? fe_onnx_spread(g, &shape, shift, dtype) : NULL),
        &shape);
}

/* Gives the mean, and one over the deviation, as outputs 1 and 2. */
static bool give_moments(struct fe_onnx *g, const struct fe_onnx_value *x,
                         int axis, const struct normal *r)
{
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    for (int i = axis; i < x->rank; i++)
        shape.dim[i] = 1;
    shape.n = fe_onnx_product(x, 0, axis);
    return fe_onnx_give_shape(g, 1, x->type, r->mean, &shape) &&
           fe_onnx_give_shape(g, 2, x->type, r->inverse, &shape);
}

static bool layer(struct fe_onnx *g, bool centre)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    struct fe_onnx_value *scale = x ? fe_onnx_input(g, 1) : NULL;
    struct fe_onnx_value *shift =
        fe_onnx_has_input(g, 2) ? fe_onnx_input(g, 2) : NULL;
    struct normal r;
    int axis;
    if (!scale ||
        !fe_onnx_axis(g, fe_onnx_int(g, "axis", -1), x->rank, &axis))
        return false;
    if (x->batched && x->batch >= axis)
        return fe_onnx_error(g, "axis %d is the batch, or before it", axis);
    return normalise(g, x->rows, fe_onnx_product(x, axis, x->rank),
                     fe_onnx_float(g, "epsilon", (double)1e-5f), centre, &r) &&
           (!centre || give_moments(g, x, axis, &r)) &&
           give_scaled(g, x, r.y, scale, shift);
}

bool fe_onnx_layer_normalization(struct fe_onnx *g)
{
    return layer(g, true);
}

bool fe_onnx_rms_normalization(struct fe_onnx *g)
{
    return layer(g, false);
}

/* [n] as [n][1].. below the first dim of x; of [groups] each one repeated. */
static struct fe_onnx_value *per_channel(struct fe_onnx *g, size_t i,
                                         const struct fe_onnx_value *x)
{
    struct fe_onnx_value *v = fe_onnx_input(g, i), *y;
    if (!v)
        return NULL;
    const int64_t n = x->dim[1];
    if (v->rank != 1 || v->n < 1 || n % v->n) {
        fe_onnx_error(g, "input %zu has %lld elements for %lld channels", i,
                      (long long)v->n, (long long)n);
        return NULL;
    }
    y = ir_alloc(&g->scratch, sizeof *y);
    struct fe_onnx_shape shape = {.rank = 2, .dim = {v->n, n / v->n}, .n = n};
    const int64_t stride[] = {1, 0};
    if (!fe_onnx_view(g, v, &shape, stride, 0, y))
        return NULL;
    y->name = v->name;
    y->rank = x->rank - 1;
    y->dim[0] = n;
    for (int d = 1; d < y->rank; d++)
        y->dim[d] = 1;
    return y;
}

/* Of each group of channels: instance normalisation has one a channel. */
static bool groups(struct fe_onnx *g, const struct fe_onnx_value *x,
                   int64_t n_groups)
{
    struct normal r;
    if (x->rank < 3 || (x->batched && x->batch != 0) || n_groups < 1 ||
        n_groups > x->dim[1] || x->dim[1] % n_groups)
        return fe_onnx_error(g, "%lld groups of '%.200s', which has %d dims",
                             (long long)n_groups, x->name, x->rank);
    struct fe_onnx_value *scale = per_channel(g, 1, x);
    struct fe_onnx_value *shift = scale ? per_channel(g, 2, x) : NULL;
    return shift &&
           normalise(g, x->rows, x->n / x->dim[0] / n_groups,
                     fe_onnx_float(g, "epsilon", (double)1e-5f), true, &r) &&
           give_scaled(g, x, r.y, scale, shift);
}

bool fe_onnx_instance_normalization(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    return x && groups(g, x, x->rank > 1 ? x->dim[1] : 0);
}

bool fe_onnx_group_normalization(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    return x && groups(g, x, fe_onnx_int(g, "num_groups", 0));
}

/* ---------------------------------------------------------------- others -- */

/* x over the norm of the slice along an axis. */
bool fe_onnx_lp_normalization(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const int64_t p = fe_onnx_int(g, "p", 2);
    int axis;
    if (!x || !fe_onnx_own_axis(g, x, fe_onnx_int(g, "axis", -1), &axis))
        return false;
    if (p != 1 && p != 2)
        return fe_onnx_error(g, "p is %lld, not 1 or 2", (long long)p);
    const enum ir_dtype dtype = x->rows->type.dtype;
    const int64_t size = x->dim[axis];
    const int64_t inner = fe_onnx_product(x, axis + 1, x->rank);
    const int64_t whole[] = {x->n / size / inner, size, inner};
    const int64_t one[] = {x->n / size / inner, 1, inner};
    struct ir_value *norm =
        fe_onnx_map(g, p == 1 ? "x0 abs" : "x0 x0 mul", dtype, x->rows, NULL,
                    NULL);
    norm = norm ? fe_onnx_reduce_slices(g, norm, "sum", size, inner) : NULL;
    if (p == 2 && norm)
        norm = fe_onnx_map(g, "x0 sqrt", dtype, norm, NULL, NULL);
    return fe_onnx_give_like(
        g, 0, x->type,
        fe_onnx_map(g, "x1 0 eq 0 x0 x1 div where", dtype,
                    fe_onnx_shaped(g, x->rows, 3, whole),
                    fe_onnx_shaped(g, norm, 3, one), NULL), x);
}

/* x / (bias + alpha * mean of the squares of channels nearby)^beta. The mean is
 * an average pool along the channels. */
bool fe_onnx_lrn(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const int64_t size = fe_onnx_int(g, "size", 0);
    if (!x)
        return false;
    if (x->rank < 3 || x->dim[0] != 1 || (x->batched && x->batch != 0) ||
        size < 1 || size > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "%lld channels of '%.200s', which has %d dims",
                             (long long)size, x->name, x->rank);
    const int64_t dim[] = {1, x->dim[1], x->n / x->dim[1]};
    const int64_t kernel[] = {size, 1}, ones[] = {1, 1};
    const int64_t pads[] = {(size - 1) / 2, 0, size - 1 - (size - 1) / 2, 0};
    const enum ir_dtype dtype = x->rows->type.dtype;
    struct ir_value *rows = fe_onnx_shaped(g, x->rows, 3, dim);
    struct ir_value *square =
        fe_onnx_map(g, "x0 x0 mul", dtype, rows, NULL, NULL);
    const struct ir_attr attrs[] = {
        ir_string("kind", "average"), fe_onnx_list(g, "kernel", 2, kernel),
        fe_onnx_list(g, "strides", 2, ones), fe_onnx_list(g, "pads", 4, pads),
        fe_onnx_list(g, "dilations", 2, ones), ir_int("count_padding", 1)};
    const char *program = ir_sprintf(
        &g->scratch, "x0 %.17g %.17g x1 mul add %.17g fast_pow div",
        fe_onnx_float(g, "bias", 1), fe_onnx_float(g, "alpha", (double)1e-4f),
        fe_onnx_float(g, "beta", 0.75));
    return fe_onnx_give_like(
        g, 0, x->type,
        fe_onnx_map(g, program, dtype, rows,
                    fe_onnx_op(g, IR_OP_pool, 1, &square, 6, attrs), NULL),
        x);
}

/* onnx_matmul.c: products of matrices. What multiplies with a constant becomes
 * the IR's `gemm`, any other `matmul`. Other frameworks sum in orders of their
 * own, so results agree but for the last bits. */
#include "frontend/onnx.h"

#include <string.h>

struct ir_value *fe_onnx_gemm_op(struct fe_onnx *g, struct ir_value *x,
                                 int64_t k, int64_t n, const double *weights,
                                 const double *bias,
                                 const struct fe_onnx_whole *whole)
{
    const int64_t dim[] = {k, n};
    if (!x || !fe_onnx_take_elements(g, k * n))
        return NULL;
    const int64_t rows = ir_type_volume(&x->type) / k;
    const int64_t shape[] = {rows, k};
    x = rows > 1 ? fe_onnx_shaped(g, x, 2, shape)
                 : fe_onnx_shaped(g, x, 1, &k);
    if (!x)
        return NULL;
    const enum ir_dtype dtype = whole ? IR_F32 : x->type.dtype;
    struct ir_value *const operands[] = {x,
                                         whole ? whole->zero_operand : NULL};
    struct ir_attr attrs[6] = {
        ir_tensor_attr("weights", fe_onnx_tensor(g, whole ? IR_I8 : dtype, 2,
                                                 dim, weights)),
        ir_int("block", ir_gemm_block(n))};
    int n_attrs = 2;
    if (bias)
        attrs[n_attrs++] = ir_tensor_attr(
            "bias", fe_onnx_tensor(g, dtype, 1, &n, bias));
    if (whole)
        n_attrs += fe_onnx_whole_attrs(g, whole, n, attrs + n_attrs);
    return fe_onnx_op(g, IR_OP_gemm, operands[1] ? 2 : 1, operands, n_attrs,
                      attrs);
}

static bool is_real_type(int type)
{
    return type == FE_ONNX_FLOAT || type == FE_ONNX_DOUBLE;
}

/* ----------------------------------------------- a constant on the right -- */

/* x[..][K] times w[K][N] or w[K]. */
static bool by_constant(struct fe_onnx *g, const struct fe_onnx_value *x,
                        const struct fe_onnx_value *w,
                        struct fe_onnx_value *y)
{
    const int last = x->rank - 1;
    const int64_t k = x->dim[last], n = w->rank > 1 ? w->dim[1] : 1;
    if (x->batched && x->batch == last)
        return fe_onnx_error(g, "it would mix the rows of the batch");
    if (k != w->dim[0])
        return fe_onnx_error(g, "the matrix has %d dims, %lld x %lld, a row "
                             "has %lld elements", w->rank,
                             (long long)w->dim[0], (long long)n,
                             (long long)k);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    shape.rank -= w->rank == 1;
    if (w->rank > 1)
        shape.dim[last] = n;
    shape.n = x->n / k * n;
    if (shape.n > IR_MAX_ELEMENTS || n < 1)
        return fe_onnx_error(g, "its result has too many elements, or none");
    *y = (struct fe_onnx_value){.type = x->type, .rank = shape.rank,
                                .n = shape.n, .batched = x->batched,
                                .batch = x->batch, .ahead = x->ahead};
    memcpy(y->dim, shape.dim, sizeof y->dim);
    y->rows = fe_onnx_gemm_op(g, fe_onnx_numbers(g, x), k, n,
                              w->constant->real, NULL, NULL);
    return y->rows != NULL;
}

/* ------------------------------------------------------------ two values -- */

/* The dims before a matrix, as a value of its own for broadcasting. */
static struct fe_onnx_value leading(const struct fe_onnx_value *x)
{
    struct fe_onnx_value lead = *x;
    lead.rank -= 2;
    lead.batched = x->batched && x->batch < lead.rank;
    return lead;
}

/* x as [..][rows][columns] with the leading dims of the shape. */
static struct ir_value *stretch(struct fe_onnx *g,
                                const struct fe_onnx_value *x,
                                const struct fe_onnx_shape *lead)
{
    int64_t own[IR_MAX_RANK], dim[IR_MAX_RANK], stride[IR_MAX_RANK];
    int rank = 0;
    fe_onnx_strides(x->rank, x->dim, own);
    for (int i = 0; i < lead->rank; i++) {
        const int at = x->rank - 2 - lead->rank + i;
        if (lead->dim[i] == 1)
            continue;
        dim[rank] = lead->dim[i];
        stride[rank++] = at >= 0 && x->dim[at] > 1 ? own[at] : 0;
    }
    for (int i = x->rank - 2; i < x->rank; i++) {
        dim[rank] = x->dim[i];
        stride[rank++] = own[i];
    }
    return fe_onnx_strided(g, fe_onnx_numbers(g, x), rank, dim, stride, 0);
}

/* Of rank 2 at least: a vector is a row, or a column. */
static struct fe_onnx_value as_matrix(const struct fe_onnx_value *x,
                                      bool column)
{
    struct fe_onnx_value m = *x;
    if (x->rank > 1)
        return m;
    m.rank = 2;
    m.dim[0] = column ? x->dim[0] : 1;
    m.dim[1] = column ? 1 : x->dim[0];
    m.batch = x->batched ? !column : 0;
    return m;
}

/* Where the batch of the product is; it must not be what is summed over. */
static bool place_batch(struct fe_onnx *g, const struct fe_onnx_value *a,
                        const struct fe_onnx_value *b, int n_lead,
                        struct fe_onnx_shape *shape)
{
    const bool row = a->batched && a->batch == a->rank - 2;
    const bool column = b->batched && b->batch == b->rank - 1;
    if ((a->batched && a->batch == a->rank - 1) ||
        (b->batched && b->batch == b->rank - 2) || (row && b->batched) ||
        (column && a->batched))
        return fe_onnx_error(g, "it would mix the rows of the batch");
    if (row || column) {
        shape->batched = true;
        shape->batch = row ? n_lead : shape->rank - 1;
        shape->ahead = row ? a->ahead : b->ahead;
    }
    return true;
}

bool fe_onnx_multiply(struct fe_onnx *g, const struct fe_onnx_value *x,
                      const struct fe_onnx_value *w, struct fe_onnx_value *y)
{
    struct fe_onnx_shape shape;
    if (x->rank < 1 || w->rank < 1)
        return fe_onnx_error(g, "a factor has no dims");
    if (w->constant && w->rank <= 2 && w->n > 0)
        return by_constant(g, x, w, y);
    const struct fe_onnx_value a = as_matrix(x, false), b = as_matrix(w, true);
    struct fe_onnx_value lead[2] = {leading(&a), leading(&b)};
    struct fe_onnx_value *const both[2] = {&lead[0], &lead[1]};
    if (a.dim[a.rank - 1] != b.dim[b.rank - 2])
        return fe_onnx_error(g, "the matrix has %d dims, %lld x %lld, a row "
                             "has %lld elements", b.rank,
                             (long long)b.dim[b.rank - 2],
                             (long long)b.dim[b.rank - 1],
                             (long long)a.dim[a.rank - 1]);
    if (!fe_onnx_broadcast(g, 2, both, &shape))
        return false;
    if (shape.rank + 2 > IR_MAX_RANK)
        return fe_onnx_error(g, "its result has %d dims (the limit is %d)",
                             shape.rank + 2, IR_MAX_RANK);
    struct ir_value *of[] = {stretch(g, &a, &shape), stretch(g, &b, &shape)};
    const int n_lead = shape.rank;
    if (x->rank > 1)
        shape.dim[shape.rank++] = a.dim[a.rank - 2];
    if (w->rank > 1)
        shape.dim[shape.rank++] = b.dim[b.rank - 1];
    if (!fe_onnx_size(g, &shape) || !place_batch(g, &a, &b, n_lead, &shape))
        return false;
    *y = (struct fe_onnx_value){.type = x->type, .rank = shape.rank,
                                .n = shape.n, .batched = shape.batched,
                                .batch = shape.batch, .ahead = shape.ahead};
    memcpy(y->dim, shape.dim, sizeof y->dim);
    y->rows = fe_onnx_op(g, IR_OP_matmul, 2, of, 0, NULL);
    return y->rows != NULL;
}

bool fe_onnx_matmul(struct fe_onnx *g)
{
    const struct fe_onnx_value *a = fe_onnx_input(g, 0);
    const struct fe_onnx_value *b = a ? fe_onnx_input(g, 1) : NULL;
    struct fe_onnx_value y;
    bool done = false;
    if (!b)
        return false;
    if (!fe_onnx_sum_linear(g, false, false, &done) || done)
        return done && fe_onnx_is_good(g);
    if (a->type != b->type || !is_real_type(a->type))
        return fe_onnx_error(g, "its inputs are of types %s and %s",
                             fe_onnx_type_name(a->type),
                             fe_onnx_type_name(b->type));
    return fe_onnx_multiply(g, a, b, &y) && fe_onnx_give(g, 0, &y);
}

/* ----------------------------------------------------------------- gemm -- */

/* A matrix, turned around when `turn` says so. */
static bool read_matrix(struct fe_onnx *g, size_t i, bool turn,
                        struct fe_onnx_value *m)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, i);
    if (!x)
        return false;
    if (x->rank != 2 || !is_real_type(x->type) || x->n < 1)
        return fe_onnx_error(g, "input %zu has %d dims and type %s, where a "
                             "matrix is expected", i, x->rank,
                             fe_onnx_type_name(x->type));
    *m = *x;
    if (!turn)
        return true;
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    const int64_t stride[] = {1, x->dim[1]};
    shape.dim[0] = x->dim[1];
    shape.dim[1] = x->dim[0];
    shape.batch = x->batched && x->batch == 0;
    return fe_onnx_view(g, x, &shape, stride, 0, m);
}

/* beta * C as the bias of n outputs, where it is the same for all rows: NULL
 * when it is not. */
static const double *read_bias(struct fe_onnx *g,
                               const struct fe_onnx_value *c, int64_t n,
                               double beta)
{
    if (!c->constant || !c->constant->real ||
        (c->n != 1 && (c->n != n || c->dim[c->rank - 1] != n)))
        return NULL;
    double *bias = ir_alloc_array(&g->scratch, (size_t)n, sizeof *bias);
    for (int64_t j = 0; j < n; j++)
        bias[j] = beta * c->constant->real[c->n == 1 ? 0 : j];
    return bias;
}

/* alpha * y + beta * C */
static bool add_rest(struct fe_onnx *g, struct fe_onnx_value *y, double alpha,
                     double beta, struct fe_onnx_value *c)
{
    const enum ir_dtype dtype = fe_onnx_dtype(y->type);
    struct fe_onnx_shape shape = fe_onnx_shape_of(y);
    struct fe_onnx_value *const both[] = {y, c};
    if (alpha != 1)
        y->rows = fe_onnx_map(g, ir_sprintf(&g->scratch, "%.17g x0 mul",
                                            alpha), dtype, y->rows, NULL,
                              NULL);
    if (!c || !y->rows)
        return y->rows && fe_onnx_give(g, 0, y);
    if (c->type != y->type || !fe_onnx_broadcast(g, 2, both, &shape) ||
        shape.n != y->n)
        return fe_onnx_error(g, "input 2 has %lld elements of type %s, which "
                             "cannot be added to %lld of %s",
                             (long long)c->n, fe_onnx_type_name(c->type),
                             (long long)y->n, fe_onnx_type_name(y->type));
    return fe_onnx_give_shape(
        g, 0, y->type,
        fe_onnx_map(g, ir_sprintf(&g->scratch, "x0 %.17g x1 mul add", beta),
                    dtype, fe_onnx_spread(g, &shape, y, dtype),
                    fe_onnx_spread(g, &shape, c, dtype), NULL), &shape);
}

bool fe_onnx_gemm(struct fe_onnx *g)
{
    struct fe_onnx_value a, b, y;
    const double alpha = fe_onnx_float(g, "alpha", 1);
    const double beta = fe_onnx_float(g, "beta", 1);
    struct fe_onnx_value *c = NULL;
    bool done = false;
    if (alpha == 1 && beta == 1 && !fe_onnx_int(g, "transA", 0) &&
        (!fe_onnx_sum_linear(g, false, fe_onnx_int(g, "transB", 0), &done) ||
         done))
        return done && fe_onnx_is_good(g);
    if (!read_matrix(g, 0, fe_onnx_int(g, "transA", 0), &a) ||
        !read_matrix(g, 1, fe_onnx_int(g, "transB", 0), &b))
        return false;
    if (a.type != b.type)
        return fe_onnx_error(g, "its inputs are of types %s and %s",
                             fe_onnx_type_name(a.type),
                             fe_onnx_type_name(b.type));
    if (fe_onnx_has_input(g, 2))
        c = fe_onnx_input(g, 2);
    const double *bias =
        c && alpha == 1 && b.constant && a.dim[1] == b.dim[0] &&
                !(a.batched && a.batch == 1) && c->type == a.type
            ? read_bias(g, c, b.dim[1], beta) : NULL;
    if (!bias)
        return fe_onnx_multiply(g, &a, &b, &y) &&
               add_rest(g, &y, alpha, beta, c);
    struct fe_onnx_shape shape = fe_onnx_shape_of(&a);
    shape.dim[1] = b.dim[1];
    return fe_onnx_size(g, &shape) &&
           fe_onnx_give_shape(g, 0, a.type,
                              fe_onnx_gemm_op(g, fe_onnx_numbers(g, &a),
                                              a.dim[1], b.dim[1],
                                              b.constant->real, bias, NULL),
                              &shape);
}

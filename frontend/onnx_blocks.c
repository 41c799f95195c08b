/* onnx_blocks.c: QuantizeLinear and DequantizeLinear with block_size: a scale,
 * and a zero point, for each so many numbers along an axis. So are weights of 4
 * bits written. */
#include "frontend/onnx.h"

#include <string.h>

/* Input i, whose dim `axis` has a number for each block of x's, as one for each
 * of x's elements. NULL with a message. */
static struct fe_onnx_value *spread_blocks(struct fe_onnx *g, size_t i,
                                           const struct fe_onnx_value *x,
                                           int axis, int64_t block)
{
    const struct fe_onnx_value *of = fe_onnx_input(g, i);
    struct fe_onnx_value *y = ir_alloc(&g->scratch, sizeof *y);
    if (!of)
        return NULL;
    bool fits = of->rank == x->rank && !of->batched;
    for (int d = 0; fits && d < x->rank; d++)
        fits = of->dim[d] == (d == axis ? (x->dim[d] - 1) / block + 1
                                        : x->dim[d]);
    if (!fits || x->n < 1 || x->batched) {
        fe_onnx_error(g, "input %zu, '%.200s', has no number for each %lld "
                      "along axis %d of '%.200s', or there is a batch", i,
                      of->name, (long long)block, axis, x->name);
        return NULL;
    }
    if (!fe_onnx_take_elements(g, x->n))
        return NULL;
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    const int64_t inner = fe_onnx_product(x, axis + 1, x->rank);
    const int64_t size = x->dim[axis];
    int32_t *from = ir_alloc_array(&g->scratch, (size_t)x->n, sizeof *from);
    for (int64_t k = 0; k < x->n; k++)
        from[k] = (int32_t)((k / inner / size * of->dim[axis] +
                             k / inner % size / block) * inner + k % inner);
    return fe_onnx_pick(g, of, &shape, from, y) ? y : NULL;
}

/* The scale and, unless there is none, the zero point of each element. */
static bool read_blocks(struct fe_onnx *g, struct fe_onnx_value **x,
                        struct fe_onnx_value **scale,
                        struct fe_onnx_value **zero)
{
    const int64_t block = fe_onnx_int(g, "block_size", 0);
    int axis;
    *zero = NULL;
    *x = fe_onnx_input(g, 0);
    if (!*x || !fe_onnx_axis(g, fe_onnx_int(g, "axis", 1), (*x)->rank, &axis))
        return false;
    if (block < 1)
        return fe_onnx_error(g, "block_size is %lld", (long long)block);
    *scale = spread_blocks(g, 1, *x, axis, block);
    if (*scale && fe_onnx_has_input(g, 2))
        *zero = spread_blocks(g, 2, *x, axis, block);
    return *scale && (*zero || !fe_onnx_has_input(g, 2));
}

/* The same op without blocks, of values that all have x's dims: as along an
 * axis, when x is one row of numbers. */
static bool give_flat(struct fe_onnx *g, struct fe_onnx_value *x,
                      struct fe_onnx_value *scale, struct fe_onnx_value *zero)
{
    struct fe_onnx_value *of[] = {x, scale, zero};
    const int64_t type = fe_onnx_int(g, "output_dtype", 0);
    for (int i = 0; i < (zero ? 3 : 2); i++)
        of[i] = fe_onnx_apply(g, "Reshape", 1, &of[i], "shape=-1");
    struct fe_onnx_value *y =
        type ? fe_onnx_apply(g, g->node->op_type, zero ? 3 : 2, of,
                             "axis=0 output_dtype=%lld", (long long)type)
             : fe_onnx_apply(g, g->node->op_type, zero ? 3 : 2, of, "axis=0");
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    return y && fe_onnx_give_shaped(g, 0, y, &shape);
}

bool fe_onnx_linear_blocks(struct fe_onnx *g)
{
    struct fe_onnx_value *x, *scale, *zero;
    return read_blocks(g, &x, &scale, &zero) && give_flat(g, x, scale, zero);
}

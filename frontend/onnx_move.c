/* onnx_move.c: ops that pick, repeat, order and join elements, and compute
 * nothing. All but joining are views: dims, strides and where to start.
 */
#include "frontend/onnx.h"

#include <string.h>

static bool give_view(struct fe_onnx *g, size_t i,
                      const struct fe_onnx_value *x,
                      const struct fe_onnx_shape *shape,
                      const int64_t *stride, int64_t offset)
{
    struct fe_onnx_value y;
    return fe_onnx_view(g, x, shape, stride, offset, &y) &&
           fe_onnx_give(g, i, &y);
}

/* The number of elements; constants may have none. */
static bool set_size(struct fe_onnx *g, const struct fe_onnx_value *x,
                     struct fe_onnx_shape *shape)
{
    shape->n = fe_onnx_volume(g, shape->rank, shape->dim, !x->constant);
    return shape->n >= 0;
}

bool fe_onnx_transpose(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const Onnx__AttributeProto *perm = fe_onnx_attribute(g, "perm");
    int64_t of[IR_MAX_RANK], stride[IR_MAX_RANK];
    bool seen[IR_MAX_RANK] = {0};
    if (!x)
        return false;
    if (perm && perm->n_ints != (size_t)x->rank)
        return fe_onnx_error(g, "perm has %zu elements, '%.200s' has %d dims",
                             perm->n_ints, x->name, x->rank);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    fe_onnx_strides(x->rank, x->dim, of);
    for (int i = 0; i < x->rank; i++) {
        const int64_t from = perm ? perm->ints[i] : x->rank - 1 - i;
        if (from < 0 || from >= x->rank || seen[from])
            return fe_onnx_error(g, "perm is no permutation");
        seen[from] = true;
        shape.dim[i] = x->dim[from];
        stride[i] = of[from];
        if (x->batched && from == x->batch)
            shape.batch = i;
    }
    return give_view(g, 0, x, &shape, stride, 0);
}

/* ---------------------------------------------------------------- slices -- */

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

/* [start, end) by step of `size` elements: the first and how many. */
static int64_t count_slice(int64_t start, int64_t end, int64_t step,
                           int64_t size, int64_t *first)
{
    const bool back = step < 0;
    start = clamp(start < 0 ? start + size : start, 0, size - back);
    end = clamp(end < 0 ? end + size : end, -back, size);
    *first = start;
    if (back)
        return start > end ? (start - end - 1) / -step + 1 : 0;
    return end > start ? (end - start - 1) / step + 1 : 0;
}

/* One axis of a slice. */
static bool slice_axis(struct fe_onnx *g, const struct fe_onnx_value *x,
                       int64_t given, const int64_t range[3],
                       struct fe_onnx_shape *shape, int64_t *stride,
                       int64_t *offset)
{
    int axis;
    int64_t first;
    const int64_t most = INT64_MAX / 2;
    if (!fe_onnx_axis(g, given, x->rank, &axis))
        return false;
    if (range[2] == 0)
        return fe_onnx_error(g, "the step is 0");
    if (x->batched && axis == x->batch) /* all rows may be taken */
        return (range[0] == 0 && range[1] >= INT32_MAX && range[2] == 1) ||
               fe_onnx_error(g, "axis %d is the batch", axis);
    const int64_t step = clamp(range[2], -x->n - 1, x->n + 1);
    shape->dim[axis] =
        count_slice(clamp(range[0], -most, most), clamp(range[1], -most, most),
                    step, x->dim[axis], &first);
    *offset += first * stride[axis];
    stride[axis] *= step;
    return true;
}

bool fe_onnx_slice(struct fe_onnx *g)
{
    bool ok[4];
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *starts =
        fe_onnx_whole_list(g, "starts", 1, &ok[0]);
    const struct fe_onnx_tensor *ends =
        fe_onnx_whole_list(g, "ends", 2, &ok[1]);
    const struct fe_onnx_tensor *axes =
        fe_onnx_whole_list(g, "axes", 3, &ok[2]);
    const struct fe_onnx_tensor *steps =
        fe_onnx_whole_list(g, "steps", 4, &ok[3]);
    int64_t stride[IR_MAX_RANK], offset = 0;
    bool seen[IR_MAX_RANK] = {0};
    if (!x || !ok[0] || !ok[1] || !ok[2] || !ok[3])
        return false;
    if (!starts || !ends || starts->n != ends->n ||
        (axes && axes->n != starts->n) || (steps && steps->n != starts->n) ||
        starts->n > x->rank)
        return fe_onnx_error(g, "starts, ends, axes and steps are not equally "
                             "many, or more than the %d dims", x->rank);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    fe_onnx_strides(x->rank, x->dim, stride);
    for (int64_t i = 0; i < starts->n; i++) {
        const int64_t axis = axes ? axes->whole[i] : i;
        const int64_t range[] = {starts->whole[i], ends->whole[i],
                                 steps ? steps->whole[i] : 1};
        const int64_t at = axis < 0 ? axis + x->rank : axis;
        if (at >= 0 && at < x->rank && seen[at])
            return fe_onnx_error(g, "an axis comes twice");
        if (!slice_axis(g, x, axis, range, &shape, stride, &offset))
            return false;
        seen[at] = true;
    }
    return set_size(g, x, &shape) &&
           give_view(g, 0, x, &shape, stride, offset);
}

/* How many elements part i of n has. */
static int64_t part_size(const struct fe_onnx_tensor *sizes, int64_t i,
                         int64_t n, int64_t size, int64_t at)
{
    const int64_t each = (size + n - 1) / n;
    return sizes ? sizes->whole[i] : each < size - at ? each : size - at;
}

bool fe_onnx_split(struct fe_onnx *g)
{
    bool ok;
    int axis = 0;
    int64_t stride[IR_MAX_RANK], at = 0;
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *sizes = fe_onnx_whole_list(g, "split", 1, &ok);
    if (!x || !ok || !fe_onnx_own_axis(g, x, fe_onnx_int(g, "axis", 0), &axis))
        return false;
    const int64_t size = x->dim[axis], n = (int64_t)g->node->n_output;
    if (sizes && sizes->n != n)
        return fe_onnx_error(g, "%lld sizes for %lld outputs",
                             (long long)sizes->n, (long long)n);
    fe_onnx_strides(x->rank, x->dim, stride);
    for (int64_t i = 0; i < n; i++) {
        struct fe_onnx_shape shape = fe_onnx_shape_of(x);
        const int64_t part = part_size(sizes, i, n, size, at);
        if (part < 1 || part > size - at)
            return fe_onnx_error(g, "part %lld has %lld elements of %lld",
                                 (long long)i, (long long)part,
                                 (long long)size);
        shape.dim[axis] = part;
        if (!set_size(g, x, &shape) ||
            !give_view(g, (size_t)i, x, &shape, stride, at * stride[axis]))
            return false;
        at += part;
    }
    return at == size || fe_onnx_error(g, "the parts have %lld elements of "
                                       "%lld", (long long)at,
                                       (long long)size);
}

/* ------------------------------------------------------------- repeating -- */

bool fe_onnx_expand(struct fe_onnx *g)
{
    bool ok;
    int64_t own[IR_MAX_RANK], stride[IR_MAX_RANK];
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *to = fe_onnx_whole_list(g, "", 1, &ok);
    if (!x || !to)
        return false;
    if (to->n > IR_MAX_RANK)
        return fe_onnx_error(g, "%lld dims", (long long)to->n);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    const int rank = to->n > x->rank ? (int)to->n : x->rank;
    fe_onnx_strides(x->rank, x->dim, own);
    shape.rank = rank;
    shape.batch += rank - x->rank;
    for (int i = rank; i-- > 0;) {
        const int from = i - (rank - x->rank);
        const int64_t at = i - (rank - to->n);
        const int64_t dim = from < 0 ? 1 : x->dim[from];
        int64_t wanted = at < 0 ? 1 : to->whole[at];
        const bool batch = x->batched && i == shape.batch;
        if (fe_onnx_batches(wanted) && !batch)
            wanted = fe_onnx_batches(wanted);
        else if (fe_onnx_batches(wanted) == dim ||
            (batch && g->batch == FE_ONNX_FIRST && wanted == g->batch_size))
            wanted = 1;
        if (wanted < 1 || (dim != 1 && wanted != 1 && dim != wanted) ||
            (batch && wanted != 1))
            return fe_onnx_error(g, "dim %d is %lld, which cannot become %lld",
                                 i, (long long)dim, (long long)wanted);
        shape.dim[i] = dim > 1 ? dim : wanted;
        stride[i] = dim > 1 ? own[from] : 0;
    }
    return fe_onnx_size(g, &shape) && give_view(g, 0, x, &shape, stride, 0);
}

/* Dim i comes `times` times: y as [outer][times][rest]. */
static bool repeat_dim(struct fe_onnx *g, struct fe_onnx_value *y, int i,
                       int64_t times)
{
    if (times == 1)
        return true;
    if (times < 1 || times > IR_MAX_ELEMENTS ||
        (y->batched && i == y->batch))
        return fe_onnx_error(g, "dim %d cannot be repeated %lld times", i,
                             (long long)times);
    const int64_t outer = fe_onnx_product(y, 0, i), rest = y->n / outer;
    struct fe_onnx_shape parts = {.rank = 3, .dim = {outer, times, rest}};
    struct fe_onnx_shape whole = fe_onnx_shape_of(y);
    const int64_t stride[] = {rest, 0, 1};
    struct fe_onnx_value repeated;
    whole.dim[i] *= times;
    if (!fe_onnx_size(g, &whole) || !fe_onnx_size(g, &parts) ||
        !fe_onnx_view(g, y, &parts, stride, 0, &repeated))
        return false;
    *y = repeated;
    fe_onnx_reshaped(g, y, &whole);
    return true;
}

bool fe_onnx_tile(struct fe_onnx *g)
{
    bool ok;
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *times = fe_onnx_whole_list(g, "", 1, &ok);
    if (!x || !times)
        return false;
    if (times->n != x->rank)
        return fe_onnx_error(g, "%lld repeats for an input of %d dims",
                             (long long)times->n, x->rank);
    struct fe_onnx_value y = *x;
    for (int i = 0; i < x->rank; i++) { /* of a batch a row has its part */
        const int64_t k = fe_onnx_batches(times->whole[i]);
        if (!repeat_dim(g, &y, i, k ? k : times->whole[i]))
            return false;
    }
    return fe_onnx_give(g, 0, &y);
}

/* [N][C][H][W] with blocks of pixels as channels, or the other way round. */
static bool move_blocks(struct fe_onnx *g, bool to_space)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const int64_t b = fe_onnx_int(g, "blocksize", 0);
    const bool crd = fe_onnx_says(g, "mode", "CRD", false);
    if (!x)
        return false;
    const int64_t *d = x->dim;
    if (x->rank != 4 || b < 1 || b > 4096 || (x->batched && x->batch != 0) ||
        (to_space ? d[1] % (b * b) : d[2] % b || d[3] % b))
        return fe_onnx_error(g, "blocks of %lld cannot be had of '%.200s'",
                             (long long)b, x->name);
    struct fe_onnx_shape shape = fe_onnx_shape_of(x), parts = {.rank = 6,
                                                               .n = x->n};
    const int64_t image = d[2] * d[3], whole = d[1] * image;
    const int64_t c = to_space ? d[1] / (b * b) : d[1];
    /* Strides of the dims N, C, rows of a block, its columns; result first. */
    if (to_space) {
        const int64_t block = crd ? image : c * image;
        shape.dim[1] = c;
        shape.dim[2] *= b;
        shape.dim[3] *= b;
        const int64_t dims[] = {d[0], c, d[2], b, d[3], b};
        const int64_t strides[] = {whole, crd ? b * b * image : image, d[3],
                                   b * block, 1, block};
        memcpy(parts.dim, dims, sizeof dims);
        struct fe_onnx_value y;
        return fe_onnx_view(g, x, &parts, strides, 0, &y) &&
               fe_onnx_give_shaped(g, 0, &y, &shape);
    }
    shape.dim[1] *= b * b;
    shape.dim[2] /= b;
    shape.dim[3] /= b;
    const int64_t dims[] = {d[0], b, b, c, d[2] / b, d[3] / b};
    const int64_t strides[] = {whole, d[3], 1, image, b * d[3], b};
    memcpy(parts.dim, dims, sizeof dims);
    struct fe_onnx_value y;
    return fe_onnx_view(g, x, &parts, strides, 0, &y) &&
           fe_onnx_give_shaped(g, 0, &y, &shape);
}

bool fe_onnx_depth_to_space(struct fe_onnx *g)
{
    return move_blocks(g, true);
}

bool fe_onnx_space_to_depth(struct fe_onnx *g)
{
    return move_blocks(g, false);
}

/* --------------------------------------------------------------- joining -- */

/* The result's dims; all inputs are of one type, and alike but for the axis. */
static bool check_parts(struct fe_onnx *g, struct fe_onnx_value *const *x,
                        size_t n, int axis, struct fe_onnx_shape *shape)
{
    *shape = fe_onnx_shape_of(x[0]);
    shape->dim[axis] = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i]->type != x[0]->type || x[i]->rank != x[0]->rank)
            return fe_onnx_error(g, "input %zu has another type or other dims "
                                 "than input 0", i);
        for (int d = 0; d < x[i]->rank; d++)
            if (d != axis && x[i]->dim[d] != x[0]->dim[d])
                return fe_onnx_error(g, "input %zu: dim %d is %lld, not %lld",
                                     i, d, (long long)x[i]->dim[d],
                                     (long long)x[0]->dim[d]);
        shape->dim[axis] += x[i]->dim[axis];
        if (!x[i]->batched)
            continue;
        if (shape->batched && (shape->batch != x[i]->batch ||
                               shape->ahead != x[i]->ahead))
            return fe_onnx_error(g, "the batch of input %zu is another dim "
                                 "than that of another", i);
        shape->batched = true;
        shape->batch = x[i]->batch;
        shape->ahead = x[i]->ahead;
    }
    if (shape->batched && shape->batch == axis)
        return fe_onnx_error(g, "axis %d is the batch", axis);
    return set_size(g, x[0], shape);
}

/* Parts of constants, piece by piece: one for each place before the axis. */
static bool join_constants(struct fe_onnx *g, struct fe_onnx_value *const *x,
                           size_t n, int axis,
                           const struct fe_onnx_shape *shape)
{
    const int64_t pieces = fe_onnx_product(x[0], 0, axis);
    if (!fe_onnx_take_elements(g, shape->n))
        return false;
    struct fe_onnx_tensor *all =
        fe_onnx_new_tensor(g, x[0]->type, shape->rank, shape->dim);
    int64_t at = 0;
    for (int64_t p = 0; p < pieces; p++)
        for (size_t i = 0; i < n; i++) {
            const struct fe_onnx_tensor *t = x[i]->constant;
            const int64_t each = t->n / pieces;
            for (int64_t k = p * each; k < (p + 1) * each; k++, at++) {
                if (t->text)
                    all->text[at] = t->text[k];
                if (t->real)
                    all->real[at] = t->real[k];
                if (t->whole)
                    all->whole[at] = t->whole[k];
            }
        }
    return fe_onnx_give_constant(g, all);
}

/* Strings, one column's after the other's. */
static bool join_strings(struct fe_onnx *g, struct fe_onnx_value *const *x,
                         size_t n, int axis, struct fe_onnx_value *all)
{
    struct ir_value **parts = ir_alloc_array(&g->scratch, n, sizeof *parts);
    if (fe_onnx_product(x[0], 0, axis) != 1 ||
        !fe_onnx_take_elements(g, all->n))
        return fe_onnx_error(g, "axis %d: strings are only joined along the "
                             "first dim of a row", axis);
    all->words = ir_alloc_array(&g->scratch, (size_t)all->n,
                                sizeof *all->words);
    int64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!x[i]->words)
            return fe_onnx_error(g, "classes and constants are not joined "
                                 "with strings");
        for (int64_t k = 0; k < x[i]->n; k++)
            all->words[at++] = x[i]->words[k];
        parts[i] = x[i]->rows;
    }
    all->rows = fe_onnx_concat(g, (int)n, parts);
    return all->rows && fe_onnx_give(g, 0, all);
}

/* Dims without the batch; *axis becomes that of these. */
static int bare_dims(const struct fe_onnx_value *x,
                     const struct fe_onnx_shape *shape, int *axis,
                     int64_t *dim)
{
    int rank = 0, at = 0;
    for (int i = 0; i < x->rank; i++) {
        if (fe_onnx_is_bare_batch(shape, i))
            continue;
        if (i == *axis)
            at = rank;
        dim[rank++] = x->dim[i];
    }
    *axis = at;
    return rank;
}

struct ir_value *fe_onnx_join(struct fe_onnx *g, int n,
                              struct ir_value *const *parts, int axis)
{
    const struct ir_attr attr = ir_int("axis", axis);
    return n == 1 ? parts[0]
                  : fe_onnx_op(g, IR_OP_concat, n, parts, 1, &attr);
}

static bool join_rows(struct fe_onnx *g, struct fe_onnx_value *const *x,
                      size_t n, int axis, const struct fe_onnx_shape *shape)
{
    struct ir_value **parts = ir_alloc_array(&g->scratch, n, sizeof *parts);
    int64_t dim[IR_MAX_RANK];
    int rank = 1, at = 0;
    bool flat = fe_onnx_product(x[0], 0, axis) == 1;
    for (size_t i = 0; i < n; i++) {
        parts[i] = fe_onnx_numbers(g, x[i]);
        if (!parts[i])
            return false;
        flat = flat && parts[i]->type.rank <= 1;
    }
    for (size_t i = 0; !flat && i < n; i++) {
        at = axis;
        rank = bare_dims(x[i], shape, &at, dim);
        parts[i] = fe_onnx_shaped(g, parts[i], rank, dim);
    }
    return fe_onnx_give_shape(g, 0, x[0]->type,
                              rank == 1 ? fe_onnx_concat(g, (int)n, parts)
                                        : fe_onnx_join(g, (int)n, parts, at),
                              shape);
}

bool fe_onnx_concat_op(struct fe_onnx *g)
{
    const size_t n = g->node->n_input;
    struct fe_onnx_value **x = ir_alloc_array(&g->scratch, n, sizeof *x);
    struct fe_onnx_shape shape;
    bool constant = true;
    int axis = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = fe_onnx_input(g, i);
        if (!x[i])
            return false;
        constant = constant && x[i]->constant;
    }
    if (!fe_onnx_axis(g, fe_onnx_int(g, "axis", 1), x[0]->rank, &axis) ||
        !check_parts(g, x, n, axis, &shape))
        return false;
    if (constant)
        return join_constants(g, x, n, axis, &shape);
    if (x[0]->type != FE_ONNX_STRING)
        return join_rows(g, x, n, axis, &shape);
    struct fe_onnx_value all = {.type = FE_ONNX_STRING, .rank = shape.rank,
                                .n = shape.n, .batched = shape.batched,
                                .batch = shape.batch};
    memcpy(all.dim, shape.dim, sizeof all.dim);
    return join_strings(g, x, n, axis, &all);
}

/* ----------------------------------------------------------------- Trilu -- */

/* The numbers of a matrix above diagonal k, or below it, with the diagonal; 0
 * elsewhere, whatever was there. */
bool fe_onnx_trilu(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    const bool upper = fe_onnx_int(g, "upper", 1);
    int64_t k = 0;
    int last;
    if (!x || !fe_onnx_own_axis(g, x, -1, &last) ||
        !fe_onnx_own_axis(g, x, -2, &last))
        return false;
    if (fe_onnx_has_input(g, 1)) {
        const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, 1);
        if (!t)
            return false;
        if (t->n != 1 || !t->whole)
            return fe_onnx_error(g, "k is no whole number");
        k = t->whole[0];
    }
    const int64_t dim[] = {x->dim[last], x->dim[last + 1]};
    const enum ir_dtype dtype = fe_onnx_dtype(x->type);
    if (!fe_onnx_take_elements(g, dim[0] * dim[1]))
        return false;
    double *keep = ir_alloc_array(&g->scratch, (size_t)(dim[0] * dim[1]),
                                  sizeof *keep);
    for (int64_t i = 0; i < dim[0]; i++)
        for (int64_t j = 0; j < dim[1]; j++)
            keep[i * dim[1] + j] = upper ? j - i >= k : j - i <= k;
    const struct fe_onnx_shape shape = fe_onnx_shape_of(x);
    struct ir_value *mask = fe_onnx_shaped(
        g, fe_onnx_vector(g, dtype, dim[0] * dim[1], keep), 2, dim);
    return fe_onnx_give_shape(
        g, 0, x->type,
        fe_onnx_map(g, "x1 x0 0 where", dtype,
                    fe_onnx_spread(g, &shape, x, dtype), mask, NULL), &shape);
}

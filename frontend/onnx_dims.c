/* onnx_dims.c: dims and where the batch is among them; what moves elements
 * without computing anything. The batch is a dim of the size that a row has of
 * it, mostly 1; it may stand anywhere, and no op may compute across it. */
#include "frontend/onnx.h"

#include <string.h>

struct fe_onnx_shape fe_onnx_shape_of(const struct fe_onnx_value *x)
{
    struct fe_onnx_shape shape = {.rank = x->rank, .n = x->n,
                                  .batched = x->batched, .batch = x->batch,
                                  .ahead = x->ahead};
    memcpy(shape.dim, x->dim, sizeof shape.dim);
    return shape;
}

bool fe_onnx_size(struct fe_onnx *g, struct fe_onnx_shape *shape)
{
    shape->n = fe_onnx_volume(g, shape->rank, shape->dim, 1);
    return shape->n > 0;
}

int64_t fe_onnx_product(const struct fe_onnx_value *x, int from, int to)
{
    int64_t n = 1;
    for (int i = from; i < to; i++)
        n *= x->dim[i];
    return n;
}

/* ----------------------------------------------------------------- axes -- */

bool fe_onnx_axis(struct fe_onnx *g, int64_t given, int rank, int *axis)
{
    if (given < -rank || given >= rank)
        return fe_onnx_error(g, "axis %lld is out of range (there are %d "
                             "dims)", (long long)given, rank);
    *axis = (int)(given < 0 ? given + rank : given);
    return true;
}

bool fe_onnx_own_axis(struct fe_onnx *g, const struct fe_onnx_value *x,
                      int64_t given, int *axis)
{
    return fe_onnx_axis(g, given, x->rank, axis) &&
           (!x->batched || *axis != x->batch ||
            fe_onnx_error(g, "axis %d is the batch", *axis));
}

const struct fe_onnx_tensor *fe_onnx_whole_list(struct fe_onnx *g,
                                                const char *name, size_t input,
                                                bool *ok)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, name);
    *ok = true;
    if (a) {
        const int64_t n = (int64_t)a->n_ints;
        struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &n);
        for (int64_t i = 0; i < n; i++)
            t->whole[i] = a->ints[i];
        return t;
    }
    if (!fe_onnx_has_input(g, input))
        return NULL;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, input);
    *ok = t && (t->whole || fe_onnx_error(g, "%s is of type %s, not INT64",
                                          name, fe_onnx_type_name(t->type)));
    if (*ok && t->rank > 1)
        *ok = fe_onnx_error(g, "%s has %d dims, not 1", name, t->rank);
    return *ok ? t : NULL;
}

/* --------------------------------------------------------- broadcasting -- */

/* Where dim i of the shape is among x's dims; below 0 when x has none. */
static int own_dim(const struct fe_onnx_shape *shape,
                   const struct fe_onnx_value *x, int i)
{
    return x->rank - shape->rank + i;
}

static bool widen(struct fe_onnx *g, struct fe_onnx_shape *shape,
                  const struct fe_onnx_value *x)
{
    for (int i = 0; i < shape->rank; i++) {
        const int at = own_dim(shape, x, i);
        const int64_t own = at < 0 ? 1 : x->dim[at];
        int64_t *dim = &shape->dim[i];
        if (*dim != own && *dim != 1 && own != 1)
            return fe_onnx_error(g, "'%.200s' has a dim of %lld where another "
                                 "input has %lld", x->name, (long long)own,
                                 (long long)*dim);
        if (*dim == 1)
            *dim = own;
        if (!x->batched || at != x->batch)
            continue;
        if (shape->batched && (shape->batch != i || shape->ahead != x->ahead))
            return fe_onnx_error(g, "the batch of '%.200s' is another dim "
                                 "than that of another input", x->name);
        shape->batched = true;
        shape->batch = i;
        shape->ahead = x->ahead;
    }
    return true;
}

bool fe_onnx_broadcast(struct fe_onnx *g, size_t n,
                       struct fe_onnx_value *const *x,
                       struct fe_onnx_shape *shape)
{
    *shape = (struct fe_onnx_shape){.n = 1};
    for (size_t i = 0; i < n; i++)
        if (x[i]->rank > shape->rank)
            shape->rank = x[i]->rank;
    for (int i = 0; i < shape->rank; i++)
        shape->dim[i] = 1;
    for (size_t i = 0; i < n; i++)
        if (!widen(g, shape, x[i]))
            return false;
    for (size_t i = 0; i < n; i++)
        if (x[i]->batched &&
            x[i]->dim[x[i]->batch] != shape->dim[shape->batch])
            return fe_onnx_error(g, "an input has a dim of %lld where another "
                                 "has the batch",
                                 (long long)shape->dim[shape->batch]);
    return fe_onnx_size(g, shape);
}

bool fe_onnx_is_bare_batch(const struct fe_onnx_shape *shape, int i)
{
    return shape->batched && i == shape->batch && shape->dim[i] == 1;
}

/* x's dims as the IR has them: without the batch and without dims of 1 in
 * front, which fit anything. */
static int bare_dims(const struct fe_onnx_shape *shape,
                     const struct fe_onnx_value *x, int64_t *dim)
{
    int rank = 0;
    for (int i = 0; i < shape->rank; i++) {
        const int at = own_dim(shape, x, i);
        if (at < 0 || fe_onnx_is_bare_batch(shape, i) ||
            (rank == 0 && x->dim[at] == 1))
            continue;
        dim[rank++] = x->dim[at];
    }
    return rank;
}

struct ir_value *fe_onnx_spread(struct fe_onnx *g,
                                const struct fe_onnx_shape *shape,
                                const struct fe_onnx_value *x,
                                enum ir_dtype dtype)
{
    int64_t dim[IR_MAX_RANK];
    struct ir_value *rows =
        fe_onnx_convert(g, fe_onnx_numbers(g, x), dtype);
    if (!rows || x->n == 1)
        return rows;
    const int rank = bare_dims(shape, x, dim);
    return fe_onnx_shaped(g, rows, rank, dim);
}

/* --------------------------------------------------------------- giving -- */

bool fe_onnx_give_shape(struct fe_onnx *g, size_t i, int type,
                        struct ir_value *rows,
                        const struct fe_onnx_shape *shape)
{
    struct fe_onnx_value value = {
        .type = type, .rows = rows, .rank = shape->rank, .n = shape->n,
        .batched = shape->batched, .batch = shape->batch,
        .ahead = shape->ahead};
    memcpy(value.dim, shape->dim, sizeof value.dim);
    return rows && fe_onnx_give(g, i, &value);
}

void fe_onnx_reshaped(struct fe_onnx *g, struct fe_onnx_value *x,
                      const struct fe_onnx_shape *shape)
{
    x->rank = shape->rank;
    x->batched = shape->batched;
    x->batch = shape->batch;
    x->ahead = shape->ahead;
    memcpy(x->dim, shape->dim, sizeof x->dim);
    if (x->constant) {
        struct fe_onnx_tensor *t = ir_alloc(&g->scratch, sizeof *t);
        *t = *x->constant;
        t->rank = shape->rank;
        memcpy(t->dim, shape->dim, sizeof t->dim);
        x->constant = t;
    }
}

bool fe_onnx_give_shaped(struct fe_onnx *g, size_t i,
                         const struct fe_onnx_value *x,
                         const struct fe_onnx_shape *shape)
{
    struct fe_onnx_value shaped = *x;
    fe_onnx_reshaped(g, &shaped, shape);
    return fe_onnx_give(g, i, &shaped);
}

/* ---------------------------------------------------------------- views -- */

/* The numbers of the elements that a view has. */
static int32_t *list_elements(struct fe_onnx *g,
                              const struct fe_onnx_shape *shape,
                              const int64_t *stride, int64_t offset)
{
    int64_t at[IR_MAX_RANK] = {0};
    if (!fe_onnx_take_elements(g, shape->n))
        return NULL;
    int32_t *index = ir_alloc_array(&g->scratch, (size_t)shape->n,
                                    sizeof *index);
    for (int64_t k = 0; k < shape->n; k++) {
        index[k] = (int32_t)offset;
        for (int i = shape->rank; i-- > 0;) {
            offset += stride[i];
            if (++at[i] < shape->dim[i])
                break;
            offset -= at[i] * stride[i];
            at[i] = 0;
        }
    }
    return index;
}

static const struct fe_onnx_tensor *pick_constant(
    struct fe_onnx *g, const struct fe_onnx_tensor *t,
    const struct fe_onnx_shape *shape, const int32_t *index)
{
    struct fe_onnx_tensor *y =
        fe_onnx_new_tensor(g, t->type, shape->rank, shape->dim);
    for (int64_t k = 0; k < y->n; k++) {
        if (t->text)
            y->text[k] = t->text[index[k]];
        if (t->real)
            y->real[k] = t->real[index[k]];
        if (t->whole)
            y->whole[k] = t->whole[index[k]];
    }
    return y;
}

/* y as x with these dims; its elements are yet to be set. */
static void start_picking(const struct fe_onnx_value *x,
                          const struct fe_onnx_shape *shape,
                          struct fe_onnx_value *y)
{
    *y = (struct fe_onnx_value){
        .type = x->type, .rank = shape->rank, .n = shape->n,
        .batched = shape->batched, .batch = shape->batch,
        .ahead = shape->ahead, .labels = x->labels, .index = x->index};
    memcpy(y->dim, shape->dim, sizeof y->dim);
}

bool fe_onnx_pick(struct fe_onnx *g, const struct fe_onnx_value *x,
                  const struct fe_onnx_shape *shape, const int32_t *index,
                  struct fe_onnx_value *y)
{
    start_picking(x, shape, y);
    if (!index)
        return false;
    if (x->constant) {
        y->constant = pick_constant(g, x->constant, shape, index);
        return true;
    }
    if (x->labels && shape->n != 1)
        return fe_onnx_error(g, "a class is taken more than once");
    if (x->words) {
        y->words = ir_alloc_array(&g->scratch, (size_t)shape->n,
                                  sizeof *y->words);
        for (int64_t i = 0; i < shape->n; i++)
            y->words[i] = x->words[index[i]];
    }
    y->rows = x->labels ? x->rows
                        : fe_onnx_gather(
                              g, fe_onnx_shaped(g, x->rows, 1, &x->n),
                              shape->n, index);
    return y->rows != NULL;
}

/* Whether a row's elements have at most one dim: what tables are made of. The
 * passes can see through a gather there, down to the columns. */
static bool is_flat(const struct fe_onnx_value *x)
{
    int n = 0;
    for (int i = 0; i < x->rank; i++)
        n += x->dim[i] != 1;
    return n <= 1 && x->rows->type.rank <= 1;
}

bool fe_onnx_view(struct fe_onnx *g, const struct fe_onnx_value *x,
                  const struct fe_onnx_shape *shape, const int64_t *stride,
                  int64_t offset, struct fe_onnx_value *y)
{
    int64_t dim[IR_MAX_RANK], step[IR_MAX_RANK];
    if (x->constant || x->words || x->labels || is_flat(x))
        return fe_onnx_pick(g, x, shape,
                            list_elements(g, shape, stride, offset), y);
    start_picking(x, shape, y);
    int rank = 0;
    for (int i = 0; i < shape->rank; i++)
        if (!fe_onnx_is_bare_batch(shape, i) &&
            (rank || shape->dim[i] != 1)) {
            dim[rank] = shape->dim[i];
            step[rank++] = stride[i];
        }
    y->rows = fe_onnx_strided(g, x->rows, rank, dim, step, offset);
    return y->rows != NULL;
}

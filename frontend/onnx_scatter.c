/* onnx_scatter.c: elements by constant numbers of places in several dims: taken
 * from there, or put there. What is put is picked from the value and the
 * updates side by side; what is added (or multiplied...) to what is there comes
 * in rounds, as an element may be meant more than once.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* A place along a dim, from its end if below 0. */
static bool read_place(struct fe_onnx *g, int64_t given, int64_t size,
                       int64_t *place)
{
    *place = given < 0 ? given + size : given;
    return (*place >= 0 && *place < size) ||
           fe_onnx_error(g, "index %lld is out of range (there are %lld "
                         "elements)", (long long)given, (long long)size);
}

/* Input 1, whole numbers. */
static const struct fe_onnx_tensor *read_indices(struct fe_onnx *g)
{
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, 1);
    if (t && !t->whole) {
        fe_onnx_error(g, "the indices are of type %s",
                      fe_onnx_type_name(t->type));
        return NULL;
    }
    return t;
}

/* --------------------------------------------------------------- by many -- */

/* Indices [..][depth] of x's dims from `first` on, the dims before it being
 * common to both. What each stands for are `inner` elements side by side. */
struct places {
    int first, depth;
    int64_t outer, n, inner; /* n of each of the common dims */
    int32_t *at; /* [outer * n] the first element of each */
};

static bool read_places(struct fe_onnx *g, const struct fe_onnx_value *x,
                        const struct fe_onnx_tensor *index, int64_t first,
                        struct places *p)
{
    int64_t stride[IR_MAX_RANK];
    const int64_t depth = index->rank ? index->dim[index->rank - 1] : 0;
    if (first < 0 || first >= index->rank || first >= x->rank || depth < 1 ||
        depth > x->rank - first)
        return fe_onnx_error(g, "indices of %lld dims of '%.200s', which has "
                             "%d, after %lld", (long long)depth, x->name,
                             x->rank, (long long)first);
    *p = (struct places){.first = (int)first, .depth = (int)depth};
    p->outer = fe_onnx_product(x, 0, p->first);
    p->inner = fe_onnx_product(x, p->first + p->depth, x->rank);
    for (int i = 0; i < p->first; i++)
        if (index->dim[i] != x->dim[i])
            return fe_onnx_error(g, "dim %d of the indices is %lld, that of "
                                 "'%.200s' is %lld", i,
                                 (long long)index->dim[i], x->name,
                                 (long long)x->dim[i]);
    if (x->batched && x->batch >= p->first &&
        x->batch < p->first + p->depth)
        return fe_onnx_error(g, "it would mix the rows of the batch");
    if (index->n < 1 || !fe_onnx_take_elements(g, index->n))
        return fe_onnx_error(g, "there are no indices");
    p->n = index->n / depth / p->outer;
    p->at = ir_alloc_array(&g->scratch, (size_t)(p->outer * p->n),
                           sizeof *p->at);
    fe_onnx_strides(x->rank, x->dim, stride);
    for (int64_t i = 0; i < p->outer * p->n; i++) {
        int64_t at = p->first ? i / p->n * stride[p->first - 1] : 0;
        for (int d = 0; d < p->depth; d++) {
            int64_t place;
            if (!read_place(g, index->whole[i * depth + d],
                            x->dim[p->first + d], &place))
                return false;
            at += place * stride[p->first + d];
        }
        p->at[i] = (int32_t)at;
    }
    return true;
}

/* The dims of what is at the indices, and where the batch is. */
static bool shape_there(struct fe_onnx *g, const struct fe_onnx_value *x,
                        const struct fe_onnx_tensor *index,
                        const struct places *p, struct fe_onnx_shape *shape)
{
    const int behind = p->first + p->depth, before = index->rank - 1;
    *shape = fe_onnx_shape_of(x);
    shape->rank = before + x->rank - behind;
    if (shape->rank > IR_MAX_RANK)
        return fe_onnx_error(g, "its result has %d dims (the limit is %d)",
                             shape->rank, IR_MAX_RANK);
    for (int i = 0; i < shape->rank; i++)
        shape->dim[i] = i < before ? index->dim[i]
                                   : x->dim[i - before + behind];
    if (x->batched && x->batch >= behind)
        shape->batch = x->batch - behind + before;
    return fe_onnx_size(g, shape);
}

bool fe_onnx_gather_nd(struct fe_onnx *g)
{
    const struct fe_onnx_value *x = fe_onnx_input(g, 0);
    const struct fe_onnx_tensor *index = x ? read_indices(g) : NULL;
    struct fe_onnx_shape shape;
    struct fe_onnx_value y;
    struct places p;
    if (!index ||
        !read_places(g, x, index, fe_onnx_int(g, "batch_dims", 0), &p) ||
        !shape_there(g, x, index, &p, &shape) ||
        !fe_onnx_take_elements(g, shape.n))
        return false;
    int32_t *from = ir_alloc_array(&g->scratch, (size_t)shape.n, sizeof *from);
    for (int64_t i = 0; i < shape.n; i++)
        from[i] = p.at[i / p.inner] + (int32_t)(i % p.inner);
    return fe_onnx_pick(g, x, &shape, from, &y) && fe_onnx_give(g, 0, &y);
}

/* ------------------------------------------------------------- scattering -- */

/* Which element of x each of the updates goes to. */
struct scatter {
    struct fe_onnx_value *x, *updates;
    struct fe_onnx_shape shape; /* of the result */
    int32_t *to;                /* [updates->n] */
};

/* x's elements and then the updates, as one vector. */
static struct ir_value *side_by_side(struct fe_onnx *g, struct ir_value *a,
                                     struct ir_value *b)
{
    const int64_t n[] = {a ? ir_type_volume(&a->type) : 0,
                         b ? ir_type_volume(&b->type) : 0};
    struct ir_value *const both[] = {fe_onnx_shaped(g, a, 1, &n[0]),
                                     fe_onnx_shaped(g, b, 1, &n[1])};
    return fe_onnx_concat(g, 2, both);
}

/* Each element is the last update that goes there, or what it was. */
static struct ir_value *replace(struct fe_onnx *g, const struct scatter *s,
                                struct ir_value *x, struct ir_value *updates)
{
    if (!fe_onnx_take_elements(g, s->shape.n))
        return NULL;
    int32_t *from =
        ir_alloc_array(&g->scratch, (size_t)s->shape.n, sizeof *from);
    for (int64_t i = 0; i < s->shape.n; i++)
        from[i] = (int32_t)i;
    for (int64_t i = 0; i < s->updates->n; i++)
        from[s->to[i]] = (int32_t)(s->shape.n + i);
    return fe_onnx_gather(g, side_by_side(g, x, updates), s->shape.n, from);
}

/* What each update is combined with, and what changes nothing. */
static const struct {
    const char *name, *program;
    double neutral;
} reductions[] = {
    {"add", "x0 x1 add", 0},
    {"mul", "x0 x1 mul", 1},
    {"max", "x0 isnan x0 x1 isnan x1 x0 x1 max where where", -INFINITY},
    {"min", "x0 isnan x0 x1 isnan x1 x0 x1 min where where", INFINITY},
};

/* A round takes of the updates that are left one of each element. */
static struct ir_value *combine(struct fe_onnx *g, const struct scatter *s,
                                struct ir_value *x, struct ir_value *updates,
                                int reduction)
{
    const int64_t n = s->updates->n, all = s->shape.n;
    bool *done = ir_alloc_array(&g->scratch, (size_t)n, sizeof *done);
    const enum ir_dtype dtype = x->type.dtype;
    struct ir_value *list = side_by_side(
        g, updates, fe_onnx_vector(g, dtype, 1,
                                   &reductions[reduction].neutral));
    x = fe_onnx_shaped(g, x, 1, &all);
    for (int64_t left = n; x && left;) {
        if (!fe_onnx_take_elements(g, all + n))
            return NULL;
        int32_t *from =
            ir_alloc_array(&g->scratch, (size_t)all, sizeof *from);
        for (int64_t i = 0; i < all; i++)
            from[i] = (int32_t)n;
        for (int64_t i = 0; i < n; i++)
            if (!done[i] && from[s->to[i]] == n) {
                from[s->to[i]] = (int32_t)i;
                done[i] = true;
                left--;
            }
        x = fe_onnx_map(g, reductions[reduction].program, dtype, x,
                        fe_onnx_gather(g, list, all, from), NULL);
    }
    return x;
}

static bool give_scattered(struct fe_onnx *g, const struct scatter *s)
{
    const Onnx__AttributeProto *a = fe_onnx_attribute(g, "reduction");
    int which = -1;
    if (s->x->type != s->updates->type)
        return fe_onnx_error(g, "its inputs are of types %s and %s",
                             fe_onnx_type_name(s->x->type),
                             fe_onnx_type_name(s->updates->type));
    for (int i = 0; a && i < 4; i++)
        if (fe_onnx_says(g, "reduction", reductions[i].name, false))
            which = i;
    if (a && which < 0 && !fe_onnx_says(g, "reduction", "none", false))
        return fe_onnx_error(g, "reduction is not none, add, mul, max or min");
    struct ir_value *x = fe_onnx_numbers(g, s->x);
    struct ir_value *updates = x ? fe_onnx_numbers(g, s->updates) : NULL;
    if (!updates)
        return false;
    return fe_onnx_give_shape(g, 0, s->x->type,
                              which < 0 ? replace(g, s, x, updates)
                                        : combine(g, s, x, updates, which),
                              &s->shape);
}

/* The result has x's dims. Its batch is that of x or, where that is the same
 * for all rows, dim `batch`, where the updates have theirs. */
static bool place_batch(struct fe_onnx *g, struct scatter *s, int batch)
{
    const struct fe_onnx_value *x = s->x, *u = s->updates;
    s->shape = fe_onnx_shape_of(x);
    if (!u->batched)
        return true;
    if (x->batched ? x->batch != batch || x->ahead != u->ahead
                   : batch < 0 || batch >= x->rank ||
                         x->dim[batch] != u->dim[u->batch])
        return fe_onnx_error(g, "the batch of the updates is another dim than "
                             "that of '%.200s'", x->name);
    s->shape.batched = true;
    s->shape.batch = batch;
    s->shape.ahead = u->ahead;
    return true;
}

bool fe_onnx_scatter_nd(struct fe_onnx *g)
{
    struct scatter s = {.x = fe_onnx_input(g, 0)};
    const struct fe_onnx_tensor *index = s.x ? read_indices(g) : NULL;
    struct fe_onnx_shape there;
    struct places p;
    s.updates = index ? fe_onnx_input(g, 2) : NULL;
    if (!s.updates || !read_places(g, s.x, index, 0, &p) ||
        !shape_there(g, s.x, index, &p, &there) ||
        !fe_onnx_take_elements(g, there.n))
        return false;
    bool fits = s.updates->rank == there.rank;
    for (int i = 0; fits && i < there.rank; i++)
        fits = s.updates->dim[i] == there.dim[i];
    if (!fits)
        return fe_onnx_error(g, "the updates' dims are not those of the "
                             "indices and of what they stand for");
    s.to = ir_alloc_array(&g->scratch, (size_t)there.n, sizeof *s.to);
    for (int64_t i = 0; i < there.n; i++)
        s.to[i] = p.at[i / p.inner] + (int32_t)(i % p.inner);
    return place_batch(g, &s, s.updates->batch - (index->rank - 1) +
                                  p.depth) &&
           give_scattered(g, &s);
}

bool fe_onnx_scatter_elements(struct fe_onnx *g)
{
    struct scatter s = {.x = fe_onnx_input(g, 0)};
    const struct fe_onnx_tensor *index = s.x ? read_indices(g) : NULL;
    int64_t stride[IR_MAX_RANK], at[IR_MAX_RANK] = {0};
    int axis;
    s.updates = index ? fe_onnx_input(g, 2) : NULL;
    if (!s.updates ||
        !fe_onnx_own_axis(g, s.x, fe_onnx_int(g, "axis", 0), &axis))
        return false;
    const int rank = s.x->rank;
    bool fits = index->rank == rank && s.updates->rank == rank &&
                index->n > 0;
    for (int i = 0; fits && i < rank; i++)
        fits = index->dim[i] == s.updates->dim[i] &&
               (i == axis || index->dim[i] <= s.x->dim[i]);
    if (!fits || !fe_onnx_take_elements(g, index->n))
        return fe_onnx_error(g, "the dims of indices and updates are not the "
                             "same, or more than those of '%.200s'",
                             s.x->name);
    fe_onnx_strides(rank, s.x->dim, stride);
    s.to = ir_alloc_array(&g->scratch, (size_t)index->n, sizeof *s.to);
    for (int64_t k = 0; k < index->n; k++) {
        int64_t place, to = 0;
        if (!read_place(g, index->whole[k], s.x->dim[axis], &place))
            return false;
        for (int i = 0; i < rank; i++)
            to += (i == axis ? place : at[i]) * stride[i];
        s.to[k] = (int32_t)to;
        for (int i = rank; i-- > 0 && ++at[i] == index->dim[i];)
            at[i] = 0;
    }
    return place_batch(g, &s, s.updates->batch) && give_scattered(g, &s);
}

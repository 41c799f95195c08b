/* onnx_attention.c: Attention and RotaryEmbedding: products, a softmax and
 * views, as the standard defines them by its other ops; and ONNX Runtime's own
 * MultiHeadAttention and Attention, which differ in what their inputs are. */
#include "frontend/onnx.h"

#include <math.h>
#include <string.h>

/* Queries, keys and values, [B][heads][length][size], and what is known of
 * which query sees which key. */
struct attention {
    struct fe_onnx_value *q, *k, *v;
    struct fe_onnx_value *bias; /* added to the products, or NULL; */
    struct fe_onnx_value *seen; /* BOOL: where not, they count for nothing */
    double scale;               /* 0: one over the root of the size */
    double softcap;             /* 0: none */
    int64_t past;               /* keys before those of the first query */
    bool is_causal;
    bool may_see_none; /* and what such a query gets is 0 */
    /* Products as they are, capped, with the bias, after the softmax. */
    struct fe_onnx_value *stage[4];
};

static struct fe_onnx_value *transpose(struct fe_onnx *g,
                                       struct fe_onnx_value *x,
                                       const char *order)
{
    return fe_onnx_apply(g, "Transpose", 1, &x, "perm=%s", order);
}

/* x with these dims, 0: its own. */
static struct fe_onnx_value *reshape4(struct fe_onnx *g,
                                      struct fe_onnx_value *x, int64_t a,
                                      int64_t b, int64_t c)
{
    return fe_onnx_apply(g, "Reshape", 1, &x, "shape=0,%lld,%lld,%lld",
                         (long long)a, (long long)b, (long long)c);
}

/* Input i as an operand of an op that computes; NULL with a message. */
static struct fe_onnx_value *read_real(struct fe_onnx *g, size_t i)
{
    struct fe_onnx_value *x = fe_onnx_input(g, i);
    if (x && x->type != FE_ONNX_FLOAT && x->type != FE_ONNX_DOUBLE) {
        fe_onnx_error(g, "input %zu is of type %s", i,
                      fe_onnx_type_name(x->type));
        return NULL;
    }
    return x;
}

/* [B][L][heads * size] as [B][heads][L][size]. */
static struct fe_onnx_value *split_heads(struct fe_onnx *g,
                                         struct fe_onnx_value *x,
                                         int64_t heads)
{
    if (!x)
        return NULL;
    if (x->rank != 3 || heads < 1 || x->dim[2] % heads) {
        fe_onnx_error(g, "%lld heads of '%.200s', which has %d dims",
                      (long long)heads, x->name, x->rank);
        return NULL;
    }
    return transpose(g, reshape4(g, x, 0, heads, x->dim[2] / heads),
                     "0,2,1,3");
}

/* The other way round. */
static struct fe_onnx_value *join_heads(struct fe_onnx *g,
                                        struct fe_onnx_value *y)
{
    if (!y)
        return NULL;
    const int64_t width = y->dim[1] * y->dim[3];
    y = transpose(g, y, "0,2,1,3");
    return fe_onnx_apply(g, "Reshape", 1, &y, "shape=0,0,%lld",
                         (long long)width);
}

/* ---------------------------------------------------------------- masks -- */

/* BOOL [queries][keys]: those up to the query's own place. */
static struct fe_onnx_value *make_triangle(struct fe_onnx *g,
                                           const struct attention *a)
{
    const int64_t dim[] = {a->q->dim[2], a->k->dim[2]};
    if (fe_onnx_volume(g, 2, dim, 1) < 0 ||
        !fe_onnx_take_elements(g, dim[0] * dim[1]))
        return NULL;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, FE_ONNX_BOOL, 2, dim);
    for (int64_t i = 0; i < dim[0]; i++)
        for (int64_t j = 0; j < dim[1]; j++)
            t->real[i * dim[1] + j] = (double)(t->whole[i * dim[1] + j] =
                                                   j <= i + a->past);
    return fe_onnx_constant_value(g, t);
}

/* Where `seen` says so x, else a number. */
static struct fe_onnx_value *keep_where(struct fe_onnx *g,
                                        struct fe_onnx_value *seen,
                                        struct fe_onnx_value *x,
                                        double number)
{
    struct fe_onnx_value *const three[] = {
        seen, x, x ? fe_onnx_number(g, x->type, number) : NULL};
    return fe_onnx_apply(g, "Where", 3, three, "%s", "");
}

/* BOOL [B][1][1][keys]: the first n of each row, n being [B]. */
static struct fe_onnx_value *first_keys(struct fe_onnx *g,
                                        struct fe_onnx_value *n, int64_t keys)
{
    if (!fe_onnx_take_elements(g, keys))
        return NULL;
    struct fe_onnx_tensor *t = fe_onnx_new_tensor(g, n->type, 1, &keys);
    for (int64_t i = 0; i < keys; i++) {
        t->real[i] = (double)i;
        if (t->whole)
            t->whole[i] = i;
    }
    n = fe_onnx_apply(g, "Unsqueeze", 1, &n, "axes=1,2,3");
    return fe_onnx_apply_two(g, "Less", fe_onnx_constant_value(g, t), n);
}

/* ----------------------------------------------------------------- core -- */

static bool check_dims(struct fe_onnx *g, const struct attention *a)
{
    const struct fe_onnx_value *q = a->q, *k = a->k, *v = a->v;
    return (q->rank == 4 && k->rank == 4 && v->rank == 4 && k->dim[1] > 0 &&
            q->dim[1] % k->dim[1] == 0 && k->dim[1] == v->dim[1] &&
            k->dim[2] == v->dim[2] && q->dim[3] == k->dim[3] &&
            q->n > 0 && k->n > 0 && v->n > 0) ||
           fe_onnx_error(g, "its queries, keys and values have %d, %d and %d "
                         "dims, or do not fit", q->rank, k->rank, v->rank);
}

/* What the softmax is taken of. */
static struct fe_onnx_value *score(struct fe_onnx *g, struct attention *a,
                                   struct fe_onnx_value *y)
{
    a->stage[0] = a->stage[1] = y;
    if (a->softcap > 0) {
        struct fe_onnx_value *cap = fe_onnx_number(g, y->type, a->softcap);
        y = fe_onnx_apply_one(g, "Tanh", fe_onnx_apply_two(g, "Div", y, cap));
        a->stage[1] = y = fe_onnx_apply_two(g, "Mul", y, cap);
    }
    if (a->is_causal) {
        struct fe_onnx_value *triangle = make_triangle(g, a);
        if (a->seen)
            triangle = fe_onnx_apply_two(g, "And", a->seen, triangle);
        if (!triangle)
            return NULL;
        a->seen = triangle;
    }
    if (a->bias)
        y = fe_onnx_apply_two(g, "Add", y, a->bias);
    if (a->seen)
        y = keep_where(g, a->seen, y, -INFINITY);
    return a->stage[2] = y;
}

/* y, but 0 for a query that sees no key. */
static struct fe_onnx_value *zero_unseen(struct fe_onnx *g,
                                         const struct attention *a,
                                         struct fe_onnx_value *y)
{
    struct fe_onnx_value *scores = a->stage[2];
    if (!y)
        return NULL;
    struct fe_onnx_value *none = fe_onnx_apply_two(
        g, "Equal",
        fe_onnx_apply(g, "ReduceMax", 1, &scores, "axes=-1 keepdims=1"),
        fe_onnx_number(g, y->type, -INFINITY));
    struct fe_onnx_value *const three[] = {
        none, fe_onnx_number(g, y->type, 0), y};
    return fe_onnx_apply(g, "Where", 3, three, "%s", "");
}

/* [B][heads][L][size]. Where some queries' heads share one of keys, they are
 * taken for further queries of that. NULL with a message. */
static struct fe_onnx_value *attend(struct fe_onnx *g, struct attention *a)
{
    if (!a->q || !a->k || !a->v || !check_dims(g, a))
        return NULL;
    const int64_t heads = a->q->dim[1], of_keys = a->k->dim[1];
    const int64_t length = a->q->dim[2], keys = a->k->dim[2];
    const int64_t rows = heads / of_keys * length;
    const double scale =
        a->scale != 0 ? a->scale : 1 / sqrt((double)a->q->dim[3]);
    struct fe_onnx_value *q = fe_onnx_apply_two(
        g, "Mul", a->q, fe_onnx_number(g, a->q->type, scale));
    if (heads != of_keys)
        q = reshape4(g, q, of_keys, rows, a->q->dim[3]);
    struct fe_onnx_value *y = fe_onnx_apply_two(
        g, "MatMul", q, transpose(g, a->k, "0,1,3,2"));
    if (heads != of_keys)
        y = reshape4(g, y, heads, length, keys);
    y = y ? score(g, a, y) : NULL;
    y = fe_onnx_apply(g, "Softmax", 1, &y, "axis=-1");
    y = a->stage[3] = a->may_see_none ? zero_unseen(g, a, y) : y;
    if (heads != of_keys)
        y = reshape4(g, y, of_keys, rows, keys);
    y = fe_onnx_apply_two(g, "MatMul", y, a->v);
    return heads != of_keys ? reshape4(g, y, heads, length, a->v->dim[3]) : y;
}

/* Gives output i, if the node names it. */
static bool give(struct fe_onnx *g, size_t i, const struct fe_onnx_value *y)
{
    return y && fe_onnx_give(g, i, y);
}

/* ------------------------------------------------------------- standard -- */

/* What came before x, input i, and x behind it, along the lengths. */
static struct fe_onnx_value *after_past(struct fe_onnx *g, size_t i,
                                        struct fe_onnx_value *x)
{
    if (!x || !fe_onnx_has_input(g, i))
        return x;
    struct fe_onnx_value *const both[] = {read_real(g, i), x};
    return both[0] && both[0]->n == 0
               ? x : fe_onnx_apply(g, "Concat", 2, both, "axis=2");
}

/* The mask, input i, of as many keys as there are. */
static bool read_mask(struct fe_onnx *g, size_t i, struct attention *a)
{
    struct fe_onnx_value *mask =
        fe_onnx_has_input(g, i) ? fe_onnx_input(g, i) : NULL;
    if (!fe_onnx_has_input(g, i))
        return true;
    if (!mask)
        return false;
    const bool is_bool = mask->type == FE_ONNX_BOOL;
    const int64_t missing =
        mask->rank ? a->k->dim[2] - mask->dim[mask->rank - 1] : 0;
    if (!is_bool && mask->type != a->q->type)
        return fe_onnx_error(g, "the mask is of type %s",
                             fe_onnx_type_name(mask->type));
    if (missing > 0 && mask->dim[mask->rank - 1] > 1) {
        const char *zeros = mask->rank == 2   ? "0,0,0,"
                            : mask->rank == 3 ? "0,0,0,0,0,"
                            : mask->rank == 4 ? "0,0,0,0,0,0,0," : "0,";
        mask = fe_onnx_apply(g, "Pad", 1, &mask, "pads=%s%lld value=%s", zeros,
                             (long long)missing, is_bool ? "0" : "-inf");
    }
    if (is_bool)
        a->seen = mask;
    else
        a->bias = mask;
    return mask != NULL;
}

/* nonpad_kv_seqlen: the keys that are there. */
static bool read_lengths(struct fe_onnx *g, size_t i, struct attention *a)
{
    if (!fe_onnx_has_input(g, i))
        return true;
    struct fe_onnx_value *n = fe_onnx_input(g, i);
    if (n && (!fe_onnx_is_whole(n->type) || n->rank != 1))
        return fe_onnx_error(g, "input %zu is no list of lengths", i);
    if (a->is_causal) /* queries are the last of so many keys then */
        return fe_onnx_error(g, "is_causal with lengths of keys is not read");
    struct fe_onnx_value *first = n ? first_keys(g, n, a->k->dim[2]) : NULL;
    a->seen = a->seen ? fe_onnx_apply_two(g, "And", a->seen, first) : first;
    return first && a->seen;
}

bool fe_onnx_attention(struct fe_onnx *g)
{
    struct attention a = {.scale = fe_onnx_float(g, "scale", 0),
                          .softcap = fe_onnx_float(g, "softcap", 0),
                          .is_causal = fe_onnx_int(g, "is_causal", 0)};
    const int64_t heads = fe_onnx_int(g, "q_num_heads", 0);
    const int64_t of_keys = fe_onnx_int(g, "kv_num_heads", 0);
    const int64_t mode = fe_onnx_int(g, "qk_matmul_output_mode", 0);
    a.q = read_real(g, 0);
    a.k = a.q ? read_real(g, 1) : NULL;
    a.v = a.k ? read_real(g, 2) : NULL;
    if (!a.v)
        return false;
    const bool is_split = a.q->rank != 3;
    if (!is_split) {
        a.q = split_heads(g, a.q, heads);
        a.k = split_heads(g, a.k, of_keys);
        a.v = split_heads(g, a.v, of_keys);
    }
    const struct fe_onnx_value *new = a.k;
    if (fe_onnx_has_input(g, 4) != fe_onnx_has_input(g, 5))
        return fe_onnx_error(g, "it has past keys without values, or values "
                             "without keys");
    a.k = after_past(g, 4, a.k);
    a.v = after_past(g, 5, a.v);
    if (!a.q || !a.k || !a.v || a.k->rank != 4 || mode < 0 || mode > 3)
        return fe_onnx_error(g, "its keys do not have 4 dims, or "
                             "qk_matmul_output_mode is %lld", (long long)mode);
    a.past = a.k->dim[2] - new->dim[2];
    if (!read_mask(g, 3, &a) || !read_lengths(g, 6, &a))
        return false;
    a.may_see_none = fe_onnx_has_input(g, 3) || fe_onnx_has_input(g, 6);
    struct fe_onnx_value *y = attend(g, &a);
    return give(g, 0, is_split ? y : join_heads(g, y)) && give(g, 1, a.k) &&
           give(g, 2, a.v) && give(g, 3, a.stage[mode]);
}

/* --------------------------------------------------------- ONNX Runtime -- */

/* Elements [from, to) by a step along the last dim. */
static struct fe_onnx_value *slice_last(struct fe_onnx *g,
                                        struct fe_onnx_value *x, int64_t from,
                                        int64_t to, int step)
{
    const int64_t one = 1;
    struct fe_onnx_value *list[5] = {x};
    const int64_t number[] = {from, to, -1, step};
    for (int i = 0; x && i < 4; i++) {
        struct fe_onnx_tensor *t =
            fe_onnx_new_tensor(g, FE_ONNX_INT64, 1, &one);
        t->real[0] = (double)(t->whole[0] = number[i]);
        list[i + 1] = fe_onnx_constant_value(g, t);
    }
    return fe_onnx_apply(g, "Slice", 5, list, "%s", "");
}

/* x, plus the elements of a bias, input i, from *at on, which moves. */
static struct fe_onnx_value *add_bias(struct fe_onnx *g,
                                      struct fe_onnx_value *x, size_t i,
                                      int64_t *at)
{
    if (!x || !fe_onnx_has_input(g, i))
        return x;
    const int64_t from = *at;
    *at += x->rank == 3 ? x->dim[2] : 0;
    return fe_onnx_apply_two(g, "Add", x,
                             slice_last(g, read_real(g, i), from, *at, 1));
}

/* Whole numbers that say which keys there are, input i: how many of each row,
 * or 0 where there is none; what there is not gets a number added. */
static bool read_key_mask(struct fe_onnx *g, size_t i, struct attention *a)
{
    if (!fe_onnx_has_input(g, i))
        return true;
    struct fe_onnx_value *mask = fe_onnx_input(g, i), *seen;
    if (!mask || !fe_onnx_is_whole(mask->type) || mask->rank < 1 ||
        mask->rank > 3 ||
        (mask->rank == 1 && mask->n != a->k->dim[0]))
        return fe_onnx_error(g, "input %zu is no list of the lengths or the "
                             "keys", i);
    if (mask->rank == 1)
        seen = first_keys(g, mask, a->k->dim[2]);
    else
        seen = fe_onnx_apply_two(
            g, "Greater",
            fe_onnx_apply(g, "Unsqueeze", 1, &mask,
                          mask->rank == 2 ? "axes=1,2" : "axes=1"),
            fe_onnx_number(g, mask->type, 0));
    a->bias = keep_where(g, seen, fe_onnx_number(g, a->q->type, 0),
                         fe_onnx_float(g, "mask_filter_value", -10000));
    return a->bias != NULL;
}

/* A number added to each product, input i. */
static bool read_bias(struct fe_onnx *g, size_t i, struct attention *a)
{
    if (!fe_onnx_has_input(g, i))
        return true;
    struct fe_onnx_value *bias = read_real(g, i);
    a->bias = a->bias ? fe_onnx_apply_two(g, "Add", bias, a->bias) : bias;
    return bias && a->bias;
}

static bool give_attention(struct fe_onnx *g, struct attention *a,
                           size_t mask, size_t bias)
{
    return a->q && a->k && a->v && a->k->rank == 4 &&
           read_key_mask(g, mask, a) && read_bias(g, bias, a) &&
           give(g, 0, join_heads(g, attend(g, a))) && give(g, 1, a->k) &&
           give(g, 2, a->v);
}

/* Keys or values, input i: [B][L][heads * size], or as they are needed. */
static struct fe_onnx_value *read_keys(struct fe_onnx *g, size_t i,
                                       int64_t heads, int64_t *at)
{
    struct fe_onnx_value *x = read_real(g, i);
    return x && x->rank == 4
               ? x : split_heads(g, add_bias(g, x, 3, at), heads);
}

bool fe_onnx_multi_head_attention(struct fe_onnx *g)
{
    const int64_t heads = fe_onnx_int(g, "num_heads", 0);
    int64_t at = 0;
    struct attention a = {.scale = fe_onnx_float(g, "scale", 0),
                          .is_causal = fe_onnx_int(g, "unidirectional", 0)};
    if (!fe_onnx_has_input(g, 1) || !fe_onnx_has_input(g, 2))
        return fe_onnx_error(g, "queries, keys and values in one input are "
                             "not read");
    a.q = split_heads(g, add_bias(g, read_real(g, 0), 3, &at), heads);
    a.k = a.q ? read_keys(g, 1, heads, &at) : NULL;
    a.v = a.k ? read_keys(g, 2, heads, &at) : NULL;
    const struct fe_onnx_value *new = a.k;
    a.k = after_past(g, 6, a.k);
    a.v = after_past(g, 7, a.v);
    a.past = a.k && a.v ? a.k->dim[2] - new->dim[2] : 0;
    return give_attention(g, &a, 4, 5) ||
           fe_onnx_error(g, "its keys or values are not read");
}

/* Whose queries, keys and values are all products with the first input. */
bool fe_onnx_self_attention(struct fe_onnx *g)
{
    const int64_t heads = fe_onnx_int(g, "num_heads", 0);
    const Onnx__AttributeProto *sizes =
        fe_onnx_attribute(g, "qkv_hidden_sizes");
    struct attention a = {.scale = fe_onnx_float(g, "scale", 0),
                          .is_causal = fe_onnx_int(g, "unidirectional", 0)};
    struct fe_onnx_value *x = read_real(g, 0);
    struct fe_onnx_value *w = x ? read_real(g, 1) : NULL;
    struct fe_onnx_value *y = fe_onnx_apply_two(g, "MatMul", x, w);
    int64_t end[3], all = y && y->rank ? y->dim[y->rank - 1] : 0, at = 0;
    if (fe_onnx_has_input(g, 2))
        y = add_bias(g, y, 2, &at);
    if (!y)
        return false;
    for (int i = 0; i < 3; i++)
        end[i] = !sizes ? all / 3 * (i + 1) : sizes->n_ints != 3 ? -1
                 : sizes->ints[i] < 1 || sizes->ints[i] > all ? -1
                 : sizes->ints[i] + (i ? end[i - 1] : 0);
    if (y->rank != 3 || end[0] < 1 || end[1] <= end[0] || end[2] <= end[1] ||
        end[2] != all || fe_onnx_has_input(g, 4) ||
        fe_onnx_int(g, "do_rotary", 0))
        return fe_onnx_error(g, "its weights are not of queries, keys and "
                             "values, or what came before is given");
    a.q = split_heads(g, slice_last(g, y, 0, end[0], 1), heads);
    a.k = split_heads(g, slice_last(g, y, end[0], end[1], 1), heads);
    a.v = split_heads(g, slice_last(g, y, end[1], end[2], 1), heads);
    return give_attention(g, &a, 3, 5) ||
           fe_onnx_error(g, "its mask is not read");
}

/* -------------------------------------------------------------- rotation -- */

/* Input i, [B][L][half] or by the numbers of input 3 a table of [half], as
 * [B][1][L][half]. */
static struct fe_onnx_value *read_turns(struct fe_onnx *g, size_t i,
                                        size_t places)
{
    struct fe_onnx_value *x = read_real(g, i);
    if (fe_onnx_has_input(g, places)) {
        struct fe_onnx_value *const both[] = {x, fe_onnx_input(g, places)};
        x = fe_onnx_apply(g, "Gather", 2, both, "axis=0");
    }
    return x ? fe_onnx_apply(g, "Unsqueeze", 1, &x, "axes=1") : NULL;
}

/* x's pairs turned, as one value again. */
static struct fe_onnx_value *turn(struct fe_onnx *g,
                                  struct fe_onnx_value *const pair[2],
                                  struct fe_onnx_value *cos,
                                  struct fe_onnx_value *sin, bool interleaved)
{
    struct fe_onnx_value *of[] = {
        fe_onnx_apply_two(g, "Sub", fe_onnx_apply_two(g, "Mul", cos, pair[0]),
                          fe_onnx_apply_two(g, "Mul", sin, pair[1])),
        fe_onnx_apply_two(g, "Add", fe_onnx_apply_two(g, "Mul", sin, pair[0]),
                          fe_onnx_apply_two(g, "Mul", cos, pair[1]))};
    if (!interleaved)
        return fe_onnx_apply(g, "Concat", 2, of, "axis=-1");
    for (int i = 0; i < 2; i++)
        of[i] = fe_onnx_apply(g, "Unsqueeze", 1, &of[i], "axes=-1");
    struct fe_onnx_value *y = fe_onnx_apply(g, "Concat", 2, of, "axis=-1");
    return y ? reshape4(g, y, 0, 0, 2 * y->dim[3]) : NULL;
}

/* The first `size` elements of x [B][heads][L][..] turned. */
static struct fe_onnx_value *rotate(struct fe_onnx *g,
                                    struct fe_onnx_value *x, int64_t size,
                                    struct fe_onnx_value *cos,
                                    struct fe_onnx_value *sin)
{
    const bool interleaved = fe_onnx_int(g, "interleaved", 0);
    const int64_t all = x->dim[3], half = size / 2;
    struct fe_onnx_value *const pair[] = {
        interleaved ? slice_last(g, x, 0, size, 2)
                    : slice_last(g, x, 0, half, 1),
        interleaved ? slice_last(g, x, 1, size, 2)
                    : slice_last(g, x, half, size, 1)};
    struct fe_onnx_value *y = turn(g, pair, cos, sin, interleaved);
    if (size == all)
        return y;
    struct fe_onnx_value *const both[] = {y, slice_last(g, x, size, all, 1)};
    return fe_onnx_apply(g, "Concat", 2, both, "axis=-1");
}

/* `places`: the input that has the numbers of places, [B][L]. */
static bool rotary(struct fe_onnx *g, size_t cos_input, size_t sin_input,
                   size_t places)
{
    struct fe_onnx_value *x = read_real(g, 0);
    struct fe_onnx_value *cos = x ? read_turns(g, cos_input, places) : NULL;
    struct fe_onnx_value *sin = cos ? read_turns(g, sin_input, places) : NULL;
    int64_t size = fe_onnx_int(g, "rotary_embedding_dim", 0);
    if (!sin)
        return false;
    const bool is_split = x->rank != 3;
    int64_t heads = fe_onnx_int(g, "num_heads", 0);
    if (!heads && !is_split && cos->rank == 4 && cos->dim[3] > 0)
        heads = x->dim[2] / (2 * cos->dim[3]);
    if (!is_split)
        x = split_heads(g, x, heads);
    if (!x)
        return false;
    size = size ? size : x->rank == 4 ? x->dim[3] : 0;
    if (x->rank != 4 || cos->rank != 4 || sin->rank != 4 || size < 2 ||
        size % 2 || size > x->dim[3] || cos->dim[3] != size / 2 ||
        sin->dim[3] != size / 2)
        return fe_onnx_error(g, "it turns %lld elements of '%.200s', which "
                             "has %d dims, or by another number",
                             (long long)size, x->name, x->rank);
    struct fe_onnx_value *y = rotate(g, x, size, cos, sin);
    return give(g, 0, is_split ? y : join_heads(g, y));
}

bool fe_onnx_rotary_embedding(struct fe_onnx *g)
{
    return rotary(g, 1, 2, 3);
}

/* Of com.microsoft: of the places, [B][L], or of one that the first row of a
 * sequence has. */
bool fe_onnx_rotary_embedding_old(struct fe_onnx *g)
{
    const struct fe_onnx_value *places = fe_onnx_input(g, 1);
    if (!places)
        return false;
    if (places->rank != 2 || fe_onnx_float(g, "scale", 1) != 1 ||
        fe_onnx_int(g, "is_packed_batching", 0))
        return fe_onnx_error(g, "'%.200s' is no place of each step, or what "
                             "comes out is scaled", places->name);
    return rotary(g, 2, 3, 1);
}

/* onnx_recurrent.c: LSTM, GRU and RNN. Of each direction the input's part of
 * the gates is one `gemm` over all steps, with the biases in it, and the rest
 * the IR's `scan`. X is [T][B][I], or with layout 1 [B][T][I]; B is the batch,
 * or 1, or a fixed number of sequences, which are done one after the other.
 */
#include "frontend/onnx.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STATES = 2, MAX_GATES = 4, MAX_PROGRAMS = 3 };

struct layer {
    const char *cell;
    int n_gates, n_states, n_programs;
    int n_directions, first_reverse; /* direction d is reverse when >= */
    bool by_batch;                   /* layout 1 */
    int64_t steps, items, inputs, hidden;
    const struct fe_onnx_value *x, *lengths; /* or NULL */
    const struct fe_onnx_value *state[MAX_STATES]; /* or NULL */
    const double *w, *r, *b, *p; /* of all directions; b and p may be NULL */
    const char *program[2][MAX_PROGRAMS];
    double clip; /* 0: none */
    bool reset_after, input_forget;
    bool is_quantised; /* W and R are of 8 bits */
};

/* ----------------------------------------------------------- activations -- */

/* The program that an activation's name stands for, by its alpha and beta. */
static bool read_activations(struct fe_onnx *g, struct layer *l)
{
    static const char *const defaults[] = {"Sigmoid", "Tanh", "Tanh"};
    static const char *const with_alpha[] = {
        "LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "ScaledTanh",
        "Affine"};
    static const char *const with_beta[] = {"HardSigmoid", "ScaledTanh",
                                            "Affine"};
    bool ok = true;
    const struct fe_onnx_tensor *names =
        fe_onnx_strings(g, "activations", &ok);
    const Onnx__AttributeProto *alpha =
        fe_onnx_attribute(g, "activation_alpha");
    const Onnx__AttributeProto *beta = fe_onnx_attribute(g, "activation_beta");
    size_t n_alpha = 0, n_beta = 0;
    if (!ok)
        return false;
    if (names && names->n != l->n_directions * l->n_programs)
        return fe_onnx_error(g, "%lld activations, not %d",
                             (long long)names->n,
                             l->n_directions * l->n_programs);
    for (int i = 0; i < l->n_directions * l->n_programs; i++) {
        const int k = i % l->n_programs;
        const char *name = names ? names->text[i]
                           : l->n_programs == 1 ? "Tanh" : defaults[k];
        double a, b;
        const double *own[2] = {NULL, NULL};
        for (size_t j = 0; j < 6; j++)
            if (!strcmp(name, with_alpha[j]) && alpha &&
                n_alpha < alpha->n_floats) {
                a = (double)alpha->floats[n_alpha++];
                own[0] = &a;
            }
        for (size_t j = 0; j < 3; j++)
            if (!strcmp(name, with_beta[j]) && beta &&
                n_beta < beta->n_floats) {
                b = (double)beta->floats[n_beta++];
                own[1] = &b;
            }
        l->program[i / l->n_programs][k] =
            fe_onnx_activation(g, name, own[0], own[1]);
        if (!l->program[i / l->n_programs][k])
            return fe_onnx_error(g, "the activation '%.100s' is not known",
                                 name);
    }
    return true;
}

/* --------------------------------------------------------------- inputs -- */

/* Constant input i of these dims; absent ones are NULL, with *ok. */
static const double *read_weights(struct fe_onnx *g, size_t i, int rank,
                                  const int64_t *dim, bool *ok)
{
    if (!*ok || !fe_onnx_has_input(g, i))
        return NULL;
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
    *ok = t != NULL;
    bool fits = t && t->rank == rank && t->real;
    for (int d = 0; fits && d < rank; d++)
        fits = t->dim[d] == dim[d];
    if (t && !fits)
        *ok = fe_onnx_error(g, "input %zu is not %lld x %lld x %lld", i,
                            (long long)dim[0], (long long)dim[1],
                            rank == 3 ? (long long)dim[2] : 1);
    return *ok ? t->real : NULL;
}

/* Constant input i, [D][k][n] of 8 bits, as [D][n][k] of what it stands for; its
 * scales and zero points are [D], or [D][n]. NULL with a message. */
static const double *dequantised(struct fe_onnx *g, size_t i, size_t scale,
                                 int64_t d, int64_t n, int64_t k)
{
    const struct fe_onnx_tensor *t = fe_onnx_constant_input(g, i);
    const struct fe_onnx_tensor *s =
        t ? fe_onnx_constant_input(g, scale) : NULL;
    const struct fe_onnx_tensor *z =
        s ? fe_onnx_constant_input(g, scale + 1) : NULL;
    if (!z)
        return NULL;
    if (!t->whole || fe_onnx_bits(t->type) != 8 || t->rank != 3 ||
        t->dim[0] != d || t->dim[1] != k || t->dim[2] != n || !s->real ||
        (s->n != d && s->n != d * n) || z->type != t->type || z->n != s->n) {
        fe_onnx_error(g, "input %zu is not %lld x %lld x %lld of 8 bits, or "
                      "its scales or zero points do not fit", i, (long long)d,
                      (long long)k, (long long)n);
        return NULL;
    }
    if (!fe_onnx_take_elements(g, t->n))
        return NULL;
    double *w = ir_alloc_array(&g->scratch, (size_t)t->n, sizeof *w);
    for (int64_t at = 0; at < t->n; at++) {
        const int64_t column = at / (n * k) * n + at % n, row = at / n % k;
        const int64_t of = s->n == d ? column / n : column;
        w[column * k + row] =
            (double)((float)(t->real[at] - z->real[of]) * (float)s->real[of]);
    }
    return w;
}

/* X as bytes stand for it, which are made of it by its range. */
static bool quantise_sequence(struct fe_onnx *g, struct layer *l)
{
    struct fe_onnx_value y[3], *x = ir_alloc(&g->scratch, sizeof *x);
    *x = *l->x;
    if (!fe_onnx_quantize_range(g, l->x, y))
        return false;
    x->rows = fe_onnx_map(
        g, "x0 x1 sub x2 mul", IR_F32, fe_onnx_convert(g, y[0].rows, IR_F32),
        fe_onnx_convert(g, y[2].rows, IR_F32), y[1].rows);
    l->x = x;
    return x->rows != NULL;
}

static bool read_direction(struct fe_onnx *g, struct layer *l)
{
    const bool both = fe_onnx_says(g, "direction", "bidirectional", false);
    const bool reverse = fe_onnx_says(g, "direction", "reverse", false);
    l->n_directions = both ? 2 : 1;
    l->first_reverse = reverse ? 0 : 1;
    return both || reverse || fe_onnx_says(g, "direction", "forward", true) ||
           fe_onnx_error(g, "direction is not forward, reverse or "
                         "bidirectional");
}

/* X's dims; where its batch is. */
static bool read_sequence(struct fe_onnx *g, struct layer *l)
{
    const struct fe_onnx_value *x = fe_onnx_number_input(g, 0);
    l->by_batch = fe_onnx_int(g, "layout", 0);
    l->x = x;
    if (!x)
        return false;
    if (x->rank != 3 || fe_onnx_is_whole(x->type))
        return fe_onnx_error(g, "'%.200s' has %d dims of type %s, not 3 of "
                             "FLOAT", x->name, x->rank,
                             fe_onnx_type_name(x->type));
    const int at = l->by_batch ? 0 : 1;
    if (x->batched && x->batch != at)
        return fe_onnx_error(g, "dim %d of '%.200s' is the batch, where %s; "
                             "steps have to be a given number", x->batch,
                             x->name, x->batch == 2
                             ? "the inputs of a step are expected"
                             : "the steps are expected");
    l->steps = x->dim[!at];
    l->items = x->dim[at];
    l->inputs = x->dim[2];
    l->hidden = fe_onnx_int(g, "hidden_size", 0);
    return true;
}

/* Input i, [D][B][H] or with layout 1 [B][D][H], of which each row has its
 * own or all have the same. */
static bool read_state(struct fe_onnx *g, struct layer *l, size_t i, int s)
{
    if (!fe_onnx_has_input(g, i))
        return true;
    const struct fe_onnx_value *h = fe_onnx_number_input(g, i);
    const int at = l->by_batch ? 0 : 1;
    if (!h)
        return false;
    if (h->rank != 3 || h->dim[!at] != l->n_directions ||
        h->dim[at] != l->items || h->dim[2] != l->hidden ||
        h->type != l->x->type || (h->batched && h->batch != at))
        return fe_onnx_error(g, "input %zu does not have the dims of %d "
                             "directions, %lld sequences and %lld hidden", i,
                             l->n_directions, (long long)l->items,
                             (long long)l->hidden);
    l->state[s] = h;
    return true;
}

static bool read_lengths(struct fe_onnx *g, struct layer *l)
{
    if (!fe_onnx_has_input(g, 4))
        return true;
    const struct fe_onnx_value *n = fe_onnx_number_input(g, 4);
    if (!n)
        return false;
    if (n->rank != 1 || n->n != l->items)
        return fe_onnx_error(g, "sequence_lens has %lld elements, there are "
                             "%lld sequences", (long long)n->n,
                             (long long)l->items);
    l->lengths = n;
    return true;
}

static bool read_layer(struct fe_onnx *g, struct layer *l)
{
    bool ok = true;
    if (!read_direction(g, l) || !read_sequence(g, l) ||
        !read_activations(g, l))
        return false;
    const struct fe_onnx_tensor *r = fe_onnx_constant_input(g, 2);
    if (!r)
        return false;
    if (l->hidden == 0 && r->rank == 3)
        l->hidden = r->dim[l->is_quantised ? 1 : 2];
    if (l->hidden < 1 || l->hidden > IR_MAX_ELEMENTS)
        return fe_onnx_error(g, "hidden_size is %lld", (long long)l->hidden);
    const int64_t d = l->n_directions, h = l->hidden, gates = l->n_gates * h;
    const int64_t w_dim[] = {d, gates, l->inputs}, r_dim[] = {d, gates, h};
    const int64_t b_dim[] = {d, 2 * gates}, p_dim[] = {d, 3 * h};
    if (l->is_quantised) {
        l->w = dequantised(g, 1, 8, d, gates, l->inputs);
        l->r = l->w ? dequantised(g, 2, 10, d, gates, h) : NULL;
        ok = l->r && quantise_sequence(g, l);
    } else {
        l->w = read_weights(g, 1, 3, w_dim, &ok);
        l->r = read_weights(g, 2, 3, r_dim, &ok);
    }
    l->b = read_weights(g, 3, 2, b_dim, &ok);
    l->p = l->n_states == 2 ? read_weights(g, 7, 2, p_dim, &ok) : NULL;
    if (!ok || !l->w || !l->r)
        return ok ? fe_onnx_error(g, "W or R is missing") : false;
    l->clip = fe_onnx_float(g, "clip", 0);
    l->reset_after = fe_onnx_int(g, "linear_before_reset", 0);
    l->input_forget = fe_onnx_int(g, "input_forget", 0);
    return read_lengths(g, l) && read_state(g, l, 5, 0) &&
           (l->n_states < 2 || read_state(g, l, 6, 1)) &&
           fe_onnx_take_elements(g, d * gates * (l->inputs + h + 2));
}

/* ---------------------------------------------------------------- build -- */

/* [rows][columns] -> [columns][rows] */
static double *turned(struct fe_onnx *g, const double *m, int64_t rows,
                      int64_t columns)
{
    double *t = ir_alloc_array(&g->scratch, (size_t)(rows * columns),
                               sizeof *t);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            t[j * rows + i] = m[i * columns + j];
    return t;
}

/* What the input and the biases give to the gates, of all steps of all items.
 * The hidden gate's recurrent bias stays apart where the reset gate goes over
 * it. */
static struct ir_value *gates_of(struct fe_onnx *g, const struct layer *l,
                                 int d)
{
    const int64_t n = l->n_gates * l->hidden, k = l->inputs;
    const double *w = l->w + d * n * k;
    const double *b = l->b ? l->b + d * 2 * n : NULL;
    double *bias = ir_alloc_array(&g->scratch, (size_t)n, sizeof *bias);
    for (int64_t i = 0; b && i < n; i++)
        bias[i] = b[i] + (l->reset_after && i >= 2 * l->hidden ? 0 : b[n + i]);
    return fe_onnx_gemm_op(g, l->x->rows, k, n, turned(g, w, n, k),
                           b ? bias : NULL, NULL);
}

/* The states that direction d of item i starts with. */
static struct ir_value *start_of(struct fe_onnx *g, const struct layer *l,
                                 int d, int64_t item)
{
    const enum ir_dtype dtype = l->x->rows->type.dtype;
    const int64_t h = l->hidden;
    struct ir_value *parts[MAX_STATES];
    double *zeros = ir_alloc_array(&g->scratch, (size_t)h, sizeof *zeros);
    for (int s = 0; s < l->n_states; s++) {
        const int64_t at = l->by_batch ? item * l->n_directions + d
                                       : d * l->items + item;
        parts[s] = l->state[s] ? fe_onnx_part(g, l->state[s]->rows, at * h, 1,
                                              &h)
                               : fe_onnx_vector(g, dtype, h, zeros);
        if (!parts[s])
            return NULL;
    }
    return fe_onnx_concat(g, l->n_states, parts);
}

static int scan_attrs(struct fe_onnx *g, const struct layer *l, int d,
                      enum ir_dtype dtype, struct ir_attr *attrs)
{
    static const char *const names[] = {"gate", "candidate", "output"};
    const int64_t h = l->hidden, gates = l->n_gates * h;
    const int64_t dim[] = {h, gates}, three = 3 * h;
    int n = 0;
    attrs[n++] = ir_string("cell", l->cell);
    attrs[n++] = ir_tensor_attr(
        "recurrent", fe_onnx_tensor(g, dtype, 2, dim,
                                    turned(g, l->r + d * gates * h, gates,
                                           h)));
    attrs[n++] = ir_int("reverse", d >= l->first_reverse);
    for (int i = 0; i < l->n_programs; i++)
        attrs[n++] = ir_string(names[i], l->program[d][i]);
    if (l->clip > 0)
        attrs[n++] = ir_float("clip", l->clip);
    if (l->p)
        attrs[n++] = ir_tensor_attr(
            "peephole", fe_onnx_tensor(g, dtype, 1, &three,
                                       l->p + d * three));
    if (l->n_states == 2)
        attrs[n++] = ir_int("input_forget", l->input_forget);
    if (l->n_gates != 3)
        return n;
    attrs[n++] = ir_int("linear_before_reset", l->reset_after);
    if (l->reset_after && l->b)
        attrs[n++] = ir_tensor_attr(
            "recurrent_bias",
            fe_onnx_tensor(g, dtype, 1, &h, l->b + (d * 2 + 1) * gates +
                                                2 * h));
    return n;
}

/* The scan of direction d over item i: its op, or NULL. */
static struct ir_op *scan(struct fe_onnx *g, const struct layer *l, int d,
                          int64_t item, struct ir_value *gates, int n_attrs,
                          const struct ir_attr *attrs)
{
    const int64_t n = l->n_gates * l->hidden, dim[] = {l->steps, n}, one = 1;
    const int64_t stride[] = {l->by_batch ? n : l->items * n, 1};
    struct ir_value *operands[3] = {
        fe_onnx_strided(g, gates, 2, dim, stride,
                        item * n * (l->by_batch ? l->steps : 1)),
        start_of(g, l, d, item), NULL};
    if (l->lengths)
        operands[2] = fe_onnx_convert(
            g, fe_onnx_part(g, l->lengths->rows, item, 1, &one),
            gates->type.dtype);
    struct ir_value *y = fe_onnx_op(g, IR_OP_scan, l->lengths ? 3 : 2,
                                    operands, n_attrs, attrs);
    return y ? y->op : NULL;
}

/* The results of all items of direction d: by result, from `part` on. */
static bool scan_items(struct fe_onnx *g, const struct layer *l, int d,
                       struct ir_value **part[1 + MAX_STATES])
{
    struct ir_attr attrs[16];
    struct ir_value *gates = gates_of(g, l, d);
    if (!gates)
        return false;
    const int n = scan_attrs(g, l, d, gates->type.dtype, attrs);
    for (int64_t i = 0; i < l->items; i++) {
        struct ir_op *op = scan(g, l, d, i, gates, n, attrs);
        const int64_t at = d * l->items + i;
        if (!op)
            return false;
        part[0][at] = &op->result[0];
        for (int s = 0; s < l->n_states; s++) {
            part[1 + s][at] = fe_onnx_part(g, &op->result[1], s * l->hidden,
                                           1, &l->hidden);
            if (!part[1 + s][at])
                return false;
        }
    }
    return true;
}

/* Parts of directions and items in the order of an output: `per` elements of
 * each step (of one step for states), which is before or after both. */
static struct ir_value *join_parts(struct fe_onnx *g, const struct layer *l,
                                   struct ir_value **part, int64_t steps)
{
    const int64_t n = l->n_directions * l->items;
    struct ir_value **sorted =
        ir_alloc_array(&g->scratch, (size_t)n, sizeof *sorted);
    const int64_t dim[] = {steps, 1, l->hidden};
    for (int d = 0; d < l->n_directions; d++)
        for (int64_t i = 0; i < l->items; i++) {
            const int64_t at = l->by_batch ? i * l->n_directions + d
                                           : d * l->items + i;
            sorted[at] = fe_onnx_shaped(
                g, part[d * l->items + i], 3, dim);
            if (!sorted[at])
                return NULL;
        }
    return fe_onnx_join(g, (int)n, sorted, 1);
}

/* Gives output i with the batch where the layout has it. */
static bool give_part(struct fe_onnx *g, size_t i, const struct layer *l,
                      struct ir_value *rows, int rank, const int64_t *dim,
                      int batch)
{
    struct fe_onnx_shape shape = {.rank = rank, .batched = l->x->batched,
                                  .batch = batch};
    memcpy(shape.dim, dim, (size_t)rank * sizeof *dim);
    return fe_onnx_size(g, &shape) &&
           fe_onnx_give_shape(g, i, l->x->type, rows, &shape);
}

/* Y: [T][D][B][H], or [B][T][D][H]. */
static bool give_sequence(struct fe_onnx *g, const struct layer *l,
                          struct ir_value **part)
{
    const int64_t t = l->steps, d = l->n_directions, b = l->items;
    const int64_t h = l->hidden;
    struct ir_value *rows = join_parts(g, l, part, t);
    if (!l->by_batch) {
        const int64_t dim[] = {t, d, b, h};
        return give_part(g, 0, l, rows, 4, dim, 2);
    }
    /* Items are side by side in each step: they go to the front. */
    const int64_t dim[] = {b, t, d, h};
    const int64_t stride[] = {d * h, b * d * h, h, 1};
    return give_part(g, 0, l, fe_onnx_strided(g, rows, 4, dim, stride, 0), 4,
                     dim, 0);
}

static bool build_layer(struct fe_onnx *g, struct layer *l)
{
    if (!read_layer(g, l))
        return false;
    const int64_t many = l->n_directions * l->items;
    if (many > 4096)
        return fe_onnx_error(g, "%lld sequences", (long long)many);
    struct ir_value **part[1 + MAX_STATES];
    for (int k = 0; k <= l->n_states; k++)
        part[k] = ir_alloc_array(&g->scratch, (size_t)many, sizeof **part);
    for (int d = 0; d < l->n_directions; d++)
        if (!scan_items(g, l, d, part))
            return false;
    if (!give_sequence(g, l, part[0]))
        return false;
    const int64_t by_direction[] = {l->n_directions, l->items, l->hidden};
    const int64_t by_batch[] = {l->items, l->n_directions, l->hidden};
    for (int s = 0; s < l->n_states; s++)
        if (!give_part(g, (size_t)s + 1, l,
                       join_parts(g, l, part[1 + s], 1), 3,
                       l->by_batch ? by_batch : by_direction,
                       l->by_batch ? 0 : 1))
            return false;
    return true;
}

bool fe_onnx_lstm(struct fe_onnx *g)
{
    struct layer l = {.cell = "lstm", .n_gates = 4, .n_states = 2,
                      .n_programs = 3};
    return build_layer(g, &l);
}

/* DynamicQuantizeLSTM, but that the state is not quantised at each step: so
 * what it gives is nearer to the net that was quantised. */
bool fe_onnx_dynamic_lstm(struct fe_onnx *g)
{
    struct layer l = {.cell = "lstm", .n_gates = 4, .n_states = 2,
                      .n_programs = 3, .is_quantised = true};
    return build_layer(g, &l);
}

bool fe_onnx_gru(struct fe_onnx *g)
{
    struct layer l = {.cell = "gru", .n_gates = 3, .n_states = 1,
                      .n_programs = 2};
    return build_layer(g, &l);
}

bool fe_onnx_rnn(struct fe_onnx *g)
{
    struct layer l = {.cell = "rnn", .n_gates = 1, .n_states = 1,
                      .n_programs = 1};
    return build_layer(g, &l);
}

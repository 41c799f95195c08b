/* net_recurrent.c: recurrent layers: rnn, lstm, gru, in one or both directions.
 *
 * The input's part of the gates is one product for all steps; each step then
 * adds the state's. Gradients of the gates take the gates' place, step by step
 * from the last, and those of all weights are one product again. Gates are in
 * the order of the op scan: lstm i, o, f, c; gru z, r, h, where r scales the
 * state's part of h together with its bias (linear_before_reset).
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HIDDEN (1 << 14)

/* Blocks of a direction, in turn forward and reverse. */
enum { INPUT, STATE, BIAS, STATE_BIAS, N_BLOCKS };
/* Work of a direction; and behind that of both what a step needs. The gru has
 * the state's part of h in FIRST, and the gradients of that of all gates in
 * SECOND; the lstm has c and tanh(c). */
enum { GATES, STATES, FIRST, SECOND, N_WORK };
enum { STEP = 2 * N_WORK, CARRY };

static int n_gates(const struct tr_layer *layer)
{
    return layer->kind == &tr_kind_lstm  ? 4
           : layer->kind == &tr_kind_gru ? 3
                                         : 1;
}

/* What the loops of one direction go by. */
struct run {
    struct tr_net *net;
    struct tr_layer *layer;
    int direction;          /* 1: reverse */
    int64_t steps, n, inputs, hidden, width; /* width: of all gates */
    int64_t out, out_width; /* where its results are among the layer's */
    tr_real *gates, *states, *first, *second, *step, *carry;
};

static struct run run_of(struct tr_net *net, struct tr_layer *layer,
                         int direction, int64_t n)
{
    tr_real **work = layer->work + direction * N_WORK;
    const bool both = layer->forward && layer->reverse;
    const int64_t hidden = layer->units;
    return (struct run){
        .net = net, .layer = layer, .direction = direction,
        .steps = layer->in.lead, .n = n, .inputs = layer->in.inner,
        .hidden = hidden, .width = hidden * n_gates(layer),
        .out = both ? direction * hidden : 0,
        .out_width = both ? 2 * hidden : hidden, .gates = work[GATES],
        .states = work[STATES], .first = work[FIRST],
        .second = work[SECOND], .step = layer->work[STEP],
        .carry = layer->work[CARRY]};
}

static bool has_direction(const struct tr_layer *layer, int direction)
{
    return direction ? layer->reverse : layer->forward;
}

static tr_real *param(const struct run *r, int block)
{
    return r->net->theta +
           r->layer->block[r->direction * N_BLOCKS + block].first;
}

static tr_real *gradient(const struct run *r, int block)
{
    return r->net->grad +
           r->layer->block[r->direction * N_BLOCKS + block].first;
}

/* The time of the s-th step. */
static int64_t time_of(const struct run *r, int64_t s)
{
    return r->direction ? r->steps - 1 - s : s;
}

/* ------------------------------------------------------- reading, shape -- */

static bool read_activation(struct tr_words *words, struct tr_layer *layer)
{
    const bool relu = tr_words_take(words, "relu");
    layer->activation = relu ? TR_RELU : TR_TANH;
    return relu || tr_words_take(words, "tanh") ||
           tr_layer_error(layer, words->diag,
                          "rnn: \"of\" is followed by relu or tanh");
}

static bool parse_recurrent(struct tr_words *words, struct tr_layer *layer)
{
    if (!tr_words_int(words, "number of hidden units", 1, MAX_HIDDEN,
                      &layer->units))
        return false;
    layer->activation = TR_TANH;
    layer->forward = true;
    for (;;) {
        if (tr_words_take(words, "reverse")) {
            layer->forward = false;
            layer->reverse = true;
        } else if (tr_words_take(words, "both")) {
            layer->forward = layer->reverse = true;
        } else if (tr_words_take(words, "all")) {
            layer->chosen = true;
            layer->one_step = false;
        } else if (tr_words_take(words, "last")) {
            layer->chosen = layer->one_step = true;
        } else if (layer->kind == &tr_kind_rnn && tr_words_take(words, "of")) {
            if (!read_activation(words, layer))
                return false;
        } else {
            return true;
        }
    }
}

static void add_blocks(struct tr_layer *layer, bool there)
{
    const int64_t h = layer->units, g = n_gates(layer) * h * there;
    tr_layer_block(layer, layer->in.inner * g, true, true);
    tr_layer_block(layer, h * g, true, true);
    tr_layer_block(layer, g, true, false);
    tr_layer_block(layer, layer->kind == &tr_kind_gru ? h * there : 0, true,
                   false);
}

static void add_work(struct tr_layer *layer, bool there)
{
    const int64_t h = layer->in.lead * layer->units * there;
    const int gates = n_gates(layer);
    tr_layer_work(layer, gates * h);
    tr_layer_work(layer, h);
    tr_layer_work(layer, gates > 1 ? h : 0);
    tr_layer_work(layer, gates == 4 ? h : gates == 3 ? 3 * h : 0);
}

static bool shape_recurrent(struct tr_layer *layer, struct ir_diag *diag)
{
    const struct tr_shape *in = &layer->in;
    if (in->kind != TR_SERIES)
        return tr_layer_error(layer, diag,
                              "%s: it goes over a series, as 24x3 for 24 "
                              "steps of 3 numbers, and its input is %s%s",
                              layer->kind->name,
                              tr_shape_text(in, &diag->arena),
                              in->rank == 2 ? " channels (transpose makes a "
                                              "series)"
                              : in->rank == 1 ? " numbers (see input_shape)"
                                              : "");
    for (int d = 0; d < 2; d++) {
        add_blocks(layer, has_direction(layer, d));
        add_work(layer, has_direction(layer, d));
    }
    tr_layer_work(layer, n_gates(layer) * layer->units);
    tr_layer_work(layer, 2 * layer->units);
    const int64_t width = layer->units * (layer->forward + layer->reverse);
    layer->out = layer->one_step ? tr_shape_vector(width)
                                 : tr_shape_series(in->lead, width);
    return true;
}

/* All weights uniform within 1 / sqrt(hidden). An lstm begins by remembering:
 * its forget gate's bias is 1 (Jozefowicz et al. 2015). */
static void init_recurrent(const struct tr_layer *layer, tr_real *theta,
                           uint64_t seed)
{
    const int64_t h = layer->units;
    const double reach = tr_init_reach(h);
    for (int b = 0; b < layer->n_blocks; b++) {
        const struct tr_block *block = &layer->block[b];
        tr_real *at = theta + block->first;
        if (block->decays)
            tr_draw_reals(ir_random(seed, (uint64_t)b), reach, block->n, at);
        if (b % N_BLOCKS == BIAS && layer->kind == &tr_kind_lstm)
            for (int64_t i = 2 * h; i < 3 * h && i < block->n; i++)
                at[i] = 1;
    }
}

/* --------------------------------------------------------------- forward -- */

/* gates += before R, or step = before R when `to` is that. */
static void state_product(const struct run *r, const tr_real *before,
                          tr_real beta, tr_real *to)
{
    tr_gemm(r->net, false, false, r->n, r->width, r->hidden, before, r->hidden,
            param(r, STATE), r->width, beta, to, r->width);
}

static void step_rnn(const struct run *r, tr_real *z, const tr_real *before,
                     tr_real *state)
{
    const int64_t size = r->n * r->hidden;
    if (before)
        state_product(r, before, 1, z);
    if (r->layer->activation == TR_TANH)
        tr_vector_tanh(size, z, state);
    else
        for (int64_t i = 0; i < size; i++)
            state[i] = z[i] > 0 ? z[i] : 0;
}

static void step_lstm(const struct run *r, int64_t t, tr_real *z,
                      const tr_real *before, tr_real *state)
{
    const int64_t h = r->hidden, size = r->n * h;
    const int64_t last = r->direction ? t + 1 : t - 1;
    tr_real *c = r->first + t * size, *tanh_c = r->second + t * size;
    const tr_real *c_before = before ? r->first + last * size : NULL;
    if (before)
        state_product(r, before, 1, z);
    for (int64_t b = 0; b < r->n; b++, z += 4 * h, c += h) {
        tr_vector_sigmoid(3 * h, z, z);
        tr_vector_tanh(h, z + 3 * h, z + 3 * h);
        for (int64_t j = 0; j < h; j++)
            c[j] = z[j] * z[3 * h + j];
        if (c_before)
            for (int64_t j = 0; j < h; j++)
                c[j] += z[2 * h + j] * c_before[b * h + j];
    }
    tr_vector_tanh(size, c - size, tanh_c);
    z -= r->n * 4 * h;
    for (int64_t b = 0; b < r->n; b++, z += 4 * h)
        for (int64_t j = 0; j < h; j++)
            state[b * h + j] = z[h + j] * tanh_c[b * h + j];
}

static void step_gru(const struct run *r, int64_t t, tr_real *z,
                     const tr_real *before, tr_real *state)
{
    const int64_t h = r->hidden;
    const tr_real *bias = param(r, STATE_BIAS), *part = r->step;
    tr_real *q = r->first + t * r->n * h;
    if (before)
        state_product(r, before, 0, r->step);
    else
        memset(r->step, 0, (size_t)(r->n * r->width) * sizeof(*part));
    for (int64_t b = 0; b < r->n; b++, z += 3 * h, part += 3 * h, q += h) {
        for (int64_t j = 0; j < 2 * h; j++)
            z[j] += part[j];
        tr_vector_sigmoid(2 * h, z, z);
        tr_real *candidate = z + 2 * h;
        for (int64_t j = 0; j < h; j++) {
            q[j] = part[2 * h + j] + bias[j];
            candidate[j] += z[h + j] * q[j];
        }
        tr_vector_tanh(h, candidate, candidate);
        for (int64_t j = 0; j < h; j++) {
            const tr_real old = before ? before[b * h + j] : 0;
            state[b * h + j] = candidate[j] + z[j] * (old - candidate[j]);
        }
    }
}

/* The states of one step to where the layer's results are. */
static void copy_out(const struct run *r, const tr_real *state, tr_real *y)
{
    for (int64_t b = 0; b < r->n; b++)
        memcpy(y + b * r->out_width + r->out, state + b * r->hidden,
               (size_t)r->hidden * sizeof(*y));
}

static void forward_direction(const struct run *r, const tr_real *x)
{
    const int64_t size = r->n * r->hidden, rows = r->steps * r->n;
    tr_fill_rows(rows, r->width, param(r, BIAS), r->gates);
    tr_gemm(r->net, false, false, rows, r->width, r->inputs, x, r->inputs,
            param(r, INPUT), r->width, 1, r->gates, r->width);
    const tr_real *before = NULL;
    for (int64_t s = 0; s < r->steps; s++) {
        const int64_t t = time_of(r, s);
        tr_real *z = r->gates + t * r->n * r->width;
        tr_real *state = r->states + t * size;
        if (r->layer->kind == &tr_kind_lstm)
            step_lstm(r, t, z, before, state);
        else if (r->layer->kind == &tr_kind_gru)
            step_gru(r, t, z, before, state);
        else
            step_rnn(r, z, before, state);
        if (!r->layer->one_step)
            copy_out(r, state, r->layer->y + t * r->n * r->out_width);
        before = state;
    }
    if (r->layer->one_step)
        copy_out(r, before, r->layer->y);
}

static void forward_recurrent(struct tr_net *net, struct tr_layer *layer,
                              const tr_real *x, int64_t n, bool train)
{
    (void)train;
    for (int d = 0; d < 2; d++)
        if (has_direction(layer, d)) {
            const struct run r = run_of(net, layer, d, n);
            forward_direction(&r, x);
        }
}

/* -------------------------------------------------------------- backward -- */

/* Each turns the gradient dh of a step's state into those of its gates, which
 * take their place, and leaves in dh what the state before has of it besides
 * what comes through the gates. */
static void back_rnn(const struct run *r, tr_real *z, const tr_real *state,
                     tr_real *dh)
{
    const int64_t size = r->n * r->hidden;
    if (r->layer->activation == TR_TANH)
        for (int64_t i = 0; i < size; i++)
            z[i] = dh[i] * (1 - state[i] * state[i]);
    else
        for (int64_t i = 0; i < size; i++)
            z[i] = state[i] > 0 ? dh[i] : 0;
    memset(dh, 0, (size_t)size * sizeof(*dh));
}

static void back_lstm(const struct run *r, int64_t t, tr_real *z, bool first,
                      tr_real *dh)
{
    const int64_t h = r->hidden, size = r->n * h;
    const int64_t last = r->direction ? t + 1 : t - 1;
    const tr_real *tanh_c = r->second + t * size;
    const tr_real *c_before = first ? NULL : r->first + last * size;
    tr_real *dc = dh + size;
    for (int64_t b = 0; b < r->n; b++, z += 4 * h) {
        tr_real *i = z, *o = z + h, *f = z + 2 * h, *g = z + 3 * h;
        for (int64_t j = 0; j < h; j++) {
            const int64_t k = b * h + j;
            const tr_real tc = tanh_c[k], to_o = dh[k] * tc;
            const tr_real to_c = dc[k] + dh[k] * o[j] * (1 - tc * tc);
            const tr_real old = c_before ? c_before[k] : 0;
            const tr_real to_i = to_c * g[j], to_g = to_c * i[j];
            dc[k] = to_c * f[j];
            o[j] = to_o * o[j] * (1 - o[j]);
            f[j] = to_c * old * f[j] * (1 - f[j]);
            i[j] = to_i * i[j] * (1 - i[j]);
            g[j] = to_g * (1 - g[j] * g[j]);
        }
    }
    memset(dh, 0, (size_t)size * sizeof(*dh));
}

static void back_gru(const struct run *r, int64_t t, tr_real *z,
                     const tr_real *before, tr_real *dh)
{
    const int64_t h = r->hidden;
    const tr_real *q = r->first + t * r->n * h;
    tr_real *part = r->second + t * r->n * r->width;
    for (int64_t b = 0; b < r->n; b++, z += 3 * h, part += 3 * h, q += h)
        for (int64_t j = 0; j < h; j++) {
            const int64_t k = b * h + j;
            const tr_real u = z[j], reset = z[h + j], n = z[2 * h + j];
            const tr_real old = before ? before[k] : 0;
            const tr_real to_n = dh[k] * (1 - u) * (1 - n * n);
            z[j] = part[j] = dh[k] * (old - n) * u * (1 - u);
            z[h + j] = part[h + j] = to_n * q[j] * reset * (1 - reset);
            z[2 * h + j] = to_n;
            part[2 * h + j] = to_n * reset;
            dh[k] *= u;
        }
}

static void add_result(const struct run *r, const tr_real *dy, tr_real *dh)
{
    for (int64_t b = 0; b < r->n; b++)
        for (int64_t j = 0; j < r->hidden; j++)
            dh[b * r->hidden + j] += dy[b * r->out_width + r->out + j];
}

/* The gradients of what a step's product with the state gave. */
static tr_real *product_gradients(const struct run *r, int64_t t)
{
    tr_real *all =
        r->layer->kind == &tr_kind_gru ? r->second : r->gates;
    return all + t * r->n * r->width;
}

static void back_steps(const struct run *r, const tr_real *dy)
{
    const int64_t size = r->n * r->hidden;
    tr_real *dh = r->carry;
    memset(dh, 0, (size_t)(2 * size) * sizeof(*dh));
    if (r->layer->one_step)
        add_result(r, dy, dh);
    for (int64_t s = r->steps - 1; s >= 0; s--) {
        const int64_t t = time_of(r, s);
        tr_real *z = r->gates + t * r->n * r->width;
        const tr_real *before =
            s > 0 ? r->states + time_of(r, s - 1) * size : NULL;
        if (!r->layer->one_step)
            add_result(r, dy + t * r->n * r->out_width, dh);
        if (r->layer->kind == &tr_kind_lstm)
            back_lstm(r, t, z, s == 0, dh);
        else if (r->layer->kind == &tr_kind_gru)
            back_gru(r, t, z, before, dh);
        else
            back_rnn(r, z, r->states + t * size, dh);
        if (s > 0)
            tr_gemm(r->net, false, true, r->n, r->hidden, r->width,
                    product_gradients(r, t), r->width, param(r, STATE),
                    r->width, 1, dh, r->hidden);
    }
}

static void back_weights(const struct run *r, const tr_real *x)
{
    const int64_t rows = r->steps * r->n, h = r->hidden;
    /* Of all steps but the first, with the states before them. */
    const tr_real *after = product_gradients(r, r->direction ? 0 : 1);
    const tr_real *before = r->states + (r->direction ? r->n * h : 0);
    tr_gemm(r->net, true, false, r->inputs, r->width, rows, x, r->inputs,
            r->gates, r->width, 0, gradient(r, INPUT), r->width);
    tr_column_sums(rows, r->width, r->gates, gradient(r, BIAS));
    if (r->steps > 1)
        tr_gemm(r->net, true, false, h, r->width, rows - r->n, before, h,
                after, r->width, 0, gradient(r, STATE), r->width);
    else
        memset(gradient(r, STATE), 0,
               (size_t)(h * r->width) * sizeof(*before));
    if (r->layer->kind != &tr_kind_gru)
        return;
    tr_column_sums(rows, r->width, r->second, r->step);
    memcpy(gradient(r, STATE_BIAS), r->step + 2 * h,
           (size_t)h * sizeof(*before));
}

static void backward_recurrent(struct tr_net *net, struct tr_layer *layer,
                               const tr_real *x, tr_real *dy, tr_real *dx,
                               int64_t n)
{
    bool added = false;
    for (int d = 0; d < 2; d++) {
        if (!has_direction(layer, d))
            continue;
        const struct run r = run_of(net, layer, d, n);
        back_steps(&r, dy);
        back_weights(&r, x);
        if (dx)
            tr_gemm(net, false, true, r.steps * n, r.inputs, r.width, r.gates,
                    r.width, param(&r, INPUT), r.width, added, dx, r.inputs);
        added = true;
    }
}

#define WORDS " HIDDEN [reverse|both] [last|all]"
const struct tr_layer_kind tr_kind_rnn = {
    "rnn", "rnn" WORDS " [of relu]", parse_recurrent, shape_recurrent,
    init_recurrent, forward_recurrent, backward_recurrent, tr_build_recurrent};
const struct tr_layer_kind tr_kind_lstm = {
    "lstm", "lstm" WORDS, parse_recurrent, shape_recurrent, init_recurrent,
    forward_recurrent, backward_recurrent, tr_build_recurrent};
const struct tr_layer_kind tr_kind_gru = {
    "gru", "gru" WORDS, parse_recurrent, shape_recurrent, init_recurrent,
    forward_recurrent, backward_recurrent, tr_build_recurrent};

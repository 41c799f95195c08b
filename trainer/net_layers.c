/* net_layers.c: layers that are products or go number by number: dense,
 * activations, dropout, embed; and those that only move numbers: flatten,
 * transpose, laststep. How each is written as ops is in net_export.c.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_UNITS (1 << 20)

static tr_real *param(const struct tr_net *net, const struct tr_layer *layer,
                      int block)
{
    return net->theta + layer->block[block].first;
}

static tr_real *gradient(const struct tr_net *net,
                         const struct tr_layer *layer, int block)
{
    return net->grad + layer->block[block].first;
}

static int64_t elements(const struct tr_layer *layer, int64_t n)
{
    return n * tr_shape_elements(&layer->out);
}

/* ----------------------------------------------------------------- dense -- */

/* y = x w + b for each row, and of a series for each of its steps. Weights are
 * [inputs][units], as the op gemm has them. */
static bool parse_dense(struct tr_words *words, struct tr_layer *layer)
{
    return tr_words_int(words, "number of units", 1, MAX_UNITS, &layer->units);
}

static bool shape_dense(struct tr_layer *layer, struct ir_diag *diag)
{
    const struct tr_shape *in = &layer->in;
    (void)diag;
    layer->out = in->kind == TR_SERIES
                     ? tr_shape_series(in->dim[0], layer->units)
                     : tr_shape_vector(layer->units);
    tr_layer_block(layer, in->inner * layer->units, true, true);
    tr_layer_block(layer, layer->units, true, false);
    return true;
}

double tr_init_reach(int64_t inputs)
{
    return 1 / sqrt((double)inputs);
}

static void init_dense(const struct tr_layer *layer, tr_real *theta,
                       uint64_t seed)
{
    const struct tr_block *w = &layer->block[0];
    tr_draw_reals(seed, tr_init_reach(layer->in.inner), w->n,
                  theta + w->first);
}

static void forward_dense(struct tr_net *net, struct tr_layer *layer,
                          const tr_real *x, int64_t n, bool train)
{
    const int64_t rows = n * layer->out.lead, k = layer->in.inner;
    (void)train;
    tr_fill_rows(rows, layer->units, param(net, layer, 1), layer->y);
    tr_gemm(net, false, false, rows, layer->units, k, x, k,
            param(net, layer, 0), layer->units, 1, layer->y, layer->units);
}

static void backward_dense(struct tr_net *net, struct tr_layer *layer,
                           const tr_real *x, tr_real *dy, tr_real *dx,
                           int64_t n)
{
    const int64_t rows = n * layer->out.lead, k = layer->in.inner;
    const int64_t units = layer->units;
    tr_gemm(net, true, false, k, units, rows, x, k, dy, units, 0,
            gradient(net, layer, 0), units);
    tr_column_sums(rows, units, dy, gradient(net, layer, 1));
    if (dx)
        tr_gemm(net, false, true, rows, k, units, dy, units,
                param(net, layer, 0), units, 0, dx, k);
}

const struct tr_layer_kind tr_kind_dense = {
    "dense", "dense UNITS", parse_dense, shape_dense, init_dense, forward_dense,
    backward_dense, tr_build_dense};

/* ------------------------------------------------------------ activation -- */

static bool shape_same(struct tr_layer *layer, struct ir_diag *diag)
{
    (void)diag;
    layer->out = layer->in;
    if (layer->kind == &tr_kind_dropout ||
        (layer->kind == &tr_kind_activation &&
         (layer->activation == TR_SILU || layer->activation == TR_SOFTPLUS)))
        tr_layer_work(layer, tr_shape_elements(&layer->in));
    return true;
}

static void apply_elu(int64_t n, const tr_real *x, tr_real *y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : (tr_real)expm1((double)x[i]);
}

/* gelu in the form with tanh: x / 2 * (1 + tanh(c (x + d x^3))). */
#define GELU_C 0.7978845608028654 /* sqrt(2 / pi) */
#define GELU_D 0.044715

static double gelu_tanh(double x)
{
    return tanh(GELU_C * x * (1 + GELU_D * x * x));
}

static void apply_gelu(int64_t n, const tr_real *x, tr_real *y)
{
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i];
        y[i] = (tr_real)(0.5 * v * (1 + gelu_tanh(v)));
    }
}

static void apply_softplus(int64_t n, const tr_real *x, tr_real *y)
{
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i];
        y[i] = (tr_real)(fmax(v, 0) + log1p(exp(-fabs(v))));
    }
}

static void forward_activation(struct tr_net *net, struct tr_layer *layer,
                               const tr_real *x, int64_t n, bool train)
{
    const int64_t size = elements(layer, n);
    tr_real *y = layer->y;
    (void)net;
    (void)train;
    switch (layer->activation) {
    case TR_RELU:
        for (int64_t i = 0; i < size; i++)
            y[i] = x[i] > 0 ? x[i] : 0;
        break;
    case TR_LEAKY_RELU:
        for (int64_t i = 0; i < size; i++)
            y[i] = x[i] > 0 ? x[i] : x[i] * (tr_real)TR_LEAK;
        break;
    case TR_ELU:
        apply_elu(size, x, y);
        break;
    case TR_GELU:
        apply_gelu(size, x, y);
        break;
    case TR_SILU:
        tr_vector_sigmoid(size, x, layer->work[0]);
        for (int64_t i = 0; i < size; i++)
            y[i] = x[i] * layer->work[0][i];
        break;
    case TR_SOFTPLUS:
        tr_vector_sigmoid(size, x, layer->work[0]);
        apply_softplus(size, x, y);
        break;
    case TR_SIGMOID:
        tr_vector_sigmoid(size, x, y);
        break;
    case TR_TANH:
    case TR_N_ACTIVATIONS:
        tr_vector_tanh(size, x, y);
        break;
    }
}

static tr_real gelu_slope(tr_real v)
{
    const double x = (double)v, t = gelu_tanh(x);
    const double inner = GELU_C * (1 + 3 * GELU_D * x * x);
    return (tr_real)(0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner);
}

static void backward_activation(struct tr_net *net, struct tr_layer *layer,
                                const tr_real *x, tr_real *dy, tr_real *dx,
                                int64_t n)
{
    const int64_t size = elements(layer, n);
    const tr_real *y = layer->y, *s = layer->work[0];
    (void)net;
    if (!dx)
        return;
    switch (layer->activation) {
    case TR_RELU:
        for (int64_t i = 0; i < size; i++)
            dx[i] = x[i] > 0 ? dy[i] : 0;
        break;
    case TR_LEAKY_RELU:
        for (int64_t i = 0; i < size; i++)
            dx[i] = x[i] > 0 ? dy[i] : dy[i] * (tr_real)TR_LEAK;
        break;
    case TR_ELU:
        for (int64_t i = 0; i < size; i++)
            dx[i] = x[i] > 0 ? dy[i] : dy[i] * (y[i] + 1);
        break;
    case TR_GELU:
        for (int64_t i = 0; i < size; i++)
            dx[i] = dy[i] * gelu_slope(x[i]);
        break;
    case TR_SILU:
        for (int64_t i = 0; i < size; i++)
            dx[i] = dy[i] * s[i] * (1 + x[i] * (1 - s[i]));
        break;
    case TR_SOFTPLUS:
        for (int64_t i = 0; i < size; i++)
            dx[i] = dy[i] * s[i];
        break;
    case TR_SIGMOID:
        for (int64_t i = 0; i < size; i++)
            dx[i] = dy[i] * y[i] * (1 - y[i]);
        break;
    case TR_TANH:
    case TR_N_ACTIVATIONS:
        for (int64_t i = 0; i < size; i++)
            dx[i] = dy[i] * (1 - y[i] * y[i]);
        break;
    }
}

const struct tr_layer_kind tr_kind_activation = {
    "activation", "", NULL, shape_same, NULL, forward_activation,
    backward_activation, tr_build_activation};

/* --------------------------------------------------------------- dropout -- */

static bool parse_dropout(struct tr_words *words, struct tr_layer *layer)
{
    return tr_words_real(words, "rate", &layer->rate);
}

/* Which numbers are dropped depends on the seed, the layer and the batch; four
 * are decided by the parts of one drawn number. What stays grows, so that the
 * mean does. */
static void draw_mask(const struct tr_net *net, const struct tr_layer *layer,
                      int64_t size, tr_real *mask)
{
    const uint64_t seed = ir_random(
        ir_random(net->seed, (uint64_t)(layer - net->layer)), net->step);
    const uint64_t bound = (uint64_t)(layer->rate * 65536);
    const tr_real kept = (tr_real)(1 / (1 - (double)bound / 65536));
    for (int64_t i = 0; i < size; i += 4) {
        const uint64_t drawn = ir_random(seed, (uint64_t)i);
        for (int64_t k = 0; k < 4 && i + k < size; k++)
            mask[i + k] = (drawn >> 16 * k & 65535) >= bound ? kept : 0;
    }
}

static void forward_dropout(struct tr_net *net, struct tr_layer *layer,
                            const tr_real *x, int64_t n, bool train)
{
    const int64_t size = elements(layer, n);
    tr_real *mask = layer->work[0];
    if (!train) {
        memcpy(layer->y, x, (size_t)size * sizeof(*x));
        return;
    }
    draw_mask(net, layer, size, mask);
    for (int64_t i = 0; i < size; i++)
        layer->y[i] = x[i] * mask[i];
}

static void backward_dropout(struct tr_net *net, struct tr_layer *layer,
                             const tr_real *x, tr_real *dy, tr_real *dx,
                             int64_t n)
{
    (void)net;
    (void)x;
    for (int64_t i = 0; dx && i < elements(layer, n); i++)
        dx[i] = dy[i] * layer->work[0][i];
}

const struct tr_layer_kind tr_kind_dropout = {
    "dropout", "dropout RATE", parse_dropout, shape_same, NULL, forward_dropout,
    backward_dropout, tr_build_nothing};

/* ------------------------------------------------------ flatten, transpose */

static bool shape_flatten(struct tr_layer *layer, struct ir_diag *diag)
{
    (void)diag;
    layer->out = tr_shape_vector(tr_shape_elements(&layer->in));
    return true;
}

static void forward_flatten(struct tr_net *net, struct tr_layer *layer,
                            const tr_real *x, int64_t n, bool train)
{
    (void)net;
    (void)train;
    tr_swap_leads(layer->in.lead, n, layer->in.inner, x, layer->y);
}

static void backward_flatten(struct tr_net *net, struct tr_layer *layer,
                             const tr_real *x, tr_real *dy, tr_real *dx,
                             int64_t n)
{
    (void)net;
    (void)x;
    if (dx)
        tr_swap_leads(n, layer->in.lead, layer->in.inner, dy, dx);
}

const struct tr_layer_kind tr_kind_flatten = {
    "flatten", "flatten", NULL, shape_flatten, NULL, forward_flatten,
    backward_flatten, tr_build_flatten};

/* A series becomes channels, and channels of one dim a series. */
static bool shape_transpose(struct tr_layer *layer, struct ir_diag *diag)
{
    const struct tr_shape *in = &layer->in;
    const int64_t turned[2] = {in->dim[1], in->dim[0]};
    if (in->rank != 2)
        return tr_layer_error(layer, diag,
                              "transpose: its input has %d dims, not 2",
                              in->rank);
    layer->out = in->kind == TR_SERIES
                     ? tr_shape_channels(2, turned)
                     : tr_shape_series(turned[0], turned[1]);
    return true;
}

/* [a][n][b] -> [b][n][a] */
static void turn(int64_t a, int64_t n, int64_t b, const tr_real *x,
                 tr_real *y)
{
    for (int64_t i = 0; i < b; i++)
        for (int64_t r = 0; r < n; r++)
            for (int64_t k = 0; k < a; k++)
                y[(i * n + r) * a + k] = x[(k * n + r) * b + i];
}

static void forward_transpose(struct tr_net *net, struct tr_layer *layer,
                              const tr_real *x, int64_t n, bool train)
{
    (void)net;
    (void)train;
    turn(layer->in.lead, n, layer->in.inner, x, layer->y);
}

static void backward_transpose(struct tr_net *net, struct tr_layer *layer,
                               const tr_real *x, tr_real *dy, tr_real *dx,
                               int64_t n)
{
    (void)net;
    (void)x;
    if (dx)
        turn(layer->out.lead, n, layer->out.inner, dy, dx);
}

const struct tr_layer_kind tr_kind_transpose = {
    "transpose", "transpose", NULL, shape_transpose, NULL, forward_transpose,
    backward_transpose, tr_build_transpose};

/* -------------------------------------------------------------- laststep -- */

/* Of a series its last step, of channels of one dim the last number of each. */
static bool shape_laststep(struct tr_layer *layer, struct ir_diag *diag)
{
    const struct tr_shape *in = &layer->in;
    if (in->rank != 2)
        return tr_layer_error(layer, diag,
                              "laststep: its input %s is no series, nor "
                              "channels of one dim",
                              tr_shape_text(in, &diag->arena));
    layer->out =
        tr_shape_vector(in->kind == TR_SERIES ? in->inner : in->lead);
    return true;
}

/* Where number i of the last step of row r is among n rows. */
static int64_t at_last_step(const struct tr_shape *in, int64_t n, int64_t r,
                            int64_t i)
{
    return in->kind == TR_SERIES
               ? ((in->lead - 1) * n + r) * in->inner + i
               : (i * n + r) * in->inner + in->inner - 1;
}

static void forward_laststep(struct tr_net *net, struct tr_layer *layer,
                             const tr_real *x, int64_t n, bool train)
{
    tr_real *y = layer->y;
    (void)net;
    (void)train;
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = 0; i < layer->out.inner; i++)
            *y++ = x[at_last_step(&layer->in, n, r, i)];
}

static void backward_laststep(struct tr_net *net, struct tr_layer *layer,
                              const tr_real *x, tr_real *dy, tr_real *dx,
                              int64_t n)
{
    (void)net;
    (void)x;
    if (!dx)
        return;
    memset(dx, 0, (size_t)(n * tr_shape_elements(&layer->in)) * sizeof(*dx));
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = 0; i < layer->out.inner; i++)
            dx[at_last_step(&layer->in, n, r, i)] = *dy++;
}

const struct tr_layer_kind tr_kind_laststep = {
    "laststep", "laststep", NULL, shape_laststep, NULL, forward_laststep,
    backward_laststep, tr_build_laststep};

/* ----------------------------------------------------------------- embed -- */

/* The trainer's own first layer: of a vector's numbers the last n_tables are
 * codes, each of which becomes a row of a table. */
static bool shape_embed(struct tr_layer *layer, struct ir_diag *diag)
{
    int64_t n = layer->in.inner - layer->n_tables;
    (void)diag;
    int64_t size = 0;
    for (int t = 0; t < layer->n_tables; t++) {
        n += layer->table_width[t];
        size += layer->table_rows[t] * layer->table_width[t];
    }
    tr_layer_block(layer, size, true, false);
    layer->out = tr_shape_vector(n);
    return true;
}

static void init_embed(const struct tr_layer *layer, tr_real *theta,
                       uint64_t seed)
{
    const struct tr_block *block = &layer->block[0];
    tr_draw_reals(seed, 0.5, block->n, theta + block->first);
}

static void forward_embed(struct tr_net *net, struct tr_layer *layer,
                          const tr_real *x, int64_t n, bool train)
{
    const int64_t in = layer->in.inner, plain = in - layer->n_tables;
    tr_real *y = layer->y;
    (void)train;
    for (int64_t r = 0; r < n; r++, x += in) {
        const tr_real *table = param(net, layer, 0);
        memcpy(y, x, (size_t)plain * sizeof(*y));
        y += plain;
        for (int t = 0; t < layer->n_tables; t++) {
            const int64_t width = layer->table_width[t];
            memcpy(y, table + (int64_t)x[plain + t] * width,
                   (size_t)width * sizeof(*y));
            y += width;
            table += layer->table_rows[t] * width;
        }
    }
}

static void backward_embed(struct tr_net *net, struct tr_layer *layer,
                           const tr_real *x, tr_real *dy, tr_real *dx,
                           int64_t n)
{
    const int64_t in = layer->in.inner, plain = in - layer->n_tables;
    const struct tr_block *block = &layer->block[0];
    memset(net->grad + block->first, 0, (size_t)block->n * sizeof(*dy));
    for (int64_t r = 0; r < n; r++, x += in) {
        tr_real *table = gradient(net, layer, 0);
        if (dx) {
            memcpy(dx + r * in, dy, (size_t)plain * sizeof(*dx));
            memset(dx + r * in + plain, 0,
                   (size_t)layer->n_tables * sizeof(*dx));
        }
        dy += plain;
        for (int t = 0; t < layer->n_tables; t++) {
            const int64_t width = layer->table_width[t];
            tr_real *to = table + (int64_t)x[plain + t] * width;
            for (int64_t k = 0; k < width; k++)
                to[k] += dy[k];
            dy += width;
            table += layer->table_rows[t] * width;
        }
    }
}

const struct tr_layer_kind tr_kind_embed = {
    "embed", "", NULL, shape_embed, init_embed, forward_embed, backward_embed,
    tr_build_embed};

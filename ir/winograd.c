/* winograd.c: a conv by Winograd's way, with fewer multiplications: what its
 * attribute `winograd` may say, and what such a conv computes.
 *
 * Along a dim, `tile` windows side by side with `taps` taps read tile + taps -
 * 1 numbers, and are the coefficients of a product of polynomials. That product
 * is taken at as many points, where it is one multiplication each:
 *
 *   4 points  0, 1, -1, infinity
 *   6 points  0, r, -r, 2r, -2r, infinity, with r the f32 next to sqrt(1/2)
 *
 * So the squares are 1, or 1/2 and 2, and their product is 1: numbers stay near
 * those that they are made of, and so does the error (docs/decisions.md has
 * figures; the usual points 1 and 2 make three times as much of it). Points of
 * opposite signs share what is even and what is odd. Along two dims it is done
 * along one and then along the other.
 *
 * Every step is one operation of f32, or a multiply-add, in the order written
 * here; only the weights at the points are made in f64, and rounded once. What
 * is compiled has these bits. An infinity or a NaN among a tile's numbers gets
 * to all of its windows. */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const float ir_winograd_root[IR_WINOGRAD_PAIRS] = {0x1.6a09e6p-1f,
                                                   0x1.6a09e6p+0f};
const float ir_winograd_other[IR_WINOGRAD_PAIRS] = {2, 0.5f};

/* -------------------------------------------------------------------- rules */

static bool is_tile(int64_t tile, int64_t taps)
{
    if (taps == 1 || tile == 1)
        return taps == 1 && tile == 1;
    return tile > 0 && (tile + taps == 5 || tile + taps == 7);
}

const char *ir_winograd_obstacle(const struct ir_op *op)
{
    const struct ir_tensor *weights = ir_attr_tensor(op, "weights");
    struct ir_window w;
    if (op->operand[0]->type.dtype != IR_F32 || weights->type.dtype != IR_F32)
        return "it is not of f32";
    if (ir_attr_int(op, "groups") != 1)
        return "it has groups";
    ir_window_view(op, &w);
    if (op->operand[0]->type.rank > 3)
        return "it moves along three dims";
    for (int i = 1; i < IR_MAX_SPACE; i++)
        if (w.dim[i].stride != 1 || w.dim[i].dilation != 1 ||
            w.dim[i].spread != 1)
            return "it has strides or dilations";
    return NULL;
}

bool ir_check_winograd(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, "winograd");
    const int n = op->operand[0]->type.rank - 1;
    bool any = false;
    struct ir_window w;
    if (!t)
        return true;
    const char *obstacle = ir_winograd_obstacle(op);
    if (obstacle)
        return ir_op_error(op, diag, "winograd, but %s", obstacle);
    if (!ir_check_ints(op, "winograd", n, 1, 5, diag))
        return false;
    ir_window_view(op, &w);
    for (int i = 0; i < n; i++) {
        const int64_t tile = ((const int64_t *)t->data)[i];
        const int64_t taps = w.dim[IR_MAX_SPACE - n + i].kernel;
        if (!is_tile(tile, taps))
            return ir_op_error(op, diag, "winograd has a tile of %lld along "
                               "dim %d, where there are %lld taps (together "
                               "they are 5 or 7, or 1 and 1)", (long long)tile,
                               i, (long long)taps);
        any = any || tile > 1;
    }
    return any || ir_op_error(op, diag, "winograd of one tap");
}

void ir_winograd_view(const struct ir_op *op, struct ir_winograd *g)
{
    const struct ir_tensor *t = ir_attr_tensor(op, "winograd");
    const int n = op->operand[0]->type.rank - 1;
    struct ir_window w;
    ir_window_view(op, &w);
    *g = (struct ir_winograd){.channels = w.channels,
                              .results =
                                  ir_attr_tensor(op, "weights")->type.dim[0]};
    for (int i = 0; i < 2; i++) {
        struct ir_winograd_dim *d = &g->dim[i];
        const int at = i - (2 - n);
        d->window = w.dim[i + 1];
        d->tile = at < 0 ? 1 : (int)((const int64_t *)t->data)[at];
        d->points = d->tile + (int)d->window.kernel - 1;
        d->tiles = (d->window.out + d->tile - 1) / d->tile;
    }
    g->positions = g->dim[0].points * g->dim[1].points;
}

/* ------------------------------------------------------------------ weights */

/* factor[j][k]: how much of tap k there is at point j. */
static void weight_factors(const struct ir_winograd_dim *d,
                           double factor[IR_WINOGRAD_POINTS]
                                        [IR_WINOGRAD_POINTS])
{
    const int last = d->points - 1, taps = (int)d->window.kernel;
    memset(factor, 0,
           IR_WINOGRAD_POINTS * IR_WINOGRAD_POINTS * sizeof(double));
    factor[0][0] = 1;
    factor[last][taps - 1] = 1;
    for (int j = 1; j < last; j++) {
        const int pair = (j - 1) / 2;
        const double square = last == 3 ? 1 : pair ? 2 : 0.5;
        const double other = last == 3 ? 0 : pair ? 0.5 : 2;
        const double point = (j % 2 ? 1 : -1) * sqrt(square);
        /* The product of the differences to all other points. */
        const double scale =
            last == 3 ? 2 : 2 * square * (square - other);
        for (int k = 0; k < taps; k++)
            factor[j][k] = pow(point, k) / scale;
    }
}

float *ir_winograd_weights(const struct ir_op *op)
{
    struct ir_winograd g;
    double factor[2][IR_WINOGRAD_POINTS][IR_WINOGRAD_POINTS];
    ir_winograd_view(op, &g);
    const float *w = ir_attr_tensor(op, "weights")->data;
    const int64_t n = g.channels * g.results;
    const int n0 = (int)g.dim[0].window.kernel;
    const int n1 = (int)g.dim[1].window.kernel;
    const int p1 = g.dim[1].points;
    float *to = ir_realloc_array(NULL, (size_t)(n * g.positions), sizeof(*to));
    for (int i = 0; i < 2; i++)
        weight_factors(&g.dim[i], factor[i]);
    for (int64_t m = 0; m < g.results; m++)
        for (int64_t c = 0; c < g.channels; c++, w += n0 * n1) {
            double half[IR_WINOGRAD_POINTS][IR_WINOGRAD_POINTS] = {{0}};
            for (int i = 0; i < n0; i++)
                for (int j = 0; j < p1; j++)
                    for (int k = 0; k < n1; k++)
                        half[i][j] += factor[1][j][k] * (double)w[i * n1 + k];
            for (int p = 0; p < g.positions; p++) {
                double sum = 0;
                for (int i = 0; i < n0; i++)
                    sum += factor[0][p / p1][i] * half[i][p % p1];
                to[((int64_t)p * g.channels + c) * g.results + m] = (float)sum;
            }
        }
    return to;
}

/* ------------------------------------------------------------------ meaning */

/* Numbers side by side become what they are at the points: of each of `count`
 * columns, those `step` apart. */
static void to_points(int points, float *at, int64_t step, int64_t count)
{
    const int last = points - 1;
    for (int64_t i = 0; i < count && points > 1; i++) {
        float d[IR_WINOGRAD_POINTS] = {0}, v[IR_WINOGRAD_POINTS];
        for (int k = 0; k < points; k++)
            d[k] = at[k * step + i];
        if (points == 4) {
            v[0] = d[0] - d[2];
            v[1] = d[2] + d[1];
            v[2] = d[2] - d[1];
            v[last] = d[3] - d[1];
        } else {
            v[0] = fmaf(-2.5f, d[2], d[0] + d[4]);
            for (int k = 0; k < 2; k++) {
                const float other = ir_winograd_other[k];
                const float even = fmaf(-other, d[2], d[4]);
                const float odd = fmaf(-other, d[1], d[3]);
                v[1 + 2 * k] = fmaf(ir_winograd_root[k], odd, even);
                v[2 + 2 * k] = fmaf(-ir_winograd_root[k], odd, even);
            }
            v[last] = fmaf(-2.5f, d[3], d[1] + d[5]);
        }
        for (int k = 0; k < points; k++)
            at[k * step + i] = v[k];
    }
}

float ir_winograd_power(int points, int pair, int n)
{
    const float square = points == 4 ? 1 : pair ? 2 : 0.5f;
    float power = n % 2 && points > 4 ? ir_winograd_root[pair] : 1;
    for (int i = 0; i < n / 2; i++)
        power *= square;
    return power;
}

/* The way back: products at the points become the windows' sums. */
static void from_points(const struct ir_winograd_dim *dim, float *at,
                        int64_t step, int64_t count)
{
    const int points = dim->points, pairs = (points - 2) / 2;
    float power[2][IR_WINOGRAD_POINTS];
    for (int o = 0; o < 2 * dim->tile; o++)
        power[o % 2][o / 2] = ir_winograd_power(points, o % 2, o / 2);
    for (int64_t i = 0; i < count && points > 1; i++) {
        float m[IR_WINOGRAD_POINTS], same[2] = {0}, apart[2] = {0};
        for (int k = 0; k < points; k++)
            m[k] = at[k * step + i];
        for (int k = 0; k < pairs; k++) {
            same[k] = m[1 + 2 * k] + m[2 + 2 * k];
            apart[k] = m[1 + 2 * k] - m[2 + 2 * k];
        }
        for (int o = 0; o < dim->tile; o++) {
            const float *of = o % 2 ? apart : same;
            float sum;
            if (o == 0)
                sum = m[0] + of[0];
            else if (o == dim->tile - 1)
                sum = fmaf(power[0][o], of[0], m[points - 1]);
            else
                sum = power[0][o] * of[0];
            if (pairs > 1)
                sum = fmaf(power[1][o], of[1], sum);
            at[o * step + i] = sum;
        }
    }
}

/* The numbers that a tile reads, [points][points][channels], +0 outside. */
static void read_tile(const struct ir_winograd *g, int64_t t0, int64_t t1,
                      const float *x, float *to)
{
    const struct ir_winograd_dim *d = g->dim;
    const int64_t in0 = d[0].window.in, in1 = d[1].window.in;
    for (int i = 0; i < d[0].points; i++)
        for (int j = 0; j < d[1].points; j++) {
            const int64_t at0 = t0 * d[0].tile + i - d[0].window.before;
            const int64_t at1 = t1 * d[1].tile + j - d[1].window.before;
            const bool inside =
                at0 >= 0 && at0 < in0 && at1 >= 0 && at1 < in1;
            for (int64_t c = 0; c < g->channels; c++)
                *to++ = inside ? x[(c * in0 + at0) * in1 + at1] : 0;
        }
}

static void write_tile(const struct ir_winograd *g, int64_t t0, int64_t t1,
                       const float *sum, const float *bias, float *y)
{
    const struct ir_winograd_dim *d = g->dim;
    const int64_t out0 = d[0].window.out, out1 = d[1].window.out;
    for (int i = 0; i < d[0].tile; i++)
        for (int j = 0; j < d[1].tile; j++) {
            const int64_t o0 = t0 * d[0].tile + i, o1 = t1 * d[1].tile + j;
            const float *from = sum + (i * d[1].points + j) * g->results;
            for (int64_t m = 0; m < g->results && o0 < out0 && o1 < out1; m++)
                y[(m * out0 + o0) * out1 + o1] =
                    bias ? from[m] + bias[m] : from[m];
        }
}

static void eval_tile(const struct ir_winograd *g, const float *weights,
                      float *v, float *sum)
{
    const struct ir_winograd_dim *d = g->dim;
    const int64_t row = d[1].points * g->channels;
    const int64_t sums = d[1].points * g->results;
    for (int i = 0; i < d[0].points; i++)
        to_points(d[1].points, v + i * row, g->channels, g->channels);
    to_points(d[0].points, v, row, row);
    memset(sum, 0, (size_t)(g->positions * g->results) * sizeof(*sum));
    for (int p = 0; p < g->positions; p++)
        for (int64_t c = 0; c < g->channels; c++, weights += g->results)
            ir_add_row(g->results, *v++, weights, sum + p * g->results);
    from_points(&d[0], sum, sums, sums);
    for (int i = 0; i < d[0].tile; i++)
        from_points(&d[1], sum + i * sums, g->results, g->results);
}

void ir_eval_winograd(const struct ir_op *op, const void *x, void *y)
{
    struct ir_winograd g;
    ir_winograd_view(op, &g);
    const struct ir_tensor *bias = ir_attr_tensor(op, "bias");
    const size_t each = (size_t)(g.channels + g.results);
    float *weights = ir_winograd_weights(op);
    float *v = ir_realloc_array(NULL, (size_t)g.positions * each, sizeof(*v));
    float *sum = v + g.positions * g.channels;
    for (int64_t t0 = 0; t0 < g.dim[0].tiles; t0++)
        for (int64_t t1 = 0; t1 < g.dim[1].tiles; t1++) {
            read_tile(&g, t0, t1, x, v);
            eval_tile(&g, weights, v, sum);
            write_tile(&g, t0, t1, sum, bias ? bias->data : NULL, y);
        }
    free(v);
    free(weights);
}

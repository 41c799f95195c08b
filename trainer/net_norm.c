/* net_norm.c: batch normalisation (Ioffe and Szegedy 2015). A feature is a
 * channel, or a number of a vector or of each step of a series. While training
 * it is brought to mean 0 and variance 1 over the batch, else by the running
 * statistics; then scaled and shifted by what is learned. After training it is
 * one product and one sum, which net_export.c puts into the weights before it.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOMENTUM 0.1 /* of the newest batch in running statistics */

enum { SCALE, SHIFT, MEAN, VARIANCE };     /* blocks */
enum { CENTRED, INVERSE, SUM, PRODUCT };   /* work */

static int64_t n_features(const struct tr_layer *layer)
{
    return layer->in.kind == TR_CHANNELS ? layer->in.lead : layer->in.inner;
}

static bool shape_norm(struct tr_layer *layer, struct ir_diag *diag)
{
    const int64_t n = n_features(layer);
    (void)diag;
    layer->out = layer->in;
    tr_layer_block(layer, n, true, false);
    tr_layer_block(layer, n, true, false);
    tr_layer_block(layer, n, false, false);
    tr_layer_block(layer, n, false, false);
    tr_layer_work(layer, tr_shape_elements(&layer->in));
    for (int k = 0; k < 3; k++)
        tr_layer_work(layer, n);
    return true;
}

static void init_norm(const struct tr_layer *layer, tr_real *theta,
                      uint64_t seed)
{
    (void)seed;
    for (int64_t i = 0; i < layer->block[SCALE].n; i++) {
        theta[layer->block[SCALE].first + i] = 1;
        theta[layer->block[VARIANCE].first + i] = 1;
    }
}

/* The sum of a[i] * b[i], in eight parts that are added up in f64. */
static tr_real dot(int64_t n, const tr_real *a, const tr_real *b)
{
    double total = 0;
    for (int64_t first = 0; first < n; first += 1024) {
        const int64_t end = n - first < 1024 ? n : first + 1024;
        tr_real part[8] = {0};
        int64_t i = first;
        for (; i + 8 <= end; i += 8)
            for (int k = 0; k < 8; k++)
                part[k] += a[i + k] * b[i + k];
        for (; i < end; i++)
            part[0] += a[i] * b[i];
        for (int k = 0; k < 8; k++)
            total += (double)part[k];
    }
    return (tr_real)total;
}

static tr_real sum_of(int64_t n, const tr_real *a)
{
    double total = 0;
    for (int64_t first = 0; first < n; first += 1024) {
        const int64_t end = n - first < 1024 ? n : first + 1024;
        tr_real part[8] = {0};
        int64_t i = first;
        for (; i + 8 <= end; i += 8)
            for (int k = 0; k < 8; k++)
                part[k] += a[i + k];
        for (; i < end; i++)
            part[0] += a[i];
        for (int k = 0; k < 8; k++)
            total += (double)part[k];
    }
    return (tr_real)total;
}

/* For each feature the sum of a * b over the batch; b NULL: of a. */
static void feature_sums(const struct tr_layer *layer, int64_t n,
                         const tr_real *a, const tr_real *b, tr_real *sum)
{
    const int64_t features = n_features(layer);
    if (layer->in.kind == TR_CHANNELS) {
        const int64_t each = n * layer->in.inner;
        for (int64_t f = 0; f < features; f++)
            sum[f] = b ? dot(each, a + f * each, b + f * each)
                       : sum_of(each, a + f * each);
        return;
    }
    const int64_t rows = n * layer->in.lead;
    if (!b) {
        tr_column_sums(rows, features, a, sum);
        return;
    }
    memset(sum, 0, (size_t)features * sizeof(*sum));
    for (int64_t r = 0; r < rows; r++, a += features, b += features)
        for (int64_t f = 0; f < features; f++)
            sum[f] += a[f] * b[f];
}

/* y = scale[f] * x + shift[f] of each feature. y may be x. */
static void feature_affine(const struct tr_layer *layer, int64_t n,
                           const tr_real *x, const tr_real *scale,
                           const tr_real *shift, tr_real *y)
{
    const int64_t features = n_features(layer);
    if (layer->in.kind == TR_CHANNELS) {
        const int64_t each = n * layer->in.inner;
        for (int64_t f = 0; f < features; f++, x += each, y += each) {
            const tr_real a = scale[f], b = shift[f];
            for (int64_t i = 0; i < each; i++)
                y[i] = a * x[i] + b;
        }
        return;
    }
    const int64_t rows = n * layer->in.lead;
    for (int64_t r = 0; r < rows; r++, x += features, y += features)
        for (int64_t f = 0; f < features; f++)
            y[f] = scale[f] * x[f] + shift[f];
}

static void forward_running(struct tr_net *net, struct tr_layer *layer,
                            const tr_real *x, int64_t n)
{
    const tr_real *theta = net->theta;
    tr_real *scale = layer->work[SUM], *shift = layer->work[PRODUCT];
    tr_norm_affine(layer, theta, scale, shift);
    feature_affine(layer, n, x, scale, shift, layer->y);
}

void tr_norm_affine(const struct tr_layer *layer, const tr_real *theta,
                    tr_real *scale, tr_real *shift)
{
    for (int64_t f = 0; f < layer->block[SCALE].n; f++) {
        const double variance =
            (double)theta[layer->block[VARIANCE].first + f];
        const double a = (double)theta[layer->block[SCALE].first + f] /
                         sqrt(variance + TR_NORM_EPSILON);
        const double mean = (double)theta[layer->block[MEAN].first + f];
        scale[f] = (tr_real)a;
        shift[f] = (tr_real)((double)theta[layer->block[SHIFT].first + f] -
                             a * mean);
    }
}

static void forward_norm(struct tr_net *net, struct tr_layer *layer,
                         const tr_real *x, int64_t n, bool train)
{
    const int64_t features = n_features(layer);
    const double m = (double)(n * (tr_shape_elements(&layer->in) / features));
    if (!train) {
        forward_running(net, layer, x, n);
        return;
    }
    tr_real *centred = layer->work[CENTRED], *inverse = layer->work[INVERSE];
    tr_real *sum = layer->work[SUM], *shift = layer->work[PRODUCT];
    tr_real *mean = net->theta + layer->block[MEAN].first;
    tr_real *variance = net->theta + layer->block[VARIANCE].first;
    feature_sums(layer, n, x, NULL, sum);
    for (int64_t f = 0; f < features; f++) {
        inverse[f] = 1;
        shift[f] = (tr_real)(-(double)sum[f] / m);
        mean[f] += (tr_real)MOMENTUM * (-shift[f] - mean[f]);
    }
    feature_affine(layer, n, x, inverse, shift, centred);
    feature_sums(layer, n, centred, centred, sum);
    for (int64_t f = 0; f < features; f++) {
        /* Of the batch itself; running ones are those of all rows. */
        const double own = (double)sum[f] / m;
        const double all = m > 1 ? (double)sum[f] / (m - 1) : own;
        inverse[f] = (tr_real)(1 / sqrt(own + TR_NORM_EPSILON));
        variance[f] += (tr_real)(MOMENTUM * (all - (double)variance[f]));
        shift[f] = 0;
    }
    feature_affine(layer, n, centred, inverse, shift, centred);
    feature_affine(layer, n, centred,
                   net->theta + layer->block[SCALE].first,
                   net->theta + layer->block[SHIFT].first, layer->y);
}

/* dx = scale * inverse * (dy - mean(dy) - z * mean(dy * z)), where z is what
 * was scaled. */
static void backward_norm(struct tr_net *net, struct tr_layer *layer,
                          const tr_real *x, tr_real *dy, tr_real *dx,
                          int64_t n)
{
    const int64_t features = n_features(layer);
    const int64_t size = n * tr_shape_elements(&layer->in);
    const tr_real m = (tr_real)(size / features);
    tr_real *z = layer->work[CENTRED], *inverse = layer->work[INVERSE];
    tr_real *a = layer->work[SUM], *b = layer->work[PRODUCT];
    tr_real *d_scale = net->grad + layer->block[SCALE].first;
    tr_real *d_shift = net->grad + layer->block[SHIFT].first;
    const tr_real *scale = net->theta + layer->block[SCALE].first;
    (void)x;
    feature_sums(layer, n, dy, NULL, d_shift);
    feature_sums(layer, n, dy, z, d_scale);
    if (!dx)
        return;
    for (int64_t f = 0; f < features; f++) {
        a[f] = -d_scale[f] / m;
        b[f] = -d_shift[f] / m;
    }
    feature_affine(layer, n, z, a, b, z);
    for (int64_t i = 0; i < size; i++)
        z[i] += dy[i];
    for (int64_t f = 0; f < features; f++) {
        a[f] = scale[f] * inverse[f];
        b[f] = 0;
    }
    feature_affine(layer, n, z, a, b, dx);
}

const struct tr_layer_kind tr_kind_batchnorm = {
    "batchnorm", "batchnorm", NULL, shape_norm, init_norm, forward_norm,
    backward_norm, tr_build_norm};

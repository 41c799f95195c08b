/* net_conv.c: convolutions and pools over channels of one or two dims.
 *
 * All images of a channel lie side by side, so a convolution of a batch is one
 * product: weights [M][C k] times columns [C k][pixels], where the columns hold
 * for each element of the kernel the pixels that it meets. They are written for
 * as many images at a time as fit COLUMN_ELEMENTS, which stays in the cache,
 * and again for the weights' gradients, which is faster than keeping them. One
 * dim is two of which the first is 1.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_KERNEL 1024
#define COLUMN_ELEMENTS (INT64_C(1) << 17) /* 512 KB */

/* What the loops go by: sizes of an image before and after. */
struct plane {
    int64_t in[2], out[2];
};

static struct plane plane_of(const struct tr_layer *layer)
{
    const struct tr_shape *in = &layer->in, *out = &layer->out;
    struct plane p = {{1, in->dim[1]}, {1, out->dim[1]}};
    if (in->rank == 3)
        p = (struct plane){{in->dim[1], in->dim[2]},
                           {out->dim[1], out->dim[2]}};
    return p;
}

static int64_t kernel_size(const struct tr_layer *layer)
{
    return layer->kernel[0] * layer->kernel[1];
}

/* --------------------------------------------------------------- reading -- */

static void set_pairs(struct tr_layer *layer)
{
    for (int i = 0; i < 2; i++)
        layer->stride[i] = layer->dilation[i] = 1;
    layer->groups = 1;
}

static bool read_padding(struct tr_words *words, struct tr_layer *layer)
{
    if (tr_words_take(words, "same")) {
        layer->same = true;
        return true;
    }
    if (tr_words_take(words, "causal")) {
        layer->causal = true;
        return true;
    }
    if (!tr_words_pair(words, "padding", 0, MAX_KERNEL, layer->before))
        return false;
    memcpy(layer->after, layer->before, sizeof(layer->after));
    return true;
}

static bool parse_conv(struct tr_words *words, struct tr_layer *layer)
{
    set_pairs(layer);
    if (!tr_words_int(words, "number of channels", 1, 1 << 16,
                      &layer->units) ||
        !tr_words_pair(words, "kernel", 1, MAX_KERNEL, layer->kernel))
        return false;
    for (;;) {
        bool good;
        if (tr_words_take(words, "stride"))
            good = tr_words_pair(words, "stride", 1, MAX_KERNEL,
                                 layer->stride);
        else if (tr_words_take(words, "dilation"))
            good = tr_words_pair(words, "dilation", 1, MAX_KERNEL,
                                 layer->dilation);
        else if (tr_words_take(words, "groups"))
            good = tr_words_int(words, "groups", 1, 1 << 16, &layer->groups);
        else if (tr_words_take(words, "pad"))
            good = read_padding(words, layer);
        else
            return true;
        if (!good)
            return false;
    }
}

static bool parse_pool(struct tr_words *words, struct tr_layer *layer)
{
    set_pairs(layer);
    layer->global = tr_words_take(words, "global");
    if (layer->global)
        return true;
    if (!tr_words_pair(words, "kernel", 1, MAX_KERNEL, layer->kernel))
        return false;
    memcpy(layer->stride, layer->kernel, sizeof(layer->stride));
    for (;;) {
        bool good;
        if (tr_words_take(words, "stride"))
            good = tr_words_pair(words, "stride", 1, MAX_KERNEL,
                                 layer->stride);
        else if (tr_words_take(words, "pad"))
            good = read_padding(words, layer);
        else
            return true;
        if (!good)
            return false;
    }
}

/* ---------------------------------------------------------------- shapes -- */

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Sets the padding of one dim and returns how many windows there are; less
 * than 1 when the kernel is too large. */
static int64_t count_windows(struct tr_layer *layer, int i, int64_t in)
{
    const int64_t reach = layer->dilation[i] * (layer->kernel[i] - 1) + 1;
    if (layer->same) {
        const int64_t out = divide_up(in, layer->stride[i]);
        const int64_t need = (out - 1) * layer->stride[i] + reach - in;
        const int64_t pad = need > 0 ? need : 0;
        layer->before[i] = pad / 2;
        layer->after[i] = pad - pad / 2;
    }
    if (layer->causal)
        layer->before[i] = reach - 1;
    const int64_t room = in + layer->before[i] + layer->after[i] - reach;
    return room < 0 ? 0 : room / layer->stride[i] + 1;
}

/* One dim has a kernel of one number: it counts across. */
static void fold_pairs(struct tr_layer *layer)
{
    layer->kernel[0] = layer->stride[0] = layer->dilation[0] = 1;
    layer->before[0] = layer->after[0] = 0;
}

static bool check_channels(struct tr_layer *layer, struct ir_diag *diag)
{
    if (layer->in.kind == TR_CHANNELS)
        return true;
    const char *kind = layer->kind->name;
    if (layer->in.kind == TR_SERIES)
        return tr_layer_error(layer, diag,
                              "%s: it goes over channels, and its input is "
                              "the series %s (transpose makes channels)", kind,
                              tr_shape_text(&layer->in, &diag->arena));
    return tr_layer_error(layer, diag,
                          "%s: it goes over channels, as 1x28x28, and its "
                          "input is %s numbers (see input_shape)", kind,
                          tr_shape_text(&layer->in, &diag->arena));
}

static bool shape_windows(struct tr_layer *layer, int64_t channels,
                          struct ir_diag *diag)
{
    const struct tr_shape *in = &layer->in;
    const bool flat = in->rank == 2;
    if (flat && layer->kernel[0] != layer->kernel[1])
        return tr_layer_error(layer, diag,
                              "%s: a kernel of two dims over the channels %s "
                              "of one", layer->kind->name,
                              tr_shape_text(in, &diag->arena));
    if (layer->causal && !flat)
        return tr_layer_error(layer, diag,
                              "%s: pad causal is along time, the one dim of "
                              "channels such as 3x24, and its input is %s",
                              layer->kind->name,
                              tr_shape_text(in, &diag->arena));
    if (flat)
        fold_pairs(layer);
    int64_t dim[3] = {channels};
    for (int i = flat; i < 2; i++) {
        const int64_t n = count_windows(layer, i, in->dim[1 + i - flat]);
        if (n < 1)
            return tr_layer_error(layer, diag,
                                  "%s: the kernel is larger than its input %s",
                                  layer->kind->name,
                                  tr_shape_text(in, &diag->arena));
        dim[1 + i - flat] = n;
    }
    layer->out = tr_shape_channels(in->rank, dim);
    return true;
}

/* The columns of one image have room. */
static bool check_columns(struct tr_layer *layer, struct ir_diag *diag)
{
    const double n = (double)(layer->in.lead / layer->groups) *
                     (double)kernel_size(layer) * (double)layer->out.inner;
    return n <= (double)TR_MAX_BATCH_ELEMENTS ||
           tr_layer_error(layer, diag,
                          "conv: the windows of a row have %.0f elements (the "
                          "limit is %lld)", n,
                          (long long)TR_MAX_BATCH_ELEMENTS);
}

static bool shape_conv(struct tr_layer *layer, struct ir_diag *diag)
{
    const int64_t groups = layer->groups;
    if (!check_channels(layer, diag))
        return false;
    if (layer->in.lead % groups || layer->units % groups)
        return tr_layer_error(layer, diag,
                              "conv: %lld groups do not divide its %lld "
                              "channels and the %lld of its input",
                              (long long)groups, (long long)layer->units,
                              (long long)layer->in.lead);
    if (!shape_windows(layer, layer->units, diag) ||
        !check_columns(layer, diag))
        return false;
    tr_layer_block(layer, layer->units * (layer->in.lead / groups) *
                   kernel_size(layer), true, true);
    tr_layer_block(layer, layer->units, true, false);
    return true;
}

static bool shape_pool(struct tr_layer *layer, struct ir_diag *diag)
{
    const struct tr_shape *in = &layer->in;
    if (!check_channels(layer, diag))
        return false;
    if (layer->global) {
        for (int i = 0; i < 2; i++)
            layer->kernel[i] = layer->stride[i] = in->dim[in->rank - 2 + i];
        if (in->rank == 2)
            layer->kernel[0] = layer->kernel[1];
    }
    if (!shape_windows(layer, in->lead, diag))
        return false;
    for (int i = 0; i < 2; i++)
        if (layer->before[i] >= layer->kernel[i] ||
            layer->after[i] >= layer->kernel[i])
            return tr_layer_error(layer, diag,
                                  "%s: the padding is as large as the kernel",
                                  layer->kind->name);
    if (layer->kind == &tr_kind_maxpool) /* where the largest was */
        tr_layer_work(layer, tr_shape_elements(&layer->out));
    return true;
}

/* --------------------------------------------------------------- columns -- */

/* Elements of the columns of one image, of one group. */
static int64_t image_columns(const struct tr_layer *layer)
{
    return layer->in.lead / layer->groups * kernel_size(layer) *
           layer->out.inner;
}

static int64_t images_at_a_time(const struct tr_layer *layer)
{
    const int64_t n = COLUMN_ELEMENTS / image_columns(layer);
    return n > 0 ? n : 1;
}

int64_t tr_conv_columns(const struct tr_layer *layer)
{
    if (layer->kind != &tr_kind_conv)
        return 0;
    return images_at_a_time(layer) * image_columns(layer);
}

/* Of a window's element that is `offset` from its first: the outputs
 * [first, end) for which it lies within [0, in). */
static void inside(int64_t offset, int64_t stride, int64_t in, int64_t out,
                   int64_t *first, int64_t *end)
{
    int64_t from = offset < 0 ? divide_up(-offset, stride) : 0;
    int64_t to = in - offset <= 0 ? 0 : divide_up(in - offset, stride);
    *end = to > out ? out : to;
    *first = from > *end ? *end : from;
}

/* One element of the kernel over one image: out pixels of its column. */
static void write_column(const struct tr_layer *layer, const struct plane *p,
                         int64_t ky, int64_t kx, const tr_real *image,
                         tr_real *column)
{
    const int64_t oy = ky * layer->dilation[0] - layer->before[0];
    const int64_t ox = kx * layer->dilation[1] - layer->before[1];
    const int64_t width = p->out[1], stride = layer->stride[1];
    int64_t y0, y1, x0, x1;
    inside(oy, layer->stride[0], p->in[0], p->out[0], &y0, &y1);
    inside(ox, stride, p->in[1], width, &x0, &x1);
    memset(column, 0, (size_t)(y0 * width) * sizeof(*column));
    memset(column + y1 * width, 0,
           (size_t)((p->out[0] - y1) * width) * sizeof(*column));
    for (int64_t y = y0; y < y1; y++) {
        const tr_real *from =
            image + (y * layer->stride[0] + oy) * p->in[1] + ox;
        tr_real *to = column + y * width;
        for (int64_t x = 0; x < x0; x++)
            to[x] = 0;
        if (stride == 1)
            memcpy(to + x0, from + x0, (size_t)(x1 - x0) * sizeof(*to));
        else
            for (int64_t x = x0; x < x1; x++)
                to[x] = from[x * stride];
        for (int64_t x = x1; x < width; x++)
            to[x] = 0;
    }
}

/* The other way: adds a column to the image. */
static void add_column(const struct tr_layer *layer, const struct plane *p,
                       int64_t ky, int64_t kx, const tr_real *column,
                       tr_real *image)
{
    const int64_t oy = ky * layer->dilation[0] - layer->before[0];
    const int64_t ox = kx * layer->dilation[1] - layer->before[1];
    const int64_t stride = layer->stride[1];
    int64_t y0, y1, x0, x1;
    inside(oy, layer->stride[0], p->in[0], p->out[0], &y0, &y1);
    inside(ox, stride, p->in[1], p->out[1], &x0, &x1);
    for (int64_t y = y0; y < y1; y++) {
        tr_real *to = image + (y * layer->stride[0] + oy) * p->in[1] + ox;
        const tr_real *from = column + y * p->out[1];
        if (stride == 1)
            for (int64_t x = x0; x < x1; x++)
                to[x] += from[x];
        else
            for (int64_t x = x0; x < x1; x++)
                to[x * stride] += from[x];
    }
}

/* A group's part of a batch: some images of it. */
struct part {
    int64_t group, first, n; /* images */
    int64_t rows;            /* of the columns: C / groups * kernel */
    int64_t pixels;          /* n * out.inner */
};

/* Walks over all columns of a part. */
static void go_over(const struct tr_layer *layer, const struct part *part,
                    int64_t n_images, const tr_real *x, tr_real *columns,
                    tr_real *dx)
{
    const struct plane p = plane_of(layer);
    const int64_t channels = layer->in.lead / layer->groups;
    const int64_t size = layer->in.inner;
    for (int64_t c = 0; c < channels; c++) {
        const int64_t at =
            ((part->group * channels + c) * n_images + part->first) * size;
        for (int64_t ky = 0; ky < layer->kernel[0]; ky++)
            for (int64_t kx = 0; kx < layer->kernel[1]; kx++)
                for (int64_t i = 0; i < part->n; i++) {
                    if (dx)
                        add_column(layer, &p, ky, kx, columns,
                                   dx + at + i * size);
                    else
                        write_column(layer, &p, ky, kx, x + at + i * size,
                                     columns);
                    columns += layer->out.inner;
                }
    }
}

/* The next part of n images; false after the last one. */
static bool next_part(const struct tr_layer *layer, int64_t n,
                      struct part *part)
{
    part->first += part->n;
    if (part->first == n) {
        part->first = 0;
        if (++part->group == layer->groups)
            return false;
    }
    const int64_t left = n - part->first, most = images_at_a_time(layer);
    part->n = left < most ? left : most;
    part->rows = layer->in.lead / layer->groups * kernel_size(layer);
    part->pixels = part->n * layer->out.inner;
    return true;
}

/* ------------------------------------------------------------------ conv -- */

static void init_conv(const struct tr_layer *layer, tr_real *theta,
                      uint64_t seed)
{
    const struct tr_block *w = &layer->block[0];
    tr_draw_reals(seed,
                  tr_init_reach(layer->in.lead / layer->groups *
                                kernel_size(layer)),
                  w->n, theta + w->first);
}

static void forward_conv(struct tr_net *net, struct tr_layer *layer,
                         const tr_real *x, int64_t n, bool train)
{
    const tr_real *weights = net->theta + layer->block[0].first;
    const tr_real *bias = net->theta + layer->block[1].first;
    const int64_t outs = layer->units / layer->groups;
    const int64_t each = n * layer->out.inner;
    (void)train;
    for (int64_t m = 0; m < layer->units; m++)
        for (int64_t i = 0; i < each; i++)
            layer->y[m * each + i] = bias[m];
    for (struct part p = {.group = -1, .first = n}; next_part(layer, n, &p);) {
        tr_real *y = layer->y + p.group * outs * each +
                     p.first * layer->out.inner;
        go_over(layer, &p, n, x, net->columns, NULL);
        tr_gemm(net, false, false, outs, p.pixels, p.rows,
                weights + p.group * outs * p.rows, p.rows, net->columns,
                p.pixels, 1, y, each);
    }
}

static void sum_channels(int64_t channels, int64_t n, const tr_real *dy,
                         tr_real *sum)
{
    for (int64_t m = 0; m < channels; m++, dy += n) {
        tr_real part[8] = {0};
        int64_t i = 0;
        for (; i + 8 <= n; i += 8)
            for (int k = 0; k < 8; k++)
                part[k] += dy[i + k];
        for (; i < n; i++)
            part[0] += dy[i];
        sum[m] = 0;
        for (int k = 0; k < 8; k++)
            sum[m] += part[k];
    }
}

static void backward_conv(struct tr_net *net, struct tr_layer *layer,
                          const tr_real *x, tr_real *dy, tr_real *dx,
                          int64_t n)
{
    const tr_real *weights = net->theta + layer->block[0].first;
    tr_real *d_weights = net->grad + layer->block[0].first;
    const int64_t outs = layer->units / layer->groups;
    const int64_t each = n * layer->out.inner;
    sum_channels(layer->units, each, dy, net->grad + layer->block[1].first);
    if (dx)
        memset(dx, 0, (size_t)(n * tr_shape_elements(&layer->in)) *
                          sizeof(*dx));
    for (struct part p = {.group = -1, .first = n}; next_part(layer, n, &p);) {
        const int64_t w = p.group * outs * p.rows;
        const tr_real *from = dy + p.group * outs * each +
                              p.first * layer->out.inner;
        go_over(layer, &p, n, x, net->columns, NULL);
        tr_gemm(net, false, true, outs, p.rows, p.pixels, from, each,
                net->columns, p.pixels, p.first > 0, d_weights + w, p.rows);
        if (!dx)
            continue;
        tr_gemm(net, true, false, p.rows, p.pixels, outs, weights + w, p.rows,
                from, each, 0, net->columns, p.pixels);
        go_over(layer, &p, n, NULL, net->columns, dx);
    }
}

const struct tr_layer_kind tr_kind_conv = {
    "conv",
    "conv CHANNELS KERNEL [stride S] [pad P|same|causal] [dilation D] "
    "[groups G]",
    parse_conv, shape_conv, init_conv, forward_conv, backward_conv,
    tr_build_conv};

/* ----------------------------------------------------------------- pools -- */

/* The window of one output: where it lies within the image. */
struct window {
    int64_t y0, y1, x0, x1;
};

static struct window window_at(const struct tr_layer *layer,
                               const struct plane *p, int64_t y, int64_t x)
{
    const int64_t top = y * layer->stride[0] - layer->before[0];
    const int64_t left = x * layer->stride[1] - layer->before[1];
    const int64_t bottom = top + layer->kernel[0];
    const int64_t right = left + layer->kernel[1];
    return (struct window){top < 0 ? 0 : top,
                           bottom > p->in[0] ? p->in[0] : bottom,
                           left < 0 ? 0 : left,
                           right > p->in[1] ? p->in[1] : right};
}

/* The place of the window's first largest element in its image. */
static int64_t largest(const struct window *w, const tr_real *image,
                       int64_t width)
{
    int64_t best = w->y0 * width + w->x0;
    for (int64_t y = w->y0; y < w->y1; y++)
        for (int64_t x = w->x0; x < w->x1; x++)
            if (image[y * width + x] > image[best])
                best = y * width + x;
    return best;
}

static void forward_maxpool(struct tr_net *net, struct tr_layer *layer,
                            const tr_real *x, int64_t n, bool train)
{
    const struct plane p = plane_of(layer);
    tr_real *y = layer->y, *place = layer->work[0];
    (void)net;
    (void)train;
    for (int64_t i = 0; i < n * layer->in.lead; i++, x += layer->in.inner)
        for (int64_t r = 0; r < p.out[0]; r++)
            for (int64_t c = 0; c < p.out[1]; c++) {
                const struct window w = window_at(layer, &p, r, c);
                const int64_t best = largest(&w, x, p.in[1]);
                *y++ = x[best];
                *place++ = (tr_real)best; /* below 2^24: exact */
            }
}

static void backward_maxpool(struct tr_net *net, struct tr_layer *layer,
                             const tr_real *x, tr_real *dy, tr_real *dx,
                             int64_t n)
{
    const int64_t images = n * layer->in.lead;
    const tr_real *place = layer->work[0];
    (void)net;
    (void)x;
    if (!dx)
        return;
    memset(dx, 0, (size_t)(images * layer->in.inner) * sizeof(*dx));
    for (int64_t i = 0; i < images; i++, dx += layer->in.inner)
        for (int64_t k = 0; k < layer->out.inner; k++)
            dx[(int64_t)*place++] += *dy++;
}

const struct tr_layer_kind tr_kind_maxpool = {
    "maxpool", "maxpool KERNEL|global [stride S] [pad P|same|causal]",
    parse_pool,
    shape_pool, NULL, forward_maxpool, backward_maxpool, tr_build_pool};

static tr_real window_share(const struct window *w)
{
    return (tr_real)1 / (tr_real)((w->y1 - w->y0) * (w->x1 - w->x0));
}

static void forward_avgpool(struct tr_net *net, struct tr_layer *layer,
                            const tr_real *x, int64_t n, bool train)
{
    const struct plane p = plane_of(layer);
    tr_real *y = layer->y;
    (void)net;
    (void)train;
    for (int64_t i = 0; i < n * layer->in.lead; i++, x += layer->in.inner)
        for (int64_t r = 0; r < p.out[0]; r++)
            for (int64_t c = 0; c < p.out[1]; c++) {
                const struct window w = window_at(layer, &p, r, c);
                tr_real sum = 0;
                for (int64_t b = w.y0; b < w.y1; b++)
                    for (int64_t a = w.x0; a < w.x1; a++)
                        sum += x[b * p.in[1] + a];
                *y++ = sum * window_share(&w);
            }
}

static void backward_avgpool(struct tr_net *net, struct tr_layer *layer,
                             const tr_real *x, tr_real *dy, tr_real *dx,
                             int64_t n)
{
    const struct plane p = plane_of(layer);
    const int64_t images = n * layer->in.lead;
    (void)net;
    (void)x;
    if (!dx)
        return;
    memset(dx, 0, (size_t)(images * layer->in.inner) * sizeof(*dx));
    for (int64_t i = 0; i < images; i++, dx += layer->in.inner)
        for (int64_t r = 0; r < p.out[0]; r++)
            for (int64_t c = 0; c < p.out[1]; c++) {
                const struct window w = window_at(layer, &p, r, c);
                const tr_real part = *dy++ * window_share(&w);
                for (int64_t b = w.y0; b < w.y1; b++)
                    for (int64_t a = w.x0; a < w.x1; a++)
                        dx[b * p.in[1] + a] += part;
            }
}

const struct tr_layer_kind tr_kind_avgpool = {
    "avgpool", "avgpool KERNEL|global [stride S] [pad P|same|causal]",
    parse_pool,
    shape_pool, NULL, forward_avgpool, backward_avgpool, tr_build_pool};

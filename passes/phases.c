/* phases.c: a transposed convolution becomes ordinary ones.
 *
 * It is a convolution of an image with gaps (input_dilations), most of whose
 * taps fall into gaps. Which do depends on the result's place modulo the
 * spread, its phase, alone; and those that do not, of one phase, lie as evenly
 * in the kernel as in the image. So each phase is a convolution without gaps
 * by a part of the kernel, of the same terms in the same order. Phases are put
 * in between one another by concats, dim by dim from the last. Where all phases
 * of the last dim have the same windows, as those of a kernel of 2 and a step
 * of 2, they are channels of one convolution, and stand as they should.
 *
 * Left alone: steps of a window other than 1 along a dim with gaps, phases
 * without taps, windows that start past the image's first place, and more than
 * most_phases. */
#include "passes/rewrite.h"

#include <string.h>

enum { most_phases = 16, most_attrs = 16 };

/* The results p, p + spread, .. along a dim. */
struct phase {
    int64_t first, step, n; /* taps of the kernel that it reads */
    int64_t dilation, before, after;
};

struct split {
    struct ir_module *module;
    struct ir_diag *diag;
    struct ir_op *op;
    int n; /* dims of space, from window.dim[IR_MAX_SPACE - n] on */
    struct ir_window_dim dim[IR_MAX_SPACE];
    int64_t out[IR_MAX_SPACE]; /* results of each phase */
    struct phase phase[IR_MAX_SPACE][most_phases];
    int n_phases; /* of all dims */
    int joined; /* phases of the last dim that a convolution makes: all or 1 */
};

/* ------------------------------------------------------------------- plan */

static int64_t reach_of(const struct phase *p)
{
    return (p->n - 1) * p->dilation + 1;
}

/* False where no tap of phase `at` is one of the image. */
static bool find_phase(const struct ir_window_dim *d, int64_t at,
                       struct phase *p)
{
    const int64_t common = ir_common_divisor(d->dilation, d->spread);
    int64_t first = 0;
    while (first < d->kernel &&
           (at + first * d->dilation - d->before) % d->spread != 0)
        first++;
    if (first == d->kernel)
        return false;
    p->first = first;
    p->step = d->spread / common;
    p->n = (d->kernel - first + p->step - 1) / p->step;
    p->dilation = d->dilation / common;
    p->before = (d->before - at - first * d->dilation) / d->spread;
    return p->before >= 0;
}

/* All phases have as many results, some more than are wanted: as the one that
 * has most without padding at the end. */
static bool plan_dim(struct split *s, int i)
{
    const struct ir_window_dim *d = &s->dim[i];
    int64_t out = (d->out + d->spread - 1) / d->spread;
    if (d->spread > most_phases || (d->spread > 1 && d->stride != 1))
        return false;
    s->n_phases *= (int)d->spread;
    if (d->spread == 1) {
        s->phase[i][0] = (struct phase){0, 1, d->kernel, d->dilation,
                                        d->before, d->after};
        s->out[i] = d->out;
        return true;
    }
    for (int64_t at = 0; at < d->spread; at++) {
        struct phase *p = &s->phase[i][at];
        if (!find_phase(d, at, p))
            return false;
        const int64_t least = d->in + p->before - reach_of(p) + 1;
        out = least > out ? least : out;
    }
    for (int64_t at = 0; at < d->spread; at++) {
        struct phase *p = &s->phase[i][at];
        p->after = out - 1 + reach_of(p) - p->before - d->in;
    }
    s->out[i] = out;
    return true;
}

/* Whether the epilogue reads beside each result another image's number. */
static bool reads_images(const struct ir_op *op)
{
    const int64_t n = op->result[0].type.dim[op->result[0].type.rank - 1];
    for (int i = 1; i < op->n_operands; i++) {
        const int64_t volume = ir_type_volume(&op->operand[i]->type);
        if (volume != 1 && volume != n)
            return true;
    }
    return false;
}

static bool can_join(const struct split *s)
{
    const struct phase *p = s->phase[s->n - 1];
    if (ir_attr_int(s->op, "groups") != 1)
        return false;
    for (int64_t at = 1; at < s->dim[s->n - 1].spread; at++)
        if (p[at].n != p->n || p[at].before != p->before ||
            p[at].after != p->after)
            return false;
    for (int i = 1; i < s->op->n_operands; i++)
        if (ir_type_volume(&s->op->operand[i]->type) != 1)
            return reads_images(s->op);
    return true;
}

static bool plan(struct split *s)
{
    struct ir_window window;
    if (s->op->kind != IR_OP_conv || ir_is_int8(s->op) ||
        !ir_find_attr(s->op, "input_dilations") ||
        !ir_attr_int_or(s->op, "channels_last", 0))
        return false;
    ir_window_view(s->op, &window);
    s->n = s->op->result[0].type.rank - 1;
    s->n_phases = 1;
    for (int i = 0; i < s->n; i++) {
        s->dim[i] = window.dim[IR_MAX_SPACE - s->n + i];
        if (!plan_dim(s, i) || s->n_phases > most_phases)
            return false;
    }
    if (s->n_phases == 1) /* no gaps */
        return false;
    s->joined = can_join(s) ? (int)s->dim[s->n - 1].spread : 1;
    return true;
}

/* --------------------------------------------------------------- the parts */

/* Inserts an op before the one that is split, and gives its result. */
static struct ir_value *insert(struct split *s, enum ir_op_kind kind,
                               int n_operands, struct ir_value *const *x,
                               int n_attrs, const struct ir_attr *attrs)
{
    struct ir_op *op = ir_insert_op(s->module, s->op, kind, n_operands, x,
                                    n_attrs, attrs, s->diag);
    if (!op)
        return NULL;
    op->loc = s->op->loc;
    return &op->result[0];
}

/* Tap k of a kernel of the phases `at`, in the whole kernel. */
static int64_t tap_of(const struct split *s, const int *at, int64_t k)
{
    int64_t tap = 0, far = 1;
    for (int i = s->n; i-- > 0; far *= s->dim[i].kernel) {
        const struct phase *p = &s->phase[i][at[i]];
        tap += (p->first + k % p->n * p->step) * far;
        k /= p->n;
    }
    return tap;
}

/* The weights that the phases `at` of each dim read; with joined phases those
 * of all of the last dim, one after the other. */
static const struct ir_tensor *part_of_weights(struct split *s, const int *at)
{
    const struct ir_tensor *w = ir_attr_tensor(s->op, "weights");
    const size_t bytes = ir_dtype_bytes(w->type.dtype);
    const int64_t n = w->type.dim[0] * w->type.dim[1];
    struct ir_tensor *part = ir_alloc(&s->module->arena, sizeof(*part));
    int64_t taps = 1, all = 1;
    int phase[IR_MAX_SPACE];
    memcpy(phase, at, (size_t)s->n * sizeof(*at));
    part->type = w->type;
    part->type.dim[0] *= s->joined;
    for (int i = 0; i < s->n; i++) {
        part->type.dim[2 + i] = s->phase[i][at[i]].n;
        taps *= s->phase[i][at[i]].n;
        all *= s->dim[i].kernel;
    }
    uint8_t *to = ir_alloc(&s->module->arena,
                           (size_t)(s->joined * n * taps) * bytes);
    part->data = to;
    for (int64_t row = 0; row < s->joined * n; row++) {
        const uint8_t *from =
            (const uint8_t *)w->data + (size_t)(row % n * all) * bytes;
        if (s->joined > 1)
            phase[s->n - 1] = (int)(row / n);
        for (int64_t k = 0; k < taps; k++, to += bytes)
            memcpy(to, from + (size_t)tap_of(s, phase, k) * bytes, bytes);
    }
    return part;
}

/* The bias, as often as there are phases in a convolution. */
static struct ir_attr part_of_bias(struct split *s, const struct ir_attr *bias)
{
    const size_t bytes = ir_tensor_bytes(bias->t);
    uint8_t *data = ir_alloc(&s->module->arena, bytes * (size_t)s->joined);
    for (int i = 0; i < s->joined; i++)
        memcpy(data + (size_t)i * bytes, bias->t->data, bytes);
    return ir_tensor_attr(
        "bias", ir_tensor_view(s->module, bias->t->type.dtype,
                               bias->t->type.dim[0] * s->joined, data));
}

static struct ir_value *insert_part(struct split *s, const int *at)
{
    const bool alone = reads_images(s->op);
    struct ir_attr attrs[most_attrs];
    int64_t pads[2 * IR_MAX_SPACE], dilations[IR_MAX_SPACE];
    int n = 0;
    for (int i = 0; i < s->n; i++) {
        const struct phase *p = &s->phase[i][at[i]];
        pads[i] = p->before;
        pads[s->n + i] = p->after;
        dilations[i] = p->dilation;
    }
    attrs[n++] = ir_tensor_attr("weights", part_of_weights(s, at));
    attrs[n++] = ir_tensor_attr(
        "pads", ir_tensor_copy(s->module, IR_I64, 2 * s->n, pads));
    attrs[n++] = ir_tensor_attr(
        "dilations", ir_tensor_copy(s->module, IR_I64, s->n, dilations));
    const struct ir_attr *bias = ir_find_attr(s->op, "bias");
    if (bias)
        attrs[n++] = part_of_bias(s, bias);
    static const char *const same[] = {"strides", "groups", "channels_last",
                                       "epilogue"};
    for (int i = 0; i < (alone ? 3 : 4); i++) {
        const struct ir_attr *a = ir_find_attr(s->op, same[i]);
        if (a)
            attrs[n++] = *a;
    }
    return insert(s, IR_OP_conv, alone ? 1 : s->op->n_operands,
                  s->op->operand, n, attrs);
}

/* ------------------------------------------------------------ put together */

/* x[0..n) side by side along `axis`. */
static struct ir_value *side_by_side(struct split *s, struct ir_value **x,
                                     int n, int axis)
{
    const struct ir_attr attr = ir_int("axis", axis);
    return n == 1 ? x[0] : insert(s, IR_OP_concat, n, x, 1, &attr);
}

/* A view of x, which is `from` and channels, as the first places of it. */
static struct ir_value *view(struct split *s, struct ir_value *x,
                             const int64_t *from, const int64_t *to)
{
    const int64_t channels = s->op->result[0].type.dim[s->n];
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK], stride = channels;
    memcpy(dims, to, (size_t)s->n * sizeof(*dims));
    dims[s->n] = channels;
    strides[s->n] = 1;
    for (int i = s->n; i-- > 0; stride *= from[i])
        strides[i] = stride;
    const struct ir_attr attrs[] = {
        ir_tensor_attr("shape", ir_tensor_copy(s->module, IR_I64, s->n + 1,
                                               dims)),
        ir_tensor_attr("strides", ir_tensor_copy(s->module, IR_I64, s->n + 1,
                                                 strides)),
        ir_int("offset", 0)};
    return insert(s, IR_OP_view, 1, &x, 3, attrs);
}

/* Of all phases' results, in order, the image: the phases of the last dim are
 * as if they were channels, those of the next as if they were of that dim. */
static struct ir_value *interleave(struct split *s, struct ir_value **part)
{
    int64_t size[IR_MAX_SPACE];
    int n = s->n_phases / s->joined;
    memcpy(size, s->out, sizeof(size));
    for (int i = s->n; i-- > 0;) {
        const int phases = (int)s->dim[i].spread;
        const int apart = i == s->n - 1 ? phases / s->joined : phases;
        size[i] *= phases;
        n /= apart;
        for (int k = 0; k < n && phases > 1; k++) {
            part[k] = side_by_side(s, part + k * apart, apart, i + 1);
            part[k] = part[k] ? view(s, part[k], size, size) : NULL;
            if (!part[k])
                return NULL;
        }
    }
    for (int i = 0; i < s->n; i++)
        if (size[i] != s->dim[i].out) {
            int64_t wanted[IR_MAX_SPACE];
            for (int k = 0; k < s->n; k++)
                wanted[k] = s->dim[k].out;
            return view(s, part[0], size, wanted);
        }
    return part[0];
}

static bool put_map(struct split *s, struct ir_value *image)
{
    struct ir_value *x[4] = {image};
    const struct ir_attr attrs[] = {
        ir_string("program", ir_attr_string(s->op, "epilogue")),
        ir_string("dtype", ir_dtype_name(image->type.dtype))};
    for (int i = 1; i < s->op->n_operands; i++)
        x[i] = s->op->operand[i];
    return ir_replace_op(s->module, s->op, IR_OP_map, s->op->n_operands, x, 2,
                         attrs, s->diag) != NULL;
}

static bool split(struct split *s)
{
    struct ir_value *part[most_phases];
    for (int k = 0; k < s->n_phases / s->joined; k++) {
        int at[IR_MAX_SPACE], left = k * s->joined;
        for (int i = s->n; i-- > 0; left /= (int)s->dim[i].spread)
            at[i] = left % (int)s->dim[i].spread;
        part[k] = insert_part(s, at);
        if (!part[k])
            return false;
    }
    struct ir_value *image = interleave(s, part);
    if (!image)
        return false;
    if (reads_images(s->op))
        return put_map(s, image);
    ir_replace_uses(s->module, &s->op->result[0], image);
    return true;
}

bool pass_phases(struct ir_module *module, const struct pass_options *options,
                 struct ir_diag *diag)
{
    bool any = false;
    (void)options;
    for (int i = 0; i < module->n_ops; i++) {
        struct split s = {.module = module, .diag = diag,
                          .op = module->ops[i]};
        if (!plan(&s) || !ir_value_used(module, &s.op->result[0]))
            continue;
        if (!split(&s))
            return false;
        any = true;
    }
    if (any)
        ir_remove_dead_ops(module);
    return true;
}

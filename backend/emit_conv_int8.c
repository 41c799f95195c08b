/* emit_conv_int8.c: the op `conv` with weights of i8. The row's image becomes
 * whole numbers with channels last and its padding around it, in the room that
 * the op works in; then some places of it at a time are the rows of a product
 * (emit_dot.c).
 *
 * A row of a window is one run of numbers, all its taps and channels; where
 * taps are apart, or channels are in groups, each tap is one. Results are
 * stored as emit_conv.c has them: channels last, turned at the end if need be.
 */
#include "backend/llvm.h"

enum { past = 16 /* bytes that the last run may read past the image */ };

struct conv {
    struct be_emitter *e;
    const struct ir_op *op;
    struct ir_window w;
    bool last; /* channels are last in x and in y */
    int64_t groups, channels; /* of x, of a group */
    int64_t all;              /* channels of y */
    int64_t space[IR_MAX_SPACE]; /* of the image with its padding */
    int64_t far[IR_MAX_SPACE];   /* bytes from place to place */
    enum ir_dtype from, to; /* of x and y */
    LLVMValueRef image, x, y;
    LLVMValueRef zero; /* operand 1 of the row, or NULL */
    struct be_epilogue epilogue;
};

static int64_t places(const struct conv *v)
{
    return v->space[0] * v->space[1] * v->space[2];
}

/* Windows of one number, side by side: as if the image were one row. */
static void flatten(struct ir_window *w)
{
    struct ir_window_dim *d = w->dim;
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (d[i].kernel > 1 || d[i].stride > 1 || d[i].before || d[i].after)
            return;
    d[2].in = d[2].out = d[0].in * d[1].in * d[2].in;
    d[0].in = d[0].out = d[1].in = d[1].out = 1;
}

static void init(struct conv *v, struct be_emitter *e, const struct ir_op *op)
{
    const int64_t *dim = ir_attr_tensor(op, "weights")->type.dim;
    *v = (struct conv){.e = e, .op = op,
                       .last = ir_attr_int_or(op, "channels_last", 0),
                       .groups = ir_attr_int(op, "groups"),
                       .channels = dim[1], .all = dim[0],
                       .from = op->operand[0]->type.dtype,
                       .to = op->result[0].type.dtype};
    ir_window_view(op, &v->w);
    flatten(&v->w);
    int64_t far = v->w.channels;
    for (int i = IR_MAX_SPACE; i-- > 0; far *= v->space[i]) {
        const struct ir_window_dim *d = &v->w.dim[i];
        v->space[i] = d->in + d->before + d->after;
        v->far[i] = far;
    }
}

static bool is_turned(const struct conv *v)
{
    return !v->last && v->all > 1;
}

static int64_t image_bytes(const struct conv *v)
{
    return (places(v) * v->w.channels + past + 63) / 64 * 64;
}

static bool is_padded(const struct conv *v)
{
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (v->w.dim[i].before || v->w.dim[i].after)
            return true;
    return false;
}

/* Whether the operand is the image: numbers already, with channels last and no
 * padding, of which the last run reads no more than there are. */
static bool is_in_place(const struct conv *v)
{
    return v->from == IR_U8 && !is_padded(v) &&
           (v->last || v->w.channels == 1) && v->channels % 4 == 0;
}

int64_t be_conv_int8_work(const struct ir_op *op)
{
    struct conv v;
    init(&v, NULL, op);
    return (is_in_place(&v) ? 0 : image_bytes(&v)) +
           (is_turned(&v) ? ir_type_volume(&op->result[0].type) *
                                (int64_t)ir_dtype_bytes(v.to) : 0);
}

/* -------------------------------------------------------------------- image */

/* A line of the row's image; or, with channels first, a channel's part of it.
 */
static void quantise_line(const struct conv *v, LLVMValueRef from,
                          LLVMValueRef to)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    const int64_t channels = v->w.channels;
    struct be_loop loop;
    if (v->last || channels == 1) {
        be_dot_quantise(e, v->op, from, to, d[2].in * channels, 1);
        return;
    }
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, channels), 1);
    be_dot_quantise(e, v->op,
                    be_at_times(e, be_type(e, v->from), from, loop.index,
                                d[0].in * d[1].in * d[2].in),
                    be_offset(e, to, loop.index), d[2].in, channels);
    be_loop_end(e, &loop);
}

static void quantise_image(const struct conv *v, LLVMValueRef from)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    int64_t pitch = d[2].in * (v->last ? v->w.channels : 1);
    LLVMValueRef to = v->image;
    struct be_loop plane, line;
    for (int i = 0; i < IR_MAX_SPACE; i++)
        to = be_offset(e, to, be_i64(e, d[i].before * v->far[i]));
    be_loop_begin(e, &plane, be_i64(e, 0), be_i64(e, d[0].in), 1);
    be_loop_begin(e, &line, be_i64(e, 0), be_i64(e, d[1].in), 1);
    LLVMValueRef number = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, plane.index, be_i64(e, d[1].in), ""),
        line.index, "");
    LLVMValueRef at = be_at_times(e, e->i8, to, plane.index, v->far[0]);
    quantise_line(v,
                  be_at_times(e, be_type(e, v->from), from, number, pitch),
                  be_at_times(e, e->i8, at, line.index, v->far[1]));
    be_loop_end(e, &line);
    be_loop_end(e, &plane);
}

/* --------------------------------------------------------------------- runs */

/* A run for each row of a window, or for each tap. */
static struct be_dot product_of(const struct conv *v)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    const bool whole_rows = v->groups == 1 && d[2].dilation == 1;
    const int64_t taps = whole_rows ? d[2].kernel : 1; /* of a run */
    const int64_t terms = v->channels * v->w.taps;
    int64_t *order =
        ir_alloc_array(&e->arena, (size_t)terms, sizeof(*order));
    int64_t *skip =
        ir_alloc_array(&e->arena, (size_t)v->w.taps, sizeof(*skip));
    for (int64_t k = 0; k < v->w.taps; k++) {
        const int64_t k2 = k % d[2].kernel, k1 = k / d[2].kernel % d[1].kernel,
                      k0 = k / d[2].kernel / d[1].kernel;
        if (k % taps == 0)
            skip[k / taps] = k0 * d[0].dilation * v->far[0] +
                             k1 * d[1].dilation * v->far[1] +
                             k2 * d[2].dilation * v->far[2];
        for (int64_t c = 0; c < v->channels; c++)
            order[k * v->channels + c] = c * v->w.taps + k;
    }
    return (struct be_dot){.op = v->op, .runs = v->w.taps / taps,
                           .length = taps * v->channels, .skip = skip,
                           .order = order, .groups = v->groups,
                           .columns = v->all / v->groups,
                           .column_step = terms, .term_step = 1};
}

/* ------------------------------------------------------------------- places */

/* Places of a tile: rows along dim 1, and `across` along dim 2 of each. */
struct places {
    int rows, across;
    LLVMValueRef o[IR_MAX_SPACE];
};

/* Stores place p's numbers of the tile. */
static void store(const struct conv *v, const struct be_dot_strip *s,
                  const struct places *t, int p, const LLVMValueRef *y)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, t->o[0], be_i64(e, d[1].out), ""),
        t->o[1], "");
    at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, at, be_i64(e, d[2].out), ""), t->o[2],
        "");
    at = LLVMBuildNSWAdd(
        e->b, at,
        be_i64(e, p / t->across * d[2].out + p % t->across), "");
    at = LLVMBuildNSWMul(e->b, at, be_i64(e, v->all), "");
    for (int i = 0; i < s->vectors; i++) {
        const int n = i + 1 < s->vectors ? s->lanes : s->last;
        LLVMValueRef channel = LLVMBuildNSWAdd(
            e->b, s->column, be_i64(e, (int64_t)i * s->lanes), "");
        LLVMValueRef to = LLVMBuildNSWAdd(e->b, at, channel, "");
        LLVMValueRef sum = be_epilogue_apply(e, &v->epilogue, y[i], to,
                                             channel, s->lanes, n);
        LLVMTypeRef type = be_type(e, v->to);
        be_store_part(e, type, sum, be_at(e, type, v->y, to), s->lanes, n);
    }
}

static void emit_tile(const struct conv *v, const struct be_dot *dot,
                      const struct be_dot_strip *s, const struct places *t)
{
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    struct be_dot_tile tile = {.rows = t->rows * t->across};
    LLVMValueRef y[BE_DOT_SUMS];
    tile.x = be_at_times(e, e->i8, v->image, s->group, v->channels);
    for (int i = 0; i < IR_MAX_SPACE; i++)
        tile.x = be_at_times(e, e->i8, tile.x, t->o[i],
                             d[i].stride * v->far[i]);
    for (int p = 0; p < tile.rows; p++)
        tile.skip[p] = p / t->across * d[1].stride * v->far[1] +
                       p % t->across * d[2].stride * v->far[2];
    for (int p = 0; p < tile.rows; p++)
        tile.zero[p] = v->zero;
    be_dot_sum(dot, s, &tile, y);
    for (int p = 0; p < tile.rows; p++)
        store(v, s, t, p, y + p * s->vectors);
}

/* Places along dim 2 of `rows` rows, in equal parts of at most `most`. */
static void emit_across(const struct conv *v, const struct be_dot *dot,
                        const struct be_dot_strip *s, struct places t,
                        int rows, int most)
{
    struct be_emitter *e = v->e;
    const int64_t out = v->w.dim[2].out;
    const int64_t turns = (out + most - 1) / most;
    t.rows = rows;
    t.across = (int)((out + turns - 1) / turns);
    const int64_t whole = out / t.across * t.across;
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), t.across);
    t.o[2] = loop.index;
    emit_tile(v, dot, s, &t);
    be_loop_end(e, &loop);
    if (whole == out)
        return;
    t.o[2] = be_i64(e, whole);
    t.across = (int)(out - whole);
    emit_tile(v, dot, s, &t);
}

/* All places: parts of a row, or some rows. */
static void emit_places(void *of, const struct be_dot *dot,
                        const struct be_dot_strip *s)
{
    const struct conv *v = of;
    struct be_emitter *e = v->e;
    const struct ir_window_dim *d = v->w.dim;
    const int most = be_dot_rows(e, s->vectors);
    int64_t rows = most / d[2].out;
    rows = rows < 1 ? 1 : rows < d[1].out ? rows : d[1].out;
    const int64_t whole = d[1].out / rows * rows;
    struct be_loop plane, row;
    struct places t = {0};
    be_loop_begin(e, &plane, be_i64(e, 0), be_i64(e, d[0].out), 1);
    t.o[0] = plane.index;
    be_loop_begin(e, &row, be_i64(e, 0), be_i64(e, whole), rows);
    t.o[1] = row.index;
    emit_across(v, dot, s, t, (int)rows, most);
    be_loop_end(e, &row);
    if (d[1].out > whole) {
        t.o[1] = be_i64(e, whole);
        emit_across(v, dot, s, t, (int)(d[1].out - whole), most);
    }
    be_loop_end(e, &plane);
}

/* ------------------------------------------------------------------- the op */

/* The number that 0 is, all over the image. */
static void fill_image(const struct conv *v, LLVMValueRef zero)
{
    be_fill(v->e, IR_U8, zero, v->image,
            places(v) * v->w.channels + past);
}

void be_conv_int8(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    const int64_t n = ir_type_volume(&k->op->result[0].type);
    const struct be_epilogue epilogue = be_epilogue_of(k);
    struct be_loop row, group;
    struct conv v;
    init(&v, e, k->op);
    struct be_dot dot = product_of(&v);
    be_dot_init(e, &dot, k->op);
    const bool in_place = is_in_place(&v);
    v.image = k->work;
    const bool has_zeros = ir_has_zero_operand(k->op);
    if (!in_place)
        fill_image(&v, LLVMConstInt(
            e->i8, (uint64_t)ir_attr_int_or(k->op, "input_zero", 0), 0));
    be_loop_begin(e, &row, be_i64(e, 0), k->n_rows, 1);
    LLVMValueRef y =
        be_at_times(e, be_type(e, v.to), k->y[0], row.index, n);
    LLVMValueRef x = be_at_times(e, be_type(e, v.from), k->x[0].base,
                                 row.index, k->x[0].stride);
    v.epilogue = epilogue;
    be_epilogue_skip(e, &v.epilogue, row.index);
    v.zero = be_dot_zero(k, row.index);
    if (in_place)
        v.image = x;
    else if (has_zeros && is_padded(&v))
        fill_image(&v, LLVMBuildTrunc(e->b, v.zero, e->i8, ""));
    if (!in_place)
        quantise_image(&v, x);
    v.y = !is_turned(&v) ? y
          : be_offset(e, k->work,
                      be_i64(e, in_place ? 0 : image_bytes(&v)));
    be_loop_begin(e, &group, be_i64(e, 0), be_i64(e, v.groups), 1);
    be_dot_columns(&dot, group.index, be_dot_vectors(e, false), emit_places,
                   &v);
    be_loop_end(e, &group);
    if (is_turned(&v))
        be_turn(e, v.to, v.y, v.all, y, n / v.all, v.all, n / v.all);
    be_loop_end(e, &row);
}

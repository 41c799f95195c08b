/* gen_nets.c: bytes -> a net: perceptrons, convolutions, recurrent layers, and
 * what stands between them, of the sizes at which vectors are just full.
 *
 *   byte  0  bit 0 f32
 *   byte  4  bits 0-1 rank of the input less 1
 *   byte  5-8 its dims: see size_of()
 *   byte  9  5, or a multiple of 8 more: a net along time, the first of two
 *            dims, of which most can be taken step by step
 *   byte 16- records of 8 bytes, an op each: byte 0 says which (bits 0-3; bit
 *            4: its result goes out, too; bit 5: some weights are odd; of f32,
 *            bit 6: they are bf16, bit 7: i8 of gemm and conv, both: what
 *            these, max pools and views work on is bytes), 1 the operand
 *            (0 the newest value), 2-6 what the op says, 7 the weights
 *
 * Values have at most max_volume elements, and an op takes at most max_work
 * steps: what is larger gets smaller numbers. */
#include "fuzz/gen_parts.h"

#include <math.h>
#include <string.h>

enum {
    max_values = 12,
    max_volume = 1024,
    max_work = 1 << 14,
    max_outputs = 4 /* each is evaluated by itself */
};

struct nets {
    struct gen_bytes bytes;
    bool streams; /* along time */
    struct ir_module *module;
    struct ir_diag *diag;
    size_t r;      /* the record's first byte */
    unsigned code; /* its byte 0 */
    int n;
    struct ir_value *at[max_values + 1]; /* of reals */
};

/* Byte i of the record. */
static unsigned byte(const struct nets *v, size_t i)
{
    return gen_at(v->bytes, v->r + i);
}

/* Bits [2 i, 2 i + 2) of it. */
static int64_t two_bits(const struct nets *v, size_t i, int which)
{
    return byte(v, i) >> 2 * which & 3;
}

static int64_t size_of(unsigned n)
{
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33};
    static const int64_t large[] = {47, 48, 63, 64, 65, 95, 97, 129};
    return n < 240 ? sizes[n % 11] : large[n % 8];
}

static int64_t volume(const struct ir_value *x)
{
    return ir_type_volume(&x->type);
}

static int64_t last_dim(const struct ir_value *x)
{
    return x->type.dim[x->type.rank - 1];
}

/* ------------------------------------------------------------- tensors -- */

static double odd_weight(uint64_t random)
{
    static const double odd[] = {0, -0.0, INFINITY, -INFINITY, NAN,
                                 0x1p-149, -0x1p-130, 3e38};
    return odd[random >> 8 & 7];
}

static int64_t count(int rank, const int64_t *dims)
{
    int64_t n = 1;
    for (int i = 0; i < rank; i++)
        n *= dims[i];
    return n;
}

/* Numbers around 0, as byte 7 draws them. */
static const struct ir_tensor *weights(struct nets *v, int rank,
                                       const int64_t *dims)
{
    struct ir_tensor *t = ir_alloc(&v->module->arena, sizeof(*t));
    t->type = (struct ir_type){.dtype = v->at[0]->type.dtype, .rank = rank};
    memcpy(t->type.dim, dims, (size_t)rank * sizeof(*dims));
    const int64_t n = count(rank, dims);
    double *wide = ir_alloc_array(&v->module->arena, (size_t)n, 8);
    float *narrow = ir_alloc_array(&v->module->arena, (size_t)n, 4);
    for (int64_t i = 0; i < n; i++) {
        const uint64_t random = ir_random(byte(v, 7), (uint64_t)i);
        wide[i] = (double)(int8_t)random / 96;
        if (v->code & 0x20 && random >> 32 & 1 && (random >> 40) % 24 == 0)
            wide[i] = odd_weight(random);
        narrow[i] = (float)wide[i];
    }
    t->data = t->type.dtype == IR_F32 ? (const void *)narrow : wide;
    return t;
}

static bool is_f32(const struct nets *v)
{
    return v->at[0]->type.dtype == IR_F32;
}

static bool has_int8(const struct nets *v)
{
    return is_f32(v) && v->code & 0x80;
}

static bool has_bytes(const struct nets *v)
{
    return has_int8(v) && v->code & 0x40;
}

static struct ir_value *map_to(struct nets *v, struct ir_value *x,
                               const char *program, const char *dtype)
{
    const struct ir_attr attrs[] = {ir_string("program", program),
                                    ir_string("dtype", dtype)};
    return gen_op(v->module, IR_OP_map, 1, &x, 2, attrs, v->diag);
}

static struct ir_value *to_bytes(struct nets *v, struct ir_value *x)
{
    return has_bytes(v) ? map_to(v, x, "x0 0.125 div rint 100 add", "u8") : x;
}

static struct ir_value *from_bytes(struct nets *v, struct ir_value *x)
{
    return has_bytes(v) ? map_to(v, x, "x0 100 sub 0.125 mul", "f32") : x;
}

/* weights() as they are stored: in bf16 or, where the op can, in i8. */
static struct ir_attr stored(struct nets *v, const char *name, int rank,
                             const int64_t *dims, bool or_int8)
{
    const struct ir_tensor *wide = weights(v, rank, dims);
    struct ir_tensor *t = ir_alloc(&v->module->arena, sizeof(*t));
    const int64_t n = count(rank, dims);
    uint16_t *data = ir_alloc_array(&v->module->arena, (size_t)n, 2);
    *t = (struct ir_tensor){wide->type, data};
    if (or_int8 && has_int8(v)) {
        t->type.dtype = IR_I8;
        for (int64_t i = 0; i < n; i++)
            ((int8_t *)data)[i] =
                (int8_t)ir_random(byte(v, 7), (uint64_t)i);
        return ir_tensor_attr(name, t);
    }
    if (!is_f32(v) || !(v->code & 0x40))
        return ir_tensor_attr(name, wide);
    t->type.dtype = IR_BF16;
    for (int64_t i = 0; i < n; i++)
        data[i] = ir_to_bf16(((const float *)wide->data)[i]);
    return ir_tensor_attr(name, t);
}

/* What sums of whole numbers start at. */
static struct ir_attr starts(struct nets *v, int64_t n)
{
    int32_t *data = ir_alloc_array(&v->module->arena, (size_t)n, 4);
    for (int64_t i = 0; i < n; i++)
        data[i] = (int16_t)ir_random(byte(v, 6), (uint64_t)i);
    return ir_tensor_attr("start",
                          ir_tensor_copy(v->module, IR_I32, n, data));
}

/* Whether the byte that 0 is comes as an operand. */
static bool has_zero_operand(const struct nets *v)
{
    return has_bytes(v) && byte(v, 7) & 8;
}

/* What goes with weights of i8, of so many columns; how many attributes. */
static int int8_attrs(struct nets *v, int64_t columns, struct ir_attr *attrs)
{
    static const double scales[] = {31.75, 100, 1, 0.03125, 0x1p120, 0x1p-120,
                                    0x1.921fb6p+5, 12};
    if (!has_int8(v))
        return 0;
    int n = 0;
    if (!has_bytes(v))
        attrs[n++] = ir_float("input_scale", scales[byte(v, 7) >> 5]);
    attrs[n++] = has_zero_operand(v)
                     ? ir_int("zero_operand", 1)
                     : ir_int("input_zero", (int64_t)byte(v, 6) * 7 % 256);
    attrs[n++] = ir_tensor_attr("scale", weights(v, 1, &columns));
    if (has_bytes(v) || byte(v, 7) & 4)
        attrs[n++] = starts(v, columns);
    return n;
}

static struct ir_attr ints(struct nets *v, const char *name, int n,
                           const int64_t *numbers)
{
    return ir_tensor_attr(name, ir_tensor_copy(v->module, IR_I64, n, numbers));
}

static struct ir_value *op(struct nets *v, enum ir_op_kind kind,
                           struct ir_value *x, int n_attrs,
                           const struct ir_attr *attrs)
{
    return gen_op(v->module, kind, 1, &x, n_attrs, attrs, v->diag);
}

/* A gemm or conv of x, which becomes bytes for it and is made of them again;
 * its zero, where it is an operand, goes by the elements, or is known. */
static struct ir_value *product(struct nets *v, enum ir_op_kind kind,
                                struct ir_value *x, int n_attrs,
                                const struct ir_attr *attrs)
{
    struct ir_value *pair[] = {to_bytes(v, x), NULL};
    const struct ir_attr far =
        ir_string("kind", byte(v, 7) & 16 ? "low" : "high");
    const int64_t one = 1;
    if (has_zero_operand(v)) {
        const struct ir_attr value =
            ir_tensor_attr("value", weights(v, 1, &one));
        pair[1] = byte(v, 7) & 32
                      ? gen_op(v->module, IR_OP_constant, 0, NULL, 1, &value,
                               v->diag)
                      : op(v, IR_OP_reduce, x, 1, &far);
        pair[1] = to_bytes(v, pair[1]);
    }
    x = gen_op(v->module, kind, pair[1] ? 2 : 1, pair, n_attrs, attrs,
               v->diag);
    return from_bytes(v, to_bytes(v, x));
}

/* ---------------------------------------------------------------- views -- */

static struct ir_value *view(struct nets *v, struct ir_value *x, int rank,
                             const int64_t *dims, const int64_t *strides,
                             int64_t offset)
{
    const struct ir_attr attrs[] = {ints(v, "shape", rank, dims),
                                    ints(v, "strides", rank, strides),
                                    ir_int("offset", offset)};
    return op(v, IR_OP_view, x, 3, attrs);
}

static void dense_strides(int rank, const int64_t *dims, int64_t *strides)
{
    int64_t stride = 1;
    for (int i = rank; i-- > 0; stride *= dims[i])
        strides[i] = stride;
}

static struct ir_value *reshape(struct nets *v, struct ir_value *x, int rank,
                                const int64_t *dims)
{
    int64_t strides[IR_MAX_RANK];
    dense_strides(rank, dims, strides);
    return view(v, x, rank, dims, strides, 0);
}

static struct ir_value *as_matrix(struct nets *v, struct ir_value *x)
{
    const int64_t dims[] = {volume(x) / last_dim(x), last_dim(x)};
    return x->type.rank == 2 ? x : reshape(v, x, 2, dims);
}

/* A value whose dims but for the first windows move along. */
static struct ir_value *as_image(struct nets *v, struct ir_value *x)
{
    const int64_t n = volume(x);
    if (x->type.rank >= 2 && x->type.rank <= 4)
        return x;
    const int64_t first = x->type.rank == 1 ? 1 : x->type.dim[0];
    return reshape(v, x, 2, (const int64_t[]){first, n / first});
}

/* The dims turned by so many, one of them reversed, cut short or repeated. */
static struct ir_value *add_view(struct nets *v, struct ir_value *x)
{
    const int rank = x->type.rank;
    int64_t dense[IR_MAX_RANK], dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    int64_t offset = 0;
    dense_strides(rank, x->type.dim, dense);
    for (int i = 0; i < rank; i++) {
        const int from = (i + (int)byte(v, 2)) % rank;
        dims[i] = x->type.dim[from];
        strides[i] = dense[from];
    }
    const int k = (int)byte(v, 3) % rank;
    switch (byte(v, 4) & 3) {
    case 1:
        offset = (dims[k] - 1) * strides[k];
        strides[k] = -strides[k];
        break;
    case 2: {
        const int64_t step = 1 + (byte(v, 5) & 3);
        offset = (int64_t)byte(v, 6) % dims[k] * strides[k];
        dims[k] -= (int64_t)byte(v, 6) % dims[k];
        dims[k] = (dims[k] + step - 1) / step;
        strides[k] *= step;
        break;
    }
    case 3:
        dims[k] = volume(x) * 3 <= max_volume ? 3 : dims[k];
        strides[k] = 0;
        break;
    default:
        break;
    }
    return from_bytes(
        v, view(v, to_bytes(v, x), rank, dims, strides, offset));
}

static struct ir_value *add_pad(struct nets *v, struct ir_value *x)
{
    static const double values[] = {0, -0.0, -INFINITY, 0.1};
    int64_t pads[2][IR_MAX_RANK], n = 1;
    for (int i = 0; i < x->type.rank; i++) {
        pads[0][i] = i < 4 ? two_bits(v, 2, i) : 0;
        pads[1][i] = i < 4 ? two_bits(v, 3, i) : 0;
        n *= x->type.dim[i] + pads[0][i] + pads[1][i];
    }
    if (n > max_volume)
        return x;
    const struct ir_attr attrs[] = {ints(v, "before", x->type.rank, pads[0]),
                                    ints(v, "after", x->type.rank, pads[1]),
                                    ir_float("value", values[byte(v, 4) & 3])};
    return op(v, IR_OP_pad, x, 3, attrs);
}

/* ------------------------------------------------------ gemm and matmul -- */

static struct ir_value *gemm(struct nets *v, struct ir_value *x, int64_t n,
                             bool biased, int64_t block)
{
    const int64_t dims[] = {last_dim(x), n};
    struct ir_attr attrs[7] = {stored(v, "weights", 2, dims, true),
                               ir_int("block", block)};
    int n_attrs = 2 + int8_attrs(v, n, attrs + 2);
    if (biased)
        attrs[n_attrs++] = ir_tensor_attr("bias", weights(v, 1, &n));
    return product(v, IR_OP_gemm, x, n_attrs, attrs);
}

static struct ir_value *add_gemm(struct nets *v, struct ir_value *x)
{
    const int64_t rows = volume(x) / last_dim(x);
    int64_t n = size_of(byte(v, 2));
    if (rows * n > max_volume || volume(x) * n > max_work)
        n = 1;
    return gemm(v, x, n, byte(v, 3) & 1,
                byte(v, 3) & 2 ? 1 + (byte(v, 4) & 31) : ir_gemm_block(n));
}

/* x with its last two dims exchanged. */
static struct ir_value *turned_last(struct nets *v, struct ir_value *x)
{
    const int rank = x->type.rank;
    int64_t dims[IR_MAX_RANK], strides[IR_MAX_RANK];
    memcpy(dims, x->type.dim, (size_t)rank * sizeof(*dims));
    dense_strides(rank, dims, strides);
    dims[rank - 1] = x->type.dim[rank - 2];
    dims[rank - 2] = x->type.dim[rank - 1];
    strides[rank - 1] = last_dim(x);
    strides[rank - 2] = 1;
    return view(v, x, rank, dims, strides, 0);
}

/* x times itself turned. Byte 2: bit 0 by what is known instead, of as many
 * columns as byte 3 says; bit 1 many products at once. */
static struct ir_value *add_matmul(struct nets *v, struct ir_value *x)
{
    const int rank = x->type.rank;
    int64_t dims[IR_MAX_RANK], n = 1;
    if (rank < 2 || !(byte(v, 2) & 2))
        x = as_matrix(v, x);
    memcpy(dims, x->type.dim, sizeof(dims));
    dims[x->type.rank - 2] = last_dim(x);
    dims[x->type.rank - 1] = byte(v, 2) & 1 ? size_of(byte(v, 3))
                                            : x->type.dim[x->type.rank - 2];
    n = dims[x->type.rank - 1];
    if (volume(x) / last_dim(x) * n > max_volume || volume(x) * n > max_work ||
        count(x->type.rank, dims) > max_work)
        return x;
    struct ir_value *pair[] = {x, NULL};
    if (byte(v, 2) & 1) {
        const struct ir_attr value =
            ir_tensor_attr("value", weights(v, x->type.rank, dims));
        pair[1] = gen_op(v->module, IR_OP_constant, 0, NULL, 1, &value,
                         v->diag);
    } else {
        pair[1] = turned_last(v, x);
    }
    return gen_op(v->module, IR_OP_matmul, 2, pair, 0, NULL, v->diag);
}

/* --------------------------------------------------------- conv and pool -- */

struct windows {
    int n;
    int64_t kernel[3], strides[3], pads[6], dilations[3], spreads[3], extra[3];
    int64_t taps, windows;
};

/* A conv of f32 goes by Winograd's way with bit 7 of byte 6, if it can. */
static bool by_winograd(const struct nets *v, const struct ir_value *x)
{
    return is_f32(v) && (byte(v, 6) & 0x90) == 0x80 && !(v->code & 0xc0) &&
           x->type.rank <= 3;
}

/* Bytes 2 to 5, two bits a dim; a kernel that does not fit is made smaller. */
static void read_windows(const struct nets *v, const struct ir_value *x,
                         bool pools, struct windows *w)
{
    const bool winograd = !pools && by_winograd(v, x);
    w->n = x->type.rank - 1;
    w->taps = w->windows = 1;
    for (int i = 0; i < w->n; i++) {
        w->dilations[i] = 1 + (byte(v, 5) >> i & 1);
        w->spreads[i] = pools || has_int8(v) /* which can have no gaps */
                            ? 1 : 1 + (byte(v, 5) >> (3 + i) & 1);
        w->extra[i] = pools ? byte(v, 5) >> (3 + i) & 1 : 0;
        w->pads[i] = two_bits(v, 4, i);
        w->pads[w->n + i] = two_bits(v, 4, i + 1);
        w->strides[i] = 1 + two_bits(v, 3, i);
        w->kernel[i] = 1 + two_bits(v, 2, i);
        if (winograd) {
            w->strides[i] = w->dilations[i] = w->spreads[i] = 1;
            w->kernel[i] += w->kernel[i] == 4 && byte(v, 3) & 1;
        }
        const int64_t places = (x->type.dim[1 + i] - 1) * w->spreads[i] + 1 +
                               w->pads[i] + w->pads[w->n + i] + w->extra[i];
        while ((w->kernel[i] - 1) * w->dilations[i] >= places)
            w->kernel[i]--;
        w->taps *= w->kernel[i];
        w->windows *=
            (places - 1 - (w->kernel[i] - 1) * w->dilations[i]) /
            w->strides[i] + 1;
    }
}

/* The tiles along each dim, where bit 6 of byte 6 prefers the larger ones. */
static int winograd_attr(struct nets *v, const struct windows *w,
                         const struct ir_value *x, struct ir_attr *attr)
{
    int64_t tile[3];
    bool any = false;
    for (int i = 0; i < w->n; i++) {
        const bool larger = w->kernel[i] > 3 || byte(v, 6) & 0x40;
        tile[i] = w->kernel[i] == 1 ? 1 : (larger ? 7 : 5) - w->kernel[i];
        any = any || tile[i] > 1;
    }
    if (!any || !by_winograd(v, x))
        return 0;
    *attr = ints(v, "winograd", w->n, tile);
    return 1;
}

static struct ir_value *add_conv(struct nets *v, struct ir_value *x)
{
    struct windows w;
    x = as_image(v, x);
    read_windows(v, x, false, &w);
    const int64_t channels = x->type.dim[0];
    const bool halves = byte(v, 5) & 0x40 && !by_winograd(v, x);
    const int64_t half = halves && channels % 2 == 0 ? 2
                         : halves && channels % 3 == 0 ? 3 : 1;
    const int64_t groups = byte(v, 6) & 0x10 ? channels : half;
    int64_t m = byte(v, 6) & 0x10 ? channels * (1 + (byte(v, 6) >> 6 & 1))
                                  : half * size_of(byte(v, 6) & 15);
    if (m * w.windows > max_volume ||
        m * w.windows * w.taps * (channels / groups) > max_work)
        m = groups;
    if (m * w.windows > max_volume ||
        m * w.windows * w.taps * (channels / groups) > max_work)
        return x;
    int64_t dims[5] = {m, channels / groups};
    memcpy(dims + 2, w.kernel, sizeof(w.kernel));
    struct ir_attr attrs[11] = {
        stored(v, "weights", w.n + 2, dims, true),
        ints(v, "strides", w.n, w.strides), ints(v, "pads", 2 * w.n, w.pads),
        ints(v, "dilations", w.n, w.dilations), ir_int("groups", groups),
        ints(v, "input_dilations", w.n, w.spreads)};
    int n = 6 + int8_attrs(v, m, attrs + 6);
    if (byte(v, 6) & 0x20)
        attrs[n++] = ir_tensor_attr("bias", weights(v, 1, &m));
    n += winograd_attr(v, &w, x, attrs + n);
    return product(v, IR_OP_conv, x, n, attrs);
}

static struct ir_value *add_pool(struct nets *v, struct ir_value *x)
{
    struct windows w;
    x = as_image(v, x);
    read_windows(v, x, true, &w);
    if (x->type.dim[0] * w.windows > max_volume)
        return x;
    const struct ir_attr attrs[] = {
        ir_string("kind", byte(v, 6) & 1 ? "max" : "average"),
        ints(v, "kernel", w.n, w.kernel), ints(v, "strides", w.n, w.strides),
        ints(v, "pads", 2 * w.n, w.pads),
        ints(v, "dilations", w.n, w.dilations),
        ir_int("count_padding", byte(v, 6) >> 1 & 1),
        ints(v, "extra", w.n, w.extra)};
    const bool max = byte(v, 6) & 1;
    x = op(v, IR_OP_pool, max ? to_bytes(v, x) : x, byte(v, 5) ? 7 : 6,
           attrs);
    return max ? from_bytes(v, x) : x;
}

/* ----------------------------------------------------------------- scan -- */

/* The input that has no steps, a number, as values are. */
static struct ir_value *number(struct nets *v)
{
    return gen_input(v->module, 1, 1, is_f32(v), v->diag);
}

/* What a scan starts from: what is known, or times the number. */
static struct ir_value *start_of(struct nets *v, const int64_t *dims)
{
    const struct ir_attr value = ir_tensor_attr("value", weights(v, 2, dims));
    const struct ir_attr attrs[] = {
        ir_string("program", "x0 x1 mul"),
        ir_string("dtype", is_f32(v) ? "f32" : "f64")};
    struct ir_value *pair[] = {gen_op(v->module, IR_OP_constant, 0, NULL, 1,
                                      &value, v->diag), NULL};
    if (!(byte(v, 5) & 0x20))
        return pair[0];
    pair[1] = number(v);
    return gen_op(v->module, IR_OP_map, 2, pair, 2, attrs, v->diag);
}

/* Byte 2: the cell and its flags; 3 units; 4 activations and clip; 5 the states
 * and the length. */
static struct ir_value *add_scan(struct nets *v, struct ir_value *x)
{
    static const char *const cells[] = {"lstm", "gru", "rnn", "lstm"};
    static const int64_t gates[] = {4, 3, 1, 4}, states[] = {2, 1, 1, 2};
    static const char *const squash[] = {
        "1 1 x0 neg exp add div", "x0 0.2 mul 0.5 add 0 max 1 min"};
    static const char *const bend[] = {"x0 tanh", "x0 0 max", "x0",
                                       "x0 x0 abs 1 add div"};
    const int cell = (int)byte(v, 2) & 3;
    int64_t h = size_of(byte(v, 3));
    x = as_matrix(v, x);
    if (x->type.dim[0] * h * gates[cell] * (h + x->type.dim[1]) > max_work ||
        x->type.dim[0] * h * gates[cell] > max_volume)
        h = 1;
    const int64_t width = gates[cell] * h, three = 3 * h;
    const int64_t square[] = {h, width}, state[] = {states[cell], h};
    if (x->type.dim[0] * width > max_volume)
        return x;
    struct ir_value *operands[] = {
        gemm(v, x, width, byte(v, 5) & 1, ir_gemm_block(width)),
        start_of(v, state),
        gen_input(v->module, 1, 1, byte(v, 5) & 4, v->diag)};
    struct ir_attr attrs[12] = {
        ir_string("cell", cells[cell]),
        stored(v, "recurrent", 2, square, false),
        ir_int("reverse", byte(v, 2) >> 2 & 1),
        ir_string("gate", cell == 2 ? bend[byte(v, 4) & 3]
                                    : squash[byte(v, 4) & 1])};
    int n = 4;
    if (cell != 2)
        attrs[n++] = ir_string("candidate", bend[byte(v, 4) >> 1 & 3]);
    if (states[cell] == 2)
        attrs[n++] = ir_string("output", bend[byte(v, 4) >> 3 & 3]);
    if (byte(v, 4) & 0x80)
        attrs[n++] = ir_float("clip", 0.75);
    if (states[cell] == 2 && byte(v, 2) & 8)
        attrs[n++] = ir_int("input_forget", 1);
    if (states[cell] == 2 && byte(v, 2) & 16)
        attrs[n++] = ir_tensor_attr("peephole", weights(v, 1, &three));
    if (cell == 1 && byte(v, 2) & 24)
        attrs[n++] = ir_int("linear_before_reset", 1);
    if (cell == 1 && byte(v, 2) & 8)
        attrs[n++] = ir_tensor_attr("recurrent_bias", weights(v, 1, &h));
    struct ir_op *scan =
        ir_add_op(v->module, IR_OP_scan, byte(v, 5) & 2 ? 3 : 2, operands, n,
                  attrs, v->diag);
    gen_checked(scan, v->diag);
    if (byte(v, 5) & 8 && v->module->n_outputs < max_outputs)
        gen_output(v->module, "state", &scan->result[1]);
    return &scan->result[byte(v, 5) & 16 ? 1 : 0];
}

/* ------------------------------------------------------------ elements -- */

/* x and another value that fits it, or a constant of some of its dims. */
static struct ir_value *add_map(struct nets *v, struct ir_value *x)
{
    static const char *const one[] = {"x0 0 max", "x0 tanh",
                                      "1 1 x0 neg exp add div", "x0 exp",
                                      "x0 x0 0.01 mul x0 0 gt where",
                                      "x0 abs sqrt", "x0 exp log1p", "x0 rint"};
    static const char *const two[] = {"x0 x1 add", "x0 x1 mul",
                                      "x0 x1 sub 0 max", "x1 x0 max tanh"};
    struct ir_value *pair[] = {x, v->at[byte(v, 3) % (unsigned)v->n]};
    struct ir_type type;
    int64_t dims[IR_MAX_RANK];
    if (byte(v, 4) & 1) {
        for (int i = 0; i < x->type.rank; i++)
            dims[i] = byte(v, 4) >> (2 + i) & 1 ? x->type.dim[i] : 1;
        const struct ir_attr value =
            ir_tensor_attr("value", weights(v, x->type.rank, dims));
        pair[1] = gen_op(v->module, IR_OP_constant, 0, NULL, 1, &value,
                         v->diag);
    } else if (v->streams && byte(v, 4) & 2) {
        pair[1] = number(v);
    }
    const bool both = byte(v, 2) & 0x80 && ir_broadcast(2, pair, &type) &&
                      ir_type_volume(&type) > 0 &&
                      ir_type_volume(&type) <= max_volume;
    const struct ir_attr attrs[] = {
        ir_string("program", both ? two[byte(v, 2) & 3] : one[byte(v, 2) & 7]),
        ir_string("dtype", ir_dtype_name(x->type.dtype))};
    return gen_op(v->module, IR_OP_map, both ? 2 : 1, pair, 2, attrs, v->diag);
}

/* Ops that look each element up. Byte 2 which, 3 flags, 7 the numbers. */
static struct ir_value *add_element(struct nets *v, struct ir_value *x)
{
    const int64_t n = 1 + two_bits(v, 3, 0);
    double wide[2][4];
    float narrow[2][4];
    for (int i = 0; i < n; i++) {
        wide[0][i] = i - 1 + (double)(byte(v, 7) & 15) / 16;
        wide[1][i] = (double)(int8_t)ir_random(byte(v, 7), (uint64_t)i) / 32;
        narrow[0][i] = (float)wide[0][i];
        narrow[1][i] = (float)wide[1][i];
    }
    const bool is_narrow = x->type.dtype == IR_F32;
    const struct ir_tensor *numbers[2];
    for (int i = 0; i < 2; i++)
        numbers[i] = ir_tensor_copy(v->module, x->type.dtype, n,
                                    is_narrow ? (const void *)narrow[i]
                                              : wide[i]);
    const struct ir_attr edges[] = {ir_tensor_attr("edges", numbers[0]),
                                    ir_int("right", byte(v, 3) >> 2 & 1)};
    const struct ir_attr line[] = {ir_tensor_attr("x", numbers[0]),
                                   ir_tensor_attr("y", numbers[1])};
    const struct ir_attr pairs[] = {ir_tensor_attr("keys", numbers[0]),
                                    ir_tensor_attr("values", numbers[1]),
                                    ir_float("default", 0.5)};
    switch (byte(v, 2) % 3) {
    case 0: return op(v, IR_OP_bucketize, x, 2, edges);
    case 1: return op(v, IR_OP_interp, x, 2, line);
    default: return op(v, IR_OP_lookup, x, 3, pairs);
    }
}

/* Slices along one of x's dims, or of all elements. */
static int slices(const struct nets *v, const struct ir_value *x,
                  struct ir_attr attrs[2])
{
    const int axis = (int)byte(v, 2) % (x->type.rank + 1);
    int64_t inner = 1;
    if (axis == x->type.rank)
        return 0;
    for (int i = axis + 1; i < x->type.rank; i++)
        inner *= x->type.dim[i];
    attrs[0] = ir_int("size", x->type.dim[axis]);
    attrs[1] = ir_int("inner", inner);
    return 2;
}

static struct ir_value *add_softmax(struct nets *v, struct ir_value *x)
{
    struct ir_attr attrs[4];
    int n = slices(v, x, attrs);
    if (n && !(byte(v, 4) & 4))
        attrs[n++] = ir_string("exp", "fast_exp");
    if (byte(v, 4) & 1)
        attrs[n++] = ir_string("sum_dtype", byte(v, 4) & 2 ? "f32" : "f64");
    return op(v, IR_OP_softmax, x, n, attrs);
}

static struct ir_value *add_reduce(struct nets *v, struct ir_value *x)
{
    static const char *const kinds[] = {"sum", "max", "min", "prod",
                                        "argmax", "argmin", "low", "high"};
    struct ir_attr attrs[5];
    int n = slices(v, x, attrs);
    const unsigned kind = byte(v, 3) % 8;
    const bool finds = kind == 4 || kind == 5;
    attrs[n++] = ir_string("kind", kinds[kind]);
    if (!finds && byte(v, 4) & 1)
        attrs[n++] = ir_string("sum_dtype", byte(v, 4) & 2 ? "f32" : "f64");
    if (finds)
        attrs[n++] = ir_int("last", byte(v, 4) & 1);
    return op(v, IR_OP_reduce, x, n, attrs);
}

static struct ir_value *add_argmax(struct nets *v, struct ir_value *x)
{
    struct ir_attr attrs[3];
    int n = slices(v, x, attrs);
    attrs[n++] = ir_int("last", byte(v, 4) & 1);
    return op(v, IR_OP_argmax, x, n, attrs);
}

/* x beside another of its dims, or itself. */
static struct ir_value *add_concat(struct nets *v, struct ir_value *x)
{
    struct ir_value *other = v->at[byte(v, 3) % (unsigned)v->n];
    if (!ir_type_equal(&x->type, &other->type))
        other = x;
    struct ir_value *parts[] = {x, other, x};
    const int n = 2 + (int)(byte(v, 4) & 1);
    const struct ir_attr axis =
        ir_int("axis", byte(v, 2) % (unsigned)x->type.rank);
    if (volume(x) * n > max_volume)
        return x;
    return gen_op(v->module, IR_OP_concat, n, parts, 1, &axis, v->diag);
}

/* Its elements number the rows of a table. */
static struct ir_value *add_take(struct nets *v, struct ir_value *x)
{
    const int64_t dims[] = {size_of(byte(v, 2)), size_of(byte(v, 3))};
    const int rank = byte(v, 4) & 1 && x->type.rank < IR_MAX_RANK &&
                     volume(x) * dims[1] <= max_volume ? 2 : 1;
    const struct ir_attr table =
        ir_tensor_attr("table", weights(v, rank, dims));
    return op(v, IR_OP_take, x, 1, &table);
}

/* ---------------------------------------------------------------- time -- */

/* x[T][F] with its dims turned. */
static struct ir_value *turned(struct nets *v, struct ir_value *x)
{
    const int64_t n = x->type.dim[1];
    return view(v, x, 2, (const int64_t[]){n, x->type.dim[0]},
                (const int64_t[]){1, n}, 0);
}

/* As many steps in front as the windows reach back to: of the conv itself, on
 * both sides and cut off again, or of a number that is not 0. Byte 2 taps and
 * dilation, 3 channels, 4 how steps are put in front, and groups. */
static struct ir_value *add_causal(struct nets *v, struct ir_value *x)
{
    static const double values[] = {0, -0.0, 0.75, -INFINITY};
    if (x->type.rank != 2)
        return x;
    const int64_t steps = x->type.dim[0], channels = x->type.dim[1];
    const int64_t taps = 1 + two_bits(v, 2, 0), apart = 1 + two_bits(v, 2, 1);
    const int64_t reach = (taps - 1) * apart;
    const unsigned way = byte(v, 4) & 3;
    const int64_t groups = byte(v, 4) & 4 ? channels : 1;
    int64_t m = groups > 1 ? channels : size_of(byte(v, 3));
    if (m * (steps + reach) > max_volume ||
        (channels + m) * (steps + reach) > max_volume ||
        m * steps * taps * channels / groups > max_work)
        m = groups;
    if ((channels + m) * (steps + reach) > max_volume)
        return x;
    x = turned(v, x);
    if (way == 2) {
        const int64_t before[] = {0, reach}, after[] = {0, 0};
        const struct ir_attr attrs[] = {
            ints(v, "before", 2, before), ints(v, "after", 2, after),
            ir_float("value", values[byte(v, 4) >> 3 & 3])};
        x = op(v, IR_OP_pad, x, 3, attrs);
    }
    const int64_t pads[] = {way == 2 || way == 3 ? 0 : reach,
                            way == 1 ? reach : 0};
    const int64_t one = 1, dims[] = {m, channels / groups, taps};
    const struct ir_attr attrs[] = {
        stored(v, "weights", 3, dims, false),
        ints(v, "strides", 1, &one), ints(v, "pads", 2, pads),
        ints(v, "dilations", 1, &apart), ir_int("groups", groups),
        ir_tensor_attr("bias", weights(v, 1, &m))};
    if (way == 3 && reach >= steps)
        return turned(v, x);
    x = op(v, IR_OP_conv, x, byte(v, 4) & 0x20 ? 6 : 5, attrs);
    if (way == 1)
        x = view(v, x, 2, (const int64_t[]){m, steps},
                 (const int64_t[]){steps + reach, 1}, 0);
    return turned(v, x);
}

/* Windows of stride 1 to 3 over time, of each channel alone. Byte 2 taps,
 * dilation and stride, 3 what they do, 4 steps in front. */
static struct ir_value *add_strided(struct nets *v, struct ir_value *x)
{
    if (x->type.rank != 2)
        return x;
    const int64_t steps = x->type.dim[0], channels = x->type.dim[1];
    const int64_t taps = 1 + two_bits(v, 2, 0);
    const int64_t apart = 1 + (two_bits(v, 2, 1) & 1);
    const int64_t stride = 1 + two_bits(v, 2, 2) % 3;
    const int64_t front = two_bits(v, 4, 0) % taps, back = two_bits(v, 4, 1);
    const int64_t pads[] = {front, back < taps ? back : 0};
    const int64_t dims[] = {channels, 1, taps};
    if (steps + front < (taps - 1) * apart + 1)
        return x;
    x = turned(v, x);
    if (byte(v, 3) & 1) {
        const struct ir_attr attrs[] = {
            ir_tensor_attr("weights", weights(v, 3, dims)),
            ints(v, "strides", 1, &stride), ints(v, "pads", 2, pads),
            ints(v, "dilations", 1, &apart), ir_int("groups", channels)};
        return turned(v, op(v, IR_OP_conv, x, 5, attrs));
    }
    const struct ir_attr attrs[] = {
        ir_string("kind", byte(v, 3) & 2 ? "max" : "average"),
        ints(v, "kernel", 1, &taps), ints(v, "strides", 1, &stride),
        ints(v, "pads", 2, pads), ints(v, "dilations", 1, &apart),
        ir_int("count_padding", byte(v, 3) >> 2 & 1)};
    return turned(v, op(v, IR_OP_pool, x, 6, attrs));
}

static struct ir_value *add_last(struct nets *v, struct ir_value *x)
{
    const int64_t n = last_dim(x), one = 1;
    return view(v, x, 1, &n, &one, volume(x) - n);
}

/* ---------------------------------------------------------------- nets -- */

static struct ir_value *add_record(struct nets *v)
{
    static struct ir_value *(*const ops[16])(struct nets *,
                                             struct ir_value *) = {
        add_gemm, add_conv, add_pool, add_scan, add_map, add_view, add_pad,
        add_concat, add_softmax, add_reduce, add_matmul, add_take, add_argmax,
        add_gemm, add_conv, add_map};
    static struct ir_value *(*const along[16])(struct nets *,
                                               struct ir_value *) = {
        add_gemm, add_causal, add_scan, add_map, add_last, add_view,
        add_causal, add_concat, add_softmax, add_reduce, add_matmul, add_take,
        add_argmax, add_strided, add_causal, add_map};
    v->code = byte(v, 0);
    struct ir_value *x = byte(v, 1) ? v->at[byte(v, 1) % (unsigned)v->n]
                                    : v->at[v->n - 1];
    if ((v->code & 15) == 15 && byte(v, 5) & 0x80)
        return add_element(v, x);
    return (v->streams ? along : ops)[v->code & 15](v, x);
}

/* The tensor comes in, of the dims that the header says. */
static struct ir_value *add_input(struct ir_module *module, struct gen_bytes b,
                                  struct ir_diag *diag)
{
    int64_t dims[4], n = 1;
    const bool streams = gen_at(b, 9) % 8 == 5;
    const int rank = streams ? 2 : 1 + (int)(gen_at(b, 4) & 3);
    for (int i = 0; i < rank; i++) {
        dims[i] = size_of(gen_at(b, 5 + (size_t)i));
        if (n * dims[i] > max_volume)
            dims[i] = 1;
        if (streams && i == 0 && dims[i] == 1 && gen_at(b, 9) % 16 == 5)
            dims[i] = 5;
        n *= dims[i];
    }
    ir_add_column(module, "net", IR_TENSOR_COLUMN, n);
    ir_add_column(module, "length", IR_NUMBER, 1);
    const struct ir_attr attrs[] = {
        ir_int("first", 0), ir_int("count", 1),
        ir_string("dtype", gen_at(b, 0) & 1 ? "f32" : "f64"),
        ir_tensor_attr("shape", ir_tensor_copy(module, IR_I64, rank, dims))};
    return gen_op(module, IR_OP_input, 0, NULL, 4, attrs, diag);
}

void gen_nets(struct ir_module *module, struct gen_bytes b, size_t n,
              struct ir_diag *diag)
{
    struct nets v = {.bytes = b, .module = module, .diag = diag,
                     .streams = gen_at(b, 9) % 8 == 5};
    struct ir_value *last = add_input(module, b, diag);
    v.at[v.n++] = last;
    n = n < max_values ? n : max_values;
    for (size_t i = 0; i < n; i++) {
        v.r = gen_header_bytes + i * gen_record_bytes;
        last = add_record(&v);
        if (last->type.dtype != IR_I32)
            v.at[v.n++] = last;
        if ((v.code & 0x10) && i + 1 < n &&
            module->n_outputs < max_outputs)
            gen_output(module, "value", last);
    }
    gen_output(module, "value", last);
}

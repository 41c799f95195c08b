/* test_nets.c: what gemm, matmul, conv, pool and scan compute, against the same
 * written once more: an element at a time, from the formulas of docs/ir.md, and
 * for both dtypes. All bits are compared. The activations here are such as need
 * no elementary function. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- modules -- */

enum { most = 32768 }; /* numbers of a value or tensor here */

static uint64_t draws; /* how many numbers were drawn so far */

static int64_t draw(int64_t n)
{
    return (int64_t)(ir_random(7, draws++) % (uint64_t)n);
}

/* A number that is no short sum of powers of two, now and then a zero. */
static double draw_number(enum ir_dtype dtype)
{
    const int64_t kind = draw(24);
    const double v = kind == 0   ? -0.0
                     : kind == 1 ? 0.0
                                 : (double)(draw(2001) - 1000) / 700;
    return dtype == IR_F32 ? (double)(float)v : v;
}

static double round_to(enum ir_dtype dtype, double v)
{
    return dtype == IR_F32 ? (double)(float)v : v;
}

/* The multiply-add of nets. */
static double mul_add(enum ir_dtype dtype, double a, double b, double c)
{
    if (dtype == IR_F32)
        return (double)fmaf((float)a, (float)b, (float)c);
    const volatile double product = a * b;
    return product + c;
}

/* A tensor of n drawn numbers, which are also in `numbers`. */
static const struct ir_tensor *draw_tensor(struct ir_module *m,
                                           enum ir_dtype dtype, int rank,
                                           const int64_t *dims,
                                           double *numbers)
{
    static float narrow[most];
    struct ir_tensor *t = ir_alloc(&m->arena, sizeof(*t));
    struct ir_type type = {.dtype = dtype, .rank = rank};
    memcpy(type.dim, dims, (size_t)rank * sizeof(*dims));
    const int64_t n = ir_type_volume(&type);
    assert_in_range(n, 1, most);
    for (int64_t i = 0; i < n; i++) {
        numbers[i] = draw_number(dtype);
        narrow[i] = (float)numbers[i];
    }
    *t = *ir_tensor_copy(m, dtype, n,
                         dtype == IR_F32 ? (const void *)narrow : numbers);
    t->type = type;
    return t;
}

static const struct ir_tensor *ints(struct ir_module *m, int n,
                                    const int64_t *v)
{
    return ir_tensor_copy(m, IR_I64, n, v);
}

/* A new column as a value of these dims. */
static struct ir_value *add_input(struct ir_module *m, enum ir_dtype dtype,
                                  int rank, const int64_t *dims)
{
    struct ir_diag diag;
    struct ir_type type = {.rank = rank};
    struct ir_text name;
    memcpy(type.dim, dims, (size_t)rank * sizeof(*dims));
    ir_diag_init(&diag);
    ir_text_init(&name);
    ir_text_printf(&name, "x%d", m->n_columns);
    ir_add_column(m, name.data, IR_TENSOR_COLUMN, ir_type_volume(&type));
    const struct ir_attr attrs[] = {
        ir_int("first", m->n_columns - 1), ir_int("count", 1),
        ir_string("dtype", ir_dtype_name(dtype)),
        ir_tensor_attr("shape", ints(m, rank, dims))};
    struct ir_op *op = ir_add_op(m, IR_OP_input, 0, NULL, 4, attrs, &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(op);
    ir_text_release(&name);
    ir_diag_release(&diag);
    return &op->result[0];
}

static struct ir_op *add_op(struct ir_module *m, enum ir_op_kind kind, int n,
                            struct ir_value *const *x, int n_attrs,
                            const struct ir_attr *attrs)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_op *op = ir_add_op(m, kind, n, x, n_attrs, attrs, &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(op);
    ir_diag_release(&diag);
    return op;
}

/* Puts drawn numbers into the row and evaluates the results of `op`. */
static void run(struct ir_module *m, struct ir_op *op, double *row,
                double *const *out)
{
    static double raw[most];
    struct ir_diag diag;
    const int64_t n = ir_row_elements(m);
    const enum ir_dtype dtype = op->result[0].type.dtype;
    const struct ir_rows rows = {IR_F64, row, 1, n, 1};
    assert_in_range(n, 1, most);
    for (int64_t i = 0; i < n; i++)
        row[i] = draw_number(dtype);
    for (int r = 0; r < op->n_results; r++)
        ir_add_output(m, r ? "second" : "first", &op->result[r]);
    ir_diag_init(&diag);
    const bool good = ir_verify(m, &diag);
    ir_diag_print(&diag, stderr);
    assert_true(good);
    ir_diag_release(&diag);
    for (int r = 0; r < op->n_results; r++) {
        const int64_t volume = ir_type_volume(&op->result[r].type);
        assert_in_range(volume, 1, most);
        ir_eval(m, r, &rows, raw);
        for (int64_t i = 0; i < volume; i++)
            out[r][i] = ir_real(raw, dtype, (size_t)i);
    }
}

static void check_same(const char *what, int64_t i, double got, double want)
{
    if (memcmp(&got, &want, sizeof(got)) != 0)
        fail_msg("%s: element %lld is %a, not %a", what, (long long)i, got,
                 want);
}

/* ------------------------------------------------------ gemm and matmul -- */

static void check_gemm(enum ir_dtype dtype, int64_t m, int64_t k, int64_t n,
                       int64_t block, bool biased)
{
    static double x[most], w[most], bias[most], y[most];
    double *const out[] = {y};
    struct ir_module *module = ir_module_new("gemm");
    const int64_t dims[] = {m, k}, weights[] = {k, n};
    struct ir_value *in = add_input(module, dtype, 2, dims);
    const struct ir_attr attrs[] = {
        ir_tensor_attr("weights", draw_tensor(module, dtype, 2, weights, w)),
        ir_int("block", block),
        ir_tensor_attr("bias", draw_tensor(module, dtype, 1, &n, bias))};
    run(module, add_op(module, IR_OP_gemm, 1, &in, 2 + biased, attrs), x, out);
    for (int64_t i = 0; i < m * n; i++) {
        double total = 0;
        for (int64_t b = 0; b * block < k; b++) {
            double sum = b == 0 && biased ? bias[i % n] : 0;
            for (int64_t j = b * block; j < k && j < (b + 1) * block; j++)
                sum = mul_add(dtype, x[i / n * k + j], w[j * n + i % n], sum);
            total = b == 0 ? sum : round_to(dtype, total + sum);
        }
        check_same("gemm", i, y[i], total);
    }
    ir_module_free(module);
}

static void gemm(void **state)
{
    static const int64_t size[] = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33};
    (void)state;
    for (int i = 0; i < 200; i++)
        check_gemm(i % 2 ? IR_F32 : IR_F64, 1 + draw(4), size[draw(11)],
                   size[draw(11)], 1 + draw(20), draw(2));
    assert_int_equal(ir_gemm_block(1), 8);
    assert_int_equal(ir_gemm_block(32), 8);
    assert_int_equal(ir_gemm_block(33), 16);
    assert_int_equal(ir_gemm_block(64), 16);
    assert_int_equal(ir_gemm_block(65), 32);
    assert_int_equal(ir_gemm_block(128), 32);
    assert_int_equal(ir_gemm_block(129), 256);
}

static void matmul(void **state)
{
    static double row[most], y[most];
    double *const out[] = {y};
    (void)state;
    for (int i = 0; i < 60; i++) {
        const enum ir_dtype dtype = i % 2 ? IR_F32 : IR_F64;
        const int64_t b = 1 + draw(3), m = 1 + draw(5), k = 1 + draw(9),
                      n = 1 + draw(5);
        struct ir_module *module = ir_module_new("matmul");
        struct ir_value *x[] = {
            add_input(module, dtype, 3, (const int64_t[]){b, m, k}),
            add_input(module, dtype, 3, (const int64_t[]){b, k, n})};
        run(module, add_op(module, IR_OP_matmul, 2, x, 0, NULL), row, out);
        const double *right = row + b * m * k;
        for (int64_t e = 0; e < b * m * n; e++) {
            const int64_t matrix = e / (m * n);
            double sum = 0;
            for (int64_t j = 0; j < k; j++)
                sum = mul_add(dtype, row[e / n * k + j],
                              right[(matrix * k + j) * n + e % n], sum);
            check_same("matmul", e, y[e], sum);
        }
        ir_module_free(module);
    }
}

/* ------------------------------------------------------- conv and pool -- */

/* The numbers of a conv or pool on dims d[1] to d[n]; d[0] are channels. */
struct windows {
    int n;
    int64_t d[4], o[4], kernel[3], stride[3], pad[6], dilation[3], spread[3],
        extra[3];
    int64_t taps, windows, size; /* products of kernel, o and d, but [0] */
};

/* Of a pool, or of a conv, which may have gaps. */
static void draw_windows(struct windows *w, bool pools)
{
    w->n = 1 + (int)draw(3);
    w->taps = w->windows = w->size = 1;
    for (int i = 0; i < w->n; i++) {
        w->kernel[i] = 1 + draw(3);
        w->stride[i] = 1 + draw(3);
        w->dilation[i] = 1 + draw(2);
        w->pad[i] = draw(3);
        w->pad[w->n + i] = draw(3);
        w->spread[i] = pools || draw(2) ? 1 : 2 + draw(2);
        w->extra[i] = pools ? draw(2) : 0;
        w->d[1 + i] = 5 + draw(w->n == 1 ? 20 : 2);
        const int64_t places = (w->d[1 + i] - 1) * w->spread[i] + 1 +
                               w->pad[i] + w->pad[w->n + i] + w->extra[i];
        w->o[1 + i] =
            (places - (w->kernel[i] - 1) * w->dilation[i] - 1) / w->stride[i] +
            1;
        w->taps *= w->kernel[i];
        w->windows *= w->o[1 + i];
        w->size *= w->d[1 + i];
    }
}

enum place { inside, outside, past, left_out };

/* What tap t of window o is, and if it is inside which element. */
static enum place find(const struct windows *w, int64_t o, int64_t t,
                       int64_t *element)
{
    enum place found = inside;
    int64_t scale = 1;
    *element = 0;
    for (int i = w->n; i-- > 0;) {
        const int64_t window = o % w->o[1 + i], tap = t % w->kernel[i];
        const int64_t at =
            window * w->stride[i] + tap * w->dilation[i] - w->pad[i];
        const int64_t last = (w->d[1 + i] - 1) * w->spread[i];
        o /= w->o[1 + i];
        t /= w->kernel[i];
        if (at % w->spread[i] != 0)
            return left_out;
        if (at > last + w->pad[w->n + i])
            found = past;
        else if ((at < 0 || at > last) && found != past)
            found = outside;
        *element += at / w->spread[i] * scale;
        scale *= w->d[1 + i];
    }
    return found;
}

static double conv_element(const struct windows *w, enum ir_dtype dtype,
                           int64_t channels, int64_t o, const double *x,
                           const double *weights, double sum)
{
    for (int64_t c = 0; c < channels; c++)
        for (int64_t t = 0; t < w->taps; t++) {
            int64_t at;
            const enum place place = find(w, o, t, &at);
            if (place != left_out)
                sum = mul_add(dtype, place == inside ? x[c * w->size + at] : 0,
                              weights[c * w->taps + t], sum);
        }
    return sum;
}

static void check_conv(enum ir_dtype dtype)
{
    static double x[most], weights[most], bias[most], y[most];
    double *const out[] = {y};
    struct ir_module *m = ir_module_new("conv");
    struct windows w;
    draw_windows(&w, false);
    const int64_t groups = 1 + draw(2), in = 1 + draw(2), filters = 1 + draw(2);
    const int64_t results = groups * filters;
    int64_t dims[5] = {results, in};
    w.d[0] = groups * in;
    memcpy(dims + 2, w.kernel, sizeof(w.kernel));
    struct ir_value *value = add_input(m, dtype, w.n + 1, w.d);
    const struct ir_attr attrs[] = {
        ir_tensor_attr("weights",
                       draw_tensor(m, dtype, w.n + 2, dims, weights)),
        ir_tensor_attr("strides", ints(m, w.n, w.stride)),
        ir_tensor_attr("pads", ints(m, 2 * w.n, w.pad)),
        ir_tensor_attr("dilations", ints(m, w.n, w.dilation)),
        ir_tensor_attr("input_dilations", ints(m, w.n, w.spread)),
        ir_int("groups", groups),
        ir_tensor_attr("bias", draw_tensor(m, dtype, 1, &results, bias))};
    const bool biased = draw(2);
    struct ir_op *op = add_op(m, IR_OP_conv, 1, &value, 6 + biased, attrs);
    assert_int_equal(ir_type_volume(&op->result[0].type), results * w.windows);
    run(m, op, x, out);
    for (int64_t i = 0; i < results * w.windows; i++) {
        const int64_t r = i / w.windows;
        const double want = conv_element(
            &w, dtype, in, i % w.windows, x + r / filters * in * w.size,
            weights + r * in * w.taps, biased ? bias[r] : 0);
        check_same("conv", i, y[i], want);
    }
    ir_module_free(m);
}

static void conv(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++)
        check_conv(i % 2 ? IR_F32 : IR_F64);
}

/* A transposed convolution spreads each element over the places that it
 * reaches; as a conv it is summed in another order. */
static void transposed_conv(void **state)
{
    static double x[most], flipped[most], y[most], want[most];
    double *const out[] = {y};
    (void)state;
    for (int i = 0; i < 50; i++) {
        const int64_t n = 1 + draw(6), k = 1 + draw(4), stride = 1 + draw(3),
                      dilation = 1 + draw(2), reach = (k - 1) * dilation;
        const int64_t pads[] = {reach, reach}, one = 1;
        struct ir_module *m = ir_module_new("conv");
        struct ir_value *value =
            add_input(m, IR_F64, 2, (const int64_t[]){1, n});
        const struct ir_attr attrs[] = {
            ir_tensor_attr("weights",
                           draw_tensor(m, IR_F64, 3,
                                       (const int64_t[]){1, 1, k}, flipped)),
            ir_tensor_attr("strides", ints(m, 1, &one)),
            ir_tensor_attr("pads", ints(m, 2, pads)),
            ir_tensor_attr("dilations", ints(m, 1, &dilation)),
            ir_tensor_attr("input_dilations", ints(m, 1, &stride)),
            ir_int("groups", 1)};
        struct ir_op *op = add_op(m, IR_OP_conv, 1, &value, 6, attrs);
        const int64_t n_out = (n - 1) * stride + reach + 1;
        assert_int_equal(ir_type_volume(&op->result[0].type), n_out);
        run(m, op, x, out);
        memset(want, 0, sizeof(want));
        for (int64_t e = 0; e < n; e++)
            for (int64_t t = 0; t < k; t++)
                want[e * stride + t * dilation] += x[e] * flipped[k - 1 - t];
        for (int64_t o = 0; o < n_out; o++)
            assert_true(fabs(y[o] - want[o]) < 1e-14);
        ir_module_free(m);
    }
}

static double pool_element(const struct windows *w, enum ir_dtype dtype,
                           bool max, bool padding, int64_t o, const double *x)
{
    double best = -INFINITY, sum = 0;
    int64_t n = 0, n_padding = 0;
    for (int64_t t = 0; t < w->taps; t++) {
        int64_t at;
        const enum place place = find(w, o, t, &at);
        n_padding += place == outside;
        if (place != inside)
            continue;
        if (n++ == 0 || x[at] > best)
            best = x[at];
        sum = round_to(dtype, sum + x[at]);
    }
    return max ? best
               : round_to(dtype, sum / (double)(padding ? n + n_padding : n));
}

static void check_pool(enum ir_dtype dtype)
{
    static double x[most], y[most];
    double *const out[] = {y};
    struct ir_module *m = ir_module_new("pool");
    struct windows w;
    const bool max = draw(2), padding = draw(2);
    draw_windows(&w, true);
    w.d[0] = 1 + draw(3);
    struct ir_value *value = add_input(m, dtype, w.n + 1, w.d);
    const struct ir_attr attrs[] = {
        ir_string("kind", max ? "max" : "average"),
        ir_tensor_attr("kernel", ints(m, w.n, w.kernel)),
        ir_tensor_attr("strides", ints(m, w.n, w.stride)),
        ir_tensor_attr("pads", ints(m, 2 * w.n, w.pad)),
        ir_tensor_attr("dilations", ints(m, w.n, w.dilation)),
        ir_tensor_attr("extra", ints(m, w.n, w.extra)),
        ir_int("count_padding", padding)};
    run(m, add_op(m, IR_OP_pool, 1, &value, 7, attrs), x, out);
    for (int64_t i = 0; i < w.d[0] * w.windows; i++) {
        const double want =
            pool_element(&w, dtype, max, padding, i % w.windows,
                         x + i / w.windows * w.size);
        if (isnan(want)) /* no element: 0 / 0 */
            assert_true(isnan(y[i]));
        else
            check_same("pool", i, y[i], want);
    }
    ir_module_free(m);
}

static void pool(void **state)
{
    (void)state;
    for (int i = 0; i < 400; i++)
        check_pool(i % 2 ? IR_F32 : IR_F64);
}

/* ---------------------------------------------------------------- scan -- */

/* One cell's numbers, and the state as it goes. */
struct cell {
    enum ir_dtype dtype;
    enum ir_cell kind;
    int64_t hidden, gates;
    bool before_reset, input_forget, peeps, biased;
    double clip;
    double recurrent[most], bias[most], peephole[most];
    double h[most], c[most];
};

static double clipped(const struct cell *s, double v)
{
    return v > s->clip ? s->clip : v < -s->clip ? -s->clip : v;
}

/* "x0 0.25 mul 0.5 add": an activation, step by step. */
static double gate_of(const struct cell *s, double v)
{
    return round_to(s->dtype,
                    round_to(s->dtype, clipped(s, v) * 0.25) + 0.5);
}

/* "x0 0.75 mul" */
static double candidate_of(const struct cell *s, double v)
{
    return round_to(s->dtype, clipped(s, v) * 0.75);
}

/* "x0 -1 max" */
static double output_of(const struct cell *s, double v)
{
    (void)s;
    return v > -1 ? v : -1;
}

/* Gate g of unit j: from `start` on, over v. */
static double recur(const struct cell *s, int64_t g, int64_t j, double start,
                    const double *v)
{
    for (int64_t k = 0; k < s->hidden; k++)
        start = mul_add(s->dtype, v[k],
                        s->recurrent[(k * s->gates + g) * s->hidden + j],
                        start);
    return start;
}

static double plus_product(const struct cell *s, double v, double a, double b)
{
    return round_to(s->dtype, v + round_to(s->dtype, a * b));
}

static double peep(const struct cell *s, int64_t g, int64_t j, double v,
                   double c)
{
    return s->peeps ? plus_product(s, v, s->peephole[g * s->hidden + j], c)
                    : v;
}

static void lstm_step(struct cell *s, const double *z)
{
    const int64_t n = s->hidden;
    double h[64];
    for (int64_t j = 0; j < n; j++) {
        const double i = gate_of(
            s, peep(s, 0, j, recur(s, 0, j, z[j], s->h), s->c[j]));
        const double f =
            s->input_forget
                ? round_to(s->dtype, 1 - i)
                : gate_of(s, peep(s, 2, j, recur(s, 2, j, z[2 * n + j], s->h),
                                  s->c[j]));
        const double g = candidate_of(s, recur(s, 3, j, z[3 * n + j], s->h));
        s->c[j] =
            plus_product(s, round_to(s->dtype, f * s->c[j]), i, g);
        const double o = gate_of(
            s, peep(s, 1, j, recur(s, 1, j, z[n + j], s->h), s->c[j]));
        h[j] = round_to(s->dtype, o * output_of(s, s->c[j]));
    }
    memcpy(s->h, h, (size_t)n * sizeof(*h));
}

static void gru_step(struct cell *s, const double *z)
{
    const int64_t n = s->hidden;
    double h[64], scaled[64];
    for (int64_t j = 0; j < n; j++)
        scaled[j] = round_to(
            s->dtype, gate_of(s, recur(s, 1, j, z[n + j], s->h)) * s->h[j]);
    for (int64_t j = 0; j < n; j++) {
        const double update = gate_of(s, recur(s, 0, j, z[j], s->h));
        const double reset = gate_of(s, recur(s, 1, j, z[n + j], s->h));
        const double a =
            s->before_reset
                ? plus_product(s, z[2 * n + j], reset,
                               recur(s, 2, j, s->biased ? s->bias[j] : 0,
                                     s->h))
                : recur(s, 2, j, z[2 * n + j], scaled);
        const double left = round_to(s->dtype, 1 - update);
        h[j] = plus_product(s, round_to(s->dtype, left * candidate_of(s, a)),
                            update, s->h[j]);
    }
    memcpy(s->h, h, (size_t)n * sizeof(*h));
}

static void rnn_step(struct cell *s, const double *z)
{
    double h[64];
    for (int64_t j = 0; j < s->hidden; j++)
        h[j] = gate_of(s, recur(s, 0, j, z[j], s->h));
    memcpy(s->h, h, (size_t)s->hidden * sizeof(*h));
}

static void draw_cell(struct cell *s, int number)
{
    static const int64_t gates[] = {4, 3, 1};
    *s = (struct cell){.dtype = number % 2 ? IR_F32 : IR_F64,
                       .kind = (enum ir_cell)(number / 2 % 3),
                       .hidden = 1 + draw(6), .clip = INFINITY};
    s->gates = gates[s->kind];
    s->before_reset = s->kind == IR_GRU && draw(2);
    s->biased = s->before_reset && draw(2);
    s->input_forget = s->kind == IR_LSTM && draw(2);
    s->peeps = s->kind == IR_LSTM && draw(2);
    if (draw(2))
        s->clip = 0.5;
}

/* The op, of z, the state and, unless it is < 0, the length. */
static struct ir_op *add_scan(struct ir_module *m, struct cell *s,
                              int64_t steps, int64_t length, bool reverse)
{
    static const char *const names[] = {"lstm", "gru", "rnn"};
    const int64_t n = s->hidden, states = s->kind == IR_LSTM ? 2 : 1;
    const int64_t dims[] = {steps, s->gates * n}, square[] = {n, s->gates * n};
    const int64_t n_state = states * n, three = 3 * n;
    const double number = (double)length + 0.75;
    struct ir_value *x[3] = {add_input(m, s->dtype, 2, dims),
                             add_input(m, s->dtype, 1, &n_state)};
    if (length >= 0) {
        const struct ir_attr value =
            ir_tensor_attr("value", ir_tensor_copy(m, IR_F64, 1, &number));
        x[2] = &add_op(m, IR_OP_constant, 0, NULL, 1, &value)->result[0];
    }
    struct ir_attr attrs[12] = {
        ir_string("cell", names[s->kind]),
        ir_tensor_attr("recurrent",
                       draw_tensor(m, s->dtype, 2, square, s->recurrent)),
        ir_int("reverse", reverse), ir_string("gate", "x0 0.25 mul 0.5 add")};
    int k = 4;
    if (s->kind != IR_RNN)
        attrs[k++] = ir_string("candidate", "x0 0.75 mul");
    if (s->kind == IR_LSTM)
        attrs[k++] = ir_string("output", "x0 -1 max");
    if (s->before_reset)
        attrs[k++] = ir_int("linear_before_reset", 1);
    if (s->biased)
        attrs[k++] = ir_tensor_attr(
            "recurrent_bias", draw_tensor(m, s->dtype, 1, &n, s->bias));
    if (s->input_forget)
        attrs[k++] = ir_int("input_forget", 1);
    if (s->peeps)
        attrs[k++] = ir_tensor_attr(
            "peephole", draw_tensor(m, s->dtype, 1, &three, s->peephole));
    if (isfinite(s->clip))
        attrs[k++] = ir_float("clip", s->clip);
    return add_op(m, IR_OP_scan, length < 0 ? 2 : 3, x, k, attrs);
}

static void check_scan(int number)
{
    static struct cell s;
    static double row[most], y[most], state[most], want[most];
    double *const out[] = {y, state};
    struct ir_module *m = ir_module_new("scan");
    draw_cell(&s, number);
    const int64_t n = s.hidden, steps = 1 + draw(5);
    const int64_t length = draw(2) ? draw(steps + 3) : -1;
    const int64_t taken = length < 0 || length > steps ? steps : length;
    const bool reverse = draw(2);
    run(m, add_scan(m, &s, steps, length, reverse), row, out);
    const int64_t width = s.gates * n;
    memcpy(s.h, row + steps * width, (size_t)n * sizeof(*row));
    memcpy(s.c, row + steps * width + n, (size_t)n * sizeof(*row));
    memset(want, 0, sizeof(want));
    for (int64_t i = 0; i < taken; i++) {
        const int64_t t = reverse ? taken - 1 - i : i;
        const double *z = row + t * width;
        if (s.kind == IR_LSTM)
            lstm_step(&s, z);
        else if (s.kind == IR_GRU)
            gru_step(&s, z);
        else
            rnn_step(&s, z);
        memcpy(want + t * n, s.h, (size_t)n * sizeof(*row));
    }
    for (int64_t i = 0; i < steps * n; i++)
        check_same("scan", i, y[i], want[i]);
    for (int64_t i = 0; i < n; i++) {
        check_same("state h", i, state[i], s.h[i]);
        if (s.kind == IR_LSTM)
            check_same("state c", i, state[n + i], s.c[i]);
    }
    ir_module_free(m);
}

static void scan(void **state)
{
    (void)state;
    for (int i = 0; i < 600; i++)
        check_scan(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gemm), cmocka_unit_test(matmul),
        cmocka_unit_test(conv), cmocka_unit_test(transposed_conv),
        cmocka_unit_test(pool), cmocka_unit_test(scan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

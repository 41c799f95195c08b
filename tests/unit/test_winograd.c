/* test_winograd.c: convs by Winograd's way. Where every step is exact they give
 * what the conv gives; elsewhere they stay as near to it, computed in f64, as
 * docs/ir.md says. That compiled code has their bits is for others to test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { n_rows = 20, size = 13 };
enum output { PLAIN, FEWER, EXACT, N_OUTPUTS };

/* A conv along one or two dims of an image of `size` numbers each way. */
struct shape {
    int64_t dims, taps, tile, channels, results;
};

static double draw(uint64_t seed, int64_t i)
{
    return (double)(ir_random(seed, (uint64_t)i) >> 11) * 0x1p-52 - 1;
}

static const struct ir_tensor *same(struct ir_module *m, int64_t n,
                                    int64_t each)
{
    const int64_t numbers[] = {each, each, each, each};
    return ir_tensor_copy(m, IR_I64, n, numbers);
}

static struct ir_value *add(struct ir_module *m, enum ir_op_kind kind,
                            struct ir_value *x, int n,
                            const struct ir_attr *attrs)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_op *op = ir_add_op(m, kind, x != NULL, &x, n, attrs, &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(op);
    ir_diag_release(&diag);
    return &op->result[0];
}

/* Numbers of f32, as such or as f64: whole ones times `step`, or with 0 any. */
static const struct ir_tensor *numbers(struct ir_module *m,
                                       const struct ir_type *type, double step,
                                       uint64_t seed)
{
    struct ir_tensor *t = ir_alloc(&m->arena, sizeof(*t));
    const int64_t n = ir_type_volume(type);
    float *f32 = ir_alloc_array(&m->arena, (size_t)n, sizeof(*f32));
    double *f64 = ir_alloc_array(&m->arena, (size_t)n, sizeof(*f64));
    for (int64_t i = 0; i < n; i++) {
        const double v = draw(seed, i);
        f32[i] = (float)(step > 0 ? rint(v * 4) * step : v);
        f64[i] = (double)f32[i];
    }
    *t = (struct ir_tensor){.type = *type};
    t->data = type->dtype == IR_F32 ? (const void *)f32 : f64;
    return t;
}

static void add_conv(struct ir_module *m, const struct shape *s,
                     enum output output, double step)
{
    static const char *const names[] = {"plain", "fewer", "exact"};
    const enum ir_dtype dtype = output == EXACT ? IR_F64 : IR_F32;
    const int64_t dims[] = {s->channels, size, size};
    const struct ir_type weights = {
        .dtype = dtype, .rank = (int)s->dims + 2,
        .dim = {s->results, s->channels, s->taps, s->taps}};
    const struct ir_type bias = {.dtype = dtype, .rank = 1,
                                 .dim = {s->results}};
    const struct ir_attr input[] = {
        ir_int("first", 0), ir_int("count", 1),
        ir_string("dtype", ir_dtype_name(dtype)),
        ir_tensor_attr("shape", ir_tensor_copy(m, IR_I64, s->dims + 1, dims))};
    const struct ir_attr conv[] = {
        ir_tensor_attr("weights", numbers(m, &weights, step, 1)),
        ir_tensor_attr("bias", numbers(m, &bias, step, 2)),
        ir_tensor_attr("strides", same(m, s->dims, 1)),
        ir_tensor_attr("pads", same(m, 2 * s->dims, 1)),
        ir_tensor_attr("dilations", same(m, s->dims, 1)),
        ir_int("groups", 1),
        ir_tensor_attr("winograd", same(m, s->dims, s->tile))};
    struct ir_value *x = add(m, IR_OP_input, NULL, 4, input);
    ir_add_output(m, names[output],
                  add(m, IR_OP_conv, x, output == FEWER ? 7 : 6, conv));
}

/* y[output] is what the three have as f64; how many numbers each. */
static int64_t evaluate(const struct shape *s, double step,
                        double *y[N_OUTPUTS])
{
    struct ir_module *m = ir_module_new("winograd");
    struct ir_diag diag;
    const int64_t width = s->channels * size * (s->dims == 2 ? size : 1);
    double *x = ir_alloc_array(&m->arena, (size_t)(n_rows * width), 8);
    for (int64_t i = 0; i < n_rows * width; i++) {
        const double v = draw(3, i);
        x[i] = (double)(float)(step > 0 ? rint(v * 8) : v > 0 ? v : 0);
    }
    ir_add_column(m, "x", IR_TENSOR_COLUMN, width);
    for (int o = 0; o < N_OUTPUTS; o++)
        add_conv(m, s, (enum output)o, step);
    ir_diag_init(&diag);
    assert_true(ir_verify(m, &diag));
    ir_diag_release(&diag);
    const struct ir_rows rows = {IR_F64, x, n_rows, width, 1};
    const int64_t n = n_rows * ir_type_volume(&m->outputs[0].value->type);
    float *narrow = ir_alloc_array(&m->arena, (size_t)n, sizeof(*narrow));
    for (int o = 0; o < N_OUTPUTS; o++) {
        y[o] = malloc((size_t)n * sizeof(double));
        assert_non_null(y[o]);
        ir_eval(m, o, &rows, o == EXACT ? (void *)y[o] : narrow);
        for (int64_t i = 0; i < n && o != EXACT; i++)
            y[o][i] = (double)narrow[i];
    }
    ir_module_free(m);
    return n;
}

static void release(double *y[N_OUTPUTS])
{
    for (int o = 0; o < N_OUTPUTS; o++)
        free(y[o]);
}

/* With 4 points weights are halved along each dim, and nothing is rounded. */
static void whole_numbers(void **state)
{
    static const struct shape shapes[] = {
        {1, 3, 2, 3, 2}, {1, 2, 3, 2, 3}, {2, 3, 2, 3, 2}, {2, 2, 3, 1, 1}};
    (void)state;
    for (size_t k = 0; k < sizeof(shapes) / sizeof(*shapes); k++) {
        double *y[N_OUTPUTS];
        const int64_t n = evaluate(&shapes[k], 4, y);
        for (int64_t i = 0; i < n; i++)
            assert_true(y[FEWER][i] == y[EXACT][i] &&
                        y[PLAIN][i] == y[EXACT][i]);
        release(y);
    }
}

/* By how much more than that of a plain conv of f32 the mean error, and the
 * largest one, may be: docs/ir.md says so. */
static void errors(void **state)
{
    static const struct {
        struct shape shape;
        double mean, most;
    } cases[] = {
        {{2, 3, 2, 16, 4}, 1.3, 1.5},  {{2, 3, 4, 16, 4}, 3.5, 4},
        {{2, 5, 2, 16, 4}, 2.5, 2.5},  {{2, 4, 3, 16, 4}, 3, 3},
        {{2, 2, 5, 16, 4}, 5, 6},      {{1, 3, 4, 16, 4}, 2.5, 4},
        {{1, 5, 2, 16, 4}, 2.5, 2.5},  {{2, 5, 2, 64, 4}, 2, 2.5},
    };
    (void)state;
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
        double *y[N_OUTPUTS], sum[2] = {0}, most[2] = {0}, largest = 0;
        const int64_t n = evaluate(&cases[k].shape, 0, y);
        for (int64_t i = 0; i < n; i++) {
            largest = fmax(largest, fabs(y[EXACT][i]));
            for (int o = 0; o < 2; o++) {
                const double error = fabs(y[o][i] - y[EXACT][i]);
                sum[o] += error;
                most[o] = fmax(most[o], error);
            }
        }
        print_message("%d taps, tiles of %d, %d dims: mean %.2f, most %.2f "
                      "of a plain one's; most %.2g of the largest number\n",
                      (int)cases[k].shape.taps, (int)cases[k].shape.tile,
                      (int)cases[k].shape.dims, sum[FEWER] / sum[PLAIN],
                      most[FEWER] / most[PLAIN], most[FEWER] / largest);
        assert_true(most[FEWER] > 0); /* else it was not computed so */
        assert_true(sum[FEWER] < cases[k].mean * sum[PLAIN]);
        assert_true(most[FEWER] < cases[k].most * most[PLAIN]);
        assert_true(most[FEWER] < 2e-6 * largest);
        release(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(whole_numbers),
                                       cmocka_unit_test(errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

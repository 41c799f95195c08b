/* test_emit_math.c: a map's elementary functions, compiled for every ISA level
 * that this CPU runs, give the interpreter's bits: at numbers of all exponents
 * and at the odd ones, in batches of odd sizes and row by row. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "passes/passes.h"
#include "runtime/abi.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { n_rows = 20011, first_odd = 12 };

static const char *const programs[] = {
    "x0 exp",   "x0 log",  "x0 log1p",    "x0 expm1",    "x0 tanh",
    "x0 0.3 pow", "x0 sigmoid", "x0 softplus", "x0 erf", "x0 sin",
    "x0 cos",   "x0 tan",  "x0 atan",     "x0 ceil",     "x0 floor",    "x0 rint",
    "x0 fast_exp", "x0 fast_expm1", "x0 fast_log", "x0 0.3 fast_pow",
    "2.5 x0 fast_pow", "x0 x0 fast_pow", "x0 x0 rint fast_pow"};
enum { n_programs = sizeof(programs) / sizeof(programs[0]) };

static const double odd[first_odd] = {0, -0.0, INFINITY, -INFINITY, NAN, 1, -1,
                                      0.5, -2.5, 104, -104, 0x1p-149};

/* A row is one number, and output k is programs[k] of it with the other sign:
 * of a map's result, which lies so that vectors can be read. */
static struct ir_module *functions_of(enum ir_dtype dtype, struct ir_diag *diag)
{
    const char *const name = ir_dtype_name(dtype);
    struct ir_module *m = ir_module_new("functions");
    ir_add_column(m, "x", IR_NUMBER, 1);
    const struct ir_attr input[] = {ir_int("first", 0), ir_int("count", 1),
                                    ir_string("dtype", name)};
    struct ir_value *x =
        &ir_add_op(m, IR_OP_input, 0, NULL, 3, input, diag)->result[0];
    const struct ir_attr negation[] = {ir_string("program", "x0 neg"),
                                       ir_string("dtype", name)};
    x = &ir_add_op(m, IR_OP_map, 1, &x, 2, negation, diag)->result[0];
    for (int k = 0; k < n_programs; k++) {
        const struct ir_attr attrs[] = {ir_string("program", programs[k]),
                                        ir_string("dtype", name)};
        struct ir_op *op = ir_add_op(m, IR_OP_map, 1, &x, 2, attrs, diag);
        char output[32];
        snprintf(output, sizeof output, "y%d", k);
        ir_add_output(m, output, &op->result[0]);
    }
    assert_true(ir_verify(m, diag));
    return m;
}

static double row_of(enum ir_dtype dtype, int i)
{
    const uint64_t r = ir_random(7, (uint64_t)i);
    const double unit = (double)(r >> 11) * 0x1p-53;
    double x;
    float narrow;
    const uint32_t half = (uint32_t)(r >> 32);
    if (i < first_odd)
        return odd[i];
    if (i % 3 == 0)
        return (double)(float)(unit * 40 - 20);
    memcpy(&x, &r, sizeof(x));
    memcpy(&narrow, &half, sizeof(narrow));
    return dtype == IR_F32 ? (double)narrow : x;
}

static double number_at(enum ir_dtype dtype, const void *numbers, int i)
{
    return dtype == IR_F32 ? (double)((const float *)numbers)[i]
                           : ((const double *)numbers)[i];
}

static bool same_bits(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof(a)) == 0;
}

static void predict(const struct tn_model *model, enum ir_dtype dtype,
                    uint32_t output, const void *rows, uint64_t n, void *out,
                    void *scratch)
{
    const int code =
        dtype == IR_F32
            ? model->predict_f32(output, rows, n, 1, 1, out, scratch)
            : model->predict_f64(output, rows, n, 1, 1, out, scratch);
    assert_int_equal(code, TN_OK);
}

static void check_output(const struct tn_model *model, enum ir_dtype dtype,
                         uint32_t output, const void *rows, void *scratch)
{
    const size_t size = dtype == IR_F32 ? 4 : 8;
    struct ir_step steps[IR_MAX_STEPS];
    struct ir_diag diag;
    ir_diag_init(&diag);
    const int n = ir_program_parse(programs[output], NULL, steps, &diag);
    ir_diag_release(&diag);
    char *out = ir_realloc_array(NULL, n_rows, size);
    /* All at once, which are vectors but for the last; then one row in 97 as a
     * batch of one. */
    predict(model, dtype, output, rows, n_rows, out, scratch);
    for (int i = 0; i < n_rows; i++) {
        const double x[4] = {-number_at(dtype, rows, i)};
        const double want = ir_program_eval(steps, n, x, dtype);
        double got = number_at(dtype, out, i);
        if (i % 97 == 0) {
            char one[8];
            predict(model, dtype, output, (const char *)rows + i * size, 1,
                    one, scratch);
            if (!same_bits(number_at(dtype, one, 0), got))
                fail_msg("%s of %a differs in a batch of one",
                         programs[output], x[0]);
        }
        if (!same_bits(got, want))
            fail_msg("%s of %s %a is %a, not %a", programs[output],
                     ir_dtype_name(dtype), x[0], got, want);
    }
    free(out);
}

static const char *cpus_here(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("x86-64-v4"))
        return "x86-64-v2,x86-64-v3";
#endif
    return NULL;
}

static void check(enum ir_dtype dtype)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *source = functions_of(dtype, &diag);
    struct ir_module *module = ir_module_clone(source);
    const struct pass_options passes = {0};
    const struct be_options options = {.cpus = cpus_here(), .n_golden = 1};
    assert_true(pass_run_all(module, &passes, &diag));
    struct be_artifact *artifact =
        be_compile(source, module, &options, &diag);
    struct be_jit *jit = NULL;
    const struct tn_model *model =
        artifact ? be_jit_load(artifact, &jit, &diag) : NULL;
    ir_diag_print(&diag, stderr);
    assert_non_null(model);
    void *scratch = aligned_alloc(64, (model->scratch_bytes + 64) / 64 * 64);
    void *rows = ir_realloc_array(NULL, n_rows, 8);
    for (int i = 0; i < n_rows; i++)
        if (dtype == IR_F32)
            ((float *)rows)[i] = (float)row_of(dtype, i);
        else
            ((double *)rows)[i] = row_of(dtype, i);
    for (uint32_t level = 0; level < model->n_isa; level++) {
        if (model->isa_limit((int)level) != (int)level)
            continue;
        print_message("%s: %s\n", ir_dtype_name(dtype), model->isa[level]);
        for (uint32_t k = 0; k < n_programs; k++)
            check_output(model, dtype, k, rows, scratch);
    }
    free(rows);
    free(scratch);
    be_jit_free(jit);
    be_free(artifact);
    ir_module_free(module);
    ir_module_free(source);
    ir_diag_release(&diag);
}

static void functions_of_f32(void **state)
{
    (void)state;
    check(IR_F32);
}

static void functions_of_f64(void **state)
{
    (void)state;
    check(IR_F64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_of_f32),
        cmocka_unit_test(functions_of_f64),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

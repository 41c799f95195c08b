/* test_math.c: the elementary functions, against long doubles, against the C
 * library's and against recorded bits. With a number as its argument, so many
 * millions of random arguments instead of one. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t n_random = 1000000;

static bool same_bits(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof(a)) == 0;
}

static double f64_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* How far `got` is from the exact result, in units of its last place. */
static double ulps(double got, long double exact)
{
    if (fabsl(exact) > (long double)DBL_MAX)
        return isinf(got) && (got > 0) == (exact > 0) ? 0 : 0.5;
    int e;
    frexpl(exact, &e);
    if (e < -1021)
        e = -1021;
    return (double)fabsl(((long double)got - exact) / ldexpl(1, e - 53));
}

/* Arguments where exp does something, and any bits at all. */
static double exp_argument(uint64_t i)
{
    const uint64_t r = ir_random(1, i);
    const double unit = (double)(r >> 11) * 0x1p-53;
    switch (i % 4) {
    case 0: return unit * 1500 - 750;
    case 1: return unit * 2 - 1;
    case 2: return ldexp(unit * 2 - 1, -(int)(r % 60));
    default: return f64_of(r);
    }
}

static double log1p_argument(uint64_t i)
{
    const uint64_t r = ir_random(2, i);
    const double unit = (double)(r >> 11) * 0x1p-53;
    switch (i % 4) {
    case 0: return unit * 3 - 1;
    case 1: return ldexp(unit, (int)(r % 1100) - 60);
    case 2: return -1 + ldexp(unit, -(int)(r % 53));
    default: return f64_of(r & ~(UINT64_C(1) << 63));
    }
}

static void exp_is_accurate(void **state)
{
    double worst = 0;
    (void)state;
    for (uint64_t i = 0; i < n_random; i++) {
        const double x = exp_argument(i);
        if (!isfinite(x))
            continue;
        const double off = ulps(ir_exp(x), expl((long double)x));
        if (off > worst)
            worst = off;
    }
    print_message("exp: at most %.4f ulp off\n", worst);
    assert_true(worst < 0.52); /* 0.511 in the paper of the algorithm */
}

static void log1p_is_accurate(void **state)
{
    double worst = 0;
    (void)state;
    for (uint64_t i = 0; i < n_random; i++) {
        const double x = log1p_argument(i);
        if (!(x > -1 && isfinite(x)))
            continue;
        const double off = ulps(ir_log1p(x), log1pl((long double)x));
        if (off > worst)
            worst = off;
    }
    print_message("log1p: at most %.4f ulp off\n", worst);
    assert_true(worst < 1); /* fdlibm states this */
}

/* Whether the library's functions are the FMA builds that ours are: see
 * math.inc. The build of log1p shows in the last bit of one result. */
static bool is_our_library(double (*volatile library_log1p)(double))
{
#if defined(__GLIBC__) && defined(__x86_64__)
    return __builtin_cpu_supports("fma") &&
           library_log1p(0x1.74a9426582958p-2) == 0x1.3dd11abc98d3fp-2;
#else
    (void)library_log1p;
    return false;
#endif
}

static void both_are_those_of_glibc(void **state)
{
    double (*volatile library_exp)(double) = exp;
    double (*volatile library_log1p)(double) = log1p;
    (void)state;
    if (!is_our_library(log1p)) {
        print_message("skipped: the C library has other functions\n");
        skip();
    }
    for (uint64_t i = 0; i < n_random; i++) {
        const double x = exp_argument(i), y = log1p_argument(i);
        if (!same_bits(ir_exp(x), library_exp(x)))
            fail_msg("exp(%a) is %a", x, ir_exp(x));
        if (!same_bits(ir_log1p(y), library_log1p(y)))
            fail_msg("log1p(%a) is %a", y, ir_log1p(y));
    }
}

/* ------------------------------------------- log, expm1, tanh, pow, expf -- */

static double uniform(uint64_t i, double low, double high)
{
    return low + (double)(ir_random(77, i) >> 11) * 0x1p-53 * (high - low);
}

static void check_ulps(const char *name, double x, double got,
                       long double want, double most)
{
    if (!same_bits(got, (double)want) && !(ulps(got, want) <= most))
        fail_msg("%s(%a) is %a, %.3g ulps off", name, x, got,
                 ulps(got, want));
}

static void the_others_are_close(void **state)
{
    (void)state;
    if (LDBL_MANT_DIG < 64)
        skip();
    for (uint64_t i = 0; i < n_random; i++) {
        const double wide = f64_of(ir_random(78, i) & INT64_MAX);
        const double near = uniform(4 * i, 0.5, 2);
        const double x = uniform(4 * i + 1, -2, 2) * (i % 3 ? 1 : 0x1p-9);
        const double big = uniform(4 * i + 2, -750, 750);
        const double y = i & 1 ? uniform(4 * i + 3, -50, 50) : big;
        check_ulps("log", wide, ir_log(wide), logl(wide), 0.9);
        check_ulps("log", near, ir_log(near), logl(near), 0.9);
        check_ulps("expm1", x, ir_expm1(x), expm1l(x), 1.4);
        check_ulps("expm1", big, ir_expm1(big), expm1l(big), 1.4);
        check_ulps("tanh", x, ir_tanh(x), tanhl(x), 2.3);
        check_ulps("pow", near, ir_pow(near, y), powl(near, y), 0.6);
        check_ulps("pow", wide, ir_pow(wide, x), powl(wide, x), 0.6);
    }
}

static void they_know_the_odd_arguments(void **state)
{
    static const double odd[] = {
        0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, INFINITY, -INFINITY, NAN,
        0x1p-1074, -0x1p-1074, DBL_MAX, -DBL_MAX, 0x1p52, 0x1p53,
        1 - 0x1p53, 0x1p53 - 1, 1 + 0x1p-52, 1 - 0x1p-53, 1e-300};
    enum { n = sizeof(odd) / sizeof(odd[0]) };
    (void)state;
    for (int i = 0; i < n; i++) {
        const double x = odd[i];
        check_ulps("log", x, ir_log(x), log(x), 1);
        check_ulps("expm1", x, ir_expm1(x), expm1(x), 1);
        check_ulps("tanh", x, ir_tanh(x), tanh(x), 1);
        for (int k = 0; k < n; k++) {
            const double got = ir_pow(x, odd[k]), want = pow(x, odd[k]);
            if (!isnan(want) && !signbit(got) != !signbit(want))
                fail_msg("pow(%a, %a) is %a", x, odd[k], got);
            check_ulps("pow", x, got, want, 1);
        }
    }
    assert_true(signbit(ir_tanh(-0.0)) && signbit(ir_expm1(-0.0)));
}

/* All of 2^32 floats were tried; here every 1,021st is. */
static void expf_is_that_of_glibc(void **state)
{
    float (*volatile library_expf)(float) = expf;
    (void)state;
    if (!is_our_library(log1p))
        skip();
    for (uint64_t i = 0; i < UINT64_C(1) << 32; i += 1021) {
        const uint32_t bits = (uint32_t)i;
        float x;
        memcpy(&x, &bits, 4);
        const float got = ir_expf(x), want = library_expf(x);
        if (memcmp(&got, &want, 4) && !(isnan(got) && isnan(want)))
            fail_msg("expf(%a) is %a, not %a", (double)x, (double)got,
                     (double)want);
    }
}

/* ------------------------------------------------- without FMA, the same -- */

static double as_float(uint64_t bits)
{
    return f64_of(bits);
}

static uint64_t as_int(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

#define MATH_F double
#define MATH_I uint64_t
#define MATH_B bool
#define MATH_PARAM
#define MATH_ARG
#define CONST(c) (c)
#define ICONST(c) (c)
#define ADD(a, b) ((a) + (b))
#define SUB(a, b) ((a) - (b))
#define MUL(a, b) ((a) * (b))
#define DIV(a, b) ((a) / (b))
#define FMA(a, b, c) math_fma(a, b, c)
#define LT(a, b) ((a) < (b))
#define SELECT(c, x, y) ((c) ? (x) : (y))
#define AS_INT(f) as_int(f)
#define AS_FLOAT(i) as_float(i)
#define IADD(a, b) ((a) + (b))
#define AND(a, b) ((a) & (b))
#define SHL(i, n) ((i) << (n))
#define SHR(i, n) ((i) >> (n))
#define TABLE(name, i) name[i]
#include "ir/math.inc"

static void a_cpu_without_fma_gives_the_same(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < n_random; i++) {
        const double x = exp_argument(i), y = log1p_argument(i);
        if (!same_bits(ir_exp(x), math_exp(x)))
            fail_msg("exp(%a) is %a", x, math_exp(x));
        if (!same_bits(ir_log1p(y), math_log1p(y)))
            fail_msg("log1p(%a) is %a", y, math_log1p(y));
        if (!same_bits(ir_expm1(x), math_expm1(x)))
            fail_msg("expm1(%a) is %a", x, math_expm1(x));
        if (!same_bits(ir_tanh(x), math_tanh(x)))
            fail_msg("tanh(%a) is %a", x, math_tanh(x));
        if (!same_bits(ir_pow(y, x), math_pow(y, x)))
            fail_msg("pow(%a, %a) is %a", y, x, math_pow(y, x));
    }
}

static void special_arguments(void **state)
{
    static const struct {
        double x, exp, log1p;
    } cases[] = {
        {0, 1, 0}, {-0.0, 1, -0.0}, {INFINITY, INFINITY, INFINITY},
        {-INFINITY, 0, NAN}, {NAN, NAN, NAN}, {-NAN, NAN, NAN},
        {0x1p-1074, 1, 0x1p-1074}, {-0x1p-1074, 1, -0x1p-1074},
        {-1, 0x1.78b56362cef38p-2, -INFINITY},
        {1, 0x1.5bf0a8b145769p+1, 0x1.62e42fefa39efp-1},
        {709.78271289338397, 0x1.fffffffffff2ap+1023, 0x1.a43f5a6e6b0c2p+2},
        {709.782712893384, 0x1.fffffffffff2ap+1023, 0x1.a43f5a6e6b0c2p+2},
        {709.7827128933841, INFINITY, 0x1.a43f5a6e6b0c3p+2},
        {-745.1332191019411, 0x1p-1074, NAN},
        {-745.1332191019412, 0, NAN},
        {-1.0000000000000002, 0x1.78b56362cef36p-2, NAN},
        {DBL_MAX, INFINITY, 0x1.62e42fefa39efp+9},
        {-DBL_MAX, 0, NAN},
        {-708.5, 0x0.e6cf6d08897acp-1022, NAN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const double x = cases[i].x;
        if (!same_bits(ir_exp(x), cases[i].exp))
            fail_msg("exp(%a) is %a, not %a", x, ir_exp(x), cases[i].exp);
        if (!same_bits(ir_log1p(x), cases[i].log1p))
            fail_msg("log1p(%a) is %a, not %a", x, ir_log1p(x),
                     cases[i].log1p);
    }
}

/* The same bits on every machine: those of a million results, recorded. */
static void results_are_the_recorded_bits(void **state)
{
    uint64_t of_exp = 0, of_log1p = 0;
    (void)state;
    for (uint64_t i = 0; i < 1000000; i++) {
        const double results[2] = {ir_exp(exp_argument(i)),
                                   ir_log1p(log1p_argument(i))};
        uint64_t bits[2];
        memcpy(bits, results, sizeof(bits));
        for (int k = 0; k < 2; k++)
            if (isnan(results[k]))
                bits[k] = 0;
        of_exp = ir_random(of_exp, bits[0]);
        of_log1p = ir_random(of_log1p, bits[1]);
    }
    if (of_exp != UINT64_C(0x6c098bf418b4beae) ||
        of_log1p != UINT64_C(0x93c127037641821e))
        fail_msg("%#llx %#llx", (unsigned long long)of_exp,
                 (unsigned long long)of_log1p);
}

/* ------------------------------------------------------------- programs -- */

static double run(const char *program, double x0, double x1,
                  enum ir_dtype dtype)
{
    const double x[4] = {x0, x1, 0, 0};
    struct ir_step steps[IR_MAX_STEPS];
    struct ir_diag diag;
    ir_diag_init(&diag);
    const int n = ir_program_parse(program, NULL, steps, &diag);
    ir_diag_print(&diag, stderr);
    ir_diag_release(&diag);
    assert_true(n > 0);
    return ir_program_eval(steps, n, x, dtype);
}

static void steps(void **state)
{
    static const struct {
        const char *program;
        double x0, x1, f64, f32;
    } cases[] = {
        {"x0", 0.1, 0, 0.1, 0.1f}, {"2.5", 0, 0, 2.5, 2.5},
        {"0x1p-3", 0, 0, 0.125, 0.125}, {"nan", 0, 0, NAN, NAN},
        {"x0 neg", 0, 0, -0.0, -0.0}, {"x0 abs", -0.0, 0, 0, 0},
        {"x0 abs", -2, 0, 2, 2}, {"x0 sign", -7, 0, -1, -1},
        {"x0 sign", -0.0, 0, 0, 0}, {"x0 sign", NAN, 0, 0, 0},
        {"x0 sign", 1e-320, 0, 1, 0}, {"x0 sqrt", 2, 0, M_SQRT2, 1.41421354f},
        {"x0 sqrt", -1, 0, NAN, NAN}, {"x0 exp", 1, 0, M_E, 2.71828175f},
        {"x0 log1p", 1, 0, M_LN2, 0.693147182f},
        {"x0 x1 add", 0.1, 0.2, 0.30000000000000004, 0.3f},
        {"x0 x1 sub", 1, 3, -2, -2}, {"x0 x1 mul", 3, 0.5, 1.5, 1.5},
        {"x0 x1 div", 1, 3, 1.0 / 3, 1.0f / 3}, {"x0 x1 div", 1, 0, INFINITY,
                                                 INFINITY},
        {"x0 x1 min", 1, 2, 1, 1}, {"x0 x1 min", 2, 1, 1, 1},
        {"x0 x1 min", NAN, 1, 1, 1}, {"x0 x1 min", 1, NAN, NAN, NAN},
        {"x0 x1 min", 0, -0.0, -0.0, -0.0}, {"x0 x1 min", -0.0, 0, 0, 0},
        {"x0 x1 max", 1, 2, 2, 2}, {"x0 x1 max", NAN, 1, 1, 1},
        {"x0 x1 max", 1, NAN, NAN, NAN}, {"x0 x1 max", -0.0, 0, 0, 0},
        {"x0 x1 gt", 2, 1, 1, 1}, {"x0 x1 gt", 1, 1, 0, 0},
        {"x0 x1 gt", NAN, 1, 0, 0}, {"x0 x1 gt", 1, NAN, 0, 0},
        {"  x0   x1 sub  ", 5, 3, 2, 2},
        /* Each step is rounded: in f32 the sum of 1 and 1e-8 is 1. */
        {"x0 x1 add x0 sub", 1, 1e-8, 9.9999999392252903e-9, 0},
        {"x0 x1 mul x1 mul", 0x1p100, 0x1p100, 0x1p300, INFINITY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const double x0 = cases[i].x0, x1 = cases[i].x1;
        const double f64 = run(cases[i].program, x0, x1, IR_F64);
        const double f32 =
            run(cases[i].program, (double)(float)x0, (double)(float)x1, IR_F32);
        if (!same_bits(f64, cases[i].f64) || !same_bits(f32, cases[i].f32))
            fail_msg("%s of %a, %a is %a and %a", cases[i].program, x0, x1, f64,
                     f32);
    }
}

/* The transforms of models, each of a few roundings. */
static void transforms_are_accurate(void **state)
{
    double worst[2] = {0};
    (void)state;
    for (uint64_t i = 0; i < n_random; i++) {
        const double x = (double)(int64_t)ir_random(3, i) * 0x1p-57;
        const long double e = expl((long double)x);
        const double off[2] = {
            ulps(run("1 1 1 x0 mul neg exp add div", x, 0, IR_F64),
                 1 / (1 + expl(-(long double)x))),
            ulps(run("x0 exp log1p", x, 0, IR_F64), log1pl(e))};
        for (int k = 0; k < 2; k++)
            if (off[k] > worst[k])
                worst[k] = off[k];
    }
    print_message("sigmoid: at most %.4f ulp off, log1p_exp: %.4f\n",
                  worst[0], worst[1]);
    assert_true(worst[0] < 2.5);
    assert_true(worst[1] < 2);
}

static void parameters_are_bound(void **state)
{
    struct ir_diag diag;
    struct ir_module *m = ir_module_new("m");
    (void)state;
    ir_diag_init(&diag);
    ir_add_column(m, "x", IR_NUMBER, 1);
    const struct ir_attr a[] = {ir_int("first", 0), ir_int("count", 1),
                                ir_string("dtype", "f64")};
    struct ir_value *x =
        &ir_add_op(m, IR_OP_input, 0, NULL, 3, a, &diag)->result[0];
    const struct ir_attr alpha = ir_float("alpha", 0.1);
    const struct ir_op *op =
        ir_add_op(m, IR_OP_sigmoid, 1, &x, 1, &alpha, &diag);
    assert_string_equal(ir_program_bind(&m->arena, op),
                        "1 1 0.1 x0 mul neg exp add div");
    ir_module_free(m);
    ir_diag_release(&diag);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_accurate),
        cmocka_unit_test(log1p_is_accurate),
        cmocka_unit_test(the_others_are_close),
        cmocka_unit_test(they_know_the_odd_arguments),
        cmocka_unit_test(expf_is_that_of_glibc),
        cmocka_unit_test(both_are_those_of_glibc),
        cmocka_unit_test(a_cpu_without_fma_gives_the_same),
        cmocka_unit_test(special_arguments),
        cmocka_unit_test(results_are_the_recorded_bits),
        cmocka_unit_test(steps),
        cmocka_unit_test(transforms_are_accurate),
        cmocka_unit_test(parameters_are_bound),
    };
    if (argc > 1)
        n_random = strtoull(argv[1], NULL, 10) * 1000000;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

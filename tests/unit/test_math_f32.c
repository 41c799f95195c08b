/* test_math_f32.c: the functions of f32 that are no rounded ones of f64, and
 * those of both that nets take: against f64 and long double, without FMA, and
 * for odd arguments. With a number N as its argument, every N-th float is tried
 * rather than every 1,021st: 1 goes through all, which takes an hour. */
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

static uint64_t float_step = 1021;

static float f32_of(uint32_t bits)
{
    float v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static double f64_of(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint32_t f32_bits(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static uint64_t f64_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static bool same_f32(float a, float b)
{
    return (isnan(a) && isnan(b)) || f32_bits(a) == f32_bits(b);
}

static bool same_f64(double a, double b)
{
    return (isnan(a) && isnan(b)) || f64_bits(a) == f64_bits(b);
}

/* How far `got` is from the exact result, in units of the last place of a
 * number of `digits` bits whose least exponent is `least`. */
static double ulps(double got, long double exact, int digits, int least)
{
    int e;
    frexpl(exact, &e);
    return (double)fabsl(((long double)got - exact) /
                         ldexpl(1, (e < least ? least : e) - digits));
}

/* ----------------------------------------------------------- all of them -- */

static long double sigmoid_exact(long double x)
{
    return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x));
}

static long double softplus_exact(long double x)
{
    return (x > 0 ? x : 0) + log1pl(expl(-fabsl(x)));
}

/* With the greatest error that was found among all floats, and among some
 * millions of doubles (docs/ir.md), rounded up. */
static const struct {
    const char *name;
    float (*f32)(float);
    double (*f64)(double);
    long double (*exact)(long double);
    double most_f32, most_f64;
} functions[] = {
    {"tanh", ir_tanhf, ir_tanh, tanhl, 1.4, 2.3},
    {"sigmoid", ir_sigmoidf, ir_sigmoid, sigmoid_exact, 1.8, 1.7},
    {"softplus", ir_softplusf, ir_softplus, softplus_exact, 2, 1.7},
    {"erf", ir_erff, ir_erf, erfl, 1.2, 1.1},
    {"sin", ir_sinf, ir_sin, sinl, 0.51, 0.9},
    {"cos", ir_cosf, ir_cos, cosl, 0.51, 0.9},
    {"tan", ir_tanf, ir_tan, tanl, 0.51, 2.2},
    {"atan", ir_atanf, ir_atan, atanl, 1.2, 1.3},
    {"fast_exp", ir_fast_expf, ir_exp, expl, 1.02, 0.53},
    {"fast_expm1", ir_fast_expm1f, ir_expm1, expm1l, 1.5, 1.5},
    {"fast_log", ir_fast_logf, ir_log, logl, 0.9, 1},
};
enum { n_functions = sizeof(functions) / sizeof(functions[0]) };

/* The f64 function is good enough to measure by. */
static void floats_are_accurate(void **state)
{
    (void)state;
    for (int k = 0; k < n_functions; k++) {
        double worst = 0;
        float at = 0;
        for (uint64_t i = 0; i < UINT64_C(1) << 32; i += float_step) {
            const float x = f32_of((uint32_t)i);
            const float got = functions[k].f32(x);
            const double want = functions[k].f64((double)x);
            if (same_f32(got, (float)want))
                continue;
            const double off = ulps((double)got, (long double)want, 24, -125);
            if (!(off <= worst)) {
                worst = off;
                at = x;
            }
        }
        print_message("%s: at most %.4f ulp off, at %a\n", functions[k].name,
                      worst, (double)at);
        if (!(worst < functions[k].most_f32))
            fail_msg("%s(%a) is %a", functions[k].name, (double)at,
                     (double)functions[k].f32(at));
    }
}

/* The pass `fold` relies on it. */
static void never_falls(const char *name, float f(float), float below,
                        float most)
{
    for (uint64_t i = 0; i <= 0xff000000; i += float_step) {
        /* From -infinity to infinity. */
        const int64_t order = (int64_t)i - 0x7f800000;
        const float x = order < 0 ? -f32_of((uint32_t)-order)
                                  : f32_of((uint32_t)order);
        const float y = f(x);
        if (!(y >= below && y <= most))
            fail_msg("%s(%a) is %a, after %a", name, (double)x, (double)y,
                     (double)below);
        below = y;
    }
}

static void some_never_fall(void **state)
{
    (void)state;
    never_falls("tanh", ir_tanhf, -1, 1);
    never_falls("fast_exp", ir_fast_expf, 0, INFINITY);
}

/* Around 0, where functions are steep, and any bits at all. */
static double argument(uint64_t i)
{
    const uint64_t r = ir_random(41, i);
    const double unit = (double)(r >> 11) * 0x1p-53;
    switch (i % 4) {
    case 0: return unit * 12 - 6;
    case 1: return unit * 1600 - 800;
    case 2: return ldexp(unit * 2 - 1, -(int)(r % 60));
    default: return f64_of(r);
    }
}

static void doubles_are_accurate(void **state)
{
    (void)state;
    if (LDBL_MANT_DIG < 64)
        skip();
    for (int k = 0; k < n_functions; k++) {
        double worst = 0;
        for (uint64_t i = 0; i < 400000; i++) {
            const double x = argument(i), got = functions[k].f64(x);
            const long double want = functions[k].exact(x);
            if (same_f64(got, (double)want))
                continue;
            const double off = ulps(got, want, 53, -1021);
            if (!(off < functions[k].most_f64))
                fail_msg("%s(%a) is %a, %.3g ulps off", functions[k].name, x,
                         got, off);
            worst = off > worst ? off : worst;
        }
        print_message("%s of f64: at most %.4f ulp off\n", functions[k].name,
                      worst);
    }
}

static const float odd_powers[] = {
    0,    -0.0f, INFINITY, -INFINITY, NAN,       1,          -1,      2,
    -2,   3,     -3,       0.5f,      -0.5f,     1.5f,       FLT_MAX, -FLT_MAX,
    1e-3f, 0x1p-149f, -0x1p-149f, 0x1p24f + 2, 0x1p23f + 1, -0x1p23f - 1,
    0x1.fffffep-1f, 0x1.000002p0f};
enum { n_odd = sizeof(odd_powers) / sizeof(odd_powers[0]) };

/* All pairs of the odd ones; then any bits, whole exponents, and powers that
 * are drawn so as to be in the range of floats, or near 1. */
static void power_arguments(uint64_t i, float *x, float *y)
{
    const uint64_t r = ir_random(44, i), s = ir_random(45, i);
    const double unit = (double)(s >> 11) * 0x1p-53;
    *x = f32_of((uint32_t)r);
    *y = f32_of((uint32_t)(r >> 32));
    /* No signalling NaN, of which C says other things. */
    if (isnan(*x))
        *x = NAN;
    if (i < (uint64_t)n_odd * n_odd) {
        *x = odd_powers[i / n_odd];
        *y = odd_powers[i % n_odd];
    } else if (i % 4 == 1) {
        *y = (float)((int)(s % 41) - 20);
    } else if (i % 4 == 2) {
        *x = fabsf(*x);
        *y = (float)((unit * 320 - 160) / log2((double)*x));
    } else if (i % 4 == 3) {
        *x = f32_of(0x3f000000 + ((uint32_t)r & 0xffffff));
        *y = (float)(unit * 400 - 200);
    }
}

/* Against C's pow, of long doubles where that has more digits. */
static void powers_are_accurate(void **state)
{
    double worst = 0;
    (void)state;
    for (uint64_t i = 0; i < UINT64_C(2000000000) / (float_step + 1000); i++) {
        float x, y;
        power_arguments(i, &x, &y);
        const float got = ir_fast_powf(x, y);
        const long double want = powl((long double)x, (long double)y);
        if (same_f32(got, (float)want))
            continue;
        const double off = ulps((double)got, want, 24, -125);
        if (!(off < 0.51))
            fail_msg("pow(%a, %a) is %a, %.3g ulps off", (double)x, (double)y,
                     (double)got, off);
        worst = off > worst ? off : worst;
    }
    print_message("fast_pow: at most %.5f ulp off\n", worst);
}

/* Whole turns to the last bit: numbers that are closest to a multiple of pi/2
 * among the floats and the doubles, and the largest (results from Python's
 * mpmath). */
static void large_angles(void **state)
{
    (void)state;
    static const struct {
        double x, sin, cos, tan;
    } of_f64[] = {
        {0x1.6ac5b262ca1ffp+849, 1, -0x1.14ae72e6ba22fp-61,
         -0x1.d9ba9a7975636p+60},
        {DBL_MAX, 0x1.452fc98b34e97p-8, -0x1.fffe62ecfab75p-1,
         -0x1.4530cfe729484p-8},
        {1e22, -0x1.b453ab76bf397p-1, 0x1.0be2cef01c8f4p-1,
         -0x1.a0f79c1b6b257p+0},
        {0x1p52, 0x1.bf996908bb506p-1, -0x1.f1300d681503fp-2,
         -0x1.ccef2838da5cap+0},
        {0x1.0000000000001p53, -0x1.04b40dd7d9a6ap-3, 0x1.fbd5b0b6def11p-1,
         -0x1.06d7752283c69p-3},
        {0x1p84, 0x1.705fd8e4c3e25p-1, -0x1.63970eee541b1p-1,
         -0x1.09342de5ff54ap+0},
    };
    static const struct {
        float x, sin, cos, tan;
    } of_f32[] = {
        {0x1.f37c8ap+95f, 1, -0x1.bbdd52p-30f, -0x1.274c1cp+29f},
        {FLT_MAX, -0x1.0b3366p-1f, 0x1.b4bf2cp-1f, -0x1.393d94p-1f},
        {1e22f, -0x1.77d988p-1f, 0x1.5badeep-1f, -0x1.14bdfcp+0f},
        {0x1p40f, -0x1.9f7122p-2f, -0x1.d3f858p-1f, 0x1.c68796p-2f},
        {0x1p56f, 0x1.ef1a9ep-1f, -0x1.04e422p-2f, -0x1.e5d264p+1f},
    };
    for (size_t i = 0; i < sizeof(of_f64) / sizeof(of_f64[0]); i++) {
        const double x = of_f64[i].x;
        assert_true(ulps(ir_sin(x), of_f64[i].sin, 53, -1021) <= 1);
        assert_true(ulps(ir_cos(x), of_f64[i].cos, 53, -1021) <= 1);
        assert_true(ulps(ir_tan(x), of_f64[i].tan, 53, -1021) <= 2);
        assert_true(same_f64(ir_sin(-x), -ir_sin(x)));
        assert_true(same_f64(ir_cos(-x), ir_cos(x)));
        assert_true(same_f64(ir_tan(-x), -ir_tan(x)));
    }
    for (size_t i = 0; i < sizeof(of_f32) / sizeof(of_f32[0]); i++) {
        const float x = of_f32[i].x;
        assert_true(same_f32(ir_sinf(x), of_f32[i].sin));
        assert_true(same_f32(ir_cosf(x), of_f32[i].cos));
        assert_true(same_f32(ir_tanf(x), of_f32[i].tan));
        assert_true(same_f32(ir_sinf(-x), -of_f32[i].sin));
    }
}

static void odd_arguments(void **state)
{
    static const struct {
        double x, tanh, sigmoid, softplus, erf, sin, cos, tan, atan, exp,
            expm1, log;
    } cases[] = {
        {0, 0, 0.5, 0x1.62e42fefa39efp-1, 0, 0, 1, 0, 0, 1, 0, -INFINITY},
        {-0.0, -0.0, 0.5, 0x1.62e42fefa39efp-1, -0.0, -0.0, 1, -0.0, -0.0, 1,
         -0.0, -INFINITY},
        {INFINITY, 1, 1, INFINITY, 1, NAN, NAN, NAN, 0x1.921fb54442d18p+0,
         INFINITY, INFINITY, INFINITY},
        {-INFINITY, -1, 0, 0, -1, NAN, NAN, NAN, -0x1.921fb54442d18p+0, 0, -1,
         NAN},
        {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
        {-NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const double want[] = {cases[i].tanh, cases[i].sigmoid,
                               cases[i].softplus, cases[i].erf, cases[i].sin,
                               cases[i].cos, cases[i].tan, cases[i].atan,
                               cases[i].exp, cases[i].expm1, cases[i].log};
        const double x = cases[i].x;
        for (int k = 0; k < n_functions; k++)
            if (!same_f64(functions[k].f64(x), want[k]) ||
                !same_f32(functions[k].f32((float)x), (float)want[k]))
                fail_msg("%s(%g) is %a and %a", functions[k].name, x,
                         functions[k].f64(x),
                         (double)functions[k].f32((float)x));
    }
    /* Subnormals: as small as the argument, but for erf's 2 / sqrt(pi). */
    for (uint32_t i = 1; i < 1000; i++) {
        const float x = f32_of(i);
        assert_true(same_f32(ir_tanhf(x), x) && same_f32(ir_tanhf(-x), -x));
        assert_true(same_f32(ir_sinf(x), x) && same_f32(ir_tanf(-x), -x));
        assert_true(same_f32(ir_atanf(x), x) && same_f32(ir_atanf(-x), -x));
        assert_true(same_f32(ir_erff(x), (float)ir_erf((double)x)));
        assert_true(same_f64(ir_sin(f64_of(i)), f64_of(i)));
    }
    /* And results that are. */
    assert_true(same_f32(ir_sigmoidf(-103.9f), 0x1p-149f));
    assert_true(same_f32(ir_sigmoidf(-104), 0));
    assert_true(same_f32(ir_softplusf(-103.9f), 0x1p-149f));
    assert_true(same_f32(ir_softplusf(-90), (float)ir_softplus(-90)));
    assert_true(same_f32(ir_fast_expf(-103.9f), 0x1p-149f));
    assert_true(same_f32(ir_fast_expf(-103.98f), 0));
    assert_true(ir_fast_expf(88.72283f) < INFINITY);
    assert_true(same_f32(ir_fast_expf(88.73f), INFINITY));
    assert_true(same_f32(ir_fast_logf(0x1p-149f), (float)log(0x1p-149)));
    assert_true(same_f32(ir_fast_logf(-0x1p-149f), NAN));
}

/* ------------------------------------------------- without FMA, the same -- */

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
#define AS_INT(f) f64_bits(f)
#define AS_FLOAT(i) f64_of(i)
#define IADD(a, b) ((a) + (b))
#define AND(a, b) ((a) & (b))
#define SHL(i, n) ((i) << (n))
#define SHR(i, n) ((i) >> (n))
#define TABLE(name, i) name[i]
#include "ir/math.inc"
#include "ir/math_circle.inc"

#undef MATH_F
#undef MATH_I
#undef CONST
#undef FMA
#undef AS_INT
#undef AS_FLOAT
#define MATH_F float
#define MATH_I uint32_t
#define CONST(c) ((float)(c))
#define FMA(a, b, c) ((float)math_fmaf((double)(a), (double)(b), (double)(c)))
#define AS_INT(f) f32_bits(f)
#define AS_FLOAT(i) f32_of(i)
#include "ir/math_f32.inc"

static float sin_rounded(float x)
{
    return (float)math_sinf((double)x);
}

static float cos_rounded(float x)
{
    return (float)math_cosf((double)x);
}

static float tan_rounded(float x)
{
    return (float)math_tanf((double)x);
}

static void a_cpu_without_fma_gives_the_same(void **state)
{
    static double (*const f64[])(double) = {
        math_tanh, math_sigmoid, math_softplus, math_erf,
        math_sin,  math_cos,     math_tan,      math_atan,
        math_exp,  math_expm1,   math_log};
    static float (*const f32[])(float) = {
        mathf_tanh,  mathf_sigmoid, mathf_softplus, mathf_erf,
        sin_rounded, cos_rounded,   tan_rounded,    mathf_atan,
        mathf_exp,   mathf_expm1,   mathf_log};
    (void)state;
    for (int k = 0; k < n_functions; k++) {
        for (uint64_t i = 0; i < 100000; i++) {
            const double x = argument(i);
            if (!same_f64(functions[k].f64(x), f64[k](x)))
                fail_msg("%s(%a) is %a", functions[k].name, x, f64[k](x));
        }
        for (uint64_t i = 0; i < UINT64_C(1) << 32; i += 25 * float_step) {
            const float x = f32_of((uint32_t)i);
            if (!same_f32(functions[k].f32(x), f32[k](x)))
                fail_msg("%s(%a) is %a", functions[k].name, (double)x,
                         (double)f32[k](x));
        }
    }
    for (uint64_t i = 0; i < 200000; i++) {
        float x, y;
        power_arguments(i, &x, &y);
        if (!same_f32(ir_fast_powf(x, y), (float)math_powf((double)x,
                                                           (double)y)))
            fail_msg("pow(%a, %a) differs", (double)x, (double)y);
    }
}

/* fmaf itself, where terms cancel out, and where results are subnormal. */
static void an_fma_of_floats_is_rounded_once(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000000; i++) {
        const uint64_t r = ir_random(42, i), s = ir_random(43, i);
        float a = f32_of((uint32_t)r), b = f32_of((uint32_t)(r >> 32));
        float c = f32_of((uint32_t)s);
        if (i % 4)
            b = f32_of(((uint32_t)(r >> 32) & 0x807fffff) | 0x3f800000);
        if (i % 4 == 2)
            c = -(a * b);
        if (i % 4 == 3)
            c = f32_of(f32_bits(-(a * b)) ^ (uint32_t)(s & 3));
        if (!same_f32(FMA(a, b, c), fmaf(a, b, c)))
            fail_msg("fma(%a, %a, %a) is %a", (double)a, (double)b, (double)c,
                     (double)FMA(a, b, c));
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats_are_accurate),
        cmocka_unit_test(some_never_fall),
        cmocka_unit_test(doubles_are_accurate),
        cmocka_unit_test(powers_are_accurate),
        cmocka_unit_test(large_angles),
        cmocka_unit_test(odd_arguments),
        cmocka_unit_test(a_cpu_without_fma_gives_the_same),
        cmocka_unit_test(an_fma_of_floats_is_rounded_once),
    };
    if (argc > 1)
        float_step = strtoull(argv[1], NULL, 10);
    if (float_step < 1)
        float_step = 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

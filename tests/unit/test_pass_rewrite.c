/* test_pass_rewrite.c: floats as ordered integers, which thresholds are
 * stepped by. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "passes/rewrite.h"

#include <float.h>
#include <math.h>
#include <string.h>

static bool same_bits(double a, double b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

static void check_f64(double v)
{
    const int64_t order = pass_order(v, IR_F64);
    assert_true(same_bits(pass_at_order(order, IR_F64), v == 0 ? 0.0 : v));
    assert_int_equal(pass_order(-v, IR_F64), -order);
    if (v < INFINITY)
        assert_true(pass_at_order(order + 1, IR_F64) ==
                    nextafter(v, INFINITY));
    if (v > -INFINITY)
        assert_true(pass_at_order(order - 1, IR_F64) ==
                    nextafter(v, -INFINITY));
}

static void check_f32(float v)
{
    const int64_t order = pass_order(v, IR_F32);
    assert_true(same_bits(pass_at_order(order, IR_F32), v == 0 ? 0.0 : v));
    assert_int_equal(pass_order(-v, IR_F32), -order);
    if (v < INFINITY)
        assert_true(pass_at_order(order + 1, IR_F32) ==
                    nextafterf(v, INFINITY));
    if (v > -INFINITY)
        assert_true(pass_at_order(order - 1, IR_F32) ==
                    nextafterf(v, -INFINITY));
}

static void orders_step_by_one(void **state)
{
    (void)state;
    static const double odd[] = {
        0.0, -0.0, 1, -1, 0.1, 4.9e-324, -4.9e-324, DBL_MIN, DBL_MAX, -DBL_MAX,
        INFINITY, -INFINITY, FLT_MAX, FLT_MIN, 1e-35};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        check_f64(odd[i]);
        check_f32((float)odd[i]);
    }
    assert_int_equal(pass_last_order(IR_F64), pass_order(INFINITY, IR_F64));
    assert_int_equal(pass_order(-0.0, IR_F64), 0);
}

static void zero_bounds_are_rounded_inwards(void **state)
{
    (void)state;
    struct ir_forest f = {.in_dtype = IR_F32, .zero_bound = 1e-35};
    const float within = (float)pass_at_order(pass_zero_order(&f), IR_F32);
    assert_true(within <= 1e-35 && nextafterf(within, 1) > 1e-35);
    f.zero_bound = DBL_MAX;
    assert_true(pass_at_order(pass_zero_order(&f), IR_F32) == FLT_MAX);
    f.zero_bound = INFINITY;
    assert_true(isinf(pass_at_order(pass_zero_order(&f), IR_F32)));
    f.zero_bound = 0;
    assert_int_equal(pass_zero_order(&f), 0);
}

static void tests_that_nothing_passes(void **state)
{
    (void)state;
    const double threshold[] = {-INFINITY, NAN, INFINITY};
    struct ir_forest f = {.in_dtype = IR_F64, .threshold = threshold};
    assert_int_equal(pass_test_order(&f, 0), -pass_last_order(IR_F64));
    assert_int_equal(pass_test_order(&f, 1), PASS_NEVER);
    f.strict = true;
    assert_int_equal(pass_test_order(&f, 0), PASS_NEVER);
    assert_int_equal(pass_test_order(&f, 2), pass_order(DBL_MAX, IR_F64));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_step_by_one),
        cmocka_unit_test(zero_bounds_are_rounded_inwards),
        cmocka_unit_test(tests_that_nothing_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

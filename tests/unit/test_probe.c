/* test_probe.c: the rows that try a model where it may break. */
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

/* Element 0 is not tested; 1 and 2 come in through a concat that turns them
 * round; 3 and 4 are categories. */
static const char text[] =
    "treenail-ir 1 module \"m\" {\n"
    "column \"unused\" number column \"a\" number column \"b\" number\n"
    "column \"codes\" category column \"named\" category \"x\" \"y\" \"z\"\n"
    "%0 = input {first = 1, count = 1, dtype = \"f64\"} : f64[1]\n"
    "%1 = input {first = 2, count = 3, dtype = \"f64\"} : f64[3]\n"
    "%2 = concat(%1, %0) : f64[4]\n"
    "%3, %4 = trees(%2) {compare = \"le\", tree_start = i32[2](0 5),\n"
    "  leaf_start = i32[2](0 6), feature = i32[5](3 0 0 1 0),\n"
    "  threshold = f64[5](0.1 -3 inf 0 -3), left = i32[5](1 2 3 4 -1),\n"
    "  right = i32[5](-2 -3 -4 -5 -6), flags = u8[5](0 3 0 4 0),\n"
    "  leaf_value = f64[6](1 2 3 4 5 6), target = i32[1](0),\n"
    "  base = f64[1](0), zero_bound = 1e-35, set = i32[5](-1 -1 -1 0 -1),\n"
    "  set_start = i32[2](0 2), set_words = u32[2](5 1)} : f64[1], i32[1]\n"
    "output \"y\" %3 }";

struct fixture {
    struct ir_module *module;
    struct ir_probe *probe;
    int64_t n; /* derived rows */
};

static int set_up(void **state)
{
    static struct fixture f;
    struct ir_diag diag;
    ir_diag_init(&diag);
    f.module = ir_parse(text, sizeof(text) - 1, "m", NULL, 0, &diag);
    ir_diag_print(&diag, stderr);
    ir_diag_release(&diag);
    if (!f.module)
        return -1;
    f.probe = ir_probe_new(f.module, 42);
    f.n = ir_probe_count(f.probe);
    *state = &f;
    return 0;
}

static int clear_up(void **state)
{
    struct fixture *f = *state;
    ir_probe_free(f->probe);
    ir_module_free(f->module);
    return 0;
}

/* Whether a derived row has v in this element, with its sign. */
static bool tries(const struct fixture *f, int element, double v)
{
    double row[5];
    for (int64_t i = 0; i < f->n; i++) {
        ir_probe_row(f->probe, i, row);
        if (isnan(v) ? isnan(row[element])
                     : memcmp(&row[element], &v, sizeof(v)) == 0)
            return true;
    }
    return false;
}

static void every_element_is_tried_with_odd_numbers(void **state)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 0, -0.0, 0x1p-1074};
    for (int element = 0; element < 5; element++)
        for (int i = 0; i < 6; i++)
            assert_true(tries(*state, element, odd[i]));
}

static void check_threshold(const struct fixture *f, int element, double t)
{
    assert_true(tries(f, element, t));
    assert_true(tries(f, element, nextafter(t, INFINITY)));
    assert_true(tries(f, element, nextafter(t, -INFINITY)));
    assert_true(tries(f, element, nextafterf((float)t, INFINITY)));
    assert_true(tries(f, element, nextafterf((float)t, -INFINITY)));
}

static void thresholds_and_one_ulp_either_side(void **state)
{
    const struct fixture *f = *state;
    check_threshold(f, 1, 0.1);
    check_threshold(f, 2, -3);
    assert_true(tries(f, 2, INFINITY));
    assert_false(tries(f, 0, 0.1));
    assert_false(tries(f, 2, 0.1));
}

static void the_bound_of_zero(void **state)
{
    const struct fixture *f = *state;
    assert_true(tries(f, 2, 1e-35));
    assert_true(tries(f, 2, -1e-35));
    assert_true(tries(f, 2, nextafter(1e-35, 1)));
    assert_true(tries(f, 2, -nextafter(1e-35, 1)));
    assert_true(tries(f, 2, nextafterf(1e-35f, 1)));
}

static void categories(void **state)
{
    const struct fixture *f = *state;
    static const double members[] = {0, 2, 32}; /* of the set */
    for (int i = 0; i < 3; i++) {
        assert_true(tries(f, 3, members[i]));
        assert_true(tries(f, 3, members[i] + 1));
        assert_true(tries(f, 3, members[i] - 1));
        assert_true(tries(f, 3, members[i] + 0.5));
    }
    for (int i = -1; i < 4; i++) /* -1 and 3 have no name */
        assert_true(tries(f, 4, i));
    assert_true(tries(f, 3, -0.5));
    assert_true(tries(f, 3, 2147483648.0));
    assert_true(tries(f, 3, 9.3e18));
}

static void rows_depend_on_seed_and_number_alone(void **state)
{
    const struct fixture *f = *state;
    struct ir_probe *same = ir_probe_new(f->module, 42);
    struct ir_probe *other = ir_probe_new(f->module, 43);
    double a[5], b[5], c[5];
    int differing = 0;
    assert_int_equal(ir_probe_count(other), f->n);
    for (int64_t i = f->n + 1000; i-- > 0;) {
        ir_probe_row(f->probe, i, a);
        ir_probe_row(same, i, b);
        ir_probe_row(other, i, c);
        assert_memory_equal(a, b, sizeof(a));
        differing += memcmp(a, c, sizeof(a)) != 0;
    }
    assert_true(differing > f->n);
    ir_probe_free(same);
    ir_probe_free(other);
}

/* Every leaf is reached, by drawn rows alone. */
static void drawn_rows_reach_all_leaves(void **state)
{
    const struct fixture *f = *state;
    int reached[6] = {0};
    struct ir_module *m = f->module;
    for (int64_t i = f->n; i < f->n + 3000; i++) {
        double row[5], y;
        ir_probe_row(f->probe, i, row);
        const struct ir_rows rows = {IR_F64, row, 1, 5, 1};
        ir_eval(m, 0, &rows, &y);
        assert_true(y >= 1 && y <= 6);
        reached[(int)y - 1]++;
    }
    for (int i = 0; i < 6; i++) /* to some only a NaN or a zero leads */
        assert_true(reached[i] > 0);
}

static void a_model_that_tests_nothing(void **state)
{
    static const char plain[] =
        "treenail-ir 1 module \"m\" {column \"x\" number\n"
        "%0 = input {first = 0, count = 1, dtype = \"f64\"} : f64[1]\n"
        "output \"y\" %0 }";
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    struct ir_module *m =
        ir_parse(plain, sizeof(plain) - 1, "m", NULL, 0, &diag);
    struct ir_probe *probe = ir_probe_new(m, 1);
    assert_true(ir_probe_count(probe) > 0);
    for (int64_t i = 0; i < ir_probe_count(probe) + 100; i++) {
        double row;
        ir_probe_row(probe, i, &row);
    }
    ir_probe_free(probe);
    ir_probe_free(NULL);
    ir_module_free(m);
    ir_diag_release(&diag);
}

/* A net on a tensor of 100 numbers, 2 numbers of rows of a table of 5, and a
 * length of at most 3 steps. */
static const char net[] =
    "treenail-ir 1 module \"m\" {\n"
    "column \"image\" tensor 100 column \"words\" tensor 2\n"
    "column \"length\" number\n"
    "%0 = input {first = 0, count = 1, dtype = \"f32\"} : f32[100]\n"
    "%1 = input {first = 1, count = 1, dtype = \"f32\"} : f32[2]\n"
    "%2 = input {first = 2, count = 1, dtype = \"f32\"} : f32[1]\n"
    "%3 = view(%1) {shape = i64[1](1), strides = i64[1](1), offset = 1}"
    " : f32[1]\n"
    "%4 = take(%3) {table = f32[5](1 2 3 4 5)} : f32[1]\n"
    "%5 = view(%0) {shape = i64[2](3 1), strides = i64[2](1 1), offset = 0}"
    " : f32[3,1]\n"
    "%6, %7 = scan(%5, %4, %2) {cell = \"rnn\", recurrent = f32[1,1](1),"
    " reverse = 0, gate = \"x0\"} : f32[3,1], f32[1,1]\n"
    "output \"y\" %6 }";

/* Of rows [0, n) from the first drawn one on. */
static void count_net_rows(const struct ir_probe *probe, int n, int *all_finite,
                           int *nans, int *minus_zeros, int *tiny)
{
    const int64_t first = ir_probe_count(probe);
    for (int i = 0; i < n; i++) {
        double row[103];
        bool finite = true;
        ir_probe_row(probe, first + i, row);
        for (int e = 0; e < 100; e++) {
            finite = finite && isfinite(row[e]);
            *nans += isnan(row[e]) ? 1 : 0;
            *minus_zeros += row[e] == 0 && signbit(row[e]);
            *tiny += row[e] != 0 && fabs(row[e]) < FLT_MIN;
        }
        *all_finite += finite;
    }
}

/* From one before -n to n, which is one past the last. */
static void check_numbers(const struct ir_probe *probe, int element, int n)
{
    bool seen[16] = {false};
    for (int64_t i = 0; i < ir_probe_count(probe) + 2000; i++) {
        double row[103];
        ir_probe_row(probe, i, row);
        const double v = row[element];
        if (v == floor(v) && fabs(v) <= n + 1)
            seen[(int)v + n + 1] = true;
    }
    for (int i = 0; i < 2 * n + 2; i++)
        if (!seen[i])
            fail_msg("element %d: no %d", element, i - n - 1);
}

static void a_net(void **state)
{
    struct ir_diag diag;
    int all_finite = 0, nans = 0, minus_zeros = 0, tiny = 0;
    (void)state;
    ir_diag_init(&diag);
    struct ir_module *m = ir_parse(net, sizeof(net) - 1, "m", NULL, 0, &diag);
    ir_diag_print(&diag, stderr);
    assert_non_null(m);
    struct ir_probe *probe = ir_probe_new(m, 1);
    assert_in_range(ir_probe_count(probe), 18 * 19, 18 * 19 + 100);
    count_net_rows(probe, 1000, &all_finite, &nans, &minus_zeros, &tiny);
    assert_in_range(all_finite, 500, 900);
    assert_true(nans > 100 && minus_zeros > 100 && tiny > 100);
    check_numbers(probe, 101, 5);
    check_numbers(probe, 102, 3);
    ir_probe_free(probe);
    ir_module_free(m);
    ir_diag_release(&diag);
}

/* Recorded: the same on every machine. */
static void random_numbers(void **state)
{
    int ones[64] = {0};
    (void)state;
    assert_true(ir_random(0, 0) == ir_random(0, 0));
    assert_true(ir_random(0, 0) != ir_random(0, 1));
    assert_true(ir_random(0, 0) != ir_random(1, 0));
    assert_true(ir_random(1, 2) == UINT64_C(0xd424f2654f316ee0));
    for (uint64_t i = 0; i < 10000; i++)
        for (int bit = 0; bit < 64; bit++)
            ones[bit] += ir_random(3, i) >> bit & 1;
    for (int bit = 0; bit < 64; bit++)
        assert_in_range(ones[bit], 4700, 5300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_element_is_tried_with_odd_numbers),
        cmocka_unit_test(thresholds_and_one_ulp_either_side),
        cmocka_unit_test(the_bound_of_zero),
        cmocka_unit_test(categories),
        cmocka_unit_test(rows_depend_on_seed_and_number_alone),
        cmocka_unit_test(drawn_rows_reach_all_leaves),
        cmocka_unit_test(a_model_that_tests_nothing),
        cmocka_unit_test(a_net),
        cmocka_unit_test(random_numbers),
    };
    return cmocka_run_group_tests(tests, set_up, clear_up);
}

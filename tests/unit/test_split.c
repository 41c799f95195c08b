/* test_split.c: every row is in one part, parts are as large as asked for,
 * classes keep their shares, and a seed decides. */
#include "trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_ROWS = 1000 };

/* A frame of one column that points to the caller's numbers. */
struct fixture {
    struct ir_column column;
    double *values[1];
    struct tr_frame frame;
};

static void fixture_init(struct fixture *f, double *values, int64_t n)
{
    *f = (struct fixture){
        .column = {.name = "y", .kind = IR_NUMBER, .n_elements = 1},
        .values = {values}};
    f->frame = (struct tr_frame){.n_rows = n, .n_columns = 1,
                                 .columns = &f->column,
                                 .values = f->values};
}

static bool split_rows(struct tr_split *split, double *values, int64_t n,
                       int stratify, double valid, double test,
                       uint64_t seed, char message[256])
{
    struct fixture f;
    struct ir_diag diag;
    fixture_init(&f, values, n);
    ir_diag_init(&diag);
    const bool good =
        tr_split_rows(split, &f.frame, stratify, valid, test, seed, &diag);
    assert_int_equal(diag.n_messages, !good);
    snprintf(message, 256, "%s", good ? "" : diag.message[0]);
    ir_diag_release(&diag);
    return good;
}

static void must_split(struct tr_split *split, double *values, int64_t n,
                       int stratify, double valid, double test,
                       uint64_t seed)
{
    char message[256];
    if (!split_rows(split, values, n, stratify, valid, test, seed, message))
        fail_msg("%s", message);
}

/* Each of n rows is in one part, and each list ascends. */
static void check_whole(const struct tr_split *split, int64_t n)
{
    int seen[MAX_ROWS] = {0};
    int64_t all = 0;
    for (int p = 0; p < TR_N_PARTS; p++) {
        all += split->n[p];
        for (int64_t i = 0; i < split->n[p]; i++) {
            const int64_t row = split->rows[p][i];
            assert_true(row >= 0 && row < n);
            assert_true(i == 0 || row > split->rows[p][i - 1]);
            assert_int_equal(seen[row]++, 0);
        }
    }
    assert_int_equal(all, n);
}

static bool same_rows(const struct tr_split *a, const struct tr_split *b,
                      enum tr_part part)
{
    return a->n[part] == b->n[part] &&
           !memcmp(a->rows[part], b->rows[part],
                   (size_t)a->n[part] * sizeof(int64_t));
}

static void counts_are_rounded(void **state)
{
    static const struct {
        int64_t n;
        double valid, test;
        int64_t n_valid, n_test;
    } cases[] = {
        {10, 0.1, 0.2, 1, 2},   {10, 0, 0, 0, 0},     {1, 0, 0.4, 0, 0},
        {1, 0.49, 0.49, 0, 0},  {7, 0.5, 0, 4, 0},
        {999, 0.25, 0.25, 250, 250},
        {3, 0.3, 0.3, 1, 1},    {100, 0.99, 0, 99, 0}};
    (void)state;
    double values[MAX_ROWS] = {0};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tr_split split;
        must_split(&split, values, cases[i].n, -1, cases[i].valid,
                   cases[i].test, 5);
        check_whole(&split, cases[i].n);
        assert_int_equal(split.n[TR_VALID], cases[i].n_valid);
        assert_int_equal(split.n[TR_TEST], cases[i].n_test);
        tr_split_release(&split);
    }
}

/* Rows of `value` in a part. */
static int64_t count_in(const struct tr_split *split, enum tr_part part,
                        const double *values, double value)
{
    int64_t n = 0;
    for (int64_t i = 0; i < split->n[part]; i++) {
        const double v = values[split->rows[part][i]];
        n += v == value || (isnan(v) && isnan(value));
    }
    return n;
}

static void classes_keep_their_shares(void **state)
{
    (void)state;
    double values[MAX_ROWS];
    /* 700 zeros, 200 ones, 90 missing, 10 of class 7, mixed. */
    for (int i = 0; i < MAX_ROWS; i++) {
        const int at = i * 37 % MAX_ROWS;
        values[at] = i < 700 ? 0 : i < 900 ? 1 : i < 990 ? NAN : 7;
    }
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct tr_split split;
        must_split(&split, values, MAX_ROWS, 0, 0.1, 0.2, seed);
        check_whole(&split, MAX_ROWS);
        assert_int_equal(count_in(&split, TR_TEST, values, 0), 140);
        assert_int_equal(count_in(&split, TR_TEST, values, 1), 40);
        assert_int_equal(count_in(&split, TR_TEST, values, NAN), 18);
        assert_int_equal(count_in(&split, TR_TEST, values, 7), 2);
        assert_int_equal(count_in(&split, TR_VALID, values, 0), 70);
        assert_int_equal(count_in(&split, TR_VALID, values, 1), 20);
        assert_int_equal(count_in(&split, TR_VALID, values, NAN), 9);
        assert_int_equal(count_in(&split, TR_VALID, values, 7), 1);
        tr_split_release(&split);
    }
}

/* However few rows a class has, one of them is to train on. */
static void no_class_is_lost_to_training(void **state)
{
    (void)state;
    double values[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, NAN};
    const double fractions[][2] = {{0.25, 0.25}, {0.5, 0}, {0, 0.5},
                                   {0.99, 0.99}};
    for (size_t i = 0; i < 4; i++) {
        struct tr_split split;
        must_split(&split, values, 12, 0, fractions[i][0], fractions[i][1],
                   9);
        check_whole(&split, 12);
        for (int k = 0; k < 3; k++)
            assert_true(count_in(&split, TR_TRAIN, values, k) >= 1);
        assert_int_equal(count_in(&split, TR_TRAIN, values, NAN), 1);
        tr_split_release(&split);
    }
}

static void a_seed_decides(void **state)
{
    (void)state;
    double values[MAX_ROWS];
    for (int i = 0; i < MAX_ROWS; i++)
        values[i] = i % 3;
    for (int stratify = -1; stratify <= 0; stratify++) {
        struct tr_split a, b, c;
        must_split(&a, values, MAX_ROWS, stratify, 0.2, 0.2, 1);
        must_split(&b, values, MAX_ROWS, stratify, 0.2, 0.2, 1);
        must_split(&c, values, MAX_ROWS, stratify, 0.2, 0.2, 2);
        for (int p = 0; p < TR_N_PARTS; p++) {
            assert_true(same_rows(&a, &b, (enum tr_part)p));
            assert_false(same_rows(&a, &c, (enum tr_part)p));
        }
        tr_split_release(&a);
        tr_split_release(&b);
        tr_split_release(&c);
    }
}

/* What is tested on does not depend on how much is kept to validate. */
static void test_rows_stay(void **state)
{
    (void)state;
    double values[MAX_ROWS] = {0};
    struct tr_split a, b;
    must_split(&a, values, MAX_ROWS, -1, 0, 0.2, 3);
    must_split(&b, values, MAX_ROWS, -1, 0.3, 0.2, 3);
    assert_true(same_rows(&a, &b, TR_TEST));
    tr_split_release(&a);
    tr_split_release(&b);
}

/* Any row is as likely to be tested on as any other: over 400 seeds each is
 * about 80 times, with a standard deviation of 8. */
static void rows_have_equal_chances(void **state)
{
    enum { N = 50, SEEDS = 400 };
    (void)state;
    double values[N] = {0};
    int chosen[N] = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct tr_split split;
        must_split(&split, values, N, -1, 0, 0.2, seed);
        for (int64_t i = 0; i < split.n[TR_TEST]; i++)
            chosen[split.rows[TR_TEST][i]]++;
        tr_split_release(&split);
    }
    for (int i = 0; i < N; i++)
        assert_in_range(chosen[i], 80 - 5 * 8, 80 + 5 * 8);
}

static void check_error(int64_t n, double valid, double test,
                        const char *want)
{
    double values[MAX_ROWS] = {0};
    char message[256];
    struct tr_split split;
    assert_false(
        split_rows(&split, values, n, -1, valid, test, 1, message));
    assert_string_equal(message, want);
}

static void refuses_what_cannot_be(void **state)
{
    (void)state;
    check_error(10, 1, 0, "valid fraction: 1 is not within [0, 1)");
    check_error(10, 0, -0.1, "test fraction: -0.1 is not within [0, 1)");
    check_error(10, NAN, 0, "valid fraction: nan is not within [0, 1)");
    check_error(10, 0, INFINITY, "test fraction: inf is not within [0, 1)");
    check_error(10, 0.5, 0.5,
                "no row is left to train on (of 10 rows, fraction 0.5 is to "
                "validate, 0.5 to test)");
    check_error(1, 0, 0.5,
                "no row is left to train on (of 1 rows, fraction 0 is to "
                "validate, 0.5 to test)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_rounded),
        cmocka_unit_test(classes_keep_their_shares),
        cmocka_unit_test(no_class_is_lost_to_training),
        cmocka_unit_test(a_seed_decides),
        cmocka_unit_test(test_rows_stay),
        cmocka_unit_test(rows_have_equal_chances),
        cmocka_unit_test(refuses_what_cannot_be),
    };
    return cmocka_run_group_tests_name("split", tests, NULL, NULL);
}

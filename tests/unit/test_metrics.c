/* test_metrics.c: each metric on a few rows that were worked out by hand; on
 * drawn rows against a plain reference; on rows that are hard: ties, zero
 * weights, one class, sums that cancel. */
#include "trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ROWS(...) ((const double[]){__VA_ARGS__})

static double compute(const char *name, const struct tr_scored *scored)
{
    const struct tr_metric *metric = tr_metric_find(name);
    assert_non_null(metric);
    assert_true(metric->tasks & scored->task);
    return metric->compute(scored);
}

static void check(const char *name, const struct tr_scored *scored,
                  double want)
{
    const double got = compute(name, scored);
    if (isnan(want) ? !isnan(got) : got != want)
        fail_msg("%s is %.17g, not %.17g", name, got, want);
}

static void check_near(const char *name, const struct tr_scored *scored,
                       double want)
{
    const double got = compute(name, scored);
    if (!(fabs(got - want) <= 1e-13 * fabs(want)))
        fail_msg("%s is %.17g, not %.17g", name, got, want);
}

/* ------------------------------------------------------------ by hand -- */

static void scores_numbers(void **state)
{
    (void)state;
    struct tr_scored s = {.task = TR_REGRESSION, .n_rows = 4,
                          .target = ROWS(1, 2, 3, 6),
                          .prediction = ROWS(1, 4, 2, 4)};
    /* Errors 0, 2, -1, -2; the mean target is 3, its squares sum to 14. */
    check("rmse", &s, 1.5);
    check("mae", &s, 1.25);
    check("r2", &s, 1 - 9.0 / 14);
    s.weight = ROWS(3, 1, 0, 1);
    check("rmse", &s, sqrt(8.0 / 5));
    check("mae", &s, 0.8);
    s.prediction = s.target;
    check("rmse", &s, 0);
    check("r2", &s, 1);
}

static void scores_two_classes(void **state)
{
    (void)state;
    struct tr_scored s = {.task = TR_BINARY, .n_rows = 4, .n_classes = 2,
                          .target = ROWS(0, 1, 0, 1),
                          .prediction = ROWS(0.25, 0.5, 0.75, 0.875)};
    /* One half is class 0: a class is what has more than half. */
    check("accuracy", &s, 0.5);
    check("auc", &s, 0.75);
    check_near("logloss", &s, -(2 * log(0.25) - log(0.25) + log(0.75) +
                                log(0.5) + log(0.875)) / 4);
    s.weight = ROWS(1, 1, 2, 4);
    check("accuracy", &s, 5.0 / 8);
    /* Pairs: (1, row 0) 1, (1, row 2) 0, (4, row 0) 4, (4, row 2) 8. */
    check("auc", &s, 13.0 / 15);
}

static void scores_many_classes(void **state)
{
    (void)state;
    struct tr_scored s = {
        .task = TR_MULTICLASS, .n_rows = 3, .n_classes = 3,
        .target = ROWS(0, 1, 2),
        .prediction = ROWS(0.5, 0.25, 0.25, 0.5, 0.5, 0, 0, 0.75, 0.25)};
    /* Of equals the first class is taken. */
    check("accuracy", &s, 1.0 / 3);
    check_near("logloss", &s, -(2 * log(0.5) + log(0.25)) / 3);
    s.weight = ROWS(1, 0, 3);
    check("accuracy", &s, 0.25);
    check_near("logloss", &s, -(log(0.5) + 3 * log(0.25)) / 4);
}

/* --------------------------------------------------------------- edges -- */

static void ties_count_half(void **state)
{
    (void)state;
    struct tr_scored s = {.task = TR_BINARY, .n_rows = 4, .n_classes = 2,
                          .target = ROWS(0, 1, 0, 1),
                          .prediction = ROWS(0.5, 0.5, 0.5, 0.5)};
    check("auc", &s, 0.5);
    s.prediction = ROWS(0.25, 0.25, 0.5, 0.5);
    check("auc", &s, 0.5);
    s.prediction = ROWS(0.25, 0.5, 0.5, 0.75);
    check("auc", &s, 0.875);
    s.prediction = ROWS(0.75, 0, 0.75, 0);
    check("auc", &s, 0);
    s.prediction = ROWS(-0.0, 0.0, 0.0, -0.0); /* one value */
    check("auc", &s, 0.5);
}

static void says_nan_where_nothing_is_defined(void **state)
{
    (void)state;
    struct tr_scored s = {.task = TR_BINARY, .n_rows = 2, .n_classes = 2,
                          .target = ROWS(1, 1),
                          .prediction = ROWS(0.5, 0.25)};
    check("auc", &s, NAN);
    s.weight = ROWS(0, 0);
    check("accuracy", &s, NAN);
    check("logloss", &s, NAN);
    s.n_rows = 0;
    s.weight = NULL;
    for (int i = 0; i < tr_metric_count; i++) {
        s.task = tr_metrics[i].tasks & TR_BINARY ? TR_BINARY : TR_REGRESSION;
        check(tr_metrics[i].name, &s, NAN);
    }
    s = (struct tr_scored){.task = TR_REGRESSION, .n_rows = 2,
                           .target = ROWS(3, 3), .prediction = ROWS(3, 4)};
    check("r2", &s, NAN); /* no variance to explain */
}

static void sure_and_wrong_is_finite(void **state)
{
    (void)state;
    struct tr_scored s = {.task = TR_BINARY, .n_rows = 2, .n_classes = 2,
                          .target = ROWS(0, 1), .prediction = ROWS(1, 0)};
    check("logloss", &s, -log(1e-15));
    s.prediction = ROWS(0, 1);
    check("logloss", &s, 0);
    /* A row of weight 0 has no say. */
    s.weight = ROWS(0, 1);
    s.prediction = ROWS(1, 1);
    check("logloss", &s, 0);
}

static void a_row_without_weight_has_no_say(void **state)
{
    (void)state;
    /* Its error overflows. */
    const struct tr_scored s = {
        .task = TR_REGRESSION, .n_rows = 3, .target = ROWS(1, 2, 0),
        .prediction = ROWS(2, 3, 1e200), .weight = ROWS(1, 1, 0)};
    check("rmse", &s, 1);
    check("mae", &s, 1);
    check("r2", &s, -3);
}

static void an_infinite_loss_is_infinite(void **state)
{
    (void)state;
    const struct tr_scored s = {.task = TR_REGRESSION, .n_rows = 3,
                                .target = ROWS(1, 2, 0),
                                .prediction = ROWS(1e200, 3, -INFINITY)};
    check("rmse", &s, INFINITY);
    check("mae", &s, INFINITY);
    check("r2", &s, -INFINITY);
}

static void sums_lose_no_digits(void **state)
{
    (void)state;
    /* 2^53, then ones that a plain sum would drop one by one. */
    enum { N = 1 << 16 };
    static double target[N + 1], prediction[N + 1];
    prediction[0] = 9007199254740992.0;
    for (int i = 1; i <= N; i++)
        prediction[i] = 1;
    const struct tr_scored s = {.task = TR_REGRESSION, .n_rows = N + 1,
                                .target = target, .prediction = prediction};
    check("mae", &s, (9007199254740992.0 + N) / (N + 1));
}

/* ------------------------------------------------- a plain reference -- */

static double uniform(uint64_t seed, uint64_t i)
{
    return (double)(ir_random(seed, i) >> 11) / 9007199254740992.0;
}

/* Over all pairs of one row of each class. */
static double plain_auc(const struct tr_scored *s)
{
    long double in_order = 0, all = 0;
    for (int64_t i = 0; i < s->n_rows; i++)
        for (int64_t j = 0; j < s->n_rows; j++) {
            if (s->target[i] != 1 || s->target[j] != 0)
                continue;
            const double w = s->weight[i] * s->weight[j];
            const double p = s->prediction[i], q = s->prediction[j];
            all += w;
            in_order += p > q ? w : p == q ? w / 2 : 0;
        }
    return (double)(in_order / all);
}

static void agrees_with_all_pairs(void **state)
{
    (void)state;
    enum { N = 300 };
    double target[N], prediction[N], weight[N];
    for (uint64_t seed = 0; seed < 50; seed++) {
        /* From all predictions distinct to many ties. */
        const double steps = seed % 5 == 0 ? 1e9 : 3 * (double)(seed % 5);
        for (uint64_t i = 0; i < N; i++) {
            prediction[i] = floor(steps * uniform(seed, 3 * i)) / steps;
            target[i] = uniform(seed, 3 * i + 1) < 0.3;
            weight[i] = seed % 2 ? 1 : floor(4 * uniform(seed, 3 * i + 2));
        }
        const struct tr_scored s = {.task = TR_BINARY, .n_rows = N,
                                    .n_classes = 2, .target = target,
                                    .prediction = prediction,
                                    .weight = weight};
        check_near("auc", &s, plain_auc(&s));
    }
}

/* k copies of a row and a weight of k are the same. */
static void weights_are_copies(void **state)
{
    (void)state;
    enum { N = 40 };
    double target[N], prediction[N], weight[N];
    double targets[4 * N], predictions[4 * N];
    for (int m = 0; m < tr_metric_count; m++) {
        const bool binary = tr_metrics[m].tasks & TR_BINARY;
        int64_t n = 0;
        for (uint64_t i = 0; i < N; i++) {
            const double y = uniform(7, 3 * i);
            target[i] = binary ? y > 0.5 : y;
            prediction[i] = uniform(7, 3 * i + 1);
            weight[i] = floor(4 * uniform(7, 3 * i + 2));
            for (int k = 0; k < weight[i]; k++, n++) {
                targets[n] = target[i];
                predictions[n] = prediction[i];
            }
        }
        const enum tr_task task = binary ? TR_BINARY : TR_REGRESSION;
        const struct tr_scored weighted = {task, N, 2, target, prediction,
                                           weight};
        const struct tr_scored copied = {task, n, 2, targets, predictions,
                                         NULL};
        check_near(tr_metrics[m].name, &weighted,
                   compute(tr_metrics[m].name, &copied));
    }
}

/* --------------------------------------------------------------- table -- */

static void finds_metrics_by_name(void **state)
{
    (void)state;
    for (int i = 0; i < tr_metric_count; i++) {
        assert_ptr_equal(tr_metric_find(tr_metrics[i].name), &tr_metrics[i]);
        assert_true(strlen(tr_metrics[i].summary) > 0);
        assert_true(tr_metrics[i].tasks != 0);
    }
    assert_null(tr_metric_find("rms"));
    assert_null(tr_metric_find(""));
    assert_string_equal(tr_metric_default(TR_REGRESSION)->name, "rmse");
    assert_string_equal(tr_metric_default(TR_BINARY)->name, "logloss");
    assert_string_equal(tr_metric_default(TR_MULTICLASS)->name, "logloss");
    assert_true(tr_metric_find("auc")->larger_is_better);
    assert_false(tr_metric_find("rmse")->larger_is_better);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_numbers),
        cmocka_unit_test(scores_two_classes),
        cmocka_unit_test(scores_many_classes),
        cmocka_unit_test(ties_count_half),
        cmocka_unit_test(says_nan_where_nothing_is_defined),
        cmocka_unit_test(sure_and_wrong_is_finite),
        cmocka_unit_test(a_row_without_weight_has_no_say),
        cmocka_unit_test(an_infinite_loss_is_infinite),
        cmocka_unit_test(sums_lose_no_digits),
        cmocka_unit_test(agrees_with_all_pairs),
        cmocka_unit_test(weights_are_copies),
        cmocka_unit_test(finds_metrics_by_name),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}

/* test_boost.c: boosting's own: leaf values and splits by their formulas,
 * regularisation, early stopping, what the caller of a fit may do. */
#include "fitting.h"

/* One feature of n whole numbers and a target, from a table. */
static void table_frame(struct tr_frame *frame, int n, const double *x,
                        const double *y)
{
    struct ir_text csv;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x,y\n");
    for (int i = 0; i < n; i++)
        ir_text_printf(&csv, "%.17g,%.17g\n", x[i], y[i]);
    frame_of(frame, csv.data);
    ir_text_release(&csv);
}

static void check_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("%.17g, not %.17g", got, want);
}

/* ---------------------------------------------------------- the formulas -- */

static void fit_stump(struct fitted *f, const struct tr_frame *frame,
                      const char *more)
{
    char settings[256];
    snprintf(settings, sizeof(settings),
             "rounds=1 num_leaves=2 learning_rate=1 min_child_rows=1 "
             "min_child_weight=0 %s", more);
    fit(f, &(struct request){.learner = "boost", .target = "y",
                             .train = frame, .settings = settings});
}

/* The leaves of the one split of 0, 0, 0 | 4, 4, 8: with the mean 8/3 the
 * gradients sum to 8 and -8. */
static void check_leaves(const char *more, double left, double right)
{
    const double x[] = {1, 2, 3, 4, 5, 6}, y[] = {0, 0, 0, 4, 4, 8};
    struct tr_frame frame;
    struct fitted f;
    struct ir_forest forest;
    table_frame(&frame, 6, x, y);
    fit_stump(&f, &frame, more);
    forest_of(f.module, &forest);
    assert_int_equal(leaves_of(&forest, 0), 2);
    check_near(ir_real(forest.base, IR_F64, 0), 8.0 / 3);
    check_near(ir_real(forest.threshold, IR_F64, 0), 3.5);
    check_near(leaf_value(&forest, 0, 0), left);
    check_near(leaf_value(&forest, 0, 1), right);
    fitted_release(&f);
    tr_frame_release(&frame);
}

static void leaves_are_newton_steps(void **state)
{
    (void)state;
    check_leaves("", -8.0 / 3, 8.0 / 3);
    check_leaves("lambda_l2=5", -1, 1);
    check_leaves("lambda_l1=2", -2, 2);
    check_leaves("lambda_l1=2 lambda_l2=1", -1.5, 1.5);
    check_leaves("learning_rate=0.25", -2.0 / 3, 2.0 / 3);
}

static double largest_leaf(const struct tr_frame *frame, const char *settings)
{
    struct fitted f;
    struct ir_forest forest;
    double largest = 0;
    fit(&f, &(struct request){.learner = "boost", .train = frame,
                              .target = "b", .settings = settings});
    forest_of(f.module, &forest);
    for (int i = 0; i < forest.n_leaves; i++)
        largest = fmax(largest,
                       fabs(((const double *)forest.leaf_value)[i]));
    fitted_release(&f);
    return largest;
}

static void regularisation_shrinks(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 400, 20);
    const double plain = largest_leaf(&frame, "rounds=1");
    const double l1 = largest_leaf(&frame, "rounds=1 lambda_l1=3");
    const double more_l1 = largest_leaf(&frame, "rounds=1 lambda_l1=8");
    const double l2 = largest_leaf(&frame, "rounds=1 lambda_l2=3");
    const double more_l2 = largest_leaf(&frame, "rounds=1 lambda_l2=30");
    assert_true(plain > l1 && l1 > more_l1 && more_l1 > 0);
    assert_true(plain > l2 && l2 > more_l2 && more_l2 > 0);
    /* More than any gradient sum: nothing is left to say. */
    assert_true(largest_leaf(&frame, "rounds=5 lambda_l1=1e6") == 0);
    tr_frame_release(&frame);
}

/* All thresholds tried, in the plainest way. */
static double plain_gain(int n, const double *x, const double *y, double l2,
                         int least)
{
    double mean = 0, best = 0;
    for (int i = 0; i < n; i++)
        mean += y[i] / n;
    for (int t = 0; t < n; t++) {
        double left = 0, right = 0;
        int n_left = 0;
        for (int i = 0; i < n; i++) {
            n_left += x[i] <= x[t];
            *(x[i] <= x[t] ? &left : &right) += mean - y[i];
        }
        if (n_left < least || n - n_left < least)
            continue;
        const double gain = left * left / (n_left + l2) +
                            right * right / (n - n_left + l2);
        best = fmax(best, gain);
    }
    return best; /* less the root's, which is 0 */
}

static void the_best_split_is_found(void **state)
{
    enum { N = 120 };
    (void)state;
    double x[N], y[N];
    for (uint64_t seed = 0; seed < 30; seed++) {
        struct tr_frame frame;
        struct fitted f;
        for (uint64_t i = 0; i < N; i++) {
            x[i] = floor(draw(seed, 2 * i) * 90);
            y[i] = draw(seed, 2 * i + 1) * 100 - 50;
        }
        table_frame(&frame, N, x, y);
        fit_stump(&f, &frame, "lambda_l2=2.5");
        check_near(f.report.gain[0], plain_gain(N, x, y, 2.5, 1));
        assert_int_equal(f.report.splits[0], 1);
        fitted_release(&f);
        fit_stump(&f, &frame, "min_child_rows=40");
        check_near(f.report.gain[0], plain_gain(N, x, y, 0, 40));
        fitted_release(&f);
        tr_frame_release(&frame);
    }
}

/* A leaf whose hessians sum to less than is asked for cannot be. */
static void child_weight_is_respected(void **state)
{
    const double x[] = {1, 2, 3, 4, 5, 6}, y[] = {0, 0, 0, 0, 1, 9};
    struct tr_frame frame;
    struct fitted f;
    struct ir_forest forest;
    (void)state;
    table_frame(&frame, 6, x, y);
    fit_stump(&f, &frame, "min_child_weight=2");
    forest_of(f.module, &forest);
    check_near(ir_real(forest.threshold, IR_F64, 0), 4.5);
    fitted_release(&f);
    fit_stump(&f, &frame, "min_child_weight=3.5");
    assert_int_equal(f.report.n_leaves, 1);
    fitted_release(&f);
    tr_frame_release(&frame);
}

/* ------------------------------------------------- one round at a time -- */

static double round_metric(const struct tr_frame *frame, const char *target,
                           int rounds)
{
    char settings[64];
    struct fitted f;
    snprintf(settings, sizeof(settings), "rounds=%d", rounds);
    fit(&f, &(struct request){.learner = "boost", .target = target,
                              .train = frame, .settings = settings});
    const double value = f.report.train_metric[rounds - 1];
    assert_int_equal(f.report.n_rounds, rounds);
    fitted_release(&f);
    return value;
}

static bool record(void *user, int round, int n_rounds, double train_metric,
                   double valid_metric)
{
    double *metric = user;
    assert_int_equal(n_rounds, 12);
    assert_true(isnan(valid_metric));
    metric[round - 1] = train_metric;
    return true;
}

/* More rounds go on from fewer, and each fits the training rows better. */
static void rounds_build_on_each_other(void **state)
{
    static const char *const targets[] = {"y", "b", "m"};
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 500, 21);
    for (int t = 0; t < 3; t++) {
        double seen[12];
        const struct tr_progress progress = {.call = record, .user = seen};
        struct fitted f;
        fit(&f, &(struct request){.learner = "boost", .target = targets[t],
                                  .train = &frame, .settings = "rounds=12",
                                  .progress = &progress});
        for (int i = 0; i < 12; i++) {
            assert_true(seen[i] == f.report.train_metric[i]);
            assert_true(i == 0 || seen[i] < seen[i - 1]);
        }
        assert_true(round_metric(&frame, targets[t], 5) == seen[4]);
        assert_true(round_metric(&frame, targets[t], 12) == seen[11]);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

static bool stop_at_4(void *user, int round, int n_rounds,
                      double train_metric, double valid_metric)
{
    (void)n_rounds;
    (void)train_metric;
    (void)valid_metric;
    *(int *)user += 1;
    return round < 4;
}

static void the_caller_may_stop(void **state)
{
    static const char *const targets[] = {"y", "m"};
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 300, 22);
    for (int t = 0; t < 2; t++) {
        int calls = 0;
        const struct tr_progress progress = {.call = stop_at_4,
                                              .user = &calls};
        struct request r = {.learner = "boost", .target = targets[t],
                            .train = &frame, .settings = "rounds=50",
                            .progress = &progress};
        struct fitted f;
        fit(&f, &r);
        assert_int_equal(calls, 4);
        assert_int_equal(f.report.n_rounds, 4);
        assert_int_equal(f.report.best_round, 4);
        assert_int_equal(f.report.n_trees, t ? 12 : 4);
        fitted_release(&f);
        struct request whole = r;
        whole.progress = NULL;
        whole.settings = "rounds=4";
        assert_true(same_fit(&r, &whole));
    }
    tr_frame_release(&frame);
}

/* The other learners ask after their trees; a tree is one round. */
static void a_forest_may_be_stopped(void **state)
{
    struct tr_frame frame;
    int calls = 0;
    const struct tr_progress progress = {.call = stop_at_4,
                                              .user = &calls};
    struct fitted f;
    (void)state;
    mixed_frame(&frame, 300, 22);
    struct request r = {.learner = "forest", .target = "y", .train = &frame,
                        .settings = "rounds=500 threads=1",
                        .progress = &progress};
    fit(&f, &r);
    assert_true(f.report.n_rounds >= 4 && f.report.n_rounds < 100);
    assert_int_equal(f.report.n_trees, f.report.n_rounds);
    assert_int_equal(f.report.best_round, f.report.n_rounds);
    fitted_release(&f);
    tr_frame_release(&frame);
}

/* -------------------------------------------------------- early stopping -- */

static void check_stop(const struct request *r, const char *metric,
                       bool larger, int patience)
{
    struct fitted f;
    char settings[128];
    struct request more = *r;
    snprintf(settings, sizeof(settings),
             "rounds=400 learning_rate=0.5 early_stopping_rounds=%d "
             "metric=%s", patience, metric);
    more.settings = settings;
    fit(&f, &more);
    const double *valid = f.report.valid_metric;
    const int best = f.report.best_round;
    assert_true(f.report.n_rounds < 400);
    assert_int_equal(f.report.n_rounds - best, patience);
    for (int i = 0; i < f.report.n_rounds; i++) {
        /* The first of the best rounds is kept. */
        if (i < best - 1)
            assert_true(larger ? valid[i] < valid[best - 1]
                               : valid[i] > valid[best - 1]);
        else
            assert_true(larger ? valid[i] <= valid[best - 1]
                               : valid[i] >= valid[best - 1]);
    }
    assert_int_equal(f.report.n_trees, best * (r->target[0] == 'm' ? 3 : 1));
    assert_true(score(&f, r->valid, r->target, NULL, metric) ==
                valid[best - 1]);
    /* Stopping changes only how many rounds there are. */
    struct request fewer = *r;
    snprintf(settings, sizeof(settings),
             "rounds=%d learning_rate=0.5 metric=%s", best, metric);
    fewer.settings = settings;
    char *text = text_of(f.module), *other = fit_text(&fewer);
    assert_string_equal(text, other);
    free(text);
    free(other);
    fitted_release(&f);
}

static void early_stopping_keeps_the_best(void **state)
{
    struct tr_frame train, valid;
    (void)state;
    mixed_frame(&train, 400, 23);
    mixed_frame(&valid, 200, 24);
    struct request r = {.learner = "boost", .target = "y", .train = &train,
                        .valid = &valid};
    check_stop(&r, "rmse", false, 5);
    check_stop(&r, "mae", false, 1);
    check_stop(&r, "r2", true, 3);
    r.target = "b";
    check_stop(&r, "logloss", false, 7);
    check_stop(&r, "auc", true, 5);
    check_stop(&r, "accuracy", true, 5);
    r.target = "m";
    check_stop(&r, "logloss", false, 4);
    check_stop(&r, "accuracy", true, 6);
    tr_frame_release(&train);
    tr_frame_release(&valid);
}

static void early_stopping_needs_rows(void **state)
{
    struct tr_frame train;
    (void)state;
    mixed_frame(&train, 100, 25);
    struct request r = {.learner = "boost", .target = "y", .train = &train,
                        .settings = "early_stopping_rounds=5"};
    check_fit_error(&r, "parameter early_stopping_rounds: it is 5, but there "
                        "are no validation rows");
    tr_frame_release(&train);
}

/* Rounds that cannot split end the fit: the model is the start alone. */
static void nothing_to_split_is_one_round(void **state)
{
    struct tr_frame train;
    struct fitted f;
    (void)state;
    mixed_frame(&train, 100, 26);
    struct request r = {.learner = "boost", .target = "b", .train = &train,
                        .settings = "rounds=50 min_child_rows=60"};
    fit(&f, &r);
    assert_int_equal(f.report.n_rounds, 1);
    assert_int_equal(f.report.n_leaves, 1);
    double share = 0, *p = predict(f.module, "value", &train);
    const double *b = train.values[tr_frame_find(&train, "b")];
    for (int i = 0; i < 100; i++)
        share += b[i] / 100;
    for (int i = 0; i < 100; i++)
        check_near(p[i], share);
    free(p);
    fitted_release(&f);
    tr_frame_release(&train);
}

/* The AUC of one class says nothing that a fit could stop by. */
static void early_stopping_needs_a_metric(void **state)
{
    struct tr_frame train, valid;
    (void)state;
    frame_of(&train, "x,y\n1,0\n2,1\n3,0\n4,1\n");
    frame_of(&valid, "x,y\n1,1\n2,1\n3,1\n");
    struct request r = {.learner = "boost", .target = "y", .train = &train,
                        .valid = &valid,
                        .settings = "metric=auc early_stopping_rounds=5"};
    check_fit_error(&r, "parameter early_stopping_rounds: it is 5, but the "
                        "metric auc is not defined for the validation rows (3 "
                        "of them)");
    tr_frame_release(&train);
    tr_frame_release(&valid);
}

/* Of two features one has no split; a round that draws it is not the last. */
static void an_unlucky_round_is_not_the_last(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "rare,x,y\n");
    for (int i = 0; i < 100; i++)
        ir_text_printf(&csv, "%d,%d,%d\n", i % 50 == 0, i, i % 10 * i);
    frame_of(&frame, csv.data);
    for (int seed = 1; seed < 9; seed++) {
        char settings[64];
        struct fitted f;
        snprintf(settings, sizeof(settings),
                 "rounds=30 feature_fraction=0.5 seed=%d", seed);
        fit(&f, &(struct request){.learner = "boost", .target = "y",
                                  .train = &frame, .settings = settings});
        assert_int_equal(f.report.n_rounds, 30);
        assert_int_equal(f.report.splits[0], 0);
        assert_true(f.report.splits[1] > 0);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* Steps ten times too long go further from the target each time. */
static void what_diverges_is_refused(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 200, 29);
    struct request r = {.learner = "boost", .target = "y", .train = &frame,
                        .settings = "rounds=1000 learning_rate=10"};
    check_fit_error(&r, "round 157: predictions grow beyond 1e+150: the "
                        "learning_rate of 10 is too large");
    r.settings = "rounds=30 learning_rate=10";
    struct fitted f;
    fit(&f, &r);
    fitted_release(&f);
    tr_frame_release(&frame);
}

/* ----------------------------------------------------- parameters of its
 * own */

static void check_changes(const struct request *r, const char *settings)
{
    struct request more = *r;
    char room[256];
    snprintf(room, sizeof(room), "%s %s", r->settings, settings);
    more.settings = room;
    if (same_fit(r, &more))
        fail_msg("%s changes nothing", settings);
}

/* Categories of 10 to 100 rows that differ by chance alone. */
static void noise_frame(struct tr_frame *frame)
{
    struct ir_text csv;
    ir_text_init(&csv);
    ir_text_puts(&csv, "t,y\n");
    for (int t = 0; t < 10; t++)
        for (int i = 0; i < 10 * (t + 1); i++)
            ir_text_printf(&csv, "t%d,%.6f\n", t,
                           draw(99, (uint64_t)(1000 * t + i)));
    frame_of(frame, csv.data);
    ir_text_release(&csv);
}

static void caution_with_categories_has_an_effect(void **state)
{
    struct tr_frame frame;
    (void)state;
    noise_frame(&frame);
    const struct request r = {.learner = "boost", .target = "y",
                              .train = &frame, .settings = "rounds=4"};
    check_changes(&r, "cat_smooth=1000");
    check_changes(&r, "cat_l2=0");
    tr_frame_release(&frame);
}

static void parameters_have_an_effect(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 400, 27);
    const struct request r = {.learner = "boost", .target = "b",
                              .train = &frame, .settings = "rounds=4"};
    check_changes(&r, "learning_rate=0.2");
    check_changes(&r, "min_child_weight=20");
    check_changes(&r, "lambda_l1=1");
    check_changes(&r, "lambda_l2=1");
    tr_frame_release(&frame);
}

/* Two features drawn for each tree: none has more. */
static void features_are_drawn_for_each_tree(void **state)
{
    enum { ROUNDS = 30 };
    struct tr_frame frame;
    struct fitted f;
    struct ir_forest forest;
    bool differ = false;
    int used_before = 0;
    (void)state;
    mixed_frame(&frame, 400, 28);
    fit(&f, &(struct request){
                .learner = "boost", .target = "y", .train = &frame,
                .settings = "rounds=30 feature_fraction=0.67"});
    forest_of(f.module, &forest);
    assert_int_equal(forest.n_trees, ROUNDS);
    for (int t = 0; t < ROUNDS; t++) {
        int used = 0;
        for (int i = forest.tree_start[t]; i < forest.tree_start[t + 1]; i++)
            used |= 1 << forest.feature[i];
        assert_int_not_equal(used, 7);
        differ |= t > 0 && used != used_before;
        used_before = used;
    }
    assert_true(differ);
    fitted_release(&f);
    tr_frame_release(&frame);
}

/* ------------------------------------------------------- hard numbers -- */

/* Squares of these neither overflow nor vanish. */
static void targets_may_be_of_any_size(void **state)
{
    static const double scales[] = {1e-250, 1e-150, 1e-20, 1e20, 1e90};
    (void)state;
    for (int k = 0; k < 5; k++) {
        double x[60], y[60];
        struct tr_frame frame;
        struct fitted f;
        for (int i = 0; i < 60; i++) {
            x[i] = i;
            y[i] = (i < 20 ? 1 : i < 40 ? 5 : 2) * scales[k];
        }
        table_frame(&frame, 60, x, y);
        fit(&f, &(struct request){
                    .learner = "boost", .target = "y", .train = &frame,
                    .settings = "rounds=3 num_leaves=3 learning_rate=1 "
                                "min_child_rows=1 min_child_weight=0"});
        double *p = predict(f.module, "value", &frame);
        for (int i = 0; i < 60; i++)
            if (!(fabs(p[i] - y[i]) <= 1e-9 * scales[k]))
                fail_msg("%g, not %g", p[i], y[i]);
        free(p);
        for (int i = 0; i < f.report.n_features; i++)
            assert_true(isfinite(f.report.gain[i]));
        fitted_release(&f);
        tr_frame_release(&frame);
    }
}

/* Infinite features are values like any other. */
static void features_may_be_infinite(void **state)
{
    struct tr_frame frame;
    (void)state;
    frame_of(&frame, "x,y\n-inf,1\n-1e308,2\n0,3\n1e308,4\ninf,5\n");
    for (int l = 0; l < tr_learner_count && !tr_learners[l].is_net; l++) {
        char settings[128];
        struct fitted f;
        snprintf(settings, sizeof(settings), "min_child_rows=1%s",
                 l == 0 ? " learning_rate=1 min_child_weight=0 rounds=1"
                        : l == 1 ? " bootstrap=false" : "");
        fit(&f, &(struct request){.learner = tr_learners[l].name,
                                  .target = "y", .train = &frame,
                                  .settings = settings});
        double *p = predict(f.module, "value", &frame);
        for (int i = 0; i < 5; i++)
            check_near(p[i], i + 1);
        free(p);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_are_newton_steps),
        cmocka_unit_test(regularisation_shrinks),
        cmocka_unit_test(the_best_split_is_found),
        cmocka_unit_test(child_weight_is_respected),
        cmocka_unit_test(rounds_build_on_each_other),
        cmocka_unit_test(the_caller_may_stop),
        cmocka_unit_test(a_forest_may_be_stopped),
        cmocka_unit_test(early_stopping_keeps_the_best),
        cmocka_unit_test(early_stopping_needs_rows),
        cmocka_unit_test(nothing_to_split_is_one_round),
        cmocka_unit_test(early_stopping_needs_a_metric),
        cmocka_unit_test(an_unlucky_round_is_not_the_last),
        cmocka_unit_test(what_diverges_is_refused),
        cmocka_unit_test(parameters_have_an_effect),
        cmocka_unit_test(caution_with_categories_has_an_effect),
        cmocka_unit_test(features_are_drawn_for_each_tree),
        cmocka_unit_test(targets_may_be_of_any_size),
        cmocka_unit_test(features_may_be_infinite),
    };
    return cmocka_run_group_tests_name("boost", tests, NULL, NULL);
}

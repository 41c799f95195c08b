/* test_learners.c: what must hold of every learner and task, whatever numbers
 * come out: same data, same module; weights are copies; parameters are heeded;
 * what was tracked is what the module gives; edges of the data. What is
 * boosting's alone is in test_boost.c. */
#include "fitting.h"

/* Few rounds: all of this must run in seconds, under sanitizers too. */
static const struct {
    const char *learner, *settings;
} learners[] = {
    {"boost", "rounds=8 num_leaves=7 min_child_rows=5"},
    {"forest", "rounds=8 max_depth=5"},
    {"tree", "num_leaves=12 min_child_rows=5"},
};
enum { N_LEARNERS = 3 };

static const struct {
    const char *target, *objective;
    const char *metrics[4];
} tasks[] = {
    {"y", "regression", {"rmse", "mae", "r2"}},
    {"y", "regression_l1", {"mae"}},
    {"b", "binary", {"logloss", "auc", "accuracy"}},
    {"m", "multiclass", {"logloss", "accuracy"}},
};
enum { N_TASKS = 4 };

/* Calls `check` for each learner and task. */
static void for_all(const struct tr_frame *train,
                    void (*check)(struct request *request, int task))
{
    for (int l = 0; l < N_LEARNERS; l++)
        for (int t = 0; t < N_TASKS; t++) {
            char settings[256];
            snprintf(settings, sizeof(settings), "%s objective=%s",
                     learners[l].settings, tasks[t].objective);
            struct request request = {.learner = learners[l].learner,
                                      .settings = settings,
                                      .target = tasks[t].target,
                                      .train = train};
            check(&request, t);
        }
}

/* The request with more settings, in `room`. */
static struct request with(const struct request *r, const char *settings,
                           char room[512])
{
    struct request more = *r;
    if (snprintf(room, 512, "%s %s", r->settings, settings) >= 512)
        fail();
    more.settings = room;
    return more;
}

/* ------------------------------------------------------------- it learns -- */

static void fits_the_separable(struct request *r, int task)
{
    static const char *const settings[] = {
        "rounds=60 learning_rate=0.3 min_child_rows=1",
        "rounds=5 bootstrap=false feature_fraction=1", "min_child_rows=1"};
    struct fitted f;
    if (task != 2)
        return;
    for (int l = 0; l < N_LEARNERS; l++)
        if (!strcmp(r->learner, learners[l].learner))
            r->settings = settings[l];
    fit(&f, r);
    assert_string_equal(f.report.objective, "binary");
    assert_true(score(&f, r->train, r->target, NULL, "accuracy") == 1);
    fitted_release(&f);
}

static void a_separable_set_is_fitted(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x1,x2,b\n");
    for (uint64_t i = 0; i < 400; i++) {
        const double x1 = draw(1, 2 * i), x2 = draw(1, 2 * i + 1);
        ir_text_printf(&csv, "%.6f,%.6f,%s\n", x1, x2,
                       (x1 > 0.3) != (x2 > 0.6) ? "in" : "out");
    }
    frame_of(&frame, csv.data);
    for_all(&frame, fits_the_separable);
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* Better than the best constant on rows that it has not seen. */
static void beats_a_constant(struct request *r, int task)
{
    struct tr_frame unseen;
    struct fitted f;
    mixed_frame(&unseen, 500, 77);
    fit(&f, r);
    if (task < 2)
        assert_true(score(&f, &unseen, "y", NULL, "r2") > 0.5);
    else
        assert_true(score(&f, &unseen, r->target, NULL, "accuracy") > 0.7);
    fitted_release(&f);
    tr_frame_release(&unseen);
}

static void learners_learn(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 1000, 1);
    for_all(&frame, beats_a_constant);
    tr_frame_release(&frame);
}

/* ---------------------------------------------------------- determinism -- */

static void check_same_module(struct request *r, int task)
{
    const bool tree = !strcmp(r->learner, "tree");
    char a[512], b[512], c[512];
    const struct request some =
        with(r, tree ? "feature_fraction=0.5"
                     : "feature_fraction=0.5 bagging_fraction=0.6", a);
    const struct request one = with(&some, "threads=1", b);
    (void)task;
    char *text = fit_text(&one);
    for (int threads = 1; threads <= 3; threads++) {
        char setting[32];
        snprintf(setting, sizeof(setting), "threads=%d", threads);
        const struct request more = with(&some, setting, c);
        char *other = fit_text(&more);
        assert_string_equal(text, other);
        free(other);
    }
    const struct request reseeded = with(&one, "seed=2", c);
    char *other = fit_text(&reseeded);
    assert_string_not_equal(text, other);
    free(other);
    free(text);
}

/* Enough rows that threads are woken. */
static void threads_change_no_bit(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 9000, 3);
    for_all(&frame, check_same_module);
    tr_frame_release(&frame);
}

/* Many columns: histograms and splits are shared among threads as well. */
static void threads_share_the_columns(void **state)
{
    enum { COLUMNS = 22, ROWS = 2000 };
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    for (int c = 0; c < COLUMNS; c++)
        ir_text_printf(&csv, "x%d,", c);
    ir_text_puts(&csv, "y\n");
    for (uint64_t i = 0; i < ROWS; i++) {
        double sum = 0;
        for (uint64_t c = 0; c < COLUMNS; c++) {
            const double v = floor(draw(c, i) * 1000) / 1000;
            sum += (double)c * v;
            if (draw(100 + c, i) < 0.05)
                ir_text_puts(&csv, ",");
            else if (c % 5 == 0)
                ir_text_printf(&csv, "t%d,", (int)(v * 20));
            else
                ir_text_printf(&csv, "%.3f,", v);
        }
        ir_text_printf(&csv, "%.6f\n", sum);
    }
    frame_of(&frame, csv.data);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct request r = {.learner = learners[l].learner, .target = "y",
                            .settings = "num_leaves=20", .train = &frame};
        check_same_module(&r, 0);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* --------------------------------------------------------------- weights -- */

static void check_weightless(struct request *r, int task)
{
    struct tr_frame less;
    (void)task;
    take_weighted(&less, r->train, "w", 1, 1);
    assert_true(less.n_rows < r->train->n_rows);
    r->weight = "w";
    struct request without = *r;
    without.train = &less;
    assert_true(same_fit(r, &without));
    tr_frame_release(&less);
}

static void weight_zero_is_absence(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 600, 4);
    for_all(&frame, check_weightless);
    tr_frame_release(&frame);
}

/* Rows of weight k against k rows; targets are such that sums are exact. */
static void check_copies(struct request *r, int task)
{
    struct tr_frame copies;
    struct fitted a, b;
    if (!strcmp(r->learner, "forest"))
        return; /* draws rows by number */
    take_weighted(&copies, r->train, "v", 1, 0);
    char room[512];
    struct request weighted = with(
        r, !strcmp(r->learner, "boost")
               ? "min_child_rows=1 min_child_weight=0 min_cat_rows=1"
               : "min_child_rows=1 min_cat_rows=1", room);
    struct request copied = weighted;
    weighted.weight = "v";
    copied.train = &copies;
    fit(&a, &weighted);
    fit(&b, &copied);
    double *x = predict(a.module, "value", r->train);
    double *y = predict(b.module, "value", r->train);
    const int64_t n = r->train->n_rows * (task == 3 ? 3 : 1);
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(x[i] - y[i]) <= 1e-9))
            fail_msg("%s %s, row %lld: %.17g by weight, %.17g by copies",
                     r->learner, r->settings, (long long)i, x[i], y[i]);
    free(x);
    free(y);
    fitted_release(&a);
    fitted_release(&b);
    tr_frame_release(&copies);
}

static void weights_are_copies(void **state)
{
    struct tr_frame frame;
    (void)state;
    /* Fewer rows than bins, or cuts would depend on the copies. */
    mixed_frame(&frame, 250, 5);
    for_all(&frame, check_copies);
    tr_frame_release(&frame);
}

/* ------------------------------------------------------- what is tracked -- */

static bool go_on(void *user, int round, int n_rounds, double train_metric,
                  double valid_metric)
{
    (void)user;
    (void)round;
    (void)n_rounds;
    (void)train_metric;
    (void)valid_metric;
    return true;
}

static void check_tracked(struct request *r, int task)
{
    struct tr_frame valid;
    const struct tr_progress progress = {.call = go_on};
    mixed_frame(&valid, 300, 8);
    r->valid = &valid;
    r->progress = &progress;
    for (int i = 0; tasks[task].metrics[i]; i++)
        for (int weighted = 0; weighted < 2; weighted++) {
            char room[512], setting[64];
            const char *metric = tasks[task].metrics[i];
            snprintf(setting, sizeof(setting), "metric=%s", metric);
            struct request more = with(r, setting, room);
            more.weight = weighted ? "v" : NULL;
            struct fitted f;
            fit(&f, &more);
            const int last = f.report.best_round - 1;
            const double train =
                score(&f, r->train, r->target, more.weight, metric);
            const double held =
                score(&f, &valid, r->target, more.weight, metric);
            if (f.report.train_metric[last] != train ||
                f.report.valid_metric[last] != held)
                fail_msg("%s %s: %s tracked %.17g %.17g, is %.17g %.17g",
                         r->learner, more.settings, metric,
                         f.report.train_metric[last],
                         f.report.valid_metric[last], train, held);
            assert_string_equal(f.report.metric, metric);
            fitted_release(&f);
        }
    tr_frame_release(&valid);
}

/* To the last bit: the learner scores bins, the interpreter values. */
static void the_tracked_metric_is_the_module_s(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 800, 6);
    for_all(&frame, check_tracked);
    tr_frame_release(&frame);
}

/* Values that training has not seen, on the other side of every bin. */
static void unseen_values_are_scored_as_the_module_does(void **state)
{
    struct tr_frame train, valid;
    (void)state;
    frame_of(&train, "x,t,y\n1,a,1\n2,b,2\n3,a,3\n4,c,4\n5,b,5\n6,a,6\n"
                     "7,c,9\n8,b,2\n9,a,7\n10,c,1\n");
    /* By the table of the training rows: z and q are in none of them. */
    struct ir_diag diag;
    ir_diag_init(&diag);
    const char *csv = "x,t,y\n-9,z,1\n99,a,2\n,b,3\n4.5,,4\n5,q,5\n1e300,c,6\n";
    assert_true(tr_frame_parse(&valid, csv, strlen(csv), "v.csv", NULL,
                               train.n_columns, train.columns, &diag));
    ir_diag_release(&diag);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        const struct request r = {
            .learner = learners[l].learner, .train = &train, .valid = &valid,
            .target = "y", .settings = "min_child_rows=1 min_cat_rows=1"};
        fit(&f, &r);
        assert_true(f.report.valid_metric[f.report.best_round - 1] ==
                    score(&f, &valid, "y", NULL, "rmse"));
        fitted_release(&f);
    }
    tr_frame_release(&train);
    tr_frame_release(&valid);
}

/* ------------------------------------------------------------ parameters -- */

/* Rows in each leaf of a tree must be as many as asked for. */
static void check_leaf_rows(const struct fitted *f,
                            const struct tr_frame *frame, int n_trees,
                            int tree, int n_leaves, int least)
{
    int32_t *leaf = predict(f->module, "leaf", frame);
    int *rows = calloc((size_t)n_leaves, sizeof(int));
    assert_non_null(rows);
    for (int64_t i = 0; i < frame->n_rows; i++)
        rows[leaf[i * n_trees + tree]]++;
    for (int i = 0; i < n_leaves; i++)
        assert_true(rows[i] >= least);
    free(rows);
    free(leaf);
}

static void check_shape(const struct request *r, int num_leaves,
                        int max_depth, int least)
{
    struct fitted f;
    struct ir_forest forest;
    int leaves = 0;
    fit(&f, r);
    forest_of(f.module, &forest);
    assert_int_equal(forest.n_trees, f.report.n_trees);
    for (int t = 0; t < forest.n_trees; t++) {
        const int n = leaves_of(&forest, t);
        leaves += n;
        assert_true(n > 1);
        assert_true(num_leaves == 0 || n <= num_leaves);
        assert_true(max_depth == 0 || depth_of(&forest, t) <= max_depth);
        check_leaf_rows(&f, r->train, forest.n_trees, t, n, least);
    }
    assert_int_equal(leaves, f.report.n_leaves);
    fitted_release(&f);
}

static void check_limits(struct request *r, int task)
{
    const bool forest = !strcmp(r->learner, "forest");
    const char *all = forest ? "rounds=3 bootstrap=false"
                    : r->learner[0] == 'b' ? "rounds=3" : "";
    char a[512], b[512];
    (void)task;
    const struct request base = with(r, all, a);
    struct request more = with(
        &base, "num_leaves=5 max_depth=0 min_child_rows=1 min_cat_rows=1", b);
    check_shape(&more, 5, 0, 1);
    more = with(&base, "num_leaves=0 max_depth=3 min_child_rows=2", b);
    check_shape(&more, 8, 3, 2);
    more = with(&base, "num_leaves=0 max_depth=0 min_child_rows=60", b);
    check_shape(&more, 0, 0, 60);
    more = with(&base, "num_leaves=2 max_depth=1 min_child_rows=1", b);
    check_shape(&more, 2, 1, 1);
}

static void limits_are_respected(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 500, 9);
    for_all(&frame, check_limits);
    tr_frame_release(&frame);
}

/* Without a limit a tree has as many leaves as it takes. */
static void limits_can_be_lifted(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x,y\n");
    for (int i = 0; i < 200; i++)
        ir_text_printf(&csv, "%d,%d\n", i, i * i);
    frame_of(&frame, csv.data);
    for (int l = 0; l < N_LEARNERS; l++) {
        char settings[128];
        struct fitted f;
        snprintf(settings, sizeof(settings),
                 "num_leaves=0 min_child_rows=1%s",
                 l == 0 ? " rounds=1"
                        : l == 1 ? " rounds=1 bootstrap=false" : "");
        fit(&f, &(struct request){.learner = learners[l].learner,
                                  .settings = settings, .target = "y",
                                  .train = &frame});
        assert_int_equal(f.report.n_leaves, 200);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

static void check_changes(const struct request *r, const char *settings)
{
    char room[512];
    const struct request more = with(r, settings, room);
    if (same_fit(r, &more))
        fail_msg("%s: %s changes nothing", r->learner, settings);
}

static void parameters_have_an_effect(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 400, 10);
    struct request r = {.target = "y", .train = &frame};
    for (int l = 0; l < N_LEARNERS; l++) {
        r.learner = learners[l].learner;
        r.settings = learners[l].settings;
        check_changes(&r, "num_leaves=3");
        check_changes(&r, "max_depth=2");
        check_changes(&r, "min_child_rows=50");
        check_changes(&r, "min_gain=20");
        check_changes(&r, "max_bin=4");
        check_changes(&r, "feature_fraction=0.4");
        check_changes(&r, "min_cat_rows=40");
        check_changes(&r, "max_cat_to_onehot=255");
        check_changes(&r, "max_cat_threshold=1");
        check_changes(&r, "objective=regression_l1");
        if (l == 2)
            continue;
        check_changes(&r, "rounds=3");
        check_changes(&r, "bagging_fraction=0.5");
    }
    r = (struct request){.target = "m", .train = &frame, .learner = "tree",
                         .settings = "min_child_rows=5"};
    check_changes(&r, "criterion=entropy");
    tr_frame_release(&frame);
}

/* A forest without chance is the tree, as often as there are rounds. */
static void a_forest_without_chance_is_a_tree(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 400, 11);
    for (int t = 0; t < N_TASKS; t++) {
        char room[256];
        struct fitted forest, tree;
        struct request r = {
            .learner = "tree", .train = &frame, .target = tasks[t].target,
            .settings = room};
        snprintf(room, sizeof(room), "objective=%s num_leaves=9 "
                 "min_child_rows=3", tasks[t].objective);
        fit(&tree, &r);
        r.learner = "forest";
        snprintf(room, sizeof(room), "objective=%s num_leaves=9 "
                 "min_child_rows=3 rounds=4 bootstrap=false "
                 "feature_fraction=1", tasks[t].objective);
        fit(&forest, &r);
        double *x = predict(tree.module, "value", &frame);
        double *y = predict(forest.module, "value", &frame);
        const int64_t n = frame.n_rows * (t == 3 ? 3 : 1);
        /* Four times the same, by four: exact. */
        assert_memory_equal(x, y, (size_t)n * sizeof(double));
        free(x);
        free(y);
        fitted_release(&tree);
        fitted_release(&forest);
    }
    tr_frame_release(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_separable_set_is_fitted),
        cmocka_unit_test(learners_learn),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(threads_share_the_columns),
        cmocka_unit_test(weight_zero_is_absence),
        cmocka_unit_test(weights_are_copies),
        cmocka_unit_test(the_tracked_metric_is_the_module_s),
        cmocka_unit_test(unseen_values_are_scored_as_the_module_does),
        cmocka_unit_test(limits_are_respected),
        cmocka_unit_test(limits_can_be_lifted),
        cmocka_unit_test(parameters_have_an_effect),
        cmocka_unit_test(a_forest_without_chance_is_a_tree),
    };
    return cmocka_run_group_tests_name("learners", tests, NULL, NULL);
}

/* test_fit.c: what learners make of the data: missing values, categories,
 * classes, medians, and frames at the edge: one row, nothing but missing
 * values, ten thousand categories; and every message of a fit. */
#include "fitting.h"

static const char *const learners[] = {"boost", "forest", "tree"};
enum { N_LEARNERS = 3 };

/* Settings with which each learner fits a few rows as well as it can. */
static const char *exact(int learner)
{
    static const char *const settings[] = {
        ("rounds=1 learning_rate=1 min_child_rows=1 min_child_weight=0 "
         "min_cat_rows=1 cat_l2=0 cat_smooth=0"),
        "rounds=1 bootstrap=false feature_fraction=1 min_cat_rows=1",
        "min_child_rows=1 min_cat_rows=1"};
    return settings[learner];
}

static void fit_exactly(struct fitted *f, int learner,
                        const struct tr_frame *frame, const char *target,
                        const char *more)
{
    char settings[512];
    snprintf(settings, sizeof(settings), "%s %s", exact(learner), more);
    fit(f, &(struct request){.learner = learners[learner], .train = frame,
                             .target = target, .settings = settings});
}

static void check_near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * fmax(1, fabs(want))))
        fail_msg("%.17g, not %.17g", got, want);
}

/* Every learner predicts the number `want` for each row of the frame. */
static void check_predictions(const char *csv, const char *more,
                              const double *want)
{
    for (int l = 0; l < N_LEARNERS; l++) {
        struct tr_frame frame;
        struct fitted f;
        frame_of(&frame, csv);
        fit_exactly(&f, l, &frame, "y", more);
        double *p = predict(f.module, "value", &frame);
        for (int64_t i = 0; i < frame.n_rows; i++)
            if (!(fabs(p[i] - want[i]) <= 1e-9))
                fail_msg("%s, row %lld: %.17g, not %.17g", learners[l],
                         (long long)i, p[i], want[i]);
        free(p);
        fitted_release(&f);
        tr_frame_release(&frame);
    }
}

#define WANT(...) ((const double[]){__VA_ARGS__})

/* -------------------------------------------------------- missing values -- */

static void missing_values_go_where_they_fit(void **state)
{
    (void)state;
    const char *reg = "objective=regression num_leaves=2 "
                      "max_cat_to_onehot=1";
    /* With the small ones, with the large ones, on their own. */
    check_predictions("x,y\n1,0\n2,0\n3,6\n4,6\n,0\n,0\n", reg,
                      WANT(0, 0, 6, 6, 0, 0));
    check_predictions("x,y\n1,0\n2,0\n3,6\n4,6\n,6\n,6\n", reg,
                      WANT(0, 0, 6, 6, 6, 6));
    check_predictions("x,y\n1,0\n2,0\n3,0\n4,0\n,6\n,6\n", reg,
                      WANT(0, 0, 0, 0, 6, 6));
    check_predictions("x,y\n7,0\n7,0\n,6\n7,0\n,6\n,6\n", reg,
                      WANT(0, 0, 6, 0, 6, 6));
    /* Missing among categories: with some, and on its own. */
    check_predictions("t,y\na,0\nb,6\n,6\na,0\nb,6\n,6\nc,0\nc,0\n", reg,
                      WANT(0, 6, 6, 0, 6, 6, 0, 0));
    check_predictions("t,y\na,0\nb,0\n,6\na,0\nb,0\n,6\n", reg,
                      WANT(0, 0, 6, 0, 0, 6));
    check_predictions("t,y\na,0\n,6\na,0\n,6\n", reg, WANT(0, 6, 0, 6));
}

/* Where training had none, a missing value goes with most rows. */
static void missing_values_may_come_later(void **state)
{
    (void)state;
    for (int l = 0; l < N_LEARNERS; l++)
        for (int most = 0; most < 2; most++) {
            struct tr_frame frame;
            struct fitted f;
            frame_of(&frame, most ? "x,y\n1,0\n2,0\n3,0\n4,6\n"
                                  : "x,y\n1,0\n2,6\n3,6\n4,6\n");
            fit_exactly(&f, l, &frame, "y", "objective=regression "
                                            "num_leaves=2");
            frame.values[0][0] = NAN;
            double *p = predict(f.module, "value", &frame);
            check_near(p[0], most ? 0 : 6);
            free(p);
            fitted_release(&f);
            tr_frame_release(&frame);
        }
}

static void a_column_may_be_all_missing(void **state)
{
    (void)state;
    check_predictions("gap,x,y\n,1,3\nNA,2,5\n,3,9\n",
                      "objective=regression", WANT(3, 5, 9));
}

/* ------------------------------------------------------------ categories -- */

/* The categories of `high` get y = 10, all others y = 1; one split says so,
 * also when the set takes the large side, or the order of codes is no help. */
static void check_set(const char *high, int n_categories)
{
    struct ir_text csv;
    struct tr_frame frame;
    ir_text_init(&csv);
    ir_text_puts(&csv, "t,x,y\n");
    for (int i = 0; i < 20 * n_categories; i++) {
        const char name[] = {(char)('a' + i % n_categories), '\0'};
        ir_text_printf(&csv, "%s,%d,%d\n", name, i * 7 % 11,
                       strstr(high, name) ? 10 : 1);
    }
    frame_of(&frame, csv.data);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        struct ir_forest forest;
        fit_exactly(&f, l, &frame, "y", "num_leaves=2 objective=regression");
        forest_of(f.module, &forest);
        assert_int_equal(forest.n_nodes, 1);
        assert_int_equal(forest.feature[0], 0);
        assert_true(forest.flags[0] & IR_NODE_CATEGORICAL);
        double *p = predict(f.module, "value", &frame);
        for (int64_t i = 0; i < frame.n_rows; i++)
            check_near(p[i], frame.values[2][i]);
        free(p);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

static void a_set_of_categories_is_found(void **state)
{
    (void)state;
    check_set("c", 3);
    check_set("a", 4);
    check_set("bfk", 12);
    check_set("acdeghijl", 12);
    check_set("adgjmpsvy", 26);
}

/* At most so many categories are on the smaller side. */
static void sets_are_limited(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "t,y\n");
    for (int i = 0; i < 400; i++)
        ir_text_printf(&csv, "t%02d,%d\n", i % 20, i % 20 * i % 17);
    frame_of(&frame, csv.data);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        struct ir_forest forest;
        fit_exactly(&f, l, &frame, "y", "max_cat_threshold=3");
        forest_of(f.module, &forest);
        assert_true(forest.n_nodes > 3);
        for (int i = 0; i < forest.n_nodes; i++) {
            int members = 0;
            const int s = forest.set[i];
            for (int w = forest.set_start[s]; w < forest.set_start[s + 1];
                 w++)
                members += __builtin_popcount(forest.set_words[w]);
            assert_in_range(members, 1, 3);
        }
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* A category with few rows is never split on, nor is one that training has not
 * seen: both go with the rest, to the right. */
static void rare_and_unseen_categories_go_right(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "t,y\n");
    for (int i = 0; i < 60; i++)
        ir_text_printf(&csv, "%s,%d\n", i % 2 ? "a" : "b", i % 2 ? 5 : 1);
    ir_text_puts(&csv, "rare,900\nrare,900\nrare,900\n");
    frame_of(&frame, csv.data);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        struct ir_forest forest;
        fit_exactly(&f, l, &frame, "y", "min_cat_rows=4 num_leaves=2");
        forest_of(f.module, &forest);
        assert_int_equal(forest.n_nodes, 1);
        frame.values[0][0] = 3; /* past the table: what readers give */
        frame.values[0][1] = -1;
        frame.values[0][2] = 1e18;
        double *p = predict(f.module, "value", &frame);
        check_near(p[0], p[60]);
        check_near(p[1], p[60]);
        check_near(p[2], p[60]);
        free(p);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* More categories than bins: the frequent ones are known apart. */
static void ten_thousand_categories_are_had(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "t,x,y\n");
    for (int i = 0; i < 14000; i++) {
        const int t = i < 10000 ? i : i % 40; /* 40 of them many times */
        ir_text_printf(&csv, "t%05d,%d,%d\n", t, i % 5,
                       t % 3 == 0 && t < 40 ? 8 : 1);
    }
    frame_of(&frame, csv.data);
    assert_int_equal(frame.columns[0].n_categories, 10000);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        fit_exactly(&f, l, &frame, "y", "objective=regression "
                                        "min_cat_rows=10");
        assert_int_equal(f.module->columns[0].n_categories, 10000);
        double *p = predict(f.module, "value", &frame);
        for (int64_t i = 10000; i < frame.n_rows; i++)
            check_near(p[i], frame.values[2][i]);
        free(p);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* --------------------------------------------------------------- medians -- */

/* Rows 0, 1, 9 | 20, 21, 50, 90: the medians are 1 and 21, the lower one of
 * an even number. By weight that of the right is 50. */
static void absolute_errors_make_medians(void **state)
{
    struct tr_frame frame;
    (void)state;
    frame_of(&frame, "x,y,w\n1,0,1\n1,1,1\n1,9,1\n2,20,1\n2,21,1\n2,50,3\n"
                     "2,90,1\n");
    for (int l = 0; l < N_LEARNERS; l++)
        for (int weighted = 0; weighted < 2; weighted++) {
            char settings[512];
            struct fitted f;
            snprintf(settings, sizeof(settings),
                     "%s objective=regression_l1 num_leaves=2", exact(l));
            fit(&f, &(struct request){
                        .learner = learners[l], .target = "y",
                        .weight = weighted ? "w" : NULL, .train = &frame,
                        .settings = settings});
            assert_string_equal(f.report.metric, "mae");
            double *p = predict(f.module, "value", &frame);
            /* Without the spec's weight w is a feature: y is in it alone. */
            if (weighted) {
                check_near(p[0], 1);
                check_near(p[6], 50);
            }
            free(p);
            fitted_release(&f);
        }
    tr_frame_release(&frame);
    check_predictions("x,y\n1,0\n1,1\n1,9\n2,20\n2,21\n2,50\n2,90\n",
                      "objective=regression_l1",
                      WANT(1, 1, 1, 21, 21, 21, 21));
}

/* --------------------------------------------------------------- classes -- */

static void classes_are_named_and_shared_out(void **state)
{
    struct tr_frame frame;
    (void)state;
    frame_of(&frame, "x,y\n1,pear\n1,pear\n1,apple\n2,fig\n2,fig\n3,apple\n"
                     "3,apple\n1,pear\n");
    for (int l = 1; l < N_LEARNERS; l++) {
        struct fitted f;
        fit_exactly(&f, l, &frame, "y", "");
        assert_string_equal(f.report.objective, "multiclass");
        assert_int_equal(f.report.n_classes, 3);
        const int index = ir_find_output(f.module, "class");
        const struct ir_output *class = &f.module->outputs[index];
        assert_int_equal(class->n_labels, 3);
        assert_string_equal(class->labels[0], "apple");
        assert_string_equal(class->labels[1], "fig");
        assert_string_equal(class->labels[2], "pear");
        double *p = predict(f.module, "probability", &frame);
        int32_t *k = predict(f.module, "class", &frame);
        check_near(p[0], 0.25); /* x = 1: an apple in four */
        check_near(p[1], 0);
        check_near(p[2], 0.75);
        assert_int_equal(k[0], 2);
        assert_int_equal(k[3], 1);
        assert_int_equal(k[5], 0);
        free(p);
        free(k);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

static void probabilities_add_up(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 400, 30);
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        fit(&f, &(struct request){.learner = learners[l], .target = "m",
                                  .train = &frame, .settings = ""});
        double *p = predict(f.module, "value", &frame);
        int32_t *class = predict(f.module, "class", &frame);
        for (int64_t i = 0; i < frame.n_rows; i++) {
            const double *of = p + 3 * i;
            check_near(of[0] + of[1] + of[2], 1);
            for (int k = 0; k < 3; k++) {
                assert_true(of[k] >= 0 && of[k] <= of[class[i]]);
                assert_true(k >= class[i] || of[k] < of[class[i]]);
            }
        }
        free(p);
        free(class);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

/* Classes that are numbers are named by them, whatever they are. */
static void numbers_may_be_classes(void **state)
{
    struct tr_frame frame;
    (void)state;
    frame_of(&frame, "x,y\n1,7\n2,-0.5\n3,7\n4,-0.5\n1,7\n");
    for (int l = 0; l < N_LEARNERS; l++) {
        struct fitted f;
        fit_exactly(&f, l, &frame, "y", "");
        assert_string_equal(f.report.objective, "binary");
        const int index = ir_find_output(f.module, "class");
        const struct ir_output *class = &f.module->outputs[index];
        assert_string_equal(class->labels[0], "-0.5");
        assert_string_equal(class->labels[1], "7");
        int32_t *k = predict(f.module, "class", &frame);
        assert_int_equal(k[0], 1);
        assert_int_equal(k[1], 0);
        free(k);
        fitted_release(&f);
        fit_exactly(&f, l, &frame, "y", "objective=multiclass");
        assert_int_equal(f.report.n_classes, 2);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

/* ----------------------------------------------------------------- edges -- */

static void one_row_is_a_constant(void **state)
{
    (void)state;
    check_predictions("x,t,y\n1,a,7\n", "objective=regression", WANT(7));
    check_predictions("x,t,y\n,,7\n", "objective=regression_l1", WANT(7));
}

static void what_is_constant_is_no_use(void **state)
{
    (void)state;
    check_predictions("x,t,y\n1,a,7\n1,a,8\n1,a,9\n", "objective=regression",
                      WANT(8, 8, 8));
    /* Nor is a constant target anything to split for. */
    check_predictions("x,y\n1,0.1\n2,0.1\n3,0.1\n", "objective=regression",
                      WANT(0.1, 0.1, 0.1));
    for (int l = 0; l < N_LEARNERS; l++) {
        struct tr_frame frame;
        struct fitted f;
        frame_of(&frame, "x,y\n1,0.1\n2,0.1\n3,0.1\n");
        fit_exactly(&f, l, &frame, "y", "objective=regression");
        assert_int_equal(f.report.n_leaves, 1);
        assert_true(f.report.gain[0] == 0);
        fitted_release(&f);
        tr_frame_release(&frame);
    }
}

/* The module has all columns, used or not, in the frame's order. */
static void the_module_has_all_features(void **state)
{
    struct tr_frame frame;
    struct fitted f;
    (void)state;
    frame_of(&frame, "one,y,gap,x,t\n1,3,,1,a\n1,4,,2,b\n1,9,,3,a\n");
    fit_exactly(&f, 2, &frame, "y", "");
    assert_int_equal(f.module->n_columns, 4);
    assert_string_equal(f.module->columns[0].name, "one");
    assert_string_equal(f.module->columns[3].name, "t");
    assert_int_equal(f.module->columns[3].n_categories, 2);
    assert_int_equal(f.report.n_features, 4);
    assert_string_equal(f.report.feature[1], "gap");
    assert_int_equal(f.report.splits[1], 0);
    assert_true(f.report.splits[2] > 0 && f.report.gain[2] > 0);
    assert_string_equal(ir_get_fact(f.module, "learner"), "tree");
    assert_string_equal(ir_get_fact(f.module, "objective"), "regression");
    assert_string_equal(ir_get_fact(f.module, "source_sha256"),
                        frame.sha256);
    fitted_release(&f);
    tr_frame_release(&frame);
}

/* -------------------------------------------------------------- messages -- */

/* The message of a fit of `csv`; valid may be NULL. */
static void check_refused(const char *csv, const char *valid,
                          const char *target, const char *weight,
                          const char *settings, const char *want)
{
    struct tr_frame frame, held;
    struct request r = {.learner = "tree", .target = target,
                        .weight = weight, .settings = settings,
                        .train = &frame};
    frame_of(&frame, csv);
    if (valid) {
        frame_of(&held, valid);
        r.valid = &held;
    }
    check_fit_error(&r, want);
    tr_frame_release(&frame);
    if (valid)
        tr_frame_release(&held);
}

static void roles_are_checked(void **state)
{
    (void)state;
    check_refused("x,y\n1,2\n", NULL, "z", NULL, "",
                  "there is no column named \"z\" (the target)");
    check_refused("x,y\n1,2\n", NULL, "y", "v", "",
                  "there is no column named \"v\" (the weight)");
    check_refused("y\n1\n", NULL, "y", NULL, "",
                  "there is no column to learn from, besides the target "
                  "\"y\"");
    check_refused("x,y,v\n1,2,much\n", NULL, "y", "v", "",
                  "the weight \"v\" is a column of categories");
    check_refused("x,y\n1,a\n2,b\n", NULL, "y", NULL, "objective=regression",
                  "parameter objective: the target \"y\" is a column of "
                  "categories; regression takes numbers");
    check_refused("x,y\n1,2\n", NULL, "y", NULL, "metric=auc",
                  "parameter metric: the metric auc is not defined for "
                  "objective regression (of the target \"y\")");
}

static void rows_are_checked(void **state)
{
    (void)state;
    check_refused("x,y\n1,2\n3,\n", NULL, "y", NULL, "",
                  "row 2 of the training rows has no target (\"y\")");
    check_refused("x,y\n1,2\n", "x,y\n1,\n", "y", NULL, "",
                  "row 1 of the validation rows has no target (\"y\")");
    check_refused("x,y\n1,2\n3,inf\n", NULL, "y", NULL, "",
                  "row 2 of the training rows has the target inf (the limit "
                  "is 1e+100)");
    check_refused("x,y\n1,2\n3,-2e100\n", NULL, "y", NULL, "",
                  "row 2 of the training rows has the target -2e+100 (the "
                  "limit is 1e+100)");
    check_refused("x,y,w\n1,2,1\n3,4,-1\n", NULL, "y", "w", "",
                  "row 2 of the training rows has the weight -1 (0 to 1e+100 "
                  "can be had)");
    check_refused("x,y,w\n1,2,NaN\n3,4,1\n", NULL, "y", "w", "",
                  "row 1 of the training rows has the weight nan (0 to "
                  "1e+100 can be had)");
    check_refused("x,y,w\n1,2,0\n3,4,0\n", NULL, "y", "w", "",
                  "no row has a weight above 0 (\"w\")");
}

static void classes_are_checked(void **state)
{
    (void)state;
    check_refused("x,y\n1,a\n2,a\n", NULL, "y", NULL, "",
                  "the target \"y\" has one class in the training rows; "
                  "multiclass needs two");
    check_refused("x,y\n1,3\n2,3\n", NULL, "y", NULL, "objective=binary",
                  "the target \"y\" has one class in the training rows; "
                  "binary needs two");
    check_refused("x,y\n1,3\n2,4\n3,5\n", NULL, "y", NULL,
                  "objective=binary",
                  "parameter objective: the target \"y\" has more than two "
                  "classes; binary takes two (multiclass takes more)");
    check_refused("x,y\n1,3\n2,4\n", "x,y\n1,3\n1,5\n", "y", NULL, "",
                  "row 2 of the validation rows has a class of the target "
                  "\"y\" that no training row has");
    /* Rows of weight 0 teach no class. */
    check_refused("x,y,w\n1,a,1\n2,b,0\n", NULL, "y", "w", "",
                  "the target \"y\" has one class in the training rows; "
                  "multiclass needs two");
    struct ir_text csv;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x,y\n");
    for (int i = 0; i <= TR_MAX_CLASSES; i++)
        ir_text_printf(&csv, "%d,%d\n", i, i);
    check_refused(csv.data, NULL, "y", NULL, "objective=multiclass",
                  "the target \"y\" has more than 1024 classes, which is the "
                  "limit");
    ir_text_release(&csv);
}

static void columns_to_ignore_are_checked(void **state)
{
    (void)state;
    const char *const ignore[] = {"x", "z"};
    const struct tr_task_spec spec = {.target = "y", .n_ignore = 2,
                                      .ignore = ignore};
    struct tr_frame frame;
    struct tr_params params;
    struct tr_report report;
    struct ir_diag diag;
    frame_of(&frame, "x,y\n1,2\n");
    tr_params_init(&params, tr_learner_find("tree"));
    ir_diag_init(&diag);
    assert_null(tr_fit(&frame, NULL, &spec, &params, NULL, &report, &diag));
    assert_string_equal(diag.message[0],
                        "there is no column named \"z\" (one to ignore)");
    ir_diag_release(&diag);
    tr_frame_release(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_values_go_where_they_fit),
        cmocka_unit_test(missing_values_may_come_later),
        cmocka_unit_test(a_column_may_be_all_missing),
        cmocka_unit_test(a_set_of_categories_is_found),
        cmocka_unit_test(sets_are_limited),
        cmocka_unit_test(rare_and_unseen_categories_go_right),
        cmocka_unit_test(ten_thousand_categories_are_had),
        cmocka_unit_test(absolute_errors_make_medians),
        cmocka_unit_test(classes_are_named_and_shared_out),
        cmocka_unit_test(probabilities_add_up),
        cmocka_unit_test(numbers_may_be_classes),
        cmocka_unit_test(one_row_is_a_constant),
        cmocka_unit_test(what_is_constant_is_no_use),
        cmocka_unit_test(the_module_has_all_features),
        cmocka_unit_test(roles_are_checked),
        cmocka_unit_test(rows_are_checked),
        cmocka_unit_test(classes_are_checked),
        cmocka_unit_test(columns_to_ignore_are_checked),
    };
    return cmocka_run_group_tests_name("fit", tests, NULL, NULL);
}

/* test_cart.c: trees and forests, their own: the best split by each impurity
 * against a plain search; what a forest draws for each tree and split. */
#include "fitting.h"

enum { N = 150, CLASSES = 3 };

/* ---------------------------------------------- impurity, a plain search -- */

struct rows {
    int n_classes; /* 0: y is a number */
    bool entropy;
    double x[N], y[N], w[N];
};

/* What a side contributes: more of it is purer. */
static double purity(const struct rows *r, double from, double to)
{
    double all = 0, sum = 0, of_class[CLASSES] = {0}, pure = 0;
    for (int i = 0; i < N; i++) {
        if (!(r->x[i] > from && r->x[i] <= to))
            continue;
        all += r->w[i];
        sum += r->w[i] * r->y[i];
        if (r->n_classes)
            of_class[(int)r->y[i]] += r->w[i];
    }
    if (all == 0)
        return 0;
    if (r->n_classes == 0)
        return sum * sum / all;
    for (int k = 0; k < r->n_classes; k++) {
        const double p = of_class[k] / all;
        pure += r->entropy ? (p > 0 ? p * log(p) : 0) : p * p;
    }
    return all * pure;
}

static int rows_up_to(const struct rows *r, double t)
{
    int n = 0;
    for (int i = 0; i < N; i++)
        n += r->x[i] <= t;
    return n;
}

static double plain_gain(const struct rows *r, int least)
{
    double best = 0;
    for (int i = 0; i < N; i++) {
        const double t = r->x[i];
        const int n_left = rows_up_to(r, t);
        if (n_left < least || N - n_left < least)
            continue;
        best = fmax(best, purity(r, -INFINITY, t) + purity(r, t, INFINITY) -
                              purity(r, -INFINITY, INFINITY));
    }
    return best;
}

static void draw_rows(struct rows *r, uint64_t seed, int n_classes,
                      bool entropy)
{
    r->n_classes = n_classes;
    r->entropy = entropy;
    for (uint64_t i = 0; i < N; i++) {
        const double u = draw(seed, 3 * i + 1);
        r->x[i] = floor(draw(seed, 3 * i) * 100);
        r->y[i] = n_classes ? floor(u * n_classes) : 10 * u - 5;
        /* Rows differ from chance where x is large. */
        if (r->x[i] > 70 && n_classes)
            r->y[i] = i % 3 ? n_classes - 1 : r->y[i];
        r->w[i] = 1 + floor(draw(seed, 3 * i + 2) * 4);
    }
}

static void frame_of_rows(struct tr_frame *frame, const struct rows *r)
{
    struct ir_text csv;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x,y,w\n");
    for (int i = 0; i < N; i++)
        ir_text_printf(&csv, r->n_classes ? "%g,k%g,%g\n" : "%g,%.17g,%g\n",
                       r->x[i], r->y[i], r->w[i]);
    frame_of(frame, csv.data);
    ir_text_release(&csv);
}

static void check_gain(const struct rows *r, int least)
{
    struct tr_frame frame;
    struct fitted f;
    char settings[128];
    frame_of_rows(&frame, r);
    snprintf(settings, sizeof(settings),
             "num_leaves=2 min_child_rows=%d criterion=%s", least,
             r->entropy ? "entropy" : "gini");
    fit(&f, &(struct request){.learner = "tree", .target = "y", .weight = "w",
                              .train = &frame, .settings = settings});
    const double want = plain_gain(r, least);
    if (!(fabs(f.report.gain[0] - want) <= 1e-9 * fmax(1, want)))
        fail_msg("gains %.17g, not %.17g", f.report.gain[0], want);
    fitted_release(&f);
    tr_frame_release(&frame);
}

static void the_purest_split_is_found(void **state)
{
    (void)state;
    struct rows r;
    for (uint64_t seed = 0; seed < 20; seed++)
        for (int kind = 0; kind < 5; kind++) {
            draw_rows(&r, seed, kind == 0 ? 0 : kind < 3 ? 2 : CLASSES,
                      kind % 2);
            check_gain(&r, 1);
            check_gain(&r, 50);
        }
}

/* --------------------------------------------------------------- forests -- */

/* With all features and no chance but the rows, trees still differ. */
static void each_tree_has_rows_of_its_own(void **state)
{
    static const char *const settings[] = {
        "rounds=8 max_depth=1 feature_fraction=1",
        ("rounds=8 max_depth=1 feature_fraction=1 bootstrap=false "
         "bagging_fraction=0.5")};
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 300, 40);
    for (int s = 0; s < 2; s++) {
        struct fitted f;
        struct ir_forest forest;
        fit(&f, &(struct request){.learner = "forest", .target = "y",
                                  .train = &frame, .settings = settings[s]});
        forest_of(f.module, &forest);
        assert_int_equal(forest.n_trees, 8);
        for (int t = 1; t < 8; t++)
            for (int u = 0; u < t; u++)
                assert_false(leaf_value(&forest, t, 0) ==
                                 leaf_value(&forest, u, 0) &&
                             leaf_value(&forest, t, 1) ==
                                 leaf_value(&forest, u, 1));
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

/* One feature is tried at a split, but more when it gives none: here only "x"
 * does, for the others part off a single row. */
static void features_are_drawn_until_one_splits(void **state)
{
    struct ir_text csv;
    struct tr_frame frame;
    struct fitted f;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "p,q,r,s,t,u,x,y\n");
    for (int i = 0; i < 40; i++)
        ir_text_printf(&csv, "%d,%d,%d,%d,%d,%d,%d,%d\n", i == 1, i == 2,
                       i == 3, i == 4, i == 5, i == 6, i % 8, i % 8);
    frame_of(&frame, csv.data);
    fit(&f, &(struct request){
                .learner = "forest", .target = "y", .train = &frame,
                .settings = "rounds=20 min_child_rows=5 bootstrap=false "
                            "objective=regression feature_fraction=0.01"});
    assert_int_equal(f.report.n_leaves, 20 * 8);
    for (int i = 0; i < 7; i++)
        assert_int_equal(f.report.splits[i], i == 6 ? 20 * 7 : 0);
    fitted_release(&f);
    tr_frame_release(&frame);
    ir_text_release(&csv);
}

/* Features are drawn for each split, not once for the tree: with one of three
 * at a time, trees have more than one. */
static void features_are_drawn_for_each_split(void **state)
{
    struct tr_frame frame;
    struct fitted f;
    struct ir_forest forest;
    bool mixed = false, first[3] = {false};
    (void)state;
    mixed_frame(&frame, 300, 41);
    fit(&f, &(struct request){.learner = "forest", .target = "y",
                              .train = &frame,
                              .settings = "rounds=20 max_depth=4 "
                                          "feature_fraction=0.3"});
    forest_of(f.module, &forest);
    for (int t = 0; t < 20; t++) {
        const int at = forest.tree_start[t];
        first[forest.feature[at]] = true;
        for (int i = at; i < forest.tree_start[t + 1]; i++)
            mixed |= forest.feature[i] != forest.feature[at];
    }
    assert_true(mixed && first[0] && first[1] && first[2]);
    fitted_release(&f);
    tr_frame_release(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_purest_split_is_found),
        cmocka_unit_test(each_tree_has_rows_of_its_own),
        cmocka_unit_test(features_are_drawn_until_one_splits),
        cmocka_unit_test(features_are_drawn_for_each_split),
    };
    return cmocka_run_group_tests_name("cart", tests, NULL, NULL);
}

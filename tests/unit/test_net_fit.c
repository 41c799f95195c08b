/* test_net_fit.c: how nets are fitted: optimisers and schedules by their
 * formulas, seeds, checkpoints, early stopping, class weights, and the module
 * of f32 against the trainer's forward pass. */
#include "fitting.h"
#include "trainer/private.h"

#include <stdio.h>
#include <unistd.h>

static void check_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance * fmax(1, fabs(want))))
        fail_msg("%.9g, not %.9g", got, want);
}

/* ------------------------------------------------------------ optimisers -- */

/* Two parameters, of which the first decays, and the gradients of two steps. */
struct tiny {
    struct tr_params params;
    struct tr_net net;
    struct tr_optimizer optimizer;
    float theta[2], grad[2];
};

static void tiny_init(struct tiny *t, const char *settings)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    *t = (struct tiny){.theta = {1, -2}};
    tr_params_init(&t->params, tr_learner_find("net"));
    set_all(&t->params, settings, &diag);
    ir_diag_release(&diag);
    t->net.n_layers = 1;
    t->net.n_params = 2;
    t->net.theta = t->theta;
    t->net.grad = t->grad;
    t->net.layer[0].n_blocks = 2;
    t->net.layer[0].block[0] = (struct tr_block){0, 1, true, true};
    t->net.layer[0].block[1] = (struct tr_block){1, 1, true, false};
    tr_optimizer_init(&t->optimizer, &t->params, 2, 10);
}

/* Both steps have the gradients 0.5 and -0.25. */
static void check_steps(const char *settings, double a, double b)
{
    struct tiny t;
    tiny_init(&t, settings);
    for (int i = 0; i < 2; i++) {
        t.grad[0] = 0.5f;
        t.grad[1] = -0.25f;
        tr_optimizer_step(&t.optimizer, &t.net);
    }
    assert_int_equal(t.net.step, 2);
    check_near((double)t.theta[0], a, 1e-6);
    check_near((double)t.theta[1], b, 1e-6);
    tr_optimizer_release(&t.optimizer);
}

static void steps_go_by_their_formulas(void **state)
{
    (void)state;
    check_steps("optimizer=sgd learning_rate=0.1", 0.9, -1.95);
    /* 1 -> 1 - 0.1 (0.5 + 0.2) = 0.93 -> 0.93 - 0.1 (0.5 + 0.186) */
    check_steps("optimizer=sgd learning_rate=0.1 weight_decay=0.2", 0.8614,
                -1.95);
    /* v = g, then 0.9 g + g: 2.9 g in all */
    check_steps("optimizer=momentum learning_rate=0.1", 1 - 0.145,
                -2 + 0.0725);
    /* Equal gradients make steps of the learning rate. */
    check_steps("optimizer=adam learning_rate=0.1 epsilon=1e-12", 0.8, -1.8);
    check_steps("optimizer=adamw learning_rate=0.1 epsilon=1e-12 "
                "weight_decay=0.5", (1 * 0.95 - 0.1) * 0.95 - 0.1, -1.8);
    /* The norm is sqrt(0.3125). */
    check_steps("optimizer=sgd learning_rate=0.1 clip_norm=0.1",
                1 - 0.02 * 0.5 / sqrt(0.3125),
                -2 + 0.02 * 0.25 / sqrt(0.3125));
}

static double rate_at(const char *settings, uint64_t step)
{
    struct tiny t;
    tiny_init(&t, settings);
    const double rate = tr_optimizer_rate(&t.optimizer, step);
    tr_optimizer_release(&t.optimizer);
    return rate;
}

/* Ten steps an epoch. */
static void rates_go_by_their_schedules(void **state)
{
    (void)state;
#define RATE "epochs=10 learning_rate=2 "
    check_near(rate_at(RATE, 77), 2, 1e-12);
    check_near(rate_at(RATE "schedule=linear", 25), 1.5, 1e-12);
    check_near(rate_at(RATE "schedule=cosine", 0), 2, 1e-12);
    check_near(rate_at(RATE "schedule=cosine", 50), 1, 1e-12);
    check_near(rate_at(RATE "schedule=step decay_epochs=3", 29), 2, 1e-12);
    check_near(rate_at(RATE "schedule=step decay_epochs=3", 30), 0.2, 1e-12);
    check_near(rate_at(RATE "schedule=step decay_epochs=3", 61), 0.02, 1e-12);
    check_near(rate_at(RATE "schedule=exponential decay=0.5", 35), 0.25,
               1e-12);
    check_near(rate_at(RATE "warmup=0.2", 4), 0.5, 1e-12);
    check_near(rate_at(RATE "warmup=0.2", 20), 2, 1e-12);
    check_near(rate_at(RATE "warmup=0.2 schedule=linear", 60), 1, 1e-12);
}

/* ------------------------------------------------------------- functions -- */

static void functions_are_close(void **state)
{
    (void)state;
    for (int i = -4000; i <= 4000; i++) {
        const float x = (float)i * 0.025f;
        float y;
        tr_vector_tanh(1, &x, &y);
        check_near((double)y, tanh((double)x), 2.5e-7);
        tr_vector_sigmoid(1, &x, &y);
        const double want = 1 / (1 + exp(-(double)x));
        if (!(fabs((double)y - want) <= 6e-7 * want + 1e-37))
            fail_msg("sigmoid(%g) is %.9g, not %.9g", (double)x, (double)y,
                     want);
    }
}

/* A share of the numbers is dropped, and the rest grows to keep the mean. */
static void dropout_keeps_the_mean(void **state)
{
    enum { N = 4096 };
    struct ir_diag diag;
    struct tr_net net = {.seed = 4};
    const int64_t dim[] = {N};
    (void)state;
    ir_diag_init(&diag);
    assert_true(tr_net_parse(&net, "dropout 0.25", 1, dim, 1, &diag));
    assert_true(tr_blas_load(&net, &diag));
    assert_true(tr_net_reserve(&net, 1, &diag));
    tr_net_init(&net, 1);
    float *x = tr_reals(N);
    for (int i = 0; i < N; i++)
        x[i] = 3;
    uint64_t differ = 0;
    float *first = tr_reals(N);
    for (net.step = 0; net.step < 2; net.step++) {
        int dropped = 0;
        tr_net_forward(&net, x, 1, true);
        const float *y = net.layer[0].y;
        for (int i = 0; i < N; i++) {
            assert_true(y[i] == 0 || y[i] == 4);
            dropped += y[i] == 0;
            differ += net.step == 1 && y[i] != first[i];
        }
        check_near(dropped, N / 4, 0.1);
        memcpy(first, y, N * sizeof(*y));
    }
    assert_true(differ > N / 8); /* each batch drops others */
    tr_net_forward(&net, x, 1, false);
    assert_memory_equal(net.layer[0].y, x, N * sizeof(*x));
    free(x);
    free(first);
    tr_net_release(&net);
    ir_diag_release(&diag);
}

/* ----------------------------------------------------------------- seeds -- */

#define NET                                                                   \
    "layers=dense\t12\tbatchnorm\trelu\tdropout\t0.1;dense\t6\ttanh "         \
    "batch_size=32 "

static void a_fit_is_its_seed(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 300, 5);
    const struct request r = {.learner = "net", .target = "m",
                              .train = &frame,
                              .settings = NET "epochs=3"};
    struct request other = r;
    assert_true(same_fit(&r, &r));
    other.settings = NET "epochs=3 seed=2";
    assert_false(same_fit(&r, &other));
    tr_frame_release(&frame);
}

/* ----------------------------------------------------------- checkpoints -- */

static bool stop_at_4(void *user, int round, int n_rounds,
                      double train_metric, double valid_metric)
{
    (void)user;
    (void)n_rounds;
    (void)train_metric;
    (void)valid_metric;
    return round < 4;
}

/* A file of the test's own. */
static void make_file(char path[32])
{
    strcpy(path, "net-checkpoint-XXXXXX");
    const int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
}

static void check_resumed(const char *settings, const struct tr_frame *frame,
                          const struct tr_frame *valid)
{
    const struct tr_progress progress = {.call = stop_at_4};
    char path[32], first[512], second[512];
    struct fitted whole, part, rest;
    make_file(path);
    snprintf(first, sizeof(first), "%s checkpoint=%s", settings, path);
    snprintf(second, sizeof(second), "%s resume=%s", settings, path);
    struct request r = {.learner = "net", .target = "m", .train = frame,
                        .valid = valid, .settings = settings};
    fit(&whole, &r);
    r.settings = first;
    r.progress = &progress;
    fit(&part, &r);
    assert_int_equal(part.report.n_rounds, 4);
    r.settings = second;
    r.progress = NULL;
    fit(&rest, &r);
    char *a = text_of(whole.module), *b = text_of(rest.module);
    if (strcmp(a, b) != 0)
        fail_msg("%s: resumed, the module is another", settings);
    assert_int_equal(rest.report.n_rounds, whole.report.n_rounds);
    assert_int_equal(rest.report.best_round, whole.report.best_round);
    for (int i = 0; i < whole.report.n_rounds; i++)
        assert_memory_equal(&whole.report.valid_metric[i],
                            &rest.report.valid_metric[i], sizeof(double));
    free(a);
    free(b);
    fitted_release(&whole);
    fitted_release(&part);
    fitted_release(&rest);
    remove(path);
}

static void a_fit_goes_on_to_the_same_bits(void **state)
{
    struct tr_frame frame, valid;
    (void)state;
    mixed_frame(&frame, 300, 5);
    mixed_frame(&valid, 100, 6);
    check_resumed(NET "epochs=9", &frame, NULL);
    check_resumed(NET "epochs=9 optimizer=sgd", &frame, NULL);
    check_resumed(NET "epochs=9 optimizer=momentum learning_rate=0.01",
                  &frame, &valid);
    check_resumed(NET "epochs=9 optimizer=adamw weight_decay=0.01 "
                      "schedule=cosine warmup=0.1",
                  &frame, NULL);
    check_resumed(NET "epochs=40 learning_rate=0.03 early_stopping_rounds=5",
                  &frame, &valid);
    tr_frame_release(&frame);
    tr_frame_release(&valid);
}

/* A fit that came to its end goes no further. */
static void an_ended_fit_has_ended(void **state)
{
    struct tr_frame frame, valid;
    char path[32], first[256], second[256];
    (void)state;
    mixed_frame(&frame, 300, 5);
    mixed_frame(&valid, 100, 6);
    make_file(path);
#define STOPS "epochs=400 learning_rate=0.05 early_stopping_rounds=3"
    snprintf(first, sizeof(first), STOPS " checkpoint=%s", path);
    snprintf(second, sizeof(second), STOPS " resume=%s", path);
    const struct request r = {.learner = "net", .target = "b",
                              .train = &frame, .valid = &valid,
                              .settings = first};
    struct request again = r;
    again.settings = second;
    assert_true(same_fit(&r, &again));
    tr_frame_release(&frame);
    tr_frame_release(&valid);
    remove(path);
}

static void check_refused(struct request *r, const char *path,
                          const char *more, const char *want)
{
    char settings[512], message[512];
    snprintf(settings, sizeof(settings), NET "resume=%s %s", path, more);
    snprintf(message, sizeof(message), "%s: %s", path, want);
    r->settings = settings;
    check_fit_error(r, message);
}

static void other_checkpoints_are_refused(void **state)
{
    struct tr_frame frame, other;
    char path[32], settings[512];
    struct fitted f;
    (void)state;
    mixed_frame(&frame, 300, 5);
    mixed_frame(&other, 300, 6);
    make_file(path);
    struct request r = {.learner = "net", .target = "m", .train = &frame};
#define OTHER "a checkpoint of another fit: "
    check_refused(&r, path, "epochs=3", "no checkpoint of a net");
    snprintf(settings, sizeof(settings), NET "epochs=3 checkpoint=%s", path);
    r.settings = settings;
    fit(&f, &r);
    fitted_release(&f);
    check_refused(&r, path, "epochs=2",
                  "a checkpoint after epoch 3; the fit has 2 epochs");
    check_refused(&r, path, "epochs=4 seed=2", OTHER "seed was 1 and is 2");
    check_refused(&r, path, "epochs=4 learning_rate=0.5",
                  OTHER "learning_rate was 0.001 and is 0.5");
    check_refused(&r, path, "epochs=3 schedule=linear",
                  OTHER "schedule was \"constant\" and is \"linear\"");
    r.train = &other;
    check_refused(&r, path, "epochs=4", OTHER "the rows to learn from differ "
                        "(sha256 9cd0d8364701ddb6 was 6f68221c63b155d5)");
    tr_frame_release(&frame);
    tr_frame_release(&other);
    remove(path);
}

/* Of f32 values, as score() is of f64 ones. */
static double score_narrow(const struct fitted *f,
                           const struct tr_frame *frame, const char *target,
                           const char *metric)
{
    const int output = ir_find_output(f->module, "value");
    const int64_t n =
        frame->n_rows *
        ir_type_volume(&f->module->outputs[output].value->type);
    float *narrow = predict(f->module, "value", frame);
    double *p = ir_realloc_array(NULL, (size_t)n, sizeof(*p));
    for (int64_t i = 0; i < n; i++)
        p[i] = (double)narrow[i];
    const struct tr_scored scored = {
        .task = f->report.task, .n_rows = frame->n_rows,
        .n_classes = f->report.n_classes,
        .target = frame->values[tr_frame_find(frame, target)],
        .prediction = p};
    const double value = tr_metric_find(metric)->compute(&scored);
    free(narrow);
    free(p);
    return value;
}

/* -------------------------------------------------------- early stopping -- */

static void the_best_epoch_is_kept(void **state)
{
    struct tr_frame frame, valid;
    struct fitted f;
    (void)state;
    mixed_frame(&frame, 120, 5);
    mixed_frame(&valid, 400, 6);
    fit(&f, &(struct request){
                .learner = "net", .target = "b", .train = &frame,
                .valid = &valid,
                .settings = "layers=dense\t64\trelu epochs=400 "
                            "learning_rate=0.05 early_stopping_rounds=7"});
    const int best = f.report.best_round;
    assert_int_equal(f.report.n_rounds, best + 7);
    for (int i = 0; i < f.report.n_rounds; i++)
        assert_true(f.report.valid_metric[i] >=
                    f.report.valid_metric[best - 1]);
    check_near(score_narrow(&f, &valid, "b", "logloss"),
               f.report.valid_metric[best - 1], 1e-4);
    fitted_release(&f);
    tr_frame_release(&frame);
    tr_frame_release(&valid);
}

/* ---------------------------------------------------- weights of classes -- */

static void classes_have_weights(void **state)
{
    static const char *const labels[] = {"a", "b:c", "d"};
    double target[] = {0, 0, 0, 1, 1, 2, 2, 2}, weight[3];
    const struct tr_rows rows = {.n = 8, .target = target};
    struct ir_diag diag;
    (void)state;
    ir_diag_init(&diag);
    assert_true(tr_class_weights("none", &rows, 3, labels, weight, &diag));
    assert_true(weight[0] == 1 && weight[1] == 1 && weight[2] == 1);
    assert_true(tr_class_weights("balanced", &rows, 3, labels, weight, &diag));
    check_near(weight[0], 8.0 / 9, 1e-12);
    check_near(weight[1], 8.0 / 6, 1e-12);
    assert_true(tr_class_weights("d:3,b:c:0.5", &rows, 3, labels, weight,
                                 &diag));
    assert_true(weight[0] == 1 && weight[1] == 0.5 && weight[2] == 3);
    assert_int_equal(diag.n_messages, 0);
    ir_diag_release(&diag);
}

/* A class that counts more is answered more often. */
static void weights_change_answers(void **state)
{
    static const char *const settings[] = {
        "epochs=20 class_weight=no:1", "epochs=20 class_weight=no:20"};
    struct tr_frame frame;
    double yes[2] = {0};
    (void)state;
    mixed_frame(&frame, 300, 5);
    for (int i = 0; i < 2; i++) {
        struct fitted f;
        fit(&f, &(struct request){.learner = "net", .target = "b",
                                  .train = &frame, .settings = settings[i]});
        float *p = predict(f.module, "value", &frame);
        for (int64_t r = 0; r < frame.n_rows; r++)
            yes[i] += p[r] > 0.5f;
        free(p);
        fitted_release(&f);
    }
    assert_true(yes[0] > yes[1] + 10);
    tr_frame_release(&frame);
}

/* Only how weights compare with each other counts. */
static void weights_of_rows_are_relative(void **state)
{
    struct tr_frame frame, twice;
    (void)state;
    mixed_frame(&frame, 200, 5);
    mixed_frame(&twice, 200, 5);
    double *w = twice.values[tr_frame_find(&twice, "v")];
    for (int64_t i = 0; i < twice.n_rows; i++)
        w[i] *= 2;
    const struct request r = {.learner = "net", .target = "m", .weight = "v",
                              .train = &frame, .settings = "epochs=3"};
    struct request other = r;
    other.train = &twice;
    assert_true(same_fit(&r, &other));
    other.weight = NULL;
    assert_false(same_fit(&r, &other));
    tr_frame_release(&frame);
    tr_frame_release(&twice);
}

/* -------------------------------------------------------------- learning -- */

static void nets_learn(void **state)
{
    static const struct {
        const char *target, *metric;
        double least, most;
    } tasks[] = {{"y", "r2", 0.9, 1}, {"b", "auc", 0.95, 1},
                 {"m", "accuracy", 0.8, 1}};
    struct tr_frame frame, test;
    (void)state;
    mixed_frame(&frame, 1500, 5);
    mixed_frame(&test, 500, 6);
    for (size_t i = 0; i < sizeof(tasks) / sizeof(tasks[0]); i++) {
        struct fitted f;
        fit(&f, &(struct request){
                    .learner = "net", .target = tasks[i].target,
                    .train = &frame,
                    .settings = "epochs=60 learning_rate=0.005"});
        const double held =
            score_narrow(&f, &test, tasks[i].target, tasks[i].metric);
        if (!(held >= tasks[i].least && held <= tasks[i].most))
            fail_msg("%s: %s %g", tasks[i].target, tasks[i].metric, held);
        /* The interpreter sums in another order than OpenBLAS. */
        check_near(score_narrow(&f, &frame, tasks[i].target,
                                f.report.metric),
                   f.report.train_metric[f.report.best_round - 1], 1e-5);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
    tr_frame_release(&test);
}

/* --------------------------------------------------------------- batches -- */

/* Numbers far from 0 for their spread are standardised in f64. */
static void large_numbers_keep_their_digits(void **state)
{
    struct tr_frame frame;
    struct fitted f;
    struct ir_text csv;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "time,y\n");
    for (int i = 0; i < 200; i++)
        ir_text_printf(&csv, "%d,%d\n", 1700000000 + i, i % 2);
    frame_of(&frame, csv.data);
    ir_text_release(&csv);
    fit(&f, &(struct request){.learner = "net", .target = "y",
                              .train = &frame, .settings = "epochs=2"});
    assert_string_equal(ir_attr_string(f.module->ops[0], "dtype"), "f64");
    float *p = predict(f.module, "value", &frame);
    for (int i = 1; i < 200; i++)
        assert_true(p[i] != p[i - 1]);
    free(p);
    fitted_release(&f);
    tr_frame_release(&frame);
}

/* So are values of regressions. */
static void large_targets_keep_their_digits(void **state)
{
    static const char *const targets[] = {"y", "large"};
    struct tr_frame frame;
    struct ir_text csv;
    (void)state;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x,y,large\n");
    for (int i = 0; i < 50; i++)
        ir_text_printf(&csv, "%d,%d,%de90\n", i, 1700000000 + i, i);
    frame_of(&frame, csv.data);
    ir_text_release(&csv);
    for (int t = 0; t < 2; t++) {
        struct fitted f;
        fit(&f, &(struct request){.learner = "net", .target = targets[t],
                                  .train = &frame,
                                  .settings = "layers=; epochs=300 "
                                              "learning_rate=0.05"});
        check_near(score(&f, &frame, targets[t], NULL, "r2"), 1, 1e-3);
        fitted_release(&f);
    }
    tr_frame_release(&frame);
}

static void what_cannot_be_fitted(void **state)
{
    struct tr_frame frame;
    (void)state;
    mixed_frame(&frame, 100, 5);
    struct request r = {.learner = "net", .target = "y", .train = &frame};
    r.settings = "optimizer=sgd learning_rate=10 epochs=50";
    struct ir_diag diag;
    struct fitted f;
    ir_diag_init(&diag);
    assert_false(try_fit(&f, &r, &diag));
    assert_non_null(strstr(diag.message[0],
                           "the loss is no number any more: the "
                           "learning_rate of 10 is too large"));
    ir_diag_release(&diag);
    r.settings = "early_stopping_rounds=3";
    check_fit_error(&r, "parameter early_stopping_rounds: it is 3, but there "
                        "are no validation rows");
    r.settings = "batch_size=1 layers=batchnorm";
    check_fit_error(&r, "layers:1:1: batchnorm: a batch has one row, and so "
                        "no variance");
    r.settings = "class_weight=balanced";
    check_fit_error(&r, "parameter class_weight: regression has no classes");
    tr_frame_release(&frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_go_by_their_formulas),
        cmocka_unit_test(rates_go_by_their_schedules),
        cmocka_unit_test(functions_are_close),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(a_fit_is_its_seed),
        cmocka_unit_test(a_fit_goes_on_to_the_same_bits),
        cmocka_unit_test(an_ended_fit_has_ended),
        cmocka_unit_test(other_checkpoints_are_refused),
        cmocka_unit_test(the_best_epoch_is_kept),
        cmocka_unit_test(classes_have_weights),
        cmocka_unit_test(weights_change_answers),
        cmocka_unit_test(weights_of_rows_are_relative),
        cmocka_unit_test(nets_learn),
        cmocka_unit_test(large_numbers_keep_their_digits),
        cmocka_unit_test(large_targets_keep_their_digits),
        cmocka_unit_test(what_cannot_be_fitted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* fitting.h: what the tests of learners share: made-up data as frames, fits
 * that must succeed or fail, predictions by the interpreter, and a look at the
 * trees. Include it after nothing: it includes what cmocka wants first. */
#ifndef TREENAIL_TESTS_FITTING_H
#define TREENAIL_TESTS_FITTING_H

#include "trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------ data -- */

/* A number in [0, 1). */
static inline double draw(uint64_t seed, uint64_t i)
{
    return (double)(ir_random(seed, i) >> 11) * 0x1p-53;
}

static inline void frame_of(struct tr_frame *frame, const char *csv)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    if (!tr_frame_parse(frame, csv, strlen(csv), "f.csv", NULL, 0, NULL,
                        &diag))
        fail_msg("%s", diag.message[0]);
    ir_diag_release(&diag);
}

/* Every kind of feature and a target for every task: x1 is a number that may
 * be missing, x2 is one of 9 numbers, t is one of 12 categories or missing;
 * y, b and m are to be learned, with some noise; w is a whole weight of 0 to
 * 3, v one of 1 to 3. */
static const char *const mixed_targets[] = {"y", "b", "m", "w", "v"};

static inline void mixed_frame(struct tr_frame *frame, int n, uint64_t seed)
{
    struct ir_text csv;
    ir_text_init(&csv);
    ir_text_puts(&csv, "x1,x2,t,y,b,m,w,v\n");
    for (int i = 0; i < n; i++) {
        const uint64_t at = 16 * (uint64_t)i;
        const double x1 = floor(draw(seed, at) * 4096) / 4096;
        const int x2 = (int)(draw(seed, at + 1) * 9);
        const int t = (int)(draw(seed, at + 2) * 12);
        const bool gone = draw(seed, at + 3) < 0.1;
        const double signal = (gone ? 2 : 3 * x1) + (x2 > 4) +
                              (t % 3 == 0 ? 1.5 : 0);
        const double y = signal + floor(draw(seed, at + 4) * 64) / 64;
        if (gone)
            ir_text_printf(&csv, ",%d,", x2);
        else
            ir_text_printf(&csv, "%.12f,%d,", x1, x2);
        if (draw(seed, at + 5) >= 0.05)
            ir_text_printf(&csv, "t%d", t);
        ir_text_printf(&csv, ",%.12f,%s,m%d,%d,%d\n", y,
                       y > 3.2 ? "yes" : "no", y < 2 ? 2 : y < 3.5 ? 0 : 1,
                       (int)(draw(seed, at + 6) * 4),
                       1 + (int)(draw(seed, at + 7) * 3));
    }
    frame_of(frame, csv.data);
    ir_text_release(&csv);
}

/* The rows whose number `weight` is at least `least`, each `copies` times or,
 * with copies 0, as often as it says. */
static inline void take_weighted(struct tr_frame *to,
                                 const struct tr_frame *from,
                                 const char *weight, double least,
                                 int copies)
{
    const double *w = from->values[tr_frame_find(from, weight)];
    int64_t n = 0, *rows = ir_realloc_array(NULL, (size_t)from->n_rows * 4,
                                            sizeof(*rows));
    for (int64_t i = 0; i < from->n_rows; i++)
        for (int k = 0; w[i] >= least && k < (copies ? copies : (int)w[i]);
             k++)
            rows[n++] = i;
    tr_frame_take(to, from, n, rows);
    free(rows);
}

/* ------------------------------------------------------------------ fits -- */

/* What to fit; all zero is the usual way. */
struct request {
    const char *learner, *settings; /* "name=value name=value" */
    const char *target, *weight;
    const struct tr_frame *train, *valid;
    const struct tr_progress *progress;
};

struct fitted {
    struct ir_module *module;
    struct tr_report report;
};

static inline bool is_feature(const char *name, const struct request *r)
{
    for (size_t i = 0; i < sizeof(mixed_targets) / sizeof(char *); i++)
        if (!strcmp(name, mixed_targets[i]) && strcmp(name, r->target) &&
            !(r->weight && !strcmp(name, r->weight)))
            return false;
    return true;
}

static inline void set_all(struct tr_params *params, const char *settings,
                           struct ir_diag *diag)
{
    for (const char *at = settings; at && *at;) {
        const size_t n = strcspn(at, " ");
        if (n > 0 && !tr_params_assign(
                         params, ir_strndup(&diag->arena, at, n), diag))
            fail_msg("%s", diag->message[0]);
        at += n + (at[n] == ' ');
    }
}

static inline bool try_fit(struct fitted *f, const struct request *r,
                           struct ir_diag *diag)
{
    struct tr_params params;
    const char *ignore[16];
    struct tr_task_spec spec = {.target = r->target, .weight = r->weight,
                                .ignore = ignore};
    tr_params_init(&params, tr_learner_find(r->learner));
    set_all(&params, r->settings, diag);
    for (int c = 0; c < r->train->n_columns; c++)
        if (!is_feature(r->train->columns[c].name, r))
            ignore[spec.n_ignore++] = r->train->columns[c].name;
    f->module = tr_fit(r->train, r->valid, &spec, &params, r->progress,
                       &f->report, diag);
    assert_int_equal(!f->module, diag->n_messages > 0);
    return f->module != NULL;
}

static inline void fit(struct fitted *f, const struct request *r)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    if (!try_fit(f, r, &diag))
        fail_msg("%s %s: %s", r->learner, r->settings, diag.message[0]);
    assert_true(ir_verify(f->module, &diag));
    ir_diag_release(&diag);
}

static inline void check_fit_error(const struct request *r, const char *want)
{
    struct ir_diag diag;
    struct fitted f;
    ir_diag_init(&diag);
    if (try_fit(&f, r, &diag))
        fail_msg("%s %s: fitted, instead of: %s", r->learner, r->settings,
                 want);
    assert_string_equal(diag.message[0], want);
    ir_diag_release(&diag);
}

static inline void fitted_release(struct fitted *f)
{
    ir_module_free(f->module);
    tr_report_release(&f->report);
}

/* The module's text; free() it. */
static inline char *text_of(const struct ir_module *module)
{
    struct ir_text text;
    ir_text_init(&text);
    ir_print(module, &text);
    return text.data;
}

/* The text of what a request fits. */
static inline char *fit_text(const struct request *r)
{
    struct fitted f;
    fit(&f, r);
    char *text = text_of(f.module);
    fitted_release(&f);
    return text;
}

/* Whether two requests make the same module, to the last byte. */
static inline bool same_fit(const struct request *a, const struct request *b)
{
    char *x = fit_text(a), *y = fit_text(b);
    const bool same = !strcmp(x, y);
    free(x);
    free(y);
    return same;
}

/* ----------------------------------------------------------- predictions -- */

/* The output for all of the frame's rows; free() it. */
static inline void *predict(const struct ir_module *module,
                            const char *output, const struct tr_frame *frame)
{
    const int index = ir_find_output(module, output);
    const int width = module->n_columns;
    assert_true(index >= 0);
    const struct ir_type *type = &module->outputs[index].value->type;
    double *rows = ir_realloc_array(NULL, (size_t)frame->n_rows + 1,
                                    (size_t)width * sizeof(double));
    for (int c = 0; c < width; c++) {
        const int from = tr_frame_find(frame, module->columns[c].name);
        assert_true(from >= 0);
        for (int64_t i = 0; i < frame->n_rows; i++)
            rows[i * width + c] = frame->values[from][i];
    }
    void *out = ir_realloc_array(NULL, (size_t)frame->n_rows + 1,
                                 (size_t)ir_type_volume(type) * 8);
    const struct ir_rows batch = {IR_F64, rows, frame->n_rows, width, 1};
    ir_eval(module, index, &batch, out);
    free(rows);
    return out;
}

/* The metric of the module's predictions, from outside of the learner. */
static inline double score(const struct fitted *f,
                           const struct tr_frame *frame, const char *target,
                           const char *weight, const char *metric)
{
    const int column = tr_frame_find(frame, target);
    const int by = weight ? tr_frame_find(frame, weight) : -1;
    double *prediction = predict(f->module, "value", frame);
    const struct tr_scored scored = {
        .task = f->report.task, .n_rows = frame->n_rows,
        .n_classes = f->report.n_classes, .target = frame->values[column],
        .prediction = prediction,
        .weight = by >= 0 ? frame->values[by] : NULL};
    const double value = tr_metric_find(metric)->compute(&scored);
    free(prediction);
    return value;
}

/* ----------------------------------------------------------------- trees -- */

static inline void forest_of(const struct ir_module *module,
                             struct ir_forest *forest)
{
    for (int i = 0; i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_trees) {
            ir_forest_view(module->ops[i], forest);
            return;
        }
    fail_msg("a module without trees");
}

static inline int leaves_of(const struct ir_forest *f, int tree)
{
    return f->leaf_start[tree + 1] - f->leaf_start[tree];
}

/* Splits from the root to the deepest leaf. A child's number may be below its
 * parent's: go over the nodes until nothing changes. */
static inline int depth_of(const struct ir_forest *f, int tree)
{
    const int first = f->tree_start[tree], n = f->tree_start[tree + 1] - first;
    int *depth = ir_realloc_array(NULL, (size_t)n + 1, sizeof(int));
    int deepest = 0;
    memset(depth, 0, ((size_t)n + 1) * sizeof(int));
    for (bool changed = n > 0; changed;) {
        changed = false;
        for (int i = 0; i < n; i++)
            for (int side = 0; side < 2; side++) {
                const int child = (side ? f->right : f->left)[first + i];
                const int below = depth[i] + 1;
                deepest = below > deepest ? below : deepest;
                if (child >= 0 && depth[child] != below) {
                    depth[child] = below;
                    changed = true;
                }
            }
    }
    free(depth);
    return deepest;
}

static inline double leaf_value(const struct ir_forest *f, int tree, int leaf)
{
    return ((const double *)f->leaf_value)[f->leaf_start[tree] + leaf];
}

#endif

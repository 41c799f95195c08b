/* learner.c: the table of learners; a fit from frames to a module: which rows
 * and columns, which task and classes, then the learner, then the model.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* More rows leave histograms too few bits; see grow.c. */
#define MAX_ROWS (INT64_C(1) << 27)

const struct tr_learner tr_learners[] = {
    {"boost", "gradient boosting of trees over histograms", "", false,
     tr_fit_boost},
    {"forest", "random forest",
     "num_leaves=0 min_child_rows=1 feature_fraction=0", false, tr_fit_forest},
    {"tree", "one decision tree", "", false, tr_fit_tree},
    {"net", "neural net: dense, convolutional, recurrent",
     "learning_rate=0.001", true, tr_fit_net},
};
const int tr_learner_count =
    (int)(sizeof(tr_learners) / sizeof(tr_learners[0]));

const struct tr_learner *tr_learner_find(const char *name)
{
    for (int i = 0; i < tr_learner_count; i++)
        if (!strcmp(tr_learners[i].name, name))
            return &tr_learners[i];
    return NULL;
}

void tr_report_release(struct tr_report *report)
{
    free(report->train_metric);
    free(report->valid_metric);
    free(report->feature);
    free(report->gain);
    free(report->splits);
    *report = (struct tr_report){0};
}

/* -------------------------------------------------------------- drawing -- */

uint64_t tr_draw(const struct tr_params *params, enum tr_draw what, uint64_t i)
{
    return ir_random(ir_random(params->seed, (uint64_t)what), i);
}

/* Each in turn is taken with the chance that makes the number right (Knuth,
 * TAOCP 3.4.2, algorithm S). */
void tr_draw_some(const struct tr_params *params, enum tr_draw what,
                  uint64_t from, int64_t n, int64_t take, int32_t *chosen)
{
    int64_t taken = 0;
    for (int64_t i = 0; i < n && taken < take; i++) {
        const uint64_t left = (uint64_t)(n - i);
        const uint64_t want = (uint64_t)(take - taken);
        if (left == want ||
            tr_draw(params, what, from + (uint64_t)i) % left < want)
            chosen[taken++] = (int32_t)i;
    }
}

/* ----------------------------------------------------- what learners use -- */

struct tr_tree *tr_job_tree(struct tr_fit_job *job, int n_values)
{
    if (job->n_trees == job->capacity) {
        job->capacity = 2 * job->capacity + 64;
        job->tree = ir_realloc_array(job->tree, (size_t)job->capacity,
                                     sizeof(*job->tree));
    }
    struct tr_tree *tree = &job->tree[job->n_trees++];
    tr_tree_init(tree, n_values);
    return tree;
}

double tr_job_score(const struct tr_fit_job *job, const struct tr_rows *rows,
                    const double *sums)
{
    if (rows->n == 0)
        return NAN;
    struct tr_scored scored = {
        .task = job->task, .n_rows = rows->n, .n_classes = job->n_classes,
        .target = rows->target, .prediction = sums, .weight = rows->weight};
    if (!job->has_link)
        return job->metric->compute(&scored);
    double *prediction = ir_realloc_array(
        NULL, (size_t)rows->n, (size_t)job->n_outputs * sizeof(double));
    tr_link(job->task, job->n_outputs, sums, rows->n, prediction);
    scored.prediction = prediction;
    const double metric = job->metric->compute(&scored);
    free(prediction);
    return metric;
}

bool tr_job_round(struct tr_fit_job *job, int n_rounds, double train_metric,
                  double valid_metric)
{
    struct tr_report *report = job->report;
    report->train_metric[report->n_rounds] = train_metric;
    report->valid_metric[report->n_rounds] = valid_metric;
    report->n_rounds++;
    return !job->progress ||
           job->progress->call(job->progress->user, report->n_rounds,
                               n_rounds, train_metric, valid_metric);
}

bool tr_job_better(const struct tr_fit_job *job, double metric, double best)
{
    return job->metric->larger_is_better ? metric > best : metric < best;
}

bool tr_blame_parameter(const struct tr_fit_job *job)
{
    job->report->bad_parameter = true;
    return false;
}

bool tr_job_check_stopping(const struct tr_fit_job *job, double valid,
                           struct ir_diag *diag)
{
    const int patience = job->params->early_stopping_rounds;
    if (patience == 0)
        return true;
    if (job->valid.n == 0) {
        ir_error(diag, ir_loc_file(NULL),
                 "parameter early_stopping_rounds: it is %d, but there are no "
                 "validation rows", patience);
        return tr_blame_parameter(job);
    }
    return !isnan(valid) ||
           ir_error(diag, ir_loc_file(NULL),
                    "parameter early_stopping_rounds: it is %d, but the "
                    "metric %s is not defined for the validation rows (%lld of "
                    "them)",
                    patience, job->metric->name, (long long)job->valid.n);
}

/* ------------------------------------------------ which rows and columns -- */

/* A fit as it is asked for, and what was found out about it. */
struct fit {
    const struct tr_task_spec *spec;
    const struct tr_params *params;
    struct ir_diag *diag;
    const struct tr_frame *train, *valid;
    struct tr_frame kept; /* train's rows of a weight above 0 */
    bool has_kept;
    int target, weight; /* columns; weight -1: none */
    int n_features;
    int *columns; /* [n_features] */
    double *class_value; /* [n_classes], ascending: codes or numbers */
    const char **labels;
    struct ir_arena arena;
};

static bool find_column(const struct fit *fit, const char *name,
                        const char *role, int *column)
{
    *column = tr_frame_find(fit->train, name);
    return *column >= 0 ||
           ir_error(fit->diag, ir_loc_file(NULL),
                    "there is no column named \"%s\" (%s)", name, role);
}

static bool is_ignored(const struct fit *fit, int column)
{
    if (column == fit->target || column == fit->weight)
        return true;
    for (int i = 0; i < fit->spec->n_ignore; i++)
        if (!strcmp(fit->spec->ignore[i], fit->train->columns[column].name))
            return true;
    return false;
}

static bool choose_columns(struct fit *fit)
{
    const struct tr_task_spec *spec = fit->spec;
    fit->weight = -1;
    if (!find_column(fit, spec->target, "the target", &fit->target) ||
        (spec->weight &&
         !find_column(fit, spec->weight, "the weight", &fit->weight)))
        return false;
    for (int i = 0, column; i < spec->n_ignore; i++)
        if (!find_column(fit, spec->ignore[i], "one to ignore", &column))
            return false;
    fit->columns = ir_alloc_array(
        &fit->arena, (size_t)fit->train->n_columns + 1, sizeof(int));
    for (int c = 0; c < fit->train->n_columns; c++)
        if (!is_ignored(fit, c))
            fit->columns[fit->n_features++] = c;
    return fit->n_features > 0 ||
           ir_error(fit->diag, ir_loc_file(NULL),
                    "there is no column to learn from, besides the target "
                    "\"%s\"", spec->target);
}

/* Targets and weights are there, and weights can be had. */
static bool check_rows(const struct fit *fit, const struct tr_frame *frame,
                       const char *part)
{
    const double *target = frame->values[fit->target];
    const double *weight =
        fit->weight >= 0 ? frame->values[fit->weight] : NULL;
    for (int64_t i = 0; i < frame->n_rows; i++) {
        if (isnan(target[i]))
            return ir_error(fit->diag, ir_loc_file(NULL),
                            "row %lld of the %s rows has no target (\"%s\")",
                            (long long)i + 1, part, fit->spec->target);
        if (!(fabs(target[i]) <= TR_MAX_TARGET))
            return ir_error(fit->diag, ir_loc_file(NULL),
                            "row %lld of the %s rows has the target %g (the "
                            "limit is %g)", (long long)i + 1, part,
                            target[i], TR_MAX_TARGET);
        if (weight && !(weight[i] >= 0 && weight[i] <= TR_MAX_TARGET))
            return ir_error(fit->diag, ir_loc_file(NULL),
                            "row %lld of the %s rows has the weight %g (0 to "
                            "%g can be had)", (long long)i + 1, part,
                            weight[i], TR_MAX_TARGET);
    }
    return true;
}

static bool check_weight_column(const struct fit *fit)
{
    return fit->weight < 0 ||
           fit->train->columns[fit->weight].kind == IR_NUMBER ||
           ir_error(fit->diag, ir_loc_file(NULL),
                    "the weight \"%s\" is a column of categories",
                    fit->spec->weight);
}

/* A row of weight 0 is as if it were not there. */
static bool drop_weightless(struct fit *fit)
{
    if (fit->weight < 0)
        return true;
    const struct tr_frame *all = fit->train;
    const double *weight = all->values[fit->weight];
    int64_t *rows =
        ir_realloc_array(NULL, (size_t)all->n_rows + 1, sizeof(*rows));
    int64_t n = 0;
    for (int64_t i = 0; i < all->n_rows; i++)
        if (weight[i] > 0)
            rows[n++] = i;
    if (n > 0 && n < all->n_rows) {
        tr_frame_take(&fit->kept, all, n, rows);
        fit->train = &fit->kept;
        fit->has_kept = true;
    }
    free(rows);
    return n > 0 || ir_error(fit->diag, ir_loc_file(NULL),
                             "no row has a weight above 0 (\"%s\")",
                             fit->spec->weight);
}

/* -------------------------------------------------------- task, classes -- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The distinct targets, ascending; at most `most` + 1 of them are counted. */
static int count_classes(struct fit *fit, int most)
{
    const double *target = fit->train->values[fit->target];
    double *seen = ir_alloc_array(&fit->arena, (size_t)most + 1,
                                  sizeof(*seen));
    int n = 0;
    for (int64_t i = 0; i < fit->train->n_rows && n <= most; i++) {
        if (n > 0 && bsearch(&target[i], seen, (size_t)n, sizeof(*seen),
                             by_value))
            continue;
        int at = n++;
        for (; at > 0 && seen[at - 1] > target[i]; at--)
            seen[at] = seen[at - 1];
        seen[at] = target[i];
    }
    fit->class_value = seen;
    return n;
}

static int class_of(const struct fit *fit, int n_classes, double value)
{
    const double *found = bsearch(&value, fit->class_value, (size_t)n_classes,
                                  sizeof(double), by_value);
    return found ? (int)(found - fit->class_value) : -1;
}

static void name_classes(struct fit *fit, int n)
{
    const struct ir_column *column = &fit->train->columns[fit->target];
    fit->labels = ir_alloc_array(&fit->arena, (size_t)n + 1,
                                 sizeof(*fit->labels));
    for (int k = 0; k < n; k++) {
        const double value = fit->class_value[k];
        if (column->kind == IR_CATEGORY && column->n_categories > 0) {
            fit->labels[k] = column->categories[(int)value];
            continue;
        }
        struct ir_text text;
        ir_text_init(&text);
        ir_text_double(&text, value);
        fit->labels[k] = ir_strdup(&fit->arena, text.data);
        ir_text_release(&text);
    }
}

/* What objective "auto" means: by the target's kind and distinct values. */
static const char *choose_objective(const struct fit *fit, int n_classes)
{
    if (strcmp(fit->params->objective, "auto") != 0)
        return fit->params->objective;
    if (n_classes == 2)
        return "binary";
    return fit->train->columns[fit->target].kind == IR_CATEGORY ? "multiclass"
                                                                : "regression";
}

static bool check_classes(const struct fit *fit, const struct tr_fit_job *job,
                          int n)
{
    const char *target = fit->spec->target, *objective = job->objective->name;
    if (n < 2)
        return ir_error(fit->diag, ir_loc_file(NULL),
                        "the target \"%s\" has one class in the training "
                        "rows; %s needs two", target, objective);
    if (!strcmp(objective, "binary") && n > 2) {
        ir_error(fit->diag, ir_loc_file(NULL),
                 "parameter objective: the target \"%s\" has more than two "
                 "classes; binary takes two (multiclass takes more)", target);
        return tr_blame_parameter(job);
    }
    return n <= TR_MAX_CLASSES ||
           ir_error(fit->diag, ir_loc_file(NULL),
                    "the target \"%s\" has more than %d classes, which is "
                    "the limit", target, TR_MAX_CLASSES);
}

static bool choose_task(struct fit *fit, struct tr_fit_job *job)
{
    const struct ir_column *column = &fit->train->columns[fit->target];
    const int n = count_classes(fit, TR_MAX_CLASSES);
    job->objective = tr_objective_find(choose_objective(fit, n));
    job->task = job->objective->task;
    if (job->task == TR_REGRESSION) {
        job->n_outputs = 1;
        if (column->kind == IR_NUMBER)
            return true;
        ir_error(fit->diag, ir_loc_file(NULL),
                 "parameter objective: the target \"%s\" is a column of "
                 "categories; %s takes numbers", fit->spec->target,
                 job->objective->name);
        return tr_blame_parameter(job);
    }
    if (!check_classes(fit, job, n))
        return false;
    name_classes(fit, n);
    job->n_classes = n;
    job->n_outputs = job->task == TR_BINARY ? 1 : n;
    return true;
}

static bool has_metric(const struct fit *fit, const struct tr_fit_job *job,
                       const char *option, const struct tr_metric *metric)
{
    if (metric->tasks & job->task)
        return true;
    ir_error(fit->diag, ir_loc_file(NULL),
             "%s: the metric %s is not defined for objective %s (of the "
             "target \"%s\")", option, metric->name, job->objective->name,
             fit->spec->target);
    return tr_blame_parameter(job);
}

static bool choose_metric(const struct fit *fit, struct tr_fit_job *job)
{
    const char *name = fit->params->metric;
    job->metric = !strcmp(name, "auto") ? tr_metric_default(job->task)
                                        : tr_metric_find(name);
    if (!strcmp(name, "auto") && !strcmp(job->objective->name,
                                         "regression_l1"))
        job->metric = tr_metric_find("mae");
    return has_metric(fit, job, "parameter metric", job->metric);
}

/* Before the work, so that none is lost. */
static bool check_wanted(const struct fit *fit, const struct tr_fit_job *job)
{
    for (int i = 0; i < fit->spec->n_wanted; i++)
        if (!has_metric(fit, job, fit->spec->wanted[i].option,
                        fit->spec->wanted[i].metric))
            return false;
    return true;
}

/* ----------------------------------------------------------------- rows -- */

/* Targets as classes, and weights. */
static bool rows_init(const struct fit *fit, struct tr_fit_job *job,
                      struct tr_rows *rows, const struct tr_frame *frame)
{
    const size_t n = (size_t)frame->n_rows;
    rows->n = frame->n_rows;
    rows->target = ir_realloc_array(NULL, n + 1, sizeof(double));
    memcpy(rows->target, frame->values[fit->target], n * sizeof(double));
    const double *weight =
        fit->weight >= 0 ? frame->values[fit->weight] : NULL;
    for (size_t i = 0; job->n_classes > 0 && i < n; i++) {
        const int class = class_of(fit, job->n_classes, rows->target[i]);
        /* Without weight it has no say, whatever it is taken for. */
        rows->target[i] = class < 0 ? 0 : class;
        if (class < 0 && !(weight && weight[i] == 0))
            return ir_error(fit->diag, ir_loc_file(NULL),
                            "row %zu of the validation rows has a class of "
                            "the target \"%s\" that no training row has",
                            i + 1, fit->spec->target);
    }
    if (weight) {
        rows->weight = ir_realloc_array(NULL, n + 1, sizeof(double));
        memcpy(rows->weight, weight, n * sizeof(double));
    }
    if (!job->params->learner->is_net)
        tr_binned_init(&rows->bins, &job->bins, frame, job->pool);
    return true;
}

static void rows_release(struct tr_rows *rows)
{
    tr_binned_release(&rows->bins);
    free(rows->target);
    free(rows->weight);
}

static bool job_init(const struct fit *fit, struct tr_fit_job *job)
{
    const bool net = job->params->learner->is_net;
    job->pool = tr_pool_new(net ? 1 : job->params->threads);
    job->frame = fit->train;
    job->valid_frame = fit->valid;
    job->n_features = fit->n_features;
    job->columns = fit->columns;
    job->labels = fit->labels;
    job->divisor = 1;
    job->base = ir_alloc_array(&fit->diag->arena, (size_t)job->n_outputs,
                               sizeof(double));
    if (!net)
        tr_bins_init(&job->bins, fit->train, fit->n_features, fit->columns,
                     job->params->max_bin,
                     tr_draw(job->params, TR_DRAW_BINS, 0), job->pool);
    return rows_init(fit, job, &job->train, fit->train) &&
           (!fit->valid || rows_init(fit, job, &job->valid, fit->valid));
}

static void job_release(struct tr_fit_job *job)
{
    for (int t = 0; t < job->n_trees; t++)
        tr_tree_release(&job->tree[t]);
    free(job->tree);
    tr_net_fit_free(job->net);
    rows_release(&job->train);
    rows_release(&job->valid);
    tr_bins_release(&job->bins);
    tr_pool_free(job->pool);
}

/* --------------------------------------------------------------- report -- */

static void report_init(struct tr_report *report, const struct fit *fit,
                        const struct tr_fit_job *job)
{
    const size_t n = (size_t)fit->n_features + 1;
    const struct tr_params *p = job->params;
    const size_t n_rounds =
        (size_t)(p->learner->is_net ? p->epochs : p->rounds) + 1;
    *report = (struct tr_report){
        .learner = job->params->learner->name,
        .objective = job->objective->name, .metric = job->metric->name,
        .task = job->task, .n_classes = job->n_classes,
        .n_train_rows = fit->train->n_rows,
        .n_valid_rows = fit->valid ? fit->valid->n_rows : 0,
        .n_features = fit->n_features};
    report->train_metric = ir_realloc_array(NULL, n_rounds, sizeof(double));
    report->valid_metric = ir_realloc_array(NULL, n_rounds, sizeof(double));
    report->feature = ir_realloc_array(NULL, n, sizeof(char *));
    report->gain = ir_realloc_array(NULL, n, sizeof(double));
    report->splits = ir_realloc_array(NULL, n, sizeof(int64_t));
    for (int i = 0; i < fit->n_features; i++) {
        report->feature[i] = fit->train->columns[fit->columns[i]].name;
        report->gain[i] = 0;
        report->splits[i] = 0;
    }
}

static void report_trees(struct tr_report *report,
                         const struct tr_fit_job *job)
{
    for (int t = 0; t < job->n_trees; t++) {
        const struct tr_tree *tree = &job->tree[t];
        /* The module has a tree for each value. */
        report->n_trees += tree->n_values;
        report->n_leaves += tree->n_values * tree->n_leaves;
        for (int i = 0; i < tree->n_nodes; i++) {
            const struct tr_node *node = &tree->node[i];
            const int input = job->bins.feature[node->feature].input;
            report->gain[input] += node->gain;
            report->splits[input]++;
        }
    }
    report->n_threads = tr_pool_threads(job->pool);
}

/* ------------------------------------------------------------------ fit -- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool prepare(struct fit *fit, struct tr_fit_job *job)
{
    if (fit->train->n_rows > MAX_ROWS)
        return ir_error(fit->diag, ir_loc_file(NULL),
                        "%lld rows to train on (the limit is %lld)",
                        (long long)fit->train->n_rows, (long long)MAX_ROWS);
    return choose_columns(fit) && check_weight_column(fit) &&
           check_rows(fit, fit->train, "training") &&
           (!fit->valid || check_rows(fit, fit->valid, "validation")) &&
           drop_weightless(fit) && choose_task(fit, job) &&
           choose_metric(fit, job) && check_wanted(fit, job);
}

static struct ir_module *fit_prepared(struct fit *fit, struct tr_fit_job *job)
{
    struct ir_module *module = NULL;
    const double start = seconds();
    report_init(job->report, fit, job);
    const bool good = job_init(fit, job);
    const double binned = seconds();
    if (good && job->params->learner->fit(job, fit->diag)) {
        const char *name = fit->spec->name ? fit->spec->name : "model";
        report_trees(job->report, job);
        job->report->seconds_bin = binned - start;
        job->report->seconds_fit = seconds() - binned;
        module = job->net ? tr_model_net(job, name, fit->diag)
                          : tr_model_trees(job, name, fit->diag);
    }
    job_release(job);
    return module;
}

struct ir_module *tr_fit(const struct tr_frame *train,
                         const struct tr_frame *valid,
                         const struct tr_task_spec *spec,
                         const struct tr_params *params,
                         const struct tr_progress *progress,
                         struct tr_report *report, struct ir_diag *diag)
{
    struct fit fit = {.spec = spec, .params = params, .diag = diag,
                      .train = train, .valid = valid};
    struct tr_fit_job job = {.params = params, .progress = progress,
                             .report = report};
    struct ir_module *module = NULL;
    *report = (struct tr_report){0};
    ir_arena_init(&fit.arena);
    if (valid && valid->n_rows == 0)
        fit.valid = NULL;
    if (prepare(&fit, &job))
        module = fit_prepared(&fit, &job);
    if (!module) {
        const bool bad_parameter = report->bad_parameter;
        tr_report_release(report);
        report->bad_parameter = bad_parameter;
    }
    /* Names in the report are the caller's frame's, not the copy's. */
    for (int i = 0; module && fit.has_kept && i < report->n_features; i++)
        report->feature[i] = train->columns[fit.columns[i]].name;
    if (fit.has_kept)
        tr_frame_release(&fit.kept);
    ir_arena_release(&fit.arena);
    return module;
}

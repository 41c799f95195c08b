/* net_fit.c: the learner net: epochs of batches, early stopping, the report.
 *
 * Everything drawn is a function of the seed and of a counter (the epoch, the
 * batch), so that a fit goes on from a checkpoint as if it had never stopped.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The loop over epochs, and what it goes over. */
struct loop {
    struct tr_fit_job *job;
    struct tr_net_fit *fit;
    struct tr_net *net;
    int n_outputs;
    int64_t n, n_batches, width; /* rows, batches an epoch, a row's numbers */
    tr_real *rows, *valid_rows;  /* as the net takes them */
    double *target, *weight;     /* of the rows; weights have a mean of 1 */
    int64_t *order;              /* of the rows in this epoch */
    tr_real *x, *dy;             /* of a batch */
    double *batch_target, *batch_weight;
    double loss;                 /* the mean of this epoch so far */
};

/* --------------------------------------------------------------- targets -- */

/* Targets of regressions with mean 0 and variance 1. */
static void scale_targets(struct loop *l)
{
    const struct tr_rows *rows = &l->job->train;
    struct tr_net_fit *fit = l->fit;
    double n = 0, mean = 0, squares = 0;
    fit->target_mean = 0;
    fit->target_scale = 1;
    for (int64_t i = 0; i < l->n; i++) {
        const double d = rows->target[i] - mean;
        n++;
        mean += d / n;
        squares += d * (rows->target[i] - mean);
    }
    if (l->job->task == TR_REGRESSION) {
        const double spread = sqrt(squares / n);
        fit->target_mean = mean;
        fit->target_scale = spread > 0 && isfinite(spread) ? spread : 1;
    }
    for (int64_t i = 0; i < l->n; i++)
        l->target[i] =
            (rows->target[i] - fit->target_mean) / fit->target_scale;
}

/* The row's weight times its class's, with a mean of 1. */
static bool weigh_rows(struct loop *l, struct ir_diag *diag)
{
    const struct tr_fit_job *job = l->job;
    const struct tr_rows *rows = &job->train;
    double sum = 0;
    double *of_class = ir_alloc_array(
        &diag->arena, (size_t)job->n_classes + 1, sizeof(double));
    if (!tr_class_weights(job->params->class_weight, rows, job->n_classes,
                          job->labels, of_class, diag))
        return tr_blame_parameter(job);
    for (int64_t i = 0; i < l->n; i++) {
        l->weight[i] = rows->weight ? rows->weight[i] : 1;
        if (job->n_classes > 0)
            l->weight[i] *= of_class[(int)rows->target[i]];
        sum += l->weight[i];
    }
    for (int64_t i = 0; i < l->n; i++)
        l->weight[i] *= (double)l->n / sum;
    return true;
}

/* --------------------------------------------------------------- batches -- */

/* Batches of an epoch differ by one row at most. */
static int64_t batch_first(const struct loop *l, int64_t batch)
{
    return l->n * batch / l->n_batches;
}

/* Copies a row to its places of a batch of n. */
static void put_row(const struct tr_shape *in, const tr_real *row, int64_t n,
                    int64_t at, tr_real *x)
{
    for (int64_t k = 0; k < in->lead; k++)
        memcpy(x + (k * n + at) * in->inner, row + k * in->inner,
               (size_t)in->inner * sizeof(*x));
}

static void take_batch(struct loop *l, int64_t first, int64_t n)
{
    const struct tr_shape *in = &l->net->layer[0].in;
    for (int64_t i = 0; i < n; i++) {
        const int64_t row = l->order[first + i];
        put_row(in, l->rows + row * l->width, n, i, l->x);
        l->batch_target[i] = l->target[row];
        l->batch_weight[i] = l->weight[row];
    }
}

/* The rows in an order of the epoch's own (Fisher and Yates). */
static void shuffle(struct loop *l, int epoch)
{
    const uint64_t seed =
        tr_draw(l->job->params, TR_DRAW_ORDER, (uint64_t)epoch);
    for (int64_t i = 0; i < l->n; i++)
        l->order[i] = i;
    for (int64_t i = l->n - 1; i > 0; i--) {
        const int64_t k =
            (int64_t)(ir_random(seed, (uint64_t)i) % ((uint64_t)i + 1));
        const int64_t row = l->order[i];
        l->order[i] = l->order[k];
        l->order[k] = row;
    }
}

static void show_step(const struct loop *l, int64_t batch)
{
    const struct tr_progress *progress = l->job->progress;
    if (!progress || !progress->step)
        return;
    const struct tr_net_step step = {
        .epoch = l->fit->n_epochs + 1, .n_epochs = l->job->params->epochs,
        .batch = batch + 1, .n_batches = l->n_batches, .loss = l->loss,
        .learning_rate = tr_optimizer_rate(&l->fit->optimizer, l->net->step)};
    progress->step(progress->user, &step);
}

static bool diverged(const struct loop *l, struct ir_diag *diag)
{
    return ir_error(diag, ir_loc_file(NULL),
                    "epoch %d: the loss is no number any more: the "
                    "learning_rate of %g is too large (clip_norm bounds a "
                    "step)", l->fit->n_epochs + 1,
                    l->job->params->learning_rate);
}

static bool fit_epoch(struct loop *l, struct ir_diag *diag)
{
    double sum = 0;
    shuffle(l, l->fit->n_epochs);
    for (int64_t b = 0; b < l->n_batches; b++) {
        const int64_t first = batch_first(l, b);
        const int64_t n = batch_first(l, b + 1) - first;
        take_batch(l, first, n);
        const tr_real *y = tr_net_forward(l->net, l->x, n, true);
        sum += tr_net_loss(l->job->objective, n, l->n_outputs, y,
                           l->batch_target, l->batch_weight, l->dy);
        tr_net_backward(l->net, l->x, l->dy, NULL, n);
        const double norm = tr_optimizer_step(&l->fit->optimizer, l->net);
        l->loss = sum / (double)(first + n);
        if (!isfinite(sum) || !isfinite(norm))
            return diverged(l, diag);
        show_step(l, b);
    }
    return true;
}

/* --------------------------------------------------------------- scoring -- */

double *tr_net_predict(struct tr_fit_job *job, const tr_real *rows,
                       int64_t n_rows)
{
    struct tr_net_fit *fit = job->net;
    struct tr_net *net = &fit->net;
    const struct tr_shape *in = &net->layer[0].in;
    const int64_t width = tr_shape_elements(in), n_out = job->n_outputs;
    tr_real *x = tr_reals(net->max_rows * width);
    double *sums = ir_realloc_array(NULL, (size_t)(n_rows * n_out) + 1,
                                    sizeof(*sums));
    for (int64_t first = 0; first < n_rows; first += net->max_rows) {
        const int64_t left = n_rows - first;
        const int64_t n = left < net->max_rows ? left : net->max_rows;
        for (int64_t i = 0; i < n; i++)
            put_row(in, rows + (first + i) * width, n, i, x);
        const tr_real *y = tr_net_forward(net, x, n, false);
        for (int64_t i = 0; i < n * n_out; i++)
            sums[first * n_out + i] =
                (double)y[i] * fit->target_scale + fit->target_mean;
    }
    free(x);
    return sums;
}

static double score(const struct loop *l, const tr_real *rows,
                    const struct tr_rows *of)
{
    if (of->n == 0)
        return NAN;
    double *sums = tr_net_predict(l->job, rows, of->n);
    const double metric = tr_job_score(l->job, of, sums);
    free(sums);
    return metric;
}

/* Whether the validation rows were not served better for long enough. */
static bool had_enough(const struct loop *l)
{
    const int patience = l->job->params->early_stopping_rounds;
    return patience > 0 &&
           l->fit->n_epochs - l->fit->best_epoch >= patience;
}

/* Ends an epoch; false when there should be no further one. */
static bool score_epoch(struct loop *l)
{
    struct tr_net_fit *fit = l->fit;
    const struct tr_params *p = l->job->params;
    const double valid = score(l, l->valid_rows, &l->job->valid);
    fit->n_epochs++;
    if (fit->best_epoch == 0 ||
        tr_job_better(l->job, valid, fit->best_metric)) {
        fit->best_epoch = fit->n_epochs;
        fit->best_metric = valid;
        if (p->early_stopping_rounds > 0)
            memcpy(fit->best, l->net->theta,
                   (size_t)l->net->n_params * sizeof(*fit->best));
    }
    return tr_job_round(l->job, p->epochs, NAN, valid) && !had_enough(l);
}

static bool keep_checkpoint(const struct loop *l, bool last,
                            struct ir_diag *diag)
{
    const struct tr_params *p = l->job->params;
    if (!*p->checkpoint || (!last && l->fit->n_epochs % p->checkpoint_epochs))
        return true;
    return tr_checkpoint_write(l->job, diag);
}

static bool fit_epochs(struct loop *l, struct ir_diag *diag)
{
    const struct tr_params *p = l->job->params;
    bool more = l->fit->n_epochs < p->epochs && !had_enough(l);
    while (more) {
        if (!fit_epoch(l, diag))
            return false;
        more = score_epoch(l) && l->fit->n_epochs < p->epochs;
        if (!keep_checkpoint(l, !more, diag))
            return false;
    }
    return true;
}

/* ----------------------------------------------------------------- a fit -- */

static void loop_init(struct loop *l, struct tr_fit_job *job)
{
    const struct tr_params *p = job->params;
    const size_t n = (size_t)job->train.n, batch = (size_t)p->batch_size;
    *l = (struct loop){.job = job, .fit = job->net, .net = &job->net->net,
                       .n_outputs = job->n_outputs, .n = job->train.n};
    l->n_batches = (l->n + p->batch_size - 1) / p->batch_size;
    l->width = tr_shape_elements(&l->net->layer[0].in);
    l->rows = tr_net_input_rows(&l->fit->input, job->frame);
    if (job->valid_frame)
        l->valid_rows = tr_net_input_rows(&l->fit->input, job->valid_frame);
    l->target = ir_realloc_array(NULL, n, sizeof(double));
    l->weight = ir_realloc_array(NULL, n, sizeof(double));
    l->order = ir_realloc_array(NULL, n, sizeof(int64_t));
    l->x = tr_reals((int64_t)batch * l->width);
    l->dy = tr_reals((int64_t)batch * l->n_outputs);
    l->batch_target = ir_realloc_array(NULL, batch, sizeof(double));
    l->batch_weight = ir_realloc_array(NULL, batch, sizeof(double));
    scale_targets(l);
}

static void loop_release(struct loop *l)
{
    free(l->rows);
    free(l->valid_rows);
    free(l->target);
    free(l->weight);
    free(l->order);
    free(l->x);
    free(l->dy);
    free(l->batch_target);
    free(l->batch_weight);
}

/* A batch of one row has no variance. */
static bool check_batches(const struct loop *l, struct ir_diag *diag)
{
    if (l->n / l->n_batches > 1)
        return true;
    for (int i = 0; i < l->net->n_layers; i++)
        if (l->net->layer[i].kind == &tr_kind_batchnorm &&
            tr_shape_elements(&l->net->layer[i].in) ==
                l->net->layer[i].block[0].n)
            return tr_layer_error(&l->net->layer[i], diag,
                                  "batchnorm: a batch has one row, and so no "
                                  "variance");
    return true;
}

static bool prepare(struct loop *l, struct ir_diag *diag)
{
    const struct tr_fit_job *job = l->job;
    const struct tr_params *p = job->params;
    struct tr_net_fit *fit = l->fit;
    if (!tr_blas_load(l->net, diag) || !weigh_rows(l, diag) ||
        !check_batches(l, diag) ||
        !tr_net_reserve(l->net, p->batch_size, diag))
        return false;
    l->net->seed = tr_draw(p, TR_DRAW_DROPOUT, 0);
    tr_net_init(l->net, tr_draw(p, TR_DRAW_WEIGHTS, 0));
    tr_optimizer_init(&fit->optimizer, p, l->net->n_params, l->n_batches);
    fit->best = tr_reals(l->net->n_params);
    return tr_job_check_stopping(job, score(l, l->valid_rows, &job->valid),
                                 diag) &&
           (!*p->resume || tr_checkpoint_read(l->job, diag));
}

/* Leaves the net of the best epoch, or of the last one. */
static void finish(struct loop *l)
{
    struct tr_report *report = l->job->report;
    struct tr_net_fit *fit = l->fit;
    const bool stops = l->job->params->early_stopping_rounds > 0;
    report->best_round = stops ? fit->best_epoch : fit->n_epochs;
    report->n_parameters = l->net->n_params;
    if (stops)
        memcpy(l->net->theta, fit->best,
               (size_t)l->net->n_params * sizeof(*fit->best));
    if (report->best_round > 0)
        report->train_metric[report->best_round - 1] =
            score(l, l->rows, &l->job->train);
}

bool tr_fit_net(struct tr_fit_job *job, struct ir_diag *diag)
{
    struct tr_net_fit *fit = ir_realloc_array(NULL, 1, sizeof(*fit));
    *fit = (struct tr_net_fit){0};
    job->net = fit;
    job->has_link = true;
    ir_arena_init(&fit->arena);
    if (!tr_net_input_init(&fit->input, &fit->arena, job, diag) ||
        !tr_net_input_start(&fit->input, &fit->net, job, diag))
        return false;
    tr_net_input_scale(&fit->input, &fit->net, job);
    struct loop l;
    loop_init(&l, job);
    const bool good = prepare(&l, diag) && fit_epochs(&l, diag);
    if (good)
        finish(&l);
    loop_release(&l);
    return good;
}

void tr_net_fit_free(struct tr_net_fit *fit)
{
    if (!fit)
        return;
    tr_optimizer_release(&fit->optimizer);
    tr_net_release(&fit->net);
    free(fit->best);
    ir_arena_release(&fit->arena);
    free(fit);
}

/* boost.c: gradient boosting (Friedman 2001) of trees over histograms: each
 * round fits a tree an output to the gradients of the loss and adds its
 * leaves, times the learning rate, to the margins of the rows.
 *
 * Margins are added up in the order in which the module adds them, so that
 * training scores are the model's own to the last bit.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DERIVE_ROWS 4096 /* that a thread takes at a time */
/* Of predictions: far above any target, and its square is finite. */
#define MAX_REACH 1e150

struct boost {
    struct tr_fit_job *job;
    struct tr_grower *grower;
    int n_outputs;
    double *margin, *valid_margin; /* [rows][n_outputs] */
    double *g, *h;                 /* [n_outputs][rows] */
    int32_t *sample;               /* rows of this round, ascending */
    int64_t n_sample;
    int32_t *drawn; /* features of a tree */
    bool *use;      /* by feature; NULL: all */
    int best_round, n_rounds;
    double best_metric;
    double reach; /* no margin is further from the start */
};

static double *start_margins(const struct boost *b, int64_t n)
{
    double *margin = ir_realloc_array(NULL, (size_t)n + 1,
                                      (size_t)b->n_outputs * sizeof(double));
    for (int64_t i = 0; i < n; i++)
        memcpy(margin + i * b->n_outputs, b->job->base,
               (size_t)b->n_outputs * sizeof(double));
    return margin;
}

static void boost_init(struct boost *b, struct tr_fit_job *job)
{
    const size_t n = (size_t)job->train.n + 1;
    const size_t n_features = (size_t)job->bins.n_features + 1;
    *b = (struct boost){.job = job, .n_outputs = job->n_outputs};
    job->objective->start(&job->train, job->n_outputs, job->base);
    job->has_link = true;
    b->margin = start_margins(b, job->train.n);
    b->valid_margin = start_margins(b, job->valid.n);
    b->g = ir_realloc_array(NULL, n * (size_t)b->n_outputs, sizeof(double));
    b->h = ir_realloc_array(NULL, n * (size_t)b->n_outputs, sizeof(double));
    b->sample = ir_realloc_array(NULL, n, sizeof(*b->sample));
    b->drawn = ir_realloc_array(NULL, n_features, sizeof(*b->drawn));
    if (job->params->feature_fraction < 1)
        b->use = ir_realloc_array(NULL, n_features, sizeof(*b->use));
    b->grower = tr_grower_new(&job->bins, &job->train.bins, job->params,
                              job->pool);
}

static void boost_release(struct boost *b)
{
    tr_grower_free(b->grower);
    free(b->margin);
    free(b->valid_margin);
    free(b->g);
    free(b->h);
    free(b->sample);
    free(b->drawn);
    free(b->use);
}

/* -------------------------------------------------------------- drawing -- */

/* A share of n, at least one. */
static int64_t part_of(double fraction, int64_t n)
{
    const int64_t part = (int64_t)(fraction * (double)n + 0.5);
    return part < 1 ? 1 : part > n ? n : part;
}

static void draw_rows(struct boost *b, int round)
{
    const struct tr_params *p = b->job->params;
    const int64_t n = b->job->train.n;
    b->n_sample = part_of(p->bagging_fraction, n);
    if (b->n_sample == n && round > 0)
        return; /* all rows, as before */
    tr_draw_some(p, TR_DRAW_ROWS, (uint64_t)round * (uint64_t)n, n,
                 b->n_sample, b->sample);
}

static void draw_features(struct boost *b, uint64_t tree)
{
    const struct tr_params *p = b->job->params;
    const int n = b->job->bins.n_features;
    if (!b->use || n == 0)
        return;
    const double fraction = p->feature_fraction > 0 ? p->feature_fraction
                                                    : sqrt(n) / n;
    const int64_t take = part_of(fraction, n);
    tr_draw_some(p, TR_DRAW_FEATURES, tree * (uint64_t)n, n, take, b->drawn);
    memset(b->use, 0, (size_t)n * sizeof(*b->use));
    for (int64_t i = 0; i < take; i++)
        b->use[b->drawn[i]] = true;
}

/* --------------------------------------------------------------- a round -- */

static void derive_part(void *user, int64_t part, int thread)
{
    const struct boost *b = user;
    const struct tr_rows *rows = &b->job->train;
    const int64_t first = part * DERIVE_ROWS, left = rows->n - first;
    (void)thread;
    b->job->objective->derive(rows, b->n_outputs, b->margin, first,
                              left < DERIVE_ROWS ? left : DERIVE_ROWS, b->g,
                              b->h);
}

/* Leaf values: what the objective says, times the learning rate. */
static void set_values(struct boost *b, struct tr_tree *tree)
{
    const struct tr_objective *objective = b->job->objective;
    double largest = 0;
    for (int i = 0; i < tree->n_leaves; i++) {
        int64_t n;
        const int32_t *rows = tr_grower_rows(b->grower, i, &n);
        if (objective->renew && n > 0)
            tree->value[i] = objective->renew(&b->job->train, b->margin, rows,
                                              n);
        tree->value[i] *= b->job->params->learning_rate;
        largest = fmax(largest, fabs(tree->value[i]));
    }
    b->reach += largest;
}

/* Adds the tree to output k's margins of all rows. */
static void add_by_bins(const struct boost *b, const struct tr_tree *tree,
                        const struct tr_rows *rows, double *margin, int k)
{
    enum { BLOCK = 256 };
    int32_t leaf[BLOCK];
    for (int64_t first = 0; first < rows->n; first += BLOCK) {
        const int64_t left = rows->n - first;
        const int64_t n = left < BLOCK ? left : BLOCK;
        tr_tree_leaves(tree, &rows->bins, first, n, leaf);
        for (int64_t i = 0; i < n; i++)
            margin[(first + i) * b->n_outputs + k] += tree->value[leaf[i]];
    }
}

static void add_tree(struct boost *b, const struct tr_tree *tree, int k)
{
    const struct tr_rows *train = &b->job->train;
    if (b->n_sample < train->n)
        add_by_bins(b, tree, train, b->margin, k);
    else
        for (int i = 0; i < tree->n_leaves; i++) {
            int64_t n;
            const int32_t *rows = tr_grower_rows(b->grower, i, &n);
            for (int64_t r = 0; r < n; r++)
                b->margin[(int64_t)rows[r] * b->n_outputs + k] +=
                    tree->value[i];
        }
    add_by_bins(b, tree, &b->job->valid, b->valid_margin, k);
}

/* Fits a tree an output; false when none of them could split. */
static bool fit_round(struct boost *b, int round)
{
    struct tr_fit_job *job = b->job;
    const int64_t n = job->train.n;
    bool any = false;
    tr_pool_run(job->pool, (n + DERIVE_ROWS - 1) / DERIVE_ROWS, derive_part,
                b);
    draw_rows(b, round);
    for (int k = 0; k < b->n_outputs; k++) {
        struct tr_tree *tree = tr_job_tree(job, 1);
        draw_features(b, (uint64_t)round * (uint64_t)b->n_outputs + k);
        tr_grow(b->grower, tree, b->n_sample, b->sample, b->g + k * n,
                b->h + k * n, b->use);
        if (tree->n_nodes > 0) {
            set_values(b, tree);
            any = true;
        } else {
            tree->value[0] = 0; /* the start is all there is to say */
        }
        add_tree(b, tree, k);
    }
    return any;
}

/* -------------------------------------------------------- early stopping -- */

/* Whether the validation rows are as well served as ever. */
static bool is_best(const struct boost *b, double metric)
{
    return b->best_round == 0 ||
           tr_job_better(b->job, metric, b->best_metric);
}

/* Scores the round; false when there should be no further one. */
static bool score_round(struct boost *b)
{
    struct tr_fit_job *job = b->job;
    const struct tr_params *p = job->params;
    const double valid = tr_job_score(job, &job->valid, b->valid_margin);
    const double train = job->progress
                             ? tr_job_score(job, &job->train, b->margin) : NAN;
    b->n_rounds++;
    if (is_best(b, valid)) {
        b->best_round = b->n_rounds;
        b->best_metric = valid;
    }
    if (!tr_job_round(job, p->rounds, train, valid))
        return false;
    return p->early_stopping_rounds == 0 ||
           b->n_rounds - b->best_round < p->early_stopping_rounds;
}

/* Drops the trees after the first `rounds` rounds. */
static void keep_rounds(struct boost *b, int rounds)
{
    struct tr_fit_job *job = b->job;
    while (job->n_trees > rounds * b->n_outputs)
        tr_tree_release(&job->tree[--job->n_trees]);
}

static bool fit_rounds(struct boost *b, struct ir_diag *diag)
{
    const struct tr_params *p = b->job->params;
    for (bool more = true; more && b->n_rounds < p->rounds;) {
        const bool any = fit_round(b, b->n_rounds);
        if (b->reach > MAX_REACH)
            return ir_error(diag, ir_loc_file(NULL),
                            "round %d: predictions grow beyond %g: the "
                            "learning_rate of %g is too large",
                            b->n_rounds + 1, MAX_REACH, p->learning_rate);
        /* A round without a split changes nothing: the next one is the same,
         * unless other rows or features are drawn. */
        const bool stuck = !any && p->bagging_fraction == 1 && !b->use;
        if (stuck && b->n_rounds > 0) {
            keep_rounds(b, b->n_rounds);
            return true;
        }
        more = score_round(b) && !stuck;
    }
    return true;
}

bool tr_fit_boost(struct tr_fit_job *job, struct ir_diag *diag)
{
    struct tr_report *report = job->report;
    struct boost b;
    boost_init(&b, job);
    const double start = tr_job_score(job, &job->valid, b.valid_margin);
    const bool good =
        tr_job_check_stopping(job, start, diag) && fit_rounds(&b, diag);
    if (good) {
        const bool stops = job->params->early_stopping_rounds > 0;
        report->best_round = stops ? b.best_round : b.n_rounds;
        keep_rounds(&b, report->best_round);
        if (b.n_rounds == report->best_round)
            report->train_metric[b.n_rounds - 1] =
                tr_job_score(job, &job->train, b.margin);
    }
    boost_release(&b);
    return good;
}

/* objective.c: what boosting minimises, a line each in the table: the margin to
 * start from, gradient and hessian of the loss by the margin, and how margins
 * become predictions. Formulas are those that LightGBM documents.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double weight(const struct tr_rows *rows, int64_t i)
{
    return rows->weight ? rows->weight[i] : 1;
}

/* The weighted share of the rows of class `k`, away from 0 and 1. */
static double share(const struct tr_rows *rows, int k)
{
    double in = 0, all = 0;
    for (int64_t i = 0; i < rows->n; i++) {
        const double w = weight(rows, i);
        in += rows->target[i] == k ? w : 0;
        all += w;
    }
    return fmin(fmax(in / all, 1e-15), 1 - 1e-15);
}

/* ---------------------------------------------------------- regression -- */

static void start_mean(const struct tr_rows *rows, int n_outputs, double *base)
{
    double sum = 0, all = 0;
    (void)n_outputs;
    for (int64_t i = 0; i < rows->n; i++) {
        sum += weight(rows, i) * rows->target[i];
        all += weight(rows, i);
    }
    base[0] = sum / all;
}

static void derive_squared(const struct tr_rows *rows, int n_outputs,
                           const double *margin, int64_t first, int64_t n,
                           double *g, double *h)
{
    (void)n_outputs;
    for (int64_t i = first; i < first + n; i++) {
        g[i] = weight(rows, i) * (margin[i] - rows->target[i]);
        h[i] = weight(rows, i);
    }
}

/* -------------------------------------------------------- regression_l1 -- */

struct weighted {
    double value, weight;
};

static int by_value(const void *a, const void *b)
{
    const double x = ((const struct weighted *)a)->value;
    const double y = ((const struct weighted *)b)->value;
    return (x > y) - (x < y);
}

/* The least value with at least half the weight up to it. */
static double median(struct weighted *list, int64_t n)
{
    double all = 0, below = 0;
    qsort(list, (size_t)n, sizeof(*list), by_value);
    for (int64_t i = 0; i < n; i++)
        all += list[i].weight;
    for (int64_t i = 0; i < n; i++) {
        below += list[i].weight;
        if (below >= all / 2)
            return list[i].value;
    }
    return list[n - 1].value;
}

double tr_median(const struct tr_rows *rows, const double *margin,
                 const int32_t *in, int64_t n)
{
    struct weighted *list = ir_realloc_array(NULL, (size_t)n, sizeof(*list));
    for (int64_t i = 0; i < n; i++) {
        const int64_t r = in ? in[i] : i;
        list[i].value = rows->target[r] - (margin ? margin[r] : 0);
        list[i].weight = weight(rows, r);
    }
    const double value = median(list, n);
    free(list);
    return value;
}

static void start_median(const struct tr_rows *rows, int n_outputs,
                         double *base)
{
    (void)n_outputs;
    base[0] = tr_median(rows, NULL, NULL, rows->n);
}

static void derive_absolute(const struct tr_rows *rows, int n_outputs,
                            const double *margin, int64_t first, int64_t n,
                            double *g, double *h)
{
    (void)n_outputs;
    for (int64_t i = first; i < first + n; i++) {
        const double residual = margin[i] - rows->target[i];
        g[i] = weight(rows, i) * ((residual > 0) - (residual < 0));
        h[i] = weight(rows, i);
    }
}

/* -------------------------------------------------------------- classes -- */

static void start_log_odds(const struct tr_rows *rows, int n_outputs,
                           double *base)
{
    const double p = share(rows, 1);
    (void)n_outputs;
    base[0] = log(p / (1 - p));
}

static void derive_binary(const struct tr_rows *rows, int n_outputs,
                          const double *margin, int64_t first, int64_t n,
                          double *g, double *h)
{
    (void)n_outputs;
    for (int64_t i = first; i < first + n; i++) {
        const double p = 1 / (1 + ir_exp(-margin[i])), w = weight(rows, i);
        g[i] = w * (p - rows->target[i]);
        h[i] = w * p * (1 - p);
    }
}

static void start_log_shares(const struct tr_rows *rows, int n_outputs,
                             double *base)
{
    for (int k = 0; k < n_outputs; k++)
        base[k] = log(share(rows, k));
}

/* As the IR's softmax has it, so that a tracked metric is the model's. */
static void softmax(const double *x, int n, double *p)
{
    double most = x[0], sum = 0;
    for (int k = 1; k < n; k++)
        most = x[k] > most ? x[k] : most;
    for (int k = 0; k < n; k++)
        sum += p[k] = ir_exp(x[k] - most);
    for (int k = 0; k < n; k++)
        p[k] /= sum;
}

/* The hessian's factor K / (K - 1) is LightGBM's (Friedman 2001). */
static void derive_softmax(const struct tr_rows *rows, int n_outputs,
                           const double *margin, int64_t first, int64_t n,
                           double *g, double *h)
{
    const double factor = n_outputs / (n_outputs - 1.0);
    double p[TR_MAX_CLASSES];
    for (int64_t i = first; i < first + n; i++) {
        const double w = weight(rows, i);
        softmax(margin + i * n_outputs, n_outputs, p);
        for (int k = 0; k < n_outputs; k++) {
            g[k * rows->n + i] = w * (p[k] - (rows->target[i] == k));
            h[k * rows->n + i] = w * factor * p[k] * (1 - p[k]);
        }
    }
}

void tr_link(enum tr_task task, int n_outputs, const double *margin, int64_t n,
             double *prediction)
{
    for (int64_t i = 0; i < n; i++) {
        if (task == TR_REGRESSION)
            prediction[i] = margin[i];
        else if (task == TR_BINARY)
            prediction[i] = 1 / (1 + ir_exp(-margin[i]));
        else
            softmax(margin + i * n_outputs, n_outputs,
                    prediction + i * n_outputs);
    }
}

/* ------------------------------------------------------------ the table -- */

const struct tr_objective tr_objectives[] = {
    {"regression", TR_REGRESSION, start_mean, derive_squared, NULL},
    {"regression_l1", TR_REGRESSION, start_median, derive_absolute, tr_median},
    {"binary", TR_BINARY, start_log_odds, derive_binary, NULL},
    {"multiclass", TR_MULTICLASS, start_log_shares, derive_softmax, NULL},
};
const int tr_objective_count =
    (int)(sizeof(tr_objectives) / sizeof(tr_objectives[0]));

const struct tr_objective *tr_objective_find(const char *name)
{
    for (int i = 0; i < tr_objective_count; i++)
        if (!strcmp(tr_objectives[i].name, name))
            return &tr_objectives[i];
    return NULL;
}

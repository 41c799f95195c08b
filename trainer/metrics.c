/* metrics.c: how good predictions are. Sums are compensated (Neumaier 1974),
 * so that the number of rows costs no digits.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct sum {
    double value, lost; /* lost: what rounding took from value */
};

static void add(struct sum *s, double x)
{
    const double t = s->value + x;
    s->lost += fabs(s->value) >= fabs(x) ? (s->value - t) + x
                                         : (x - t) + s->value;
    s->value = t;
}

static double total(const struct sum *s)
{
    /* Nothing is known of what an infinite sum has lost. */
    return isnan(s->lost) ? s->value : s->value + s->lost;
}

static double weight(const struct tr_scored *s, int64_t i)
{
    return s->weight ? s->weight[i] : 1;
}

/* The mean over the rows of f(row), by weight; NaN without weight. */
static double mean(const struct tr_scored *s,
                   double (*f)(const struct tr_scored *, int64_t))
{
    struct sum sum = {0}, weights = {0};
    for (int64_t i = 0; i < s->n_rows; i++) {
        const double w = weight(s, i);
        /* A row without weight has no say, were its loss infinite. */
        if (w > 0)
            add(&sum, w * f(s, i));
        add(&weights, w);
    }
    return total(&weights) > 0 ? total(&sum) / total(&weights) : NAN;
}

/* ---------------------------------------------------------- regression -- */

static double squared_error(const struct tr_scored *s, int64_t i)
{
    const double e = s->prediction[i] - s->target[i];
    return e * e;
}

static double absolute_error(const struct tr_scored *s, int64_t i)
{
    return fabs(s->prediction[i] - s->target[i]);
}

static double target_itself(const struct tr_scored *s, int64_t i)
{
    return s->target[i];
}

static double rmse(const struct tr_scored *s)
{
    return sqrt(mean(s, squared_error));
}

static double mae(const struct tr_scored *s)
{
    return mean(s, absolute_error);
}

static double r2(const struct tr_scored *s)
{
    const double middle = mean(s, target_itself);
    struct sum left = {0}, all = {0};
    for (int64_t i = 0; i < s->n_rows; i++) {
        const double w = weight(s, i), d = s->target[i] - middle;
        if (w > 0) {
            add(&left, w * squared_error(s, i));
            add(&all, w * d * d);
        }
    }
    return total(&all) > 0 ? 1 - total(&left) / total(&all) : NAN;
}

/* ------------------------------------------------------ classification -- */

/* The probability of the row's class. */
static double of_class(const struct tr_scored *s, int64_t i)
{
    if (s->task == TR_BINARY)
        return s->target[i] > 0 ? s->prediction[i] : 1 - s->prediction[i];
    return s->prediction[i * s->n_classes + (int64_t)s->target[i]];
}

static double log_of_class(const struct tr_scored *s, int64_t i)
{
    /* A sure and wrong answer costs much, not everything. */
    const double p = of_class(s, i);
    return -log(p > 1e-15 ? p : 1e-15);
}

static double is_right(const struct tr_scored *s, int64_t i)
{
    if (s->task == TR_BINARY)
        return (s->prediction[i] > 0.5) == (s->target[i] > 0);
    const double *p = s->prediction + i * s->n_classes;
    int best = 0;
    for (int k = 1; k < s->n_classes; k++)
        best = p[k] > p[best] ? k : best;
    return best == (int)s->target[i];
}

static double logloss(const struct tr_scored *s)
{
    return mean(s, log_of_class);
}

static double accuracy(const struct tr_scored *s)
{
    return mean(s, is_right);
}

struct ranked {
    double prediction;
    double positive, negative; /* weight */
};

static int by_prediction(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return (x->prediction > y->prediction) - (x->prediction < y->prediction);
}

/* The weight of pairs of one row of each class that are in order; equal
 * predictions count half. */
static double auc(const struct tr_scored *s)
{
    const size_t n = (size_t)s->n_rows;
    struct ranked *rows = ir_realloc_array(NULL, n + 1, sizeof(*rows));
    for (size_t i = 0; i < n; i++) {
        const double w = weight(s, (int64_t)i);
        const bool positive = s->target[i] > 0;
        rows[i] = (struct ranked){s->prediction[i], positive ? w : 0,
                                  positive ? 0 : w};
    }
    qsort(rows, n, sizeof(*rows), by_prediction);
    struct sum pairs = {0}, positives = {0}, negatives = {0};
    for (size_t i = 0; i < n;) {
        struct sum p = {0}, q = {0};
        size_t j = i;
        for (; j < n && rows[j].prediction == rows[i].prediction; j++) {
            add(&p, rows[j].positive);
            add(&q, rows[j].negative);
        }
        add(&pairs, total(&p) * (total(&negatives) + total(&q) / 2));
        add(&positives, total(&p));
        add(&negatives, total(&q));
        i = j > i ? j : i + 1; /* a NaN equals nothing, itself included */
    }
    free(rows);
    const double all = total(&positives) * total(&negatives);
    return all > 0 ? total(&pairs) / all : NAN;
}

/* --------------------------------------------------------------- table -- */

const struct tr_metric tr_metrics[] = {
    {"rmse", "root of the mean squared error", TR_REGRESSION, false, rmse},
    {"mae", "mean absolute error", TR_REGRESSION, false, mae},
    {"r2", "share of the variance that is explained", TR_REGRESSION, true,
     r2},
    {"logloss", "mean of -log(probability of the row's class)",
     TR_BINARY | TR_MULTICLASS, false, logloss},
    {"auc", "area under the ROC curve", TR_BINARY, true, auc},
    {"accuracy", "share of rows whose class is right",
     TR_BINARY | TR_MULTICLASS, true, accuracy},
};
const int tr_metric_count = (int)(sizeof(tr_metrics) / sizeof(tr_metrics[0]));

const struct tr_metric *tr_metric_find(const char *name)
{
    for (int i = 0; i < tr_metric_count; i++)
        if (!strcmp(tr_metrics[i].name, name))
            return &tr_metrics[i];
    return NULL;
}

const struct tr_metric *tr_metric_default(enum tr_task task)
{
    return tr_metric_find(task == TR_REGRESSION ? "rmse" : "logloss");
}

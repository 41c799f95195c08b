/* net_loss.c: what training a net minimises, by the objective: squared and
 * absolute errors, and -log of the class's probability; weights of classes.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double squared_loss(double y, double t, double *slope)
{
    *slope = 2 * (y - t);
    return (y - t) * (y - t);
}

static double absolute_loss(double y, double t, double *slope)
{
    *slope = (y > t) - (y < t);
    return fabs(y - t);
}

/* log(1 + exp(y)) - t y for t of 0 or 1. */
static double binary_loss(double y, double t, double *slope)
{
    const double e = exp(-fabs(y));
    *slope = (y >= 0 ? 1 : e) / (1 + e) - t;
    return fmax(y, 0) + log1p(e) - t * y;
}

/* Of a row of outputs; dy gets the slopes times the factor. */
static double class_loss(int n, const tr_real *y, int target, double factor,
                         tr_real *dy)
{
    double most = (double)y[0], sum = 0;
    for (int k = 1; k < n; k++)
        most = fmax(most, (double)y[k]);
    for (int k = 0; k < n; k++) {
        const double e = exp((double)y[k] - most);
        dy[k] = (tr_real)e;
        sum += e;
    }
    for (int k = 0; k < n; k++)
        dy[k] = (tr_real)(factor * ((double)dy[k] / sum - (k == target)));
    return log(sum) - ((double)y[target] - most);
}

double tr_net_loss(const struct tr_objective *objective, int64_t n,
                   int n_outputs, const tr_real *y, const double *target,
                   const double *weight, tr_real *dy)
{
    double (*loss)(double, double, double *) =
        objective->task == TR_BINARY ? binary_loss
        : !strcmp(objective->name, "regression_l1") ? absolute_loss
                                                    : squared_loss;
    double total = 0;
    for (int64_t i = 0; i < n; i++) {
        const double w = weight ? weight[i] : 1, factor = w / (double)n;
        const int64_t at = i * n_outputs;
        double slope;
        if (objective->task == TR_MULTICLASS) {
            total += w * class_loss(n_outputs, y + at, (int)target[i], factor,
                                    dy + at);
        } else {
            total += w * loss((double)y[i], target[i], &slope);
            dy[i] = (tr_real)(factor * slope);
        }
    }
    return total;
}

/* --------------------------------------------------------- class weights -- */

/* n_rows / (n_classes * rows of the class), rows by their weights. */
static void balance(const struct tr_rows *rows, int n_classes, double *weight)
{
    double all = 0;
    for (int k = 0; k < n_classes; k++)
        weight[k] = 0;
    for (int64_t i = 0; i < rows->n; i++) {
        const double w = rows->weight ? rows->weight[i] : 1;
        weight[(int)rows->target[i]] += w;
        all += w;
    }
    for (int k = 0; k < n_classes; k++)
        weight[k] = all / (n_classes * weight[k]);
}

static bool bad_weight(const char *at, size_t n, struct ir_diag *diag)
{
    return ir_error(diag, ir_loc_file(NULL),
                    "parameter class_weight: \"%.*s\" is no LABEL:WEIGHT with "
                    "a weight above 0, nor is all of it none or balanced",
                    (int)n, at);
}

/* Reads "LABEL:WEIGHT" of n bytes. */
static bool read_weight(const char *at, size_t n, int n_classes,
                        const char *const *labels, double *weight,
                        struct ir_diag *diag)
{
    const char *colon = n ? memrchr(at, ':', n) : NULL;
    double value;
    if (!colon || !ir_parse_double(colon + 1, at + n, &value) ||
        !(value > 0 && value <= 1e6))
        return bad_weight(at, n, diag);
    const size_t length = (size_t)(colon - at);
    for (int k = 0; k < n_classes; k++)
        if (strlen(labels[k]) == length && !memcmp(labels[k], at, length)) {
            weight[k] = value;
            return true;
        }
    return ir_error(diag, ir_loc_file(NULL),
                    "parameter class_weight: there is no class \"%.*s\" (the "
                    "first of %d is \"%s\")", (int)length, at, n_classes,
                    labels[0]);
}

bool tr_class_weights(const char *text, const struct tr_rows *rows,
                      int n_classes, const char *const *labels,
                      double *weight, struct ir_diag *diag)
{
    for (int k = 0; k < n_classes; k++)
        weight[k] = 1;
    if (!strcmp(text, "none"))
        return true;
    if (n_classes == 0)
        return ir_error(diag, ir_loc_file(NULL),
                        "parameter class_weight: regression has no classes");
    if (!strcmp(text, "balanced")) {
        balance(rows, n_classes, weight);
        return true;
    }
    for (const char *at = text;; at++) {
        const size_t n = strcspn(at, ",");
        if (!read_weight(at, n, n_classes, labels, weight, diag))
            return false;
        at += n;
        if (!*at)
            return true;
    }
}

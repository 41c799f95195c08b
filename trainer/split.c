/* split.c: which rows are trained on, and which are held back. */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows of one stratum stand together, in ascending order. */
struct strata {
    int64_t n_rows, n;
    int64_t *order; /* [n_rows] */
    int64_t *start; /* [n + 1] */
};

struct keyed {
    double value;
    int64_t row;
};

/* Missing values come last, as one stratum. */
static int by_value(const void *a, const void *b)
{
    const struct keyed *x = a, *y = b;
    const bool x_nan = isnan(x->value), y_nan = isnan(y->value);
    if (x_nan != y_nan)
        return x_nan ? 1 : -1;
    if (!x_nan && x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static bool same_stratum(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static void stratify_by(struct strata *s, const double *values)
{
    struct keyed *keyed =
        ir_realloc_array(NULL, (size_t)s->n_rows + 1, sizeof(*keyed));
    for (int64_t i = 0; i < s->n_rows; i++)
        keyed[i] = (struct keyed){values[i], i};
    qsort(keyed, (size_t)s->n_rows, sizeof(*keyed), by_value);
    for (int64_t i = 0; i < s->n_rows; i++) {
        s->order[i] = keyed[i].row;
        if (i > 0 && !same_stratum(keyed[i].value, keyed[i - 1].value))
            s->start[++s->n] = i;
    }
    free(keyed);
    s->start[++s->n] = s->n_rows;
}

static int64_t share_of(double fraction, int64_t n, int64_t most)
{
    const int64_t share = llround(fraction * (double)n);
    return share < most ? share : most;
}

/* Shuffles a stratum; its first rows go to test, the next to valid, but the
 * last `least` ones are to train on. */
static void assign(uint8_t *part, const struct strata *s, int64_t stratum,
                   int64_t least, double valid, double test, uint64_t seed)
{
    int64_t *rows = s->order + s->start[stratum];
    const int64_t n = s->start[stratum + 1] - s->start[stratum];
    for (int64_t i = n - 1; i > 0; i--) {
        const uint64_t r = ir_random(seed, (uint64_t)(s->start[stratum] + i));
        const int64_t j = (int64_t)(r % ((uint64_t)i + 1));
        const int64_t row = rows[i];
        rows[i] = rows[j];
        rows[j] = row;
    }
    const int64_t n_test = share_of(test, n, n - least);
    const int64_t n_valid = share_of(valid, n, n - least - n_test);
    for (int64_t i = 0; i < n; i++)
        part[rows[i]] = i < n_test ? TR_TEST
                      : i < n_test + n_valid ? TR_VALID : TR_TRAIN;
}

static void collect(struct tr_split *split, const uint8_t *part, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        split->n[part[i]]++;
    for (int p = 0; p < TR_N_PARTS; p++) {
        split->rows[p] = ir_realloc_array(NULL, (size_t)split->n[p] + 1,
                                          sizeof(int64_t));
        split->n[p] = 0;
    }
    for (int64_t i = 0; i < n; i++)
        split->rows[part[i]][split->n[part[i]]++] = i;
}

static bool check_fraction(const char *name, double fraction,
                           struct ir_diag *diag)
{
    if (fraction >= 0 && fraction < 1)
        return true;
    return ir_error(diag, ir_loc_file(NULL),
                    "%s fraction: %g is not within [0, 1)", name, fraction);
}

bool tr_split_rows(struct tr_split *split, const struct tr_frame *frame,
                   int stratify, double valid_fraction, double test_fraction,
                   uint64_t seed, struct ir_diag *diag)
{
    const size_t n = (size_t)frame->n_rows;
    *split = (struct tr_split){0};
    if (!check_fraction("valid", valid_fraction, diag) ||
        !check_fraction("test", test_fraction, diag))
        return false;
    struct strata s = {
        .n_rows = frame->n_rows,
        .order = ir_realloc_array(NULL, n + 1, sizeof(int64_t)),
        .start = ir_realloc_array(NULL, n + 2, sizeof(int64_t))};
    s.start[0] = 0;
    if (stratify >= 0) {
        stratify_by(&s, frame->values[stratify]);
    } else {
        for (int64_t i = 0; i < s.n_rows; i++)
            s.order[i] = i;
        s.start[++s.n] = s.n_rows;
    }
    uint8_t *part = ir_realloc_array(NULL, n + 1, 1);
    for (int64_t i = 0; i < s.n; i++)
        assign(part, &s, i, stratify >= 0, valid_fraction, test_fraction,
               seed);
    collect(split, part, s.n_rows);
    free(part);
    free(s.order);
    free(s.start);
    if (split->n[TR_TRAIN] > 0)
        return true;
    tr_split_release(split);
    return ir_error(diag, ir_loc_file(NULL),
                    "no row is left to train on (of %lld rows, fraction %g is "
                    "to validate, %g to test)", (long long)n, valid_fraction,
                    test_fraction);
}

void tr_split_release(struct tr_split *split)
{
    for (int p = 0; p < TR_N_PARTS; p++)
        free(split->rows[p]);
    *split = (struct tr_split){0};
}

/* binning.c: values -> at most 255 bins a feature, and rows of bins.
 *
 * Numbers are cut midway between neighbours, into intervals of about as many
 * rows each; categories have a bin each, the rare ones share the last. A split
 * is then a choice of bins, and its threshold or set is known exactly.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows that cuts are chosen by; more add nothing but time. */
#define MAX_SAMPLE 200000

/* ------------------------------------------------------------- sorting -- */

/* Doubles as integers in the same order; there is no NaN. */
static uint64_t key_of(double v)
{
    uint64_t bits;
    v += 0.0; /* -0 is 0 */
    memcpy(&bits, &v, 8);
    return bits >> 63 ? ~bits : bits | UINT64_C(1) << 63;
}

static double value_of(uint64_t key)
{
    const uint64_t bits = key >> 63 ? key ^ UINT64_C(1) << 63 : ~key;
    double v;
    memcpy(&v, &bits, 8);
    return v;
}

/* Radix sort by bytes, of `n` keys with room for as many. Returns the array
 * that they are in at the end. */
static uint64_t *sort_keys(uint64_t *keys, uint64_t *room, size_t n)
{
    size_t count[8][256] = {{0}};
    for (size_t i = 0; i < n; i++)
        for (int d = 0; d < 8; d++)
            count[d][keys[i] >> 8 * d & 255]++;
    for (int d = 0; d < 8; d++) {
        if (n == 0 || count[d][keys[0] >> 8 * d & 255] == n)
            continue;
        size_t at = 0;
        for (int c = 0; c < 256; c++) {
            const size_t here = count[d][c];
            count[d][c] = at;
            at += here;
        }
        for (size_t i = 0; i < n; i++)
            room[count[d][keys[i] >> 8 * d & 255]++] = keys[i];
        uint64_t *other = keys;
        keys = room;
        room = other;
    }
    return keys;
}

/* ------------------------------------------------------------- numbers -- */

/* What a sorted sample holds. */
struct distinct {
    double value;
    int64_t rows;
};

/* A number t with a <= t < b, midway if there is one. */
static double between(double a, double b)
{
    const double middle = a / 2 + b / 2;
    return middle >= a && middle < b ? middle : a;
}

static bool is_large(const struct distinct *d, double rows)
{
    return (double)d->rows >= rows;
}

/* Chooses at most max_bin - 1 cuts among n ascending values so that bins hold
 * about as many rows; a value with more rows than that has its own. Returns
 * how many. */
static int choose_cuts(double *upper, const struct distinct *d, int64_t n,
                       int64_t n_rows, int max_bin)
{
    const double large = (double)n_rows / max_bin;
    int64_t small_rows = n_rows;
    int small_bins = max_bin, n_cuts = 0;
    for (int64_t i = 0; i < n; i++)
        if (is_large(&d[i], large)) {
            small_rows -= d[i].rows;
            small_bins--;
        }
    double mean = (double)small_rows / (small_bins > 0 ? small_bins : 1);
    int64_t rows = 0;
    for (int64_t i = 0; i + 1 < n && n_cuts < max_bin - 1; i++) {
        const bool is_own = is_large(&d[i], large);
        rows += d[i].rows;
        small_rows -= is_own ? 0 : d[i].rows;
        if (!is_own && (double)rows < mean &&
            !(is_large(&d[i + 1], large) && (double)rows >= mean / 2))
            continue;
        upper[n_cuts++] = between(d[i].value, d[i + 1].value);
        rows = 0;
        if (!is_own) {
            small_bins--;
            mean = (double)small_rows / (small_bins > 0 ? small_bins : 1);
        }
    }
    return n_cuts;
}

static int cut_distinct(double *upper, const struct distinct *d, int64_t n,
                        int64_t n_rows, int max_bin)
{
    if (n > max_bin)
        return choose_cuts(upper, d, n, n_rows, max_bin);
    for (int64_t i = 0; i + 1 < n; i++)
        upper[i] = between(d[i].value, d[i + 1].value);
    return n > 0 ? (int)n - 1 : 0;
}

/* The keys of the values that are not missing, or of a sample of them. */
static size_t collect_keys(uint64_t *keys, const double *values, int64_t n,
                           uint64_t seed, bool *has_missing)
{
    size_t n_keys = 0;
    const uint64_t step = n > MAX_SAMPLE ? (uint64_t)n / MAX_SAMPLE : 1;
    /* One row of each stretch of `step`, anywhere within it. */
    for (int64_t i = 0; i < n; i++) {
        *has_missing |= isnan(values[i]);
        const uint64_t stretch = (uint64_t)i / step;
        if (step > 1 && ir_random(seed, stretch) % step != (uint64_t)i % step)
            continue;
        if (!isnan(values[i]))
            keys[n_keys++] = key_of(values[i]);
    }
    return n_keys;
}

static void bin_numbers(struct tr_feature *f, const double *values,
                        int64_t n_rows, int max_bin, uint64_t seed)
{
    const size_t room = (size_t)n_rows + 1;
    uint64_t *keys = ir_realloc_array(NULL, 2 * room, sizeof(*keys));
    const size_t n =
        collect_keys(keys, values, n_rows, seed, &f->has_missing);
    const uint64_t *sorted = sort_keys(keys, keys + room, n);
    struct distinct *d = ir_realloc_array(NULL, n + 1, sizeof(*d));
    int64_t n_distinct = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || sorted[i] != sorted[i - 1])
            d[n_distinct++] = (struct distinct){value_of(sorted[i]), 0};
        d[n_distinct - 1].rows++;
    }
    f->upper = ir_realloc_array(NULL, 256, sizeof(double));
    for (int i = 0; i < 256; i++)
        f->upper[i] = INFINITY;
    f->n_bins =
        cut_distinct(f->upper, d, n_distinct, (int64_t)n, max_bin) + 1;
    free(d);
    free(keys);
}

/* ---------------------------------------------------------- categories -- */

/* The code that a value stands for; -1 for none, also when missing. */
static int code_of(double v)
{
    return v > -1 && v < TR_MAX_CATEGORIES ? (int)v : -1;
}

struct counted {
    int code;
    int64_t rows;
};

static int by_rows(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    if (x->rows != y->rows)
        return x->rows > y->rows ? -1 : 1;
    return x->code - y->code;
}

static struct counted *count_codes(struct tr_feature *f, const double *values,
                                   int64_t n_rows)
{
    for (int64_t i = 0; i < n_rows; i++) {
        const int code = code_of(values[i]);
        f->n_codes = code >= f->n_codes ? code + 1 : f->n_codes;
        f->has_missing |= isnan(values[i]);
    }
    struct counted *counted =
        ir_realloc_array(NULL, (size_t)f->n_codes + 1, sizeof(*counted));
    for (int c = 0; c < f->n_codes; c++)
        counted[c] = (struct counted){c, 0};
    for (int64_t i = 0; i < n_rows; i++)
        if (code_of(values[i]) >= 0)
            counted[code_of(values[i])].rows++;
    qsort(counted, (size_t)f->n_codes, sizeof(*counted), by_rows);
    return counted;
}

static void bin_categories(struct tr_feature *f, const double *values,
                           int64_t n_rows)
{
    struct counted *counted = count_codes(f, values, n_rows);
    const size_t n = (size_t)f->n_codes + 1;
    int own = 0;
    while (own < f->n_codes && own < TR_MAX_BINS - 1 && counted[own].rows > 0)
        own++;
    f->n_bins = own + 1;
    f->bin_of_code = ir_realloc_array(NULL, n, 1);
    f->code_of_bin = ir_realloc_array(NULL, n, sizeof(int));
    memset(f->bin_of_code, own, n);
    for (int b = 0; b < own; b++) {
        f->code_of_bin[b] = counted[b].code;
        f->bin_of_code[counted[b].code] = (uint8_t)b;
    }
    free(counted);
}

/* -------------------------------------------------------- all features -- */

struct binning {
    struct tr_bins *bins;
    const struct tr_frame *frame;
    int max_bin;
    uint64_t seed;
};

static void bin_feature(void *user, int64_t i, int thread)
{
    const struct binning *b = user;
    struct tr_feature *f = &b->bins->feature[i];
    const double *values = b->frame->values[f->column];
    (void)thread;
    if (f->categorical)
        bin_categories(f, values, b->frame->n_rows);
    else
        bin_numbers(f, values, b->frame->n_rows, b->max_bin, b->seed);
}

static void release_feature(struct tr_feature *f)
{
    free(f->upper);
    free(f->bin_of_code);
    free(f->code_of_bin);
}

/* Whether training rows differ in it: the last bin of categories may hold
 * none of them. */
static bool is_useful(const struct tr_feature *f)
{
    const bool rest = f->categorical && f->n_bins < TR_MAX_BINS;
    return f->n_bins - rest + f->has_missing >= 2;
}

/* Drops the features that no split could use. */
static void keep_useful(struct tr_bins *bins)
{
    int kept = 0;
    for (int i = 0; i < bins->n_features; i++) {
        if (is_useful(&bins->feature[i]))
            bins->feature[kept++] = bins->feature[i];
        else
            release_feature(&bins->feature[i]);
    }
    bins->n_features = kept;
}

void tr_bins_init(struct tr_bins *bins, const struct tr_frame *frame, int n,
                  const int *columns, int max_bin, uint64_t seed,
                  struct tr_pool *pool)
{
    *bins = (struct tr_bins){
        .n_features = n,
        .feature = ir_realloc_array(NULL, (size_t)n + 1,
                                    sizeof(struct tr_feature))};
    for (int i = 0; i < n; i++)
        bins->feature[i] = (struct tr_feature){
            .column = columns[i], .input = i,
            .categorical = frame->columns[columns[i]].kind == IR_CATEGORY};
    struct binning job = {bins, frame, max_bin, seed};
    tr_pool_run(pool, n, bin_feature, &job);
    keep_useful(bins);
    bins->first_slot =
        ir_realloc_array(NULL, (size_t)n + 1, sizeof(int));
    bins->first_slot[0] = 0;
    for (int i = 0; i < bins->n_features; i++)
        bins->first_slot[i + 1] =
            bins->first_slot[i] + bins->feature[i].n_bins + 1;
}

void tr_bins_release(struct tr_bins *bins)
{
    for (int i = 0; i < bins->n_features; i++)
        release_feature(&bins->feature[i]);
    free(bins->feature);
    free(bins->first_slot);
    *bins = (struct tr_bins){0};
}

/* ---------------------------------------------------------------- rows -- */

/* The number of cuts below v, by a search of eight steps without a branch. */
static uint8_t bin_of_number(const struct tr_feature *f, double v)
{
    const double *upper = f->upper;
    unsigned at = 0;
    for (unsigned step = 128; step > 0; step /= 2)
        at += upper[at + step - 1] < v ? step : 0;
    return (uint8_t)at;
}

static uint8_t bin_of(const struct tr_feature *f, double v)
{
    if (isnan(v))
        return (uint8_t)f->n_bins;
    if (!f->categorical)
        return bin_of_number(f, v);
    const int code = code_of(v);
    return code >= 0 && code < f->n_codes ? f->bin_of_code[code]
                                          : (uint8_t)(f->n_bins - 1);
}

struct row_binning {
    struct tr_binned *rows;
    const struct tr_bins *bins;
    const struct tr_frame *frame;
};

static void bin_group(void *user, int64_t group, int thread)
{
    const struct row_binning *b = user;
    const int64_t n = b->rows->n_rows;
    uint8_t *code = b->rows->code + group * n * TR_GROUP;
    (void)thread;
    memset(code, 0, (size_t)n * TR_GROUP);
    for (int i = 0; i < TR_GROUP; i++) {
        const int64_t feature = group * TR_GROUP + i;
        if (feature >= b->bins->n_features)
            return;
        const struct tr_feature *f = &b->bins->feature[feature];
        const double *values = b->frame->values[f->column];
        for (int64_t r = 0; r < n; r++)
            code[r * TR_GROUP + i] = bin_of(f, values[r]);
    }
}

void tr_binned_init(struct tr_binned *rows, const struct tr_bins *bins,
                    const struct tr_frame *frame, struct tr_pool *pool)
{
    *rows = (struct tr_binned){
        .n_rows = frame->n_rows,
        .n_groups = (bins->n_features + TR_GROUP - 1) / TR_GROUP};
    rows->code = ir_realloc_array(
        NULL, (size_t)rows->n_rows * TR_GROUP, (size_t)rows->n_groups + 1);
    struct row_binning job = {rows, bins, frame};
    tr_pool_run(pool, rows->n_groups, bin_group, &job);
}

void tr_binned_release(struct tr_binned *rows)
{
    free(rows->code);
    *rows = (struct tr_binned){0};
}

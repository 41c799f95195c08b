/* grow.c: one tree by gradients: histograms of bins, best leaf first.
 *
 * Sums are of fixed-point integers, so they are exact: the order of rows and
 * the number of threads change nothing, and a sibling's histogram is the
 * parent's less the other's to the last bit. A histogram entry is two words:
 * the gradients, and the hessians above as many bits as a count of rows needs.
 * Splits are rated in the integers' units, powers of two, so that no square
 * overflows whatever the gradients are.
 *
 * After a split the child with fewer rows is summed and the other subtracted;
 * then both are searched. Groups of features are independent of each other and
 * are what threads share.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Histograms that wait for their leaf to be split take at most so much. */
#define MAX_HISTOGRAM_BYTES (INT64_C(1) << 29)
/* Row-features that are worth waking the other threads for. */
#define MIN_PARALLEL 20000

struct sums {
    int64_t g;
    uint64_t hc;
};

struct split {
    double gain; /* 0: there is none */
    int bin;
    struct sums left;
    struct tr_bin_set left_bins;
};

struct leaf {
    int64_t first, n; /* of order */
    int depth, parent;
    bool on_left;
    struct sums sums;
    struct sums *histogram; /* NULL: not kept */
    int feature;            /* of the best split */
    struct split best;
};

struct tr_grower {
    const struct tr_bins *bins;
    const struct tr_binned *rows;
    const struct tr_params *params;
    struct tr_pool *pool;
    const bool *use;

    int count_bits;          /* of hc */
    double g_unit, h_unit;   /* that the integers count */
    /* Parameters in those units; a gain's is g_unit^2 / h_unit. */
    double l1, l2, cat_l2, cat_smooth, min_child_weight, min_gain;
    struct sums *sums;       /* [rows] */
    struct sums *gathered;   /* of the leaf that is summed, in its order */
    int32_t *order, *room;   /* rows, leaf by leaf; room to part them */
    struct leaf *leaf;
    int capacity;
    struct tr_queue queue;
    struct sums **spare;     /* histograms that no leaf has */
    int n_spare, n_histograms, max_histograms;

    /* Two children, or one leaf and -1, while they are searched. */
    int child[2], small;       /* leaf numbers; small: which is summed */
    struct sums *histogram[2]; /* the other is the parent's at first */
    struct split *found;       /* [features][2] */
};

/* ---------------------------------------------------------- fixed point -- */

static int64_t count_of(const struct tr_grower *t, struct sums s)
{
    return (int64_t)(s.hc & ((UINT64_C(1) << t->count_bits) - 1));
}

static double hessian_of(const struct tr_grower *t, struct sums s)
{
    return (double)(int64_t)(s.hc >> t->count_bits);
}

static double gradient_of(struct sums s)
{
    return (double)s.g;
}

/* The power of two that `most` is at most 2^bits of; none so small that its
 * reciprocal is too large. */
static double unit_of(double most, int bits)
{
    int exponent = 0;
    frexp(most, &exponent);
    return ldexp(1, (exponent > -900 ? exponent : -900) - bits);
}

static void set_units(struct tr_grower *t, double sum_g, double sum_h,
                      int64_t n)
{
    const struct tr_params *p = t->params;
    t->count_bits = 1;
    while (n >> t->count_bits)
        t->count_bits++;
    /* A bit is left for what rounding adds. */
    t->g_unit = unit_of(sum_g, 61);
    t->h_unit = unit_of(sum_h, 61 - t->count_bits);
    t->l1 = p->lambda_l1 / t->g_unit;
    t->l2 = p->lambda_l2 / t->h_unit;
    t->cat_l2 = p->cat_l2 / t->h_unit;
    t->cat_smooth = p->cat_smooth / t->h_unit;
    t->min_child_weight = p->min_child_weight / t->h_unit;
    t->min_gain = p->min_gain / t->g_unit * t->h_unit / t->g_unit;
}

static void fix_sums(struct tr_grower *t, int64_t n, const int32_t *rows,
                     const double *g, const double *h)
{
    double sum_g = 0, sum_h = 0;
    for (int64_t i = 0; i < n; i++) {
        sum_g += fabs(g[rows[i]]);
        sum_h += h[rows[i]];
    }
    set_units(t, sum_g, sum_h, n);
    const double g_scale = 1 / t->g_unit, h_scale = 1 / t->h_unit;
    for (int64_t i = 0; i < n; i++) {
        const int32_t r = rows[i];
        const uint64_t fixed = (uint64_t)(h[r] * h_scale + 0.5);
        t->sums[r] = (struct sums){(int64_t)rint(g[r] * g_scale),
                                   fixed << t->count_bits | 1};
    }
}

/* ----------------------------------------------------------- histograms -- */

static struct sums *take_histogram(struct tr_grower *t)
{
    if (t->n_spare > 0)
        return t->spare[--t->n_spare];
    const size_t slots = (size_t)t->bins->first_slot[t->bins->n_features] + 1;
    t->n_histograms++;
    return ir_realloc_array(NULL, slots, sizeof(struct sums));
}

static void give_back(struct tr_grower *t, struct sums *histogram)
{
    if (!histogram)
        return;
    t->spare = ir_realloc_array(t->spare, (size_t)t->n_spare + 1,
                                sizeof(*t->spare));
    t->spare[t->n_spare++] = histogram;
}

static void add(struct sums *to, struct sums s)
{
    to->g += s.g;
    to->hc += s.hc;
}

/* Adds rows[i]'s sums to the entries of its bins of four features. */
static void add_rows(struct sums *restrict h0, struct sums *restrict h1,
                     struct sums *restrict h2, struct sums *restrict h3,
                     const uint8_t *restrict code,
                     const int32_t *restrict rows,
                     const struct sums *restrict sums, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const uint8_t *c = code + (int64_t)rows[i] * TR_GROUP;
        const struct sums s = sums[i];
        add(&h0[c[0]], s);
        add(&h1[c[1]], s);
        add(&h2[c[2]], s);
        add(&h3[c[3]], s);
    }
}

/* The features of group `group`, [*first, *end). */
static void group_features(const struct tr_grower *t, int64_t group,
                           int *first, int *end)
{
    *first = (int)group * TR_GROUP;
    *end = *first + TR_GROUP;
    if (*end > t->bins->n_features)
        *end = t->bins->n_features;
}

static void sum_group(struct tr_grower *t, int64_t group,
                      const struct leaf *leaf, struct sums *histogram)
{
    struct sums *h[TR_GROUP], unused[TR_GROUP];
    int first, end;
    group_features(t, group, &first, &end);
    const int *slot = t->bins->first_slot;
    for (int i = 0; i < TR_GROUP; i++)
        h[i] = first + i < end ? histogram + slot[first + i] : &unused[i];
    memset(histogram + slot[first], 0,
           (size_t)(slot[end] - slot[first]) * sizeof(*histogram));
    memset(unused, 0, sizeof(unused));
    add_rows(h[0], h[1], h[2], h[3],
             t->rows->code + group * t->rows->n_rows * TR_GROUP,
             t->order + leaf->first, t->gathered, leaf->n);
}

static void subtract_group(struct tr_grower *t, int64_t group,
                           struct sums *restrict from,
                           const struct sums *restrict part)
{
    int first, end;
    group_features(t, group, &first, &end);
    for (int s = t->bins->first_slot[first]; s < t->bins->first_slot[end];
         s++) {
        from[s].g -= part[s].g;
        from[s].hc -= part[s].hc;
    }
}

/* --------------------------------------------------------------- splits -- */

static double soften(double g, double l1)
{
    return l1 == 0 ? g : copysign(fmax(fabs(g) - l1, 0), g);
}

static double score(double g, double h, double l1, double l2)
{
    const double soft = soften(g, l1);
    return h + l2 > 0 ? soft * soft / (h + l2) : 0;
}

/* What a search for the best split of a leaf by one feature looks at. */
struct search {
    const struct tr_grower *t;
    const struct tr_feature *feature;
    const struct sums *slot; /* of the feature's bins, then the missing */
    struct sums all;
    double g, h, least; /* of all; the gain that a split must exceed */
    double l2;
    struct split *best;
};

/* Whether the split is the best so far; sets what it gains. */
static bool rate(const struct search *s, struct sums left, double *gain)
{
    const struct tr_grower *t = s->t;
    const double gl = gradient_of(left), hl = hessian_of(t, left);
    const double gr = s->g - gl, hr = s->h - hl;
    if (hl < t->min_child_weight || hr < t->min_child_weight)
        return false;
    *gain = score(gl, hl, t->l1, s->l2) + score(gr, hr, t->l1, s->l2) -
            s->least;
    return *gain > s->best->gain;
}

/* What rules out most splits without a division: a score that is below the
 * best one so far by more than rounding. L1 makes it only smaller. */
struct bar {
    double g, h, l2, score;
};

static struct bar bar_of(const struct search *s)
{
    return (struct bar){s->g, s->h, s->l2,
                        (s->least + s->best->gain) * (1 - 1e-12)};
}

static inline bool is_below(struct bar bar, double gl, double hl)
{
    const double gr = bar.g - gl, kl = hl + bar.l2;
    const double kr = bar.h - hl + bar.l2;
    return gl * gl * kr + gr * gr * kl <= bar.score * (kl * kr);
}

static void add_bins(struct tr_bin_set *set, int end)
{
    for (int b = 0; b < end; b++)
        tr_bin_set_add(set, (unsigned)b);
}

/* Tries all thresholds, with the missing on one side. */
static void scan_numbers(const struct search *s, bool missing_left)
{
    const int n_bins = s->feature->n_bins;
    const struct sums missing = s->slot[n_bins];
    const int64_t n = count_of(s->t, s->all), n_missing =
        count_of(s->t, missing);
    const int64_t least = s->t->params->min_child_rows;
    /* Only the missing on the right is a split as well. */
    const int end = missing_left || n_missing == 0 ? n_bins - 1 : n_bins;
    const int count_bits = s->t->count_bits;
    const uint64_t count_mask = (UINT64_C(1) << count_bits) - 1;
    struct sums left = missing_left ? missing : (struct sums){0, 0};
    struct bar bar = bar_of(s);
    int best = -1;
    for (int b = 0; b < end; b++) {
        add(&left, s->slot[b]);
        const int64_t n_left = (int64_t)(left.hc & count_mask);
        double gain;
        if (n - n_left < least)
            break;
        if (n_left < least ||
            is_below(bar, (double)left.g,
                     (double)(int64_t)(left.hc >> count_bits)) ||
            !rate(s, left, &gain))
            continue;
        best = b;
        s->best->gain = gain;
        s->best->left = left;
        bar = bar_of(s);
    }
    if (best < 0)
        return;
    s->best->bin = best;
    s->best->left_bins = (struct tr_bin_set){{0}};
    add_bins(&s->best->left_bins, best + 1);
    /* Missing values that training has not seen here go with most rows. */
    const bool most = 2 * count_of(s->t, s->best->left) >= n;
    if (n_missing > 0 ? missing_left : most)
        tr_bin_set_add(&s->best->left_bins, (unsigned)n_bins);
}

/* A category that has rows enough, or the missing as one. */
struct category {
    int bin;
    struct sums sums;
    double order;
};

static int by_order(const void *a, const void *b)
{
    const struct category *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->bin - y->bin;
}

static int list_categories(const struct search *s, struct category *list)
{
    const int n_bins = s->feature->n_bins;
    int n = 0;
    for (int b = 0; b <= n_bins; b++) {
        const struct sums sums = s->slot[b];
        if (b == n_bins - 1 || count_of(s->t, sums) == 0 ||
            count_of(s->t, sums) < s->t->params->min_cat_rows)
            continue;
        const double h = hessian_of(s->t, sums) + s->t->cat_smooth;
        list[n++] = (struct category){
            b, sums, h > 0 ? gradient_of(sums) / h : 0};
    }
    return n;
}

/* Tries to send the first `most` of the list left, one after the other. */
static void scan_categories(const struct search *s,
                            const struct category *list, int step, int most)
{
    const int64_t n = count_of(s->t, s->all);
    const int64_t least = s->t->params->min_child_rows;
    struct sums left = {0, 0};
    struct tr_bin_set set = {{0}};
    for (int i = 0; i < most; i++) {
        const struct category *c = &list[i * step];
        double gain;
        add(&left, c->sums);
        tr_bin_set_add(&set, (unsigned)c->bin);
        const int64_t n_left = count_of(s->t, left);
        if (n_left < least)
            continue;
        if (n - n_left < least)
            break;
        if (!rate(s, left, &gain))
            continue;
        s->best->gain = gain;
        s->best->bin = -1;
        s->best->left = left;
        s->best->left_bins = set;
    }
}

static void search_categories(struct search *s)
{
    const struct tr_params *p = s->t->params;
    struct category list[TR_MAX_BINS + 1];
    const int n = list_categories(s, list);
    if (n <= p->max_cat_to_onehot) {
        for (int i = 0; i < n; i++)
            scan_categories(s, list + i, 1, 1);
        return;
    }
    const int half = (n + 1) / 2;
    const int most = half < p->max_cat_threshold ? half : p->max_cat_threshold;
    s->l2 += s->t->cat_l2;
    qsort(list, (size_t)n, sizeof(*list), by_order);
    scan_categories(s, list, 1, most);
    scan_categories(s, list + n - 1, -1, most);
}

static void search_feature(const struct tr_grower *t, int feature,
                           const struct leaf *leaf,
                           const struct sums *histogram, struct split *best)
{
    struct search s = {
        .t = t, .feature = &t->bins->feature[feature],
        .slot = histogram + t->bins->first_slot[feature], .all = leaf->sums,
        .g = gradient_of(leaf->sums), .h = hessian_of(t, leaf->sums),
        .l2 = t->l2, .best = best};
    const double now = score(s.g, s.h, t->l1, t->l2);
    /* Less than rounding makes is no gain. */
    s.least = now + t->min_gain + now * 1e-13;
    *best = (struct split){0};
    if (s.feature->categorical) {
        search_categories(&s);
        return;
    }
    scan_numbers(&s, false);
    if (count_of(t, s.slot[s.feature->n_bins]) > 0)
        scan_numbers(&s, true);
}

/* Sums, subtracts and searches one group of features for the children. */
static void search_group(void *user, int64_t group, int thread)
{
    struct tr_grower *t = user;
    int first, end, used = 0;
    (void)thread;
    group_features(t, group, &first, &end);
    for (int f = first; f < end; f++)
        used += !t->use || t->use[f];
    if (used == 0)
        return;
    sum_group(t, group, &t->leaf[t->child[t->small]],
              t->histogram[t->small]);
    if (t->child[1] >= 0)
        subtract_group(t, group, t->histogram[!t->small],
                       t->histogram[t->small]);
    for (int f = first; f < end; f++)
        for (int c = 0; c < 2; c++)
            if (t->child[c] >= 0 && (!t->use || t->use[f]))
                search_feature(t, f, &t->leaf[t->child[c]], t->histogram[c],
                               &t->found[2 * f + c]);
}

/* ---------------------------------------------------------------- leaves -- */

static bool can_split(const struct tr_grower *t, const struct leaf *leaf)
{
    const struct tr_params *p = t->params;
    return leaf->n >= 2 * (int64_t)p->min_child_rows && leaf->n >= 2 &&
           (p->max_depth == 0 || leaf->depth < p->max_depth);
}

static void gather(struct tr_grower *t, const struct leaf *leaf)
{
    const int32_t *rows = t->order + leaf->first;
    for (int64_t i = 0; i < leaf->n; i++)
        t->gathered[i] = t->sums[rows[i]];
}

/* Chooses the best of the splits found for child `c`. */
static void choose(struct tr_grower *t, int c)
{
    struct leaf *leaf = &t->leaf[t->child[c]];
    leaf->best.gain = 0;
    for (int f = 0; f < t->bins->n_features; f++) {
        const struct split *found = &t->found[2 * f + c];
        if ((!t->use || t->use[f]) && found->gain > leaf->best.gain) {
            leaf->best = *found;
            leaf->feature = f;
        }
    }
    if (leaf->best.gain > 0)
        tr_queue_push(&t->queue, t->child[c], leaf->best.gain);
}

/* Keeps a searched leaf's histogram for its own split, if there will be one. */
static void keep_histogram(struct tr_grower *t, int c)
{
    struct leaf *leaf = &t->leaf[t->child[c]];
    const int taken = t->n_histograms - t->n_spare;
    if (leaf->best.gain > 0 && taken <= t->max_histograms)
        leaf->histogram = t->histogram[c];
    else
        give_back(t, t->histogram[c]);
}

/* Finds the best splits of leaves a and b, whose parent's histogram it takes
 * over, or of a alone (b -1, no parent). */
static void search_pair(struct tr_grower *t, int a, int b,
                        struct sums *parent)
{
    const int n = b >= 0 ? 2 : 1;
    const int small = b >= 0 && t->leaf[b].n < t->leaf[a].n;
    t->child[0] = a;
    t->child[1] = b;
    t->small = small;
    t->histogram[small] = take_histogram(t);
    t->histogram[!small] = parent;
    const struct leaf *summed = &t->leaf[t->child[small]];
    gather(t, summed);
    const int64_t work = (summed->n + 1024) * t->bins->n_features;
    if (work >= MIN_PARALLEL)
        tr_pool_run(t->pool, t->rows->n_groups, search_group, t);
    else
        for (int64_t g = 0; g < t->rows->n_groups; g++)
            search_group(t, g, 0);
    for (int c = 0; c < n; c++) {
        choose(t, c);
        keep_histogram(t, c);
    }
}

/* Finds the best splits of two new leaves (b -1: of the root). */
static void search_leaves(struct tr_grower *t, int a, int b,
                          struct sums *parent)
{
    const bool can_a = can_split(t, &t->leaf[a]);
    const bool can_b = b >= 0 && can_split(t, &t->leaf[b]);
    if (parent && (can_a || can_b)) {
        search_pair(t, a, b, parent);
        return;
    }
    give_back(t, parent);
    if (can_a)
        search_pair(t, a, -1, NULL);
    if (can_b)
        search_pair(t, b, -1, NULL);
}

/* Parts a leaf's rows, left ones first, in their order; returns how many. */
static int64_t part_rows(struct tr_grower *t, const struct leaf *leaf)
{
    uint8_t is_left[256];
    for (unsigned b = 0; b < 256; b++)
        is_left[b] = tr_bin_set_has(&leaf->best.left_bins, b);
    const uint8_t *code = tr_binned_feature(t->rows, leaf->feature);
    int32_t *rows = t->order + leaf->first, *right = t->room;
    int64_t n_left = 0, n_right = 0;
    for (int64_t i = 0; i < leaf->n; i++) {
        const int32_t r = rows[i];
        const uint8_t left = is_left[code[(int64_t)r * TR_GROUP]];
        rows[n_left] = r;
        right[n_right] = r;
        n_left += left;
        n_right += !left;
    }
    memcpy(rows + n_left, right, (size_t)n_right * sizeof(*rows));
    return n_left;
}

static struct leaf *leaf_at(struct tr_grower *t, int leaf)
{
    if (leaf >= t->capacity) {
        t->capacity = 2 * leaf + 64;
        t->leaf = ir_realloc_array(t->leaf, (size_t)t->capacity,
                                   sizeof(*t->leaf));
    }
    return &t->leaf[leaf];
}

/* As the loss has it; finite, and so that many can be added up. */
static double gain_of(const struct tr_grower *t, double gain)
{
    return fmin(gain * t->g_unit * (t->g_unit / t->h_unit), 1e290);
}

static void split_leaf(struct tr_grower *t, struct tr_tree *tree, int number)
{
    const struct leaf parent = t->leaf[number];
    const struct tr_node node = {
        .feature = parent.feature, .bin = parent.best.bin,
        .left_bins = parent.best.left_bins,
        .gain = gain_of(t, parent.best.gain)};
    const int at = tree->n_nodes;
    const int other = tr_tree_split(tree, number, parent.parent,
                                    parent.on_left, &node);
    const int64_t n_left = part_rows(t, &parent);
    struct leaf *right = leaf_at(t, other), *left = &t->leaf[number];
    *left = (struct leaf){.first = parent.first, .n = n_left,
                          .depth = parent.depth + 1, .parent = at,
                          .on_left = true, .sums = parent.best.left};
    *right = (struct leaf){.first = parent.first + n_left,
                           .n = parent.n - n_left,
                           .depth = parent.depth + 1, .parent = at};
    right->sums.g = parent.sums.g - parent.best.left.g;
    right->sums.hc = parent.sums.hc - parent.best.left.hc;
    search_leaves(t, number, other, parent.histogram);
}

/* ------------------------------------------------------------- a tree -- */

static void start_root(struct tr_grower *t, int64_t n, const int32_t *rows)
{
    struct leaf *root = leaf_at(t, 0);
    *root = (struct leaf){.n = n, .parent = -1};
    memcpy(t->order, rows, (size_t)n * sizeof(*rows));
    for (int64_t i = 0; i < n; i++)
        add(&root->sums, t->sums[rows[i]]);
    t->queue.n = 0;
    search_leaves(t, 0, -1, NULL);
}

void tr_grow(struct tr_grower *t, struct tr_tree *tree, int64_t n,
             const int32_t *rows, const double *g, const double *h,
             const bool *use)
{
    const struct tr_params *p = t->params;
    t->use = use;
    fix_sums(t, n, rows, g, h);
    start_root(t, n, rows);
    while (t->queue.n > 0 &&
           (p->num_leaves == 0 || tree->n_leaves < p->num_leaves))
        split_leaf(t, tree, tr_queue_pop(&t->queue));
    for (int i = 0; i < tree->n_leaves; i++) {
        struct leaf *leaf = &t->leaf[i];
        const double hessian = hessian_of(t, leaf->sums) + t->l2;
        const double step = soften(gradient_of(leaf->sums), t->l1);
        tree->value[i] =
            hessian > 0 ? -step / hessian * (t->g_unit / t->h_unit) : 0;
        tree->cover[i] = (double)leaf->n;
        give_back(t, leaf->histogram);
        leaf->histogram = NULL;
    }
}

const int32_t *tr_grower_rows(const struct tr_grower *t, int leaf, int64_t *n)
{
    *n = t->leaf[leaf].n;
    return t->order + t->leaf[leaf].first;
}

struct tr_grower *tr_grower_new(const struct tr_bins *bins,
                                const struct tr_binned *rows,
                                const struct tr_params *params,
                                struct tr_pool *pool)
{
    struct tr_grower *t = ir_realloc_array(NULL, 1, sizeof(*t));
    *t = (struct tr_grower){.bins = bins, .rows = rows, .params = params,
                            .pool = pool};
    const size_t n = (size_t)rows->n_rows + 1;
    const int64_t bytes =
        ((int64_t)bins->first_slot[bins->n_features] + 1) *
        (int64_t)sizeof(struct sums);
    const int64_t most = MAX_HISTOGRAM_BYTES / bytes;
    t->max_histograms = most > INT32_MAX ? INT32_MAX : (int)most;
    t->sums = ir_realloc_array(NULL, n, sizeof(*t->sums));
    t->gathered = ir_realloc_array(NULL, n, sizeof(*t->gathered));
    t->order = ir_realloc_array(NULL, n, sizeof(*t->order));
    t->room = ir_realloc_array(NULL, n, sizeof(*t->room));
    t->found = ir_realloc_array(NULL, 2 * (size_t)bins->n_features + 1,
                                sizeof(*t->found));
    return t;
}

void tr_grower_free(struct tr_grower *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_spare; i++)
        free(t->spare[i]);
    free(t->spare);
    free(t->sums);
    free(t->gathered);
    free(t->order);
    free(t->room);
    free(t->leaf);
    tr_queue_release(&t->queue);
    free(t->found);
    free(t);
}

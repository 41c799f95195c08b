/* cart.c: decision trees that lessen impurity (Breiman et al. 1984), and
 * forests of them (Breiman 2001): the learners `tree` and `forest`.
 *
 * A node's rows are ordered by their bin of a feature, then moved from right
 * to left one by one; both sides' impurity follows in constant time a row,
 * whatever the number of classes. A leaf's value is the mean of its rows, the
 * median for regression_l1, or the share of each class.
 *
 * A tree is one thread's work; a forest's trees are shared among threads. A
 * row that is drawn twice is there twice.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum impurity { VARIANCE, GINI, ENTROPY };

/* One side of a split. */
struct side {
    double weight;
    double sum;       /* VARIANCE: of weight times target */
    double score;     /* GINI: the sum over classes of squared weights;
                         ENTROPY: of weight times its logarithm */
    double *of_class; /* weights */
};

struct split {
    double gain; /* 0: there is none */
    int feature, bin;
    struct tr_bin_set left_bins;
};

struct node_rows {
    int64_t first, n; /* of order */
    int depth, parent;
    bool on_left;
    struct split best;
};

/* What a thread needs to grow a tree. */
struct cart {
    const struct tr_fit_job *job;
    enum impurity impurity;
    double center;  /* of targets: less of it cancels */
    uint64_t seed, drawn;
    int n_features; /* tried at a split */
    int *feature;   /* all, in an order that changes with each draw */
    int64_t n;
    int32_t *order, *by_bin; /* rows by leaf; those of a node by bin */
    struct side left, right;
    struct node_rows *leaf;
    int capacity;
    struct tr_queue queue;
};

/* ---------------------------------------------------------------- sides -- */

static double target(const struct cart *c, int32_t row)
{
    return c->job->train.target[row];
}

static double weight(const struct cart *c, int32_t row)
{
    return c->job->train.weight ? c->job->train.weight[row] : 1;
}

static double times_log(double w)
{
    return w > 0 ? w * log(w) : 0;
}

/* Adds a row to a side, or takes it away with sign -1. */
static void move(const struct cart *c, struct side *side, int32_t row,
                 double sign)
{
    const double w = sign * weight(c, row), y = target(c, row);
    side->weight += w;
    if (c->impurity == VARIANCE) {
        side->sum += w * (y - c->center);
        return;
    }
    double *of_class = &side->of_class[(int)y];
    const double before = *of_class;
    *of_class += w;
    side->score += c->impurity == GINI
                       ? w * (before + *of_class)
                       : times_log(*of_class) - times_log(before);
}

static void clear_side(const struct cart *c, struct side *side)
{
    side->weight = side->sum = side->score = 0;
    if (c->job->n_classes > 0)
        memset(side->of_class, 0,
               (size_t)c->job->n_classes * sizeof(double));
}

/* Larger for purer rows: the split that raises it most lowers impurity most. */
static double purity(const struct cart *c, const struct side *side)
{
    if (side->weight <= 0)
        return 0;
    if (c->impurity == VARIANCE)
        return side->sum * side->sum / side->weight;
    return c->impurity == GINI ? side->score / side->weight
                               : side->score - times_log(side->weight);
}

/* --------------------------------------------------------------- a scan -- */

/* A node's rows in the order of a feature's bins; bin b's are
 * [start[b], start[b + 1]) of by_bin, the missing last. */
struct scan {
    struct cart *c;
    const struct node_rows *node;
    const struct tr_feature *feature;
    int number;
    int32_t start[TR_MAX_BINS + 3];
    double before; /* the node's own purity */
    struct split *best;
};

static int64_t rows_of(const struct scan *s, int bin)
{
    return s->start[bin + 1] - s->start[bin];
}

static void order_rows(struct scan *s)
{
    struct cart *c = s->c;
    const uint8_t *code = tr_binned_feature(&c->job->train.bins, s->number);
    const int32_t *rows = c->order + s->node->first;
    const int n_slots = s->feature->n_bins + 1;
    memset(s->start, 0, sizeof(s->start));
    for (int64_t i = 0; i < s->node->n; i++)
        s->start[code[(int64_t)rows[i] * TR_GROUP] + 2]++;
    for (int b = 2; b <= n_slots; b++)
        s->start[b] += s->start[b - 1];
    /* start[b + 1] is where the next row of bin b goes. */
    for (int64_t i = 0; i < s->node->n; i++) {
        const uint8_t bin = code[(int64_t)rows[i] * TR_GROUP];
        c->by_bin[s->start[bin + 1]++] = rows[i];
    }
}

static void begin_sides(struct scan *s)
{
    struct cart *c = s->c;
    clear_side(c, &c->left);
    clear_side(c, &c->right);
    for (int64_t i = 0; i < s->node->n; i++)
        move(c, &c->right, c->by_bin[i], 1);
}

static void move_bin(struct scan *s, int bin)
{
    for (int32_t i = s->start[bin]; i < s->start[bin + 1]; i++) {
        move(s->c, &s->c->right, s->c->by_bin[i], -1);
        move(s->c, &s->c->left, s->c->by_bin[i], 1);
    }
}

/* Whether the sides as they are make the best split so far; sets its gain. */
static bool is_best(struct scan *s, int64_t n_left)
{
    const struct tr_params *p = s->c->job->params;
    if (n_left < p->min_child_rows ||
        s->node->n - n_left < p->min_child_rows)
        return false;
    const double gain = purity(s->c, &s->c->left) +
                        purity(s->c, &s->c->right) - s->before;
    const double noise = 1e-12 * fabs(s->before);
    if (!(gain > s->best->gain && gain > p->min_gain && gain > noise))
        return false;
    s->best->gain = gain;
    s->best->feature = s->number;
    return true;
}

static void scan_numbers(struct scan *s, bool missing_left)
{
    const int n_bins = s->feature->n_bins;
    const int64_t n_missing = rows_of(s, n_bins);
    const int end = missing_left || n_missing == 0 ? n_bins - 1 : n_bins;
    int64_t n_left = missing_left ? n_missing : 0, best_left = 0;
    int best = -1;
    begin_sides(s);
    if (missing_left)
        move_bin(s, n_bins);
    for (int b = 0; b < end; b++) {
        if (rows_of(s, b) == 0)
            continue;
        move_bin(s, b);
        n_left += rows_of(s, b);
        if (is_best(s, n_left)) {
            best = b;
            best_left = n_left;
        }
    }
    if (best < 0)
        return;
    s->best->bin = best;
    s->best->left_bins = (struct tr_bin_set){{0}};
    for (int b = 0; b <= best; b++)
        tr_bin_set_add(&s->best->left_bins, (unsigned)b);
    /* Missing values that training has not seen here go with most rows. */
    if (n_missing > 0 ? missing_left : 2 * best_left >= s->node->n)
        tr_bin_set_add(&s->best->left_bins, (unsigned)n_bins);
}

struct category {
    int bin;
    double order;
};

static int by_order(const void *a, const void *b)
{
    const struct category *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->bin - y->bin;
}

/* The class that most of the node's weight has. */
static int main_class(const struct cart *c)
{
    int best = 0;
    for (int k = 1; k < c->job->n_classes; k++)
        if (c->right.of_class[k] > c->right.of_class[best])
            best = k;
    return best;
}

/* The categories that have rows enough, by their mean target or their share of
 * the main class; the missing are one of them. */
static int list_categories(struct scan *s, struct category *list)
{
    struct cart *c = s->c;
    const int n_bins = s->feature->n_bins, least = c->job->params->min_cat_rows;
    int n = 0;
    begin_sides(s);
    const int main = c->impurity == VARIANCE ? 0 : main_class(c);
    for (int b = 0; b <= n_bins; b++) {
        if (b == n_bins - 1 || rows_of(s, b) == 0 || rows_of(s, b) < least)
            continue;
        double sum = 0, all = 0;
        for (int32_t i = s->start[b]; i < s->start[b + 1]; i++) {
            const int32_t r = c->by_bin[i];
            sum += weight(c, r) * (c->impurity == VARIANCE
                                       ? target(c, r) : target(c, r) == main);
            all += weight(c, r);
        }
        list[n++] = (struct category){b, sum / all};
    }
    return n;
}

static void try_categories(struct scan *s, const struct category *list,
                           int step, int most)
{
    struct tr_bin_set set = {{0}};
    int64_t n_left = 0;
    begin_sides(s);
    for (int i = 0; i < most; i++) {
        const int bin = list[i * step].bin;
        move_bin(s, bin);
        n_left += rows_of(s, bin);
        tr_bin_set_add(&set, (unsigned)bin);
        if (is_best(s, n_left)) {
            s->best->bin = -1;
            s->best->left_bins = set;
        }
    }
}

static void scan_categories(struct scan *s)
{
    const struct tr_params *p = s->c->job->params;
    struct category list[TR_MAX_BINS + 1];
    const int n = list_categories(s, list);
    if (n <= p->max_cat_to_onehot) {
        for (int i = 0; i < n; i++)
            try_categories(s, list + i, 1, 1);
        return;
    }
    const int half = (n + 1) / 2;
    const int most = half < p->max_cat_threshold ? half : p->max_cat_threshold;
    qsort(list, (size_t)n, sizeof(*list), by_order);
    try_categories(s, list, 1, most);
    try_categories(s, list + n - 1, -1, most);
}

/* --------------------------------------------------------------- a node -- */

static void try_feature(struct cart *c, struct node_rows *node, int number)
{
    struct scan s = {.c = c, .node = node, .number = number,
                     .feature = &c->job->bins.feature[number],
                     .best = &node->best};
    order_rows(&s);
    begin_sides(&s);
    s.before = purity(c, &c->right);
    if (s.feature->categorical) {
        scan_categories(&s);
        return;
    }
    scan_numbers(&s, false);
    if (rows_of(&s, s.feature->n_bins) > 0)
        scan_numbers(&s, true);
}

/* Draws features one by one, as many as are to be tried, and on until there is
 * a split. */
static void search(struct cart *c, struct node_rows *node)
{
    const struct tr_params *p = c->job->params;
    const int n = c->job->bins.n_features;
    node->best.gain = 0;
    if (node->n < 2 || node->n < 2 * (int64_t)p->min_child_rows ||
        (p->max_depth > 0 && node->depth >= p->max_depth))
        return;
    for (int i = 0; i < n; i++) {
        if (i >= c->n_features && node->best.gain > 0)
            return;
        if (c->n_features < n) {
            const uint64_t r = ir_random(c->seed, c->drawn++);
            const int j = i + (int)(r % (uint64_t)(n - i));
            const int other = c->feature[j];
            c->feature[j] = c->feature[i];
            c->feature[i] = other;
        }
        try_feature(c, node, c->feature[i]);
    }
}

static void part_rows(struct cart *c, const struct node_rows *node,
                      int64_t *n_left)
{
    const uint8_t *code =
        tr_binned_feature(&c->job->train.bins, node->best.feature);
    int32_t *rows = c->order + node->first;
    int64_t left = 0, right = 0;
    for (int64_t i = 0; i < node->n; i++) {
        const int32_t r = rows[i];
        if (tr_bin_set_has(&node->best.left_bins,
                           code[(int64_t)r * TR_GROUP]))
            rows[left++] = r;
        else
            c->by_bin[right++] = r;
    }
    memcpy(rows + left, c->by_bin, (size_t)right * sizeof(*rows));
    *n_left = left;
}

/* -------------------------------------------------------------- a tree -- */

static void add_leaf(struct cart *c, int number, struct node_rows leaf)
{
    if (number >= c->capacity) {
        c->capacity = 2 * number + 64;
        c->leaf = ir_realloc_array(c->leaf, (size_t)c->capacity,
                                   sizeof(*c->leaf));
    }
    c->leaf[number] = leaf;
    search(c, &c->leaf[number]);
    if (c->leaf[number].best.gain > 0)
        tr_queue_push(&c->queue, number, c->leaf[number].best.gain);
}

static void split_leaf(struct cart *c, struct tr_tree *tree, int number)
{
    const struct node_rows was = c->leaf[number];
    const struct tr_node node = {
        .feature = was.best.feature, .bin = was.best.bin,
        .left_bins = was.best.left_bins, .gain = was.best.gain};
    const int at = tree->n_nodes;
    const int other =
        tr_tree_split(tree, number, was.parent, was.on_left, &node);
    int64_t n_left;
    part_rows(c, &was, &n_left);
    add_leaf(c, number, (struct node_rows){
        .first = was.first, .n = n_left, .depth = was.depth + 1,
        .parent = at, .on_left = true});
    add_leaf(c, other, (struct node_rows){
        .first = was.first + n_left, .n = was.n - n_left,
        .depth = was.depth + 1, .parent = at});
}

static void set_value(struct cart *c, const struct node_rows *leaf,
                      double *value, int n_values)
{
    const struct tr_rows *rows = &c->job->train;
    const int32_t *in = c->order + leaf->first;
    double all = 0;
    if (c->job->objective->renew) {
        *value = c->job->objective->renew(rows, NULL, in, leaf->n);
        return;
    }
    for (int64_t i = 0; i < leaf->n; i++) {
        const double w = weight(c, in[i]), y = target(c, in[i]);
        if (n_values > 1)
            value[(int)y] += w;
        else
            *value += w * y; /* the class is 0 or 1 */
        all += w;
    }
    for (int k = 0; k < n_values; k++)
        value[k] /= all;
}

static void grow_tree(struct cart *c, struct tr_tree *tree)
{
    const struct tr_params *p = c->job->params;
    c->queue.n = 0;
    add_leaf(c, 0, (struct node_rows){.n = c->n, .parent = -1});
    while (c->queue.n > 0 &&
           (p->num_leaves == 0 || tree->n_leaves < p->num_leaves))
        split_leaf(c, tree, tr_queue_pop(&c->queue));
    for (int i = 0; i < tree->n_leaves; i++) {
        set_value(c, &c->leaf[i], tree->value + (int64_t)i * tree->n_values,
                  tree->n_values);
        tree->cover[i] = (double)c->leaf[i].n;
    }
}

static void cart_init(struct cart *c, const struct tr_fit_job *job)
{
    const struct tr_params *p = job->params;
    const int n_features = job->bins.n_features;
    const size_t n = (size_t)job->train.n + 1;
    const size_t n_classes = (size_t)job->n_classes + 1;
    *c = (struct cart){.job = job, .n = job->train.n};
    c->impurity = job->task == TR_REGRESSION       ? VARIANCE
                  : !strcmp(p->criterion, "gini") ? GINI
                                                   : ENTROPY;
    if (c->impurity == VARIANCE)
        tr_objective_find("regression")->start(&job->train, 1, &c->center);
    const double some = p->feature_fraction > 0
                            ? p->feature_fraction * n_features
                            : sqrt(n_features);
    c->n_features = some < 1 ? 1 : (int)(some + 0.5);
    c->feature = ir_realloc_array(NULL, (size_t)n_features + 1, sizeof(int));
    c->order = ir_realloc_array(NULL, n, sizeof(*c->order));
    c->by_bin = ir_realloc_array(NULL, n, sizeof(*c->by_bin));
    c->left.of_class = ir_realloc_array(NULL, n_classes, sizeof(double));
    c->right.of_class = ir_realloc_array(NULL, n_classes, sizeof(double));
}

static void cart_release(struct cart *c)
{
    free(c->feature);
    free(c->order);
    free(c->by_bin);
    free(c->left.of_class);
    free(c->right.of_class);
    free(c->leaf);
    tr_queue_release(&c->queue);
}

/* The start of tree `number`: its own stream of numbers. */
static void seed_tree(struct cart *c, int number)
{
    c->seed = tr_draw(c->job->params, TR_DRAW_FEATURES, (uint64_t)number);
    c->drawn = 0;
    for (int i = 0; i < c->job->bins.n_features; i++)
        c->feature[i] = i;
}

/* ------------------------------------------------------------- a forest -- */

struct forest {
    struct tr_fit_job *job;
    struct cart *cart; /* [threads] */
    int first;         /* tree of the batch */
    int64_t n_sample;
};

/* With replacement: how often each row is drawn, then the rows in order. */
static void bootstrap(struct cart *c, int number, int64_t n_sample)
{
    const int64_t n = c->job->train.n;
    memset(c->by_bin, 0, (size_t)n * sizeof(*c->by_bin));
    for (int64_t i = 0; i < n_sample; i++) {
        const uint64_t r = tr_draw(c->job->params, TR_DRAW_ROWS,
                                   (uint64_t)number * (uint64_t)n +
                                       (uint64_t)i);
        c->by_bin[r % (uint64_t)n]++;
    }
    int64_t at = 0;
    for (int64_t row = 0; row < n; row++)
        for (int32_t k = c->by_bin[row]; k > 0; k--)
            c->order[at++] = (int32_t)row;
}

static void grow_one(void *user, int64_t i, int thread)
{
    const struct forest *f = user;
    const struct tr_params *p = f->job->params;
    struct cart *c = &f->cart[thread];
    const int number = f->first + (int)i;
    seed_tree(c, number);
    c->n = f->n_sample;
    if (p->bootstrap)
        bootstrap(c, number, f->n_sample);
    else
        tr_draw_some(p, TR_DRAW_ROWS,
                     (uint64_t)number * (uint64_t)f->job->train.n,
                     f->job->train.n, f->n_sample, c->order);
    grow_tree(c, &f->job->tree[number]);
}

/* Adds a tree's values to the sums of `rows`. */
static void add_tree(const struct tr_tree *tree, const struct tr_rows *rows,
                     double *sums)
{
    for (int64_t i = 0; i < rows->n; i++) {
        int32_t leaf;
        tr_tree_leaves(tree, &rows->bins, i, 1, &leaf);
        for (int k = 0; k < tree->n_values; k++)
            sums[i * tree->n_values + k] +=
                tree->value[(int64_t)leaf * tree->n_values + k];
    }
}

/* The metric of the mean over the job's trees. */
static double score(const struct tr_fit_job *job, const struct tr_rows *rows)
{
    const size_t n = (size_t)rows->n * (size_t)job->n_outputs;
    double *sums = ir_realloc_array(NULL, n + 1, sizeof(double));
    memset(sums, 0, n * sizeof(double));
    for (int t = 0; t < job->n_trees; t++)
        add_tree(&job->tree[t], rows, sums);
    for (size_t i = 0; i < n; i++)
        sums[i] /= job->divisor;
    const double metric = tr_job_score(job, rows, sums);
    free(sums);
    return metric;
}

static void finish(struct tr_fit_job *job)
{
    struct tr_report *report = job->report;
    const int last = report->n_rounds - 1;
    job->divisor = job->n_trees;
    report->best_round = report->n_rounds;
    report->train_metric[last] = score(job, &job->train);
    report->valid_metric[last] = score(job, &job->valid);
}

bool tr_fit_tree(struct tr_fit_job *job, struct ir_diag *diag)
{
    struct cart c;
    (void)diag;
    cart_init(&c, job);
    seed_tree(&c, 0);
    for (int64_t i = 0; i < job->train.n; i++)
        c.order[i] = (int32_t)i;
    grow_tree(&c, tr_job_tree(job, job->n_outputs));
    cart_release(&c);
    tr_job_round(job, 1, NAN, NAN);
    finish(job);
    return true;
}

bool tr_fit_forest(struct tr_fit_job *job, struct ir_diag *diag)
{
    const struct tr_params *p = job->params;
    const int n_threads = tr_pool_threads(job->pool);
    struct forest f = {.job = job};
    const double part = p->bagging_fraction * (double)job->train.n + 0.5;
    (void)diag;
    f.n_sample = part < 1 ? 1 : (int64_t)part;
    f.cart = ir_realloc_array(NULL, (size_t)n_threads, sizeof(*f.cart));
    for (int i = 0; i < n_threads; i++)
        cart_init(&f.cart[i], job);
    bool more = true;
    for (; more && f.first < p->rounds; f.first = job->n_trees) {
        const int left = p->rounds - f.first, batch = 4 * n_threads;
        const int n = left < batch ? left : batch;
        for (int i = 0; i < n; i++)
            tr_job_tree(job, job->n_outputs);
        tr_pool_run(job->pool, n, grow_one, &f);
        for (int i = 0; i < n; i++)
            more = tr_job_round(job, p->rounds, NAN, NAN) && more;
    }
    for (int i = 0; i < n_threads; i++)
        cart_release(&f.cart[i]);
    free(f.cart);
    finish(job);
    return true;
}

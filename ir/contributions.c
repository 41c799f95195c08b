/* contributions.c: the op contributions: each feature's part in a forest's
 * margins, as path-dependent TreeSHAP defines it (Lundberg, Erion and Lee,
 * "Consistent individualized feature attribution for tree ensembles", 2018).
 *
 * Where a row does not have some of the features, it goes both ways at tests of
 * them, in proportion to the training data that did. The part of a feature is
 * its Shapley value in that game. For one leaf of value v, on whose path
 * feature i keeps the share z_i of the data, and the row stays (o_i = 1) or
 * leaves (o_i = 0), that is
 *
 *   v * (o_i - z_i) * integral from 0 to 1 of
 *       prod over j != i of (o_j * t + z_j * (1 - t)) dt,
 *
 * a polynomial in t, which a quadrature rule integrates exactly. So a path of d
 * features costs d * d / 2 products of positive numbers, and no cancellation.
 */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- paths */

/* A walk through the leaves of a tree, which knows the way to where it is. */
struct walk {
    const struct ir_forest *f;
    int tree;
    int32_t *node; /* by depth: from the root to here */
    bool *left;    /* which side was taken there */
    int depth;
};

/* Returns the nodes of the largest tree: depth is never more. */
static int walk_new(struct walk *w, const struct ir_forest *f,
                    struct ir_arena *arena)
{
    int most = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int n = f->tree_start[t + 1] - f->tree_start[t];
        most = n > most ? n : most;
    }
    *w = (struct walk){.f = f};
    w->node = ir_alloc_array(arena, (size_t)most, sizeof(*w->node));
    w->left = ir_alloc_array(arena, (size_t)most, sizeof(*w->left));
    return most;
}

static int32_t child(const struct walk *w)
{
    const int64_t at =
        w->f->tree_start[w->tree] + (int64_t)w->node[w->depth - 1];
    return w->left[w->depth - 1] ? w->f->left[at] : w->f->right[at];
}

/* Down to the left until there is a leaf; its number in the tree. */
static int32_t descend(struct walk *w, int32_t at)
{
    for (; at >= 0; at = child(w)) {
        w->node[w->depth] = at;
        w->left[w->depth++] = true;
    }
    return ~at;
}

static int32_t first_leaf(struct walk *w, int tree)
{
    const struct ir_forest *f = w->f;
    w->tree = tree;
    w->depth = 0;
    return descend(w, f->tree_start[tree] == f->tree_start[tree + 1] ? ~0 : 0);
}

/* The leaf to the right of the last one, or -1. */
static int32_t next_leaf(struct walk *w)
{
    while (w->depth > 0 && !w->left[w->depth - 1])
        w->depth--;
    if (w->depth == 0)
        return -1;
    w->left[w->depth - 1] = false;
    return descend(w, child(w));
}

/* Of the data that comes to the node at `depth`, the part that goes the way
 * that is walked. */
static double share_at(const struct walk *w, int depth)
{
    const struct ir_forest *f = w->f;
    const int64_t first = f->tree_start[w->tree];
    const int64_t at = first + w->node[depth];
    const int32_t to = w->left[depth] ? f->left[at] : f->right[at];
    const int64_t next = to >= 0 ? first + to
                                 : (int64_t)f->n_nodes +
                                       f->leaf_start[w->tree] + ~to;
    const double all = ir_real(f->cover, f->cover_dtype, (size_t)at);
    const double part = ir_real(f->cover, f->cover_dtype, (size_t)next);
    return all > 0 ? part / all : 0;
}

static int32_t feature_at(const struct walk *w, int depth)
{
    return w->f->feature[w->f->tree_start[w->tree] + w->node[depth]];
}

/* How long the paths are, before there is memory for them. */
struct lengths {
    int64_t steps; /* of all */
    int most;      /* features of one */
};

/* Features on the way to here; marks[feature] is the last path that had it. */
static int count_features(const struct walk *w, int64_t *marks, int64_t path)
{
    int n = 0;
    for (int i = 0; i < w->depth; i++) {
        int64_t *mark = &marks[feature_at(w, i)];
        n += *mark != path;
        *mark = path;
    }
    return n;
}

static struct lengths measure(const struct ir_forest *f)
{
    struct lengths lengths = {0};
    struct ir_arena scratch;
    struct walk w;
    int64_t path = 0;
    ir_arena_init(&scratch);
    int64_t *marks =
        ir_alloc_array(&scratch, (size_t)f->n_features, sizeof(*marks));
    walk_new(&w, f, &scratch);
    for (int t = 0; t < f->n_trees; t++)
        for (int32_t leaf = first_leaf(&w, t);
             leaf >= 0 && lengths.steps <= IR_MAX_PATH_STEPS;
             leaf = next_leaf(&w)) {
            const int n = count_features(&w, marks, ++path);
            lengths.steps += w.depth;
            lengths.most = n > lengths.most ? n : lengths.most;
        }
    ir_arena_release(&scratch);
    return lengths;
}

/* What paths are gathered with. */
struct gatherer {
    struct walk walk;
    struct ir_paths *paths;
    int32_t *head; /* by feature: the first test of it on this way, or -1 */
    int32_t *next; /* by depth: the next test of the same feature, or -1 */
};

/* The element of the feature that the way tests first at `depth`. */
static void add_element(struct gatherer *g, int depth)
{
    const struct walk *w = &g->walk;
    struct ir_paths *p = g->paths;
    const int64_t i = p->n_elements++;
    p->feature[i] = feature_at(w, depth);
    p->share[i] = 1;
    for (int32_t at = depth; at >= 0; at = g->next[at]) {
        p->share[i] *= share_at(w, at);
        p->step[p->n_steps++] = w->node[at] * 2 + w->left[at];
    }
    p->step_start[i + 1] = (int32_t)p->n_steps;
}

/* The path that the walk is on, to leaf `leaf` of its tree. */
static void add_path(struct gatherer *g, int32_t leaf)
{
    const struct walk *w = &g->walk;
    const struct ir_forest *f = w->f;
    struct ir_paths *p = g->paths;
    const int64_t first = p->n_elements;
    double share = 1;
    for (int i = w->depth; i-- > 0;) {
        int32_t *head = &g->head[feature_at(w, i)];
        g->next[i] = *head;
        *head = i;
    }
    for (int i = 0; i < w->depth; i++)
        if (g->head[feature_at(w, i)] == i)
            add_element(g, i);
    for (int i = 0; i < w->depth; i++)
        g->head[feature_at(w, i)] = -1;
    for (int64_t i = first; i < p->n_elements; i++)
        share *= p->share[i];
    const int64_t at = (int64_t)f->leaf_start[w->tree] + leaf;
    for (int k = 0; k < f->leaf_width; k++)
        p->expected[f->target[w->tree] + k] +=
            share * ir_leaf_value(f, at, k);
    if (w->depth == 0)
        return;
    p->leaf[p->n_paths++] = (int32_t)at;
    p->first[p->n_paths] = (int32_t)p->n_elements;
    if (p->n_elements - first > p->longest)
        p->longest = (int)(p->n_elements - first);
}

static void take_memory(struct gatherer *g, const struct ir_forest *f,
                        struct ir_arena *arena)
{
    struct ir_paths *p = g->paths;
    const size_t steps = (size_t)measure(f).steps;
    const size_t leaves = (size_t)f->n_leaves;
    p->path_start =
        ir_alloc_array(arena, (size_t)f->n_trees + 1, sizeof(*p->path_start));
    p->leaf = ir_alloc_array(arena, leaves, sizeof(*p->leaf));
    p->first = ir_alloc_array(arena, leaves + 1, sizeof(*p->first));
    p->feature = ir_alloc_array(arena, steps, sizeof(*p->feature));
    p->share = ir_alloc_array(arena, steps, sizeof(*p->share));
    p->step_start =
        ir_alloc_array(arena, steps + 1, sizeof(*p->step_start));
    p->step = ir_alloc_array(arena, steps, sizeof(*p->step));
    p->expected =
        ir_alloc_array(arena, (size_t)f->n_targets, sizeof(*p->expected));
    g->head =
        ir_alloc_array(arena, (size_t)f->n_features, sizeof(*g->head));
    p->most_nodes = walk_new(&g->walk, f, arena);
    g->next = ir_alloc_array(arena, (size_t)p->most_nodes, sizeof(*g->next));
}

void ir_paths_make(const struct ir_op *op, struct ir_paths *paths,
                   struct ir_arena *arena)
{
    struct gatherer g = {.paths = paths};
    struct ir_forest f;
    ir_forest_view(op, &f);
    *paths = (struct ir_paths){0};
    take_memory(&g, &f, arena);
    for (int i = 0; i < f.n_features; i++)
        g.head[i] = -1;
    for (int k = 0; k < f.n_targets; k++)
        paths->expected[k] = ir_real(f.base, f.sum_dtype, (size_t)k);
    for (int t = 0; t < f.n_trees; t++) {
        paths->path_start[t] = paths->n_paths;
        for (int32_t leaf = first_leaf(&g.walk, t); leaf >= 0;
             leaf = next_leaf(&g.walk))
            add_path(&g, leaf);
    }
    paths->path_start[f.n_trees] = paths->n_paths;
    for (int k = 0; k < f.n_targets; k++)
        paths->expected[k] /= f.divisor;
}

/* -------------------------------------------------------------- quadrature */

/* cos of x in [0, pi], near enough for Newton's method to start from, and the
 * same bits on every machine. */
static double cosine(double x)
{
    double sum = 0, term = 1;
    for (int i = 1; i < 40; i += 2) {
        sum += term;
        term *= -x * x / (i * (i + 1));
    }
    return sum;
}

/* Legendre's polynomial of degree n at x, and its derivative. */
static double legendre(int n, double x, double *slope)
{
    double p = x, before = 1;
    for (int k = 2; k <= n; k++) {
        const double next = ((2 * k - 1) * x * p - (k - 1) * before) / k;
        before = p;
        p = next;
    }
    *slope = n * (x * p - before) / (x * x - 1);
    return p;
}

static void make_rule(int points, double *rule)
{
    double *point = rule, *rest = rule + points, *weight = rule + 2 * points;
    double *inverse = rule + 3 * points;
    for (int i = 0; i < points; i++) {
        double slope, x = cosine(0x1.921fb54442d18p+1 * (i + 0.75) /
                                 (points + 0.5));
        for (int k = 0; k < 8; k++) {
            const double p = legendre(points, x, &slope);
            x -= p / slope;
        }
        legendre(points, x, &slope);
        point[i] = (1 + x) / 2;
        rest[i] = (1 - x) / 2;
        weight[i] = 1 / ((1 - x * x) * slope * slope);
        inverse[i] = 1 / rest[i];
    }
}

double ir_rule_inverse(double share, double point, double rest)
{
    return 1 / (point + share * rest);
}

int64_t ir_rule_start(int blocks)
{
    return (int64_t)8 * blocks * (blocks - 1);
}

const double *ir_rules(const struct ir_paths *paths, struct ir_arena *arena)
{
    const int most = (paths->longest + 7) / 8;
    double *rules = ir_alloc_array(
        arena, (size_t)ir_rule_start(most + 1), sizeof(*rules));
    for (int blocks = 1; blocks <= most; blocks++)
        make_rule(4 * blocks, rules + ir_rule_start(blocks));
    return rules;
}

/* ---------------------------------------------------------------------- op */

bool ir_infer_contributions(const struct ir_module *module, struct ir_op *op,
                            struct ir_diag *diag)
{
    (void)module;
    if (!ir_check_forest(op, diag))
        return false;
    const int64_t targets = ir_attr_tensor(op, "base")->type.dim[0];
    const int64_t n = ir_type_volume(&op->operand[0]->type) + 1;
    if (n * targets > IR_MAX_ELEMENTS)
        return ir_op_error(op, diag, "%lld features and %lld targets are more "
                           "than %d elements", (long long)n - 1,
                           (long long)targets, IR_MAX_ELEMENTS);
    op->result[0].type = ir_type_vector(IR_F64, n * targets);
    return true;
}

bool ir_verify_contributions(const struct ir_module *module,
                             const struct ir_op *op, struct ir_diag *diag)
{
    struct ir_forest f;
    if (!ir_find_attr(op, "cover"))
        return ir_op_error(op, diag, "there is no cover");
    if (ir_find_attr(op, "coef_start"))
        return ir_op_error(op, diag, "linear leaves have none");
    if (!ir_verify_trees(module, op, diag))
        return false;
    ir_forest_view(op, &f);
    const struct lengths lengths = measure(&f);
    if (lengths.steps > IR_MAX_PATH_STEPS)
        return ir_op_error(op, diag, "the paths to all leaves have more than "
                           "%d nodes", IR_MAX_PATH_STEPS);
    return lengths.most <= IR_MAX_PATH ||
           ir_op_error(op, diag, "a path tests %d features (at most %d are "
                       "allowed)", lengths.most, IR_MAX_PATH);
}

/* Four numbers that were summed side by side. */
static double fold(const double sum[4])
{
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* The part that each of the n elements has in the path's leaf, as a multiple of
 * its value; on[i]: the row stays on the path at element i. */
static void share_out(const double *share, const bool *on, int n,
                      const double *rule, double *part)
{
    const int points = 4 * ((n + 7) / 8);
    const double *point = rule, *rest = rule + points;
    const double *weight = rule + 2 * points, *inverse = rule + 3 * points;
    double off[4] = {0}, (*sum)[4] = ir_realloc_array(NULL, n, sizeof *sum);
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int q = 0; q < points; q++) {
        double p = weight[q];
        for (int i = 0; i < n; i++) {
            const double apart = share[i] * rest[q];
            p *= on[i] ? point[q] + apart : apart;
        }
        off[q % 4] += p * inverse[q];
        for (int i = 0; i < n; i++)
            if (on[i])
                sum[i][q % 4] +=
                    p * ir_rule_inverse(share[i], point[q], rest[q]);
    }
    for (int i = 0; i < n; i++)
        part[i] = on[i] ? (1 - share[i]) * fold(sum[i]) : -fold(off);
    free(sum);
}

/* What the leaf at the end of path number `path`, of tree t, adds to the row's
 * contributions; left[node]: the row goes left there. */
static void add_parts(const struct ir_forest *f, const struct ir_paths *p,
                      int t, int path, const bool *left, const double *rules,
                      double *out)
{
    const int first = p->first[path], n = p->first[path + 1] - first;
    const int blocks = (n + 7) / 8;
    bool on[IR_MAX_PATH];
    double part[IR_MAX_PATH];
    for (int i = 0; i < n; i++) {
        on[i] = true;
        for (int s = p->step_start[first + i]; s < p->step_start[first + i + 1];
             s++)
            on[i] = on[i] && left[p->step[s] / 2] == p->step[s] % 2;
    }
    share_out(p->share + first, on, n, rules + ir_rule_start(blocks), part);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < f->leaf_width; k++)
            out[(f->target[t] + (int64_t)k) * (f->n_features + 1) +
                p->feature[first + i]] +=
                part[i] * ir_leaf_value(f, p->leaf[path], k);
}

void ir_eval_contributions(struct ir_eval_context *c, const struct ir_op *op)
{
    const void *x = ir_eval_data(c, op->operand[0]);
    double *out = ir_eval_data(c, &op->result[0]);
    const int64_t n = ir_type_volume(&op->result[0].type);
    struct ir_forest f;
    struct ir_paths paths;
    struct ir_arena arena;
    ir_arena_init(&arena);
    ir_forest_view(op, &f);
    ir_paths_make(op, &paths, &arena);
    const double *rules = ir_rules(&paths, &arena);
    bool *left = ir_alloc_array(&arena, (size_t)paths.most_nodes, 1);
    memset(out, 0, (size_t)n * sizeof(*out));
    for (int t = 0; t < f.n_trees; t++) {
        for (int i = f.tree_start[t]; i < f.tree_start[t + 1]; i++)
            left[i - f.tree_start[t]] = ir_goes_left(&f, i, x);
        for (int p = paths.path_start[t]; p < paths.path_start[t + 1]; p++)
            add_parts(&f, &paths, t, p, left, rules, out);
    }
    for (int64_t i = 0; f.divisor != 1 && i < n; i++)
        out[i] /= f.divisor;
    for (int k = 0; k < f.n_targets; k++)
        out[(int64_t)k * (f.n_features + 1) + f.n_features] =
            paths.expected[k];
    ir_arena_release(&arena);
}

/* --------------------------------------------------------------- asking for */

struct ir_op *ir_explained_trees(struct ir_module *module)
{
    static const char *const names[] = {"raw", "value", "probability"};
    int output = -1;
    for (int i = 0; output < 0 && i < 3; i++)
        output = ir_find_output(module, names[i]);
    for (int i = 0; output >= 0 && i < module->n_ops; i++)
        if (module->ops[i]->kind == IR_OP_trees &&
            &module->ops[i]->result[0] == module->outputs[output].value)
            return module->ops[i];
    return NULL;
}

static struct ir_attr no_cover(struct ir_module *module, int n)
{
    float *cover = ir_alloc_array(&module->arena, (size_t)n, sizeof(*cover));
    return ir_tensor_attr("cover", ir_tensor_view(module, IR_F32, n, cover));
}

bool ir_add_contributions(struct ir_module *module, struct ir_diag *diag)
{
    if (ir_find_output(module, "contribution") >= 0)
        return true;
    struct ir_op *trees = ir_explained_trees(module);
    struct ir_forest f;
    if (!trees)
        return ir_error(diag, ir_loc_file(NULL), "contributions are those to a "
                        "forest's margin: the model has no output \"raw\", "
                        "\"value\" or \"probability\" that is one");
    ir_forest_view(trees, &f);
    if (f.coef_start)
        return ir_error(diag, ir_loc_file(NULL), "a forest with linear leaves "
                        "has no contributions");
    if (f.n_nodes == 0) /* nothing is divided, so no cover is missed */
        ir_set_attr(module, trees, no_cover(module, f.n_leaves));
    if (!ir_find_attr(trees, "cover"))
        return ir_error(diag, ir_loc_file(NULL), "contributions need the "
                        "trees' cover (how many rows came to each node), which "
                        "this model does not have");
    struct ir_op *op =
        ir_add_op(module, IR_OP_contributions, 1, trees->operand,
                  trees->n_attrs, trees->attr, diag);
    if (!op || !ir_verify_contributions(module, op, diag))
        return false;
    ir_add_output(module, "contribution", &op->result[0]);
    return true;
}

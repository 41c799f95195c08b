/* trees.c: forests: the view that readers share, and the rules that make a
 * forest one. trees_builder.c puts one together. */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double ir_real(const void *array, enum ir_dtype dtype, size_t i)
{
    if (dtype == IR_F32)
        return (double)((const float *)array)[i];
    if (dtype == IR_U8)
        return (double)((const uint8_t *)array)[i];
    return ((const double *)array)[i];
}

/* -------------------------------------------------------------------- view */

static int64_t length_of(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->type.dim[0] : 0;
}

static const void *data_of(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->data : NULL;
}

static double float_or(const struct ir_op *op, const char *name,
                       double fallback)
{
    return ir_find_attr(op, name) ? ir_attr_float(op, name) : fallback;
}

/* What leaf values are stored as where an attribute says it, and well. */
static enum ir_dtype leaf_dtype_of(const struct ir_op *op,
                                   enum ir_dtype fallback)
{
    enum ir_dtype dtype = fallback;
    if (op->kind == IR_OP_forest && ir_find_attr(op, "leaf_dtype"))
        (void)ir_dtype_parse(ir_attr_string(op, "leaf_dtype"), &dtype);
    return dtype;
}

static void view_codes(const struct ir_op *op, struct ir_forest *f)
{
    f->code_bits = (int)ir_attr_int(op, "code_bits");
    if (f->code_bits == 0)
        return;
    f->n_code_columns = (int)length_of(op, "column_feature");
    f->column_feature = data_of(op, "column_feature");
    f->column_flags = data_of(op, "column_flags");
    f->cut_start = data_of(op, "cut_start");
    f->cuts = data_of(op, "cuts");
    f->column_set_start = data_of(op, "column_set_start");
    f->column_set = data_of(op, "column_set");
    f->node_column = data_of(op, "node_column");
    f->node_code = data_of(op, "node_code");
}

void ir_forest_view(const struct ir_op *op, struct ir_forest *f)
{
    const struct ir_type *x = &op->operand[0]->type;
    const int64_t width = ir_attr_int_or(op, "leaf_width", 1);
    *f = (struct ir_forest){
        .n_trees = (int)length_of(op, "target"),
        .n_nodes = (int)length_of(op, "feature"),
        .n_leaves = (int)(length_of(op, "leaf_value") / width),
        .leaf_width = (int)width,
        .n_targets = (int)length_of(op, "base"),
        .n_features = (int)ir_type_volume(x),
        .in_dtype = x->dtype,
        .sum_dtype = ir_attr_tensor(op, "leaf_value")->type.dtype,
        .strict = !strcmp(ir_attr_string(op, "compare"), "lt"),
        .divisor = float_or(op, "divisor", 1),
        .zero_bound = float_or(op, "zero_bound", 0),
        .stop_every = ir_attr_int_or(op, "stop_every", 0),
        .stop_margin = float_or(op, "stop_margin", 0),
        .tree_start = data_of(op, "tree_start"),
        .leaf_start = data_of(op, "leaf_start"),
        .feature = data_of(op, "feature"),
        .left = data_of(op, "left"),
        .right = data_of(op, "right"),
        .threshold = data_of(op, "threshold"),
        .flags = data_of(op, "flags"),
        .leaf_value = data_of(op, "leaf_value"),
        .leaf_id = data_of(op, "leaf_id"),
        .cover = data_of(op, "cover"),
        .target = data_of(op, "target"),
        .base = data_of(op, "base"),
        .set = data_of(op, "set"),
        .set_start = data_of(op, "set_start"),
        .set_words = data_of(op, "set_words"),
        .leaf_const = data_of(op, "leaf_const"),
        .coef = data_of(op, "coef"),
        .coef_start = data_of(op, "coef_start"),
        .coef_feature = data_of(op, "coef_feature"),
    };
    f->leaf_dtype = leaf_dtype_of(op, f->sum_dtype);
    if (f->cover)
        f->cover_dtype = ir_attr_tensor(op, "cover")->type.dtype;
    if (f->set)
        f->n_sets = (int)length_of(op, "set_start") - 1;
    if (op->kind == IR_OP_forest)
        view_codes(op, f);
}

int ir_tree_tests(const struct ir_forest *f, int tree,
                  int32_t tests[IR_MAX_TREE_TESTS])
{
    int n = 0;
    for (int32_t i = f->tree_start[tree]; i < f->tree_start[tree + 1]; i++) {
        int k = 0;
        while (k < n && (f->node_column[i] != f->node_column[tests[k]] ||
                         f->node_code[i] != f->node_code[tests[k]]))
            k++;
        if (k == IR_MAX_TREE_TESTS)
            return -1;
        if (k == n)
            tests[n++] = i;
    }
    return n;
}

int64_t ir_table_bytes(const struct ir_forest *f)
{
    const int64_t leaf =
        f->leaf_width * (int64_t)ir_dtype_bytes(f->sum_dtype);
    int32_t tests[IR_MAX_TREE_TESTS];
    int64_t bytes = 0;
    if (f->code_bits == 0 || f->coef_start)
        return -1;
    for (int t = 0; t < f->n_trees; t++) {
        const int n = ir_tree_tests(f, t, tests);
        if (n < 0 || leaf > IR_MAX_TABLE_BYTES >> n)
            return -1;
        bytes += leaf << n;
        if (bytes > IR_MAX_TABLE_BYTES)
            return -1;
    }
    return bytes;
}

/* ------------------------------------------------------------------- infer */

#define bad(...) ir_op_error(__VA_ARGS__)

/* The tensor `name`, if there, has rank 1 and this dtype; n < 0: any length. */
static bool check_array(const struct ir_op *op, const char *name,
                        enum ir_dtype dtype, int64_t n, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    if (!t)
        return true;
    if (t->type.rank != 1)
        return bad(op, diag, "%s has rank %d, not 1", name, t->type.rank);
    if (t->type.dtype != dtype)
        return bad(op, diag, "%s is of %s, not %s", name,
                   ir_dtype_name(t->type.dtype), ir_dtype_name(dtype));
    if (n >= 0 && t->type.dim[0] != n)
        return bad(op, diag, "%s has %lld elements, not %lld", name,
                   (long long)t->type.dim[0], (long long)n);
    return true;
}

/* Rank 1 and at most `most` elements; the arrays whose length others follow. */
static bool check_length(const struct ir_op *op, const char *name, int64_t min,
                         int64_t most, struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    if (t->type.rank != 1)
        return bad(op, diag, "%s has rank %d, not 1", name, t->type.rank);
    const int64_t n = t->type.dim[0];
    if (n < min || n > most)
        return bad(op, diag, "%s has %lld elements (%lld to %lld are allowed)",
                   name, (long long)n, (long long)min, (long long)most);
    return true;
}

bool ir_check_forest(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    if (x->rank != 1 || !ir_is_real(x->dtype))
        return bad(op, diag, "the operand is not a vector of f32 or f64");
    if (!check_length(op, "base", 1, IR_MAX_ELEMENTS, diag) ||
        !check_length(op, "target", 0, IR_MAX_ELEMENTS, diag) ||
        !check_length(op, "feature", 0, IR_MAX_NODES, diag) ||
        !check_length(op, "leaf_value", 0, (int64_t)2 * IR_MAX_NODES - 1,
                      diag))
        return false;
    const enum ir_dtype sum = ir_attr_tensor(op, "leaf_value")->type.dtype;
    return ir_is_real(sum) ||
           bad(op, diag, "leaf_value is of %s, not f32 or f64",
               ir_dtype_name(sum));
}

bool ir_infer_trees(const struct ir_module *module, struct ir_op *op,
                    struct ir_diag *diag)
{
    (void)module;
    if (!ir_check_forest(op, diag))
        return false;
    const enum ir_dtype sum = ir_attr_tensor(op, "leaf_value")->type.dtype;
    op->result[0].type = ir_type_vector(sum, length_of(op, "base"));
    op->result[1].type = ir_type_vector(IR_I32, length_of(op, "target"));
    return true;
}

bool ir_infer_forest(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    return ir_infer_trees(module, op, diag);
}

/* ------------------------------------------------------------------ verify */

static bool check_arrays(const struct ir_op *op, struct ir_diag *diag)
{
    const int64_t trees = length_of(op, "target");
    const int64_t nodes = length_of(op, "feature");
    const int64_t width = ir_attr_int_or(op, "leaf_width", 1);
    const int64_t leaves = length_of(op, "leaf_value") / width;
    const enum ir_dtype in = op->operand[0]->type.dtype;
    const enum ir_dtype sum = ir_attr_tensor(op, "leaf_value")->type.dtype;
    return check_array(op, "tree_start", IR_I32, trees + 1, diag) &&
           check_array(op, "leaf_start", IR_I32, trees + 1, diag) &&
           check_array(op, "feature", IR_I32, nodes, diag) &&
           check_array(op, "threshold", in, nodes, diag) &&
           check_array(op, "left", IR_I32, nodes, diag) &&
           check_array(op, "right", IR_I32, nodes, diag) &&
           check_array(op, "flags", IR_U8, nodes, diag) &&
           check_array(op, "leaf_value", sum, leaves * width, diag) &&
           check_array(op, "leaf_id", IR_I32, leaves, diag) &&
           check_array(op, "target", IR_I32, trees, diag) &&
           check_array(op, "base", sum, -1, diag) &&
           check_array(op, "set", IR_I32, nodes, diag) &&
           check_array(op, "set_start", IR_I32, -1, diag) &&
           check_array(op, "set_words", IR_U32, -1, diag) &&
           check_array(op, "leaf_const", IR_F64, leaves, diag) &&
           check_array(op, "coef_start", IR_I32, leaves + 1, diag) &&
           check_array(op, "coef_feature", IR_I32, -1, diag) &&
           check_array(op, "coef", IR_F64, -1, diag);
}

static bool check_cover(const struct ir_op *op, const struct ir_forest *f,
                        struct ir_diag *diag)
{
    const int64_t n = (int64_t)f->n_nodes + f->n_leaves;
    if (!f->cover)
        return true;
    if (!ir_is_real(f->cover_dtype))
        return bad(op, diag, "cover is of %s, not f32 or f64",
                   ir_dtype_name(f->cover_dtype));
    if (!check_array(op, "cover", f->cover_dtype, n, diag))
        return false;
    for (int64_t i = 0; i < n; i++) {
        const double cover = ir_real(f->cover, f->cover_dtype, (size_t)i);
        if (!(cover >= 0) || isinf(cover))
            return bad(op, diag, "cover %lld is %g", (long long)i, cover);
    }
    return true;
}

/* Offsets that ascend from 0 to `end`. */
static bool check_starts(const struct ir_op *op, const char *name,
                         int64_t end, struct ir_diag *diag)
{
    const int32_t *start = data_of(op, name);
    const int64_t n = length_of(op, name);
    if (n < 1 || start[0] != 0)
        return bad(op, diag, "%s does not start at 0", name);
    for (int64_t i = 1; i < n; i++)
        if (start[i] < start[i - 1])
            return bad(op, diag, "%s descends from %d to %d at %lld", name,
                       start[i - 1], start[i], (long long)i);
    if (start[n - 1] != end)
        return bad(op, diag, "%s ends at %d, not %lld", name, start[n - 1],
                   (long long)end);
    return true;
}

/* All of these attributes, or none. */
static bool check_together(const struct ir_op *op, const char *const *names,
                           struct ir_diag *diag)
{
    for (int i = 1; names[i]; i++)
        if (!ir_find_attr(op, names[i]) != !ir_find_attr(op, names[0]))
            return bad(op, diag, "%s and %s come only together", names[0],
                       names[i]);
    return true;
}

/* Zero is never missing in a set test; only one reads whole numbers, and in
 * one way. */
static bool good_kind(uint8_t flags)
{
    if (flags & IR_NODE_CATEGORICAL)
        return !(flags & IR_NODE_ZERO_MISSING) &&
               !(flags & IR_NODE_FLOOR && flags & IR_NODE_EXACT);
    return !(flags & (IR_NODE_FLOOR | IR_NODE_EXACT));
}

static bool check_node(const struct ir_op *op, const struct ir_forest *f,
                       int t, int i, struct ir_diag *diag)
{
    const int local = i - f->tree_start[t];
    const int n_nodes = f->tree_start[t + 1] - f->tree_start[t];
    const int n_leaves = f->leaf_start[t + 1] - f->leaf_start[t];
    if (f->feature[i] < 0 || f->feature[i] >= f->n_features)
        return bad(op, diag,
                   "tree %d node %d: feature %d is out of range (there are "
                   "%d)", t, local, f->feature[i], f->n_features);
    for (int side = 0; side < 2; side++) {
        const int32_t child = side ? f->right[i] : f->left[i];
        const char *name = side ? "right" : "left";
        if (child >= n_nodes)
            return bad(op, diag,
                       "tree %d node %d: %s child %d is out of range (the "
                       "tree has %d nodes)", t, local, name, child, n_nodes);
        if (child < 0 && ~child >= n_leaves)
            return bad(op, diag,
                       "tree %d node %d: %s leaf %d is out of range (the "
                       "tree has %d leaves)", t, local, name, ~child,
                       n_leaves);
    }
    if (f->flags[i] & ~IR_NODE_ALL)
        return bad(op, diag, "tree %d node %d: unknown flags %d", t, local,
                   f->flags[i]);
    if (!good_kind(f->flags[i]))
        return bad(op, diag, "tree %d node %d: the flags %d do not go "
                   "together", t, local, f->flags[i]);
    if (!(f->flags[i] & IR_NODE_CATEGORICAL)) {
        if (isnan(ir_real(f->threshold, f->in_dtype, (size_t)i)))
            return bad(op, diag, "tree %d node %d: the threshold is a NaN", t,
                       local);
        return true;
    }
    if (!f->set || f->set[i] < 0 || f->set[i] >= f->n_sets)
        return bad(op, diag,
                   "tree %d node %d: set %d is out of range (there are %d)",
                   t, local, f->set ? f->set[i] : -1, f->n_sets);
    return true;
}

/* Walks from the root: whatever is reached, is reached once. So there is no
 * cycle, no shared child, and a walk ends. `seen` is room for the largest
 * tree's nodes and leaves, `stack` for its nodes. */
static bool check_shape(const struct ir_op *op, const struct ir_forest *f,
                        int t, uint8_t *seen, int32_t *stack,
                        struct ir_diag *diag)
{
    const int32_t *left = f->left + f->tree_start[t];
    const int32_t *right = f->right + f->tree_start[t];
    const int n_nodes = f->tree_start[t + 1] - f->tree_start[t];
    const int n_leaves = f->leaf_start[t + 1] - f->leaf_start[t];
    int depth = 0;
    if (n_nodes == 0)
        return true;
    memset(seen, 0, (size_t)n_nodes + (size_t)n_leaves);
    seen[0] = 1;
    stack[depth++] = 0;
    while (depth > 0) {
        const int32_t at = stack[--depth];
        for (int side = 0; side < 2; side++) {
            const int32_t child = side ? right[at] : left[at];
            uint8_t *mark = child < 0 ? &seen[n_nodes + ~child] : &seen[child];
            if (*mark)
                return bad(op, diag, "tree %d node %d: %s %d has another "
                           "parent", t, at, child < 0 ? "leaf" : "node",
                           child < 0 ? ~child : child);
            *mark = 1;
            if (child >= 0)
                stack[depth++] = child;
        }
    }
    return true;
}

static bool check_trees(const struct ir_op *op, const struct ir_forest *f,
                        struct ir_diag *diag)
{
    bool ok = true;
    uint8_t *seen =
        ir_realloc_array(NULL, (size_t)f->n_nodes + f->n_leaves + 1, 1);
    int32_t *stack = ir_realloc_array(NULL, (size_t)f->n_nodes + 2,
                                      sizeof(*stack));
    for (int t = 0; ok && t < f->n_trees; t++) {
        if (f->leaf_start[t] == f->leaf_start[t + 1])
            ok = bad(op, diag, "tree %d has no leaf", t);
        else if (f->target[t] % f->leaf_width != 0)
            ok = bad(op, diag, "tree %d: target %d is no multiple of the "
                     "leaves' width, %d", t, f->target[t], f->leaf_width);
        else if (f->target[t] < 0 ||
                 f->target[t] > f->n_targets - f->leaf_width)
            ok = bad(op, diag, "tree %d: target %d is out of range (there "
                     "are %d)", t, f->target[t], f->n_targets);
        for (int i = f->tree_start[t]; ok && i < f->tree_start[t + 1]; i++)
            ok = check_node(op, f, t, i, diag);
        ok = ok && check_shape(op, f, t, seen, stack, diag);
    }
    free(seen);
    free(stack);
    return ok;
}

static bool check_linear(const struct ir_op *op, const struct ir_forest *f,
                         struct ir_diag *diag)
{
    static const char *const names[] = {"coef_start", "leaf_const",
                                        "coef_feature", "coef", NULL};
    if (!check_together(op, names, diag))
        return false;
    if (!f->coef_start)
        return true;
    if (f->leaf_width != 1)
        return bad(op, diag, "linear leaves have one value, not %d",
                   f->leaf_width);
    const int64_t n = length_of(op, "coef");
    if (!check_starts(op, "coef_start", n, diag) ||
        !check_array(op, "coef_feature", IR_I32, n, diag))
        return false;
    for (int64_t i = 0; i < n; i++)
        if (f->coef_feature[i] < 0 || f->coef_feature[i] >= f->n_features)
            return bad(op, diag,
                       "coefficient %lld: feature %d is out of range (there "
                       "are %d)", (long long)i, f->coef_feature[i],
                       f->n_features);
    return true;
}

static bool check_stop(const struct ir_op *op, const struct ir_forest *f,
                       struct ir_diag *diag)
{
    static const char *const names[] = {"stop_every", "stop_margin", NULL};
    if (!check_together(op, names, diag))
        return false;
    if (!ir_find_attr(op, "stop_every"))
        return true;
    if (f->stop_every < 1 || f->stop_every > IR_MAX_ELEMENTS)
        return bad(op, diag, "stop_every is %lld (1 to %d are allowed)",
                   (long long)f->stop_every, IR_MAX_ELEMENTS);
    if (!(f->stop_margin >= 0))
        return bad(op, diag, "stop_margin is %g", f->stop_margin);
    return f->leaf_width == 1 ||
           bad(op, diag, "a forest of leaves with %d values has no early exit",
               f->leaf_width);
}

static bool check_sets(const struct ir_op *op, struct ir_diag *diag)
{
    static const char *const names[] = {"set", "set_start", "set_words", NULL};
    if (!check_together(op, names, diag))
        return false;
    return !ir_find_attr(op, "set") ||
           check_starts(op, "set_start", length_of(op, "set_words"), diag);
}

bool ir_verify_trees(const struct ir_module *module, const struct ir_op *op,
                     struct ir_diag *diag)
{
    struct ir_forest f;
    const char *compare = ir_attr_string(op, "compare");
    (void)module;
    if (strcmp(compare, "le") != 0 && strcmp(compare, "lt") != 0)
        return bad(op, diag, "compare is '%s', not 'le' or 'lt'", compare);
    const int64_t width = ir_attr_int_or(op, "leaf_width", 1);
    if (width < 1 || width > length_of(op, "base"))
        return bad(op, diag, "leaf_width is %lld (there are %lld targets)",
                   (long long)width, (long long)length_of(op, "base"));
    if (!check_arrays(op, diag) || !check_sets(op, diag))
        return false;
    ir_forest_view(op, &f);
    if (!(f.zero_bound >= 0) || isinf(f.zero_bound))
        return bad(op, diag, "zero_bound is %g", f.zero_bound);
    if (isnan(f.divisor) || f.divisor == 0)
        return bad(op, diag, "divisor is %g", f.divisor);
    return check_starts(op, "tree_start", f.n_nodes, diag) &&
           check_starts(op, "leaf_start", f.n_leaves, diag) &&
           check_trees(op, &f, diag) && check_linear(op, &f, diag) &&
           check_cover(op, &f, diag) && check_stop(op, &f, diag);
}

/* ------------------------------------------------------------ codes' rules */

static bool check_column(const struct ir_op *op, const struct ir_forest *f,
                         int c, struct ir_diag *diag)
{
    const int n_cuts = f->cut_start[c + 1] - f->cut_start[c];
    const int n_sets = f->column_set_start[c + 1] - f->column_set_start[c];
    const int limit = f->code_bits == 8 ? 255 : 65535;
    const bool categorical = f->column_flags[c] & IR_NODE_CATEGORICAL;
    if (f->column_feature[c] < 0 || f->column_feature[c] >= f->n_features)
        return bad(op, diag, "column %d: feature %d is out of range (there "
                   "are %d)", c, f->column_feature[c], f->n_features);
    if (f->column_flags[c] & ~IR_NODE_ALL || !good_kind(f->column_flags[c]))
        return bad(op, diag, "column %d: bad flags %d", c,
                   f->column_flags[c]);
    if (n_cuts > limit || (categorical && n_cuts > 0))
        return bad(op, diag, "column %d has %d cuts", c, n_cuts);
    if (n_sets > f->code_bits || (!categorical && n_sets > 0))
        return bad(op, diag, "column %d has %d sets", c, n_sets);
    for (int i = f->cut_start[c]; i < f->cut_start[c + 1]; i++) {
        const double cut = ir_real(f->cuts, f->in_dtype, (size_t)i);
        if (isnan(cut) ||
            (i > f->cut_start[c] &&
             !(cut > ir_real(f->cuts, f->in_dtype, (size_t)i - 1))))
            return bad(op, diag, "column %d: cut %d does not ascend", c,
                       i - f->cut_start[c]);
    }
    for (int i = f->column_set_start[c]; i < f->column_set_start[c + 1]; i++)
        if (f->column_set[i] < 0 || f->column_set[i] >= f->n_sets)
            return bad(op, diag, "column %d: set %d is out of range (there "
                       "are %d)", c, f->column_set[i], f->n_sets);
    return true;
}

double ir_last_left(const struct ir_forest *f, int64_t node)
{
    const double threshold = ir_real(f->threshold, f->in_dtype, (size_t)node);
    if (!f->strict)
        return threshold;
    if (threshold == -INFINITY)
        return NAN;
    return f->in_dtype == IR_F32 ? nextafterf((float)threshold, -INFINITY)
                                 : nextafter(threshold, -INFINITY);
}

/* A code decides as the node itself does: strategies may use either. */
static bool check_code(const struct ir_op *op, const struct ir_forest *f,
                       int i, struct ir_diag *diag)
{
    const int c = f->node_column[i], code = f->node_code[i];
    const int first_cut = f->cut_start[c], first_set = f->column_set_start[c];
    if (!(f->flags[i] & IR_NODE_CATEGORICAL)) {
        const int n = f->cut_start[c + 1] - first_cut;
        if (code >= n)
            return bad(op, diag, "node %d: code %d (its column has %d cuts)",
                       i, code, n);
        const double cut =
            ir_real(f->cuts, f->in_dtype, (size_t)(first_cut + code));
        return cut == ir_last_left(f, i) ||
               bad(op, diag, "node %d: cut %.17g is not its threshold's, "
                   "%.17g", i, cut, ir_last_left(f, i));
    }
    const int n = f->column_set_start[c + 1] - first_set;
    if (code == 0 || code & (code - 1) || code >> n != 0)
        return bad(op, diag, "node %d: code %d is no bit of the column's %d",
                   i, code, n);
    const int set = f->column_set[first_set + __builtin_ctz((unsigned)code)];
    return set == f->set[i] ||
           bad(op, diag, "node %d of set %d has the code of set %d", i,
               f->set[i], set);
}

static bool check_node_code(const struct ir_op *op, const struct ir_forest *f,
                            int i, struct ir_diag *diag)
{
    const int c = f->node_column[i];
    if (c < 0 || c >= f->n_code_columns)
        return bad(op, diag, "node %d: column %d is out of range (there are "
                   "%d)", i, c, f->n_code_columns);
    if (f->column_feature[c] != f->feature[i])
        return bad(op, diag, "node %d of feature %d reads a column of "
                   "feature %d", i, f->feature[i], f->column_feature[c]);
    if (f->column_flags[c] != f->flags[i])
        return bad(op, diag, "node %d of flags %d reads a column of flags %d",
                   i, f->flags[i], f->column_flags[c]);
    return check_code(op, f, i, diag);
}

static bool check_codes(const struct ir_op *op, struct ir_diag *diag)
{
    static const char *const names[] = {
        "column_feature", "column_flags", "cut_start", "cuts",
        "column_set_start", "column_set", "node_column", "node_code", NULL};
    struct ir_forest f;
    const int64_t columns = length_of(op, "column_feature");
    const int64_t nodes = length_of(op, "feature");
    for (int i = 0; names[i]; i++)
        if (!ir_find_attr(op, names[i]))
            return bad(op, diag, "codes without %s", names[i]);
    if (!check_length(op, "column_feature", 0, IR_MAX_NODES, diag) ||
        !check_array(op, "column_feature", IR_I32, columns, diag) ||
        !check_array(op, "column_flags", IR_U8, columns, diag) ||
        !check_array(op, "cut_start", IR_I32, columns + 1, diag) ||
        !check_array(op, "cuts", op->operand[0]->type.dtype, -1, diag) ||
        !check_array(op, "column_set_start", IR_I32, columns + 1, diag) ||
        !check_array(op, "column_set", IR_I32, -1, diag) ||
        !check_array(op, "node_column", IR_I32, nodes, diag) ||
        !check_array(op, "node_code", IR_U16, nodes, diag) ||
        !check_starts(op, "cut_start", length_of(op, "cuts"), diag) ||
        !check_starts(op, "column_set_start", length_of(op, "column_set"),
                      diag))
        return false;
    ir_forest_view(op, &f);
    for (int c = 0; c < f.n_code_columns; c++)
        if (!check_column(op, &f, c, diag))
            return false;
    for (int i = 0; i < f.n_nodes; i++)
        if (!check_node_code(op, &f, i, diag))
            return false;
    for (int t = 0; t < f.n_trees; t++)
        if (f.leaf_start[t + 1] - f.leaf_start[t] > 1 << f.code_bits)
            return bad(op, diag, "tree %d has %d leaves, too many for %d bits",
                       t, f.leaf_start[t + 1] - f.leaf_start[t], f.code_bits);
    return true;
}

static bool check_range(const struct ir_op *op, const char *name, int64_t min,
                        int64_t max, struct ir_diag *diag)
{
    const int64_t v = ir_attr_int_or(op, name, min);
    if (v >= min && v <= max)
        return true;
    return bad(op, diag, "%s is %lld (%lld to %lld are allowed)", name,
               (long long)v, (long long)min, (long long)max);
}

const char *const ir_strategy_name[IR_N_STRATEGIES] = {
    [IR_BRANCH] = "branch", [IR_WALK] = "walk", [IR_MATCH16] = "match16",
    [IR_MATCH32] = "match32", [IR_SELECT] = "select", [IR_SLICE] = "slice",
    [IR_OBLIVIOUS] = "oblivious", [IR_RAW8] = "raw8", [IR_RAW16] = "raw16"};

int ir_strategy_find(const char *name)
{
    for (int s = 0; s < IR_N_STRATEGIES; s++)
        if (!strcmp(name, ir_strategy_name[s]))
            return s;
    return -1;
}

static int32_t largest_tree(const struct ir_forest *f)
{
    int32_t most = 0;
    for (int t = 0; t < f->n_trees; t++) {
        const int32_t n = f->tree_start[t + 1] - f->tree_start[t];
        most = n > most ? n : most;
    }
    return most;
}

const char *ir_strategy_obstacle(const struct ir_forest *f, enum ir_strategy s,
                              bool one_row)
{
    if (one_row && (s == IR_SELECT || s == IR_SLICE))
        return " one row at a time";
    if (f->stop_every && s != IR_WALK && (s != IR_SLICE || one_row))
        return " with early exit";
    if (s == IR_BRANCH || s == IR_WALK)
        return NULL;
    if (f->coef_start)
        return " with linear leaves";
    if (s == IR_RAW8 || s == IR_RAW16)
        return NULL;
    if (f->code_bits == 0)
        return " without codes (run quantise first; there are none for more "
               "than 65535 cuts a feature or 65536 leaves a tree)";
    if (s == IR_SLICE && largest_tree(f) > IR_SLICE_MOST_NODES)
        return " with more than 6656 nodes in a tree";
    if (s == IR_OBLIVIOUS && ir_table_bytes(f) < 0)
        return " with more than 16 different tests in a tree, or tables of "
               "more than 64 MB";
    return NULL;
}

static bool check_strategy(const struct ir_op *op, const char *name,
                           bool one_row, struct ir_diag *diag)
{
    if (!ir_find_attr(op, name))
        return true;
    const char *given = ir_attr_string(op, name);
    const int s = ir_strategy_find(given);
    struct ir_forest f;
    ir_forest_view(op, &f);
    if (s < 0)
        return bad(op, diag, "%s is '%s'", name, given);
    const char *why = ir_strategy_obstacle(&f, (enum ir_strategy)s, one_row);
    return !why || bad(op, diag, "%s is %s, which cannot be had for a forest%s",
                       name, given, why);
}

static bool fits(double v, enum ir_dtype dtype)
{
    if (dtype == IR_F32) /* infinities compare equal, NaNs do not */
        return (double)(float)v == v;
    return v >= 0 && v <= UINT8_MAX && v == (double)(uint8_t)v && !signbit(v);
}

bool ir_leaves_fit(const struct ir_forest *f, enum ir_dtype dtype)
{
    const size_t n = (size_t)f->n_leaves * (size_t)f->leaf_width;
    if (dtype == f->sum_dtype)
        return true;
    if (dtype != IR_U8 && dtype != IR_F32)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!fits(ir_real(f->leaf_value, f->sum_dtype, i), dtype))
            return false;
    return true;
}

static bool check_leaf_dtype(const struct ir_op *op, struct ir_diag *diag)
{
    struct ir_forest f;
    enum ir_dtype dtype;
    if (!ir_find_attr(op, "leaf_dtype"))
        return true;
    const char *name = ir_attr_string(op, "leaf_dtype");
    ir_forest_view(op, &f);
    return (ir_dtype_parse(name, &dtype) && ir_leaves_fit(&f, dtype)) ||
           bad(op, diag, "leaf_dtype is '%s', which not all leaf values are "
               "numbers of", name);
}

bool ir_verify_forest(const struct ir_module *module, const struct ir_op *op,
                      struct ir_diag *diag)
{
    if (!ir_verify_trees(module, op, diag))
        return false;
    const int64_t bits = ir_attr_int(op, "code_bits");
    if (bits != 0 && bits != 8 && bits != 16)
        return bad(op, diag, "code_bits is %lld, not 0, 8 or 16",
                   (long long)bits);
    if (bits != 0 && !check_codes(op, diag))
        return false;
    if (!check_range(op, "tile_rows", 64, 65536, diag) ||
        !check_range(op, "few_rows", 0, 65536, diag) ||
        !check_range(op, "batch_ns", 0, INT32_MAX, diag) ||
        !check_range(op, "chunk_nodes", 1, IR_MAX_NODES, diag))
        return false;
    if (ir_attr_int_or(op, "tile_rows", 64) % 64 != 0)
        return bad(op, diag, "tile_rows is %lld, no multiple of 64",
                   (long long)ir_attr_int(op, "tile_rows"));
    if (ir_find_attr(op, "strategy") &&
        !strcmp(ir_attr_string(op, "strategy"), "slice") &&
        !check_range(op, "tile_rows", 64, IR_SLICE_MOST_ROWS, diag))
        return false;
    return check_leaf_dtype(op, diag) &&
           check_strategy(op, "strategy", false, diag) &&
           check_strategy(op, "row_strategy", true, diag);
}

bool ir_stop_early(struct ir_module *module, int64_t every, double margin,
                   struct ir_diag *diag)
{
    struct ir_op *trees = ir_explained_trees(module);
    if (!trees)
        return ir_error(diag, ir_loc_file(NULL), "early exit is from a forest: "
                        "the model has no output \"raw\" that is the margins "
                        "of one");
    if (ir_find_output(module, "class") < 0)
        return ir_error(diag, ir_loc_file(NULL), "early exit is for rows that "
                        "are sure of their class: the model has no output "
                        "\"class\"");
    ir_set_attr(module, trees, ir_int("stop_every", every));
    ir_set_attr(module, trees, ir_float("stop_margin", margin));
    return ir_verify_trees(module, trees, diag);
}

/* trees_builder.c: collects a forest node by node and makes an op of it.
 * Arrays grow by doubling; nothing is checked here but limits: what was put
 * together wrongly is found by the verifier's rules. */
#include "ir/ir_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A growing array of plain items. */
struct vector {
    void *data;
    size_t n, capacity;
};

struct ir_forest_builder {
    enum ir_dtype in_dtype, sum_dtype;
    int n_targets, width;
    bool categorical, linear, has_ids, bad_cover;
    size_t n_covered; /* nodes with a cover */
    bool too_large; /* a limit was passed: finish refuses */
    struct vector tree_start, leaf_start, target;   /* i32 */
    struct vector feature, left, right, set;        /* i32 */
    struct vector threshold;                        /* of in_dtype */
    struct vector flags;                            /* u8 */
    struct vector leaf_value;                       /* of sum_dtype */
    struct vector leaf_id;                          /* i32 */
    struct vector node_cover, leaf_cover;           /* f64 */
    struct vector leaf_const, coef;                 /* f64 */
    struct vector coef_start, coef_feature;         /* i32 */
    struct vector set_start, set_words;             /* i32, u32 */
};

/* Room for n more items. */
static void *push(struct vector *v, size_t n, size_t size)
{
    if (v->n + n > v->capacity) {
        v->capacity = (v->n + n) * 2 + 64;
        v->data = ir_realloc_array(v->data, v->capacity, size);
    }
    void *at = (uint8_t *)v->data + v->n * size;
    v->n += n;
    return at;
}

static void push_i32(struct vector *v, int32_t value)
{
    *(int32_t *)push(v, 1, sizeof(int32_t)) = value;
}

static void push_f64(struct vector *v, double value)
{
    *(double *)push(v, 1, sizeof(double)) = value;
}

static void push_real(struct vector *v, enum ir_dtype dtype, double value)
{
    if (dtype == IR_F64)
        push_f64(v, value);
    else
        *(float *)push(v, 1, sizeof(float)) = (float)value;
}

static int32_t last_i32(const struct vector *v)
{
    return ((const int32_t *)v->data)[v->n - 1];
}

struct ir_forest_builder *ir_forest_begin(enum ir_dtype in_dtype,
                                          enum ir_dtype sum_dtype,
                                          int n_targets)
{
    struct ir_forest_builder *b = ir_realloc_array(NULL, 1, sizeof(*b));
    *b = (struct ir_forest_builder){
        .in_dtype = in_dtype, .sum_dtype = sum_dtype, .n_targets = n_targets,
        .width = 1};
    push_i32(&b->coef_start, 0);
    push_i32(&b->set_start, 0);
    return b;
}

void ir_forest_width(struct ir_forest_builder *b, int width)
{
    b->width = width;
}

void ir_forest_tree(struct ir_forest_builder *b, int target)
{
    push_i32(&b->tree_start, (int32_t)b->feature.n);
    push_i32(&b->leaf_start, (int32_t)b->leaf_id.n);
    push_i32(&b->target, target);
}

int ir_forest_node(struct ir_forest_builder *b, int feature, double threshold,
                   int left, int right, uint8_t flags)
{
    const int32_t first = last_i32(&b->tree_start);
    if (b->feature.n >= IR_MAX_NODES) {
        b->too_large = true;
        return (int32_t)b->feature.n - first;
    }
    push_i32(&b->feature, feature);
    push_real(&b->threshold, b->in_dtype, threshold);
    push_i32(&b->left, left);
    push_i32(&b->right, right);
    *(uint8_t *)push(&b->flags, 1, 1) = flags;
    push_i32(&b->set, -1);
    push_f64(&b->node_cover, 0);
    return (int32_t)b->feature.n - 1 - first;
}

int ir_forest_set_node(struct ir_forest_builder *b, int feature,
                       const uint32_t *words, int n_words, int left,
                       int right, uint8_t flags)
{
    const int node = ir_forest_node(b, feature, 0, left, right,
                                    flags | IR_NODE_CATEGORICAL);
    if (b->too_large || b->set_words.n + (size_t)n_words > IR_MAX_NODES) {
        b->too_large = true;
        return node;
    }
    b->categorical = true;
    ((int32_t *)b->set.data)[b->set.n - 1] = (int32_t)b->set_start.n - 1;
    if (n_words)
        memcpy(push(&b->set_words, (size_t)n_words, 4), words,
               (size_t)n_words * 4);
    push_i32(&b->set_start, (int32_t)b->set_words.n);
    return node;
}

int ir_forest_leaf(struct ir_forest_builder *b, double value)
{
    return ir_forest_leaf_values(b, &value);
}

int ir_forest_leaf_values(struct ir_forest_builder *b, const double *values)
{
    const int32_t first = last_i32(&b->leaf_start);
    const size_t width = (size_t)b->width;
    if (b->leaf_value.n + width > 2 * (size_t)IR_MAX_NODES - 1) {
        b->too_large = true;
        return (int32_t)b->leaf_id.n - first;
    }
    for (size_t k = 0; k < width; k++)
        push_real(&b->leaf_value, b->sum_dtype, values[k]);
    push_i32(&b->leaf_id, 0);
    push_f64(&b->leaf_cover, 0);
    push_f64(&b->leaf_const, values[0]);
    push_i32(&b->coef_start, (int32_t)b->coef.n);
    return (int32_t)b->leaf_id.n - 1 - first;
}

void ir_forest_leaf_id(struct ir_forest_builder *b, int32_t id)
{
    if (b->too_large)
        return;
    b->has_ids = true;
    ((int32_t *)b->leaf_id.data)[b->leaf_id.n - 1] = id;
}

static void set_cover(struct ir_forest_builder *b, struct vector *v,
                      double cover)
{
    if (b->too_large)
        return;
    b->bad_cover |= !(cover >= 0) || isinf(cover);
    ((double *)v->data)[v->n - 1] = cover;
}

void ir_forest_node_cover(struct ir_forest_builder *b, double cover)
{
    b->n_covered++;
    set_cover(b, &b->node_cover, cover);
}

void ir_forest_leaf_cover(struct ir_forest_builder *b, double cover)
{
    set_cover(b, &b->leaf_cover, cover);
}

void ir_forest_linear(struct ir_forest_builder *b, double constant, int n,
                      const int32_t *features, const double *coefs)
{
    if (b->too_large || b->coef.n + (size_t)n > IR_MAX_NODES) {
        b->too_large = true;
        return;
    }
    b->linear = true;
    ((double *)b->leaf_const.data)[b->leaf_const.n - 1] = constant;
    if (n) {
        memcpy(push(&b->coef_feature, (size_t)n, 4), features, (size_t)n * 4);
        memcpy(push(&b->coef, (size_t)n, 8), coefs, (size_t)n * 8);
    }
    ((int32_t *)b->coef_start.data)[b->coef_start.n - 1] = (int32_t)b->coef.n;
}

int64_t ir_forest_size(const struct ir_forest_builder *b)
{
    return (int64_t)(b->feature.n + b->leaf_id.n);
}

void ir_forest_abandon(struct ir_forest_builder *b)
{
    if (!b)
        return;
    struct vector *const all[] = {
        &b->tree_start, &b->leaf_start, &b->target, &b->feature, &b->left,
        &b->right, &b->set, &b->threshold, &b->flags, &b->leaf_value,
        &b->leaf_const, &b->coef, &b->coef_start, &b->coef_feature,
        &b->set_start, &b->set_words, &b->leaf_id, &b->node_cover,
        &b->leaf_cover};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]->data);
    free(b);
}

static struct ir_attr array(struct ir_module *module, const char *name,
                            enum ir_dtype dtype, const struct vector *v)
{
    return ir_tensor_attr(
        name, ir_tensor_copy(module, dtype, (int64_t)v->n, v->data));
}

static struct ir_attr base_array(struct ir_module *module,
                                 const struct ir_forest_builder *b,
                                 const double *base)
{
    struct vector v = {0};
    for (int k = 0; k < b->n_targets; k++)
        push_real(&v, b->sum_dtype, base ? base[k] : 0);
    const struct ir_attr attr = array(module, "base", b->sum_dtype, &v);
    free(v.data);
    return attr;
}

/* Those of the nodes and then of the leaves: as f32 when all are floats. */
static struct ir_attr cover_array(struct ir_module *module,
                                  const struct ir_forest_builder *b)
{
    const struct vector *const parts[] = {&b->node_cover, &b->leaf_cover};
    enum ir_dtype dtype = IR_F32;
    struct vector v = {0};
    for (int p = 0; p < 2; p++)
        for (size_t i = 0; i < parts[p]->n; i++) {
            const double cover = ((const double *)parts[p]->data)[i];
            if ((double)(float)cover != cover)
                dtype = IR_F64;
        }
    for (int p = 0; p < 2; p++)
        for (size_t i = 0; i < parts[p]->n; i++)
            push_real(&v, dtype, ((const double *)parts[p]->data)[i]);
    const struct ir_attr attr = array(module, "cover", dtype, &v);
    free(v.data);
    return attr;
}

struct ir_op *ir_forest_finish(struct ir_forest_builder *b,
                               struct ir_module *module, struct ir_value *x,
                               const char *compare, const double *base,
                               double divisor, double zero_bound,
                               struct ir_loc loc, struct ir_diag *diag)
{
    if (b->too_large) {
        ir_error(diag, loc, "the forest has more than %d nodes", IR_MAX_NODES);
        ir_forest_abandon(b);
        return NULL;
    }
    push_i32(&b->tree_start, (int32_t)b->feature.n);
    push_i32(&b->leaf_start, (int32_t)b->leaf_id.n);
    struct ir_attr a[24];
    int n = 0;
    a[n++] = ir_string("compare", compare);
    a[n++] = array(module, "tree_start", IR_I32, &b->tree_start);
    a[n++] = array(module, "leaf_start", IR_I32, &b->leaf_start);
    a[n++] = array(module, "feature", IR_I32, &b->feature);
    a[n++] = array(module, "threshold", b->in_dtype, &b->threshold);
    a[n++] = array(module, "left", IR_I32, &b->left);
    a[n++] = array(module, "right", IR_I32, &b->right);
    a[n++] = array(module, "flags", IR_U8, &b->flags);
    a[n++] = array(module, "leaf_value", b->sum_dtype, &b->leaf_value);
    a[n++] = array(module, "target", IR_I32, &b->target);
    a[n++] = base_array(module, b, base);
    if (divisor != 1)
        a[n++] = ir_float("divisor", divisor);
    if (zero_bound != 0)
        a[n++] = ir_float("zero_bound", zero_bound);
    if (b->categorical) {
        a[n++] = array(module, "set", IR_I32, &b->set);
        a[n++] = array(module, "set_start", IR_I32, &b->set_start);
        a[n++] = array(module, "set_words", IR_U32, &b->set_words);
    }
    if (b->linear) {
        /* Each leaf's start was pushed before its coefficients. */
        a[n++] = array(module, "leaf_const", IR_F64, &b->leaf_const);
        a[n++] = array(module, "coef_start", IR_I32, &b->coef_start);
        a[n++] = array(module, "coef_feature", IR_I32, &b->coef_feature);
        a[n++] = array(module, "coef", IR_F64, &b->coef);
    }
    if (b->width != 1)
        a[n++] = ir_int("leaf_width", b->width);
    if (b->has_ids)
        a[n++] = array(module, "leaf_id", IR_I32, &b->leaf_id);
    if (b->n_covered > 0 && b->n_covered == b->feature.n && !b->bad_cover)
        a[n++] = cover_array(module, b);
    ir_forest_abandon(b);
    struct ir_op *op =
        ir_add_op(module, IR_OP_trees, 1, &x, n, a, diag);
    if (!op)
        return NULL;
    op->loc = loc;
    return ir_verify_trees(module, op, diag) ? op : NULL;
}

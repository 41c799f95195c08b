/* net_export.c: a trained net -> a module: preprocessing, layers, outputs.
 *
 * A row's values lie as in the trainer's batch of one row, so weights go over
 * as they are. Batch norms behind a product go into its weights, and the scale
 * of a regression's targets into those of the last layer; dropout is nothing.
 */
#include "trainer/private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* After an error a value is NULL, which every function passes on. */
struct tr_net_builder {
    const struct tr_fit_job *job;
    const struct tr_net *net;
    struct ir_module *module;
    struct ir_diag *diag;
    struct ir_value *codes; /* [n_tables] of categories to embed, or NULL */
};

/* ------------------------------------------------------------------- ops -- */

static struct ir_value *build(struct tr_net_builder *b, enum ir_op_kind kind,
                              int n, struct ir_value *const *x, int n_attrs,
                              const struct ir_attr *attrs)
{
    for (int i = 0; i < n; i++)
        if (!x[i])
            return NULL;
    struct ir_op *op =
        ir_add_op(b->module, kind, n, x, n_attrs, attrs, b->diag);
    return op ? &op->result[0] : NULL;
}

static const struct ir_tensor *tensor(struct tr_net_builder *b,
                                      enum ir_dtype dtype, int rank,
                                      const int64_t *dim, const void *data)
{
    struct ir_tensor *t = ir_alloc(&b->module->arena, sizeof(*t));
    t->type = (struct ir_type){.dtype = dtype, .rank = rank};
    memcpy(t->type.dim, dim, (size_t)rank * sizeof(*dim));
    void *copy = ir_alloc(&b->module->arena, ir_tensor_bytes(t) + 1);
    memcpy(copy, data, ir_tensor_bytes(t));
    t->data = copy;
    return t;
}

static struct ir_attr reals(struct tr_net_builder *b, const char *name,
                            int rank, const int64_t *dim, const tr_real *data)
{
    return ir_tensor_attr(name, tensor(b, TR_REAL_DTYPE, rank, dim, data));
}

static struct ir_attr ints(struct tr_net_builder *b, const char *name,
                           int64_t n, const int64_t *data)
{
    return ir_tensor_attr(name, tensor(b, IR_I64, 1, &n, data));
}

static struct ir_value *constant(struct tr_net_builder *b,
                                 enum ir_dtype dtype, int rank,
                                 const int64_t *dim, const void *data)
{
    const struct ir_attr value =
        ir_tensor_attr("value", tensor(b, dtype, rank, dim, data));
    return build(b, IR_OP_constant, 0, NULL, 1, &value);
}

static struct ir_value *map(struct tr_net_builder *b, const char *program,
                            int n, struct ir_value *const *x)
{
    const struct ir_attr attrs[] = {
        ir_string("program", program),
        ir_string("dtype", ir_dtype_name(TR_REAL_DTYPE))};
    return build(b, IR_OP_map, n, x, 2, attrs);
}

static struct ir_value *view(struct tr_net_builder *b, struct ir_value *x,
                             int rank, const int64_t *shape,
                             const int64_t *strides, int64_t offset)
{
    const struct ir_attr attrs[] = {ints(b, "shape", rank, shape),
                                    ints(b, "strides", rank, strides),
                                    ir_int("offset", offset)};
    return build(b, IR_OP_view, 1, &x, 3, attrs);
}

/* x's elements in their order, or the first of them, as another shape. */
static struct ir_value *reshape(struct tr_net_builder *b, struct ir_value *x,
                                int rank, const int64_t *shape)
{
    int64_t strides[IR_MAX_RANK], n = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = n;
        n *= shape[i];
    }
    return view(b, x, rank, shape, strides, 0);
}

static struct ir_value *concat(struct tr_net_builder *b, int n,
                               struct ir_value *const *x)
{
    return n == 1 ? x[0] : build(b, IR_OP_concat, n, x, 0, NULL);
}

static struct ir_value *gather(struct tr_net_builder *b, struct ir_value *x,
                               int64_t n, const int32_t *index)
{
    const struct ir_attr attr =
        ir_tensor_attr("index", tensor(b, IR_I32, 1, &n, index));
    return build(b, IR_OP_gather, 1, &x, 1, &attr);
}

/* ------------------------------------------------------------- the input -- */

/* Numbers that stand for n columns, as the input's dtype: a vector, or of the
 * rows' shape, which is of all columns. */
static struct ir_value *column_numbers(struct tr_net_builder *b, int64_t n,
                                       const double *numbers)
{
    const struct tr_net_input *in = &b->job->net->input;
    const enum ir_dtype dtype = in->dtype;
    const int64_t *dim = in->rank > 1 ? in->dim : &n;
    if (dtype == IR_F64)
        return constant(b, dtype, in->rank, dim, numbers);
    float *f = ir_alloc_array(&b->module->arena, (size_t)n, sizeof(*f));
    for (int64_t i = 0; i < n; i++)
        f[i] = (float)numbers[i];
    return constant(b, dtype, in->rank, dim, f);
}

/* A number of a program, that reads back as itself. */
static void put_number(struct ir_text *text, enum ir_dtype dtype, double v)
{
    if (dtype == IR_F64)
        ir_text_double(text, v);
    else
        ir_text_float(text, (float)v);
}

static bool all_equal(int64_t n, const double *v)
{
    for (int64_t i = 1; i < n; i++)
        if (v[i] != v[0])
            return false;
    return true;
}

/* (v - mean) * scale, 0 where v is missing. */
static struct ir_value *standardise(struct tr_net_builder *b,
                                    struct ir_value *x, int64_t n,
                                    const double *mean, const double *scale)
{
    const enum ir_dtype dtype = b->job->net->input.dtype;
    if (!all_equal(n, mean) || !all_equal(n, scale)) {
        struct ir_value *all[] = {x, column_numbers(b, n, mean),
                                  column_numbers(b, n, scale)};
        return map(b, "x0 isnan 0 x0 x1 sub x2 mul where", 3, all);
    }
    struct ir_text program;
    ir_text_init(&program);
    ir_text_puts(&program, "x0 isnan 0 x0 ");
    put_number(&program, dtype, mean[0]);
    ir_text_puts(&program, " sub ");
    put_number(&program, dtype, scale[0]);
    ir_text_puts(&program, " mul where");
    struct ir_value *y = map(b, program.data, 1, &x);
    ir_text_release(&program);
    return y;
}

/* What the columns of one kind are: where each of the row's numbers comes
 * from, and a number or two that it is compared or scaled with. */
struct pick {
    int64_t n;
    int32_t *index;
    double *first, *second;
};

static struct pick pick_new(struct tr_net_builder *b, int64_t n)
{
    struct ir_arena *arena = &b->module->arena;
    const size_t room = (size_t)n + 1;
    return (struct pick){
        .index = ir_alloc_array(arena, room, sizeof(int32_t)),
        .first = ir_alloc_array(arena, room, sizeof(double)),
        .second = ir_alloc_array(arena, room, sizeof(double))};
}

static void pick_add(struct pick *p, int index, double first, double second)
{
    p->index[p->n] = index;
    p->first[p->n] = first;
    p->second[p->n++] = second;
}

static struct ir_value *pick_numbers(struct tr_net_builder *b,
                                     struct ir_value *x)
{
    const struct tr_net_input *in = &b->job->net->input;
    struct pick p = pick_new(b, in->n_numbers);
    for (int i = 0; i < in->n_columns; i++)
        if (!in->column[i].is_category)
            pick_add(&p, i, in->column[i].mean, in->column[i].scale);
    if (p.n < in->n_columns)
        x = gather(b, x, p.n, p.index);
    return standardise(b, x, p.n, p.first, p.second);
}

static struct ir_value *pick_missing(struct tr_net_builder *b,
                                     struct ir_value *x)
{
    const struct tr_net_input *in = &b->job->net->input;
    struct pick p = pick_new(b, in->n_missing);
    for (int i = 0; i < in->n_columns; i++)
        if (in->column[i].has_missing)
            pick_add(&p, i, 0, 0);
    x = gather(b, x, p.n, p.index);
    return map(b, "x0 isnan", 1, &x);
}

static struct ir_value *pick_one_hot(struct tr_net_builder *b,
                                     struct ir_value *x)
{
    const struct tr_net_input *in = &b->job->net->input;
    struct pick p = pick_new(b, in->n_one_hot);
    for (int i = 0; i < in->n_columns; i++) {
        const struct tr_net_column *c = &in->column[i];
        for (int k = 0; c->is_category && c->width == 0 && k < c->n_codes; k++)
            pick_add(&p, i, k, 0);
    }
    struct ir_value *both[] = {gather(b, x, p.n, p.index),
                               column_numbers(b, p.n, p.first)};
    return map(b, "x0 x1 eq", 2, both);
}

static struct ir_value *pick_codes(struct tr_net_builder *b,
                                   struct ir_value *x)
{
    const struct tr_net_input *in = &b->job->net->input;
    struct pick p = pick_new(b, in->n_tables);
    for (int i = 0; i < in->n_columns; i++)
        if (in->column[i].width > 0)
            pick_add(&p, i, in->column[i].n_codes, 0);
    struct ir_value *both[] = {gather(b, x, p.n, p.index),
                               column_numbers(b, p.n, p.first)};
    return map(b, "x0 isnan x1 x0 where", 2, both);
}

/* The input has the rows' shape at once, so that passes see which dim is time:
 * of numbers that are reshaped later nothing tells them. */
static struct ir_value *build_input(struct tr_net_builder *b)
{
    const struct tr_net_input *in = &b->job->net->input;
    const struct ir_attr attrs[] = {
        ir_int("first", 0), ir_int("count", in->n_columns),
        ir_string("dtype", ir_dtype_name(in->dtype)),
        ints(b, "shape", in->rank, in->dim)};
    struct ir_value *x =
        build(b, IR_OP_input, 0, NULL, in->rank > 1 ? 4 : 3, attrs);
    struct ir_value *part[3];
    int n = 0;
    if (in->n_numbers > 0)
        part[n++] = pick_numbers(b, x);
    if (in->n_missing > 0)
        part[n++] = pick_missing(b, x);
    if (in->n_one_hot > 0)
        part[n++] = pick_one_hot(b, x);
    if (in->n_tables > 0)
        b->codes = pick_codes(b, x);
    return n > 0 ? concat(b, n, part) : NULL;
}

/* -------------------------------------------------------- folded weights -- */

/* What is put into a product's results: the batch norm right behind it, or the
 * targets' scale. */
struct folding {
    tr_real *scale, *shift; /* NULL: nothing */
};

static bool is_product(const struct tr_layer *layer)
{
    return layer->kind == &tr_kind_dense || layer->kind == &tr_kind_conv;
}

/* Whether f32 cannot hold a regression's values as finely as it learned them,
 * or at all. */
static bool is_wide(const struct tr_net_fit *fit)
{
    const double mean = fabs(fit->target_mean), scale = fit->target_scale;
    return mean > 1024 * scale || mean > 1e30 || scale > 1e30 ||
           scale < 1e-30;
}

static struct folding folding_of(struct tr_net_builder *b, int i)
{
    const struct tr_net *net = b->net;
    const struct tr_net_fit *fit = b->job->net;
    const size_t n = (size_t)net->layer[i].units;
    const bool last = i == net->n_layers - 1;
    struct folding f = {NULL, NULL};
    if (last && is_wide(fit))
        return f;
    if (!last && net->layer[i + 1].kind != &tr_kind_batchnorm)
        return f;
    f.scale = ir_alloc_array(&b->module->arena, n, sizeof(*f.scale));
    f.shift = ir_alloc_array(&b->module->arena, n, sizeof(*f.shift));
    if (!last) {
        tr_norm_affine(&net->layer[i + 1], net->theta, f.scale, f.shift);
        return f;
    }
    for (size_t k = 0; k < n; k++) {
        f.scale[k] = (tr_real)fit->target_scale;
        f.shift[k] = (tr_real)fit->target_mean;
    }
    return f;
}

/* Weights of which element i belongs to output i / each % units. */
static tr_real *fold_weights(struct tr_net_builder *b,
                             const struct tr_layer *layer,
                             const struct folding *f, int64_t each)
{
    const struct tr_block *block = &layer->block[0];
    const tr_real *from = b->net->theta + block->first;
    tr_real *to = ir_alloc_array(&b->module->arena, (size_t)block->n,
                                 sizeof(*to));
    for (int64_t i = 0; i < block->n; i++)
        to[i] = f->scale ? from[i] * f->scale[i / each % layer->units]
                         : from[i];
    return to;
}

static tr_real *fold_bias(struct tr_net_builder *b,
                          const struct tr_layer *layer,
                          const struct folding *f)
{
    const struct tr_block *block = &layer->block[1];
    const tr_real *from = b->net->theta + block->first;
    tr_real *to = ir_alloc_array(&b->module->arena, (size_t)block->n,
                                 sizeof(*to));
    for (int64_t i = 0; i < block->n; i++)
        to[i] = f->scale ? from[i] * f->scale[i] + f->shift[i] : from[i];
    return to;
}

/* ---------------------------------------------------------------- layers -- */

static struct ir_value *gemm(struct tr_net_builder *b, struct ir_value *x,
                             int64_t inputs, int64_t outputs,
                             const tr_real *weights, const tr_real *bias)
{
    const int64_t dim[] = {inputs, outputs};
    const struct ir_attr attrs[] = {reals(b, "weights", 2, dim, weights),
                                    reals(b, "bias", 1, &outputs, bias),
                                    ir_int("block", ir_gemm_block(outputs))};
    return build(b, IR_OP_gemm, 1, &x, 3, attrs);
}

struct ir_value *tr_build_dense(struct tr_net_builder *b, int i,
                                struct ir_value *x)
{
    const struct tr_layer *layer = &b->net->layer[i];
    const struct folding f = folding_of(b, i);
    return gemm(b, x, layer->in.inner, layer->units,
                fold_weights(b, layer, &f, 1), fold_bias(b, layer, &f));
}

/* The pairs of a layer as attributes want them: only `across` for one dim. */
static struct ir_attr pairs(struct tr_net_builder *b,
                            const struct tr_layer *layer, const char *name,
                            const int64_t pair[2])
{
    const int flat = layer->in.rank == 2;
    return ints(b, name, 2 - flat, pair + flat);
}

static struct ir_attr pads(struct tr_net_builder *b,
                           const struct tr_layer *layer)
{
    const int64_t all[] = {layer->before[0], layer->before[1],
                           layer->after[0], layer->after[1]};
    const int64_t across[] = {layer->before[1], layer->after[1]};
    return layer->in.rank == 2 ? ints(b, "pads", 2, across)
                               : ints(b, "pads", 4, all);
}

struct ir_value *tr_build_conv(struct tr_net_builder *b, int i,
                               struct ir_value *x)
{
    const struct tr_layer *layer = &b->net->layer[i];
    const struct folding f = folding_of(b, i);
    const int flat = layer->in.rank == 2;
    const int64_t dim[] = {layer->units, layer->in.lead / layer->groups,
                           layer->kernel[flat], layer->kernel[1]};
    const int64_t each = dim[1] * layer->kernel[0] * layer->kernel[1];
    const struct ir_attr attrs[] = {
        reals(b, "weights", 4 - flat, dim, fold_weights(b, layer, &f, each)),
        reals(b, "bias", 1, &layer->units, fold_bias(b, layer, &f)),
        pairs(b, layer, "strides", layer->stride), pads(b, layer),
        pairs(b, layer, "dilations", layer->dilation),
        ir_int("groups", layer->groups)};
    return build(b, IR_OP_conv, 1, &x, 6, attrs);
}

struct ir_value *tr_build_pool(struct tr_net_builder *b, int i,
                               struct ir_value *x)
{
    static const int64_t ones[] = {1, 1};
    const struct tr_layer *layer = &b->net->layer[i];
    const struct ir_attr attrs[] = {
        ir_string("kind",
                  layer->kind == &tr_kind_maxpool ? "max" : "average"),
        pairs(b, layer, "kernel", layer->kernel),
        pairs(b, layer, "strides", layer->stride), pads(b, layer),
        pairs(b, layer, "dilations", ones), ir_int("count_padding", 0)};
    return build(b, IR_OP_pool, 1, &x, 6, attrs);
}

static const char *const activation_program[TR_N_ACTIVATIONS] = {
    [TR_RELU] = "x0 0 max",
    [TR_LEAKY_RELU] = "x0 0 gt x0 x0 0.01 mul where",
    [TR_ELU] = "x0 0 gt x0 x0 fast_expm1 where",
    [TR_GELU] = ("x0 0.5 mul 1 x0 x0 mul 0.044715 mul 1 add x0 mul "
                 "0.7978845608028654 mul tanh add mul"),
    [TR_SILU] = "x0 x0 sigmoid mul",
    [TR_SOFTPLUS] = "x0 softplus",
    [TR_SIGMOID] = "x0 sigmoid",
    [TR_TANH] = "x0 tanh",
};

struct ir_value *tr_build_activation(struct tr_net_builder *b, int i,
                                     struct ir_value *x)
{
    return map(b, activation_program[b->net->layer[i].activation], 1, &x);
}

struct ir_value *tr_build_nothing(struct tr_net_builder *b, int i,
                                  struct ir_value *x)
{
    (void)b;
    (void)i;
    return x;
}

struct ir_value *tr_build_flatten(struct tr_net_builder *b, int i,
                                  struct ir_value *x)
{
    const struct tr_shape *out = &b->net->layer[i].out;
    return b->net->layer[i].in.rank == 1 ? x
                                         : reshape(b, x, 1, out->dim);
}

struct ir_value *tr_build_transpose(struct tr_net_builder *b, int i,
                                    struct ir_value *x)
{
    const struct tr_shape *out = &b->net->layer[i].out;
    const int64_t strides[] = {1, out->dim[0]};
    return view(b, x, 2, out->dim, strides, 0);
}

struct ir_value *tr_build_laststep(struct tr_net_builder *b, int i,
                                   struct ir_value *x)
{
    const struct tr_layer *layer = &b->net->layer[i];
    const bool series = layer->in.kind == TR_SERIES;
    const int64_t stride = series ? 1 : layer->in.inner;
    return view(b, x, 1, layer->out.dim, &stride,
                series ? (layer->in.lead - 1) * layer->in.inner
                       : layer->in.inner - 1);
}

/* x holds the plain numbers, and NULL when there are none but codes. */
struct ir_value *tr_build_embed(struct tr_net_builder *b, int i,
                                struct ir_value *x)
{
    const struct tr_layer *layer = &b->net->layer[i];
    const tr_real *table = b->net->theta + layer->block[0].first;
    const int64_t plain = layer->in.inner - layer->n_tables;
    struct ir_value **part = ir_alloc_array(
        &b->module->arena, (size_t)layer->n_tables + 1, sizeof(*part));
    int n = 0;
    if (plain > 0)
        part[n++] = x;
    for (int32_t t = 0; t < layer->n_tables; t++) {
        const int64_t dim[] = {layer->table_rows[t], layer->table_width[t]};
        const struct ir_attr attr = reals(b, "table", 2, dim, table);
        struct ir_value *code = gather(b, b->codes, 1, &t);
        part[n++] = reshape(b, build(b, IR_OP_take, 1, &code, 1, &attr), 1,
                            &dim[1]);
        table += dim[0] * dim[1];
    }
    return concat(b, n, part);
}

/* One product and sum of each feature, unless the layer before has them. */
struct ir_value *tr_build_norm(struct tr_net_builder *b, int i,
                               struct ir_value *x)
{
    const struct tr_layer *layer = &b->net->layer[i];
    const int64_t n = layer->block[0].n;
    if (i > 0 && is_product(layer - 1))
        return x;
    tr_real *numbers = ir_alloc_array(&b->module->arena, 2 * (size_t)n,
                                      sizeof(*numbers));
    tr_norm_affine(layer, b->net->theta, numbers, numbers + n);
    const int64_t dim[] = {n, 1, 1}; /* goes with each of a channel */
    const int rank = layer->in.kind == TR_CHANNELS ? layer->in.rank : 1;
    struct ir_value *all[] = {
        x, constant(b, TR_REAL_DTYPE, rank, dim, numbers),
        constant(b, TR_REAL_DTYPE, rank, dim, numbers + n)};
    return map(b, "x0 x1 mul x2 add", 3, all);
}

/* ------------------------------------------------------------- recurrent -- */

#define SIGMOID "x0 sigmoid"

static const tr_real *params(const struct tr_net_builder *b,
                             const struct tr_layer *layer, int block)
{
    return b->net->theta + layer->block[block].first;
}

/* The scan of one direction, whose blocks are from `first` on. */
static struct ir_op *build_scan(struct tr_net_builder *b,
                                const struct tr_layer *layer, int first,
                                bool reverse, struct ir_value *x)
{
    const int64_t h = layer->units;
    const int64_t width = layer->block[first + 2].n;
    const bool lstm = layer->kind == &tr_kind_lstm;
    const bool gru = layer->kind == &tr_kind_gru;
    const int64_t dim[] = {h, width}, n_state = lstm ? 2 * h : h;
    const char *plain = layer->activation == TR_RELU ? "x0 0 max" : "x0 tanh";
    tr_real *zeros = ir_alloc_array(&b->module->arena, 2 * (size_t)h,
                                    sizeof(*zeros));
    struct ir_value *operand[] = {
        gemm(b, x, layer->in.inner, width, params(b, layer, first),
             params(b, layer, first + 2)),
        constant(b, TR_REAL_DTYPE, 1, &n_state, zeros)};
    struct ir_attr attrs[8] = {
        ir_string("cell", layer->kind->name),
        reals(b, "recurrent", 2, dim, params(b, layer, first + 1)),
        ir_int("reverse", reverse),
        ir_string("gate", lstm || gru ? SIGMOID : plain)};
    int n = 4;
    if (lstm || gru)
        attrs[n++] = ir_string("candidate", "x0 tanh");
    if (lstm)
        attrs[n++] = ir_string("output", "x0 tanh");
    if (gru) {
        attrs[n++] = ir_int("linear_before_reset", 1);
        attrs[n++] = reals(b, "recurrent_bias", 1, &h,
                           params(b, layer, first + 3));
    }
    return operand[0] && operand[1]
               ? ir_add_op(b->module, IR_OP_scan, 2, operand, n, attrs,
                           b->diag)
               : NULL;
}

struct ir_value *tr_build_recurrent(struct tr_net_builder *b, int i,
                                    struct ir_value *x)
{
    const struct tr_layer *layer = &b->net->layer[i];
    struct ir_value *result[2];
    int n = 0;
    for (int d = 0; d < 2; d++) {
        if (d ? !layer->reverse : !layer->forward)
            continue;
        struct ir_op *scan =
            x ? build_scan(b, layer, d * layer->n_blocks / 2, d, x) : NULL;
        if (!scan)
            return NULL;
        result[n++] = layer->one_step
                          ? reshape(b, &scan->result[1], 1, &layer->units)
                          : &scan->result[0];
    }
    const struct ir_attr axis = ir_int("axis", 1);
    return n == 1 || layer->one_step
               ? concat(b, n, result)
               : build(b, IR_OP_concat, n, result, 1, &axis);
}

/* ----------------------------------------------------------------- model -- */

/* Values of a regression in f64. */
static struct ir_value *widen(struct tr_net_builder *b, struct ir_value *x)
{
    const struct tr_net_fit *fit = b->job->net;
    struct ir_attr attrs[] = {ir_string("program", "x0"),
                              ir_string("dtype", "f64")};
    struct ir_text program;
    ir_text_init(&program);
    ir_text_puts(&program, "x0 ");
    ir_text_double(&program, fit->target_scale);
    ir_text_puts(&program, " mul ");
    ir_text_double(&program, fit->target_mean);
    ir_text_puts(&program, " add");
    x = build(b, IR_OP_map, 1, &x, 2, attrs);
    attrs[0].s = ir_strdup(&b->module->arena, program.data);
    ir_text_release(&program);
    return build(b, IR_OP_map, 1, &x, 2, attrs);
}

struct ir_module *tr_model_net(const struct tr_fit_job *job, const char *name,
                               struct ir_diag *diag)
{
    const struct tr_net *net = &job->net->net;
    struct tr_net_builder b = {.job = job, .net = net, .diag = diag,
                               .module = tr_model_start(job, name)};
    ir_set_fact(b.module, "layers", job->params->layers);
    struct ir_value *x = build_input(&b);
    for (int i = 0; i < net->n_layers; i++)
        x = net->layer[i].kind->build(&b, i, x);
    if (is_wide(job->net))
        x = widen(&b, x);
    if (x && tr_model_outputs(job, b.module, x, diag) &&
        ir_verify(b.module, diag))
        return b.module;
    ir_module_free(b.module);
    return NULL;
}

/* nets.c: types and rules of what nets are made of: gemm, matmul, conv, pool
 * and scan, and of the slices that softmax, argmax and reduce look at. What
 * they compute is in eval_nets.c.
 *
 * Sizes come from strangers. Every dim that counts is checked to be at most
 * IR_MAX_ELEMENTS, 2^24, before it is multiplied with another, so that products
 * of two fit; longer ones are checked for overflow. */
#include "ir/ir_impl.h"

#include <math.h>
#include <string.h>

#define bad(...) ir_op_error(__VA_ARGS__)

static const int64_t *ints(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->data : NULL;
}

/* At most INT64_MAX. */
static int64_t product(int64_t a, int64_t b)
{
    int64_t n;
    return __builtin_mul_overflow(a, b, &n) ? INT64_MAX : n;
}

/* The tensor `name` is of the dtype and has these dims; a message names those
 * that it lacks. */
static bool check_dims(const struct ir_op *op, const char *name,
                       enum ir_dtype dtype, int rank, const int64_t *dims,
                       struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    struct ir_type want = {.dtype = dtype, .rank = rank};
    if (!t)
        return true;
    memcpy(want.dim, dims, (size_t)rank * sizeof(*dims));
    if (ir_type_equal(&t->type, &want))
        return true;
    struct ir_text text;
    ir_text_init(&text);
    ir_text_type(&text, &t->type);
    ir_text_puts(&text, ", not ");
    ir_text_type(&text, &want);
    bad(op, diag, "%s is %s", name, text.data);
    ir_text_release(&text);
    return false;
}

static bool check_flag(const struct ir_op *op, const char *name,
                       struct ir_diag *diag)
{
    const int64_t v = ir_attr_int_or(op, name, 0);
    return v == 0 || v == 1 || bad(op, diag, "%s is %lld, not 0 or 1", name,
                                   (long long)v);
}

/* ------------------------------------------------------------------ slices */

struct ir_slices ir_slices_of(const struct ir_op *op)
{
    const int64_t n = ir_type_volume(&op->operand[0]->type);
    struct ir_slices s = {.size = ir_attr_int_or(op, "size", n),
                          .inner = ir_attr_int_or(op, "inner", 1)};
    s.outer = n / (s.size * s.inner);
    return s;
}

bool ir_check_slices(const struct ir_op *op, struct ir_diag *diag)
{
    const int64_t n = ir_type_volume(&op->operand[0]->type);
    const int64_t size = ir_attr_int_or(op, "size", n);
    const int64_t inner = ir_attr_int_or(op, "inner", 1);
    if (size < 1 || size > n || inner < 1 || inner > n ||
        n % (size * inner) != 0)
        return bad(op, diag, "size %lld and inner %lld do not divide %lld "
                   "elements", (long long)size, (long long)inner,
                   (long long)n);
    return true;
}

/* ----------------------------------------------------------------- weights */

/* Most terms of a sum of u8 times i8 that is below 2^31. */
enum { most_terms = INT32_MAX / (255 * 128) };

/* Whether an op on x may have weights of this dtype. */
static bool is_weight(enum ir_dtype w, enum ir_dtype x, bool or_int8)
{
    return (w == x && x != IR_U8) || (x == IR_U8 && w == IR_I8 && or_int8) ||
           (x == IR_F32 && (w == IR_BF16 || (or_int8 && w == IR_I8)));
}

/* The operand is real, or u8; further ones are the epilogue's. */
static bool check_operand(const struct ir_op *op, struct ir_diag *diag)
{
    const enum ir_dtype dtype = op->operand[0]->type.dtype;
    return ir_is_real(dtype) || dtype == IR_U8 ||
           bad(op, diag, "operand 0 is of %s, not f32, f64 or u8",
               ir_dtype_name(dtype));
}

/* Gives the result's type its dtype. */
static bool infer_dtype(const struct ir_op *op, struct ir_type *type,
                        struct ir_diag *diag)
{
    const struct ir_attr *asked = ir_find_attr(op, "dtype");
    type->dtype = asked ? IR_U8 : ir_compute_dtype(op);
    return !asked || !strcmp(asked->s, "u8") ||
           bad(op, diag, "dtype is '%s', not 'u8'", asked->s);
}

/* No sum can pass 2^31, wherever it starts. */
static bool check_start(const struct ir_op *op, int64_t terms, int64_t n,
                        struct ir_diag *diag)
{
    const struct ir_tensor *t = ir_attr_tensor(op, "start");
    const int64_t room = INT32_MAX - terms * 255 * 128;
    if (!ir_check_vector(op, "start", IR_I32, n, diag))
        return false;
    for (int64_t i = 0; t && i < n; i++) {
        const int64_t v = ((const int32_t *)t->data)[i];
        if (v > room || v < -room)
            return bad(op, diag, "start[%lld] is %lld, which sums of %lld "
                       "products of i8 can be too large with", (long long)i,
                       (long long)v, (long long)terms);
    }
    return true;
}

/* An operand that says which byte 0 is. */
static bool check_zero_operand(const struct ir_op *op, struct ir_diag *diag)
{
    if (!check_flag(op, "zero_operand", diag))
        return false;
    if (!ir_has_zero_operand(op))
        return true;
    if (op->operand[0]->type.dtype != IR_U8 || ir_find_attr(op, "input_zero"))
        return bad(op, diag, "zero_operand goes with an operand of u8 and "
                   "without input_zero");
    return (op->n_operands > 1 && op->operand[1]->type.dtype == IR_U8 &&
            ir_type_volume(&op->operand[1]->type) == 1) ||
           bad(op, diag, "operand 1 is no number of u8, as zero_operand says");
}

/* The attributes of weights of i8, of n columns of so many terms, are there
 * when the weights are such. */
static bool check_int8(const struct ir_op *op, int64_t terms, int64_t n,
                       struct ir_diag *diag)
{
    static const char *const names[] = {"input_zero", "scale", "input_scale"};
    const bool is_int8 =
        ir_attr_tensor(op, "weights")->type.dtype == IR_I8;
    const bool is_u8 = op->operand[0]->type.dtype == IR_U8;
    if (!check_zero_operand(op, diag))
        return false;
    for (int i = ir_has_zero_operand(op); i < (is_u8 ? 2 : 3); i++)
        if (!ir_find_attr(op, names[i]) == is_int8)
            return bad(op, diag, "weights of i8 and %s go together", names[i]);
    if (!is_int8)
        return (!ir_find_attr(op, "start") && !ir_find_attr(op, "dtype")) ||
               bad(op, diag, "start and dtype go with weights of i8");
    if (is_u8 && ir_find_attr(op, "input_scale"))
        return bad(op, diag, "an operand of u8 has no input_scale");
    const double scale = is_u8 ? 1 : ir_find_attr(op, "input_scale")->f;
    const int64_t zero = ir_attr_int_or(op, "input_zero", 0);
    if (!(scale > 0) || !isfinite(scale) || (double)(float)scale != scale)
        return bad(op, diag, "input_scale is %g, no positive f32", scale);
    if (zero < 0 || zero > 255)
        return bad(op, diag, "input_zero is %lld, not 0 to 255",
                   (long long)zero);
    if (terms > most_terms)
        return bad(op, diag, "sums of %lld products of i8 (%d can be had)",
                   (long long)terms, most_terms);
    return check_start(op, terms, n, diag) &&
           ir_check_vector(op, "scale", IR_F32, n, diag);
}

/* -------------------------------------------------------------------- gemm */

int64_t ir_gemm_block(int64_t n_outputs)
{
    return n_outputs <= 32 ? 8 : n_outputs <= 64 ? 16
           : n_outputs <= 128 ? 32 : 256;
}

bool ir_infer_gemm(const struct ir_module *module, struct ir_op *op,
                   struct ir_diag *diag)
{
    const struct ir_type *w = &ir_attr_tensor(op, "weights")->type;
    const int64_t block = ir_attr_int(op, "block");
    struct ir_type type = op->operand[0]->type;
    (void)module;
    if (!check_operand(op, diag))
        return false;
    if (type.rank == 0)
        return bad(op, diag, "the operand has rank 0");
    if (w->rank != 2 || !is_weight(w->dtype, type.dtype, true))
        return bad(op, diag, "weights are no matrix of %s",
                   ir_dtype_name(type.dtype));
    if (w->dim[0] != type.dim[type.rank - 1])
        return bad(op, diag, "weights are %lld x %lld, the operand's last dim "
                   "is %lld", (long long)w->dim[0], (long long)w->dim[1],
                   (long long)type.dim[type.rank - 1]);
    if (block < 1 || block > IR_MAX_ELEMENTS)
        return bad(op, diag, "block is %lld (1 to %d can be had)",
                   (long long)block, IR_MAX_ELEMENTS);
    type.dim[type.rank - 1] = w->dim[1];
    if (!infer_dtype(op, &type, diag))
        return false;
    op->result[0].type = type;
    return ir_check_size(op, &type, diag) &&
           ir_check_vector(op, "bias", ir_compute_dtype(op), w->dim[1],
                           diag) &&
           check_int8(op, w->dim[0], w->dim[1], diag);
}

bool ir_verify_gemm(const struct ir_module *module, const struct ir_op *op,
                    struct ir_diag *diag)
{
    (void)module;
    return ir_check_epilogue(op, ir_has_zero_operand(op) ? 2 : 1, diag);
}

/* ------------------------------------------------------------------ matmul */

bool ir_infer_matmul(const struct ir_module *module, struct ir_op *op,
                     struct ir_diag *diag)
{
    const struct ir_type *a = &op->operand[0]->type;
    const struct ir_type *b = &op->operand[1]->type;
    const int rank = a->rank;
    (void)module;
    if (!ir_check_reals(op, diag))
        return false;
    bool fit = rank >= 2 && b->rank == rank && a->dtype == b->dtype &&
               a->dim[rank - 1] == b->dim[rank - 2];
    for (int i = 0; fit && i < rank - 2; i++)
        fit = a->dim[i] == b->dim[i];
    if (!fit) {
        struct ir_text text;
        ir_text_init(&text);
        ir_text_type(&text, a);
        ir_text_puts(&text, " times ");
        ir_text_type(&text, b);
        bad(op, diag, "%s cannot be had", text.data);
        ir_text_release(&text);
        return false;
    }
    op->result[0].type = *a;
    op->result[0].type.dim[rank - 1] = b->dim[rank - 1];
    return ir_check_size(op, &op->result[0].type, diag);
}

IR_NO_MORE_RULES(matmul)

/* ----------------------------------------------------------- conv and pool */

/* How many dims windows move along. */
static int space_of(const struct ir_op *op)
{
    return op->operand[0]->type.rank - 1;
}

/* Which dim of the operand and of the result is channels. */
static int channel_dim(const struct ir_op *op)
{
    return ir_attr_int_or(op, "channels_last", 0) ? space_of(op) : 0;
}

/* The kernel's size along dim i. */
static int64_t kernel_of(const struct ir_op *op, int i)
{
    return op->kind == IR_OP_conv
               ? ir_attr_tensor(op, "weights")->type.dim[2 + i]
               : ints(op, "kernel")[i];
}

void ir_window_view(const struct ir_op *op, struct ir_window *window)
{
    const struct ir_type *x = &op->operand[0]->type;
    const struct ir_type *y = &op->result[0].type;
    const int n = space_of(op);
    const bool last = ir_attr_int_or(op, "channels_last", 0);
    const int at = last ? 0 : 1; /* of the first dim to move along */
    const struct ir_window_dim one = {.in = 1, .out = 1, .kernel = 1,
                                      .stride = 1, .dilation = 1, .spread = 1};
    const int64_t *spread = op->kind == IR_OP_conv
                                ? ints(op, "input_dilations") : NULL;
    const int64_t *extra = op->kind == IR_OP_pool ? ints(op, "extra") : NULL;
    *window = (struct ir_window){.channels = x->dim[last ? n : 0],
                                  .taps = 1};
    for (int i = 0; i < IR_MAX_SPACE; i++)
        window->dim[i] = one;
    for (int i = 0; i < n; i++) {
        struct ir_window_dim *d = &window->dim[IR_MAX_SPACE - n + i];
        d->in = x->dim[at + i];
        d->out = y->dim[at + i];
        d->kernel = kernel_of(op, i);
        d->stride = ints(op, "strides")[i];
        d->dilation = ints(op, "dilations")[i];
        d->before = ints(op, "pads")[i];
        d->after = ints(op, "pads")[n + i];
        d->spread = spread ? spread[i] : 1;
        d->extra = extra ? extra[i] : 0;
        window->taps = product(window->taps, d->kernel);
    }
}

int64_t ir_common_divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

int64_t ir_window_at(const struct ir_window_dim *d, int64_t o, int64_t k)
{
    const int64_t place = o * d->stride + k * d->dilation - d->before;
    if (place % d->spread != 0)
        return IR_GAP;
    if (place < 0 || place > (d->in - 1) * d->spread)
        return IR_PADDING;
    return place / d->spread;
}

/* Sets the result's dims but for the first: as many windows as fit. */
static bool infer_windows(struct ir_op *op, struct ir_type *type,
                          struct ir_diag *diag)
{
    const int n = space_of(op);
    const int at = ir_attr_int_or(op, "channels_last", 0) ? 0 : 1;
    struct ir_window w;
    type->rank = n + 1;
    op->result[0].type = *type;
    ir_window_view(op, &w);
    for (int i = 0; i < n; i++) {
        const struct ir_window_dim *d = &w.dim[IR_MAX_SPACE - n + i];
        const int64_t places = (d->in - 1) * d->spread + 1 + d->before +
                               d->after + d->extra;
        const int64_t reach = (d->kernel - 1) * d->dilation + 1;
        if (reach > places)
            return bad(op, diag, "a window takes %lld places along dim %d, "
                       "there are %lld", (long long)reach, i,
                       (long long)places);
        type->dim[at + i] = (places - reach) / d->stride + 1;
    }
    op->result[0].type = *type;
    return ir_check_size(op, type, diag);
}

/* The operand has channels and dims to move along, and the attributes that conv
 * and pool share have one number for each of these. */
static bool check_space(const struct ir_op *op, struct ir_diag *diag)
{
    const int n = space_of(op);
    if (!check_operand(op, diag))
        return false;
    if (n < 1 || n > IR_MAX_SPACE)
        return bad(op, diag, "the operand has rank %d, not 2 to %d", n + 1,
                   IR_MAX_SPACE + 1);
    return check_flag(op, "channels_last", diag) &&
           ir_check_ints(op, "strides", n, 1, IR_MAX_ELEMENTS, diag) &&
           ir_check_ints(op, "pads", 2 * n, 0, IR_MAX_ELEMENTS, diag) &&
           ir_check_ints(op, "dilations", n, 1, IR_MAX_ELEMENTS, diag);
}

/* Weights of a conv: [M][C / groups] and then the kernel. */
static bool check_conv_weights(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_type *x = &op->operand[0]->type;
    const struct ir_type *w = &ir_attr_tensor(op, "weights")->type;
    const int64_t groups = ir_attr_int(op, "groups");
    const int64_t channels = x->dim[channel_dim(op)];
    if (w->rank != x->rank + 1 || !is_weight(w->dtype, x->dtype, true))
        return bad(op, diag, "weights are of %s and rank %d, not %s and %d",
                   ir_dtype_name(w->dtype), w->rank, ir_dtype_name(x->dtype),
                   x->rank + 1);
    for (int i = 0; i < w->rank; i++)
        if (w->dim[i] < 1 || w->dim[i] > IR_MAX_ELEMENTS)
            return bad(op, diag, "dim %d of weights is %lld", i,
                       (long long)w->dim[i]);
    if (groups < 1 || channels % groups != 0 || w->dim[0] % groups != 0)
        return bad(op, diag, "%lld groups of %lld channels and %lld results",
                   (long long)groups, (long long)channels,
                   (long long)w->dim[0]);
    if (w->dim[1] != channels / groups)
        return bad(op, diag, "weights are for %lld channels, a group has %lld",
                   (long long)w->dim[1], (long long)(channels / groups));
    return ir_check_vector(op, "bias", ir_compute_dtype(op), w->dim[0], diag);
}

static bool check_conv_int8(const struct ir_op *op, struct ir_diag *diag)
{
    const struct ir_type *w = &ir_attr_tensor(op, "weights")->type;
    struct ir_window window;
    ir_window_view(op, &window);
    for (int i = 0; i < IR_MAX_SPACE; i++)
        if (w->dtype == IR_I8 && window.dim[i].spread > 1)
            return bad(op, diag, "weights of i8 with input_dilations");
    return check_int8(op, product(w->dim[1], window.taps), w->dim[0], diag);
}

bool ir_infer_conv(const struct ir_module *module, struct ir_op *op,
                   struct ir_diag *diag)
{
    struct ir_type type = op->operand[0]->type;
    (void)module;
    if (!check_space(op, diag) ||
        !ir_check_ints(op, "input_dilations", space_of(op), 1,
                       IR_MAX_ELEMENTS, diag) ||
        !check_conv_weights(op, diag) || !infer_dtype(op, &type, diag))
        return false;
    type.dim[channel_dim(op)] = ir_attr_tensor(op, "weights")->type.dim[0];
    return infer_windows(op, &type, diag) && check_conv_int8(op, diag) &&
           ir_check_winograd(op, diag);
}

bool ir_verify_conv(const struct ir_module *module, const struct ir_op *op,
                    struct ir_diag *diag)
{
    (void)module;
    const int own = ir_has_zero_operand(op) ? 2 : 1;
    if (op->n_operands > own && !ir_attr_int_or(op, "channels_last", 0))
        return bad(op, diag, "%d operands (it takes %d, but for an epilogue "
                   "with channels_last)", op->n_operands, own);
    return ir_check_epilogue(op, own, diag);
}

bool ir_infer_pool(const struct ir_module *module, struct ir_op *op,
                   struct ir_diag *diag)
{
    const char *kind = ir_attr_string(op, "kind");
    struct ir_type type = op->operand[0]->type;
    (void)module;
    if (!check_space(op, diag) || !check_flag(op, "count_padding", diag) ||
        !ir_check_ints(op, "kernel", space_of(op), 1, IR_MAX_ELEMENTS,
                       diag) ||
        !ir_check_ints(op, "extra", space_of(op), 0, IR_MAX_ELEMENTS, diag))
        return false;
    if (strcmp(kind, "max") != 0 && strcmp(kind, "average") != 0)
        return bad(op, diag, "kind is '%s', not 'max' or 'average'", kind);
    if (type.dtype == IR_U8 && strcmp(kind, "max") != 0)
        return bad(op, diag, "the average of numbers of u8");
    return infer_windows(op, &type, diag);
}

IR_NO_MORE_RULES(pool)

/* -------------------------------------------------------------------- scan */

/* By cell: its name, gates and states, and how many of the activations gate,
 * candidate and output it has. */
static const struct {
    const char *name;
    int n_gates, n_states, n_programs;
} cells[IR_N_CELLS] = {
    [IR_LSTM] = {"lstm", 4, 2, 3},
    [IR_GRU] = {"gru", 3, 1, 2},
    [IR_RNN] = {"rnn", 1, 1, 1},
};
static const char *const activations[3] = {"gate", "candidate", "output"};

/* IR_N_CELLS for none. */
static enum ir_cell find_cell(const char *name)
{
    int cell = 0;
    while (cell < IR_N_CELLS && strcmp(name, cells[cell].name) != 0)
        cell++;
    return (enum ir_cell)cell;
}

static const void *data_of(const struct ir_op *op, const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    return t ? t->data : NULL;
}

void ir_scan_view(const struct ir_op *op, struct ir_scan *scan)
{
    const struct ir_attr *clip = ir_find_attr(op, "clip");
    const enum ir_cell cell = find_cell(ir_attr_string(op, "cell"));
    *scan = (struct ir_scan){
        .cell = cell,
        .n_gates = cells[cell].n_gates,
        .n_states = cells[cell].n_states,
        .steps = op->operand[0]->type.dim[0],
        .hidden = ir_attr_tensor(op, "recurrent")->type.dim[0],
        .recurrent = data_of(op, "recurrent"),
        .recurrent_bias = data_of(op, "recurrent_bias"),
        .peephole = data_of(op, "peephole"),
        .clip = clip ? clip->f : INFINITY,
        .reverse = ir_attr_int(op, "reverse"),
        .linear_before_reset = ir_attr_int_or(op, "linear_before_reset", 0),
        .input_forget = ir_attr_int_or(op, "input_forget", 0)};
    for (int i = 0; i < cells[cell].n_programs; i++)
        scan->program[i] = ir_attr_string(op, activations[i]);
}

/* What the operand has, and of the recurrent weights, [H][gates * H]. */
static bool check_scan_shapes(const struct ir_op *op, enum ir_cell cell,
                              struct ir_diag *diag)
{
    const struct ir_type *z = &op->operand[0]->type;
    const int gates = cells[cell].n_gates, states = cells[cell].n_states;
    if (z->rank != 2 || z->dim[1] % gates != 0)
        return bad(op, diag, "operand 0 is no matrix of %d gates a step",
                   gates);
    const int64_t h = z->dim[1] / gates;
    const int64_t whole[] = {h, z->dim[1]}, three[] = {3 * h};
    const int64_t n_state = ir_type_volume(&op->operand[1]->type);
    if (n_state != states * h || op->operand[1]->type.dtype != z->dtype)
        return bad(op, diag, "operand 1 has %lld elements of %s, the state is "
                   "%lld of %s", (long long)n_state,
                   ir_dtype_name(op->operand[1]->type.dtype),
                   (long long)(states * h), ir_dtype_name(z->dtype));
    if (op->n_operands > 2 && ir_type_volume(&op->operand[2]->type) != 1)
        return bad(op, diag, "operand 2, the length, has %lld elements",
                   (long long)ir_type_volume(&op->operand[2]->type));
    /* As bf16, too; what else it is then is said of z's dtype. */
    const enum ir_dtype stored =
        ir_attr_tensor(op, "recurrent")->type.dtype;
    const enum ir_dtype dtype =
        is_weight(stored, z->dtype, false) ? stored : z->dtype;
    return check_dims(op, "recurrent", dtype, 2, whole, diag) &&
           check_dims(op, "recurrent_bias", z->dtype, 1, &h, diag) &&
           check_dims(op, "peephole", z->dtype, 1, three, diag);
}

bool ir_infer_scan(const struct ir_module *module, struct ir_op *op,
                   struct ir_diag *diag)
{
    const struct ir_type *z = &op->operand[0]->type;
    const char *name = ir_attr_string(op, "cell");
    const enum ir_cell cell = find_cell(name);
    (void)module;
    for (int i = 0; i < 2; i++)
        if (!ir_is_real(op->operand[i]->type.dtype))
            return bad(op, diag, "operand %d is of %s, not f32 or f64", i,
                       ir_dtype_name(op->operand[i]->type.dtype));
    if (cell == IR_N_CELLS)
        return bad(op, diag, "cell is '%s', not 'lstm', 'gru' or 'rnn'", name);
    if (!check_scan_shapes(op, cell, diag))
        return false;
    const int64_t h = z->dim[1] / cells[cell].n_gates;
    op->result[0].type = *z;
    op->result[0].type.dim[1] = h;
    op->result[1].type = *z;
    op->result[1].type.dim[0] = cells[cell].n_states;
    op->result[1].type.dim[1] = h;
    return true;
}

/* An attribute that only one of the cells has. */
static bool check_only(const struct ir_op *op, const char *name,
                       enum ir_cell has, enum ir_cell cell,
                       struct ir_diag *diag)
{
    return has == cell || !ir_find_attr(op, name) ||
           bad(op, diag, "a cell '%s' has no %s", cells[cell].name, name);
}

/* Programs over x0, as many as the cell has. */
static bool check_activations(const struct ir_op *op, enum ir_cell cell,
                              struct ir_diag *diag)
{
    for (int i = 0; i < 3; i++) {
        const struct ir_attr *a = ir_find_attr(op, activations[i]);
        if (!a != (i >= cells[cell].n_programs))
            return bad(op, diag, "a cell '%s' %s activation %s",
                       cells[cell].name, a ? "has no" : "needs the",
                       activations[i]);
        if (a && !ir_check_program(op, a->s, 1, diag))
            return false;
    }
    return true;
}

bool ir_verify_scan(const struct ir_module *module, const struct ir_op *op,
                    struct ir_diag *diag)
{
    const enum ir_cell cell = find_cell(ir_attr_string(op, "cell"));
    const struct ir_attr *clip = ir_find_attr(op, "clip");
    (void)module;
    if (clip && !(clip->f > 0))
        return bad(op, diag, "clip is %g, not above 0", clip->f);
    if (ir_find_attr(op, "recurrent_bias") &&
        ir_attr_int_or(op, "linear_before_reset", 0) != 1)
        return bad(op, diag, "recurrent_bias without linear_before_reset");
    return check_flag(op, "reverse", diag) &&
           check_flag(op, "linear_before_reset", diag) &&
           check_flag(op, "input_forget", diag) &&
           check_only(op, "peephole", IR_LSTM, cell, diag) &&
           check_only(op, "input_forget", IR_LSTM, cell, diag) &&
           check_only(op, "linear_before_reset", IR_GRU, cell, diag) &&
           check_activations(op, cell, diag);
}

/* -------------------------------------------------------------------- work */

int64_t ir_op_work(const struct ir_op *op)
{
    const struct ir_type *x = op->n_operands ? &op->operand[0]->type : NULL;
    const int64_t n = ir_type_volume(&op->result[0].type);
    struct ir_window w;
    switch (op->kind) {
    case IR_OP_dense:
        return product(n, ir_type_volume(x));
    case IR_OP_gemm:
    case IR_OP_matmul:
        return product(n, x->dim[x->rank - 1]);
    case IR_OP_conv:
        ir_window_view(op, &w);
        return product(n, product(ir_attr_tensor(op, "weights")->type.dim[1],
                                  w.taps));
    case IR_OP_pool:
        ir_window_view(op, &w);
        return product(n, w.taps);
    case IR_OP_scan:
        return product(ir_type_volume(x),
                       ir_attr_tensor(op, "recurrent")->type.dim[0]);
    default:
        return 0;
    }
}

int64_t ir_module_work(const struct ir_module *module)
{
    int64_t work = 0;
    for (int i = 0; i < module->n_ops; i++)
        if (__builtin_add_overflow(work, ir_op_work(module->ops[i]), &work))
            return INT64_MAX;
    return work;
}

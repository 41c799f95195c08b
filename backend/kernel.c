/* kernel.c: what the ops of nets share. Each op becomes a function of its own,
 * once a level, that is called from every run over tiles: (operand)..., the
 * results that are wanted, weights and bias, room to work in, and how many rows.
 * Ops that differ in weights and bias alone, as blocks of a deep net do, have
 * one function. All of these are
 * dense: element i of row r is at base[r * stride + i], with a stride that is
 * known when code is emitted. So the caller's rows are copied when they are
 * not like that, and a view that is but a reshape is its operand's buffer.
 *
 * A part of a vector is read and written in pieces of powers of 2: no level
 * need have masks, and nothing past the end is touched. */
#include "backend/llvm.h"

#include <string.h>

/* ------------------------------------------------------------------- dense */

struct be_dense be_dense_of(struct be_emitter *e, const struct ir_value *value)
{
    const struct ir_op *op = value->op;
    if (op->kind == IR_OP_constant)
        return (struct be_dense){be_constant_data(e, op), 0};
    if (value != e->out_value && ir_is_alias(op)) {
        struct be_dense x = be_dense_of(e, op->operand[0]);
        x.base = be_at(e, be_type(e, value->type.dtype), x.base,
                       be_i64(e, ir_attr_int(op, "offset")));
        return x;
    }
    const int64_t stride = ir_type_volume(&value->type);
    if (op->kind != IR_OP_input)
        return (struct be_dense){be_buffer(e, value), stride};
    if (!e->staged[value->id])
        ir_bug("the input %%%d is not staged", value->id);
    return (struct be_dense){e->staged[value->id], stride};
}

/* Copies the rows that an input is of to its buffer. */
static void copy_in(struct be_emitter *e, const struct ir_value *value,
                    LLVMValueRef to)
{
    const struct be_view x = be_view_of(e, value);
    LLVMTypeRef type = be_type(e, value->type.dtype);
    const int64_t n = ir_type_volume(&value->type);
    struct be_loop row, column;
    be_loop_begin(e, &row, be_i64(e, 0), e->n_rows, 1);
    LLVMValueRef at = be_at(
        e, type, to, LLVMBuildNSWMul(e->b, row.index, be_i64(e, n), ""));
    be_loop_begin(e, &column, be_i64(e, 0), be_i64(e, n), 1);
    LLVMValueRef v = be_load(e, be_type(e, x.dtype),
                             be_view_at(e, &x, row.index, column.index));
    be_store(e, be_convert(e, v, x.dtype, value->type.dtype),
             be_at(e, type, at, column.index));
    be_loop_end(e, &column);
    be_loop_end(e, &row);
}

void be_stage_input(struct be_emitter *e, const struct ir_value *value)
{
    const struct be_view x = be_view_of(e, value);
    const bool same = x.dtype == value->type.dtype;
    LLVMValueRef to = be_buffer(e, value);
    if (same && e->one_row) {
        e->staged[value->id] = x.base;
        return;
    }
    if (!same) {
        copy_in(e, value, to);
        e->staged[value->id] = to;
        return;
    }
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef copy = be_block(e, "copy"), go = be_block(e, "go");
    LLVMValueRef rows_fit =
        LLVMBuildICmp(e->b, LLVMIntEQ, x.row_stride,
                      be_i64(e, ir_type_volume(&value->type)), "");
    LLVMValueRef columns_fit = LLVMBuildICmp(
        e->b, LLVMIntEQ, x.column_stride, be_i64(e, 1), "");
    LLVMBuildCondBr(e->b, LLVMBuildAnd(e->b, rows_fit, columns_fit, ""), go,
                    copy);
    LLVMPositionBuilderAtEnd(e->b, copy);
    copy_in(e, value, to);
    LLVMValueRef from[] = {x.base, to};
    LLVMBasicBlockRef blocks[] = {before, LLVMGetInsertBlock(e->b)};
    LLVMBuildBr(e->b, go);
    LLVMPositionBuilderAtEnd(e->b, go);
    e->staged[value->id] = LLVMBuildPhi(e->b, e->ptr, "");
    LLVMAddIncoming(e->staged[value->id], from, blocks, 2);
}

/* ----------------------------------------------------------------- kernels */

/* Of the emitter, what belongs to the function that is being emitted. */
struct state {
    const struct be_level *level;
    LLVMValueRef fn;
    LLVMBasicBlockRef block;
};

static struct state save(struct be_emitter *e)
{
    return (struct state){e->level, e->fn, LLVMGetInsertBlock(e->b)};
}

static void restore(struct be_emitter *e, const struct state *s)
{
    e->level = s->level;
    e->fn = s->fn;
    LLVMPositionBuilderAtEnd(e->b, s->block);
}

static bool is_wanted(const struct be_emitter *e, const struct ir_value *v)
{
    return v == e->out_value || be_has_buffer(e, v);
}

/* Windows, moves and slices are the same for one row and for many: one function
 * is enough. Sums are cut into other tiles for one row. */
static bool is_shared(const struct ir_op *op)
{
    switch (op->kind) {
    case IR_OP_conv:
    case IR_OP_pool:
    case IR_OP_pad:
    case IR_OP_take:
    case IR_OP_reduce:
    case IR_OP_view:
        return true;
    default:
        return false;
    }
}

/* -- ops that are alike -- */

/* Where buffers lie and what a tile is are the caller's business; with
 * `weighted`, so are weights and bias. */
static bool is_argument(const char *name, bool weighted)
{
    return !strcmp(name, "slots") || !strcmp(name, "tile_rows") ||
           (weighted &&
            (!strcmp(name, "weights") || !strcmp(name, "bias")));
}

static bool same_attr(const struct ir_attr *a, const struct ir_attr *b,
                      bool weighted)
{
    if (strcmp(a->name, b->name) || a->kind != b->kind)
        return false;
    switch (a->kind) {
    case IR_INT: return is_argument(a->name, weighted) || a->i == b->i;
    case IR_FLOAT: return !memcmp(&a->f, &b->f, sizeof(a->f));
    case IR_STRING: return !strcmp(a->s, b->s);
    case IR_TENSOR:
        return ir_type_equal(&a->t->type, &b->t->type) &&
               (is_argument(a->name, weighted) ||
                !memcmp(a->t->data, b->t->data, ir_tensor_bytes(a->t)));
    }
    return false;
}

static bool is_alike(const struct ir_op *a, const struct ir_op *b,
                     bool weighted)
{
    if (a->kind != b->kind || a->n_operands != b->n_operands ||
        a->n_results != b->n_results || a->n_attrs != b->n_attrs)
        return false;
    for (int i = 0; i < a->n_operands; i++)
        if (!ir_type_equal(&a->operand[i]->type, &b->operand[i]->type))
            return false;
    for (int i = 0; i < a->n_results; i++)
        if (!ir_type_equal(&a->result[i].type, &b->result[i].type))
            return false;
    for (int i = 0; i < a->n_attrs; i++)
        if (!same_attr(&a->attr[i], &b->attr[i], weighted))
            return false;
    return true;
}

/* The first op of the module that is like `op`. */
static const struct ir_op *first_alike(const struct be_emitter *e,
                                       const struct ir_op *op, bool weighted)
{
    for (int i = 0; e->module->ops[i] != op; i++)
        if (is_alike(e->module->ops[i], op, weighted))
            return e->module->ops[i];
    return op;
}

/* -- functions -- */

enum { most_args = 2 * BE_KERNEL_OPERANDS + 6 };

static LLVMValueRef emit_kernel(struct be_emitter *e, const struct ir_op *op,
                                const char *name, struct be_kernel *k,
                                be_kernel_fn *body)
{
    LLVMTypeRef params[most_args];
    const struct state outside = save(e);
    int n = 0;
    for (int i = 0; i < op->n_operands + BE_KERNEL_RESULTS + 3; i++)
        params[n++] = e->ptr;
    params[n++] = e->i64;
    LLVMValueRef fn = be_function(e, name, e->none, params, n, e->level);
    be_noinline(e, fn);
    n = 0;
    for (int i = 0; i < op->n_operands; i++)
        k->x[i].base = LLVMGetParam(fn, (unsigned)n++);
    for (int i = 0; i < BE_KERNEL_RESULTS; i++) {
        be_noalias(e, fn, n);
        LLVMValueRef y = LLVMGetParam(fn, (unsigned)n++);
        if (k->y[i])
            k->y[i] = y;
    }
    k->weights = LLVMGetParam(fn, (unsigned)n++);
    k->bias = ir_find_attr(op, "bias") ? LLVMGetParam(fn, (unsigned)n) : NULL;
    n++;
    be_noalias(e, fn, n);
    k->work = LLVMGetParam(fn, (unsigned)n++);
    k->n_rows = e->one_row && !is_shared(op) ? be_i64(e, 1)
                                             : LLVMGetParam(fn, (unsigned)n);
    body(k);
    LLVMBuildRetVoid(e->b);
    restore(e, &outside);
    return fn;
}

/* Levels with the same registers share what has no products of whole numbers;
 * ops that are alike share all, if their operands' rows lie alike: a view may be
 * part of a longer row, and constants have a stride of 0. */
static void name_kernel(struct be_emitter *e, const struct ir_op *op,
                        const struct be_kernel *k, bool weighted, char *name,
                        size_t size)
{
    int wanted = 0, length;
    for (int i = 0; i < BE_KERNEL_RESULTS; i++)
        wanted |= k->y[i] ? 1 << i : 0;
    length = snprintf(
        name, size, "%s_%d_%d_%d_%d%s", ir_op_table[op->kind].name,
        be_op_number(e, first_alike(e, op, weighted)),
        e->level->vector_bytes, ir_is_int8(op) ? (int)e->level->dot : 0,
        wanted, e->one_row && !is_shared(op) ? "_one" : "");
    for (int i = 0; i < op->n_operands; i++)
        length += snprintf(name + length, size - (size_t)length, "_%lld",
                           (long long)k->x[i].stride);
}

void be_weighted_kernel_call(struct be_emitter *e, const struct ir_op *op,
                             be_weights_fn *weights, be_kernel_fn *body)
{
    struct be_kernel k = {.e = e, .op = op};
    LLVMValueRef args[most_args], none = LLVMConstNull(e->ptr);
    char name[192]; /* of at most 4 strides and some short numbers */
    int n = 0;
    const int64_t work = be_work_at(e, be_op_number(e, op));
    if (op->n_operands > BE_KERNEL_OPERANDS)
        ir_bug("a kernel of %d operands", op->n_operands);
    for (int i = 0; i < op->n_operands; i++) {
        k.x[i] = be_dense_of(e, op->operand[i]);
        args[n++] = k.x[i].base;
    }
    for (int i = 0; i < BE_KERNEL_RESULTS; i++) {
        if (i < op->n_results && is_wanted(e, &op->result[i]))
            k.y[i] = be_buffer(e, &op->result[i]);
        args[n++] = k.y[i] ? k.y[i] : none;
    }
    args[n++] = weights ? weights(e, op) : none;
    args[n++] = weights && ir_find_attr(op, "bias")
                    ? be_attr_table(e, op, "bias") : none;
    args[n++] = work < 0 ? none
                         : be_offset(e, e->workspace, be_i64(e, work));
    args[n++] = e->n_rows;
    name_kernel(e, op, &k, weights, name, sizeof(name));
    LLVMValueRef fn = LLVMGetNamedFunction(e->llvm, name);
    if (!fn)
        fn = emit_kernel(e, op, name, &k, body);
    /* Weights of its own would be those of all ops of its shape. */
    if (weights && !LLVMGetFirstUse(LLVMGetParam(fn, (unsigned)n - 4)))
        ir_bug("%s does not read the weights that it is given", name);
    be_call(e, fn, args, n);
}

void be_kernel_call(struct be_emitter *e, const struct ir_op *op,
                    be_kernel_fn *body)
{
    be_weighted_kernel_call(e, op, NULL, body);
}

/* ---------------------------------------------------------------- vectors */

int be_lanes(const struct be_emitter *e, enum ir_dtype dtype)
{
    return e->level->vector_bytes / (int)ir_dtype_bytes(dtype);
}

/* Lanes [first, first + n) of v. */
static LLVMValueRef lanes_of(struct be_emitter *e, LLVMValueRef v, int first,
                             int n)
{
    LLVMValueRef mask[64];
    if (n == 1)
        return LLVMBuildExtractElement(e->b, v, be_i32(e, first), "");
    for (int i = 0; i < n; i++)
        mask[i] = be_i32(e, first + i);
    return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                  LLVMConstVector(mask, (unsigned)n), "");
}

/* v with `part`, of n lanes, in its lanes from `first` on. */
static LLVMValueRef put_lanes(struct be_emitter *e, LLVMValueRef v, int lanes,
                              LLVMValueRef part, int first, int n)
{
    LLVMValueRef mask[64];
    if (n == 1)
        return LLVMBuildInsertElement(e->b, v, part, be_i32(e, first), "");
    for (int i = 0; i < lanes; i++)
        mask[i] = i < n ? be_i32(e, i) : LLVMGetPoison(e->i32);
    LLVMValueRef wide = LLVMBuildShuffleVector(
        e->b, part, LLVMGetPoison(LLVMTypeOf(part)),
        LLVMConstVector(mask, (unsigned)lanes), "");
    for (int i = 0; i < lanes; i++)
        mask[i] = be_i32(e, i >= first && i < first + n ? lanes + i - first
                                                        : i);
    return LLVMBuildShuffleVector(e->b, v, wide,
                                  LLVMConstVector(mask, (unsigned)lanes), "");
}

LLVMValueRef be_load_weights(struct be_emitter *e, enum ir_dtype stored,
                             LLVMValueRef at, int lanes, int n)
{
    LLVMTypeRef bits = be_vector(e->i32, lanes);
    LLVMValueRef v = be_load_part(e, be_type(e, stored), at, lanes, n);
    if (stored != IR_BF16)
        return v;
    v = LLVMBuildShl(e->b, LLVMBuildZExt(e->b, v, bits, ""),
                     be_splat_const(e->i32, 16, lanes), "");
    return LLVMBuildBitCast(e->b, v, be_vector(e->f32, lanes), "");
}

static int piece_of(int left)
{
    int n = 1;
    while (2 * n <= left)
        n *= 2;
    return n;
}

LLVMValueRef be_load_part(struct be_emitter *e, LLVMTypeRef type,
                          LLVMValueRef at, int lanes, int n)
{
    if (n == lanes)
        return be_load(e, be_vector(type, lanes), at);
    LLVMValueRef v = LLVMConstNull(be_vector(type, lanes));
    for (int i = 0, piece; i < n; i += piece) {
        piece = piece_of(n - i);
        v = put_lanes(e, v, lanes,
                      be_load(e, be_vector(type, piece),
                              be_at(e, type, at, be_i64(e, i))),
                      i, piece);
    }
    return v;
}

void be_store_part(struct be_emitter *e, LLVMTypeRef type, LLVMValueRef v,
                   LLVMValueRef at, int lanes, int n)
{
    if (n == lanes) {
        be_store(e, v, at);
        return;
    }
    for (int i = 0, piece; i < n; i += piece) {
        piece = piece_of(n - i);
        be_store(e, lanes_of(e, v, i, piece),
                 be_at(e, type, at, be_i64(e, i)));
    }
}

/* to[i * to_stride + j] = from[j * from_stride + i] for one i and j, or for a
 * block of 4 times 4. */
struct turn {
    struct be_emitter *e;
    LLVMTypeRef type;
    LLVMValueRef from, to;
    int64_t from_stride, to_stride;
};

static void turn_one(const struct turn *t, LLVMValueRef i, LLVMValueRef j)
{
    LLVMValueRef from =
        be_at_times(t->e, t->type, t->from, j, t->from_stride);
    LLVMValueRef to = be_at_times(t->e, t->type, t->to, i, t->to_stride);
    be_store(t->e,
             be_load(t->e, t->type, be_at(t->e, t->type, from, i)),
             be_at(t->e, t->type, to, j));
}

static LLVMValueRef shuffle_four(struct be_emitter *e, LLVMValueRef a,
                                 LLVMValueRef b, const int order[4])
{
    LLVMValueRef mask[4];
    for (int i = 0; i < 4; i++)
        mask[i] = be_i32(e, order[i]);
    return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(mask, 4), "");
}

static void turn_block(const struct turn *t, LLVMValueRef i, LLVMValueRef j)
{
    static const int low[] = {0, 4, 1, 5}, high[] = {2, 6, 3, 7};
    static const int left[] = {0, 1, 4, 5}, right[] = {2, 3, 6, 7};
    struct be_emitter *e = t->e;
    LLVMValueRef from = be_at(
        e, t->type, be_at_times(e, t->type, t->from, j, t->from_stride), i);
    LLVMValueRef to = be_at(
        e, t->type, be_at_times(e, t->type, t->to, i, t->to_stride), j);
    LLVMValueRef v[4], half[4];
    for (int k = 0; k < 4; k++)
        v[k] = be_load(e, be_vector(t->type, 4),
                       be_at(e, t->type, from, be_i64(e, k * t->from_stride)));
    for (int k = 0; k < 4; k++) /* low 0 1, low 2 3, high 0 1, high 2 3 */
        half[k] = shuffle_four(e, v[k % 2 * 2], v[k % 2 * 2 + 1],
                               k < 2 ? low : high);
    for (int k = 0; k < 4; k++)
        be_store(e,
                 shuffle_four(e, half[k / 2 * 2], half[k / 2 * 2 + 1],
                              k % 2 ? right : left),
                 be_at(e, t->type, to, be_i64(e, k * t->to_stride)));
}

/* Two or three lines side by side become one, as colours do: to[i * n_j + j],
 * for so many i as a register has lanes. */
static void turn_lines(const struct turn *t, int64_t n_j, int64_t from_i,
                       int64_t to_i)
{
    struct be_emitter *e = t->e;
    const int lanes = e->level->vector_bytes / 4;
    LLVMTypeRef vector = be_vector(t->type, lanes);
    LLVMValueRef line[4], mask[3 * 16];
    struct be_loop i;
    be_loop_begin(e, &i, be_i64(e, from_i), be_i64(e, to_i), lanes);
    for (int j = 0; j < 4; j++)
        line[j] = j < n_j ? be_load(e, vector,
                                    be_at(e, t->type,
                                          be_at(e, t->type, t->from,
                                                be_i64(e, j * t->from_stride)),
                                          i.index))
                          : LLVMGetPoison(vector);
    for (int k = 0; k < 2 * lanes; k++)
        mask[k] = be_i32(e, k);
    for (int j = 0; j < 4; j += 2)
        line[j] = LLVMBuildShuffleVector(
            e->b, line[j], line[j + 1],
            LLVMConstVector(mask, (unsigned)(2 * lanes)), "");
    for (int k = 0; k < (int)n_j * lanes; k++)
        mask[k] = be_i32(e, k % (int)n_j * lanes + k / (int)n_j);
    LLVMValueRef all = LLVMBuildShuffleVector(
        e->b, line[0], line[2],
        LLVMConstVector(mask, (unsigned)(n_j * lanes)), "");
    be_store(e, all, be_at_times(e, t->type, t->to, i.index, n_j));
    be_loop_end(e, &i);
}

/* All j in [j0, j1) by all i in [i0, i1), one by one or in blocks. */
static void turn_part(const struct turn *t, int64_t i0, int64_t i1, int64_t j0,
                      int64_t j1, bool blocks)
{
    struct be_emitter *e = t->e;
    struct be_loop i, j;
    if (i0 == i1 || j0 == j1)
        return;
    be_loop_begin(e, &j, be_i64(e, j0), be_i64(e, j1), blocks ? 4 : 1);
    be_loop_begin(e, &i, be_i64(e, i0), be_i64(e, i1), blocks ? 4 : 1);
    (blocks ? turn_block : turn_one)(t, i.index, j.index);
    be_loop_end(e, &i);
    be_loop_end(e, &j);
}

void be_turn(struct be_emitter *e, enum ir_dtype dtype, LLVMValueRef from,
             int64_t from_stride, LLVMValueRef to, int64_t to_stride,
             int64_t n_i, int64_t n_j)
{
    const struct turn t = {e, be_type(e, dtype), from, to, from_stride,
                           to_stride};
    const int64_t whole_i = n_i / 4 * 4, whole_j = n_j / 4 * 4;
    if (ir_dtype_bytes(dtype) == 4 && to_stride == n_j &&
        (n_j == 2 || n_j == 3)) {
        const int64_t lanes = be_lanes(e, dtype), lines = n_i / lanes * lanes;
        if (lines)
            turn_lines(&t, n_j, 0, lines);
        turn_part(&t, lines, n_i, 0, n_j, false);
        return;
    }
    turn_part(&t, 0, whole_i, 0, whole_j, true);
    turn_part(&t, whole_i, n_i, 0, whole_j, false);
    turn_part(&t, 0, n_i, whole_j, n_j, false);
}

/* a * b + c of f32, rounded once, through f64. The product is exact there; the
 * sum is rounded to odd: when it is inexact and its last bit is 0, it becomes
 * its neighbour on the side of what it lacks (Knuth's two-sum says what that
 * is). f64 has more than two bits beyond f32's, so that rounding this once more
 * is as rounding the true sum (Boldo and Melquiond, "Emulation of a FMA and
 * correctly rounded sums", 2008). Infinities and NaN lack a NaN, which the
 * ordered comparison leaves alone. */
static LLVMValueRef emulate_fma(struct be_emitter *e, int lanes,
                                LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMTypeRef real = be_vector(e->f64, lanes);
    LLVMTypeRef bits = be_vector(e->i64, lanes);
    a = LLVMBuildFPExt(e->b, a, real, "");
    b = LLVMBuildFPExt(e->b, b, real, "");
    c = LLVMBuildFPExt(e->b, c, real, "");
    LLVMValueRef p = LLVMBuildFMul(e->b, a, b, "");
    LLVMValueRef s = LLVMBuildFAdd(e->b, p, c, "");
    LLVMValueRef t = LLVMBuildFSub(e->b, s, p, "");
    LLVMValueRef lack_p =
        LLVMBuildFSub(e->b, p, LLVMBuildFSub(e->b, s, t, ""), "");
    LLVMValueRef lack_c = LLVMBuildFSub(e->b, c, t, "");
    LLVMValueRef lack = LLVMBuildFAdd(e->b, lack_p, lack_c, "");
    LLVMValueRef one = be_splat_const(e->i64, 1, lanes);
    LLVMValueRef s_bits = LLVMBuildBitCast(e->b, s, bits, "");
    LLVMValueRef lack_bits = LLVMBuildBitCast(e->b, lack, bits, "");
    LLVMValueRef even = LLVMBuildICmp(
        e->b, LLVMIntEQ, LLVMBuildAnd(e->b, s_bits, one, ""),
        LLVMConstNull(bits), "");
    LLVMValueRef inexact = LLVMBuildFCmp(e->b, LLVMRealONE, lack,
                                         LLVMConstNull(real), "");
    LLVMValueRef apart = LLVMBuildAShr(
        e->b, LLVMBuildXor(e->b, s_bits, lack_bits, ""),
        be_splat_const(e->i64, 63, lanes), ""); /* -1: signs differ */
    LLVMValueRef odd = LLVMBuildAdd(
        e->b, s_bits, LLVMBuildOr(e->b, apart, one, ""), "");
    LLVMValueRef changes = LLVMBuildAnd(e->b, even, inexact, "");
    s_bits = LLVMBuildSelect(e->b, changes, odd, s_bits, "");
    return LLVMBuildFPTrunc(e->b, LLVMBuildBitCast(e->b, s_bits, real, ""),
                            be_vector(e->f32, lanes), "");
}

LLVMValueRef be_multiply_add(struct be_emitter *e, enum ir_dtype dtype,
                             int lanes, LLVMValueRef a, LLVMValueRef b,
                             LLVMValueRef c)
{
    if (dtype == IR_F64)
        return LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, a, b, ""), c, "");
    if (!e->level->has_fma)
        return emulate_fma(e, lanes, a, b, c);
    LLVMValueRef args[] = {a, b, c};
    return be_intrinsic(e, "llvm.fma", LLVMTypeOf(a), args, 3);
}

LLVMValueRef be_at_times(struct be_emitter *e, LLVMTypeRef type,
                         LLVMValueRef base, LLVMValueRef index, int64_t times)
{
    return be_at(e, type, base,
                 LLVMBuildNSWMul(e->b, index, be_i64(e, times), ""));
}

/* `from`, or `v` where that is NULL. */
static void copy_or_fill(struct be_emitter *e, enum ir_dtype dtype,
                         LLVMValueRef from, LLVMValueRef v, LLVMValueRef to,
                         int64_t n)
{
    LLVMTypeRef type = be_type(e, dtype);
    const int lanes = be_lanes(e, dtype);
    const int64_t whole = n / lanes * lanes;
    LLVMValueRef all = from ? NULL : be_splat(e, v, lanes);
    if (whole) {
        struct be_loop loop;
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, whole), lanes);
        if (from)
            all = be_load(e, be_vector(type, lanes),
                          be_at(e, type, from, loop.index));
        be_store(e, all, be_at(e, type, to, loop.index));
        be_loop_end(e, &loop);
    }
    if (n == whole)
        return;
    if (from)
        all = be_load_part(e, type, be_at(e, type, from, be_i64(e, whole)),
                           lanes, (int)(n - whole));
    be_store_part(e, type, all, be_at(e, type, to, be_i64(e, whole)), lanes,
                  (int)(n - whole));
}

void be_copy(struct be_emitter *e, enum ir_dtype dtype, LLVMValueRef from,
             LLVMValueRef to, int64_t n)
{
    copy_or_fill(e, dtype, from, NULL, to, n);
}

void be_fill(struct be_emitter *e, enum ir_dtype dtype, LLVMValueRef v,
             LLVMValueRef to, int64_t n)
{
    copy_or_fill(e, dtype, NULL, v, to, n);
}

LLVMValueRef be_load_splat(struct be_emitter *e, LLVMTypeRef type,
                           LLVMValueRef at, int64_t index, int lanes)
{
    return be_splat(
        e, be_load(e, type, be_at(e, type, at, be_i64(e, index))), lanes);
}

/* --------------------------------------------------------------- epilogues */

struct be_epilogue be_epilogue_of(const struct be_kernel *k)
{
    struct be_epilogue ep = {.dtype = ir_compute_dtype(k->op),
                             .to = k->op->result[0].type.dtype,
                             .flat = true, .flat_by_row = true};
    const struct ir_attr *program = ir_find_attr(k->op, "epilogue");
    const struct ir_type *y = &k->op->result[0].type;
    const int64_t all = ir_type_volume(y);
    struct ir_diag diag;
    if (!program)
        return ep;
    ir_diag_init(&diag);
    ep.n = ir_program_parse(program->s, NULL, ep.steps, &diag);
    ir_diag_release(&diag);
    for (int i = 1; i < k->op->n_operands; i++) {
        const int64_t n = ir_type_volume(&k->op->operand[i]->type);
        /* A constant of as many numbers as a row's result, if that is one
         * number a column, is the same for all rows. */
        const bool is_same = k->x[i].stride == 0 && n == y->dim[y->rank - 1];
        ep.x[i] = k->x[i];
        ep.of[i] = k->op->operand[i]->type.dtype;
        ep.kind[i] = n == 1 ? BE_SINGLE
                     : n == all && !is_same ? BE_EACH : BE_COLUMN;
        if (k->x[i].stride == (ep.kind[i] == BE_EACH ? all : 0))
            continue;
        ep.flat = false;
        ep.flat_by_row = ep.flat_by_row && ep.kind[i] == BE_SINGLE;
    }
    return ep;
}

struct be_epilogue be_epilogue_of_row(struct be_emitter *e,
                                      const struct be_epilogue *epilogue,
                                      LLVMValueRef row)
{
    struct be_epilogue own = *epilogue;
    for (int i = 1; i < BE_KERNEL_OPERANDS; i++)
        if (own.x[i].base && own.kind[i] == BE_SINGLE)
            own.x[i].base = be_at_times(e, be_type(e, own.of[i]),
                                        own.x[i].base, row, own.x[i].stride);
    return own;
}

void be_epilogue_skip(struct be_emitter *e, struct be_epilogue *epilogue,
                      LLVMValueRef row)
{
    for (int i = 0; i < BE_KERNEL_OPERANDS; i++)
        if (epilogue->x[i].base)
            epilogue->x[i].base =
                be_at_times(e, be_type(e, epilogue->of[i]),
                            epilogue->x[i].base, row, epilogue->x[i].stride);
}

LLVMValueRef be_epilogue_apply(struct be_emitter *e,
                               const struct be_epilogue *epilogue,
                               LLVMValueRef v, LLVMValueRef at,
                               LLVMValueRef column, int lanes, int n)
{
    LLVMValueRef x[BE_KERNEL_OPERANDS] = {v};
    if (epilogue->n == 0)
        return be_convert(e, v, epilogue->dtype, epilogue->to);
    for (int i = 1; i < BE_KERNEL_OPERANDS && epilogue->x[i].base; i++) {
        LLVMValueRef base = epilogue->x[i].base;
        LLVMTypeRef type = be_type(e, epilogue->of[i]);
        if (epilogue->kind[i] == BE_SINGLE)
            x[i] = be_load_splat(e, type, base, 0, lanes);
        else
            x[i] = be_load_part(
                e, type,
                be_at(e, type, base,
                      epilogue->kind[i] == BE_EACH ? at : column),
                lanes, n);
        x[i] = be_convert(e, x[i], epilogue->of[i], epilogue->dtype);
    }
    v = be_program(e, epilogue->steps, epilogue->n, epilogue->dtype, lanes, x);
    return be_convert(e, v, epilogue->dtype, epilogue->to);
}

/* emit_map.c: the ops `map` and `reduce` over a tile's buffers. */
#include "backend/llvm.h"

#include <string.h>

enum {
    max_operands = 4,
    least_kernel = 64, /* elements of a row, from which a call costs nothing */
    many_functions = 4, /* of a program, whose code is long, too */
    many_ops = 64      /* of a module, whose runs would be too long for LLVM */
};

struct map {
    struct be_emitter *e;
    const struct ir_op *op;
    struct ir_step steps[IR_MAX_STEPS];
    int n_steps;
    enum ir_dtype in, out;
    struct be_view x[max_operands];
    int64_t volume[max_operands], n; /* n: of the result */
    LLVMValueRef result, n_rows;
};

/* A result is computed in the dtype of the first operand; i32 comes last. */
static void store_lanes(struct map *s, LLVMValueRef y, LLVMValueRef index,
                        int lanes)
{
    struct be_emitter *e = s->e;
    y = be_convert(e, y, s->in, s->out);
    (void)lanes;
    be_store(e, y, be_at(e, be_type(e, s->out), s->result, index));
}

/* All operands dense and as large as the result: one flat loop from `from`
 * to `to`, `lanes` at a time; returns where it ended. */
static void flat_loop(struct map *s, LLVMValueRef from, LLVMValueRef to,
                      int lanes)
{
    struct be_emitter *e = s->e;
    struct be_loop loop;
    LLVMValueRef x[max_operands];
    be_loop_begin(e, &loop, from, to, lanes);
    for (int i = 0; i < s->op->n_operands; i++) {
        LLVMTypeRef type = be_type(e, s->x[i].dtype);
        x[i] = be_load(e, be_vector(type, lanes),
                       be_at(e, type, s->x[i].base, loop.index));
        x[i] = be_convert(e, x[i], s->x[i].dtype, s->in);
    }
    LLVMValueRef y =
        be_program(e, s->steps, s->n_steps, s->in, lanes, x);
    store_lanes(s, y, loop.index, lanes);
    be_loop_end(e, &loop);
}

static void lower_flat(struct map *s)
{
    struct be_emitter *e = s->e;
    const int lanes =
        e->level->vector_bytes / (int)ir_dtype_bytes(s->in);
    LLVMValueRef n = LLVMBuildNSWMul(e->b, s->n_rows, be_i64(e, s->n), "");
    LLVMValueRef whole =
        LLVMBuildAnd(e->b, n, be_i64(e, -(int64_t)lanes), "");
    if (!e->one_row || s->n >= lanes)
        flat_loop(s, be_i64(e, 0), whole, lanes);
    else
        whole = be_i64(e, 0);
    if (s->n % lanes)
        flat_loop(s, whole, n, 1);
}

/* Elements [from, to) of a row, `lanes` at a time, of operands whose columns
 * are side by side if that is more than one; an operand of one element stands
 * for all of the row. */
static void column_loop(struct map *s, LLVMValueRef row, LLVMValueRef from,
                        LLVMValueRef to, int lanes)
{
    struct be_emitter *e = s->e;
    struct be_loop column;
    LLVMValueRef x[max_operands];
    be_loop_begin(e, &column, from, to, lanes);
    for (int i = 0; i < s->op->n_operands; i++) {
        const bool one = s->volume[i] == 1;
        struct be_view view = s->x[i];
        view.dense_columns = view.dense_columns || lanes > 1;
        LLVMValueRef at =
            be_view_at(e, &view, row, one ? be_i64(e, 0) : column.index);
        LLVMTypeRef type = be_type(e, view.dtype);
        LLVMValueRef v =
            be_load(e, one ? type : be_vector(type, lanes), at);
        v = be_convert(e, v, view.dtype, s->op->operand[i]->type.dtype);
        v = be_convert(e, v, s->op->operand[i]->type.dtype, s->in);
        x[i] = one && lanes > 1 ? be_splat(e, v, lanes) : v;
    }
    LLVMValueRef y = be_program(e, s->steps, s->n_steps, s->in, lanes, x);
    LLVMValueRef at = LLVMBuildAdd(
        e->b, LLVMBuildMul(e->b, row, be_i64(e, s->n), ""), column.index, "");
    store_lanes(s, y, at, lanes);
    be_loop_end(e, &column);
}

/* How many elements of a row go in vectors: of the caller's rows none, unless
 * their columns are side by side. */
static LLVMValueRef count_in_vectors(const struct map *s, int lanes)
{
    struct be_emitter *e = s->e;
    LLVMValueRef n = be_i64(e, s->n / lanes * lanes);
    for (int i = 0; i < s->op->n_operands; i++) {
        if (s->x[i].dense_columns || s->volume[i] == 1)
            continue;
        LLVMValueRef dense = LLVMBuildICmp(
            e->b, LLVMIntEQ, s->x[i].column_stride, be_i64(e, 1), "");
        n = LLVMBuildSelect(e->b, dense, n, be_i64(e, 0), "");
    }
    return n;
}

/* The general case: row by row. */
static void lower_elements(struct map *s)
{
    struct be_emitter *e = s->e;
    const int lanes =
        e->level->vector_bytes / (int)ir_dtype_bytes(s->in);
    struct be_loop row;
    be_loop_begin(e, &row, be_i64(e, 0), s->n_rows, 1);
    LLVMValueRef done = be_i64(e, 0);
    if (s->n >= lanes) {
        done = count_in_vectors(s, lanes);
        column_loop(s, row.index, be_i64(e, 0), done, lanes);
    }
    column_loop(s, row.index, done, be_i64(e, s->n), 1);
    be_loop_end(e, &row);
}

static void init(struct map *s, struct be_emitter *e, const struct ir_op *op)
{
    struct ir_diag diag;
    *s = (struct map){.e = e, .op = op,
                      .in = ir_compute_dtype(op),
                      .out = op->result[0].type.dtype,
                      .n = ir_type_volume(&op->result[0].type)};
    ir_diag_init(&diag);
    s->n_steps = ir_program_parse(ir_attr_string(op, "program"), op, s->steps,
                                  &diag);
    ir_diag_release(&diag);
    if (s->n_steps < 0)
        ir_bug("a map's program does not parse");
    for (int i = 0; i < op->n_operands; i++)
        s->volume[i] = ir_type_volume(&op->operand[i]->type);
}

/* What has a row after the other, and as many elements as the result. */
static bool is_flat(const struct map *s, int i)
{
    const struct ir_op *from = s->op->operand[i]->op;
    return s->volume[i] == s->n && from->kind != IR_OP_input &&
           from->kind != IR_OP_constant && from->kind != IR_OP_view;
}

static void lower(struct map *s)
{
    bool flat = true;
    for (int i = 0; i < s->op->n_operands; i++)
        flat = flat && is_flat(s, i);
    if (flat)
        lower_flat(s);
    else
        lower_elements(s);
}

static void plain_body(struct be_kernel *k)
{
    struct be_emitter *e = k->e;
    struct map s;
    init(&s, e, k->op);
    s.result = k->y[0];
    s.n_rows = k->n_rows;
    for (int i = 0; i < k->op->n_operands; i++)
        s.x[i] = (struct be_view){
            k->op->operand[i]->type.dtype, k->x[i].base,
            be_i64(e, k->x[i].stride), be_i64(e, 1), true};
    lower(&s);
}

/* Programs of nets can be long, as a softmax's is: one function is enough for
 * all runs, and for maps that are alike. Inputs are read as the caller has
 * them. */
static bool is_kernel(const struct map *s)
{
    const struct ir_op *op = s->op;
    int functions = 0;
    for (int i = 0; i < op->n_operands; i++)
        if (op->operand[i]->op->kind == IR_OP_input)
            return false;
    for (int i = 0; i < s->n_steps; i++)
        functions += ir_step_is_function(s->steps[i].kind);
    return s->n >= least_kernel || functions >= many_functions ||
           s->e->module->n_ops >= many_ops;
}

void be_lower_map(struct be_emitter *e, const struct ir_op *op)
{
    struct map s;
    if (ir_reads_dense(op)) {
        be_map_broadcast(e, op);
        return;
    }
    init(&s, e, op);
    if (is_kernel(&s)) {
        be_kernel_call(e, op, plain_body);
        return;
    }
    s.result = be_buffer(e, &op->result[0]);
    s.n_rows = e->n_rows;
    for (int i = 0; i < op->n_operands; i++)
        s.x[i] = be_view_of(e, op->operand[i]);
    lower(&s);
}

/* (value, index) of what is largest or smallest so far, or the sum; ties and
 * NaN as ir/eval.c. */
void be_lower_reduce(struct be_emitter *e, const struct ir_op *op)
{
    if (ir_reads_dense(op)) {
        be_reduce_slices(e, op);
        return;
    }
    const char *kind = ir_attr_string(op, "kind");
    const bool sum = !strcmp(kind, "sum"), argmax = !strcmp(kind, "argmax");
    const LLVMRealPredicate wanted =
        !strcmp(kind, "min") ? LLVMRealOLT : LLVMRealOGT;
    const struct be_view x = be_view_of(e, op->operand[0]);
    const enum ir_dtype own = op->operand[0]->type.dtype;
    const enum ir_dtype in = sum ? ir_sum_dtype(op, own) : own;
    const int64_t n = ir_type_volume(&op->operand[0]->type);
    LLVMTypeRef type = be_type(e, in);
    LLVMValueRef result = be_buffer(e, &op->result[0]);
    struct be_loop row, column;
    be_loop_begin(e, &row, be_i64(e, 0), e->n_rows, 1);
    LLVMValueRef first = be_convert(
        e,
        be_load(e, be_type(e, x.dtype),
                be_view_at(e, &x, row.index, be_i64(e, 0))),
        x.dtype, own);
    first = be_convert(e, first, own, in);
    if (sum)
        first = LLVMBuildFAdd(e->b, LLVMConstNull(type), first, "");
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    be_loop_begin(e, &column, be_i64(e, 1), be_i64(e, n), 1);
    LLVMBasicBlockRef body = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetFirstInstruction(column.head));
    LLVMValueRef acc = LLVMBuildPhi(e->b, type, "");
    LLVMValueRef index = LLVMBuildPhi(e->b, e->i32, "");
    LLVMPositionBuilderAtEnd(e->b, body);
    LLVMValueRef v = be_convert(
        e,
        be_load(e, be_type(e, x.dtype),
                be_view_at(e, &x, row.index, column.index)),
        x.dtype, own);
    /* Added in the wider of both dtypes, then rounded to that of sums. */
    const enum ir_dtype wide = own == IR_F64 ? own : in;
    LLVMValueRef total =
        sum ? LLVMBuildFAdd(e->b, be_convert(e, acc, in, wide),
                            be_convert(e, v, own, wide), "") : NULL;
    v = be_convert(e, v, own, in);
    LLVMValueRef better = LLVMBuildFCmp(e->b, wanted, v, acc, "");
    LLVMValueRef next = sum ? be_convert(e, total, wide, in)
                            : LLVMBuildSelect(e->b, better, v, acc, "");
    LLVMValueRef here = LLVMBuildTrunc(e->b, column.index, e->i32, "");
    LLVMValueRef next_index =
        LLVMBuildSelect(e->b, better, here, index, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMValueRef values[] = {first, next};
    LLVMValueRef indexes[] = {be_i32(e, 0), next_index};
    LLVMBasicBlockRef blocks[] = {before, latch};
    LLVMAddIncoming(acc, values, blocks, 2);
    LLVMAddIncoming(index, indexes, blocks, 2);
    be_loop_end(e, &column);
    be_store(e, argmax ? index : be_convert(e, acc, in, own),
             be_at(e, argmax ? e->i32 : be_type(e, own), result, row.index));
    be_loop_end(e, &row);
}

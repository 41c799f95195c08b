/* emit_elements.c: the ops of ir/elements.c over a tile's buffers: a loop over
 * rows, and inside one over the elements of a row. Searches are unrolled and
 * free of branches: how many steps they take is known. */
#include "backend/llvm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Loops over the rows of the tile and the n elements of each. */
struct elements {
    struct be_emitter *e;
    struct be_loop row, column;
};

static void begin(struct elements *at, struct be_emitter *e, int64_t n)
{
    at->e = e;
    be_loop_begin(e, &at->row, be_i64(e, 0), e->n_rows, 1);
    be_loop_begin(e, &at->column, be_i64(e, 0), be_i64(e, n), 1);
}

static void end(struct elements *at)
{
    be_loop_end(at->e, &at->column);
    be_loop_end(at->e, &at->row);
}

/* Element (row, column) of a value, in the value's own dtype. */
static LLVMValueRef load(struct be_emitter *e, const struct ir_value *value,
                         LLVMValueRef row, LLVMValueRef column)
{
    const struct be_view x = be_view_of(e, value);
    LLVMValueRef v = be_load(e, be_type(e, x.dtype),
                             be_view_at(e, &x, row, column));
    return be_convert(e, v, x.dtype, value->type.dtype);
}

static void store(struct be_emitter *e, const struct ir_value *value,
                  LLVMValueRef row, LLVMValueRef column, LLVMValueRef v)
{
    LLVMValueRef at = LLVMBuildNSWMul(
        e->b, row, be_i64(e, ir_type_volume(&value->type)), "");
    at = LLVMBuildNSWAdd(e->b, at, column, "");
    be_store(e, v, be_at(e, be_type(e, value->type.dtype),
                         be_buffer(e, value), at));
}

LLVMValueRef be_attr_table(struct be_emitter *e, const struct ir_op *op,
                           const char *name)
{
    const struct ir_tensor *t = ir_attr_tensor(op, name);
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "%s_%d", name, be_op_number(e, op));
    LLVMValueRef at = LLVMGetNamedGlobal(e->llvm, symbol);
    return at ? at : be_bytes(e, symbol, t->data, ir_tensor_bytes(t), 64);
}

/* ------------------------------------------------- constant, gather, concat */

LLVMValueRef be_constant_data(struct be_emitter *e, const struct ir_op *op)
{
    return be_attr_table(e, op, "value");
}

/* Readers have be_constant_data(): only an output is written. */
void be_lower_constant(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_value *result = &op->result[0];
    struct elements at;
    if (e->out_value != result)
        return;
    LLVMTypeRef type = be_type(e, result->type.dtype);
    begin(&at, e, ir_type_volume(&result->type));
    LLVMValueRef v = be_load(
        e, type, be_at(e, type, be_constant_data(e, op), at.column.index));
    store(e, result, at.row.index, at.column.index, v);
    end(&at);
}

void be_lower_gather(struct be_emitter *e, const struct ir_op *op)
{
    struct elements at;
    begin(&at, e, ir_type_volume(&op->result[0].type));
    LLVMValueRef from =
        be_load(e, e->i32, be_at(e, e->i32, be_attr_table(e, op, "index"),
                                 at.column.index));
    LLVMValueRef v = load(e, op->operand[0], at.row.index,
                          LLVMBuildZExt(e->b, from, e->i64, ""));
    store(e, &op->result[0], at.row.index, at.column.index, v);
    end(&at);
}

void be_lower_concat(struct be_emitter *e, const struct ir_op *op)
{
    int64_t first = 0;
    if (ir_reads_dense(op)) {
        be_concat_axis(e, op);
        return;
    }
    const bool window = e->in_step && e->again[op->result[0].id];
    if (window) /* the first operand is there */
        first = ir_type_volume(&op->operand[0]->type);
    for (int i = window ? 1 : 0; i < op->n_operands; i++) {
        const struct ir_value *x = op->operand[i];
        struct elements at;
        const struct be_view from = be_view_of(e, x);
        if (e->one_row && from.dense_columns && from.dtype == x->type.dtype) {
            LLVMValueRef start =
                be_at(e, be_type(e, from.dtype),
                      be_buffer(e, &op->result[0]), be_i64(e, first));
            be_copy(e, from.dtype, from.base, start, ir_type_volume(&x->type));
            first += ir_type_volume(&x->type);
            continue;
        }
        begin(&at, e, ir_type_volume(&x->type));
        LLVMValueRef v = load(e, x, at.row.index, at.column.index);
        LLVMValueRef to =
            LLVMBuildNSWAdd(e->b, at.column.index, be_i64(e, first), "");
        store(e, &op->result[0], at.row.index, to, v);
        end(&at);
        first += ir_type_volume(&x->type);
    }
    if (window)
        be_window_repeat(e, op);
}

/* --------------------------------------------------------------- searches */

/* How many of the first n ascending numbers of the table are below v, or not
 * above it; anything for a NaN. */
static LLVMValueRef count_below(struct be_emitter *e, enum ir_dtype dtype,
                                LLVMValueRef numbers, int64_t n,
                                LLVMValueRef v, bool or_equal)
{
    LLVMTypeRef type = be_type(e, dtype);
    const LLVMRealPredicate below = or_equal ? LLVMRealOLE : LLVMRealOLT;
    LLVMValueRef base = be_i64(e, 0);
    if (n == 0)
        return base;
    for (int64_t left = n; left > 1; left -= left / 2) {
        LLVMValueRef next =
            LLVMBuildNSWAdd(e->b, base, be_i64(e, left / 2), "");
        LLVMValueRef before = LLVMBuildNSWSub(e->b, next, be_i64(e, 1), "");
        LLVMValueRef at =
            be_load(e, type, be_at(e, type, numbers, before));
        base = LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, below, at, v, ""),
                               next, base, "");
    }
    LLVMValueRef at = be_load(e, type, be_at(e, type, numbers, base));
    LLVMValueRef last = LLVMBuildFCmp(e->b, below, at, v, "");
    return LLVMBuildNSWAdd(e->b, base, LLVMBuildZExt(e->b, last, e->i64, ""),
                           "");
}

static LLVMValueRef is_nan(struct be_emitter *e, LLVMValueRef v)
{
    return LLVMBuildFCmp(e->b, LLVMRealUNO, v, v, "");
}

/* index, or most when it is more. */
static LLVMValueRef at_most(struct be_emitter *e, LLVMValueRef index,
                            int64_t most)
{
    LLVMValueRef limit = be_i64(e, most);
    return LLVMBuildSelect(
        e->b, LLVMBuildICmp(e->b, LLVMIntSGT, index, limit, ""), limit, index,
        "");
}

static LLVMValueRef default_value(struct be_emitter *e, const struct ir_op *op)
{
    const enum ir_dtype dtype = op->result[0].type.dtype;
    const double v = ir_attr_float(op, "default");
    return dtype == IR_I32 ? be_i32(e, (int64_t)v) : be_real(e, dtype, v);
}

void be_lower_lookup(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_value *result = &op->result[0];
    const struct ir_tensor *keys = ir_attr_tensor(op, "keys");
    const enum ir_dtype in = keys->type.dtype;
    const int64_t n = keys->type.dim[0];
    const bool has_nan =
        isnan(ir_real(keys->data, in, (size_t)n - 1));
    LLVMTypeRef type = be_type(e, result->type.dtype);
    LLVMTypeRef key = be_type(e, in);
    LLVMValueRef numbers = be_attr_table(e, op, "keys");
    LLVMValueRef values = be_attr_table(e, op, "values");
    struct elements at;
    begin(&at, e, ir_type_volume(&result->type));
    LLVMValueRef v = load(e, op->operand[0], at.row.index, at.column.index);
    LLVMValueRef index = at_most(
        e, count_below(e, in, numbers, n - has_nan, v, false), n - 1);
    LLVMValueRef found = LLVMBuildFCmp(
        e->b, LLVMRealOEQ, be_load(e, key, be_at(e, key, numbers, index)), v,
        "");
    if (has_nan) {
        LLVMValueRef nan = is_nan(e, v);
        index = LLVMBuildSelect(e->b, nan, be_i64(e, n - 1), index, "");
        found = LLVMBuildOr(e->b, found, nan, "");
    }
    LLVMValueRef y = LLVMBuildSelect(
        e->b, found, be_load(e, type, be_at(e, type, values, index)),
        default_value(e, op), "");
    store(e, result, at.row.index, at.column.index, y);
    end(&at);
}

void be_lower_bucketize(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_value *result = &op->result[0];
    const enum ir_dtype dtype = result->type.dtype;
    const int64_t n = ir_attr_tensor(op, "edges")->type.dim[0];
    struct elements at;
    begin(&at, e, ir_type_volume(&result->type));
    LLVMValueRef v = load(e, op->operand[0], at.row.index, at.column.index);
    LLVMValueRef count =
        count_below(e, dtype, be_attr_table(e, op, "edges"), n, v,
                    ir_attr_int(op, "right") == 1);
    count = LLVMBuildSelect(e->b, is_nan(e, v), be_i64(e, n), count, "");
    LLVMValueRef y =
        LLVMBuildSIToFP(e->b, count, be_type(e, dtype), "");
    store(e, result, at.row.index, at.column.index, y);
    end(&at);
}

/* The points at `index` and after it. */
struct segment {
    LLVMValueRef x0, y0, x1, y1;
};

static struct segment load_segment(struct be_emitter *e, LLVMTypeRef type,
                                   LLVMValueRef x, LLVMValueRef y,
                                   LLVMValueRef index, int64_t n)
{
    LLVMValueRef next = at_most(
        e, LLVMBuildNSWAdd(e->b, index, be_i64(e, 1), ""), n - 1);
    return (struct segment){be_load(e, type, be_at(e, type, x, index)),
                            be_load(e, type, be_at(e, type, y, index)),
                            be_load(e, type, be_at(e, type, x, next)),
                            be_load(e, type, be_at(e, type, y, next))};
}

void be_lower_interp(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_value *result = &op->result[0];
    const enum ir_dtype dtype = result->type.dtype;
    const int64_t n = ir_attr_tensor(op, "x")->type.dim[0];
    LLVMValueRef x = be_attr_table(e, op, "x"), y = be_attr_table(e, op, "y");
    struct elements at;
    begin(&at, e, ir_type_volume(&result->type));
    LLVMValueRef v = load(e, op->operand[0], at.row.index, at.column.index);
    LLVMValueRef count = count_below(e, dtype, x, n, v, true);
    LLVMValueRef before =
        LLVMBuildICmp(e->b, LLVMIntEQ, count, be_i64(e, 0), "");
    LLVMValueRef past =
        LLVMBuildICmp(e->b, LLVMIntEQ, count, be_i64(e, n), "");
    LLVMValueRef index = LLVMBuildSelect(
        e->b, before, be_i64(e, 0),
        LLVMBuildNSWSub(e->b, count, be_i64(e, 1), ""), "");
    const struct segment s =
        load_segment(e, be_type(e, dtype), x, y, index, n);
    LLVMValueRef rise = LLVMBuildFSub(e->b, s.y1, s.y0, "");
    LLVMValueRef run = LLVMBuildFSub(e->b, s.x1, s.x0, "");
    LLVMValueRef slope = LLVMBuildFDiv(e->b, rise, run, "");
    LLVMValueRef part = LLVMBuildFSub(e->b, v, s.x0, "");
    LLVMValueRef line = LLVMBuildFAdd(
        e->b, LLVMBuildFMul(e->b, slope, part, ""), s.y0, "");
    LLVMValueRef on_point = LLVMBuildFCmp(e->b, LLVMRealOEQ, v, s.x0, "");
    LLVMValueRef flat = LLVMBuildOr(e->b, LLVMBuildOr(e->b, before, past, ""),
                                    on_point, "");
    line = LLVMBuildSelect(e->b, flat, s.y0, line, "");
    line = LLVMBuildSelect(e->b, is_nan(e, v), v, line, "");
    store(e, result, at.row.index, at.column.index, line);
    end(&at);
}

/* ------------------------------------------------------------------- dense */

/* weights[j][i] as [i][j], the vectors of outputs that are computed at once
 * side by side. */
static LLVMValueRef by_input(struct be_emitter *e, const struct ir_op *op)
{
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "weights_%d", be_op_number(e, op));
    LLVMValueRef found = LLVMGetNamedGlobal(e->llvm, symbol);
    if (found)
        return found;
    const struct ir_tensor *w = ir_attr_tensor(op, "weights");
    const size_t bytes = ir_dtype_bytes(w->type.dtype);
    const size_t n_out = (size_t)w->type.dim[0], n_in = (size_t)w->type.dim[1];
    uint8_t *turned = ir_realloc_array(NULL, n_out * n_in, bytes);
    for (size_t j = 0; j < n_out; j++)
        for (size_t i = 0; i < n_in; i++)
            memcpy(turned + (i * n_out + j) * bytes,
                   (const uint8_t *)w->data + (j * n_in + i) * bytes, bytes);
    found = be_bytes(e, symbol, turned, n_out * n_in * bytes, 64);
    free(turned);
    return found;
}

/* Outputs [first, first + lanes) of a row. */
static void dense_outputs(struct be_emitter *e, const struct ir_op *op,
                          LLVMValueRef row, LLVMValueRef first, int lanes)
{
    const struct ir_value *result = &op->result[0];
    const struct ir_type *w = &ir_attr_tensor(op, "weights")->type;
    LLVMTypeRef type = be_type(e, w->dtype), vector = be_vector(type, lanes);
    LLVMValueRef weights = by_input(e, op);
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    struct be_loop input;
    be_loop_begin(e, &input, be_i64(e, 0), be_i64(e, w->dim[1]), 1);
    LLVMBasicBlockRef body = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetFirstInstruction(input.head));
    LLVMValueRef sum = LLVMBuildPhi(e->b, vector, "");
    LLVMPositionBuilderAtEnd(e->b, body);
    LLVMValueRef x = load(e, op->operand[0], row, input.index);
    LLVMValueRef at = LLVMBuildNSWAdd(
        e->b, LLVMBuildNSWMul(e->b, input.index, be_i64(e, w->dim[0]), ""),
        first, "");
    LLVMValueRef products = LLVMBuildFMul(
        e->b, be_splat(e, x, lanes),
        be_load(e, vector, be_at(e, type, weights, at)), "");
    LLVMValueRef next = LLVMBuildFAdd(e->b, sum, products, "");
    LLVMValueRef values[] = {LLVMConstNull(vector), next};
    LLVMBasicBlockRef blocks[] = {before, LLVMGetInsertBlock(e->b)};
    LLVMAddIncoming(sum, values, blocks, 2);
    be_loop_end(e, &input);
    if (ir_find_attr(op, "bias"))
        sum = LLVMBuildFAdd(
            e->b, sum,
            be_load(e, vector,
                    be_at(e, type, be_attr_table(e, op, "bias"), first)),
            "");
    store(e, result, row, first, sum);
}

void be_lower_dense(struct be_emitter *e, const struct ir_op *op)
{
    const struct ir_type *w = &ir_attr_tensor(op, "weights")->type;
    const int lanes =
        e->level->vector_bytes / (int)ir_dtype_bytes(w->dtype);
    const int64_t whole = w->dim[0] / lanes * lanes;
    struct be_loop row, output;
    be_loop_begin(e, &row, be_i64(e, 0), e->n_rows, 1);
    be_loop_begin(e, &output, be_i64(e, 0), be_i64(e, whole), lanes);
    dense_outputs(e, op, row.index, output.index, lanes);
    be_loop_end(e, &output);
    if (whole < w->dim[0])
        dense_outputs(e, op, row.index, be_i64(e, whole),
                      (int)(w->dim[0] - whole));
    be_loop_end(e, &row);
}

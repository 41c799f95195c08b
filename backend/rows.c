/* rows.c: where an op's numbers are: in the caller's rows, in a buffer of the
 * workspace, or in the caller's output. */
#include "backend/llvm.h"

const struct be_layout *be_layout_of(const struct be_emitter *e)
{
    if (e->in_step)
        return e->memory ? e->layout_step : e->layout_start;
    return e->one_row ? e->layout_one : e->layout;
}

bool be_has_buffer(const struct be_emitter *e, const struct ir_value *value)
{
    return be_layout_of(e)->value[value->id] >= 0 ||
           (e->in_step && e->kept[value->id]);
}

LLVMValueRef be_buffer(struct be_emitter *e, const struct ir_value *value)
{
    if (e->in_step && e->kept[value->id])
        return e->kept[value->id];
    if (value == e->out_value)
        return e->out;
    const int64_t at = be_layout_of(e)->value[value->id];
    if (at < 0)
        ir_bug("value %%%d has no buffer", value->id);
    return be_offset(e, e->workspace, be_i64(e, at));
}

struct be_view be_view_of(struct be_emitter *e, const struct ir_value *value)
{
    struct be_view view = {.dtype = value->type.dtype};
    if (value->op->kind == IR_OP_constant) {
        view.base = be_constant_data(e, value->op);
        view.row_stride = be_i64(e, 0);
        view.column_stride = be_i64(e, 1);
        view.dense_columns = true;
        return view;
    }
    if (value != e->out_value && ir_is_alias(value->op)) {
        const struct be_dense x = be_dense_of(e, value);
        view.base = x.base;
        view.row_stride = be_i64(e, x.stride);
        view.column_stride = be_i64(e, 1);
        view.dense_columns = true;
        return view;
    }
    if (value->op->kind != IR_OP_input) {
        view.base = be_buffer(e, value);
        view.row_stride = be_i64(e, ir_type_volume(&value->type));
        view.column_stride = be_i64(e, 1);
        view.dense_columns = true;
        return view;
    }
    const int first = (int)ir_attr_int(value->op, "first");
    if (e->memory && first > 0) {
        view.base = e->memory[first - 1];
        view.row_stride = be_i64(e, 0);
        view.column_stride = be_i64(e, 1);
        view.dense_columns = true;
        return view;
    }
    const int64_t offset = ir_column_offset(e->module, first);
    view.dtype = e->row_dtype;
    view.row_stride = e->row_stride;
    view.column_stride = e->column_stride;
    view.dense_columns = e->one_row;
    LLVMValueRef skip =
        LLVMBuildMul(e->b, be_i64(e, offset), e->column_stride, "");
    view.base = be_at(e, be_type(e, view.dtype), e->rows, skip);
    return view;
}

LLVMValueRef be_view_at(struct be_emitter *e, const struct be_view *view,
                        LLVMValueRef row, LLVMValueRef column)
{
    LLVMValueRef r = LLVMBuildMul(e->b, row, view->row_stride, "");
    LLVMValueRef c = view->dense_columns
                         ? column
                         : LLVMBuildMul(e->b, column, view->column_stride, "");
    LLVMTypeRef type = be_type(e, view->dtype);
    return be_at(e, type, view->base, LLVMBuildAdd(e->b, r, c, ""));
}

/* As ir_to_u8() says: a NaN is not above 0. */
static LLVMValueRef to_u8(struct be_emitter *e, LLVMValueRef v,
                          enum ir_dtype from, int lanes)
{
    static const struct ir_step steps[] = {
        {.kind = IR_STEP_OPERAND}, {IR_STEP_NUMBER, 0, 0},
        {.kind = IR_STEP_MAX}, {IR_STEP_NUMBER, 0, 255},
        {.kind = IR_STEP_MIN}, {.kind = IR_STEP_RINT}};
    const int n_steps = (int)(sizeof(steps) / sizeof(steps[0]));
    v = be_program(e, steps, n_steps, from, lanes, &v);
    v = LLVMBuildFPToSI(e->b, v, be_vector(e->i32, lanes), "");
    return LLVMBuildTrunc(e->b, v, be_vector(e->i8, lanes), "");
}

LLVMValueRef be_convert(struct be_emitter *e, LLVMValueRef v,
                        enum ir_dtype from, enum ir_dtype to)
{
    if (from == to)
        return v;
    LLVMTypeRef type = be_type(e, to);
    LLVMTypeRef source = LLVMTypeOf(v);
    int lanes = 1;
    if (LLVMGetTypeKind(source) == LLVMVectorTypeKind)
        lanes = (int)LLVMGetVectorSize(source);
    type = be_vector(type, lanes);
    if (from == IR_U8 && (to == IR_F32 || to == IR_F64)) {
        v = LLVMBuildZExt(e->b, v, be_vector(e->i32, lanes), "");
        return LLVMBuildSIToFP(e->b, v, type, "");
    }
    if (to == IR_U8 && (from == IR_F32 || from == IR_F64))
        return to_u8(e, v, from, lanes);
    if (from == IR_F32 && to == IR_F64)
        return LLVMBuildFPExt(e->b, v, type, "");
    if (from == IR_F64 && to == IR_F32)
        return LLVMBuildFPTrunc(e->b, v, type, "");
    if (to == IR_I32 && (from == IR_F32 || from == IR_F64))
        return LLVMBuildFPToSI(e->b, v, type, "");
    if (from == IR_I32 && (to == IR_F32 || to == IR_F64))
        return LLVMBuildSIToFP(e->b, v, type, "");
    ir_bug("no conversion from %s to %s", ir_dtype_name(from),
           ir_dtype_name(to));
}

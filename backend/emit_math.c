/* emit_math.c: a map's postfix program as instructions, on one lane or many.
 * The elementary functions are the template of ir/math.inc, instantiated with
 * macros that build values; so their definition stands in one place. */
#include "backend/llvm.h"

#include <math.h>
#include <string.h>

struct math {
    struct be_emitter *e;
    int lanes;
};

static LLVMTypeRef float_type(struct math *self)
{
    return be_vector(self->e->f64, self->lanes);
}

static LLVMTypeRef int_type(struct math *self)
{
    return be_vector(self->e->i64, self->lanes);
}

static LLVMValueRef constant(struct math *self, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, 8);
    return LLVMConstBitCast(be_splat_const(self->e->i64, bits, self->lanes),
                            float_type(self));
}

static LLVMValueRef int_constant(struct math *self, uint64_t v)
{
    return be_splat_const(self->e->i64, v, self->lanes);
}

/* Element `index` of an array of doubles, lane by lane. */
static LLVMValueRef table(struct math *self, const char *name,
                          const double *data, size_t bytes, LLVMValueRef index)
{
    struct be_emitter *e = self->e;
    LLVMValueRef array = LLVMGetNamedGlobal(e->llvm, name);
    if (!array)
        array = be_bytes(e, name, data, bytes, 64);
    if (self->lanes == 1)
        return be_load(e, e->f64, be_at(e, e->f64, array, index));
    LLVMValueRef v = LLVMGetPoison(float_type(self));
    for (int i = 0; i < self->lanes; i++) {
        LLVMValueRef at =
            LLVMBuildExtractElement(e->b, index, be_i32(e, i), "");
        v = LLVMBuildInsertElement(
            e->b, v, be_load(e, e->f64, be_at(e, e->f64, array, at)),
            be_i32(e, i), "");
    }
    return v;
}

static LLVMValueRef fma_of(struct math *self, LLVMValueRef a, LLVMValueRef b,
                           LLVMValueRef c);

#define MATH_F LLVMValueRef
#define MATH_I LLVMValueRef
#define MATH_B LLVMValueRef
#define MATH_PARAM struct math *self,
#define MATH_ARG self,
#define BUILDER self->e->b
#define CONST(c) constant(self, c)
#define ICONST(c) int_constant(self, c)
#define ADD(x, y) LLVMBuildFAdd(BUILDER, x, y, "")
#define SUB(x, y) LLVMBuildFSub(BUILDER, x, y, "")
#define MUL(x, y) LLVMBuildFMul(BUILDER, x, y, "")
#define DIV(x, y) LLVMBuildFDiv(BUILDER, x, y, "")
#define FMA(x, y, z) fma_of(self, x, y, z)
#define LT(x, y) LLVMBuildFCmp(BUILDER, LLVMRealOLT, x, y, "")
#define SELECT(c, x, y) LLVMBuildSelect(BUILDER, c, x, y, "")
#define AS_INT(x) LLVMBuildBitCast(BUILDER, x, int_type(self), "")
#define AS_FLOAT(x) LLVMBuildBitCast(BUILDER, x, float_type(self), "")
#define IADD(x, y) LLVMBuildAdd(BUILDER, x, y, "")
#define AND(x, y) LLVMBuildAnd(BUILDER, x, y, "")
#define SHL(x, n) LLVMBuildShl(BUILDER, x, int_constant(self, n), "")
#define SHR(x, n) LLVMBuildLShr(BUILDER, x, int_constant(self, n), "")
#define TABLE(name, i) table(self, #name, name, sizeof(name), i)
#include "ir/math.inc"
#include "ir/math_circle.inc"

/* The same of floats. */
static LLVMTypeRef narrow_float_type(struct math *self)
{
    return be_vector(self->e->f32, self->lanes);
}

static LLVMTypeRef narrow_int_type(struct math *self)
{
    return be_vector(self->e->i32, self->lanes);
}

static LLVMValueRef narrow_int_constant(struct math *self, uint32_t v)
{
    return be_splat_const(self->e->i32, v, self->lanes);
}

static LLVMValueRef narrow_constant(struct math *self, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    return LLVMConstBitCast(narrow_int_constant(self, bits),
                            narrow_float_type(self));
}

static LLVMValueRef narrow_fma_of(struct math *self, LLVMValueRef a,
                                  LLVMValueRef b, LLVMValueRef c);

#undef CONST
#undef ICONST
#undef FMA
#undef AS_INT
#undef AS_FLOAT
#undef SHL
#undef SHR
#define CONST(c) narrow_constant(self, c)
#define ICONST(c) narrow_int_constant(self, c)
#define FMA(x, y, z) narrow_fma_of(self, x, y, z)
#define AS_INT(x) LLVMBuildBitCast(BUILDER, x, narrow_int_type(self), "")
#define AS_FLOAT(x) LLVMBuildBitCast(BUILDER, x, narrow_float_type(self), "")
#define SHL(x, n) LLVMBuildShl(BUILDER, x, narrow_int_constant(self, n), "")
#define SHR(x, n) LLVMBuildLShr(BUILDER, x, narrow_int_constant(self, n), "")
#include "ir/math_f32.inc"

static LLVMValueRef fma_of(struct math *self, LLVMValueRef a, LLVMValueRef b,
                           LLVMValueRef c)
{
    if (!self->e->level->has_fma)
        return math_fma(self, a, b, c);
    LLVMValueRef args[] = {a, b, c};
    return be_intrinsic(self->e, "llvm.fma", float_type(self), args, 3);
}

static LLVMValueRef narrow_fma_of(struct math *self, LLVMValueRef a,
                                  LLVMValueRef b, LLVMValueRef c)
{
    if (self->e->level->has_fma) {
        LLVMValueRef args[] = {a, b, c};
        return be_intrinsic(self->e, "llvm.fma", narrow_float_type(self), args,
                            3);
    }
    a = be_convert(self->e, a, IR_F32, IR_F64);
    b = be_convert(self->e, b, IR_F32, IR_F64);
    c = be_convert(self->e, c, IR_F32, IR_F64);
    return be_convert(self->e, math_fmaf(self, a, b, c), IR_F64, IR_F32);
}

/* An f64 function on values of `dtype`. */
static LLVMValueRef through_f64(struct math *self, enum ir_dtype dtype,
                                LLVMValueRef x,
                                LLVMValueRef fn(struct math *, LLVMValueRef))
{
    LLVMValueRef y = fn(self, be_convert(self->e, x, dtype, IR_F64));
    return be_convert(self->e, y, IR_F64, dtype);
}

static LLVMValueRef number(struct math *self, enum ir_dtype dtype, double v)
{
    if (dtype == IR_F64)
        return constant(self, v);
    return be_splat(self->e, be_real(self->e, dtype, v), self->lanes);
}

/* 1 where the condition holds, else 0. */
static LLVMValueRef flag(struct math *self, enum ir_dtype dtype,
                         LLVMValueRef condition)
{
    return LLVMBuildSelect(self->e->b, condition, number(self, dtype, 1),
                           number(self, dtype, 0), "");
}

static LLVMValueRef unary(struct math *self, enum ir_step_kind kind,
                          enum ir_dtype dtype, LLVMValueRef x)
{
    struct be_emitter *e = self->e;
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef zero = LLVMConstNull(type);
    const bool is_f32 = dtype == IR_F32;
    switch (kind) {
    case IR_STEP_NEG: return LLVMBuildFNeg(e->b, x, "");
    case IR_STEP_ABS: return be_intrinsic(self->e, "llvm.fabs", type, &x, 1);
    case IR_STEP_SQRT: return be_intrinsic(self->e, "llvm.sqrt", type, &x, 1);
    case IR_STEP_SIGN: {
        LLVMValueRef above = LLVMBuildFCmp(e->b, LLVMRealOGT, x, zero, "");
        LLVMValueRef below = LLVMBuildFCmp(e->b, LLVMRealOLT, x, zero, "");
        LLVMValueRef low = LLVMBuildSelect(
            e->b, below, number(self, dtype, -1), zero, "");
        return LLVMBuildSelect(e->b, above, number(self, dtype, 1), low, "");
    }
    case IR_STEP_FLOOR: return be_intrinsic(e, "llvm.floor", type, &x, 1);
    case IR_STEP_CEIL: return be_intrinsic(e, "llvm.ceil", type, &x, 1);
    case IR_STEP_RINT: return be_intrinsic(e, "llvm.rint", type, &x, 1);
    case IR_STEP_ISNAN:
        return flag(self, dtype, LLVMBuildFCmp(e->b, LLVMRealUNO, x, x, ""));
    case IR_STEP_EXP:
        return through_f64(self, dtype, x, is_f32 ? math_expf : math_exp);
    case IR_STEP_FAST_EXP: return is_f32 ? mathf_exp(self, x)
                                         : math_exp(self, x);
    case IR_STEP_FAST_EXPM1: return is_f32 ? mathf_expm1(self, x)
                                           : math_expm1(self, x);
    case IR_STEP_FAST_LOG: return is_f32 ? mathf_log(self, x)
                                         : math_log(self, x);
    case IR_STEP_LOG1P: return through_f64(self, dtype, x, math_log1p);
    case IR_STEP_LOG: return through_f64(self, dtype, x, math_log);
    case IR_STEP_EXPM1: return through_f64(self, dtype, x, math_expm1);
    case IR_STEP_TANH: return is_f32 ? mathf_tanh(self, x)
                                     : math_tanh(self, x);
    case IR_STEP_SIGMOID: return is_f32 ? mathf_sigmoid(self, x)
                                        : math_sigmoid(self, x);
    case IR_STEP_SOFTPLUS: return is_f32 ? mathf_softplus(self, x)
                                         : math_softplus(self, x);
    case IR_STEP_ERF: return is_f32 ? mathf_erf(self, x) : math_erf(self, x);
    case IR_STEP_SIN:
        return through_f64(self, dtype, x, is_f32 ? math_sinf : math_sin);
    case IR_STEP_COS:
        return through_f64(self, dtype, x, is_f32 ? math_cosf : math_cos);
    case IR_STEP_TAN:
        return through_f64(self, dtype, x, is_f32 ? math_tanf : math_tan);
    case IR_STEP_ATAN: return is_f32 ? mathf_atan(self, x)
                                     : math_atan(self, x);
    default: ir_bug("step %d takes no one operand", (int)kind);
    }
}

static LLVMValueRef binary(struct math *self, enum ir_step_kind kind,
                           enum ir_dtype dtype, LLVMValueRef x, LLVMValueRef y)
{
    struct be_emitter *e = self->e;
    LLVMValueRef c;
    switch (kind) {
    case IR_STEP_ADD: return LLVMBuildFAdd(e->b, x, y, "");
    case IR_STEP_SUB: return LLVMBuildFSub(e->b, x, y, "");
    case IR_STEP_MUL: return LLVMBuildFMul(e->b, x, y, "");
    case IR_STEP_DIV: return LLVMBuildFDiv(e->b, x, y, "");
    case IR_STEP_POW:
    case IR_STEP_FAST_POW:
        x = be_convert(e, x, dtype, IR_F64);
        y = be_convert(e, y, dtype, IR_F64);
        x = kind == IR_STEP_FAST_POW && dtype == IR_F32
                ? math_powf(self, x, y)
                : math_pow(self, x, y);
        return be_convert(e, x, IR_F64, dtype);
    case IR_STEP_MIN:
        c = LLVMBuildFCmp(e->b, LLVMRealOLT, x, y, "");
        return LLVMBuildSelect(e->b, c, x, y, "");
    case IR_STEP_MAX:
        c = LLVMBuildFCmp(e->b, LLVMRealOGT, x, y, "");
        return LLVMBuildSelect(e->b, c, x, y, "");
    case IR_STEP_GT:
        return flag(self, dtype, LLVMBuildFCmp(e->b, LLVMRealOGT, x, y, ""));
    case IR_STEP_GE:
        return flag(self, dtype, LLVMBuildFCmp(e->b, LLVMRealOGE, x, y, ""));
    case IR_STEP_LT:
        return flag(self, dtype, LLVMBuildFCmp(e->b, LLVMRealOLT, x, y, ""));
    case IR_STEP_LE:
        return flag(self, dtype, LLVMBuildFCmp(e->b, LLVMRealOLE, x, y, ""));
    case IR_STEP_EQ:
        return flag(self, dtype, LLVMBuildFCmp(e->b, LLVMRealOEQ, x, y, ""));
    default: ir_bug("step %d takes no two operands", (int)kind);
    }
}

LLVMValueRef be_program(struct be_emitter *e, const struct ir_step *steps,
                        int n, enum ir_dtype dtype, int lanes,
                        const LLVMValueRef *x)
{
    struct math self = {e, lanes};
    LLVMValueRef stack[IR_MAX_STEP_DEPTH];
    int depth = 0;
    for (int i = 0; i < n; i++) {
        const enum ir_step_kind kind = steps[i].kind;
        if (kind == IR_STEP_OPERAND) {
            stack[depth++] = x[steps[i].index];
        } else if (kind == IR_STEP_NUMBER) {
            stack[depth++] = number(&self, dtype, steps[i].number);
        } else if (kind < IR_STEP_ADD) {
            stack[depth - 1] = unary(&self, kind, dtype, stack[depth - 1]);
        } else if (kind == IR_STEP_WHERE) {
            depth -= 2;
            LLVMValueRef c = LLVMBuildFCmp(
                e->b, LLVMRealUNE, stack[depth - 1],
                LLVMConstNull(LLVMTypeOf(stack[depth - 1])), "");
            stack[depth - 1] = LLVMBuildSelect(e->b, c, stack[depth],
                                               stack[depth + 1], "");
        } else {
            depth--;
            stack[depth - 1] =
                binary(&self, kind, dtype, stack[depth - 1], stack[depth]);
        }
    }
    return stack[0];
}

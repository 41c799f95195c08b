/* build.c: small words on top of LLVM's builder, so that lowerings read as
 * what they compute. No op is known here. */
#include "backend/llvm.h"

#include <string.h>

LLVMTypeRef be_type(struct be_emitter *e, enum ir_dtype dtype)
{
    switch (dtype) {
    case IR_F32: return e->f32;
    case IR_F64: return e->f64;
    case IR_U8:
    case IR_I8: return e->i8;
    case IR_U16:
    case IR_BF16: return e->i16;
    case IR_U32:
    case IR_I32: return e->i32;
    case IR_I64: return e->i64;
    default: ir_bug("no such dtype: %d", (int)dtype);
    }
}

LLVMTypeRef be_vector(LLVMTypeRef element, int lanes)
{
    return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

LLVMValueRef be_i32(struct be_emitter *e, int64_t v)
{
    return LLVMConstInt(e->i32, (uint64_t)v, 1);
}

LLVMValueRef be_i64(struct be_emitter *e, int64_t v)
{
    return LLVMConstInt(e->i64, (uint64_t)v, 1);
}

LLVMValueRef be_real(struct be_emitter *e, enum ir_dtype dtype, double v)
{
    /* Through the bits, so that the sign of zero and NaN survive. */
    if (dtype == IR_F32) {
        const float f = (float)v;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        return LLVMConstBitCast(LLVMConstInt(e->i32, bits, 0), e->f32);
    }
    uint64_t bits;
    memcpy(&bits, &v, 8);
    return LLVMConstBitCast(LLVMConstInt(e->i64, bits, 0), e->f64);
}

LLVMValueRef be_splat(struct be_emitter *e, LLVMValueRef v, int lanes)
{
    if (lanes == 1)
        return v;
    LLVMTypeRef type = be_vector(LLVMTypeOf(v), lanes);
    LLVMValueRef one = LLVMBuildInsertElement(e->b, LLVMGetPoison(type), v,
                                              be_i32(e, 0), "");
    LLVMTypeRef mask = be_vector(e->i32, lanes);
    return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(type),
                                  LLVMConstNull(mask), "");
}

LLVMValueRef be_splat_const(LLVMTypeRef element, uint64_t v, int lanes)
{
    LLVMValueRef one = LLVMConstInt(element, v, 0);
    LLVMValueRef all[64];
    if (lanes == 1)
        return one;
    for (int i = 0; i < lanes; i++)
        all[i] = one;
    return LLVMConstVector(all, (unsigned)lanes);
}

static LLVMValueRef constant_global(struct be_emitter *e, const char *name,
                                    LLVMValueRef init, unsigned align)
{
    LLVMValueRef g = LLVMAddGlobal(e->llvm, LLVMTypeOf(init), name);
    LLVMSetInitializer(g, init);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    LLVMSetAlignment(g, align);
    return g;
}

/* A step has the model's weights: they are there already. Constants of the same
 * bytes are one in LLVM. */
static LLVMValueRef find_constant(struct be_emitter *e, LLVMValueRef init,
                                  unsigned align)
{
    for (LLVMValueRef g = LLVMGetFirstGlobal(e->llvm); g;
         g = LLVMGetNextGlobal(g))
        if (LLVMIsGlobalConstant(g) && !LLVMIsDeclaration(g) &&
            LLVMGetInitializer(g) == init && LLVMGetAlignment(g) >= align)
            return g;
    return NULL;
}

LLVMValueRef be_bytes(struct be_emitter *e, const char *name,
                      const void *bytes, size_t n, unsigned align)
{
    LLVMValueRef init = LLVMConstStringInContext2(e->context, bytes, n, 1);
    LLVMValueRef same = e->in_step ? find_constant(e, init, align) : NULL;
    return same ? same : constant_global(e, name, init, align);
}

LLVMValueRef be_cstring(struct be_emitter *e, const char *s)
{
    LLVMValueRef init =
        LLVMConstStringInContext2(e->context, s, strlen(s), 0);
    return constant_global(e, "string", init, 1);
}

LLVMValueRef be_at(struct be_emitter *e, LLVMTypeRef type, LLVMValueRef base,
                   LLVMValueRef index)
{
    return LLVMBuildGEP2(e->b, type, base, &index, 1, "");
}

LLVMValueRef be_offset(struct be_emitter *e, LLVMValueRef base,
                       LLVMValueRef bytes)
{
    return be_at(e, e->i8, base, bytes);
}

static unsigned element_align(LLVMTypeRef type)
{
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind)
        type = LLVMGetElementType(type);
    switch (LLVMGetTypeKind(type)) {
    case LLVMIntegerTypeKind: return (LLVMGetIntTypeWidth(type) + 7) / 8;
    case LLVMFloatTypeKind: return 4;
    default: return 8;
    }
}

LLVMValueRef be_load(struct be_emitter *e, LLVMTypeRef type, LLVMValueRef at)
{
    LLVMValueRef v = LLVMBuildLoad2(e->b, type, at, "");
    LLVMSetAlignment(v, element_align(type));
    return v;
}

void be_store(struct be_emitter *e, LLVMValueRef v, LLVMValueRef at)
{
    LLVMValueRef store = LLVMBuildStore(e->b, v, at);
    LLVMSetAlignment(store, element_align(LLVMTypeOf(v)));
}

static void add_attribute(struct be_emitter *e, LLVMValueRef fn,
                          LLVMAttributeIndex where, const char *name)
{
    const unsigned kind =
        LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, where,
                            LLVMCreateEnumAttribute(e->context, kind, 0));
}

static void add_text_attribute(struct be_emitter *e, LLVMValueRef fn,
                               const char *key, const char *value)
{
    LLVMAddAttributeAtIndex(
        fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateStringAttribute(e->context, key, (unsigned)strlen(key),
                                  value, (unsigned)strlen(value)));
}

/* The halves, `upper` or lower, of each 16 bytes of a and b, unit by unit in
 * turn. */
static LLVMValueRef interleave_two(struct be_emitter *e, LLVMValueRef a,
                                   LLVMValueRef b, int unit, int bytes,
                                   bool upper)
{
    const int lanes = bytes / unit, per_16 = 16 / unit;
    LLVMTypeRef type = be_vector(
        LLVMIntTypeInContext(e->context, 8 * (unsigned)unit), lanes);
    LLVMValueRef mask[64];
    for (int i = 0; i < lanes; i++) {
        const int first = i / per_16 * per_16 + (upper ? per_16 / 2 : 0);
        mask[i] = be_i32(e, first + i % per_16 / 2 + (i % 2 ? lanes : 0));
    }
    return LLVMBuildShuffleVector(
        e->b, LLVMBuildBitCast(e->b, a, type, ""),
        LLVMBuildBitCast(e->b, b, type, ""),
        LLVMConstVector(mask, (unsigned)lanes), "");
}

void be_interleave(struct be_emitter *e, LLVMValueRef *v, int n, int unit,
                   int bytes)
{
    LLVMValueRef next[16];
    /* v is sets of `same` vectors; those of a set hold the same elements. */
    for (int same = n; same > 1; same /= 2, unit *= 2) {
        for (int i = 0; i < n; i++) {
            const int set = i / same, pair = i % same / 2, upper = i % 2;
            LLVMValueRef *from = &v[set * same + 2 * pair];
            next[(2 * set + upper) * (same / 2) + pair] =
                interleave_two(e, from[0], from[1], unit, bytes, upper);
        }
        memcpy(v, next, (size_t)n * sizeof(*v));
    }
}

void be_set_part(struct be_emitter *e, LLVMValueRef fn, const char *part,
                 int length)
{
    LLVMSetSection(fn, ir_sprintf(&e->arena, ".text_%s.%.*s", e->level->name,
                                  length, part));
}

/* The letters before the first "_" and digit; 0 for a name without numbers. */
static int part_length(const char *name)
{
    for (const char *at = strchr(name, '_'); at; at = strchr(at + 1, '_'))
        if (at[1] >= '0' && at[1] <= '9')
            return (int)(at - name);
    return 0;
}

LLVMValueRef be_function(struct be_emitter *e, const char *name,
                         LLVMTypeRef result, LLVMTypeRef *params, int n,
                         const struct be_level *level)
{
    LLVMTypeRef type = LLVMFunctionType(result, params, (unsigned)n, 0);
    LLVMValueRef fn = LLVMAddFunction(e->llvm, name, type);
    LLVMSetLinkage(fn, LLVMInternalLinkage);
    add_attribute(e, fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                  "nounwind");
    /* Without this, loops that copy or clear become calls to libc. */
    add_text_attribute(e, fn, "no-builtins", "true");
    add_text_attribute(e, fn, "target-cpu", level->cpu);
    add_text_attribute(e, fn, "target-features", level->features);
    add_text_attribute(e, fn, "prefer-vector-width", "512");
    e->fn = fn;
    e->level = level;
    const int length = part_length(name);
    if (length > 0)
        be_set_part(e, fn, name, length);
    else
        be_set_part(e, fn, "entry", 5);
    LLVMPositionBuilderAtEnd(e->b, be_block(e, "entry"));
    return fn;
}

LLVMValueRef be_call(struct be_emitter *e, LLVMValueRef fn,
                     LLVMValueRef *args, int n)
{
    return LLVMBuildCall2(e->b, LLVMGlobalGetValueType(fn), fn, args,
                          (unsigned)n, "");
}

LLVMValueRef be_intrinsic(struct be_emitter *e, const char *name,
                          LLVMTypeRef type, LLVMValueRef *args, int n)
{
    const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef fn =
        LLVMGetIntrinsicDeclaration(e->llvm, id, &type, type ? 1 : 0);
    return be_call(e, fn, args, n);
}

void be_prefetch(struct be_emitter *e, LLVMValueRef at, int locality)
{
    LLVMValueRef args[] = {at, be_i32(e, 0), be_i32(e, locality),
                           be_i32(e, 1)};
    be_intrinsic(e, "llvm.prefetch", e->ptr, args, 4);
}

void be_transpose(struct be_emitter *e, LLVMValueRef *v, int lanes)
{
    LLVMValueRef low[16], high[16];
    for (int by = 1; by < lanes; by *= 2) {
        for (int k = 0; k < lanes; k++) {
            low[k] = be_i32(e, k & by ? lanes + k - by : k);
            high[k] = be_i32(e, k & by ? lanes + k : k + by);
        }
        for (int i = 0; i < lanes; i++) {
            LLVMValueRef a = v[i], b = v[i | by];
            if (i & by)
                continue;
            v[i] = LLVMBuildShuffleVector(
                e->b, a, b, LLVMConstVector(low, (unsigned)lanes), "");
            v[i + by] = LLVMBuildShuffleVector(
                e->b, a, b, LLVMConstVector(high, (unsigned)lanes), "");
        }
    }
}

LLVMValueRef be_least(struct be_emitter *e, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(
        e->b, LLVMBuildICmp(e->b, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef be_trailing_zeros(struct be_emitter *e, LLVMValueRef v)
{
    LLVMTypeRef type = LLVMTypeOf(v);
    const unsigned id = LLVMLookupIntrinsicID("llvm.cttz", 9);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->llvm, id, &type, 1);
    LLVMValueRef args[] = {v, LLVMConstInt(e->i1, 1, 0)};
    return be_call(e, fn, args, 2);
}

LLVMBasicBlockRef be_block(struct be_emitter *e, const char *name)
{
    return LLVMAppendBasicBlockInContext(e->context, e->fn, name);
}

void be_noinline(struct be_emitter *e, LLVMValueRef fn)
{
    add_attribute(e, fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                  "noinline");
}

void be_noalias(struct be_emitter *e, LLVMValueRef fn, int param)
{
    add_attribute(e, fn, (LLVMAttributeIndex)(param + 1), "noalias");
}

void be_loop_begin(struct be_emitter *e, struct be_loop *loop,
                   LLVMValueRef from, LLVMValueRef to, int64_t step)
{
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    loop->head = be_block(e, "loop");
    loop->body = be_block(e, "body");
    loop->done = be_block(e, "done");
    loop->step = LLVMConstInt(LLVMTypeOf(from), (uint64_t)step, 1);
    LLVMBuildBr(e->b, loop->head);
    LLVMPositionBuilderAtEnd(e->b, loop->head);
    loop->index = LLVMBuildPhi(e->b, LLVMTypeOf(from), "i");
    LLVMAddIncoming(loop->index, &from, &before, 1);
    LLVMValueRef more =
        LLVMBuildICmp(e->b, LLVMIntSLT, loop->index, to, "");
    LLVMBuildCondBr(e->b, more, loop->body, loop->done);
    LLVMPositionBuilderAtEnd(e->b, loop->body);
}

/* A loop's metadata is a node whose first operand is the node itself. */
static LLVMValueRef align_metadata(struct be_emitter *e)
{
    static const char name[] = "llvm.loop.align";
    LLVMMetadataRef align[] = {
        LLVMMDStringInContext2(e->context, name, sizeof(name) - 1),
        LLVMValueAsMetadata(be_i32(e, 64))};
    LLVMMetadataRef self = LLVMTemporaryMDNode(e->context, NULL, 0);
    LLVMMetadataRef items[] = {
        self, LLVMMDNodeInContext2(e->context, align, 2)};
    LLVMMetadataRef node = LLVMMDNodeInContext2(e->context, items, 2);
    LLVMMetadataReplaceAllUsesWith(self, node);
    return LLVMMetadataAsValue(e->context, node);
}

/* Both branches: it depends on how LLVM turns the loop which it looks at. */
void be_loop_end_aligned(struct be_emitter *e, struct be_loop *loop)
{
    const unsigned kind =
        LLVMGetMDKindIDInContext(e->context, "llvm.loop", 9);
    LLVMValueRef align = align_metadata(e);
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    be_loop_end(e, loop);
    LLVMSetMetadata(LLVMGetBasicBlockTerminator(loop->head), kind, align);
    LLVMSetMetadata(LLVMGetBasicBlockTerminator(latch), kind, align);
}

void be_loop_end(struct be_emitter *e, struct be_loop *loop)
{
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, loop->index, loop->step, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMBuildBr(e->b, loop->head);
    LLVMPositionBuilderAtEnd(e->b, loop->done);
}

void be_repeat_begin(struct be_emitter *e, struct be_loop *loop,
                     LLVMValueRef from, int64_t step)
{
    LLVMBasicBlockRef before = LLVMGetInsertBlock(e->b);
    loop->head = loop->body = be_block(e, "body");
    loop->done = be_block(e, "done");
    loop->step = LLVMConstInt(LLVMTypeOf(from), (uint64_t)step, 1);
    LLVMBuildBr(e->b, loop->body);
    LLVMPositionBuilderAtEnd(e->b, loop->body);
    loop->index = LLVMBuildPhi(e->b, LLVMTypeOf(from), "i");
    LLVMAddIncoming(loop->index, &from, &before, 1);
}

void be_repeat_end(struct be_emitter *e, struct be_loop *loop, LLVMValueRef to)
{
    LLVMValueRef next = LLVMBuildNSWAdd(e->b, loop->index, loop->step, "");
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, next, to, ""),
                    loop->body, loop->done);
    LLVMPositionBuilderAtEnd(e->b, loop->done);
}

LLVMValueRef be_carry(struct be_emitter *e, const struct be_loop *loop,
                      LLVMValueRef start, LLVMBasicBlockRef before)
{
    LLVMBasicBlockRef body = LLVMGetInsertBlock(e->b);
    LLVMPositionBuilderBefore(e->b, LLVMGetFirstInstruction(loop->head));
    LLVMValueRef phi = LLVMBuildPhi(e->b, LLVMTypeOf(start), "");
    LLVMAddIncoming(phi, &start, &before, 1);
    LLVMPositionBuilderAtEnd(e->b, body);
    return phi;
}

void be_carried(struct be_emitter *e, LLVMValueRef phi, LLVMValueRef next)
{
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(e->b);
    LLVMAddIncoming(phi, &next, &latch, 1);
}

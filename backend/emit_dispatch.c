/* emit_dispatch.c: which ISA level a call runs at.
 *
 * The library's only mutable state is one i32: 0 before the first call, else
 * the level's index + 1 (or -1 when the CPU has none). It is read and written
 * relaxed: whoever comes first computes the same value as everyone else.
 *
 * x86-64 asks CPUID for the instructions and XGETBV for what the operating
 * system saves (Intel SDM vol. 1, 13.2 and 14.3; the psABI's levels). ifunc is
 * never used: resolvers run too early in some loaders and not at all in
 * others. */
#include "backend/llvm.h"

#include <string.h>

/* Bits that a level needs, by CPUID leaf and register. */
struct requirement {
    const char *level;
    uint32_t leaf1_ecx, leaf7_ebx, leaf7_ecx, extended1_ecx, xcr0;
};
static const struct requirement requirements[] = {
    /* SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT */
    {"x86-64-v2", 1u | 1u << 9 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 23, 0,
     0, 0, 0},
    /* FMA, MOVBE, OSXSAVE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT; XMM, YMM */
    {"x86-64-v3", 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29,
     1u << 3 | 1u << 5 | 1u << 8, 0, 1u << 5, 0x6},
    /* AVX512F, DQ, CD, BW, VL; opmask and ZMM saved */
    {"x86-64-v4", 0, 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31, 0,
     0, 0xe6},
    /* AVX512_VNNI */
    {"x86-64-v4-vnni", 0, 0, 1u << 11, 0, 0},
};
enum { n_requirements = sizeof(requirements) / sizeof(requirements[0]) };

static LLVMValueRef inline_asm(LLVMTypeRef type, const char *text,
                               const char *constraints)
{
    return LLVMGetInlineAsm(type, text, strlen(text), constraints,
                            strlen(constraints), 1, 0,
                            LLVMInlineAsmDialectATT, 0);
}

/* {eax, ebx, ecx, edx} of CPUID leaf `leaf`, subleaf 0. */
static LLVMValueRef cpuid(struct be_emitter *e, uint32_t leaf)
{
    LLVMTypeRef four[] = {e->i32, e->i32, e->i32, e->i32};
    LLVMTypeRef result = LLVMStructTypeInContext(e->context, four, 4, 0);
    LLVMTypeRef params[] = {e->i32, e->i32};
    LLVMTypeRef type = LLVMFunctionType(result, params, 2, 0);
    LLVMValueRef fn = inline_asm(
        type, "cpuid",
        "={ax},={bx},={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}");
    LLVMValueRef args[] = {be_i32(e, leaf), be_i32(e, 0)};
    return LLVMBuildCall2(e->b, type, fn, args, 2, "");
}

static LLVMValueRef xgetbv(struct be_emitter *e)
{
    LLVMTypeRef two[] = {e->i32, e->i32};
    LLVMTypeRef result = LLVMStructTypeInContext(e->context, two, 2, 0);
    LLVMTypeRef params[] = {e->i32};
    LLVMTypeRef type = LLVMFunctionType(result, params, 1, 0);
    LLVMValueRef fn =
        inline_asm(type, "xgetbv",
                   "={ax},={dx},{cx},~{dirflag},~{fpsr},~{flags}");
    LLVMValueRef args[] = {be_i32(e, 0)};
    return LLVMBuildExtractValue(
        e->b, LLVMBuildCall2(e->b, type, fn, args, 1, ""), 0, "");
}

static LLVMValueRef has_all(struct be_emitter *e, LLVMValueRef have,
                            uint32_t bits)
{
    LLVMValueRef want = be_i32(e, bits);
    return LLVMBuildICmp(e->b, LLVMIntEQ, LLVMBuildAnd(e->b, have, want, ""),
                         want, "");
}

/* 0, or registers of the leaf where the CPU has it. */
static LLVMValueRef leaf_register(struct be_emitter *e, LLVMValueRef max,
                                  uint32_t leaf, unsigned which)
{
    LLVMValueRef has =
        LLVMBuildICmp(e->b, LLVMIntUGE, max, be_i32(e, leaf), "");
    LLVMValueRef value =
        LLVMBuildExtractValue(e->b, cpuid(e, leaf), which, "");
    return LLVMBuildSelect(e->b, has, value, be_i32(e, 0), "");
}

/* fn() -> i32: the highest level held that this CPU runs, as index + 1, or
 * -1. Each level needs those below it too. */
static LLVMValueRef emit_detect(struct be_emitter *e)
{
    LLVMValueRef fn =
        be_function(e, "detect", e->i32, NULL, 0, e->levels[0]);
    if (!e->target->detects) {
        LLVMBuildRet(e->b, be_i32(e, e->n_levels));
        return fn;
    }
    LLVMValueRef max = LLVMBuildExtractValue(e->b, cpuid(e, 0), 0, "");
    LLVMValueRef max_ext =
        LLVMBuildExtractValue(e->b, cpuid(e, 0x80000000u), 0, "");
    LLVMValueRef leaf1 = leaf_register(e, max, 1, 2);
    LLVMValueRef leaf7 = leaf_register(e, max, 7, 1);
    LLVMValueRef more7 = leaf_register(e, max, 7, 2);
    LLVMValueRef extended = leaf_register(e, max_ext, 0x80000001u, 2);

    LLVMBasicBlockRef start = LLVMGetInsertBlock(e->b);
    LLVMBasicBlockRef read = be_block(e, "read"), test = be_block(e, "test");
    LLVMBuildCondBr(e->b, has_all(e, leaf1, 1u << 27), read, test);
    LLVMPositionBuilderAtEnd(e->b, read);
    LLVMValueRef mask = xgetbv(e);
    LLVMBuildBr(e->b, test);
    LLVMPositionBuilderAtEnd(e->b, test);
    LLVMValueRef xcr0 = LLVMBuildPhi(e->b, e->i32, "");
    LLVMValueRef values[] = {be_i32(e, 0), mask};
    LLVMBasicBlockRef blocks[] = {start, read};
    LLVMAddIncoming(xcr0, values, blocks, 2);

    LLVMValueRef best = be_i32(e, -1);
    LLVMValueRef ok = LLVMConstInt(e->i1, 1, 0);
    for (int r = 0; r < n_requirements; r++) {
        const struct requirement *q = &requirements[r];
        ok = LLVMBuildAnd(e->b, ok, has_all(e, leaf1, q->leaf1_ecx), "");
        ok = LLVMBuildAnd(e->b, ok, has_all(e, leaf7, q->leaf7_ebx), "");
        ok = LLVMBuildAnd(e->b, ok, has_all(e, more7, q->leaf7_ecx), "");
        ok = LLVMBuildAnd(e->b, ok, has_all(e, extended, q->extended1_ecx),
                          "");
        ok = LLVMBuildAnd(e->b, ok, has_all(e, xcr0, q->xcr0), "");
        for (int l = 0; l < e->n_levels; l++)
            if (!strcmp(e->levels[l]->name, q->level))
                best = LLVMBuildSelect(e->b, ok, be_i32(e, l + 1), best, "");
    }
    LLVMBuildRet(e->b, best);
    return fn;
}

static LLVMValueRef state_access(LLVMValueRef access)
{
    LLVMSetOrdering(access, LLVMAtomicOrderingMonotonic);
    LLVMSetAlignment(access, 4);
    return access;
}

void be_dispatch_emit(struct be_emitter *e, LLVMValueRef *level,
                      LLVMValueRef *limit)
{
    LLVMValueRef state = LLVMAddGlobal(e->llvm, e->i32, "level_state");
    LLVMSetLinkage(state, LLVMInternalLinkage);
    LLVMSetInitializer(state, be_i32(e, 0));
    LLVMSetAlignment(state, 4);
    LLVMValueRef detect = emit_detect(e);

    /* index = state != 0 ? state : detect(), less 1; -1 stays -1. */
    LLVMValueRef fn = be_function(e, "isa_level", e->i32, NULL, 0,
                                  e->levels[0]);
    LLVMBasicBlockRef first = be_block(e, "first");
    LLVMBasicBlockRef done = be_block(e, "done");
    LLVMBasicBlockRef entry = LLVMGetInsertBlock(e->b);
    LLVMValueRef known =
        state_access(LLVMBuildLoad2(e->b, e->i32, state, ""));
    LLVMBuildCondBr(e->b, LLVMBuildIsNull(e->b, known, ""), first, done);
    LLVMPositionBuilderAtEnd(e->b, first);
    LLVMValueRef found = be_call(e, detect, NULL, 0);
    state_access(LLVMBuildStore(e->b, found, state));
    LLVMBuildBr(e->b, done);
    LLVMPositionBuilderAtEnd(e->b, done);
    LLVMValueRef now = LLVMBuildPhi(e->b, e->i32, "");
    LLVMValueRef values[] = {known, found};
    LLVMBasicBlockRef blocks[] = {entry, first};
    LLVMAddIncoming(now, values, blocks, 2);
    LLVMValueRef index = LLVMBuildSub(e->b, now, be_i32(e, 1), "");
    LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntSLT, now, be_i32(e, 0), "");
    LLVMBuildRet(e->b, LLVMBuildSelect(e->b, none, be_i32(e, -1), index, ""));
    *level = fn;

    /* state = min(detect(), cap + 1); detect() may be -1, which stays. */
    LLVMTypeRef params[] = {e->i32};
    fn = be_function(e, "isa_limit", e->i32, params, 1, e->levels[0]);
    found = be_call(e, detect, NULL, 0);
    LLVMValueRef cap =
        LLVMBuildAdd(e->b, LLVMGetParam(fn, 0), be_i32(e, 1), "");
    /* Unsigned, -1 is above every cap: ask for that first. */
    LLVMValueRef none_found =
        LLVMBuildICmp(e->b, LLVMIntSLT, found, be_i32(e, 0), "");
    LLVMValueRef capped = LLVMBuildOr(
        e->b, LLVMBuildICmp(e->b, LLVMIntUGE, LLVMGetParam(fn, 0), found, ""),
        none_found, "");
    LLVMValueRef value = LLVMBuildSelect(e->b, capped, found, cap, "");
    state_access(LLVMBuildStore(e->b, value, state));
    LLVMBuildRet(e->b, be_call(e, *level, NULL, 0));
    *limit = fn;
}

/* jit.c: the compiled object in this process, without a linker or a file: for
 * tests and tools that compile many small models. Code generation is the same
 * as for a file, so what runs is what would be written. */
#include "backend/llvm.h"

#include <stdlib.h>

struct be_jit {
    LLVMOrcLLJITRef jit;
    const struct tn_stream *stream; /* NULL without one */
};

static bool failed(LLVMErrorRef error, struct ir_diag *diag)
{
    if (!error)
        return false;
    char *message = LLVMGetErrorMessage(error);
    ir_error(diag, ir_loc_file(NULL), "LLVM: %s", message);
    LLVMDisposeErrorMessage(message);
    return true;
}

const struct tn_model *be_jit_load(struct be_artifact *artifact,
                                   struct be_jit **jit, struct ir_diag *diag)
{
    size_t size;
    const void *object = be_object(artifact, &size, diag);
    LLVMOrcExecutorAddress at, stream = 0;
    *jit = NULL;
    if (!object)
        return NULL;
    struct be_jit *j = ir_realloc_array(NULL, 1, sizeof(*j));
    if (failed(LLVMOrcCreateLLJIT(&j->jit, NULL), diag)) {
        free(j);
        return NULL;
    }
    LLVMMemoryBufferRef copy = LLVMCreateMemoryBufferWithMemoryRangeCopy(
        object, size, "treenail");
    struct ir_arena arena;
    ir_arena_init(&arena);
    const char *symbol =
        ir_sprintf(&arena, "%s_model", be_artifact_name(artifact));
    const char *stream_symbol =
        ir_sprintf(&arena, "%s_stream", be_artifact_name(artifact));
    const bool artifact_streams = be_artifact_streams(artifact);
    const bool bad =
        failed(LLVMOrcLLJITAddObjectFile(
                   j->jit, LLVMOrcLLJITGetMainJITDylib(j->jit), copy), diag) ||
        failed(LLVMOrcLLJITLookup(j->jit, &at, symbol), diag) ||
        (artifact_streams &&
         failed(LLVMOrcLLJITLookup(j->jit, &stream, stream_symbol), diag));
    ir_arena_release(&arena);
    if (bad) {
        be_jit_free(j);
        return NULL;
    }
    j->stream = (const struct tn_stream *)(uintptr_t)stream;
    *jit = j;
    return (const struct tn_model *)(uintptr_t)at;
}

const struct tn_stream *be_jit_stream(const struct be_jit *jit)
{
    return jit->stream;
}

void be_jit_free(struct be_jit *jit)
{
    if (!jit)
        return;
    struct ir_diag diag;
    ir_diag_init(&diag);
    failed(LLVMOrcDisposeLLJIT(jit->jit), &diag);
    ir_diag_release(&diag);
    free(jit);
}

/* emit_state.c: the state of a stream: where its memories are in it, what it is
 * before the first step, and what a step finds there.
 *
 *   byte 0    how many steps were taken
 *   byte 64   two halves, of which a step reads one and writes the other, by
 *             turns: so no op sees what it is to remember before all have read
 *             what was remembered
 *   then      windows: the last so many steps of a series; and what stays as it
 *             was at the start
 *
 * Every memory is at a multiple of 64. A window of n steps has 2 n places, and
 * step t goes to t % n and to n places behind it: so the last n steps always
 * lie in a row somewhere, oldest first, and nothing is moved. The step whose
 * place is taken has just left the window, so nobody reads it any more. */
#include "backend/llvm.h"

#include <stdlib.h>
#include <string.h>

enum { state_head = 64 };

/* -------------------------------------------------------------- the layout */

/* How a memory lies. */
enum place { BY_TURNS, WINDOW, STAYS };

struct state {
    int64_t half;  /* bytes of each of the two */
    int64_t bytes; /* of the state */
};

static bool is_read_once(const struct ir_module *step, const struct ir_value *v)
{
    int readers = 0;
    for (int i = 0; i < step->n_ops; i++)
        for (int k = 0; k < step->ops[i]->n_operands; k++)
            readers += step->ops[i]->operand[k] == v;
    for (int o = 0; o < step->n_outputs; o++)
        readers += step->outputs[o].value == v;
    return readers == 1;
}

/* Whether memory i is all steps of its window but the first, followed by a new
 * one, and nobody else reads it. The passes may have made something else of
 * it. */
static bool is_window(const struct ir_stream *stream, int i)
{
    const struct ir_memory *memory = &stream->memory[i];
    const struct ir_module *step = stream->step;
    const struct ir_op *op =
        step->outputs[stream->n_outputs + i].value->op;
    if (memory->steps < 2 || op->kind != IR_OP_concat ||
        op->n_operands != 2 || !ir_is_plain_concat(op))
        return false;
    const int64_t each = memory->elements / memory->steps;
    const struct ir_value *old = op->operand[0];
    return ir_type_volume(&op->operand[1]->type) == each &&
           ir_is_alias(old->op) && ir_attr_int(old->op, "offset") == each &&
           old->op->operand[0]->op->kind == IR_OP_input &&
           ir_attr_int(old->op->operand[0]->op, "first") == 1 + i &&
           is_read_once(step, old) && is_read_once(step, old->op->operand[0]);
}

static enum place place_of(const struct ir_stream *stream, int i)
{
    const struct ir_op *op =
        stream->step->outputs[stream->n_outputs + i].value->op;
    if (op->kind == IR_OP_input && ir_attr_int(op, "first") == 1 + i)
        return STAYS;
    return is_window(stream, i) ? WINDOW : BY_TURNS;
}

static int64_t memory_bytes(const struct ir_memory *memory)
{
    return memory->elements * (int64_t)ir_dtype_bytes(memory->dtype);
}

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Sets at[i], if wanted, to where memory i is: by turns a byte of a half, else
 * of the state. */
static struct state lay_out(const struct ir_stream *stream, int64_t *at)
{
    struct state s = {0, state_head};
    for (int turns = 1; turns >= 0; turns--) {
        for (int i = 0; i < stream->n_memories; i++) {
            const int64_t bytes = memory_bytes(&stream->memory[i]);
            const enum place place = place_of(stream, i);
            if ((place == BY_TURNS) != (turns == 1))
                continue;
            if (at)
                at[i] = turns ? s.half : s.bytes;
            *(turns ? &s.half : &s.bytes) +=
                round_up(place == WINDOW ? 2 * bytes : bytes);
        }
        s.bytes += turns ? 2 * s.half : 0;
    }
    return s;
}

int64_t be_state_bytes(const struct ir_stream *stream)
{
    return lay_out(stream, NULL).bytes;
}

static struct state places(struct be_emitter *e, int64_t **at)
{
    *at = ir_alloc_array(&e->arena, (size_t)e->stream->n_memories,
                         sizeof(**at));
    return lay_out(e->stream, *at);
}

int64_t be_state_place(struct be_emitter *e, int memory)
{
    int64_t *at;
    places(e, &at);
    return at[memory] +
           (place_of(e->stream, memory) == BY_TURNS ? state_head : 0);
}

/* ---------------------------------------------------------------- a step */

/* Where the window of memory i is, all its steps with the one that is being
 * taken, and where that one lies as well. */
static void enter_window(struct be_emitter *e, int i, LLVMValueRef base,
                         LLVMValueRef count, LLVMValueRef *kept,
                         LLVMValueRef *again)
{
    const struct ir_memory *memory = &e->stream->memory[i];
    LLVMValueRef n = be_i64(e, memory->steps);
    LLVMValueRef each = be_i64(e, memory_bytes(memory) / memory->steps);
    LLVMValueRef place = LLVMBuildURem(e->b, count, n, "");
    *again = be_offset(e, base, LLVMBuildNSWMul(e->b, place, each, ""));
    *kept = be_offset(e, *again, each);
}

LLVMValueRef be_state_enter(struct be_emitter *e, LLVMValueRef state)
{
    const struct ir_stream *stream = e->stream;
    int64_t *at;
    const struct state layout = places(e, &at);
    const size_t n_values = (size_t)ir_value_count(e->module);
    LLVMValueRef half = be_i64(e, layout.half);
    LLVMValueRef count = be_load(e, e->i64, state);
    LLVMValueRef odd = LLVMBuildAnd(e->b, count, be_i64(e, 1), "");
    LLVMValueRef skip = LLVMBuildNSWMul(e->b, odd, half, "");
    LLVMValueRef halves = be_offset(e, state, be_i64(e, state_head));
    LLVMValueRef other =
        be_offset(e, halves, LLVMBuildNSWSub(e->b, half, skip, ""));
    LLVMValueRef read = be_offset(e, halves, skip);
    e->memory = ir_alloc_array(&e->arena, (size_t)stream->n_memories,
                               sizeof(*e->memory));
    memset(e->kept, 0, n_values * sizeof(*e->kept));
    memset(e->again, 0, n_values * sizeof(*e->again));
    for (int i = 0; i < stream->n_memories; i++) {
        const struct ir_value *v =
            e->module->outputs[stream->n_outputs + i].value;
        const enum place place = place_of(stream, i);
        e->memory[i] = be_offset(e, state, be_i64(e, at[i]));
        if (place != STAYS && (e->kept[v->id] || ir_is_alias(v->op) ||
                               v->op->kind == IR_OP_input))
            ir_bug("memory %d has no place of its own", i);
        if (place == WINDOW)
            enter_window(e, i, e->memory[i], count, &e->kept[v->id],
                         &e->again[v->id]);
        if (place == BY_TURNS) {
            e->memory[i] = be_offset(e, read, be_i64(e, at[i]));
            e->kept[v->id] = be_offset(e, other, be_i64(e, at[i]));
        }
    }
    return count;
}

void be_window_repeat(struct be_emitter *e, const struct ir_op *concat)
{
    const struct ir_value *window = &concat->result[0];
    const int64_t each = ir_type_volume(&concat->operand[1]->type);
    const int64_t old = ir_type_volume(&window->type) - each;
    const enum ir_dtype dtype = window->type.dtype;
    be_copy(e, dtype,
            be_at(e, be_type(e, dtype), e->kept[window->id], be_i64(e, old)),
            e->again[window->id], each);
}

/* ------------------------------------------------------------- the start */

static bool starts_as_zeros(const struct ir_stream *stream)
{
    for (int i = 0; i < stream->n_memories; i++) {
        const struct ir_memory *memory = &stream->memory[i];
        const int64_t bytes = memory_bytes(memory);
        for (int64_t k = 0; k < bytes; k++)
            if (((const uint8_t *)memory->first)[k])
                return false;
    }
    return true;
}

/* Copies n words of 4 bytes, of which all memories are. */
static void copy_words(struct be_emitter *e, LLVMValueRef from,
                       LLVMValueRef state, int64_t to_byte, int64_t bytes)
{
    be_copy(e, IR_I32, from, be_offset(e, state, be_i64(e, to_byte)),
            bytes / 4);
}

/* Each memory as it is before the first step; twice, but for what stays. */
static void emit_first(struct be_emitter *e, LLVMValueRef state)
{
    int64_t *at;
    const struct state layout = places(e, &at);
    for (int i = 0; i < e->stream->n_memories; i++) {
        const struct ir_memory *memory = &e->stream->memory[i];
        const int64_t bytes = memory_bytes(memory);
        const enum place place = place_of(e->stream, i);
        const int64_t to = at[i] + (place == BY_TURNS ? state_head : 0);
        LLVMValueRef first = be_bytes(e, "first", memory->first, (size_t)bytes,
                                      64);
        copy_words(e, first, state, to, bytes);
        if (place != STAYS)
            copy_words(e, first, state,
                       to + (place == WINDOW ? bytes : layout.half), bytes);
    }
}

LLVMValueRef be_state_init_emit(struct be_emitter *e)
{
    char *name = ir_sprintf(&e->arena, "%s_state_init", e->name);
    LLVMTypeRef params[] = {e->ptr};
    LLVMValueRef fn =
        be_function(e, name, e->none, params, 1, e->levels[0]);
    LLVMSetLinkage(fn, LLVMExternalLinkage);
    be_set_part(e, fn, "entry", 5);
    LLVMValueRef state = LLVMGetParam(fn, 0);
    be_fill(e, IR_I32, be_i32(e, 0), state, be_state_bytes(e->stream) / 4);
    if (!starts_as_zeros(e->stream))
        emit_first(e, state);
    LLVMBuildRetVoid(e->b);
    return fn;
}

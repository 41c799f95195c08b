/* emit_step.c: a model that streams, one time step at a time.
 *
 * The step is a module of its own (ir/steps.h), lowered as one row is. Its
 * first column is the caller's row; the others are read from the state, and the
 * outputs behind the model's are written to it: emit_state.c says where. */
#include "backend/llvm.h"

#include <string.h>

int64_t be_step_elements(const struct ir_stream *stream)
{
    return stream->row.outer * stream->row.inner;
}

int64_t be_start_elements(const struct ir_stream *stream)
{
    return stream->start ? ir_row_elements(stream->start) : 0;
}

int64_t be_step_scratch_bytes(const struct be_emitter *e)
{
    const struct be_layout *step = e->layout_step, *start = e->layout_start;
    const int64_t bytes = step->on_stack ? 0 : step->bytes;
    return start && !start->on_stack && start->bytes > bytes ? start->bytes
                                                             : bytes;
}

/* --------------------------------------------------------------- one step */

/* void step(state, row, out, scratch) */
static LLVMValueRef emit_step(struct be_emitter *e,
                              const struct ir_value *value,
                              enum ir_dtype dtype, const struct be_level *level)
{
    char name[64];
    snprintf(name, sizeof(name), "step_%d_%s_%d", value->id,
             ir_dtype_name(dtype), level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 4, level);
    LLVMValueRef state = LLVMGetParam(fn, 0);
    e->one_row = true;
    e->row_dtype = dtype;
    e->row_stride = be_i64(e, 0);
    e->column_stride = be_i64(e, 1);
    e->workspace = be_workspace(e, e->layout_step, LLVMGetParam(fn, 3));
    e->out_value = value;
    e->n_rows = be_i64(e, 1);
    e->rows = LLVMGetParam(fn, 1);
    e->out = LLVMGetParam(fn, 2);
    LLVMValueRef count = be_state_enter(e, state);
    bool *needed = ir_alloc_array(
        &e->arena, (size_t)ir_value_count(e->module), sizeof(bool));
    be_mark_slice(e, value, needed);
    for (int i = 0; i < e->stream->n_memories; i++)
        be_mark_slice(
            e, e->module->outputs[e->stream->n_outputs + i].value, needed);
    e->needed = needed;
    be_lower_slice(e);
    be_store(e, LLVMBuildAdd(e->b, count, be_i64(e, 1), ""), state);
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* void steps(state, rows, n_steps, row_stride, out, scratch): `out` moves on
 * by so many elements a step. */
static LLVMValueRef emit_steps(struct be_emitter *e, LLVMValueRef step,
                               const struct ir_value *value, int64_t moves,
                               enum ir_dtype dtype,
                               const struct be_level *level)
{
    char name[64];
    snprintf(name, sizeof(name), "steps_%d_%s_%d", value->id,
             ir_dtype_name(dtype), level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->i64, e->i64, e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 6, level);
    struct be_loop loop;
    be_loop_begin(e, &loop, be_i64(e, 0), LLVMGetParam(fn, 2), 1);
    LLVMValueRef row = LLVMBuildMul(e->b, loop.index, LLVMGetParam(fn, 3), "");
    LLVMValueRef args[] = {
        LLVMGetParam(fn, 0),
        be_at(e, be_type(e, dtype), LLVMGetParam(fn, 1), row),
        be_at_times(e, be_type(e, value->type.dtype), LLVMGetParam(fn, 4),
                    loop.index, moves),
        LLVMGetParam(fn, 5)};
    be_call(e, step, args, 4);
    be_loop_end(e, &loop);
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* --------------------------------------------------------------- the start */

/* void begin(state, row, scratch): what state_init() does, and then each memory
 * that is made of the row. */
static LLVMValueRef emit_begin(struct be_emitter *e, LLVMValueRef init,
                               enum ir_dtype dtype,
                               const struct be_level *level)
{
    const struct ir_stream *stream = e->stream;
    const size_t n = (size_t)stream->n_memories;
    LLVMValueRef *run = ir_alloc_array(&e->arena, n, sizeof(*run));
    for (int i = 0; i < stream->n_memories; i++)
        if (stream->memory[i].start >= 0)
            run[i] = be_run_one_emit(
                e, stream->start->outputs[stream->memory[i].start].value,
                dtype, level);
    char name[64];
    snprintf(name, sizeof(name), "begin_%s_%d", ir_dtype_name(dtype),
             level->vector_bytes);
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr};
    LLVMValueRef fn = be_function(e, name, e->none, params, 3, level);
    LLVMValueRef state = LLVMGetParam(fn, 0);
    be_call(e, init, &state, 1);
    for (int i = 0; i < stream->n_memories; i++) {
        LLVMValueRef args[] = {
            LLVMGetParam(fn, 1),
            be_offset(e, state, be_i64(e, be_state_place(e, i))),
            LLVMGetParam(fn, 2)};
        if (stream->memory[i].start >= 0)
            be_call(e, run[i], args, 3);
    }
    LLVMBuildRetVoid(e->b);
    return fn;
}

/* The functions that start from a row's other numbers, for each dtype. */
static void emit_starts(struct be_emitter *e, LLVMValueRef level_fn,
                        LLVMValueRef init, LLVMValueRef *entry)
{
    const bool scratch = be_step_scratch_bytes(e) > 0;
    LLVMTypeRef params[] = {e->ptr, e->ptr, e->ptr};
    LLVMValueRef *run =
        ir_alloc_array(&e->arena, (size_t)e->n_levels, sizeof(*run));
    for (int i = 0; i < 2; i++) {
        const enum ir_dtype dtype = i ? IR_F64 : IR_F32;
        char suffix[24];
        for (int l = 0; l < e->n_levels; l++)
            run[l] = emit_begin(e, init, dtype, e->levels[l]);
        snprintf(suffix, sizeof(suffix), "state_start_%s",
                 ir_dtype_name(dtype));
        entry[i] = be_entry_emit(e, suffix, params, 3, level_fn, run, 0,
                                 scratch);
    }
}

/* Goes over to another of the stream's modules. */
static void enter_module(struct be_emitter *e, const struct ir_module *module,
                         int first_op)
{
    const size_t n_values = (size_t)ir_value_count(module);
    e->module = module;
    e->first_op = first_op;
    e->memory = NULL;
    e->kept = ir_alloc_array(&e->arena, n_values, sizeof(*e->kept));
    e->again = ir_alloc_array(&e->arena, n_values, sizeof(*e->again));
    e->staged = ir_alloc_array(&e->arena, n_values, sizeof(*e->staged));
}

/* -------------------------------------------------------------- the struct */

static LLVMValueRef outputs(struct be_emitter *e)
{
    const struct ir_stream *stream = e->stream;
    LLVMValueRef *items = ir_alloc_array(
        &e->arena, (size_t)stream->n_outputs + 1, sizeof(*items));
    for (int o = 0; o < stream->n_outputs; o++) {
        const struct ir_time *time = &stream->output[o];
        LLVMValueRef fields[] = {
            be_i32(e, time->outer), be_i32(e, time->inner),
            be_i32(e, time->steps), be_i32(e, stream->first_step[o])};
        items[o] = be_struct(e, fields, 4);
    }
    return be_array(e, "step_outputs", LLVMTypeOf(items[0]), items,
                    (size_t)stream->n_outputs);
}

/* The functions for one dtype of rows: of one step, and of several. */
static void emit_entries(struct be_emitter *e, LLVMValueRef level_fn,
                         enum ir_dtype dtype, LLVMValueRef *one,
                         LLVMValueRef *several)
{
    const struct ir_stream *stream = e->stream;
    const int n = stream->n_outputs;
    const size_t runs = (size_t)e->n_levels * (size_t)n;
    LLVMValueRef *step = ir_alloc_array(&e->arena, runs, sizeof(*step));
    LLVMValueRef *steps = ir_alloc_array(&e->arena, runs, sizeof(*steps));
    for (int i = 0; i < e->n_levels * n; i++) {
        const struct ir_value *v = e->module->outputs[i % n].value;
        const struct ir_time *time = &stream->output[i % n];
        const struct be_level *level = e->levels[i / n];
        int same = 0;
        while (e->module->outputs[same].value != v)
            same++;
        if (same < i % n) {
            step[i] = step[i / n * n + same];
            steps[i] = steps[i / n * n + same];
            continue;
        }
        step[i] = emit_step(e, v, dtype, level);
        steps[i] = emit_steps(e, step[i], v,
                              time->steps ? time->outer * time->inner : 0,
                              dtype, level);
    }
    LLVMTypeRef one_params[] = {e->i32, e->ptr, e->ptr, e->ptr, e->ptr};
    LLVMTypeRef several_params[] = {e->i32, e->ptr, e->ptr, e->i64,
                                    e->i64, e->ptr, e->ptr};
    const bool scratch = be_step_scratch_bytes(e) > 0;
    char suffix[16];
    snprintf(suffix, sizeof(suffix), "step_%s", ir_dtype_name(dtype));
    *one = be_entry_emit(e, suffix, one_params, 5, level_fn, step, n, scratch);
    snprintf(suffix, sizeof(suffix), "steps_%s", ir_dtype_name(dtype));
    *several = be_entry_emit(e, suffix, several_params, 7, level_fn, steps, n,
                             scratch);
}

/* The tn_stream; `first_op` is what the start's first op has for a number. */
static void emit_stream(struct be_emitter *e, LLVMValueRef level_fn,
                        int first_op)
{
    const struct ir_stream *stream = e->stream;
    const struct ir_time *row = &stream->row;
    LLVMValueRef none = LLVMConstNull(e->ptr);
    LLVMValueRef one[2], several[2], start[2] = {none, none};
    LLVMValueRef init = be_state_init_emit(e), step_outputs = outputs(e);
    for (int i = 0; i < 2; i++)
        emit_entries(e, level_fn, i ? IR_F64 : IR_F32, &one[i], &several[i]);
    if (stream->start) {
        enter_module(e, stream->start, first_op);
        emit_starts(e, level_fn, init, start);
    }
    LLVMValueRef fields[] = {
        be_i32(e, 0), /* its own size */
        be_i32(e, row->steps), be_i32(e, be_step_elements(stream)),
        be_i32(e, stream->row_start), be_i32(e, row->outer),
        be_i32(e, row->inner), be_i64(e, be_state_bytes(stream)),
        be_i64(e, be_step_scratch_bytes(e)), step_outputs, init,
        one[0], one[1], several[0], several[1],
        be_i64(e, be_start_elements(stream)), start[0], start[1]};
    be_export_struct(e, "stream", fields, sizeof(fields) / sizeof(fields[0]),
                     0);
}

void be_steps_emit(struct be_emitter *e, LLVMValueRef level_fn)
{
    const struct ir_module *model = e->module;
    const struct ir_stream *stream = e->stream;
    LLVMValueRef *staged = e->staged;
    const int start_op = model->n_ops + stream->step->n_ops;
    e->in_step = true;
    if (stream->start) {
        enter_module(e, stream->start, start_op);
        e->layout_start = be_layout_new(e, 1);
    }
    enter_module(e, stream->step, model->n_ops);
    e->layout_step = be_layout_new(e, 1);
    emit_stream(e, level_fn, start_op);
    e->staged = staged;
    e->memory = NULL;
    e->in_step = false;
    e->module = model;
    e->first_op = 0;
}

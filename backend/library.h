/* library.h: the part of llvm.h, which includes it, that is about a library as
 * a whole: its entry points, its tables, and time steps. */
#ifndef TREENAIL_BACKEND_LIBRARY_H
#define TREENAIL_BACKEND_LIBRARY_H

#include "backend/llvm.h"

/* ------------------------------------------------------- emit_library.c -- */

/* Everything: kernels, entry points, golden rows, the tn_model. */
void be_library_emit(struct be_emitter *e, const struct ir_module *source,
                     int n_golden);
/* What has a place of its own, an input say, as an output. */
void be_copy_out(struct be_emitter *e);
/* Marks in `needed`, by id, what a value is computed from, itself included. */
void be_mark_slice(const struct be_emitter *e, const struct ir_value *value,
                   bool *needed);
/* Lowers the ops that e->needed has something of. */
void be_lower_slice(struct be_emitter *e);
/* void run(row, out, scratch): a value of one row, of the model or the
 * start. */
LLVMValueRef be_run_one_emit(struct be_emitter *e, const struct ir_value *value,
                             enum ir_dtype dtype, const struct be_level *level);
/* Where buffers are: on this function's stack or in the caller's scratch. */
LLVMValueRef be_workspace(struct be_emitter *e, const struct be_layout *layout,
                          LLVMValueRef scratch);
/* The entry point NAME_suffix: checks its arguments, and calls run[level *
 * n_outputs + output] with them but the first, the output's number: or
 * run[level] with all, when n_outputs is 0. The last is scratch, and of steps
 * the first of the others the state. */
LLVMValueRef be_entry_emit(struct be_emitter *e, const char *suffix,
                           LLVMTypeRef *params, int n_params,
                           LLVMValueRef level_fn, LLVMValueRef *run,
                           int n_outputs, bool needs_scratch);
LLVMValueRef be_struct(struct be_emitter *e, LLVMValueRef *fields, unsigned n);
/* A private constant of n items; NULL of none. */
LLVMValueRef be_array(struct be_emitter *e, const char *name, LLVMTypeRef type,
                      LLVMValueRef *items, size_t n);
/* Exports a struct whose field number `own_size` is its size. */
void be_export_struct(struct be_emitter *e, const char *suffix,
                      LLVMValueRef *fields, unsigned n, int own_size);

/* ---------------------------------------------------------- emit_step.c -- */

/* The functions of time steps, and the tn_stream. */
void be_steps_emit(struct be_emitter *e, LLVMValueRef level_fn);
/* The numbers in a time step's row. */
int64_t be_step_elements(const struct ir_stream *stream);
/* What the caller must supply for a step. */
int64_t be_step_scratch_bytes(const struct be_emitter *e);
/* The numbers that a state starts from, beside what is known. */
int64_t be_start_elements(const struct ir_stream *stream);

/* --------------------------------------------------------- emit_state.c -- */

int64_t be_state_bytes(const struct ir_stream *stream);
/* Which byte of a state the first step reads a memory at. */
int64_t be_state_place(struct be_emitter *e, int memory);
/* NAME_state_init(). */
LLVMValueRef be_state_init_emit(struct be_emitter *e);
/* Points e->memory, e->kept and e->again into the state; returns how many steps
 * were taken before. */
LLVMValueRef be_state_enter(struct be_emitter *e, LLVMValueRef state);
/* Has a window's newest step a second time in its place, where it goes. */
void be_window_repeat(struct be_emitter *e, const struct ir_op *concat);

#endif

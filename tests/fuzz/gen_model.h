/* gen_model.h: bytes -> a model, for fuzz targets that need a valid one.
 *
 * Any bytes give a module that passes ir_verify(). Fields stand at fixed
 * places and each part of a tree is a record of fixed size, so that a small
 * change of the bytes is a small change of the model; bytes past the end read
 * as 0. The layout is documented in gen_model.c.
 *
 * The models are small and odd: thresholds at infinities, zeros of both signs,
 * denormals and each other's neighbours; every flag; sets, also empty ones and
 * equal ones; linear leaves; leaves that no node leads to; children numbered
 * in any order; f32 and f64; several forests; every op of level MODEL; maps
 * and reduces of level KERNEL with every step that a program may have; or nets.
 */
#ifndef TREENAIL_GEN_MODEL_H
#define TREENAIL_GEN_MODEL_H

#include "ir/ir.h"

/* The caller frees the module. Never NULL: a model that the verifier refuses
 * is a bug of the generator and ends the process. */
struct ir_module *gen_model(const uint8_t *data, size_t size);

/* A row of ir_row_elements(module) numbers, two bytes each, out of the same
 * odd numbers that thresholds are drawn from, or a NaN, or a category. */
void gen_row(const struct ir_module *module, const uint8_t *data, size_t size,
             double *row);

#endif

/* test_eval.c: the reference interpreter, op by op, against numbers computed
 * by hand. Each case is a module, a row of f64 and what its first output is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "ir/ir.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A module with columns a, b, c and %0 = f64[3] of them. */
#define THREE                                                                 \
    "treenail-ir 1 module \"m\" {\n"                                          \
    "column \"a\" number column \"b\" number column \"c\" number\n"           \
    "%0 = input {first = 0, count = 3, dtype = \"f64\"} : f64[3]\n"
#define THREE_F32                                                             \
    "treenail-ir 1 module \"m\" {\n"                                          \
    "column \"a\" number column \"b\" number column \"c\" number\n"           \
    "%0 = input {first = 0, count = 3, dtype = \"f32\"} : f32[3]\n"

/* The row, and below it the row negated: %3 = f64[2,3]. */
#define TWO_ROWS                                                              \
    "%1 = view(%0) {shape = i64[2](2 3), strides = i64[2](0 1), "             \
    "offset = 0} : f64[2,3]\n"                                               \
    "%2 = constant {value = f64[2,1](1 -1)} : f64[2,1]\n"                    \
    "%3 = map(%1, %2) {program = \"x0 x1 mul\", dtype = \"f64\"} : "          \
    "f64[2,3]\n"

/* Twice the row, less what 10 stands for: numbers from -10 to 245. */
#define INT8_GEMM                                                             \
    "%1 = gemm(%0) {weights = i8[3,2](1 -2 3 4 -128 127), "                   \
    "bias = f32[2](1 0), block = 8, input_scale = 2, input_zero = 10, "       \
    "scale = f32[2](0.5 0.25)} : f32[2]\n"                                    \
    "output \"y\" %1 }"

/* Bytes, of which 0 is 10. */
#define BYTES THREE_F32                                                       \
    "%1 = map(%0) {program = \"x0\", dtype = \"u8\"} : u8[3]\n"

#define E 0x1.78b564p-2f /* exp(-1) */

struct test_case {
    enum ir_op_kind kind; /* of which it is a case */
    const char *text;
    double row[3];
    int n;
    double out[6];
};

static const struct test_case cases[] = {
    {IR_OP_input, THREE "output \"y\" %0 }", {1.5, NAN, -0.0}, 3,
     {1.5, NAN, -0.0}},
    {IR_OP_input, THREE_F32 "output \"y\" %0 }", {0.1, 1e300, -0x1p-151}, 3,
     {0.1f, INFINITY, -0.0}},
    {IR_OP_input, THREE
     "%1 = input {first = 1, count = 2, dtype = \"f64\"} : f64[2]\n"
     "output \"y\" %1 }", {1, 2, 3}, 2, {2, 3}},
    {IR_OP_input, THREE
     "%1 = input {first = 1, count = 2, dtype = \"f64\", "
     "shape = i64[3](2 1 1)} : f64[2,1,1]\n"
     "output \"y\" %1 }", {1, 2, 3}, 2, {2, 3}},
    {IR_OP_concat, THREE
     "%1 = input {first = 2, count = 1, dtype = \"f64\"} : f64[1]\n"
     "%2 = input {first = 0, count = 1, dtype = \"f64\"} : f64[1]\n"
     "%3 = concat(%1, %2, %1) : f64[3]\n"
     "output \"y\" %3 }", {1, 2, 3}, 3, {3, 1, 3}},
    {IR_OP_concat, THREE /* of numbers that are no reals */
     "%1 = argmax(%0) : i32[1]\n"
     "%2 = above(%0) {bound = 1} : i32[3]\n"
     "%3 = concat(%1, %1, %1) : i32[3]\n"
     "output \"y\" %3 }", {1, 9, 3}, 3, {1, 1, 1}},
    {IR_OP_concat, THREE
     "%1 = above(%0) {bound = 1} : i32[3]\n"
     "%2 = concat(%1) : i32[3]\n"
     "output \"y\" %2 }", {1, 9, 3}, 3, {0, 1, 1}},
    {IR_OP_sigmoid, THREE
     "%1 = sigmoid(%0) {alpha = 2} : f64[3]\n"
     "output \"y\" %1 }", {0, 1000, -1000}, 3, {0.5, 1, 0}},
    {IR_OP_sigmoid, THREE
     "%1 = sigmoid(%0) {alpha = 1} : f64[3]\n"
     "output \"y\" %1 }", {NAN, 1, -1}, 3,
     {NAN, 0x1.764d4f5d5a2bdp-1, 0x1.136561454ba86p-2}},
    {IR_OP_exp, THREE
     "%1 = exp(%0) : f64[3]\n"
     "output \"y\" %1 }", {0, 1, -INFINITY}, 3, {1, M_E, 0}},
    {IR_OP_exp, THREE_F32
     "%1 = exp(%0) : f32[3]\n"
     "output \"y\" %1 }", {89, 1, -104}, 3, {INFINITY, 2.71828175f, 0}},
    {IR_OP_log1p_exp, THREE
     "%1 = log1p_exp(%0) : f64[3]\n"
     "output \"y\" %1 }", {0, -INFINITY, 1000}, 3, {M_LN2, 0, INFINITY}},
    {IR_OP_signed_square, THREE
     "%1 = signed_square(%0) : f64[3]\n"
     "output \"y\" %1 }", {3, -3, -0.5}, 3, {9, -9, -0.25}},
    {IR_OP_divide, THREE
     "%1 = divide(%0) {divisor = 3} : f64[3]\n"
     "output \"y\" %1 }", {1, -6, 0}, 3, {1.0 / 3, -2, 0}},
    {IR_OP_above, THREE
     "%1 = above(%0) {bound = 0.5} : i32[3]\n"
     "output \"y\" %1 }", {0.5, NAN, 0.50000000000000011}, 3, {0, 0, 1}},
    {IR_OP_softmax, THREE
     "%1 = softmax(%0) : f64[3]\n"
     "output \"y\" %1 }", {1000, 1000, -INFINITY}, 3, {0.5, 0.5, 0}},
    {IR_OP_softmax, THREE
     "%1 = softmax(%0) : f64[3]\n"
     "output \"y\" %1 }", {7, NAN, 7}, 3, {NAN, NAN, NAN}},
    {IR_OP_softmax, THREE_F32 /* the sum is rounded at each step */
     "%1 = softmax(%0) : f32[3]\n"
     "output \"y\" %1 }", {1, 0, 0}, 3,
     {1 / (1 + E + E), E / (1 + E + E), E / (1 + E + E)}},
    {IR_OP_softmax, THREE_F32 /* of 2 units of the last place more */
     "%1 = softmax(%0) {exp = \"fast_exp\"} : f32[3]\n"
     "output \"y\" %1 }", {-INFINITY, 0, -104}, 3, {0, 1, 0}},
    {IR_OP_argmax, THREE
     "%1 = argmax(%0) : i32[1]\n"
     "output \"y\" %1 }", {1, 2, 2}, 1, {1}},
    {IR_OP_argmax, THREE
     "%1 = argmax(%0) : i32[1]\n"
     "output \"y\" %1 }", {NAN, 2, 3}, 1, {0}},
    {IR_OP_argmax, THREE
     "%1 = argmax(%0) : i32[1]\n"
     "output \"y\" %1 }", {-0.0, NAN, 0.0}, 1, {0}},
    {IR_OP_map, THREE
     "%1 = input {first = 1, count = 1, dtype = \"f64\"} : f64[1]\n"
     "%2 = map(%1, %0, %0) {program = \"x1 x0 mul x2 add\", "
     "dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %2 }", {1, 10, 3}, 3, {11, 110, 33}},
    {IR_OP_map, THREE /* computed in f64, then rounded */
     "%1 = map(%0) {program = \"x0 3 div\", dtype = \"f32\"} : f32[3]\n"
     "output \"y\" %1 }", {1, 2, 3}, 3, {1.0f / 3, 2.0f / 3, 1}},
    {IR_OP_map, THREE
     "%1 = map(%0) {program = \"x0 sign\", dtype = \"i32\"} : i32[3]\n"
     "output \"y\" %1 }", {-1e300, NAN, 5e-324}, 3, {-1, 0, 1}},
    {IR_OP_reduce, THREE
     "%1 = reduce(%0) {kind = \"max\"} : f64[1]\n"
     "output \"y\" %1 }", {-5, -3, -4}, 1, {-3}},
    {IR_OP_reduce, THREE
     "%1 = reduce(%0) {kind = \"argmax\"} : i32[1]\n"
     "output \"y\" %1 }", {-5, -3, -4}, 1, {1}},
    {IR_OP_reduce, THREE /* in ascending order: not 1 */
     "%1 = reduce(%0) {kind = \"sum\"} : f64[1]\n"
     "output \"y\" %1 }", {1, 1e16, -1e16}, 1, {0}},
    {IR_OP_reduce, THREE_F32
     "%1 = reduce(%0) {kind = \"sum\"} : f32[1]\n"
     "output \"y\" %1 }", {16777216, 1, 1}, 1, {16777216}},
    {IR_OP_reduce, THREE_F32
     "%1 = reduce(%0) {kind = \"sum\", sum_dtype = \"f64\"} : f32[1]\n"
     "output \"y\" %1 }", {16777216, 1, 1}, 1, {16777218}},
    {IR_OP_reduce, THREE
     "%1 = reduce(%0) {kind = \"min\"} : f64[1]\n"
     "output \"y\" %1 }", {3, NAN, -1}, 1, {-1}},
    {IR_OP_map, THREE
     "%1 = map(%0) {program = \"x0 floor x0 rint 10 mul add x0 isnan "
     "7 mul add\", dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %1 }", {2.5, -0.5, NAN}, 3, {22, -1, NAN}},
    {IR_OP_map, THREE
     "%1 = map(%0) {program = \"x0 isnan 9 x0 0 lt x0 neg x0 where where\", "
     "dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %1 }", {2.5, -0.5, NAN}, 3, {2.5, 0.5, 9}},
    {IR_OP_map, THREE
     "%1 = map(%0) {program = \"x0 1 ge x0 1 le 2 mul add x0 1 eq 4 mul "
     "add\", dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %1 }", {1, 0, NAN}, 3, {7, 2, 0}},
    {IR_OP_map, THREE
     "%1 = map(%0) {program = \"x0 x0 5 where\", dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %1 }", {NAN, -0.0, 3}, 3, {NAN, 5, 3}},
    {IR_OP_constant, THREE
     "%1 = constant {value = f64[2](4 -0.0)} : f64[2]\n"
     "output \"y\" %1 }", {1, 2, 3}, 2, {4, -0.0}},
    {IR_OP_gather, THREE
     "%1 = gather(%0) {index = i32[3](2 0 2)} : f64[3]\n"
     "output \"y\" %1 }", {1, 2, NAN}, 3, {NAN, 1, NAN}},
    {IR_OP_lookup, THREE
     "%1 = lookup(%0) {keys = f64[3](-1 0 nan), values = f64[3](10 20 30), "
     "default = 5} : f64[3]\n"
     "output \"y\" %1 }", {-0.0, 0.5, NAN}, 3, {20, 5, 30}},
    {IR_OP_lookup, THREE
     "%1 = lookup(%0) {keys = f64[2](-1 4), values = i32[2](10 20), "
     "default = -5} : i32[3]\n"
     "output \"y\" %1 }", {4, INFINITY, NAN}, 3, {20, -5, -5}},
    {IR_OP_hash_lookup, THREE /* 81 * 2 + 27 * -1 + 9 * 1 */
     "%1 = hash_lookup(%0) {multiplier = 3, keys = i64[2](0 144), "
     "values = f64[4](1 2 3 4), default = f64[2](5 6)} : f64[2]\n"
     "output \"y\" %1 }", {2.5, -1, 1}, 2, {3, 4}},
    {IR_OP_hash_lookup, THREE
     "%1 = hash_lookup(%0) {multiplier = 3, keys = i64[2](0 144), "
     "values = f32[2](1 2), default = f32[1](5)} : f32[1]\n"
     "output \"y\" %1 }", {0, NAN, 0}, 1, {5}},
    {IR_OP_hash_lookup, THREE /* the hash wraps */
     "%1 = hash_lookup(%0) {multiplier = 4611686018427387905, "
     "keys = i64[1](4611686018427387911), values = f32[1](1), "
     "default = f32[1](5)} : f32[1]\n"
     "output \"y\" %1 }", {0, 3, 4}, 1, {1}},
    {IR_OP_bucketize, THREE
     "%1 = bucketize(%0) {edges = f64[3](0 1 1), right = 1} : f64[3]\n"
     "output \"y\" %1 }", {1, NAN, -1}, 3, {3, 3, 0}},
    {IR_OP_bucketize, THREE
     "%1 = bucketize(%0) {edges = f64[3](0 1 1), right = 0} : f64[3]\n"
     "output \"y\" %1 }", {1, 0, 2}, 3, {1, 0, 3}},
    {IR_OP_interp, THREE
     "%1 = interp(%0) {x = f64[4](0 1 1 3), y = f64[4](0 10 20 30)} : f64[3]\n"
     "output \"y\" %1 }", {1, 2, 0.25}, 3, {20, 25, 2.5}},
    {IR_OP_interp, THREE
     "%1 = interp(%0) {x = f64[2](0 1), y = f64[2](5 10)} : f64[3]\n"
     "output \"y\" %1 }", {NAN, -INFINITY, INFINITY}, 3, {NAN, 5, 10}},
    {IR_OP_dense, THREE
     "%1 = dense(%0) {weights = f64[2,3](1 2 3 0 0 1), bias = f64[2](0.5 0)} "
     ": f64[2]\n"
     "output \"y\" %1 }", {1, 10, 100}, 2, {321.5, 100}},
    {IR_OP_dense, THREE_F32 /* each sum is rounded */
     "%1 = dense(%0) {weights = f32[1,3](1 1 1)} : f32[1]\n"
     "output \"y\" %1 }", {16777216, 1, 1}, 1, {16777216}},
    {IR_OP_gemm, THREE
     "%1 = gemm(%0) {weights = f64[3,2](1 0 2 0 3 1), "
     "bias = f64[2](0.5 0), block = 8} : f64[2]\n"
     "output \"y\" %1 }", {1, 10, 100}, 2, {321.5, 100}},
    {IR_OP_gemm, THREE_F32 /* ties of bf16 go to even */
     "%1 = gemm(%0) {weights = bf16[3,1](1.00390625 1.01171875 3), "
     "block = 8} : f32[1]\n"
     "output \"y\" %1 }", {1, 1, 2}, 1, {8.015625}},
    {IR_OP_gemm, THREE_F32 INT8_GEMM, {0.75, -6, 200}, 2,
     {-15693, 7767.75}},
    {IR_OP_gemm, THREE_F32 INT8_GEMM, {NAN, 0, 0}, 2, {-4, 5}},
    {IR_OP_map, BYTES /* rounded to even, from 0 to 255 */
     "%2 = map(%1) {program = \"x0\", dtype = \"f32\"} : f32[3]\n"
     "output \"y\" %2 }", {-3, 2.5, 300}, 3, {0, 2, 255}},
    {IR_OP_map, BYTES
     "%2 = map(%1, %0) {program = \"x0 x1 mul\", dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %2 }", {NAN, 3.5, 7}, 3, {NAN, 14, 49}},
    {IR_OP_gemm, BYTES /* sums start at 7 and -1, and are exact */
     "%2 = gemm(%1) {weights = i8[3,2](1 -2 3 4 -128 127), block = 8, "
     "input_zero = 10, start = i32[2](7 -1), scale = f32[2](0.5 0.25)} : "
     "f32[2]\n"
     "output \"y\" %2 }", {11, 0, 255}, 2, {-15691, 7768}},
    {IR_OP_gemm, BYTES
     "%2 = gemm(%1) {weights = i8[3,2](1 -2 3 4 -128 127), block = 8, "
     "input_zero = 10, scale = f32[2](0.5 0.25), epilogue = \"x0 1 add\", "
     "dtype = \"u8\"} : u8[2]\n"
     "%3 = map(%2) {program = \"x0\", dtype = \"f32\"} : f32[2]\n"
     "output \"y\" %3 }", {11, 20, 10}, 2, {16, 10}},
    {IR_OP_pool, BYTES
     "%2 = view(%1) {shape = i64[2](1 3), strides = i64[2](1 1), "
     "offset = 0} : u8[1,3]\n"
     "%3 = pool(%2) {kind = \"max\", kernel = i64[1](2), "
     "strides = i64[1](1), pads = i64[2](2 0), dilations = i64[1](1), "
     "count_padding = 0} : u8[1,4]\n"
     "%4 = map(%3) {program = \"x0 1 sub\", dtype = \"f32\"} : f32[1,4]\n"
     "output \"y\" %4 }", {1, 3, 2}, 4, {-1, 0, 2, 2}},
    {IR_OP_conv, BYTES /* padding is 0, which 5 stands for */
     "%2 = view(%1) {shape = i64[2](1 3), strides = i64[2](1 1), "
     "offset = 0} : u8[1,3]\n"
     "%3 = conv(%2) {weights = i8[1,1,2](1 10), strides = i64[1](1), "
     "pads = i64[2](0 1), dilations = i64[1](1), groups = 1, "
     "input_zero = 5, start = i32[1](100), scale = f32[1](1)} : f32[1,3]\n"
     "output \"y\" %3 }", {1, 2, 3}, 3, {66, 77, 98}},
    {IR_OP_matmul, THREE
     "%1 = view(%0) {shape = i64[2](3 1), strides = i64[2](1 1), "
     "offset = 0} : f64[3,1]\n"
     "%2 = view(%0) {shape = i64[2](1 3), strides = i64[2](1 1), "
     "offset = 0} : f64[1,3]\n"
     "%3 = matmul(%2, %1) : f64[1,1]\n"
     "output \"y\" %3 }", {1, 10, 100}, 1, {10101}},
    {IR_OP_conv, THREE
     "%1 = view(%0) {shape = i64[2](1 3), strides = i64[2](1 1), "
     "offset = 0} : f64[1,3]\n"
     "%2 = conv(%1) {weights = f64[1,1,2](1 10), strides = i64[1](1), "
     "pads = i64[2](0 1), dilations = i64[1](1), groups = 1} : f64[1,3]\n"
     "output \"y\" %2 }", {1, 2, 3}, 3, {21, 32, 3}},
    {IR_OP_conv, THREE_F32 /* padding is 0, which 5 stands for */
     "%1 = view(%0) {shape = i64[2](1 3), strides = i64[2](1 1), "
     "offset = 0} : f32[1,3]\n"
     "%2 = conv(%1) {weights = i8[1,1,2](1 10), strides = i64[1](1), "
     "pads = i64[2](0 1), dilations = i64[1](1), groups = 1, "
     "input_scale = 1, input_zero = 5, scale = f32[1](1)} : f32[1,3]\n"
     "output \"y\" %2 }", {1, 2, 3}, 3, {21, 32, 3}},
    {IR_OP_pool, THREE
     "%1 = view(%0) {shape = i64[2](1 3), strides = i64[2](1 1), "
     "offset = 0} : f64[1,3]\n"
     "%2 = pool(%1) {kind = \"max\", kernel = i64[1](2), "
     "strides = i64[1](1), pads = i64[2](1 0), dilations = i64[1](1), "
     "count_padding = 0} : f64[1,3]\n"
     "output \"y\" %2 }", {1, 3, 2}, 3, {1, 3, 3}},
    {IR_OP_pad, THREE
     "%1 = gather(%0) {index = i32[1](2)} : f64[1]\n"
     "%2 = pad(%1) {before = i64[1](2), after = i64[1](1), value = 7} : "
     "f64[4]\n"
     "output \"y\" %2 }", {1, 2, 3}, 4, {7, 7, 3, 7}},
    {IR_OP_view, THREE
     "%1 = view(%0) {shape = i64[2](2 2), strides = i64[2](-1 1), "
     "offset = 1} : f64[2,2]\n"
     "output \"y\" %1 }", {1, NAN, 3}, 4, {NAN, 3, 1, NAN}},
    {IR_OP_take, THREE
     "%1 = take(%0) {table = f32[4](10 20 30 40)} : f32[3]\n"
     "output \"y\" %1 }", {2.9, -1, NAN}, 3, {30, 40, 10}},
    {IR_OP_scan, THREE /* h = x + h / 2 */
     "%1 = view(%0) {shape = i64[2](3 1), strides = i64[2](1 1), "
     "offset = 0} : f64[3,1]\n"
     "%2 = constant {value = f64[1](2)} : f64[1]\n"
     "%3, %4 = scan(%1, %2) {cell = \"rnn\", recurrent = f64[1,1](0.5), "
     "reverse = 0, gate = \"x0\"} : f64[3,1], f64[1,1]\n"
     "output \"y\" %3 }", {1, 2, 3}, 3, {2, 3, 4.5}},
    {IR_OP_map, THREE
     TWO_ROWS
     "output \"y\" %3 }", {1, 2, NAN}, 6,
     {1, 2, NAN, -1, -2, NAN}},
    {IR_OP_map, THREE /* dims fit from the last on */
     TWO_ROWS
     "%4 = map(%0, %3, %2) {program = \"x0 x1 add x2 mul\", dtype = \"f64\"} : f64[2,3]\n"
     "output \"y\" %4 }", {1, 2, 3}, 6,
     {2, 4, 6, -0.0, -0.0, -0.0}},
    {IR_OP_map, THREE /* one element adds no dim */
     TWO_ROWS
     "%4 = constant {value = f64[1,1,1](2)} : f64[1,1,1]\n"
     "%5 = map(%4, %0) {program = \"x0 x1 mul\", dtype = \"f64\"} : f64[3]\n"
     "output \"y\" %5 }", {1, 2, 3}, 3,
     {2, 4, 6}},
    {IR_OP_map, THREE /* both grow */
     TWO_ROWS
     "%4 = view(%0) {shape = i64[2](3 1), strides = i64[2](1 1), offset = 0} : f64[3,1]\n"
     "%5 = gather(%0) {index = i32[2](1 2)} : f64[2]\n"
     "%6 = map(%4, %5) {program = \"x0 x1 sub\", dtype = \"f64\"} : f64[3,2]\n"
     "output \"y\" %6 }", {1, 2, 4}, 6,
     {-1, -3, 0, -2, 2, 0}},
    {IR_OP_reduce, THREE
     TWO_ROWS
     "%4 = reduce(%3) {kind = \"sum\", size = 3} : f64[2]\n"
     "output \"y\" %4 }", {1, 2, 4}, 2,
     {7, -7}},
    {IR_OP_reduce, THREE
     TWO_ROWS
     "%4 = reduce(%3) {kind = \"sum\", size = 2, inner = 3} : f64[3]\n"
     "output \"y\" %4 }", {1, 2, NAN}, 3,
     {0, 0, NAN}},
    {IR_OP_reduce, THREE
     TWO_ROWS
     "%4 = reduce(%3) {kind = \"prod\", size = 3, inner = 1} : f64[2]\n"
     "output \"y\" %4 }", {1, 2, 4}, 2,
     {8, -8}},
    {IR_OP_reduce, THREE
     TWO_ROWS
     "%4 = reduce(%3) {kind = \"max\", size = 3} : f64[2]\n"
     "output \"y\" %4 }", {NAN, 2, 4}, 2,
     {NAN, NAN}},
    {IR_OP_reduce, THREE
     TWO_ROWS
     "%4 = reduce(%3) {kind = \"argmin\", size = 3} : i32[2]\n"
     "output \"y\" %4 }", {3, 1, 1}, 2,
     {1, 0}},
    {IR_OP_reduce, THREE
     TWO_ROWS
     "%4 = reduce(%3) {kind = \"argmin\", size = 3, last = 1} : i32[2]\n"
     "output \"y\" %4 }", {3, 1, 1}, 2,
     {2, 0}},
    {IR_OP_reduce, THREE_F32 /* each product is rounded */
     "%1 = reduce(%0) {kind = \"prod\"} : f32[1]\n"
     "output \"y\" %1 }", {16777217, 16777217, 3}, 1,
     {(double)(281474976710656.0f * 3)}},
    {IR_OP_argmax, THREE
     TWO_ROWS
     "%4 = argmax(%3) {size = 3} : i32[2]\n"
     "output \"y\" %4 }", {1, 7, 7}, 2,
     {1, 0}},
    {IR_OP_argmax, THREE /* 0 and -0 are equal */
     TWO_ROWS
     "%4 = argmax(%3) {size = 2, inner = 3, last = 1} : i32[3]\n"
     "output \"y\" %4 }", {-1, 0, 1}, 3,
     {1, 1, 0}},
    {IR_OP_argmax, THREE
     "%1 = argmax(%0) {last = 1} : i32[1]\n"
     "output \"y\" %1 }", {NAN, 7, 7}, 1,
     {0}},
    {IR_OP_softmax, THREE
     TWO_ROWS
     "%4 = softmax(%3) {size = 3} : f64[2,3]\n"
     "output \"y\" %4 }", {0, INFINITY, 0}, 6,
     {NAN, NAN, NAN, 0.5, 0, 0.5}},
    {IR_OP_softmax, THREE
     TWO_ROWS
     "%4 = softmax(%3) {size = 2, inner = 3} : f64[2,3]\n"
     "output \"y\" %4 }", {0, 1000, -1000}, 6,
     {0.5, 1, 0, 0.5, 0, 1}},
    {IR_OP_concat, THREE
     TWO_ROWS
     "%4 = view(%3) {shape = i64[2](2 1), strides = i64[2](3 1), offset = 1} : f64[2,1]\n"
     "%5 = concat(%4, %2, %4) {axis = 1} : f64[2,3]\n"
     "output \"y\" %5 }", {1, 2, 3}, 6,
     {2, 1, 2, -2, -1, -2}},
    {IR_OP_concat, THREE
     TWO_ROWS
     "%4 = concat(%2, %2, %2) {axis = 0} : f64[6,1]\n"
     "output \"y\" %4 }", {1, 2, 3}, 6,
     {1, -1, 1, -1, 1, -1}},
    {IR_OP_pad, THREE
     TWO_ROWS
     "%4 = view(%3) {shape = i64[2](1 2), strides = i64[2](1 3), offset = 2} : f64[1,2]\n"
     "%5 = pad(%4) {before = i64[2](1 0), after = i64[2](0 1), value = -0.0} : f64[2,3]\n"
     "output \"y\" %5 }", {1, 2, NAN}, 6,
     {-0.0, -0.0, -0.0, NAN, NAN, -0.0}},
    {IR_OP_view, THREE /* transposed */
     TWO_ROWS
     "%4 = view(%3) {shape = i64[2](3 2), strides = i64[2](1 3), offset = 0} : f64[3,2]\n"
     "output \"y\" %4 }", {1, -0.0, 3}, 6,
     {1, -1, -0.0, 0.0, 3, -3}},
    {IR_OP_view, THREE /* of whole numbers */
     "%1 = above(%0) {bound = 1} : i32[3]\n"
     "%2 = view(%1) {shape = i64[1](4), strides = i64[1](0), offset = 2} : i32[4]\n"
     "output \"y\" %2 }", {1, 1, 3}, 4,
     {1, 1, 1, 1}},
    {IR_OP_take, THREE
     "%1 = take(%0) {table = f32[3,2](0.1 1 2 3 4 nan)} : f32[3,2]\n"
     "output \"y\" %1 }", {-0.9, -1.5, -4}, 6,
     {0.1f, 1, 4, NAN, 0.1f, 1}},
    {IR_OP_take, THREE
     "%1 = take(%0) {table = i32[3](5 6 7)} : i32[3]\n"
     "output \"y\" %1 }", {INFINITY, -INFINITY, 1e300}, 3,
     {7, 5, 7}},
    {IR_OP_take, THREE /* by whole numbers */
     "%1 = above(%0) {bound = 1} : i32[3]\n"
     "%2 = take(%1) {table = i32[3](5 6 7)} : i32[3]\n"
     "output \"y\" %2 }", {1, 2, 1}, 3,
     {5, 6, 5}},
    {IR_OP_constant, THREE
     TWO_ROWS
     "%4 = map(%2) {program = \"x0\", dtype = \"f64\"} : f64[2,1]\n"
     "output \"y\" %4 }", {1, 2, 3}, 2,
     {1, -1}},
};
enum { n_cases = sizeof(cases) / sizeof(cases[0]) };

static struct ir_module *parse(const char *text)
{
    struct ir_diag diag;
    ir_diag_init(&diag);
    struct ir_module *m = ir_parse(text, strlen(text), "m", NULL, 0, &diag);
    ir_diag_print(&diag, stderr);
    ir_diag_release(&diag);
    assert_non_null(m);
    return m;
}

/* Output o for one row, as doubles. */
static void eval(const struct ir_module *m, int o, const double *row,
                 double *out)
{
    const struct ir_type *type = &m->outputs[o].value->type;
    const int64_t n = ir_type_volume(type);
    const struct ir_rows rows = {.dtype = IR_F64, .data = row, .n_rows = 1,
                                 .row_stride = ir_row_elements(m),
                                 .column_stride = 1};
    void *raw = ir_realloc_array(NULL, (size_t)n, 8);
    ir_eval(m, o, &rows, raw);
    for (int64_t i = 0; i < n; i++)
        out[i] = type->dtype == IR_I32 ? (double)((int32_t *)raw)[i]
                                       : ir_real(raw, type->dtype, (size_t)i);
    free(raw);
}

static void check_same(const char *what, int i, double got, double want)
{
    const bool same = isnan(want) ? isnan(got)
                                  : memcmp(&got, &want, sizeof(got)) == 0;
    if (!same)
        fail_msg("%s: element %d is %a, not %a", what, i, got, want);
}

static void each_op(void **state)
{
    /* These have tests of their own. */
    bool tried[IR_N_OPS] = {[IR_OP_trees] = true, [IR_OP_forest] = true,
                            [IR_OP_contributions] = true};
    (void)state;
    for (int c = 0; c < n_cases; c++) {
        double out[6];
        struct ir_module *m = parse(cases[c].text);
        assert_int_equal(ir_type_volume(&m->outputs[0].value->type),
                         cases[c].n);
        eval(m, 0, cases[c].row, out);
        for (int i = 0; i < cases[c].n; i++)
            check_same(cases[c].text, i, out[i], cases[c].out[i]);
        tried[cases[c].kind] = true;
        ir_module_free(m);
    }
    for (int k = 0; k < IR_N_OPS; k++)
        if (!tried[k])
            fail_msg("no case of %s", ir_op_table[k].name);
}

/* ------------------------------------------------------------- forests -- */

/* One tree: a test of the first feature, leaf 10 left and 20 right, and a
 * value of 1 before. */
static double stump(const char *compare, const char *threshold, int flags,
                    const char *more, double v)
{
    struct ir_text text;
    const double row[3] = {v, 0, 0};
    double out;
    ir_text_init(&text);
    ir_text_puts(&text, THREE);
    ir_text_printf(
        &text, "%%1, %%2 = trees(%%0) {compare = \"%s\", "
        "tree_start = i32[2](0 1), leaf_start = i32[2](0 2), "
        "feature = i32[1](0), threshold = f64[1](%s), left = i32[1](-1), "
        "right = i32[1](-2), flags = u8[1](%d), leaf_value = f64[2](10 20), "
        "target = i32[1](0), base = f64[1](1)%s} : f64[1], i32[1]\n"
        "output \"y\" %%1 }", compare, threshold, flags, more);
    struct ir_module *m = parse(text.data);
    eval(m, 0, row, &out);
    ir_module_free(m);
    ir_text_release(&text);
    return out - 1;
}

enum { left = 10, right = 20 };

static void numeric_tests(void **state)
{
    const double up = nextafter(0.5, 1), down = nextafter(0.5, 0);
    (void)state;
    assert_true(stump("le", "0.5", 0, "", 0.5) == left);
    assert_true(stump("le", "0.5", 0, "", up) == right);
    assert_true(stump("lt", "0.5", 0, "", 0.5) == right);
    assert_true(stump("lt", "0.5", 0, "", down) == left);
    assert_true(stump("le", "0", 0, "", -0.0) == left);
    assert_true(stump("lt", "0", 0, "", -0.0) == right);
    assert_true(stump("lt", "-0", 0, "", 0.0) == right);
    assert_true(stump("le", "inf", 0, "", INFINITY) == left);
    assert_true(stump("lt", "inf", 0, "", INFINITY) == right);
    assert_true(stump("le", "-inf", 0, "", -INFINITY) == left);
}

static void missing_numbers(void **state)
{
    const char *bound = ", zero_bound = 1e-35";
    (void)state;
    assert_true(stump("le", "0.5", 0, "", NAN) == right);
    assert_true(stump("le", "0.5", 1, "", NAN) == left);
    assert_true(stump("le", "-1", 0, "", 0) == right);
    assert_true(stump("le", "1", 2, "", 0) == right);
    assert_true(stump("le", "-1", 3, "", 0) == left);
    assert_true(stump("le", "-1", 3, "", 1e-35) == right);
    assert_true(stump("le", "-1", 3, bound, 1e-35) == left);
    assert_true(stump("le", "-1", 3, bound, -1e-35) == left);
    assert_true(stump("le", "-1", 3, bound, nextafter(1e-35, 1)) == right);
    assert_true(stump("le", "1", 2, bound, 1e-36) == right);
    assert_true(stump("le", "1", 2, bound, NAN) == right);
    /* Without the flag a zero is a number. */
    assert_true(stump("le", "1", 0, bound, 0) == left);
}

static void set_tests(void **state)
{
    const char *set = ", set = i32[1](0), set_start = i32[2](0 2), "
                      "set_words = u32[2](5 2147483648)"; /* 0, 2, 63 */
    const char *empty = ", set = i32[1](0), set_start = i32[2](0 0), "
                        "set_words = u32[0]()";
    (void)state;
    assert_true(stump("le", "0", 4, set, 0) == left);
    assert_true(stump("le", "0", 4, set, 1) == right);
    assert_true(stump("le", "0", 4, set, 2) == left);
    assert_true(stump("le", "0", 4, set, 2.999) == left);
    assert_true(stump("le", "0", 4, set, 3) == right);
    assert_true(stump("le", "0", 4, set, 63) == left);
    assert_true(stump("le", "0", 4, set, 63.5) == left);
    assert_true(stump("le", "0", 4, set, 64) == right);
    assert_true(stump("le", "0", 4, set, -0.999) == left); /* truncates to 0 */
    assert_true(stump("le", "0", 4, set, -1) == right);
    assert_true(stump("le", "0", 4, set, 4294967296.0) == right);
    assert_true(stump("le", "0", 4, set, 1e300) == right);
    assert_true(stump("le", "0", 4, set, -INFINITY) == right);
    assert_true(stump("le", "0", 4, set, NAN) == right);
    assert_true(stump("le", "0", 5, set, NAN) == left);
    assert_true(stump("le", "0", 4, empty, 0) == right);
    assert_true(stump("le", "0", 4, empty, -0.5) == right);
    assert_true(stump("le", "0", 5, empty, NAN) == left);
}

/* Two targets, three trees, one of them a leaf; a divisor; leaves' numbers. */
static void sums(void **state)
{
    struct ir_module *m = parse(
        THREE "%1, %2 = trees(%0) {compare = \"le\", "
        "tree_start = i32[4](0 2 2 3), leaf_start = i32[4](0 3 4 6), "
        "feature = i32[3](0 1 2), threshold = f64[3](0 0 0), "
        "left = i32[3](1 -1 -1), right = i32[3](-3 -2 -2), "
        "flags = u8[3](0 0 0), leaf_value = f64[6](1 2 3 0.5 10 20), "
        "target = i32[3](0 1 0), base = f64[2](100 0.25), divisor = 4"
        "} : f64[2], i32[3]\noutput \"y\" %1 output \"leaf\" %2 }");
    const double row[3] = {-1, 1, 1};
    double y[2], leaf[3];
    (void)state;
    eval(m, 0, row, y);
    eval(m, 1, row, leaf);
    check_same("y", 0, y[0], (100.0 + 2 + 20) / 4);
    check_same("y", 1, y[1], (0.25 + 0.5) / 4);
    check_same("leaf", 0, leaf[0], 1);
    check_same("leaf", 1, leaf[1], 0);
    check_same("leaf", 2, leaf[2], 1);
    ir_module_free(m);
}

/* f32 sums are rounded tree by tree: 2^24 + 1 + 1 is 2^24. */
static void sums_of_f32(void **state)
{
    struct ir_module *m = parse(
        THREE "%1, %2 = trees(%0) {compare = \"le\", "
        "tree_start = i32[3](0 0 0), leaf_start = i32[3](0 1 2), "
        "feature = i32[0](), threshold = f64[0](), left = i32[0](), "
        "right = i32[0](), flags = u8[0](), leaf_value = f32[2](1 1), "
        "target = i32[2](0 0), base = f32[1](16777216)"
        "} : f32[1], i32[2]\noutput \"y\" %1 }");
    const double row[3] = {0, 0, 0};
    double y;
    (void)state;
    eval(m, 0, row, &y);
    check_same("y", 0, y, 16777216);
    ir_module_free(m);
}

static void linear_leaves(void **state)
{
    struct ir_module *m = parse(
        THREE "%1, %2 = trees(%0) {compare = \"le\", "
        "tree_start = i32[2](0 1), leaf_start = i32[2](0 2), "
        "feature = i32[1](0), threshold = f64[1](0), left = i32[1](-1), "
        "right = i32[1](-2), flags = u8[1](0), leaf_value = f64[2](7 8), "
        "target = i32[1](0), base = f64[1](0), zero_bound = 0.5, "
        "leaf_const = f64[2](0.1 5), coef_start = i32[3](0 2 2), "
        "coef_feature = i32[2](1 2), coef = f64[2](3 0.7)"
        "} : f64[1], i32[1]\noutput \"y\" %1 }");
    static const struct {
        double row[3], want;
    } rows[] = {
        {{-1, 2, 3}, 0.1 + 3.0 * 2 + 0.7 * 3},
        {{-1, NAN, 3}, 7},                     /* the plain value */
        {{-1, 0.5, 3}, 0.1 + 3.0 * 0 + 0.7 * 3}, /* a zero */
        {{-1, 2, INFINITY}, INFINITY},
        {{NAN, NAN, NAN}, 5},                  /* a constant, no features */
        {{1, NAN, 0}, 5}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double y;
        eval(m, 0, rows[i].row, &y);
        check_same("y", (int)i, y, rows[i].want);
    }
    ir_module_free(m);
}

/* Codes and thresholds decide alike: a forest with codes, and the same as
 * trees, over rows that try both. */
static void codes_decide_as_thresholds(void **state)
{
    static const char attrs[] =
        "compare = \"lt\", tree_start = i32[2](0 5), "
        "leaf_start = i32[2](0 6), feature = i32[5](0 1 0 0 1), "
        "threshold = f64[5](0.5 0 2 inf 0), left = i32[5](1 -1 3 -4 -5), "
        "right = i32[5](2 -2 4 -3 -6), flags = u8[5](3 5 3 3 4), "
        "leaf_value = f64[6](1 2 3 4 5 6), target = i32[1](0), "
        "base = f64[1](0), zero_bound = 0.25, set = i32[5](-1 0 -1 -1 1), "
        "set_start = i32[3](0 1 3), set_words = u32[3](6 1 1)";
    static const char codes[] =
        ", code_bits = 8, column_feature = i32[3](0 1 1), "
        "column_flags = u8[3](3 5 4), cut_start = i32[4](0 3 3 3), "
        "cuts = f64[3](0.49999999999999994 1.9999999999999998 "
        "1.7976931348623157e+308), "
        "column_set_start = i32[4](0 0 1 2), column_set = i32[2](0 1), "
        "node_column = i32[5](0 1 0 0 2), node_code = u16[5](0 1 1 2 1)";
    struct ir_text text[2];
    struct ir_module *m[2];
    (void)state;
    for (int i = 0; i < 2; i++) {
        ir_text_init(&text[i]);
        ir_text_puts(&text[i], THREE);
        ir_text_printf(&text[i], "%%1, %%2 = %s(%%0) {%s%s} : f64[1], "
                       "i32[1]\noutput \"y\" %%1 }", i ? "forest" : "trees",
                       attrs, i ? codes : "");
        m[i] = parse(text[i].data);
    }
    struct ir_probe *probe = ir_probe_new(m[0], 5);
    bool reached[7] = {false};
    for (int64_t i = 0; i < ir_probe_count(probe) + 2000; i++) {
        double row[3], y[2];
        ir_probe_row(probe, i, row);
        eval(m[0], 0, row, &y[0]);
        eval(m[1], 0, row, &y[1]);
        check_same("codes", (int)i, y[1], y[0]);
        reached[(int)y[0]] = true;
    }
    for (int leaf = 1; leaf <= 6; leaf++)
        if (leaf != 3) /* inf < inf */
            assert_true(reached[leaf]);
    ir_probe_free(probe);
    for (int i = 0; i < 2; i++) {
        ir_text_release(&text[i]);
        ir_module_free(m[i]);
    }
}

/* --------------------------------------------------------------- batches -- */

/* Rows by row or by column, of f32 or f64, and only what is asked for. */
static void batches(void **state)
{
    struct ir_module *m = parse(
        THREE "%1 = reduce(%0) {kind = \"sum\"} : f64[1]\n"
        "%2 = reduce(%0) {kind = \"max\"} : f64[1]\n"
        "output \"sum\" %1 output \"row\" %0 output \"max\" %2 }");
    static const double by_row[] = {1, 2, 3, 99, 10, 20, 30, 99};
    static const float by_column[] = {1, 10, 2, 20, 3, 30};
    double out[6];
    (void)state;
    struct ir_rows rows = {IR_F64, by_row, 2, 4, 1};
    ir_eval(m, 0, &rows, out);
    assert_true(out[0] == 6 && out[1] == 60);
    ir_eval(m, 2, &rows, out);
    assert_true(out[0] == 3 && out[1] == 30);
    rows = (struct ir_rows){IR_F32, by_column, 2, 1, 2};
    ir_eval(m, 1, &rows, out);
    static const double want[] = {1, 2, 3, 10, 20, 30};
    assert_memory_equal(out, want, sizeof(want));
    rows.n_rows = 0;
    ir_eval(m, 0, &rows, NULL);
    ir_module_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_op),
        cmocka_unit_test(numeric_tests),
        cmocka_unit_test(missing_numbers),
        cmocka_unit_test(set_tests),
        cmocka_unit_test(sums),
        cmocka_unit_test(sums_of_f32),
        cmocka_unit_test(linear_leaves),
        cmocka_unit_test(codes_decide_as_thresholds),
        cmocka_unit_test(batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* type.c: dtypes and the types of one row's values. */
#include "ir/ir_impl.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[IR_N_DTYPES] = {
    [IR_F32] = {"f32", 4}, [IR_F64] = {"f64", 8}, [IR_U8] = {"u8", 1},
    [IR_U16] = {"u16", 2}, [IR_U32] = {"u32", 4}, [IR_I32] = {"i32", 4},
    [IR_I64] = {"i64", 8}, [IR_BF16] = {"bf16", 2}, [IR_I8] = {"i8", 1},
};

const char *ir_dtype_name(enum ir_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t ir_dtype_bytes(enum ir_dtype dtype)
{
    return dtypes[dtype].bytes;
}

bool ir_dtype_parse(const char *name, enum ir_dtype *dtype)
{
    for (int i = 0; i < IR_N_DTYPES; i++)
        if (!strcmp(name, dtypes[i].name)) {
            *dtype = (enum ir_dtype)i;
            return true;
        }
    return false;
}

uint16_t ir_to_bf16(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float ir_from_bf16(uint16_t v)
{
    const uint32_t bits = (uint32_t)v << 16;
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

uint8_t ir_to_u8(double v)
{
    return v > 0 ? (uint8_t)(v < 255 ? rint(v) : 255) : 0;
}

struct ir_type ir_type_scalar(enum ir_dtype dtype)
{
    return (struct ir_type){.dtype = dtype};
}

struct ir_type ir_type_vector(enum ir_dtype dtype, int64_t n)
{
    return (struct ir_type){.dtype = dtype, .rank = 1, .dim = {n}};
}

bool ir_type_equal(const struct ir_type *a, const struct ir_type *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

int64_t ir_type_volume(const struct ir_type *type)
{
    int64_t n = 1;
    for (int i = 0; i < type->rank; i++) {
        if (type->dim[i] < 0)
            return -1;
        if (__builtin_mul_overflow(n, type->dim[i], &n) ||
            n > IR_MAX_ELEMENTS)
            return -1;
    }
    return n;
}

/* Tensors may be larger than a row's value may be: no limit but the size of
 * the file they came from. */
size_t ir_tensor_bytes(const struct ir_tensor *tensor)
{
    size_t n = ir_dtype_bytes(tensor->type.dtype);
    for (int i = 0; i < tensor->type.rank; i++)
        if (__builtin_mul_overflow(n, (size_t)tensor->type.dim[i], &n))
            ir_bug("a tensor whose size overflows");
    return n;
}

void ir_text_type(struct ir_text *text, const struct ir_type *type)
{
    ir_text_puts(text, ir_dtype_name(type->dtype));
    for (int i = 0; i < type->rank; i++) {
        ir_text_puts(text, i ? "," : "[");
        if (type->dim[i] < 0)
            ir_text_puts(text, "?");
        else
            ir_text_printf(text, "%lld", (long long)type->dim[i]);
    }
    if (type->rank)
        ir_text_puts(text, "]");
}

bool ir_type_error(struct ir_diag *diag, struct ir_loc loc, const char *what,
                   int number, const struct ir_type *written,
                   const struct ir_type *actual)
{
    struct ir_text types[2];
    for (int i = 0; i < 2; i++) {
        ir_text_init(&types[i]);
        ir_text_type(&types[i], i ? actual : written);
    }
    ir_error(diag, loc, "%s %d is written as %s, but it is %s", what, number,
             types[0].data, types[1].data);
    ir_text_release(&types[0]);
    ir_text_release(&types[1]);
    return false;
}

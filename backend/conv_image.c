/* conv_image.c: the image that a conv reads, as a copy of the row's own: with
 * channels last where they come first, and with zeros around it. */
#include "backend/llvm.h"

static int64_t channels_of(const struct be_image *image)
{
    return image->window.channels;
}

/* Numbers from a row of places to the next, and of all places. */
static int64_t row_of(const struct be_image *image)
{
    return image->space[2] * channels_of(image);
}

int64_t be_image_size(const struct be_image *image)
{
    return image->space[0] * image->space[1] * row_of(image);
}

/* Zeros around the image, of which rows are one plane: what is before its first
 * number, from the end of each row to the next one's start, and the rest. */
static void fill_around(const struct be_image *image, LLVMValueRef to)
{
    struct be_emitter *e = image->e;
    LLVMTypeRef type = be_type(e, image->dtype);
    const struct ir_window_dim *d = image->window.dim;
    const int64_t row = row_of(image), all = be_image_size(image);
    const int64_t before = d[1].before * row + d[2].before * channels_of(image);
    const int64_t data = d[2].in * channels_of(image), between = row - data;
    const int64_t last = before + (d[1].in - 1) * row + data;
    LLVMValueRef zero = be_real(e, image->dtype, 0);
    struct be_loop loop;
    if (before)
        be_fill(e, image->dtype, zero, to, before);
    if (between && d[1].in > 1) {
        be_loop_begin(e, &loop, be_i64(e, 0), be_i64(e, d[1].in - 1), 1);
        LLVMValueRef at = be_at(e, type, to, be_i64(e, before + data));
        be_fill(e, image->dtype, zero,
                be_at_times(e, type, at, loop.index, row), between);
        be_loop_end(e, &loop);
    }
    if (all > last)
        be_fill(e, image->dtype, zero, be_at(e, type, to, be_i64(e, last)),
                all - last);
}

void be_image_surround(const struct be_image *image, LLVMValueRef to)
{
    if (image->space[0] == 1)
        fill_around(image, to);
    else
        be_fill(image->e, image->dtype, be_real(image->e, image->dtype, 0), to,
                be_image_size(image));
}

void be_image_copy(const struct be_image *image, LLVMValueRef from,
                   LLVMValueRef to)
{
    struct be_emitter *e = image->e;
    LLVMTypeRef type = be_type(e, image->dtype);
    const struct ir_window_dim *d = image->window.dim;
    const int64_t channels = channels_of(image), row = row_of(image);
    const int64_t far[IR_MAX_SPACE] = {image->space[1] * row, row, channels};
    struct be_loop loop[2];
    int64_t pitch = image->last ? channels : 1; /* from place to place */
    int64_t pitches[IR_MAX_SPACE];
    for (int i = IR_MAX_SPACE; i-- > 0; pitch *= d[i].in)
        pitches[i] = pitch;
    for (int i = 0; i < IR_MAX_SPACE; i++)
        to = be_at(e, type, to, be_i64(e, d[i].before * far[i]));
    for (int i = 0; i < 2; i++) {
        be_loop_begin(e, &loop[i], be_i64(e, 0), be_i64(e, d[i].in), 1);
        from = be_at_times(e, type, from, loop[i].index, pitches[i]);
        to = be_at_times(e, type, to, loop[i].index, far[i]);
    }
    if (image->last || channels == 1)
        be_copy(e, image->dtype, from, to, d[2].in * channels);
    else
        be_turn(e, image->dtype, from, d[0].in * d[1].in * d[2].in, to,
                channels, d[2].in, channels);
    be_loop_end(e, &loop[1]);
    be_loop_end(e, &loop[0]);
}

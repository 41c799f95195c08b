/* mutate.h: a model file -> another, whose form is still sound.
 *
 * A damaged byte seldom leaves a file that gets past its parser; what comes
 * after is reached by what is done here to the parts that the parser sees:
 * messages, values, lists, lines. They are taken out, put in twice, exchanged
 * with others of their kind, renamed, and numbers become odd ones.
 */
#ifndef TREENAIL_MUTATE_H
#define TREENAIL_MUTATE_H

#include <stddef.h>
#include <stdint.h>

/* Where parts come from. */
struct mutate_file {
    const uint8_t *data;
    size_t size;
};
/* Each changes the file in `data`, which has room for `most` bytes, as `seed`
 * says; the new size, or 0 when nothing was done: it is not such a file, or
 * what came of it has no room. `other` may be the file itself. */
/* ONNX, by the schema of its messages and the importer's table of ops. */
size_t mutate_onnx(uint8_t *data, size_t size, size_t most,
                   struct mutate_file other, uint64_t seed);
/* JSON, .tnir, LightGBM's text: by words, numbers, strings, brackets, lines. */
size_t mutate_text(uint8_t *data, size_t size, size_t most,
                   struct mutate_file other, uint64_t seed);
/* The one that fits, up to three times. */
size_t mutate_model(uint8_t *data, size_t size, size_t most,
                    struct mutate_file other, uint64_t seed);

#endif

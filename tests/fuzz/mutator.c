/* mutator.c: what libFuzzer calls in place of its own mutations, which get
 * their turn, too. Only a build with TREENAIL_FUZZ has it. */
#include "fuzz/mutate.h"

#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most,
                               unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size,
                                 const uint8_t *other, size_t other_size,
                                 uint8_t *out, size_t most, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most,
                               unsigned seed)
{
    const struct mutate_file own = {data, size};
    const size_t n =
        seed % 4 ? mutate_model(data, size, most, own, seed / 4) : 0;
    return n ? n : LLVMFuzzerMutate(data, size, most);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *data, size_t size,
                                 const uint8_t *other, size_t other_size,
                                 uint8_t *out, size_t most, unsigned seed)
{
    if (size > most)
        return 0;
    memcpy(out, data, size);
    return mutate_model(out, size, most,
                        (struct mutate_file){other, other_size}, seed);
}

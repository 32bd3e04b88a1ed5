/*
 * A client's socket made of an input, for targets of the NBD server: no thread, no system call, the same each time.
 * Whatever is received comes from the input, in pieces; whatever is sent is kept, so that a target can look at it. A
 * target that includes this is linked with wire.c and with --wrap of recv, send, sendmsg and poll.
 */
#ifndef COFFER_TESTS_FUZZ_WIRE_H
#define COFFER_TESTS_FUZZ_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_SAID_MAX (64u << 20)

/* From now on `data` is what the client sends before it hangs up, at most `piece` bytes at once (0: all there is). Who
 * does not want to wait finds nothing at every third try. */
void wire_begin(const uint8_t *data, size_t size, size_t piece);
/* What the server said since, of which the first WIRE_SAID_MAX bytes are kept. */
const uint8_t *wire_said(size_t *size);

#endif

/*
 * The witness as text: a JSON object with sorted keys, closed by the member "mac". Its canonical text, over which the
 * MAC is made, is the compact form without that member.
 */
#ifndef COFFER_ENGINE_POOL_WITNESS_TEXT_H
#define COFFER_ENGINE_POOL_WITNESS_TEXT_H

#include <stddef.h>

#include "engine/pool/witness.h"

#define WITNESS_SIZE_MAX (1u << 20)

/* Fills the fields of `witness`, its `loaded` and `loaded_mac` from a file's bytes. Errors as witness_load(). After a
 * failure the witness holds what witness_destroy() frees. */
enum error witness_text_parse(const void *bytes, size_t size, struct witness *witness) CHECKED;
/* The file's text, malloc'ed, with a MAC under witness->key. */
enum error witness_text_compose(const struct witness *witness, char **text) CHECKED;

#endif

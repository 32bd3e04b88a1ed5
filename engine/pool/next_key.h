/*
 * The key that a change of keys brings: made by a provider, which need not be the one in force; fetched anew as an unlock
 * would; taken back where the change does not happen. rekey.c tells what for.
 */
#ifndef COFFER_ENGINE_POOL_NEXT_KEY_H
#define COFFER_ENGINE_POOL_NEXT_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "crypto/provider.h"
#include "crypto/provider_look.h"
#include "engine/group/superblock.h"

struct pool;

/* pool->changing is held for as long as one is used. */
struct next_key {
    struct pool *pool;
    const struct provider_config *provider;  /* who makes it */
    const struct provider_secret *secret;    /* by which it will be sealed and opened; NULL: none was given */
    bool fresh;                              /* `secret` is a new one, not the present key's, which that one may not need */
    bool new_root;                           /* of a provider that keeps a KDK: a new one; else the present one's next KEK */
    bool like;                               /* sealed as the present one of that provider is */
    bool at_server;                          /* the provider keeps KEKs, not a KDK; set by next_key_begin() */
    bool made;                               /* there is something to be forgotten where the change fails */
    bool modelled;                           /* `model` is set */
    uint8_t model[KEY_FILE_DIGEST_SIZE];     /* of the file that it was sealed like */
    struct wrapping wrapping;                /* set by next_key_make() */
};

/* Whether the provider can make one. ERROR_INVALID; ERROR_UNSUPPORTED; provider_ready_check()'s. */
enum error next_key_begin(struct next_key *next) CHECKED;
/* A number above every one that was in force, and the KEK of it. */
enum error next_key_make(struct next_key *next, uint8_t kek[KEY_SIZE]) CHECKED;
enum error next_key_fetch(const struct next_key *next, uint8_t kek[KEY_SIZE]) CHECKED;
/* Whether it is sealed as the present one is now, so that it may take that one's place; nobody seals that anew while the pool
 * directory is locked. ERROR_AGAIN: that one was sealed anew since. */
enum error next_key_check_like(const struct next_key *next) CHECKED;
/* The change did not happen, and `kek`, which next_key_make() gave, is of no use. */
enum error next_key_forget(const struct next_key *next, const uint8_t kek[KEY_SIZE]) CHECKED;
/* It did, and nothing is under an older key of that provider any more. */
enum error next_key_settle(const struct next_key *next) CHECKED;

#endif

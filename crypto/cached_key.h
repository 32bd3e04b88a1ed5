/*
 * The file in which a KEK of key servers is cached, sealed in the TPM: a flat JSON object in one spelling only.
 *
 *   version         1
 *   pool            UUID
 *   provider        UUID of the provider
 *   name            its name in coffer.conf
 *   kek_number      16 hexadecimal digits
 *   key_id          the servers' unique identifier of the key, 1 to 127 bytes, base64
 *   fetched         seconds since 1970 at which a server gave the key last, 16 hexadecimal digits
 *   kcv             KCV of the KEK for the provider's UUID, 16 hexadecimal digits
 *   tpm_primary     as in the file of a sealed KDK (sealed_key.h), without PIN and PCRs
 *   tpm_endorsement
 *   tpm_public
 *   tpm_private
 *   mac             HMAC-SHA-256 over the text before it under KBKDF(KEK, "coffer1/key-cache", pool | provider), base64
 *   checksum        first 8 bytes, hexadecimal, of an HMAC under a constant over the text before it
 *
 * The checksum tells damage before the TPM is asked; the mac binds all of it to the key, the time above all: who has not the key
 * cannot make the cache younger.
 */
#ifndef COFFER_CRYPTO_CACHED_KEY_H
#define COFFER_CRYPTO_CACHED_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/uuid.h"
#include "crypto/hierarchy.h"
#include "crypto/kmip/message.h"
#include "crypto/provider.h"
#include "crypto/tpm.h"

#define CACHED_KEY_TEXT_MAX 2560
#define CACHED_KEY_MAC_SIZE 32

struct cached_key {
    struct uuid pool, provider;
    char name[PROVIDER_NAME_MAX + 1];
    uint64_t kek_number, fetched;
    char key_id[KMIP_ID_MAX + 1];
    uint8_t kcv[KCV_SIZE];
    struct tpm_sealed tpm; /* flags 0 */
    uint8_t mac[CACHED_KEY_MAC_SIZE];
};

enum error cached_key_encode(const struct cached_key *cached, char text[CACHED_KEY_TEXT_MAX], size_t *size) CHECKED;
/* ERROR_CORRUPT, ERROR_NEWER_FORMAT; the sentence does not name the file. What is decoded is whole, and nothing vouches for it
 * before cached_key_verify(). */
enum error cached_key_decode(const char *text, size_t size, struct cached_key *cached) CHECKED;
/* Whether it begins as a cache of this pool does, or ends within that beginning: what a crash, or damage, left of one. */
bool cached_key_begins(const char *text, size_t size, struct uuid pool) CHECKED;

/* Sets kcv and mac, when all else is set. */
enum error cached_key_sign(struct cached_key *cached, const uint8_t kek[KEY_SIZE]) CHECKED;
/* Whether kcv and mac are this key's. ERROR_FORGED. */
enum error cached_key_verify(const struct cached_key *cached, const uint8_t kek[KEY_SIZE]) CHECKED;

#endif

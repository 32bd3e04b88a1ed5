/*
 * encrypted-copy FROM TO BYTES: what a deep rekey is held against. As many bytes are read from one file of a disk, encrypted
 * (AES-256-XTS of OpenSSL, in units of 4096 bytes) and written to another one, past the page cache; then that one is flushed.
 * Two threads, each with some pieces in flight, as a person would write it who is in a hurry. Prints nanoseconds.
 *
 *     encrypted-copy --fill FILE BYTES          makes the first: noise, with space for all of it
 *     encrypted-copy --plain FROM TO BYTES      the same without encryption: what the raw device does
 *
 * It verifies nothing and decrypts nothing, which a deep rekey does. TO is written over where it is there already, so that
 * space below is asked for once. A thread owns its pieces; no locks. A crash leaves files.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/thread.h"
#include "engine/device/device.h"

#define THREADS 2
#define PIECE   (UINT64_C(1) << 20)
#define FLIGHTS 4
#define UNIT    4096

struct piece {
    struct device_io io;
    bool writes; /* else it reads, or is idle */
};

struct copier {
    struct thread thread;
    struct device *from, *to;
    EVP_CIPHER_CTX *cipher; /* NULL: none */
    uint64_t next, end;     /* pieces of both threads; this one takes every THREADS-th */
    struct piece pieces[FLIGHTS];
};

static _Noreturn void fail(const char *sentence)
{
    fprintf(stderr, "encrypted-copy: %s\n", sentence);
    exit(1);
}

static void succeed(enum error error)
{
    if (error)
        fail(error_sentence(error));
}

static void encrypt(EVP_CIPHER_CTX *cipher, const struct device_io *io)
{
    for (uint64_t at = 0; at < io->size; at += UNIT) {
        uint64_t tweak[2] = {(io->offset + at) / UNIT, 0};
        uint8_t *unit = (uint8_t *)io->buffer + at;
        int size;
        if (EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, (const unsigned char *)tweak) != 1 ||
            EVP_EncryptUpdate(cipher, unit, &size, unit, UNIT) != 1)
            fail("OpenSSL does not encrypt");
    }
}

/* The next piece, or none: then it is idle. */
static void read_begin(struct copier *copier, struct piece *piece)
{
    uint8_t *buffer = piece->io.buffer;
    piece->writes = false;
    piece->io = (struct device_io){.device = copier->from, .operation = DEVICE_READ, .buffer = buffer};
    if (copier->next >= copier->end)
        return;
    piece->io.offset = copier->next * PIECE;
    piece->io.size = PIECE;
    copier->next += THREADS;
    device_submit(&(struct device_io *){&piece->io}, 1);
}

static void write_begin(struct copier *copier, struct piece *piece)
{
    struct device_io read = piece->io;
    if (copier->cipher)
        encrypt(copier->cipher, &read);
    piece->writes = true;
    piece->io = (struct device_io){.device = copier->to, .operation = DEVICE_WRITE, .offset = read.offset, .size = read.size,
                                   .buffer = read.buffer};
    device_submit(&(struct device_io *){&piece->io}, 1);
}

/* Each piece in turn: what it read is written, and once that is done it reads again. */
static void copier_run(void *argument)
{
    struct copier *copier = argument;
    for (size_t i = 0; i < FLIGHTS; i++)
        read_begin(copier, &copier->pieces[i]);
    for (size_t i = 0, idle = 0; idle < FLIGHTS; i = (i + 1) % FLIGHTS) {
        struct piece *piece = &copier->pieces[i];
        idle = piece->io.size == 0 ? idle + 1 : 0;
        if (piece->io.size == 0)
            continue;
        succeed(device_wait(&piece->io));
        piece->writes ? read_begin(copier, piece) : write_begin(copier, piece);
    }
}

static EVP_CIPHER_CTX *cipher_make(void)
{
    uint8_t key[64];
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    random_bytes(key, sizeof key);
    if (!cipher || EVP_EncryptInit_ex(cipher, EVP_aes_256_xts(), NULL, key, NULL) != 1)
        fail("OpenSSL has no AES-256-XTS");
    EVP_CIPHER_CTX_set_padding(cipher, 0);
    return cipher;
}

static struct device *file_open(const char *path, uint64_t bytes, bool make)
{
    struct device *device;
    if (make && access(path, F_OK) != 0) {
        succeed(device_create_file(path, bytes));
        succeed(device_open_file(path, 0, &device));
        succeed(device_allocate(device, 0, bytes));
        return device;
    }
    succeed(device_open_file(path, 0, &device));
    return device;
}

static void copy(const char *from, const char *to, uint64_t bytes, bool plain)
{
    struct copier copiers[THREADS];
    struct device *source = file_open(from, bytes, false), *target = file_open(to, bytes, true);
    uint64_t began = clock_monotonic();
    for (unsigned t = 0; t < THREADS; t++) {
        copiers[t] = (struct copier){.from = source, .to = target, .cipher = plain ? NULL : cipher_make(), .next = t,
                                     .end = bytes / PIECE};
        for (size_t i = 0; i < FLIGHTS; i++)
            if (!(copiers[t].pieces[i].io.buffer = memory_aligned(PIECE)))
                fail("no memory");
        succeed(thread_start(&copiers[t].thread, "copy", copier_run, &copiers[t]));
    }
    for (unsigned t = 0; t < THREADS; t++)
        thread_join(&copiers[t].thread);
    succeed(device_flush(target));
    printf("%" PRIu64 "\n", clock_monotonic() - began);
    for (unsigned t = 0; t < THREADS; t++)
        EVP_CIPHER_CTX_free(copiers[t].cipher);
    device_close(source);
    device_close(target);
}

static void fill(const char *path, uint64_t bytes)
{
    struct device *device = file_open(path, bytes, true);
    uint8_t *noise = memory_aligned(PIECE);
    EVP_CIPHER_CTX *cipher = cipher_make();
    if (!noise)
        fail("no memory");
    for (uint64_t at = 0; at < bytes; at += PIECE) {
        struct device_io io = {.offset = at, .size = PIECE, .buffer = noise};
        encrypt(cipher, &io);
        succeed(device_write(device, at, noise, PIECE, 0));
    }
    succeed(device_flush(device));
    EVP_CIPHER_CTX_free(cipher);
    free(noise);
    device_close(device);
}

int main(int count, char **arguments)
{
    bool fills = count == 4 && strcmp(arguments[1], "--fill") == 0;
    bool plain = count == 5 && strcmp(arguments[1], "--plain") == 0;
    uint64_t bytes = count >= 4 ? strtoull(arguments[count - 1], NULL, 10) / PIECE * PIECE : 0;
    if (bytes == 0 || (count == 5 && !plain))
        fail("usage: encrypted-copy [--plain] FROM TO BYTES, or --fill FILE BYTES");
    if (fills)
        fill(arguments[2], bytes);
    else
        copy(arguments[count - 3], arguments[count - 2], bytes, plain);
    return 0;
}

/*
 * Runs a fuzz target without a fuzzer: each file of a corpus as it is, cut at its ends, and with bytes changed by a
 * generator that begins with the same seed each time, where none is given. So the ordinary tests cover what a fuzzer
 * began from, and what it found once stays found: its file goes into the corpus.
 *
 * Usage: TARGET CORPUS_DIRECTORY MUTATIONS [SEED]
 *
 * TARGET FILE runs one file, as the libFuzzer programs do.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *count, char ***arguments);

static uint64_t state = 88172645463325252u;

static uint64_t random_next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* In an allocation of exactly its size, so that a sanitizer sees the first byte beyond. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *exact = malloc(size ? size : 1);
    if (exact == NULL)
        abort();
    memcpy(exact, data, size);
    (void)LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void mutate(uint8_t *data, size_t *size)
{
    static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', ']', '\n'};
    for (unsigned changes = 1 + random_next() % 4; changes > 0 && *size > 0; changes--) {
        size_t at = random_next() % *size, last = *size - 1;
        switch (random_next() % 4) {
        case 0:
            data[at] ^= (uint8_t)(1 << random_next() % 8);
            break;
        case 1:
            data[at] = special[random_next() % sizeof special];
            break;
        case 2:
            memmove(data + at, data + at + 1, last - at);
            *size = last;
            break;
        default:
            *size = at + 1;
        }
    }
}

static void run_file(const char *path, unsigned mutations)
{
    static uint8_t data[FILE_BYTES_MAX], changed[FILE_BYTES_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    run(data, size);
    for (unsigned i = 0; i < mutations; i++) {
        size_t changed_size = size;
        memcpy(changed, data, size);
        mutate(changed, &changed_size);
        run(changed, changed_size);
    }
}

int main(int count, char **arguments)
{
    if (count < 2 || count > 4) {
        fprintf(stderr, "usage: %s CORPUS_DIRECTORY MUTATIONS [SEED], or %s FILE\n", arguments[0], arguments[0]);
        return 2;
    }
    if (LLVMFuzzerInitialize != NULL)
        LLVMFuzzerInitialize(&count, &arguments);
    if (count == 2) {
        run_file(arguments[1], 0);
        return 0;
    }
    if (count == 4)
        state ^= strtoull(arguments[3], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15);
    if (state == 0)
        state = 1; /* the one that this generator never leaves */
    struct dirent **entries;
    int found = scandir(arguments[1], &entries, NULL, alphasort), files = 0;
    for (int i = 0; i < found; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", arguments[1], entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            run_file(path, (unsigned)strtoul(arguments[2], NULL, 10));
            files++;
        }
        free(entries[i]);
    }
    if (found >= 0)
        free(entries);
    printf("%d files\n", files);
    return files > 0 ? 0 : 1;
}

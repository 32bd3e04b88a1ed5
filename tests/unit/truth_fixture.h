/*
 * Objects whose every block is known, for tests that damage devices: written here, read back whole, each block either
 * right or an error, never anything else.
 */
#ifndef COFFER_TESTS_UNIT_TRUTH_FIXTURE_H
#define COFFER_TESTS_UNIT_TRUTH_FIXTURE_H

#include "base/message.h"
#include "tests/crash/random.h"
#include "tests/unit/pool_fixture.h"

#define TRUTH_REQUEST 16 /* blocks */

struct truth {
    const char *name;
    uint64_t blocks;
    uint64_t *seeds; /* of each block's content; 0: zeros */
    bool *bad;       /* of each block: the last reading found an error */
};

/* What a damaged pool says of each block that is read would fill screens. */
static inline void truth_quiet(void)
{
    message_level_set((enum message_level)0);
}

/* Even seeds compress to about 40 %, odd ones not at all. */
static inline void truth_content(uint64_t seed, uint8_t *block)
{
    struct dice dice = {seed};
    size_t random = seed % 2 ? COFFER_BLOCK : 1600;
    memset(block, seed == 0 ? 0 : 'x', COFFER_BLOCK);
    for (size_t i = 0; i < random && seed != 0; i += sizeof(uint64_t)) {
        uint64_t number = dice_throw(&dice);
        memcpy(block + i, &number, sizeof number);
    }
}

static inline void truth_make(struct truth *truth, const char *name, uint64_t blocks)
{
    *truth = (struct truth){name, blocks, memory_zeroed(blocks, sizeof *truth->seeds), memory_zeroed(blocks, 1)};
    assert_non_null(truth->seeds);
    assert_non_null(truth->bad);
    make(name, blocks * COFFER_BLOCK);
}

static inline void truth_free(struct truth *truth)
{
    free(truth->seeds);
    free(truth->bad);
}

static inline enum error truth_run(struct volume *volume, enum request_type type, uint64_t block, uint64_t count,
                                   uint8_t *bytes)
{
    struct request request = {
        .type = type, .offset = block * COFFER_BLOCK, .length = count * COFFER_BLOCK, .data = bytes};
    volume_execute(volume, &request, 1, fixture_answer, NULL);
    return request.error;
}

/* Blocks [first, first + count) get the contents of the seeds from `seed` on, or, with 0, holes. */
static inline void truth_write(struct truth *truth, uint64_t first, uint64_t count, uint64_t seed)
{
    struct volume *volume;
    AUTO_FREE uint8_t *bytes = malloc((size_t)TRUTH_REQUEST * COFFER_BLOCK);
    assert_non_null(bytes);
    assert_fine(volume_open(pool, truth->name, false, &volume));
    for (uint64_t done = 0, now; done < count; done += now) {
        now = MIN(count - done, TRUTH_REQUEST);
        for (uint64_t i = 0; i < now; i++) {
            truth->seeds[first + done + i] = seed ? seed + done + i : 0;
            truth_content(truth->seeds[first + done + i], bytes + i * COFFER_BLOCK);
        }
        assert_fine(truth_run(volume, seed ? REQUEST_WRITE : REQUEST_TRIM, first + done, now, bytes));
    }
    volume_close(volume);
}

static inline void block_judge(struct truth *truth, uint64_t block, const uint8_t *bytes)
{
    uint8_t expected[COFFER_BLOCK];
    truth_content(truth->seeds[block], expected);
    if (memcmp(bytes, expected, COFFER_BLOCK) != 0)
        fail_msg("block %llu of %s is wrong, and nothing said so", (unsigned long long)block, truth->name);
}

static inline void blocks_read(struct truth *truth, struct volume *volume, uint64_t first, uint64_t count,
                               uint8_t *bytes)
{
    enum error error = truth_run(volume, REQUEST_READ, first, count, bytes);
    if (error && count > 1) {
        for (uint64_t i = 0; i < count; i++)
            blocks_read(truth, volume, first + i, 1, bytes);
        return;
    }
    if (error && error != ERROR_CORRUPT && error != ERROR_IO && error != ERROR_NOT_FOUND)
        fail_msg("block %llu of %s: %s", (unsigned long long)first, truth->name, error_name(error));
    for (uint64_t i = 0; i < count; i++) {
        truth->bad[first + i] = error != ERROR_NONE;
        if (!error)
            block_judge(truth, first + i, bytes + i * COFFER_BLOCK);
    }
}

/* Fails where a block is neither right nor an error; returns how many are errors. */
static inline uint64_t truth_read(struct truth *truth)
{
    struct volume *volume;
    uint64_t bad = 0;
    AUTO_FREE uint8_t *bytes = malloc((size_t)TRUTH_REQUEST * COFFER_BLOCK);
    assert_non_null(bytes);
    assert_fine(volume_open(pool, truth->name, true, &volume));
    for (uint64_t block = 0; block < truth->blocks; block += TRUTH_REQUEST)
        blocks_read(truth, volume, block, MIN(TRUTH_REQUEST, truth->blocks - block), bytes);
    volume_close(volume);
    for (uint64_t block = 0; block < truth->blocks; block++)
        bad += truth->bad[block];
    return bad;
}

#endif

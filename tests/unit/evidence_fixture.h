/*
 * What tests of a repair's evidence share: a range of a device as it was before, and whether it is in a file of a directory.
 */
#ifndef COFFER_TESTS_UNIT_EVIDENCE_FIXTURE_H
#define COFFER_TESTS_UNIT_EVIDENCE_FIXTURE_H

#include <dirent.h>
#include <jansson.h>

#include "tests/unit/check_fixture.h"
#include "tests/unit/truth_fixture.h"

/* Bytes of a device that are to be kept. */
struct kept {
    char path[128]; /* of the device */
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
};

static inline struct kept kept_take(const char *path, uint64_t offset, size_t size)
{
    struct kept kept = {.offset = offset, .size = size, .bytes = malloc(size)};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0 && kept.bytes);
    assert_int_equal(pread(file, kept.bytes, size, (off_t)offset), size);
    assert_false(memory_is_zero(kept.bytes, size));
    close(file);
    snprintf(kept.path, sizeof kept.path, "%.120s", path);
    return kept;
}

static inline bool file_has(int file, uint64_t at, const struct kept *kept)
{
    AUTO_FREE uint8_t *bytes = malloc(kept->size);
    assert_non_null(bytes);
    return pread(file, bytes, kept->size, (off_t)at) == (ssize_t)kept->size && memcmp(bytes, kept->bytes, kept->size) == 0;
}

static inline bool device_has(const struct kept *kept)
{
    int file = open(kept->path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0);
    bool has = file_has(file, kept->offset, kept);
    close(file);
    return has;
}

static inline uint64_t number_of(const json_t *object, const char *name)
{
    assert_true(json_is_integer(json_object_get(object, name)));
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static inline bool evidence_file_has(const char *path, const struct kept *kept)
{
    char *line = NULL;
    size_t capacity = 0, i;
    bool has = false;
    FILE *file = fopen(path, "re");
    json_t *piece;
    assert_true(file != NULL && getline(&line, &capacity, file) > 0);
    json_t *head = json_loads(line, 0, NULL);
    assert_int_equal(number_of(head, "coffer-evidence"), 1);
    json_array_foreach(json_object_get(head, "pieces"), i, piece)
    {
        uint64_t first = number_of(piece, "offset"), length = number_of(piece, "length");
        if (strcmp(json_string_value(json_object_get(piece, "path")), kept->path) == 0 && kept->offset >= first &&
            kept->offset + kept->size <= first + length)
            has = has || file_has(fileno(file), number_of(piece, "at") + kept->offset - first, kept);
    }
    json_decref(head);
    free(line);
    fclose(file);
    return has;
}

/* `kept` NULL: how many files there are; else how many hold it. */
static inline unsigned evidence_files(const char *directory, const struct kept *kept)
{
    unsigned count = 0;
    DIR *listing = opendir(directory);
    assert_non_null(listing);
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        char path[512];
        if (strncmp(entry->d_name, EVIDENCE_PREFIX, strlen(EVIDENCE_PREFIX)) != 0)
            continue;
        snprintf(path, sizeof path, "%.200s/%.255s", directory, entry->d_name);
        count += !kept || evidence_file_has(path, kept);
    }
    closedir(listing);
    return count;
}

/* The block in which the data of a block begins. */
static inline struct kept stored_take(const char *name, uint64_t block)
{
    struct map_entry entry = entry_of(name, block);
    struct segments *segments = &pool->group->segments;
    mutex_lock(&pool->group->lock);
    uint32_t index = segment_find(segments, entry_serial(entry));
    assert_int_not_equal(index, SEGMENT_NONE);
    uint64_t at = segment_offset(segments, index) + (uint64_t)entry_offset(entry) * GRAIN_SIZE;
    mutex_unlock(&pool->group->lock);
    return kept_take(pool->group->devices[0]->path, at / BLOCK_SIZE * BLOCK_SIZE, BLOCK_SIZE);
}

/* A journal that is damaged before what was flushed. */
struct cut_journal {
    struct kept rows[64]; /* the damaged append, and one block of each round behind it */
    size_t count;
    struct spot good; /* of the append in front of the damaged one */
};

#define CUT_ROUND_BLOCKS 60
#define CUT_GOOD_BLOCK   50 /* of "one": before the damage; the next is the damaged one */

/* Behind fill(). Each round is flushed. Ends by a crash. */
static inline void cut_journal_make(struct cut_journal *journal, struct truth *truth, unsigned rounds)
{
    assert_true(rounds < COUNT_OF(journal->rows));
    write_block("one", CUT_GOOD_BLOCK * COFFER_BLOCK, 50);
    assert_fine(group_sync(pool->group));
    write_block("one", (CUT_GOOD_BLOCK + 1) * COFFER_BLOCK, 51);
    assert_fine(group_sync(pool->group));
    struct map_entry entry = entry_of("one", CUT_GOOD_BLOCK + 1);
    struct map_entry good = entry_of("one", CUT_GOOD_BLOCK);
    struct spot spot = address_spot(entry_serial(entry), entry_offset(entry) / BLOCK_GRAINS * BLOCK_GRAINS);
    journal->good = address_spot(entry_serial(good), entry_offset(good) / BLOCK_GRAINS * BLOCK_GRAINS);
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t first = round * CUT_ROUND_BLOCKS % (truth->blocks - CUT_ROUND_BLOCKS);
        truth_write(truth, first, CUT_ROUND_BLOCKS, (UINT64_C(1) << 42) + round * 1000);
        assert_fine(group_sync(pool->group));
        journal->rows[1 + round] = stored_take(truth->name, first + CUT_ROUND_BLOCKS - 1);
    }
    close_pool(true);
    flip(&spot);
    journal->rows[0] = kept_take(spot.path, spot.offset / BLOCK_SIZE * BLOCK_SIZE, BLOCK_SIZE);
    journal->count = 1 + rounds;
}

static inline void kept_free(struct cut_journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        free(journal->rows[i].bytes);
}

#endif

/*
 * The group without a pool, for tests: devices, keys and superblocks in memory (group_open takes them as they are; only
 * the first checkpoint record is on the disk), and the write path in its smallest form.
 */
#include "tests/unit/group_fixture.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "crypto/arena.h"
#include "engine/device/kind.h"

static const uint8_t k_pool[KEY_SIZE] = {9};

uint64_t fixture_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void device_format(struct fixture *f, uint32_t index, struct uuid pool, struct uuid group, bool encrypted)
{
    struct superblock *super = &f->superblocks[index];
    struct device *device;
    char *path = file_join(f->folder, (const char *[]){"device0", "device1", "device2", "device3"}[index]);
    assert_non_null(path);
    strncpy(f->paths[index], path, sizeof f->paths[0] - 1);
    free(path);
    *super = (struct superblock){
        .pool = pool,
        .group = group,
        .device = uuid_random(),
        .epoch = 1,
        .device_size = f->device_size,
        .device_index = index,
        .device_count = f->device_count,
        .encryption = encrypted,
        .fingerprint = FINGERPRINT_XXH3,
        .log_key_demanded = 1,
        .pool_key_demanded = 1,
    };
    struct checkpoint first = {.number = 1, .epoch = 1, .serial_lease = 1, .component_lease = 2, .cid_end = 256};
    assert_int_equal(superblock_geometry(f->device_size, &super->segment_shift, &super->slot_count), ERROR_NONE);
    assert_int_equal(keyring_create(encrypted, k_pool, &f->keyrings[index]), ERROR_NONE);
    assert_int_equal(device_create_file(f->paths[index], f->device_size), ERROR_NONE);
    assert_int_equal(device_open_file(f->paths[index], 0, &device), ERROR_NONE);
    assert_int_equal(checkpoint_write(device, super, f->keyrings[index], &first), ERROR_NONE);
    assert_int_equal(device_flush(device), ERROR_NONE);
    device_close(device);
}

struct fixture *fixture_begin(uint32_t device_count, uint64_t device_size, bool encrypted)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const char *parent = getenv("TMPDIR");
    snprintf(f->folder, sizeof f->folder, "%.40s/coffer-XXXXXX", parent ? parent : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    f->device_size = device_size;
    f->device_count = device_count;
    f->memory = FIXTURE_MEMORY;
    f->epoch = 1;
    mutex_init(&f->section.mutex, RANK_POOL);
    condition_init(&f->section.changed);
    struct uuid pool = uuid_random(), group = uuid_random();
    for (uint32_t i = 0; i < device_count; i++)
        device_format(f, i, pool, group, encrypted);
    fixture_open(f);
    fixture_component(f, COMPONENT, COMPONENT_LIVE);
    return f;
}

void fixture_end(struct fixture *f)
{
    if (f->group)
        fixture_crash(f);
    for (uint32_t i = 0; i < f->device_count; i++) {
        keyring_destroy(f->keyrings[i]);
        unlink(f->paths[i]);
    }
    rmdir(f->folder);
    mutex_deinit(&f->section.mutex);
    condition_deinit(&f->section.changed);
    free(f);
}

int fixture_setup(void **state)
{
    *state = fixture_begin(1, FIXTURE_DEVICE_SIZE, true);
    return 0;
}

int fixture_setup_two(void **state)
{
    *state = fixture_begin(2, FIXTURE_DEVICE_SIZE, true);
    return 0;
}

int fixture_setup_plaintext(void **state)
{
    *state = fixture_begin(1, FIXTURE_DEVICE_SIZE, false);
    return 0;
}

int fixture_teardown(void **state)
{
    fixture_end(*state);
    return 0;
}

/* ---- opening and closing ------------------------------------------------------------------------------------------
 */

static struct keyring *keyring_copy(const struct keyring *keyring)
{
    size_t size = sizeof *keyring + keyring->count * sizeof keyring->slots[0];
    struct keyring *copy = arena_allocate(size);
    assert_non_null(copy);
    memcpy(copy, keyring, size);
    return copy;
}

enum error fixture_try_open(struct fixture *f)
{
    struct device *devices[FIXTURE_DEVICES_MAX];
    struct keyring *keyrings[FIXTURE_DEVICES_MAX];
    struct superblock superblocks[FIXTURE_DEVICES_MAX];
    struct group_config config = {.section = &f->section, .name = "g1", .memory = f->memory, .index_memory = 1 << 20};
    for (uint32_t i = 0; i < f->device_count; i++) {
        assert_int_equal(f->open_device ? f->open_device(f, i, &devices[i])
                                        : device_open_file(f->paths[i], 0, &devices[i]),
                         ERROR_NONE);
        keyrings[i] = keyring_copy(f->keyrings[i]);
        superblocks[i] = f->superblocks[i];
    }
    if (f->devices_opened)
        f->devices_opened(f);
    config.published = f->published;
    config.by_hand = f->by_hand;
    config.epoch = ++f->epoch;
    mutex_lock(&f->section.mutex);
    f->section.sequence = f->epoch << SEQUENCE_EPOCH_SHIFT;
    mutex_unlock(&f->section.mutex);
    return group_open(devices, superblocks, keyrings, f->device_count, &config, &f->group);
}

void fixture_open(struct fixture *f)
{
    enum error error = fixture_try_open(f);
    if (error)
        fail_msg("open: %s", error_sentence(error));
}

void fixture_close(struct fixture *f)
{
    enum error error = group_close(f->group, false);
    f->group = NULL;
    if (error)
        fail_msg("close: %s", error_sentence(error));
}

void fixture_crash(struct fixture *f)
{
    (void)!group_close(f->group, true);
    f->group = NULL;
}

/* ---- committing ---------------------------------------------------------------------------------------------------
 */

enum error fixture_enter(struct fixture *f, bool frees) NO_THREAD_SAFETY_ANALYSIS
{
    struct commit_need need = {frees ? COMMIT_FREES : f->overwrites ? COMMIT_OVERWRITES : COMMIT_GROWS, NULL, f->little};
    for (;;) {
        mutex_lock(&f->section.mutex);
        mutex_lock(&f->group->lock);
        enum error error = group_room(f->group, need);
        if (!error)
            return ERROR_NONE;
        mutex_unlock(&f->group->lock);
        mutex_unlock(&f->section.mutex);
        if (error == ERROR_AGAIN)
            TRY(group_wait_room(f->group));
        else if (error == ERROR_NO_SPACE)
            TRY(group_wait_space(f->group, need));
        else
            return error;
    }
}

void fixture_leave(struct fixture *f) NO_THREAD_SAFETY_ANALYSIS
{
    mutex_unlock(&f->group->lock);
    mutex_unlock(&f->section.mutex);
}

static void record_enter(struct fixture *f, const uint8_t *bytes, const struct byte_writer *out)
{
    struct log_commit commit = {.section = &f->section};
    struct log_item none;
    size_t size = (size_t)(out->next - bytes);
    assert_false(out->overflow);
    log_reserve(&f->group->journal, 0, size, &none);
    log_record(&f->group->journal, &commit, bytes, size);
}

void fixture_chunk(uint64_t seed, uint8_t *bytes)
{
    uint64_t state = seed;
    memset(bytes, (int)seed, CHUNK_SIZE);
    for (size_t i = 0; i < CHUNK_SIZE / 2; i += 8) {
        uint64_t word = fixture_random(&state);
        memcpy(bytes + i, &word, 8);
    }
    memcpy(bytes + CHUNK_SIZE - 8, &seed, 8);
}

struct unit_made {
    uint8_t stored[UNIT_CHUNKS * CHUNK_SIZE];
    size_t stored_size;
    enum codec codec;
    unsigned count;
    struct log_item item;
    struct segment_identity identity;
    uint64_t cid;
};

static void unit_make(struct unit_made *unit, const uint64_t *seeds, unsigned count)
{
    uint8_t bytes[UNIT_CHUNKS * CHUNK_SIZE];
    const void *chunks[UNIT_CHUNKS];
    for (unsigned i = 0; i < count; i++) {
        chunks[i] = bytes + i * CHUNK_SIZE;
        fixture_chunk(seeds[i], bytes + i * CHUNK_SIZE);
    }
    unit->count = count;
    assert_int_equal(
        unit_compress(CODEC_LZ4, 0, chunks, count, unit->stored, sizeof unit->stored, &unit->stored_size, &unit->codec),
        ERROR_NONE);
}

static void unit_enter(struct fixture *f, struct unit_made *unit, uint64_t component, uint64_t block,
                       struct map_entry *entries)
{
    struct group *group = f->group;
    struct log_commit commit = {.section = &f->section};
    uint8_t bytes[RECORD_WRITE_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    size_t size = sizeof(struct item_format) + unit->count * sizeof(le40) + unit->stored_size;
    unit->cid = cids_take_run(&group->cids, unit->count);
    assert_int_not_equal(unit->cid, 0);
    log_reserve(&group->journal, size, sizeof bytes, &unit->item);
    unit->identity = segment_identity(&group->segments, unit->item.buffer->segment);
    struct record record = {
        .component = component,
        .block = block,
        .mask = (1u << unit->count) - 1,
        .offset = unit->item.offset,
        .length = (uint32_t)((size + GRAIN_SIZE - 1) / GRAIN_SIZE),
        .chunks = unit->count,
        .cid = unit->cid,
    };
    for (unsigned i = 0; i < unit->count; i++) {
        uint64_t cid = unit->cid + i;
        memcpy(record.fingerprints[i].bytes, &cid, sizeof cid);
        entries[i] = entry_make(cid, unit->item.serial, unit->item.offset, record.length, i, unit->count);
        recent_enter(group->view->active, component, block + i, entries[i]);
        recent_enter_birth(group->view->active, entries[i], record.fingerprints[i]);
    }
    record_write_encode(&out, &record);
    assert_false(out.overflow);
    log_record(&group->journal, &commit, bytes, (size_t)(out.next - bytes));
}

static enum error unit_fill(struct fixture *f, struct unit_made *unit)
{
    const struct segment_keys *keys;
    le40 cids[UNIT_CHUNKS];
    for (unsigned i = 0; i < unit->count; i++)
        cids[i] = le40_make(unit->cid + i);
    TRY(segment_keys_get(f->group, &unit->identity, &keys));
    enum error error =
        log_fill(&f->group->journal, &unit->item, keys, ITEM_UNIT, (uint8_t)unit->codec, (uint8_t)unit->count, cids,
                 unit->count * sizeof cids[0], unit->stored, unit->stored_size);
    segment_keys_put(f->group, keys);
    log_filled(&f->group->journal, unit->item.buffer, 1);
    return error ? error : log_advance(&f->group->journal);
}

enum error fixture_try_write(struct fixture *f, uint64_t component, uint64_t block, const uint64_t *seeds,
                             unsigned count, struct map_entry *entries)
{
    struct map_entry own[UNIT_CHUNKS];
    struct unit_made unit;
    unit_make(&unit, seeds, count);
    TRY(fixture_enter(f, false));
    unit_enter(f, &unit, component, block, entries ? entries : own);
    fixture_leave(f);
    return unit_fill(f, &unit);
}

struct map_entry fixture_write(struct fixture *f, uint64_t component, uint64_t block, uint64_t seed)
{
    struct map_entry entry;
    assert_int_equal(fixture_try_write(f, component, block, &seed, 1, &entry), ERROR_NONE);
    return entry;
}

void fixture_refer(struct fixture *f, uint64_t component, uint64_t block, struct map_entry entry)
{
    uint8_t bytes[RECORD_REFERENCE_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    record_reference_encode(&out, component, block, &entry, 1);
    assert_int_equal(fixture_enter(f, false), ERROR_NONE);
    record_enter(f, bytes, &out);
    recent_enter(f->group->view->active, component, block, entry);
    fixture_leave(f);
}

enum error fixture_try_holes(struct fixture *f, uint64_t component, uint64_t first, uint64_t end)
{
    uint8_t bytes[RECORD_SMALL_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    record_holes_encode(&out, component, first, end - first);
    TRY(fixture_enter(f, true));
    record_enter(f, bytes, &out);
    recent_enter_holes(f->group->view->active, component, first, end);
    f->group->hopeless_since = 0; /* as a commit does */
    fixture_leave(f);
    return ERROR_NONE;
}

void fixture_holes(struct fixture *f, uint64_t component, uint64_t first, uint64_t end)
{
    assert_int_equal(fixture_try_holes(f, component, first, end), ERROR_NONE);
}

void fixture_component(struct fixture *f, uint64_t id, enum component_state state)
{
    fixture_heir(f, id, 0, state);
}

void fixture_heir(struct fixture *f, uint64_t id, uint64_t base, enum component_state state)
{
    uint8_t bytes[RECORD_SMALL_BYTES_MAX];
    struct byte_writer out = {bytes, bytes + sizeof bytes, false};
    struct component_change change = {.id = id, .base = base, .state = (uint8_t)state};
    memcpy(change.object.bytes, &id, sizeof id);
    assert_int_equal(fixture_enter(f, true), ERROR_NONE);
    change.birth = f->section.sequence + 1;
    record_component_encode(&out, &change);
    record_enter(f, bytes, &out);
    recent_enter_component(f->group->view->active, &change);
    fixture_leave(f);
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

struct map_entry fixture_entry(struct fixture *f, uint64_t component, uint64_t block)
{
    struct map_entry entry;
    struct view *view;
    assert_int_equal(view_lookup(f->group, component, &block, &entry, 1, &view), ERROR_NONE);
    view_put(f->group, view);
    return entry;
}

enum error fixture_read(struct fixture *f, uint64_t component, uint64_t block, uint8_t *bytes)
{
    struct chunk_read read = {.out = bytes};
    struct view *view;
    TRY(view_lookup(f->group, component, &block, &read.entry, 1, &view));
    enum error error = ERROR_NONE;
    if (entry_is_hole(read.entry))
        memset(bytes, 0, CHUNK_SIZE);
    else
        error = chunks_read(f->group, &read, 1);
    view_put(f->group, view);
    return error;
}

void fixture_expect(struct fixture *f, uint64_t component, uint64_t block, uint64_t seed)
{
    uint8_t found[CHUNK_SIZE], wanted[CHUNK_SIZE] = {0};
    if (seed)
        fixture_chunk(seed, wanted);
    enum error error = fixture_read(f, component, block, found);
    if (error)
        fail_msg("block %llu of component %llu: %s", (unsigned long long)block, (unsigned long long)component,
                 error_sentence(error));
    if (memcmp(found, wanted, CHUNK_SIZE) != 0)
        fail_msg("block %llu of component %llu does not hold the chunk of seed %llu", (unsigned long long)block,
                 (unsigned long long)component, (unsigned long long)seed);
}

/* The index thread reads through the caches after an open: its end is waited for. */
void fixture_forget_cached(struct fixture *f)
{
    cache_forget(f->group->nodes);
    cache_forget(f->group->chunks);
}

/* ---- damage -------------------------------------------------------------------------------------------------------
 */

void fixture_flip(struct fixture *f, uint32_t device, uint64_t offset)
{
    uint8_t byte;
    int descriptor = open(f->paths[device], O_RDWR | O_CLOEXEC);
    assert_true(descriptor >= 0);
    assert_int_equal(pread(descriptor, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(descriptor, &byte, 1, (off_t)offset), 1);
    close(descriptor);
}

uint32_t fixture_device(struct fixture *f, uint64_t serial)
{
    uint32_t index = segment_find(&f->group->segments, serial);
    assert_int_not_equal(index, SEGMENT_NONE);
    return segment_device(&f->group->segments, index);
}

uint64_t fixture_offset(struct fixture *f, uint64_t serial, uint32_t grains)
{
    uint32_t index = segment_find(&f->group->segments, serial);
    assert_int_not_equal(index, SEGMENT_NONE);
    return segment_offset(&f->group->segments, index) + (uint64_t)grains * GRAIN_SIZE;
}

/* A device that refuses some reads. */
static struct {
    struct device_operations operations;
    const struct device_operations *real;
    uint64_t offset, size; /* where */
    _Atomic int times;     /* how often */
} refusal;

static bool is_refused(const struct device_io *io)
{
    bool there = io->operation == DEVICE_READ && io->offset < refusal.offset + refusal.size &&
                 refusal.offset < io->offset + io->size;
    return there && atomic_fetch_sub(&refusal.times, 1) > 0;
}

static void refusing_submit(struct device_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_refused(ios[i]))
            io_complete(ios[i], ERROR_IO, EIO);
        else
            refusal.real->submit(&ios[i], 1);
    }
}

void fixture_refuse_reads(struct fixture *f, uint64_t offset, uint64_t size, int times)
{
    struct device *device = f->group->devices[0];
    refusal.real = device->operations;
    refusal.operations = *device->operations;
    refusal.operations.submit = refusing_submit;
    refusal.operations.run = NULL;
    refusal.offset = offset;
    refusal.size = size;
    atomic_store(&refusal.times, times);
    device->operations = &refusal.operations;
}

void fixture_refuse_no_more(void)
{
    atomic_store(&refusal.times, 0);
}

int fixture_refusals_left(void)
{
    return atomic_load(&refusal.times);
}

/*
 * The tables: each page is read in all its copies, and its bytes counted in the segments that hold them (pages of the
 * segment table apart). The leaves of the component table give the components; changes in the recent tables, and what
 * the release list still has of those that are gone, add to them. One thread; memory grows with the number of components only.
 */
#include "engine/pool/check_repair.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"


static const char *const table_names[] = {
    [TABLE_PLACES] = "chunk table, places", [TABLE_FINGERPRINTS] = "chunk table, fingerprints",
    [TABLE_COUNTS] = "chunk table, counts", [TABLE_COMPONENTS] = "component table",
    [TABLE_SEGMENTS] = "segment table",     [TABLE_RELEASES] = "release list",
};

/* ---- components ----------------------------------------------------------------------------------------------- */

bool check_component_find_any(const struct check *check, uint64_t id, uint32_t *index)
{
    size_t low = 0, high = check->component_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (check->components[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    *index = (uint32_t)low;
    return low < check->component_count && check->components[low].id == id;
}

static enum error domain_enter(struct check *check, const uint8_t *domain, uint32_t *index)
{
    for (*index = 0; *index < check->domain_count; ++*index)
        if (memcmp(check->domains[*index].id.bytes, domain, sizeof check->domains[0].id.bytes) == 0)
            return ERROR_NONE;
    if (check->domain_count == check->domain_capacity) {
        size_t capacity = check->domain_capacity ? 2 * check->domain_capacity : 8;
        struct check_domain *domains = memory_zeroed(capacity, sizeof *domains);
        if (!domains)
            return ERROR_NO_MEMORY;
        if (check->domain_count)
            memcpy(domains, check->domains, check->domain_count * sizeof *domains);
        free(check->domains);
        check->domains = domains;
        check->domain_capacity = capacity;
    }
    memcpy(check->domains[check->domain_count++].id.bytes, domain, sizeof check->domains[0].id.bytes);
    return ERROR_NONE;
}

bool check_component_find(const struct check *check, uint64_t id, uint32_t *index)
{
    return check_component_find_any(check, id, index) && !check->components[*index].gone;
}

/* The component of this id, made where there is none. */
static enum error component_take(struct check *check, uint64_t id, struct check_component **component)
{
    uint32_t index;
    if (!check_component_find_any(check, id, &index)) {
        if (check->component_count == check->component_capacity) {
            size_t capacity = check->component_capacity ? 2 * check->component_capacity : 64;
            struct check_component *grown = realloc(check->components, capacity * sizeof *grown);
            if (!grown)
                return ERROR_NO_MEMORY;
            check->components = grown;
            check->component_capacity = capacity;
        }
        memmove(&check->components[index + 1], &check->components[index],
                (check->component_count - index) * sizeof *check->components);
        check->components[index] = (struct check_component){.id = id};
        check->component_count++;
    }
    *component = &check->components[index];
    return ERROR_NONE;
}

static bool component_is_sound(const struct check *check, uint64_t id, const struct component_format *format)
{
    static const uint8_t zero[16];
    return id != 0 && id < check->group->checkpoint.component_lease && format->height < NODE_LEVELS_MAX &&
           (format->state == COMPONENT_LIVE || format->state == COMPONENT_DELETED) &&
           format->family <= 1 && memcmp(format->reserved, zero, sizeof format->reserved) == 0 &&
           memcmp(format->reserved2, zero, sizeof format->reserved2) == 0 && le64_get(format->base) < id &&
           (format->family != 0) == (le64_get(format->own) != 0) &&
           le64_get(format->own) <= check->group->checkpoint.serial_lease;
}

static enum error component_page(struct check *check, uint64_t number, const uint8_t *bytes)
{
    static const struct component_format zero;
    const struct component_format *formats = (const struct component_format *)bytes;
    for (uint64_t i = 0; i < COMPONENTS_PER_PAGE; i++) {
        uint64_t id = number * COMPONENTS_PER_PAGE + i;
        if (memcmp(&formats[i], &zero, sizeof zero) == 0)
            continue;
        if (!component_is_sound(check, id, &formats[i])) {
            check_find(check, "component table: component %" PRIu64 " has impossible fields", id);
            check->maps_incomplete = check->components_incomplete = true;
            continue;
        }
        if (formats[i].state == COMPONENT_DELETED) /* it leaves the table with its map, which goes first */
            check_find(check, "component table: component %" PRIu64 " was deleted, and its map never", id);
        struct check_component *component;
        TRY(component_take(check, id, &component));
        component->format = formats[i];
        component->in_table = true;
        TRY(domain_enter(check, formats[i].domain, &component->domain));
    }
    return ERROR_NONE;
}

/* Born in a commit that the checkpoint covers or the journal has; after the component that it began as, if that is
 * still there; of a family, as the checkpoint record says that there are any. */
static void lineages_check(struct check *check)
{
    const struct group *group = check->group;
    uint64_t last = MAX(group->checkpoint.sequence, group->journal.last_sequence);
    char name[CHECK_TEXT];
    for (uint32_t i = 0; i < check->component_count; i++) {
        const struct component_format *format = &check->components[i].format;
        uint64_t birth = le64_get(format->birth), base = le64_get(format->base);
        if (check->components[i].gone)
            continue;
        if (birth == 0 || birth > last)
            check_find(check, "%s: its component cannot have been made at sequence %" PRIu64,
                       check_component_name(check, i, name), birth);
        uint32_t index;
        if (base != 0 && check_component_find(check, base, &index) &&
            birth <= le64_get(check->components[index].format.birth))
            check_find(check, "%s: its component was not made after component %" PRIu64 ", on which it is based",
                       check_component_name(check, i, name), base);
        if (format->family && !group->checkpoint.families)
            check_find(check, "%s: its component shares its map, which no component does", check_component_name(check, i, name));
    }
}

static enum error recent_components_enter(struct check *check)
{
    for (size_t t = 0; t < check->recent_count; t++) {
        size_t count;
        const struct component_change *changes = recent_components(check->recents[t].table, &count);
        for (size_t i = 0; i < count; i++) {
            struct check_component *component;
            TRY(component_take(check, changes[i].id, &component));
            component->gone = false;
            component->format.state = changes[i].state;
            if (changes[i].state == COMPONENT_LIVE) {
                component->format.base = le64_make(changes[i].base);
                component->format.birth = le64_make(changes[i].birth);
            }
            memcpy(component->format.object, changes[i].object.bytes, sizeof component->format.object);
            memcpy(component->format.domain, changes[i].domain.bytes, sizeof component->format.domain);
            TRY(domain_enter(check, component->format.domain, &component->domain));
        }
    }
    return ERROR_NONE;
}

/* ---- the release list ----------------------------------------------------------------------------------------- */

static bool is_live(const struct check *check, uint64_t entry)
{
    return entry < check->group->checkpoint.release_end;
}

bool check_release(const struct check *check, const struct walk_node *page, unsigned index, struct release *release)
{
    const struct release_format *formats = (const struct release_format *)page->bytes;
    return is_live(check, page->identity.number * RELEASES_PER_PAGE + index) && release_decode(&formats[index], release);
}

/* An entry may outlive its component. */
static enum error release_enter(struct check *check, const struct release *release)
{
    struct check_component *component;
    uint32_t index;
    check->releases++;
    if (check_component_find_any(check, release->component, &index))
        return ERROR_NONE;
    TRY(component_take(check, release->component, &component));
    component->gone = true;
    return ERROR_NONE;
}

static enum error release_page(struct check *check, const struct walk_node *page)
{
    static const struct release_format zero;
    const struct release_format *formats = (const struct release_format *)page->bytes;
    for (unsigned i = 0; i < RELEASES_PER_PAGE; i++) {
        uint64_t entry = page->identity.number * RELEASES_PER_PAGE + i;
        struct release release;
        if (check_release(check, page, i, &release) && release.component < check->group->checkpoint.component_lease) {
            TRY(release_enter(check, &release));
        } else if (is_live(check, entry)) {
            check_find(check, "release list: entry %" PRIu64 " has impossible fields", entry);
            check->maps_incomplete = true;
        } else if (memcmp(&formats[i], &zero, sizeof zero) != 0) {
            check_find(check, "release list: entry %" PRIu64 " is outside of the list", entry);
        }
    }
    return ERROR_NONE;
}

static void releases_compare(struct check *check)
{
    uint64_t stated = check->group->checkpoint.release_end;
    if (check->releases == stated || check->maps_incomplete)
        return;
    check_find(check, "release list: it has %" PRIu64 " entries, the checkpoint record says %" PRIu64, check->releases,
               stated);
    check->maps_incomplete = true;
}

/* ---- pages ---------------------------------------------------------------------------------------------------- */

static void page_bytes(struct check *check, enum table table, uint64_t serial, uint32_t length)
{
    uint32_t index = segment_find(&check->group->segments, serial);
    if (index == SEGMENT_NONE)
        return; /* the reading of the page has told it */
    *(table == TABLE_SEGMENTS ? &check->pages[index] : &check->live[index]) += (uint64_t)length * GRAIN_SIZE;
}

static void page_count(struct check *check, const struct walk_node *node)
{
    enum table table = (enum table)node->identity.owner;
    uint32_t length = entry_length(node->pointer.first);
    uint64_t second = node->pointer.second_serial;
    char text[CHECK_TEXT];
    check->report.pages++;
    page_bytes(check, table, entry_serial(node->pointer.first), length);
    if (second)
        page_bytes(check, table, second, length);
    bool twice = node_is_doubled(ITEM_PAGE, table, node->identity.level);
    if (twice != (second != 0) || second == entry_serial(node->pointer.first))
        check_find(check, "%s, %s is not stored as often, or as far apart, as it has to be", table_names[table],
                   check_node_text(node, text));
    check_progress(check, (uint64_t)length * GRAIN_SIZE * (second ? 2 : 1));
}

static void page_lost(struct check *check, enum table table)
{
    if (table == TABLE_COMPONENTS)
        check->components_incomplete = true;
    if (table == TABLE_COMPONENTS || table == TABLE_RELEASES)
        check->maps_incomplete = true;
    else
        check->tables_incomplete = true;
}

static uint64_t leaf_cids(enum table table)
{
    switch (table) {
    case TABLE_PLACES:
    case TABLE_FINGERPRINTS:
        return MAP_LEAF_ENTRIES;
    case TABLE_COUNTS:
        return BLOCK_SIZE / sizeof(le32);
    default:
        return 0;
    }
}

static enum error page_visit(void *context, const struct walk_node *node)
{
    struct check *check = context;
    enum table table = (enum table)node->identity.owner;
    page_count(check, node);
    check_node_birth(check, table_names[table], node, 0);
    check_repair_page(check, node);
    if (check_node_judge(check, table_names[table], node))
        page_lost(check, table);
    if (node->identity.level > 0)
        return ERROR_NONE;
    uint64_t first = node->identity.number * leaf_cids(table);
    if (first != 0 && first >= check->group->checkpoint.cid_end)
        check_find(check, "%s: chunks from %" PRIu64 " on, which were never handed out", table_names[table], first);
    else
        check->cid_end = MAX(check->cid_end, first + leaf_cids(table));
    if (table == TABLE_RELEASES && node->bytes)
        return release_page(check, node);
    return table == TABLE_COMPONENTS && node->bytes ? component_page(check, node->identity.number, node->bytes)
                                                    : ERROR_NONE;
}

/* The merge of a replayed table writes the first of its epoch. */
static uint64_t birth_max(const struct group *group)
{
    return MAX(sequence_of_birth(group->checkpoint.sequence), group->checkpoint.epoch << SEQUENCE_EPOCH_SHIFT);
}

enum error check_tables(struct check *check)
{
    struct group *group = check->group;
    check->cid_end = MAX(group->checkpoint.cid_end, group->cids.end);
    check->birth_max = birth_max(group);
    for (unsigned table = TABLE_PLACES; table <= TABLE_LAST; table++) {
        struct tree tree = tree_of_table((enum table)table, view_root(group->view, (enum table)table));
        TRY(tree_walk(group, &tree, 0, UINT64_MAX, WALK_ALL_COPIES, page_visit, check));
    }
    releases_compare(check);
    TRY(recent_components_enter(check));
    lineages_check(check);
    return ERROR_NONE;
}

/* ---- catalog and components name each other ------------------------------------------------------------------- */

static bool object_has(const struct check *check, uint64_t component)
{
    for (const struct object *object = check->pool->objects; object; object = object->next)
        if (object->component == component)
            return true;
    return component == COMPONENT_CATALOG;
}

/* Object and dedup domain stand in both; the catalog's own component is the pool's and has no domain. */
static void identity_check(struct check *check, const char *name, uint32_t index, struct uuid uuid, struct uuid domain)
{
    const struct component_format *format = &check->components[index].format;
    if (memcmp(format->object, uuid.bytes, sizeof format->object) != 0)
        check_find(check, "%s: its component %" PRIu64 " is another object's", name, check->components[index].id);
    if (memcmp(format->domain, domain.bytes, sizeof format->domain) != 0)
        check_find(check, "%s: its component %" PRIu64 " is of another dedup domain", name, check->components[index].id);
}

static void identities_check(struct check *check)
{
    uint32_t index;
    char name[CHECK_TEXT];
    if (check_component_find(check, COMPONENT_CATALOG, &index))
        identity_check(check, "the catalog", index, check->pool->conf->pool, (struct uuid){{0}});
    for (const struct object *object = check->pool->objects; object; object = object->next)
        if (check_component_find(check, object->component, &index))
            identity_check(check, check_component_name(check, index, name), index,
                           object_is_snapshot(object) ? object->origin_uuid : object->uuid, object->domain);
}

void check_catalog(struct check *check)
{
    uint32_t index;
    char text[VERSION_NAME_MAX + 1];
    if (check->maps_incomplete)
        return;
    identities_check(check);
    for (const struct object *object = check->pool->objects; object; object = object->next)
        if (!object->deleting && !check_component_find(check, object->component, &index))
            check_find(check, "object %s: its component %" PRIu64 " does not exist", object_text(object, text),
                       atomic_load(&object->component));
    for (size_t i = 0; i < check->component_count; i++) {
        const struct check_component *component = &check->components[i];
        if (component->format.state == COMPONENT_LIVE && !check->catalog_incomplete &&
            !object_has(check, component->id))
            check_find(check, "component %" PRIu64 " belongs to no object of the catalog", component->id);
    }
}

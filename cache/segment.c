/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A segment as a whole, whatever lies in it: how large it has to be and may
 * be, what its header says and whether that can be true, its mapping, and who
 * may write it.
 *
 * The one idea: all of the layout follows from three numbers, how many slots
 * there are, how many others, and how many bytes. So a header is checked by
 * laying it out anew and comparing, and what was bound once is never read from
 * it again.
 */

#include "helper.h"
#include "segment.h"

#include <errno.h>
#include <unistd.h>
#include <sys/mman.h>

#include <apr_strings.h>

/* Room beyond what is needed, as a part of the records: with a 64th of dead
 * records a store moves 64 others at most, in some microseconds. More would
 * cost memory for all and save time where nobody waits. */
#define SPARE_PART 64

/* ---- How large. ---- */

apr_uint64_t staple_cache_record_bytes(apr_size_t der_len)
{
    return record_bytes(der_len);
}

/* What stands ahead of the data. */
typedef struct front_t {
    staple_cache_sizes_t sizes;
    apr_uint64_t slots, others;
} front_t;

static apr_uint64_t others_offset(const front_t *front)
{
    return front->sizes.header
           + front->slots * (front->sizes.slot + 2 * sizeof(apr_uint32_t));
}

static apr_uint64_t data_offset(const front_t *front)
{
    apr_uint64_t end = others_offset(front)
                       + front->others * sizeof(listed_t);

    return (end + STAPLE_CACHE_BLOCK - 1)
           / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

static front_t front_of(apr_uint64_t slots)
{
    front_t front = { staple_cache_sizes(STAPLE_CACHE_VERSION), slots, 0 };

    return front;
}

apr_uint64_t staple_cache_need(apr_size_t n, apr_uint64_t records,
                               apr_uint64_t longest)
{
    apr_uint64_t spare = records / SPARE_PART
                         / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
    front_t front = front_of(n);

    return data_offset(&front) + records + spare + longest;
}

apr_size_t staple_cache_size_for(apr_size_t certificates)
{
    apr_uint64_t record = staple_cache_record_bytes(STAPLE_CACHE_TYPICAL);

    return (apr_size_t)staple_cache_need(certificates, certificates * record,
                                         certificates ? record : 0);
}

/* ---- The directive's argument. ---- */

/* The size in parentheses, of which `text` has the closing one alone. */
static const char *parse_size(apr_size_t *size, const char *text,
                              apr_pool_t *p)
{
    int digits = (int)strcspn(text, ")");
    apr_int64_t bytes;
    char *end;

    errno = 0;
    bytes = apr_strtoi64(text, &end, 10);
    if (end == text || strcmp(end, ")")) {
        return apr_psprintf(p, "the size is a number of bytes, not \"%.*s\"",
                            digits, text);
    }
    if (errno || bytes < (apr_int64_t)STAPLE_CACHE_SIZE_MIN
        || (apr_uint64_t)bytes > APR_SIZE_MAX) {
        return apr_psprintf(p, "the size %.*s is not accepted: it is in bytes, "
                            "%" APR_SIZE_T_FMT " or more", digits, text,
                            STAPLE_CACHE_SIZE_MIN);
    }
    *size = (apr_size_t)bytes;
    return NULL;
}

const char *staple_cache_parse_spec(staple_cache_spec_t *spec, const char *arg,
                                    apr_pool_t *p)
{
    char *path = apr_pstrdup(p, arg ? arg : "");
    apr_size_t len = strlen(path);
    char *open_at = strrchr(path, '(');

    spec->path = *path ? path : NULL;
    spec->size = STAPLE_CACHE_SIZE_DEFAULT;
    if (!open_at) {
        return len && path[len - 1] == ')'
               ? "a size needs an opening parenthesis: path(bytes)" : NULL;
    }
    if (path[len - 1] != ')') {
        return "a size needs a closing parenthesis at the end: path(bytes)";
    }
    *open_at = '\0';
    spec->path = *path ? path : NULL;
    return parse_size(&spec->size, open_at + 1, p);
}

/* ---- What the header says. ---- */

static void lay_out(header_t *header, apr_uint32_t version,
                    const front_t *front, apr_uint64_t size)
{
    memcpy(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic));
    header->version = version;
    header->byte_order = STAPLE_CACHE_BYTE_ORDER;
    header->header_size = front->sizes.header;
    header->slot_size = front->sizes.slot;
    header->record_size = sizeof(record_t);
    header->id_len = STAPLE_ID_LEN;
    header->segment_size = size;
    header->slots = (apr_uint32_t)front->slots;
    header->buckets = 2 * header->slots;
    header->slots_offset = front->sizes.header;
    header->buckets_offset = front->sizes.header
                             + front->slots * front->sizes.slot;
    header->data_offset = data_offset(front);
    header->data_size = (size - header->data_offset)
                        / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
    header->others = (apr_uint32_t)front->others;
    header->others_offset = front->others ? others_offset(front) : 0;
}

void staple_cache_lay_out(header_t *header, apr_uint32_t slots,
                          apr_uint32_t others, apr_uint64_t size)
{
    front_t front = front_of(slots);

    front.others = others;
    lay_out(header, STAPLE_CACHE_VERSION, &front, size);
}

apr_uint64_t staple_cache_data_offset(apr_uint32_t slots)
{
    front_t front = front_of(slots);

    return data_offset(&front);
}

apr_uint64_t staple_cache_sum(const unsigned char id[STAPLE_ID_LEN],
                              const void *words, apr_size_t blocks)
{
    const unsigned char *from = words;
    block_t block;
    apr_size_t i;
    sum_t sum;

    sum_begin(&sum, id);
    memcpy(&block, from, sizeof(block));
    sum_first(&sum, block);
    for (i = 1; i < blocks; i++) {
        memcpy(&block, from + i * STAPLE_CACHE_BLOCK, sizeof(block));
        sum_block(&sum, &block);
    }
    return sum_end(&sum);
}

apr_uint64_t staple_cache_header_sum(const header_t *header)
{
    static const unsigned char no_id[STAPLE_ID_LEN];
    unsigned char fixed[2 * STAPLE_CACHE_BLOCK];

    memcpy(fixed, header, sizeof(fixed));
    memset(fixed + offsetof(header_t, sum), 0, sizeof(header->sum));
    return staple_cache_sum(no_id, fixed, 2) ^ header->version;
}

/* Whether a header that is whole fits this many bytes. */
static const char *check_layout(const header_t *header, apr_uint64_t length,
                                const front_t *front)
{
    const apr_size_t fixed = offsetof(header_t, generation);
    header_t should;

    if (length != header->segment_size) {
        return length < header->segment_size ? "is truncated"
                                             : "is longer than it should be";
    }
    if (front->slots > length / front->sizes.slot
        || front->others > STAPLE_CACHE_OTHERS_MAX
        || data_offset(front) + STAPLE_CACHE_BLOCK > length
        || header->start % STAPLE_CACHE_BLOCK) {
        return "has an impossible header";
    }
    memset(&should, 0, sizeof(should));
    lay_out(&should, header->version, front, length);
    should.start = header->start;
    return memcmp(header, &should, fixed)
           || header->others_offset != should.others_offset
           ? "has an impossible header" : NULL;
}

const char *staple_cache_check_header(const header_t *header,
                                      apr_uint64_t length)
{
    front_t front;

    if (length < sizeof(header->magic)
        || memcmp(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic))) {
        return "is not a ring";
    }
    if (length < sizeof(*header)) {
        return "is truncated";
    }
    if (header->byte_order != STAPLE_CACHE_BYTE_ORDER) {
        return "has a damaged header, or is from a machine of another byte "
               "order";
    }
    front.sizes = staple_cache_sizes(header->version);
    if (!front.sizes.slot) {
        return "was written by another version of the module";
    }
    if (header->sum != staple_cache_header_sum(header)) {
        return "has a damaged header";
    }
    front.slots = header->slots;
    front.others = header->others;
    return check_layout(header, length, &front);
}

/* ---- Mappings. ---- */

void *staple_cache_private(apr_size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return base == MAP_FAILED ? NULL : base;
}

void staple_cache_bind(staple_cache_t *cache, void *base, apr_size_t length)
{
    char *bytes = base;
    header_t *header = base;

    cache->length = length;
    cache->header = header;
    cache->slots = (slot_t *)(bytes + header->slots_offset);
    cache->buckets = (apr_uint32_t *)(bytes + header->buckets_offset);
    cache->others = (listed_t *)(bytes + header->others_offset);
    cache->data = (word_t *)(bytes + header->data_offset);
    cache->slots_count = header->slots;
    cache->buckets_count = header->buckets;
    cache->others_count = header->others;
    cache->data_size = header->data_size;
    cache->blocks = header->data_size / STAPLE_CACHE_BLOCK;
    cache->start = header->start;
}

void staple_cache_bind_counters(staple_cache_t *cache, apr_size_t size)
{
    apr_size_t count = (size - sizeof(staple_cache_counters_t))
                       / sizeof(staple_cache_count_t);

    cache->counters = cache->kept.counters.base;
    cache->kept.counters.size = size;
    cache->counters_count = count < cache->slots_count ? (apr_uint32_t)count
                                                       : cache->slots_count;
}

apr_status_t staple_cache_attach(staple_cache_t **cache, void *base,
                                 apr_size_t length, apr_pool_t *p)
{
    *cache = NULL;
    if (!base || (apr_uintptr_t)base % STAPLE_CACHE_BLOCK
        || staple_cache_check_header(base, length)
        || ((const header_t *)base)->version != STAPLE_CACHE_VERSION) {
        return APR_EINVAL;
    }
    *cache = apr_pcalloc(p, sizeof(**cache));
    staple_cache_keep_nothing(&(*cache)->kept);
    (*cache)->kept.ring.base = base;
    (*cache)->kept.ring.size = length;
    (*cache)->file = -1;
    staple_cache_bind(*cache, base, length);
    return APR_SUCCESS;
}

void staple_cache_mapping(const staple_cache_t *cache, void **base,
                          apr_size_t *length)
{
    *base = cache->kept.ring.base;
    *length = cache->length;
}

const char *staple_cache_path(const staple_cache_t *cache)
{
    return cache->path;
}

staple_cache_kept_t *staple_cache_kept(staple_cache_t *cache)
{
    return &cache->kept;
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

/* The ends of sockets: no file system is asked. */
static void close_sockets(staple_cache_kept_t *kept)
{
    close_one(&kept->channel[0]);
    close_one(&kept->channel[1]);
    close_one(&kept->answer);
}

void staple_cache_release(staple_cache_kept_t *kept)
{
    staple_memory_free(&kept->ring);
    staple_memory_free(&kept->counters);
    staple_cache_drop_helper(kept);
    close_sockets(kept);
}

void staple_cache_unmap(staple_cache_t *cache)
{
    staple_cache_release(&cache->kept);
    close_one(&cache->file);
}

/* ---- Who may write. ---- */

apr_status_t staple_cache_begin_writing(staple_cache_t *cache)
{
    return staple_memory_write(&cache->kept.ring);
}

void staple_cache_end_writers(staple_cache_t *cache)
{
    staple_memory_disown(&cache->kept.ring);
    staple_cache_drop_helper(&cache->kept);
}

void staple_cache_only_read(staple_cache_kept_t *kept)
{
    staple_memory_disown(&kept->ring);
    close_sockets(kept);
}

/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A segment as a whole, whatever lies in it: how large it has to be and may
 * be, what its header says and whether that can be true, its mapping, and who
 * may write it.
 *
 * The one idea: all of the layout follows from two numbers, how many slots
 * there are and how many bytes. So a header is checked by laying it out anew
 * and comparing, and what was bound once is never read from it again.
 */

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

static apr_uint64_t data_offset(apr_uint64_t slots, apr_uint64_t slot_size)
{
    apr_uint64_t end = sizeof(header_t)
                       + slots * (slot_size + 2 * sizeof(apr_uint32_t));

    return (end + STAPLE_CACHE_BLOCK - 1)
           / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

apr_uint64_t staple_cache_need(apr_size_t n, apr_uint64_t records,
                               apr_uint64_t longest)
{
    apr_uint64_t spare = records / SPARE_PART
                         / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;

    return data_offset(n, sizeof(slot_t)) + records + spare + longest;
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
        return apr_psprintf(p, "the size has to be at least %" APR_SIZE_T_FMT
                            " bytes and a number that this system can count "
                            "to, not %.*s", STAPLE_CACHE_SIZE_MIN, digits,
                            text);
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

/* Of all layouts that can be read, only the size of a slot differs. */
static void lay_out(header_t *header, apr_uint32_t version,
                    apr_uint32_t slots, apr_uint64_t size)
{
    apr_uint32_t slot_size = staple_cache_slot_size(version);

    memcpy(header->magic, STAPLE_CACHE_MAGIC, sizeof(header->magic));
    header->version = version;
    header->byte_order = STAPLE_CACHE_BYTE_ORDER;
    header->header_size = sizeof(header_t);
    header->slot_size = slot_size;
    header->record_size = sizeof(record_t);
    header->id_len = STAPLE_ID_LEN;
    header->segment_size = size;
    header->slots = slots;
    header->buckets = 2 * slots;
    header->slots_offset = sizeof(header_t);
    header->buckets_offset = sizeof(header_t)
                             + (apr_uint64_t)slots * slot_size;
    header->data_offset = data_offset(slots, slot_size);
    header->data_size = (size - header->data_offset)
                        / STAPLE_CACHE_BLOCK * STAPLE_CACHE_BLOCK;
}

void staple_cache_lay_out(header_t *header, apr_uint32_t slots,
                          apr_uint64_t size)
{
    lay_out(header, STAPLE_CACHE_VERSION, slots, size);
}

apr_uint64_t staple_cache_data_offset(apr_uint32_t slots)
{
    return data_offset(slots, sizeof(slot_t));
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
                                apr_uint32_t slot_size)
{
    const apr_size_t fixed = offsetof(header_t, generation);
    header_t should;

    if (length != header->segment_size) {
        return length < header->segment_size ? "is truncated"
                                             : "is longer than it should be";
    }
    if (header->slots > length / slot_size
        || data_offset(header->slots, slot_size) + STAPLE_CACHE_BLOCK > length
        || header->start % STAPLE_CACHE_BLOCK) {
        return "has an impossible header";
    }
    memset(&should, 0, sizeof(should));
    lay_out(&should, header->version, header->slots, length);
    should.start = header->start;
    return memcmp(header, &should, fixed) ? "has an impossible header" : NULL;
}

const char *staple_cache_check_header(const header_t *header,
                                      apr_uint64_t length)
{
    apr_uint32_t slot_size;

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
    slot_size = staple_cache_slot_size(header->version);
    if (!slot_size) {
        return "was written by another version of the module";
    }
    if (header->sum != staple_cache_header_sum(header)) {
        return "has a damaged header";
    }
    return check_layout(header, length, slot_size);
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
    cache->data = (word_t *)(bytes + header->data_offset);
    cache->slots_count = header->slots;
    cache->buckets_count = header->buckets;
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
    (*cache)->kept.ring.base = base;
    (*cache)->kept.ring.size = length;
    (*cache)->kept.ring.fd = -1;
    (*cache)->kept.counters.fd = -1;
    (*cache)->kept.file = -1;
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

const staple_cache_kept_t *staple_cache_kept(const staple_cache_t *cache)
{
    return &cache->kept;
}

static void close_file(staple_cache_kept_t *kept)
{
    if (kept->file >= 0) {
        close(kept->file);
        kept->file = -1;
    }
}

void staple_cache_release(staple_cache_kept_t *kept)
{
    staple_memory_free(&kept->ring);
    staple_memory_free(&kept->counters);
    close_file(kept);
}

void staple_cache_unmap(staple_cache_t *cache)
{
    staple_cache_release(&cache->kept);
}

/* ---- Who may write. ---- */

apr_status_t staple_cache_begin_writing(staple_cache_t *cache)
{
    return staple_memory_write(&cache->kept.ring);
}

void staple_cache_end_writers(staple_cache_t *cache)
{
    staple_memory_disown(&cache->kept.ring);
}

void staple_cache_only_read(staple_cache_t *cache)
{
    staple_memory_disown(&cache->kept.ring);
    close_file(&cache->kept);
}
